"""The DCGAN recipe against ours, and what each change is worth, at equal CPU seconds.

    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/recipes.py recipes
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/recipes.py changes
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/recipes.py losses

- `recipes`: 2 recipes with 3 seeds each. They learn from FSDD's official training recordings and
  are evaluated on the official test.
- `changes`: one change at a time, 9 runs.
- `losses`: which loss to start from, 2 losses with 2 seeds each.

The last two are there to choose by, so the test stays out of them: they learn from the training
recordings without the validation part, and are evaluated on that.
"""

import sys
from dataclasses import dataclass, replace
from functools import cache

from contest import contest

from gan_audio_tut import datasets, specgan

SPECGAN, DCGAN = specgan.RECIPES["specgan"], specgan.RECIPES["dcgan"]


def one_change_at_a_time():
    "Each row changes one thing of the row above it, from DCGAN to SpecGAN."
    r1 = replace(DCGAN, r1=SPECGAN.r1, d_norm=None)
    rates = replace(r1, g_lr=SPECGAN.g_lr, d_lr=SPECGAN.d_lr, beta_2=SPECGAN.beta_2)
    norm = replace(rates, g_norm="pixel")
    return {
        "dcgan": DCGAN,
        "+ R1, no batch norm in D": r1,
        "+ learning rates x4 and x8, beta_2 0.9": rates,
        "+ RMSNorm in G": norm,
        "+ EMA (ours)": replace(norm, ema_decay=SPECGAN.ema_decay),
    }


CHANGES = {
    **one_change_at_a_time(),
    # and ours with one thing changed
    "ours, relativistic": replace(SPECGAN, loss="relativistic"),
    "ours, hinge": replace(SPECGAN, loss="hinge"),
    "ours, least squares": replace(SPECGAN, loss="least_squares"),
    "ours, no labels": replace(SPECGAN, conditional=False),
}
LOSSES = {
    "non-saturating": replace(SPECGAN, loss="non_saturating"),
    "least squares": replace(SPECGAN, loss="least_squares"),
}


@dataclass(frozen=True)
class Plan:
    "One benchmark."

    recipes: dict[str, specgan.TrainConfig]
    n_seeds: int
    points: tuple[int, ...]  # CPU seconds at which the runs are evaluated
    train_data: str  # splits of FSDD
    evaluated_on: str


PLANS = {
    # 4, 7 and 10 minutes of two idle cores
    "recipes": Plan(
        {"dcgan": DCGAN, "specgan": SPECGAN}, 3, (460, 800, 1140), "train+valid", "test"
    ),
    "changes": Plan(CHANGES, 1, (460,), "train", "valid"),
    "losses": Plan(LOSSES, 2, (460, 1140), "train", "valid"),
}


@cache
def mel_config(train_data):
    return specgan.infer_mel_config(datasets.fsdd(train_data))


def specgan_builder(recipe, train_data):
    "(dataset, seed) -> TrainState of the recipe."

    def build(dataset, seed):
        return specgan.build_specgan(dataset, recipe, mel_config(train_data), seed)

    return build


def waveform_generator(train_data):
    "(generator, labels, seed) -> waveforms, one for each label."

    def generate(generator, labels, seed):
        return specgan.decode_audio(specgan.sample(generator, labels, seed), mel_config(train_data))

    return generate


def main(name):
    plan = PLANS[name]
    generate = waveform_generator(plan.train_data)
    rows = [
        (run_name, seed, specgan_builder(recipe, plan.train_data), generate)
        for seed in range(plan.n_seeds)
        for run_name, recipe in plan.recipes.items()
    ]
    contest(name, rows, plan.points, plan.train_data, plan.evaluated_on)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "recipes")
