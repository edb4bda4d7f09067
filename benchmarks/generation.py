"""Generators of waveforms at equal CPU seconds, on real recordings.

    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/generation.py generation
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/generation.py ingredients
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/generation.py few

- `generation`: WaveGAN and the inverse-STFT generator, 3 seeds. The SpecGAN and DCGAN rows of
  `recipes.py recipes` had the same budget, data and evaluation.
- `ingredients`: the inverse-STFT generator with one thing changed, 13 runs.
- `few`: a hundred recordings, without and with augmentation.

The last two are there to choose by and are evaluated on the validation part.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import keras
import numpy as np
from contest import contest
from keras import ops

from gan_audio_tut import datasets, istft_gan, specgan, wavegan
from gan_audio_tut.mel import MelConfig, istft

CURRENT = istft_gan.RECIPES["istft"]
# the recipe before `ingredients` was measured: the short window's full gradient
FIRST = replace(CURRENT, grad_scale=1.0)


@keras.saving.register_keras_serializable("gan_audio_tut_benchmarks")
class MagnitudePhaseHead(istft_gan.ISTFTHead):
    "An inverse-STFT head with a log magnitude and an angle for each bin, as in Vocos."

    def __init__(self, n_fft=512, hop_length=128, log_magnitude_bias=-3.0, **kwargs):
        super().__init__(n_fft, hop_length, log_magnitude_bias, **kwargs)
        self.proj = keras.layers.Dense(2 * (n_fft // 2 + 1))

    def call(self, x):
        log_magnitude, angle = ops.split(self.proj(x), 2, axis=-1)
        magnitude = ops.exp(ops.minimum(log_magnitude + self.log_magnitude_bias, 6.0))
        length = (ops.shape(x)[1] - 1) * self.hop_length
        real, imag = magnitude * ops.cos(angle), magnitude * ops.sin(angle)
        return istft(real, imag, self.hop_length, length)


def istft_gan_builder(recipe=CURRENT, head=istft_gan.ISTFTHead, **changes):
    "(dataset, seed) -> TrainState of the recipe with these changes."
    recipe = replace(recipe, **changes)

    def build(dataset, seed):
        return istft_gan.build_istft_gan(dataset, recipe, seed=seed, head=head)

    return build


def build_wavegan(dataset, seed):
    return wavegan.build_wavegan(dataset, seed=seed)


def generate(generator, labels, seed):
    "Waveforms of a generator, one for each label."
    return specgan.decode_audio(specgan.sample(generator, labels, seed), MelConfig())


def few_recordings(n_per_pair=2):
    "The first recordings of every digit of every speaker."
    dataset = datasets.fsdd("train")
    pair = dataset.labels * 1000 + dataset.speakers
    kept = [np.flatnonzero(pair == value)[:n_per_pair] for value in np.unique(pair)]
    return dataset.select(np.sort(np.concatenate(kept)))


GENERATION = {"wavegan": build_wavegan, "istft": istft_gan_builder()}
INGREDIENTS = {
    "first recipe": istft_gan_builder(FIRST),
    "magnitude and angle": istft_gan_builder(FIRST, MagnitudePhaseHead),
    "no ConvNeXt blocks": istft_gan_builder(FIRST, blocks=0),
    "no R1": istft_gan_builder(FIRST, r1=0.0),
    "no EMA": istft_gan_builder(FIRST, ema_decay=0.0),
    "no labels": istft_gan_builder(FIRST, conditional=False),
    "relativistic, R1 and R2": istft_gan_builder(FIRST, loss="relativistic", r2=1.0),
    "no short-window D": istft_gan_builder(FIRST, short_window_width=0),
    "batch of 64": istft_gan_builder(FIRST, batch_size=64),
    "augmented": istft_gan_builder(FIRST, shift=0.03, gain_db=3.0),
    "R1 halved": istft_gan_builder(FIRST, r1=0.5),
    "gradient scale 0.25": istft_gan_builder(FIRST, grad_scale=0.25),
    "gradient scale 0.1": istft_gan_builder(FIRST, grad_scale=0.1),
}
FEW = {
    "not augmented": istft_gan_builder(),
    "augmented": istft_gan_builder(shift=0.05, gain_db=6.0),
}


@dataclass(frozen=True)
class Plan:
    "One benchmark."

    builders: dict[str, Callable]  # name -> (dataset, seed) -> TrainState
    n_seeds: int
    points: tuple[int, ...]  # CPU seconds at which the runs are evaluated
    train_data: str | Callable  # splits of FSDD, or a function that makes the data set
    evaluated_on: str  # a split of FSDD


PLANS = {
    # 4, 7 and 10 minutes of two idle cores
    "generation": Plan(GENERATION, 3, (460, 800, 1140), "train+valid", "test"),
    "ingredients": Plan(INGREDIENTS, 1, (460,), "train", "valid"),
    "few": Plan(FEW, 1, (460,), few_recordings, "valid"),
}


def main(name):
    plan = PLANS[name]
    rows = [
        (run_name, seed, build, generate)
        for seed in range(plan.n_seeds)
        for run_name, build in plan.builders.items()
    ]
    train_data = plan.train_data if isinstance(plan.train_data, str) else plan.train_data()
    contest(name, rows, plan.points, train_data, plan.evaluated_on)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "generation")
