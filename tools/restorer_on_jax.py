"""The first leg of a restorer learned on Keras' JAX backend, for a machine with an accelerator and without TensorFlow.

    pip install 'jax[cuda13]' keras soundfile soxr scipy h5py lazy_loader     # there; TensorFlow, librosa and matplotlib are not needed
    PYTHONPATH=. python tools/restorer_on_jax.py restore-16k runs/restore-16k/lessons.npz weights.npz --minutes 15
    python tools/train_pretrained.py restore-16k --weights weights.npz      # here: judged, and put among what ships
    python tools/train_pretrained.py restore-16k --further                  # and the last leg, on a CPU

The same network, distances, lessons, Adam and average as chapter 11d's job without an opponent has, and the generator's
turn of chapter 05's `train_step`; only the draws are another machine's. `lessons.npz` is what the first leg of
`train_pretrained.py` keeps. (The shipped weights were made by a draft of this, in two legs, as their card says, on the
same sentences, with noises and a bank drawn anew.)
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
    "The package imports these for its loop and its pictures; a restorer's network and distances need none of them."

    names = [
        n
        for n in ("tensorflow", "matplotlib", "IPython", "ipywidgets", "librosa", "pooch")
        if not importlib.util.find_spec(n)
    ]

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
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
import restoration_lessons  # noqa: E402

from gan_audio_tut import (
    fidelity,
    restoration_net,
)

EACH = 100  # steps compiled into one


def fixed(length, make):
    "A network for one length: JAX cannot reflect an axis whose length it does not know."
    free = keras.Input
    keras.Input = lambda shape, **k: free(tuple(length if n is None else n for n in shape), **k)
    try:
        return make()
    finally:
        keras.Input = free


def shuffled(key, step, count, total):
    "This step's examples, as chapter 05's `shuffled`: every epoch visits all once."
    epoch, skip = step * count // total, step * count % total
    order = lambda e: jnp.argsort(jax.random.uniform(jax.random.fold_in(key, e), (total,)))
    return jax.lax.dynamic_slice_in_dim(
        jnp.concatenate([order(epoch), order(epoch + 1)]), skip, count
    )


def batch(kept, clipped, recipe, key, step):
    "(y, guess, lost, wanted), clean: as chapter 11d's `pairs`."
    (a, b, c, d), (said, noises, damaged, guesses, losts, which) = recipe.shares, kept
    u = lambda stream, low, high, n: jax.random.uniform(
        jax.random.fold_in(jax.random.fold_in(key, stream), step), (n, 1), minval=low, maxval=high
    )
    picked = lambda count, total, stream: shuffled(
        jax.random.fold_in(key, stream), step, count, total
    )
    mean = lambda v: jnp.mean(v**2, 1, keepdims=True) + 1e-10
    x, z = said[picked(a, len(said), 13)], noises[picked(a, len(noises), 14)]
    full, cut = said[picked(c, len(said), 11)], u(3, *recipe.cutoff, c)
    at = jnp.concatenate([picked(b, clipped, 15), clipped + picked(d, len(which) - clipped, 12)])
    noisy = x + z * jnp.sqrt(mean(x) / mean(z)) * 10 ** (-u(1, *recipe.snr, a) / 20)
    y, guess = (
        jnp.concatenate([noisy, v[at], narrowed(full, cut, u(4, 0.005, 0.06, c))])
        for v in (damaged, guesses)
    )
    wanted = jnp.concatenate(
        [
            jnp.tile(jnp.array([[1.0, 1.0]]), (a, 1)),
            jnp.tile(jnp.array([[0.0, 1.0]]), (b + d, 1)),
            jnp.concatenate([jnp.zeros((c, 1)), cut], 1),
        ]
    )
    level = 0.1 / jnp.sqrt(mean(y)) * 10 ** (u(7, *recipe.loudness, len(y)) / 20)
    return [
        y * level,
        guess * level,
        jnp.pad(losts[at].astype("float32"), [[a, c], [0, 0]]),
        wanted,
    ], jnp.concatenate([x, said[which[at]], full]) * level


def narrowed(y, cut, width):
    f = jnp.arange(y.shape[1] // 2 + 1)[None] / (y.shape[1] // 2)
    return jnp.fft.irfft(jnp.fft.rfft(y) * jnp.clip((cut - f) / width, 0, 1), y.shape[1])


def terms(recipe, sr, net, weights, given, clean):
    "The weighted sum of a restorer's distances, and each of them."
    out = net.stateless_call(weights, [], given, training=True)[0]
    found = {
        "samples": fidelity.si_sdr_loss(clean, out),
        "spectra": fidelity.compressed_stft_loss(clean, out),
        "likeness": fidelity.estoi_loss(clean, out, sr),
    }
    return sum(getattr(recipe, k) * v for k, v in found.items()), found


def step(loss, adam, recipe, state, given, clean, rate):
    "One step of Adam down the loss, and of the average."
    weights, slots, ema = state
    (total, found), grads = jax.value_and_grad(loss, has_aux=True)(weights, given, clean)
    where = [v.path for v in adam.variables].index(adam._learning_rate.path)
    weights, slots = adam.stateless_apply(
        [rate if k == where else v for k, v in enumerate(slots)], grads, weights
    )
    n = slots[0].astype("float32")
    keep = jnp.minimum(recipe.ema_decay, (1 + n) / (10 + n))
    return (weights, slots, [keep * a + (1 - keep) * w for a, w in zip(ema, weights)]), {
        "g_loss": total,
        **found,
    }


def learn(name, lessons, seconds, seed=0):
    "The averaged weights, and what is to be said of them; the rate falls with the time that is used, or with the steps."
    size, (recipe, *_) = restoration_lessons.RESTORERS[name]
    with np.load(lessons) as found:
        *kept, clipped = (v for v in found.values())
    kept, key = [jnp.asarray(v) for v in kept], jax.random.PRNGKey(seed)
    keras.utils.set_random_seed(seed)
    net = fixed(
        kept[0].shape[1],
        partial(
            restoration_net.restoration_unet, n_fft=size["n_fft"], hop_length=size["hop_length"]
        ),
    )
    adam = keras.optimizers.Adam(recipe.g_lr, 0.9, 0.99, global_clipnorm=2.0)
    adam.build(net.trainable_variables)
    turn = partial(step, partial(terms, recipe, size["sr"], net), adam, recipe)

    @jax.jit
    def leg(state, kept, first, share):
        rate = recipe.g_lr * (0.02 + 0.49 * (1 + jnp.cos(jnp.pi * share)))
        state, rows = jax.lax.scan(
            lambda s, k: turn(s, *batch(kept, int(clipped), recipe, key, k), rate),
            state,
            first + jnp.arange(EACH),
        )
        return state, {k: v.mean() for k, v in rows.items()}

    state = tuple(
        [jnp.array(v.value) for v in part]
        for part in (net.trainable_variables, adam.variables, net.trainable_variables)
    )
    start, done, curve = time.monotonic(), 0, []
    while (share := max((time.monotonic() - start) / seconds, done / recipe.decay_steps)) < 1:
        state, row = leg(state, kept, done, share)
        done += EACH
        curve.append({"step": done, **{k: round(float(v), 4) for k, v in row.items()}})
        if not np.isfinite(curve[-1]["g_loss"]):
            sys.exit(f"step {done}: not finite")
        if done % 1000 == 0:
            print(curve[-1], flush=True)
    device = jax.devices()[0].device_kind
    return state[2], {
        "seed": seed,
        "steps": done,
        "computed": f"by tools/restorer_on_jax.py on {device}",
        "device_s": round(time.monotonic() - start),
        "curve": curve,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=restoration_lessons.RESTORERS)
    parser.add_argument("lessons", type=Path, metavar="LESSONS.npz")
    parser.add_argument("out", type=Path, metavar="WEIGHTS.npz")
    parser.add_argument(
        "--minutes",
        type=float,
        default=15,
        help="at most, compiling included; fewer where the recipe's steps are done earlier",
    )
    args = parser.parse_args()
    weights, facts = learn(args.name, args.lessons, 60 * args.minutes)
    with open(args.out, "wb") as f:
        np.savez(f, *map(np.asarray, weights), facts=json.dumps(facts))
