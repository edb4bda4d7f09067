"""Generators of sound at equal CPU seconds on real recordings: WaveGAN as published, in a width that two cores can carry.

    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/generation.py

The picture GANs had the same budget, data and judge in `recipes.py recipes`.
"""
from contest import contest

from gan_audio_tut import wavegan

POINTS = (460, 800, 1140)  # CPU seconds: 4, 7 and 10 minutes of two idle cores


def main(seeds=1):
    build = lambda clips, seed: wavegan.wave_gan(clips, seed=seed)
    hear = lambda net, labels, seed: wavegan.speak_waves(net, len(labels), seed)
    contest("generation", [("wavegan", s, build, hear) for s in range(seeds)], POINTS, "train+valid", "test")


if __name__ == "__main__": main()
