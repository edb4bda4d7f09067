"""Generators of samples at equal CPU seconds on real recordings.

    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/generation.py generation    # WaveGAN and the spectral head, 3 seeds
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/generation.py ingredients   # the spectral head with one thing changed, 13 runs
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/generation.py few           # a hundred recordings, unmoved and moved

In `generation` the picture GANs of `recipes.py recipes` had the same budget, data and judge. The other two are there to
choose by and are judged on the validation part.
"""

import sys
from dataclasses import replace

import keras
import numpy as np
from contest import contest
from keras import ops

from gan_audio_tut import datasets, istft_gan, specgan, wavegan
from gan_audio_tut.mel import MelConfig, istft

OURS = istft_gan.RECIPES["istft"]
FIRST = replace(
    OURS, grad_scale=1.0
)  # the short window's whole slope: the recipe before `ingredients` was measured


@keras.saving.register_keras_serializable("gan_audio_tut_benchmarks")
class AngleHead(istft_gan.ISTFTHead):
    "The same with a magnitude and an angle for each bin, as in Vocos."

    def __init__(self, n_fft=512, hop_length=128, start=-3.0, **kwargs):
        super().__init__(n_fft, hop_length, start, **kwargs)
        self.spread = keras.layers.Dense(2 * (n_fft // 2 + 1))

    def call(self, x):
        gain, angle = ops.split(self.spread(x), 2, axis=-1)
        gain = ops.exp(ops.minimum(gain + self.start, 6.0))
        return istft(
            gain * ops.cos(angle),
            gain * ops.sin(angle),
            self.hop_length,
            (ops.shape(x)[1] - 1) * self.hop_length,
        )


def spectral(recipe=OURS, head=istft_gan.ISTFTHead, **changes):
    return lambda clips, seed: istft_gan.build_istft_gan(
        clips, replace(recipe, **changes), seed=seed, head=head
    )


def wave(clips, seed):
    return wavegan.build_wavegan(clips, seed=seed)


def hear(net, labels, seed):
    return specgan.decode_audio(specgan.sample(net, labels, seed), MelConfig())


def few(each=2):
    "The first recordings of every speaker's every digit."
    clips = datasets.fsdd("train")
    pair = clips.labels * 1000 + clips.speakers
    return clips.select(
        np.sort(np.concatenate([np.flatnonzero(pair == p)[:each] for p in np.unique(pair)]))
    )


INGREDIENTS = {
    "first recipe": spectral(FIRST),
    "magnitude and angle": spectral(FIRST, AngleHead),
    "no ConvNeXt blocks": spectral(FIRST, blocks=0),
    "no R1": spectral(FIRST, r1=0.0),
    "no EMA": spectral(FIRST, ema=0.0),
    "no labels": spectral(FIRST, conditional=False),
    "relativistic, R1 and R2": spectral(FIRST, loss="relativistic", r2=1.0),
    "no short-window D": spectral(FIRST, fine=0),
    "batch of 64": spectral(FIRST, batch_size=64),
    "augmented": spectral(FIRST, shift=0.03, gain_db=3.0),
    "R1 halved": spectral(FIRST, r1=0.5),
    "gradient scale 0.25": spectral(FIRST, share=0.25),
    "gradient scale 0.1": spectral(FIRST, share=0.1),
}
MOVED = {"not augmented": spectral(), "augmented": spectral(shift=0.05, gain_db=6.0)}
PLANS = {  # name -> (what is built, seeds, points in CPU seconds where they are judged, learned from, judged on)
    "generation": (
        {"wavegan": wave, "istft": spectral()},
        3,
        (460, 800, 1140),
        "train+valid",
        "test",
    ),  # 4, 7 and 10 minutes of two idle cores
    "ingredients": (INGREDIENTS, 1, (460,), "train", "valid"),
    "few": (MOVED, 1, (460,), few, "valid"),
}


def main(plan):
    builders, seeds, points, learned, judged = PLANS[plan]
    rows = [(name, s, build, hear) for s in range(seeds) for name, build in builders.items()]
    contest(plan, rows, points, learned if isinstance(learned, str) else learned(), judged)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "generation")
