"""A vocoder learned on Keras' JAX backend: see tools/restorer_on_jax.py.

    python tools/train_pretrained.py vocoder-8k --lessons lessons.npz       # here
    PYTHONPATH=. python tools/vocoder_on_jax.py lessons.npz weights.npz --minutes 7      # there
    python tools/train_pretrained.py vocoder-8k --weights weights.npz      # here: judged, and put among what ships

The same networks, terms, lessons, optimisers and average as chapter 10's job has, and both turns of chapter 05's
`train_step`; only the draws are another machine's. A third of the time goes to the copyist.
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

jax.config.update(
    "jax_default_matmul_precision", "highest"
)  # bands come from a product, and are put right by it


def same_book(book):
    "`vocoder.breath` opens the book that TensorFlow draws: Keras draws another one on each backend."
    draw = keras.random.normal
    keras.random.normal = lambda shape, *a, seed=None, **k: (
        jnp.asarray(book) if seed == 7 else draw(shape, *a, seed=seed, **k)
    )


def cut(sounds, config, recipe, key, step):
    "(bands,), sound: as chapter 10's `stretches`."
    n, samples = recipe.batch_size, recipe.frames * config.hop_length
    u = lambda stream, low, high: jax.random.uniform(
        jax.random.fold_in(jax.random.fold_in(key, stream), step), (n, 1), minval=low, maxval=high
    )
    at = u(1, 0, sounds.shape[1] - samples + 1).astype(int)
    y = jnp.take_along_axis(
        sounds[shuffled(jax.random.fold_in(key, 13), step, n, len(sounds))].astype("float32"),
        at + jnp.arange(samples),
        1,
    )
    y *= 10 ** (u(2, -36, -12) / 20) / jnp.sqrt(jnp.mean(y**2, 1, keepdims=True) + 1e-8)
    y *= jnp.minimum(1.0, 0.98 / jnp.abs(y).max(1, keepdims=True))
    y += jax.random.normal(jax.random.fold_in(jax.random.fold_in(key, 3), step), y.shape) * 10 ** (
        u(4, -90, -40) / 20
    )
    return (mel_spectrogram(y, config),), y


def says(net, weights, x):
    "A network's outputs, as a list."
    return training.as_list(net.stateless_call(weights, [], x, training=True)[0])


def d_loss(d, job, real, fake):
    "The listeners' loss, and its terms."
    logit = lambda seen: says(job.discriminator, d, seen)[0]
    terms = job.gan_loss.d_loss(logit(real), logit(fake))
    if "r1" in job.loss_weights:
        terms["r1"] = losses.r1_penalty(jax.grad(lambda seen: logit(seen).sum())(real))
    return total(job, terms)


def g_loss(g, d, job, given, real):
    "The generator's loss, and its terms."
    fake = says(job.generator, g, given[0])[0]
    (logits_real, *feats_real), (logits_fake, *feats_fake) = (
        says(job.discriminator, d, training.as_list(job.d_transform(v))) for v in (real, fake)
    )
    terms = {
        name: f(given, real, fake, feats_real, feats_fake) for name, f in job.aux_losses.items()
    }
    return total(job, job.gan_loss.g_loss(logits_real, logits_fake) | terms)


def total(job, terms):
    "As chapter 05's, and the terms."
    game = job.loss_weights["adversarial"]
    return sum(
        job.loss_weights.get(k, 1.0 if k in job.aux_losses else game) * v for k, v in terms.items()
    ), terms


def applied(adam, rate, slots, grads, weights):
    "The weights and slots after one step of Adam at this rate."
    where = [v.path for v in adam.variables].index(adam._learning_rate.path)
    return adam.stateless_apply(
        [rate if k == where else v for k, v in enumerate(slots)], grads, weights
    )


def step(job, adams, longest, state, given, real, rate, d_rate):
    "Both turns, and the average."
    (g, g_slots), (d, d_slots), ema = state
    scalars = {}
    if job.loss_weights["adversarial"]:
        seen = [
            training.as_list(job.d_transform(v))
            for v in (real, says(job.generator, g, given[0])[0])
        ]
        (loss, terms), grads = jax.value_and_grad(d_loss, has_aux=True)(d, job, *seen)
        d, d_slots = applied(adams[1], d_rate, d_slots, grads, d)
        scalars = {"d_loss": loss, **terms}
    (loss, terms), grads = jax.value_and_grad(g_loss, has_aux=True)(g, d, job, given, real)
    g, g_slots = applied(adams[0], rate, g_slots, grads, g)
    t = g_slots[0].astype("float32")
    keep = jnp.minimum(longest, (1 + t) / (10 + t))
    return ((g, g_slots), (d, d_slots), [keep * a + (1 - keep) * w for a, w in zip(ema, g)]), {
        **scalars,
        "g_loss": loss,
        **terms,
    }


def breathing(weights):
    "As chapter 10's, which clones a network, and Keras asks TensorFlow for that."
    *rest, kernel, bias = (np.array(v) for v in weights)
    bins = len(bias) // 4
    kernel[:, -bins:] = bias[-bins:] = 0
    return [*rest, kernel, bias]


def game(config, recipe, seed):
    "The networks and terms of `vocoder.vocoder_gan`, for one length, and two Adams."
    keras.utils.set_random_seed(seed)
    generator = fixed(
        recipe.frames + 1,
        partial(
            vocoder.build_vocoder,
            config,
            recipe.dim,
            recipe.blocks,
            trips=recipe.n_iter,
            lean=recipe.magnitude_weight,
            own=recipe.learned_magnitude,
        ),
    )
    discriminator, view = vocoder_training.build_discriminators(config, recipe)
    weights = {
        "mel": recipe.mel,
        "stft": recipe.stft,
        "lsd": recipe.lsd,
        "adversarial": recipe.adversarial,
    } | ({"r1": recipe.r1} if recipe.adversarial else {})
    job = training.Task(
        generator,
        discriminator,
        None,
        getattr(losses, recipe.loss),
        vocoder_training.reconstruction_losses(config),
        weights,
        d_transform=view,
    )
    adams = [keras.optimizers.Adam(rate, 0.8, 0.99) for rate in (recipe.g_lr, recipe.d_lr)]
    for adam, net in zip(adams, (generator, discriminator)):
        adam.build(net.trainable_variables)
    return job, adams


def learn(sounds, config, recipe, seconds, seed=0, start=None, falls=True):
    "The averaged weights after so many seconds, and what is to be said of them."
    job, adams = game(config, recipe, seed)
    if start is not None:
        job.generator.set_weights(breathing(start))
    key, turn = jax.random.PRNGKey(seed), partial(step, job, adams, recipe.ema_decay)

    @jax.jit
    def leg(state, sounds, first, share):
        rate = recipe.g_lr * ((0.02 + 0.49 * (1 + jnp.cos(jnp.pi * share))) if falls else 1.0)
        state, rows = jax.lax.scan(
            lambda s, k: turn(s, *cut(sounds, config, recipe, key, k), rate, recipe.d_lr),
            state,
            first + jnp.arange(EACH),
        )
        return state, {k: v.mean() for k, v in rows.items()}

    values = lambda variables: [jnp.array(v.value) for v in variables]
    state = (
        *(
            (values(net.trainable_variables), values(adam.variables))
            for net, adam in zip((job.generator, job.discriminator), adams)
        ),
        values(job.generator.trainable_variables),
    )
    begin, done, curve = time.monotonic(), 0, []
    while (share := (time.monotonic() - begin) / seconds) < 1:
        state, row = leg(state, sounds, done, share)
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lessons", type=Path, metavar="LESSONS.npz")
    parser.add_argument("out", type=Path, metavar="WEIGHTS.npz")
    parser.add_argument("--minutes", type=float, default=10, help="compiling included")
    args = parser.parse_args()
    with np.load(args.lessons) as found:
        sounds, settings = jnp.asarray(found["sounds"]), json.loads(str(found["settings"]))
        same_book(found["book"])
    config, recipe = (
        MelConfig(**settings["mel"]),
        vocoder_training.VocoderConfig(**settings["recipe"]),
    )
    start, first = learn(
        sounds, config, replace(recipe, adversarial=0.0), 20 * args.minutes, falls=False
    )
    weights, facts = learn(
        sounds,
        config,
        replace(recipe, learning_rate=recipe.g_lr / 2),
        40 * args.minutes,
        start=start,
    )
    facts |= {
        "curve": thinned(facts["curve"]),
        "reconstruction only": {k: first[k] for k in ("steps", "device_s")},
        "computed": f"by tools/vocoder_on_jax.py on {jax.devices()[0].device_kind}",
    }
    with open(args.out, "wb") as f:
        np.savez(f, *weights, *start, facts=json.dumps(facts))
