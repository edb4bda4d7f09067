"""A vocoder trained on Keras' JAX backend: see tools/restorer_on_jax.py.

    python tools/train_pretrained.py vocoder-8k --export-data data.npz          # here
    PYTHONPATH=. python tools/vocoder_on_jax.py data.npz weights.npz --minutes 7      # there
    python tools/train_pretrained.py vocoder-8k --weights weights.npz           # here: saved

The same networks, losses, data, optimisers and moving average as chapter 10a's task has, and both
updates of chapter 05's `train_step`; only the random numbers differ. A third of the time goes to
the reconstruction-only model.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import keras
import numpy as np
from restorer_on_jax import EACH, fixed, shuffled  # first: it stands in for what is not installed

from gan_audio_tut import losses, training, vocoder, vocoder_training
from gan_audio_tut.mel import MelConfig, mel_spectrogram

# mel spectrograms come from a product, and are restored by one
jax.config.update("jax_default_matmul_precision", "highest")


def use_noise_table(table):
    "Read noise excitation from TensorFlow's table: Keras draws another one on each backend."
    draw = keras.random.normal

    def normal(shape, *args, seed=None, **kwargs):
        return jnp.asarray(table) if seed == 7 else draw(shape, *args, seed=seed, **kwargs)

    keras.random.normal = normal


def segment_batch(sounds, config, recipe, key, step):
    "(mel,), waveforms: as chapter 10a's `segment_batches`."
    n, samples = recipe.batch_size, recipe.frames * config.hop_length

    def step_key(stream):
        return jax.random.fold_in(jax.random.fold_in(key, stream), step)

    def uniform(stream, low, high):
        return jax.random.uniform(step_key(stream), (n, 1), minval=low, maxval=high)

    chosen = sounds[shuffled(jax.random.fold_in(key, 13), step, n, len(sounds))].astype("float32")
    start = uniform(1, 0, sounds.shape[1] - samples + 1).astype(int)
    y = jnp.take_along_axis(chosen, start + jnp.arange(samples), 1)
    y *= 10 ** (uniform(2, -36, -12) / 20) / jnp.sqrt(jnp.mean(y**2, 1, keepdims=True) + 1e-8)
    y *= jnp.minimum(1.0, 0.98 / jnp.abs(y).max(1, keepdims=True))
    y += jax.random.normal(step_key(3), y.shape) * 10 ** (uniform(4, -90, -40) / 20)
    return (mel_spectrogram(y, config),), y


def forward(network, weights, x):
    "A network's outputs, as a list."
    return training.as_list(network.stateless_call(weights, [], x, training=True)[0])


def d_loss(d, task, real, fake):
    "The discriminators' loss, and its parts."

    def logits(d_inputs):
        return forward(task.discriminator, d, d_inputs)[0]

    parts = task.gan_loss.d_loss(logits(real), logits(fake))
    if "r1" in task.loss_weights:
        gradient = jax.grad(lambda d_inputs: logits(d_inputs).sum())(real)
        parts["r1"] = losses.r1_penalty(gradient)
    return weighted_sum(task, parts)


def g_loss(g, d, task, inputs, real):
    "The generator's loss, and its parts."
    fake = forward(task.generator, g, inputs[0])[0]
    features_real = features_fake = []
    parts = {}
    if task.discriminator is not None:
        d_real, d_fake = (training.as_list(task.d_transform(y)) for y in (real, fake))
        logits_real, *features_real = forward(task.discriminator, d, d_real)
        logits_fake, *features_fake = forward(task.discriminator, d, d_fake)
        parts = task.gan_loss.g_loss(logits_real, logits_fake)
    for name, loss in task.aux_losses.items():
        parts[name] = loss(inputs, real, fake, features_real, features_fake)
    return weighted_sum(task, parts)


def weighted_sum(task, parts):
    "As chapter 05's, and the parts."
    adversarial = task.loss_weights.get("adversarial", 1.0)
    total = 0.0
    for name, value in parts.items():
        default = 1.0 if name in task.aux_losses else adversarial
        total += task.loss_weights.get(name, default) * value
    return total, parts


def adam_step(adam, rate, slots, grads, weights):
    "The weights and slots after one step of Adam at this rate."
    rate_index = [v.path for v in adam.variables].index(adam._learning_rate.path)
    slots = [rate if k == rate_index else v for k, v in enumerate(slots)]
    return adam.stateless_apply(slots, grads, weights)


def train_step(task, adams, ema_decay, state, inputs, real, g_lr, d_lr):
    "Both updates, and the moving average."
    (g, g_slots), (d, d_slots), ema = state
    scalars = {}
    if task.discriminator is not None:
        fake = forward(task.generator, g, inputs[0])[0]
        d_inputs = [training.as_list(task.d_transform(y)) for y in (real, fake)]
        (loss, parts), grads = jax.value_and_grad(d_loss, has_aux=True)(d, task, *d_inputs)
        d, d_slots = adam_step(adams[1], d_lr, d_slots, grads, d)
        scalars = {"d_loss": loss, **parts}
    (loss, parts), grads = jax.value_and_grad(g_loss, has_aux=True)(g, d, task, inputs, real)
    g, g_slots = adam_step(adams[0], g_lr, g_slots, grads, g)
    decay = training.ema_decay_at(g_slots[0].astype("float32"), ema_decay)
    ema = [decay * average + (1 - decay) * weight for average, weight in zip(ema, g, strict=True)]
    return ((g, g_slots), (d, d_slots), ema), scalars | {"g_loss": loss, **parts}


def reset_noise_excitation(weights):
    "As chapter 10a's, which clones a network, and Keras asks TensorFlow for that."
    *rest, kernel, bias = (np.array(v) for v in weights)
    bins = len(bias) // 4
    kernel[:, -bins:] = 0
    bias[-bins:] = 0
    return [*rest, kernel, bias]


def build_task(config, recipe, seed):
    "The networks and losses of `build_vocoder_gan`, for one length, and two Adams."
    keras.utils.set_random_seed(seed)
    build = partial(
        vocoder.build_vocoder,
        config,
        recipe.dim,
        recipe.blocks,
        n_iter=recipe.n_iter,
        magnitude_weight=recipe.magnitude_weight,
        learned_magnitude=recipe.learned_magnitude,
    )
    generator = fixed(recipe.frames + 1, build)
    aux_losses = vocoder_training.reconstruction_losses(config)
    weights = {"mel": recipe.mel, "stft": recipe.stft, "lsd": recipe.lsd}
    gan_loss = getattr(losses, recipe.loss)
    if recipe.adversarial:
        discriminator, d_transform = vocoder_training.build_discriminators(config, recipe)
        weights |= {"adversarial": recipe.adversarial, "r1": recipe.r1}
        task = training.Task(
            generator, discriminator, None, gan_loss, aux_losses, weights, d_transform=d_transform
        )
    else:
        task = training.Task(generator, None, None, gan_loss, aux_losses, weights)

    adams = [keras.optimizers.Adam(rate, 0.8, 0.99) for rate in (recipe.g_lr, recipe.d_lr)]
    for adam, network in zip(adams, (generator, task.discriminator), strict=True):
        adam.build(network.trainable_variables if network is not None else [])
    return task, adams


def values(variables):
    return [jnp.array(v.value) for v in variables]


def initial_state(task, adams):
    "Weights and slots of both networks, and the averaged weights."
    parts = []
    for network, adam in zip((task.generator, task.discriminator), adams, strict=True):
        weights = values(network.trainable_variables) if network is not None else []
        parts.append((weights, values(adam.variables)))
    return (*parts, values(task.generator.trainable_variables))


def learn(sounds, config, recipe, seconds, seed=0, start=None, decay=True):
    "The averaged weights after so many seconds, and what the card says of them."
    task, adams = build_task(config, recipe, seed)
    if start is not None:
        task.generator.set_weights(reset_noise_excitation(start))
    key, step = jax.random.PRNGKey(seed), partial(train_step, task, adams, recipe.ema_decay)

    @jax.jit
    def many_steps(state, sounds, first, share):
        g_lr = recipe.g_lr * ((0.02 + 0.49 * (1 + jnp.cos(jnp.pi * share))) if decay else 1.0)

        def one_step(state, k):
            batch = segment_batch(sounds, config, recipe, key, k)
            return step(state, *batch, g_lr, recipe.d_lr)

        state, rows = jax.lax.scan(one_step, state, first + jnp.arange(EACH))
        return state, {name: row.mean() for name, row in rows.items()}

    state = initial_state(task, adams)
    begin, done, curve = time.monotonic(), 0, []
    while (share := (time.monotonic() - begin) / seconds) < 1:
        state, row = many_steps(state, sounds, done, share)
        done += EACH
        curve.append({"step": done, **{k: round(float(v), 4) for k, v in row.items()}})
        if not np.isfinite(curve[-1]["g_loss"]):
            sys.exit(f"step {done}: not finite")
        if done % 1000 == 0:
            print(f"{time.monotonic() - begin:.0f} s", curve[-1], flush=True)
    return [np.asarray(v) for v in state[2]], {
        "seed": seed,
        "settings": vars(recipe),
        "steps": done,
        "device_s": round(time.monotonic() - begin),
        "curve": curve,
    }


def thinned(curve, n=40):
    return [curve[k] for k in np.unique(np.linspace(0, len(curve) - 1, n).round().astype(int))]


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DATA.npz")
    parser.add_argument("out", type=Path, metavar="WEIGHTS.npz")
    parser.add_argument("--minutes", type=float, default=10, help="compiling included")
    return parser.parse_args()


if __name__ == "__main__":
    args = parse_args()
    with np.load(args.data) as found:
        sounds, settings = jnp.asarray(found["sounds"]), json.loads(str(found["settings"]))
        use_noise_table(found["noise_table"])
    config = MelConfig(**settings["mel"])
    recipe = vocoder_training.VocoderConfig(**settings["recipe"])

    first_recipe = replace(recipe, adversarial=0.0)
    start, first = learn(sounds, config, first_recipe, 20 * args.minutes, decay=False)
    recipe = replace(recipe, g_lr=recipe.g_lr / 2)
    weights, facts = learn(sounds, config, recipe, 40 * args.minutes, start=start)
    facts |= {
        "curve": thinned(facts["curve"]),
        "reconstruction_only_stage": {k: first[k] for k in ("steps", "device_s")},
        "computed": f"by tools/vocoder_on_jax.py on {jax.devices()[0].device_kind}",
    }
    with open(args.out, "wb") as f:
        np.savez(f, *weights, *start, facts=json.dumps(facts))
