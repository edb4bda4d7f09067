"""The first stage of a restorer trained on Keras' JAX backend, without TensorFlow.

For a machine with an accelerator. There, TensorFlow, librosa and matplotlib are not needed:

    pip install 'jax[cuda13]' keras soundfile soxr scipy h5py lazy_loader
    PYTHONPATH=. python tools/restorer_on_jax.py restore-16k runs/restore-16k/training_data.npz \\
        weights.npz --minutes 15

and here, to evaluate it and put it among what ships, and to train the last stage on a CPU:

    python tools/train_pretrained.py restore-16k --weights weights.npz
    python tools/train_pretrained.py restore-16k --further

The same network, losses, data, Adam and average as chapter 11e's task without a discriminator has,
and the generator's turn of chapter 05's `train_step`; only the random draws are another machine's.
`training_data.npz` is what the first stage of `train_pretrained.py` keeps. (The shipped weights
were made by a draft of this, in two runs, as their card says, on the same sentences, with noises
and a bank drawn anew.)
"""

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys
import time
import types
from functools import partial
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"


class Nothing(types.ModuleType):
    "Stands for what is not installed, and for everything in it."

    __path__, __all__ = [], []

    def __getattr__(self, name):
        return Nothing(name) if not name.startswith("__") else super().__getattribute__(name)

    def __call__(self, *_, **__):
        return self

    def __or__(self, _):
        return self

    def __mro_entries__(self, _):
        return (object,)

    __ror__ = __getitem__ = __or__


class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    "The package imports these for training and plots; networks and losses need none of them."

    optional = ("tensorflow", "matplotlib", "IPython", "ipywidgets", "librosa", "pooch")
    names = tuple(n for n in optional if not importlib.util.find_spec(n))

    def find_spec(self, name, path=None, target=None):
        return (
            importlib.machinery.ModuleSpec(name, self, is_package=True)
            if name.split(".")[0] in self.names
            else None
        )

    def create_module(self, spec):
        return Nothing(spec.name)

    def exec_module(self, module):
        pass


sys.meta_path.insert(0, Absent())
# E402: the imports follow the stand-ins and the choice of the backend
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
import restoration_data  # noqa: E402

from gan_audio_tut import fidelity, restoration_net  # noqa: E402

EACH = 100  # steps compiled into one


def fixed(length, make):
    "A network for one length: JAX cannot reflect an axis whose length it does not know."
    make_input = keras.Input

    def fixed_input(shape, **kwargs):
        return make_input(tuple(length if n is None else n for n in shape), **kwargs)

    keras.Input = fixed_input
    try:
        return make()
    finally:
        keras.Input = make_input


def shuffled(key, step, count, total):
    "This step's examples, as chapter 05's `epoch_indices`: every epoch visits all once."
    epoch, skip = step * count // total, step * count % total

    def order(e):
        return jnp.argsort(jax.random.uniform(jax.random.fold_in(key, e), (total,)))

    orders = jnp.concatenate([order(epoch), order(epoch + 1)])
    return jax.lax.dynamic_slice_in_dim(orders, skip, count)


def batch(data, clipped_in_bank, config, key, step):
    "(degraded, filled, missing, task), clean: as chapter 11e's `paired_batches`."
    n_noisy, n_clipped, n_band_limited, n_dropouts = config.shares
    speech, noises, bank_degraded, bank_filled, bank_missing, bank_source = data

    def uniform(stream, low, high, n):
        stream_key = jax.random.fold_in(jax.random.fold_in(key, stream), step)
        return jax.random.uniform(stream_key, (n, 1), minval=low, maxval=high)

    def indices(count, total, stream):
        return shuffled(jax.random.fold_in(key, stream), step, count, total)

    def power(v):
        return jnp.mean(v**2, 1, keepdims=True) + 1e-10

    clean_of_noisy = speech[indices(n_noisy, len(speech), 13)]
    noise = noises[indices(n_noisy, len(noises), 14)]
    clean_of_band_limited = speech[indices(n_band_limited, len(speech), 11)]
    cutoff = uniform(3, *config.cutoff, n_band_limited)
    dropout_rows = indices(n_dropouts, len(bank_source) - clipped_in_bank, 12)
    rows = jnp.concatenate(
        [indices(n_clipped, clipped_in_bank, 15), clipped_in_bank + dropout_rows]
    )
    snr = uniform(1, *config.snr, n_noisy)
    noise = noise * jnp.sqrt(power(clean_of_noisy) / power(noise)) * 10 ** (-snr / 20)
    noisy = clean_of_noisy + noise
    band_limited = low_pass(clean_of_band_limited, cutoff, uniform(4, 0.005, 0.06, n_band_limited))

    degraded = jnp.concatenate([noisy, bank_degraded[rows], band_limited])
    filled = jnp.concatenate([noisy, bank_filled[rows], band_limited])
    clean = jnp.concatenate([clean_of_noisy, speech[bank_source[rows]], clean_of_band_limited])
    missing = bank_missing[rows].astype("float32")
    missing = jnp.pad(missing, [[n_noisy, n_band_limited], [0, 0]])
    task = jnp.concatenate(
        [
            jnp.tile(jnp.array([[1.0, 1.0]]), (n_noisy, 1)),
            jnp.tile(jnp.array([[0.0, 1.0]]), (n_clipped + n_dropouts, 1)),
            jnp.concatenate([jnp.zeros((n_band_limited, 1)), cutoff], 1),
        ]
    )
    loudness = uniform(7, *config.loudness, len(degraded))
    gain = 0.1 / jnp.sqrt(power(degraded)) * 10 ** (loudness / 20)
    return [degraded * gain, filled * gain, missing, task], clean * gain


