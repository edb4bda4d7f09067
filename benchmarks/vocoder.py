"""Vocoders on speakers that they never heard: ours, its twin without an opponent, Griffin-Lim; quality, hum and time.

    python tools/make_voices.py runs/voices --minutes 100                        # synthetic voices to learn from
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/vocoder.py train 8000           # or 16000; goes on where it stopped

Both twins begin with the same copyist and then learn for the same CPU seconds.
"""
import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from contest import Contender, train

from gan_audio_tut import datasets, vocoder, weights
from gan_audio_tut.mel import MelConfig

CONFIGS = {8000: MelConfig(), 16000: MelConfig(16000, 1024, 256, 80)}
START, BUDGET = 600, 1200  # CPU seconds of the copyist, and of each twin
LEARNED, VALID, TEST = ("george", "jackson", "lucas"), ("nicolas",), ("yweweler",)
OURS = vocoder.VocoderRecipe()


def spoken_by(names):
    "FSDD's recordings of these speakers, whatever their part in the official split."
    clips = datasets.fsdd("train+valid+test")
    return clips.take(np.isin(clips.speakers, [clips.voices.index(n) for n in names]))


def twins(sr, seed):
    "The copyist, then both twins, each turn by turn."
    plan, config = f"vocoder-{sr}", CONFIGS[sr]
    sounds = vocoder.lessons(spoken_by(LEARNED), sr, 2 * OURS.frames * config.hop_length, Path("runs/voices"))
    row = lambda name, recipe, points, start=None: Contender(plan, name, seed, vocoder.vocoder_gan(sounds, config, recipe, seed, start), None, points)
    first = row("start", replace(OURS, adversarial=0), (START,))
    train([first])
    start, second = weights.load_model(first.at(START)), replace(OURS, rate=OURS.rate / 2)
    train([row(name, replace(second, **change), (BUDGET // 2, BUDGET), start) for name, change in (("alone", {"adversarial": 0}), ("ours", {}))])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train"])
    parser.add_argument("sr", type=int, choices=CONFIGS)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    twins(args.sr, args.seed)
