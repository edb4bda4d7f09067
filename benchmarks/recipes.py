"""The textbook recipe against ours, and what each change is worth, at equal CPU seconds on real recordings.

    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/recipes.py recipes    # 2 recipes x 3 seeds
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/recipes.py changes    # one change at a time, 9 runs
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/recipes.py losses     # which loss to start from: 2 losses x 2 seeds

`recipes` learns from FSDD's official training recordings and is judged on the official test. `changes` and `losses`
are there to choose by, so the test stays out of them: they learn from the training recordings less the validation
part, and are judged on that.
"""

import sys
from dataclasses import replace
from functools import cache

from contest import contest

from gan_audio_tut import datasets, specgan

OURS, TEXTBOOK = specgan.RECIPES["specgan"], specgan.RECIPES["dcgan"]
CHANGES = {  # each row changes one thing of the row above it, down to ours
    "dcgan": TEXTBOOK,
    "+ R1, no batch norm in D": (step := replace(TEXTBOOK, r1=OURS.r1, d_norm=None)),
    "+ rates x4 and x8, beta_2 0.9": (
        step := replace(step, g_lr=OURS.g_lr, d_lr=OURS.d_lr, beta_2=OURS.beta_2)
    ),
    "+ per-position norm in G": (step := replace(step, g_norm="pixel")),
    "+ averaged weights (ours)": replace(step, ema_decay=OURS.ema_decay),
    # and ours with one thing changed
    "ours, relativistic": replace(OURS, loss="relativistic"),
    "ours, hinge": replace(OURS, loss="hinge"),
    "ours, least squares": replace(OURS, loss="least_squares"),
    "ours, no labels": replace(OURS, conditional=False),
}
LOSSES = {
    "non-saturating": replace(OURS, loss="non_saturating"),
    "least squares": replace(OURS, loss="least_squares"),
}
PLANS = {  # name -> (recipes, seeds, points in CPU seconds where they are judged, learned from, judged on)
    "recipes": (
        {"dcgan": TEXTBOOK, "specgan": OURS},
        3,
        (460, 800, 1140),
        "train+valid",
        "test",
    ),  # 4, 7 and 10 minutes of two idle cores
    "changes": (CHANGES, 1, (460,), "train", "valid"),
    "losses": (LOSSES, 2, (460, 1140), "train", "valid"),
}


@cache
def settings(learned):
    return specgan.infer_mel_config(datasets.fsdd(learned))


def main(plan):
    recipes, seeds, points, learned, judged = PLANS[plan]
    hear = lambda net, labels, seed: specgan.decode_audio(
        specgan.sample(net, labels, seed), settings(learned)
    )
    build = lambda recipe: (
        lambda clips, seed: specgan.build_specgan(clips, recipe, settings(learned), seed)
    )
    contest(
        plan,
        [(name, s, build(r), hear) for s in range(seeds) for name, r in recipes.items()],
        points,
        learned,
        judged,
    )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "recipes")