def low_pass(y, cutoff, transition):
    samples = y.shape[1]
    frequency = jnp.arange(samples // 2 + 1)[None] / (samples // 2)
    gain = jnp.clip((cutoff - frequency) / transition, 0, 1)
    return jnp.fft.irfft(jnp.fft.rfft(y) * gain, samples)


def total_loss(config, sr, net, weights, inputs, clean):
    "The weighted sum of a restorer's losses, and each of them."
    out = net.stateless_call(weights, [], inputs, training=True)[0]
    losses = {
        "si_sdr": fidelity.si_sdr_loss(clean, out),
        "compressed_stft": fidelity.compressed_stft_loss(clean, out),
        "estoi": fidelity.estoi_loss(clean, out, sr),
    }
    return sum(getattr(config, k) * v for k, v in losses.items()), losses


def train_step(loss, adam, config, state, inputs, clean, lr):
    "One step of Adam down the loss, and of the average."
    weights, slots, ema = state
    (total, losses), grads = jax.value_and_grad(loss, has_aux=True)(weights, inputs, clean)
    lr_slot = [v.path for v in adam.variables].index(adam._learning_rate.path)
    slots = [lr if k == lr_slot else v for k, v in enumerate(slots)]
    weights, slots = adam.stateless_apply(slots, grads, weights)
    n = slots[0].astype("float32")
    decay = jnp.minimum(config.ema_decay, (1 + n) / (10 + n))
    ema = [decay * a + (1 - decay) * w for a, w in zip(ema, weights, strict=True)]
    return (weights, slots, ema), {"g_loss": total, **losses}


def train(name, path, seconds, seed=0):
    """The averaged weights, and the facts for their card.

    The learning rate decays with the time that is used, or with the steps.
    """
    size, (config, *_) = restoration_data.RESTORERS[name]
    with np.load(path) as arrays:
        *data, clipped_in_bank = arrays.values()
    data, key = [jnp.asarray(v) for v in data], jax.random.PRNGKey(seed)
    keras.utils.set_random_seed(seed)
    make = partial(
        restoration_net.restoration_unet, n_fft=size["n_fft"], hop_length=size["hop_length"]
    )
    net = fixed(data[0].shape[1], make)
    adam = keras.optimizers.Adam(config.g_lr, 0.9, 0.99, global_clipnorm=2.0)
    adam.build(net.trainable_variables)
    step = partial(train_step, partial(total_loss, config, size["sr"], net), adam, config)

    @jax.jit
    def several_steps(state, data, first, share):
        lr = config.g_lr * (0.02 + 0.49 * (1 + jnp.cos(jnp.pi * share)))

        def one(state, k):
            return step(state, *batch(data, int(clipped_in_bank), config, key, k), lr)

        state, rows = jax.lax.scan(one, state, first + jnp.arange(EACH))
        return state, {k: v.mean() for k, v in rows.items()}

    state = tuple(
        [jnp.array(v.value) for v in part]
        for part in (net.trainable_variables, adam.variables, net.trainable_variables)
    )
    start, done, curve = time.monotonic(), 0, []
    while (share := max((time.monotonic() - start) / seconds, done / config.decay_steps)) < 1:
        state, row = several_steps(state, data, done, share)
        done += EACH
        curve.append({"step": done, **{k: round(float(v), 4) for k, v in row.items()}})
        if not np.isfinite(curve[-1]["g_loss"]):
            sys.exit(f"step {done}: not finite")
        if done % 1000 == 0:
            print(curve[-1], flush=True)
    return state[2], {
        "seed": seed,
        "steps": done,
        "computed": f"by tools/restorer_on_jax.py on {jax.devices()[0].device_kind}",
        "device_s": round(time.monotonic() - start),
        "curve": curve,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=restoration_data.RESTORERS)
    parser.add_argument("data", type=Path, metavar="TRAINING_DATA.npz")
    parser.add_argument("out", type=Path, metavar="WEIGHTS.npz")
    parser.add_argument(
        "--minutes",
        type=float,
        default=15,
        help="at most, compiling included; fewer where the configured steps are done earlier",
    )
    args = parser.parse_args()
    weights, facts = train(args.name, args.data, 60 * args.minutes)
    with open(args.out, "wb") as f:
        np.savez(f, *map(np.asarray, weights), facts=json.dumps(facts))
