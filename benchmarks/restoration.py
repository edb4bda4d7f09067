"""Restoration of held-out speakers and noises: ours, beside the usual tools.

    export GAN_AUDIO_TUT_DATA_DIR=...
    python benchmarks/restoration.py evaluate 8000 --on valid   # choices were made on these
    python benchmarks/restoration.py evaluate 8000 --on test    # these were evaluated once
    python benchmarks/restoration.py ablation 8000              # what a discriminator adds
    python benchmarks/restoration.py interpolation 8000         # between two training stages
    python benchmarks/restoration.py voicebank 16000 --on test  # for those who have VoiceBank-DEMAND

At 8 kHz the speakers are FSDD's `nicolas` (valid) and `yweweler` (test), in strings of digits, at
16 kHz real speech (the first two recordings of `speech16k`, and the other three). The noises are
ESC-10's fold 3 (valid) and 4 and 5 (test). The network was trained on folds 1 and 2, and on other
speakers. `ablation` needs runs/real and runs/voices: all its runs begin with the pretrained network
and continue for as many CPU seconds, interleaved, without a discriminator and with one of more or
less weight. `interpolation` needs the two stages' ends under runs/restore-8k.
"""

import argparse
import sys
import time
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
from common import write
from contest import Contender, train
from vocoder import TEST, VALID, single_words, spoken_by
from vocoder import speech as recordings

from gan_audio_tut import (
    audio,
    audio_io,
    baselines,
    datasets,
    degrade,
    fidelity,
    metrics,
    restoration,
    restoration_training,
    weights,
)
from gan_audio_tut.detection import detect_damage

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools"))
import restoration_data  # noqa: E402 - the line above makes it importable

METRICS = ("si_sdr", "segmental_snr", "pesq", "stoi", "estoi", "lsd")
SNRS = (0.0, 5.0, 10.0)
CASES_PER_SNR = 4  # for each kind of noise
SECONDS = 3.0
SECOND_PASS = "WebRTC, second pass"


def studio_files(part):
    "Recordings of two speakers for choices, or of three for the test; no network learned them."
    files = sorted((datasets.data_dir() / "speech16k").glob("*.flac"))
    return files[:2] if part == "valid" else files[2:]


def speech(sr, part, seed=5):
    "Endless: at 8 kHz strings of digits, at 16 kHz real speech in excerpts, over and over."
    n, rng = int(SECONDS * sr), np.random.default_rng(seed)
    if sr == 8000:
        clips = spoken_by(VALID if part == "valid" else TEST)
        words = [np.trim_zeros(y, "b") for y in clips.audio]
        while True:
            yield restoration_data.concatenate_recordings(words, n, sr, rng)
    yield from cycle(recordings(sr, studio_files(part), SECONDS))


def first_strings(sr, part, n):
    source = speech(sr, part, seed=7)
    return [next(source) for _ in range(n)]


def audible_crop(sounds, length, sr, rng):
    "A random crop of a noise; coloured noise where it is silent."
    noise = degrade.random_crop(sounds, length, rng)
    return noise if audio.rms(noise) > 1e-5 else degrade.coloured_noise(length, sr, rng)


def noisy_cases(sr, part):
    "Every class of noise at every SNR: dicts with clean, degraded, kind, snr."
    source, clips = speech(sr, part), datasets.esc10(part, sr=sr)
    rng = np.random.default_rng(6)
    for label, kind in enumerate(clips.classes):
        members = np.flatnonzero(clips.labels == label)
        for snr in SNRS:
            for _ in range(CASES_PER_SNR):
                clean = next(source)
                recording = clips.audio[rng.choice(members)]
                noise = audible_crop([recording], len(clean), sr, rng)
                degraded = degrade.add_noise(clean, noise, snr_db=snr)[0]
                yield {"clean": clean, "degraded": degraded, "kind": kind, "snr": snr}


def clipped_cases(sr, part):
    for clip_db in (3, 6, 9, 12, 15):
        for clean in first_strings(sr, part, 12):
            y, missing = degrade.hard_clip(clean, clip_db=clip_db)
            kind = f"{clip_db} dB below the peak"
            yield {"clean": clean, "degraded": y, "missing": missing, "kind": kind}


def band_limited_cases(sr, part):
    kind = f"{sr // 4000} of {sr // 2000} kHz"
    for clean in first_strings(sr, part, 24):
        degraded = degrade.band_limit(clean, sr, cutoff=sr / 4)
        yield {"clean": clean, "degraded": degraded, "kind": kind}


def dropout_cases(sr, part):
    for ms in (20, 50, 100):
        for k, clean in enumerate(first_strings(sr, part, 12)):
            rng = np.random.default_rng(k)
            y, missing = degrade.dropouts(clean, sr, rng, count=5, shortest=ms / 1000, longest=ms / 1000)
            kind = f"5 dropouts of {ms} ms"
            yield {"clean": clean, "degraded": y, "missing": missing, "kind": kind}


def cases_at_snr(sr, part, snr, n=40):
    "Strings under recorded noise of any kind, at one SNR."
    clips, rng = list(datasets.esc10(part, sr=sr).audio), np.random.default_rng(9)
    for clean in first_strings(sr, part, n):
        noise = audible_crop(clips, len(clean), sr, rng)
        degraded = degrade.add_noise(clean, noise, snr_db=snr)[0]
        yield {"clean": clean, "degraded": degraded, "kind": f"{snr:.0f} dB"}


def clean_excerpts(sr, part, n, seed=3):
    "1.2 to 6 s of studio speech, most of which begin and end in the middle of a word."
    rng = np.random.default_rng(seed)
    sounds = [audio.resample(*audio_io.load(path), sr) for path in studio_files(part)]
    while n:
        samples = int(sr * rng.uniform(1.2, 6))
        y = sounds[n % len(sounds)]
        start = rng.integers(len(y) - samples)
        excerpt = y[start : start + samples]
        if audio.rms(excerpt) > 3e-3:
            n -= 1
            yield excerpt


def make_cases(make, sr, part):
    return [case | {"sr": sr} for case in make(sr, part)]


def noisereduce(y, sr, stationary):
    """noisereduce in windows of 64 ms.

    That is its default at 16 kHz, and on valid the best of 16, 32, 64 and 128 ms (its default)
    at 8 kHz.
    """
    import noisereduce

    n_fft = 2 ** round(np.log2(0.064 * sr))
    out = noisereduce.reduce_noise(y=y, sr=sr, stationary=stationary, n_fft=n_fft)
    return out.astype(np.float32)


