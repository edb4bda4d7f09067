"""What the restorers are trained on: sentences of many voices, noises, a bank of missing samples.

Real voices come from `tools/fetch_speech.py runs/real`, synthetic ones from `tools/make_voices.py
runs/voices --minutes 100`, words from three of FSDD's speakers, noises from ESC-10's folds 1 and 2.
FSDD's `nicolas` and ESC-10's fold 3 are for choices, `yweweler` and folds 4 and 5 for the test;
`speech16k` is for both, at either rate.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from gan_audio_tut import audio, audio_io, datasets, degrade
from gan_audio_tut.restoration_training import (
    RestorationConfig,
    training_bank,
    training_noises,
)

REAL, SYNTHETIC = Path("runs/real"), Path("runs/voices")
TRAINING_SPEAKERS = ("george", "jackson", "lucas")  # of FSDD
SHARES = {  # of the sentences
    "words": 0.23,  # FSDD
    "synthetic": 0.2,  # espeak-ng
    "prompts": 0.4,  # telephony and readings
    "letters": 0.17,  # KLettres
}
SECONDS = 2.048
# the last stage: what is nearly clean as well
FINE_TUNING = RestorationConfig(g_lr=3e-4, snr=(-5, 45), decay_steps=1500)
# what ships: the network, and its training stages, each for as many steps as its rate decays
RESTORERS = {
    "restore-8k": (
        {"sr": 8000, "n_fft": 512, "hop_length": 128},
        (RestorationConfig(decay_steps=9000), FINE_TUNING),
    ),
    "restore-16k": (
        {"sr": 16000, "n_fft": 512, "hop_length": 256},
        (
            RestorationConfig(shares=(18, 6, 4, 4), decay_steps=7800),
            replace(FINE_TUNING, decay_steps=600),
        ),
    ),
}


def recordings(folder, sr, shortest=0.15):
    "Voice -> its recordings, trimmed, at `sr`: all of them were made at that rate or above."
    if not folder.is_dir():
        raise audio.InputError(f"{folder}: no such folder; see the head of {__file__}")
    voices = {}
    for path in sorted(folder.rglob("*.flac")):
        y, rate = audio_io.load(path)
        if rate < sr or (sr == 8000 and path.parent.name.endswith("-wide")):
            continue  # at 8 kHz the prompts come without a codec
        y = audio.trim(audio.resample(y, rate, sr), sr)
        if len(y) > shortest * sr:
            voice = path.parent.name if folder == REAL else path.stem
            voices.setdefault(voice, []).append(y)
    if folder != REAL:
        return voices
    return {name: sounds for name, sounds in voices.items() if sum(map(len, sounds)) > 20 * sr}


def words(sr):
    "The training speakers' words of FSDD; none where `sr` is above 8 kHz."
    clips = datasets.fsdd("train+valid+test")
    if sr != 8000:
        return {}
    voices = {}
    for name in TRAINING_SPEAKERS:
        mine = clips.audio[clips.speakers == clips.speaker_names.index(name)]
        voices[name] = [audio.trim(y, sr) for y in mine]
    return voices


def concatenate_recordings(sounds, samples, sr, rng):
    "Recordings of one voice in a row, with pauses of 0.02 to 0.5 s, their levels 1.5 dB apart."
    y = np.zeros(int(rng.uniform(0, 0.3) * sr), np.float32)
    while len(y) < samples:
        sound = sounds[rng.integers(len(sounds))]
        start = rng.integers(max(1, len(sound) - samples))  # somewhere in a long one
        sound = sound[start : start + samples]
        if audio.rms(sound) > 1e-4:
            sound = audio.normalize_rms(sound, target_db=-20 + rng.normal(0, 1.5))
        else:
            sound = sound[:0]
        pause = np.zeros(int(rng.uniform(0.02, 0.5) * sr), np.float32)
        y = np.concatenate([y, sound, pause])
    return y[:samples].astype(np.float32)


def augment(y, samples, sr, rng):
    "Up to 15 % faster or slower, seven times in ten, and a random equaliser every other time."
    if rng.random() < 0.7:
        y = audio.resample(y, sr, round(sr / rng.uniform(0.85, 1.15)))
    y = y[:samples]
    return degrade.random_eq(y, rng, std_db=3.0) if rng.random() < 0.5 else y


def speech(sr, n=6400, seed=0):
    "(n, samples) of RMS 0.1: sentences of every voice in turn."
    samples = round(SECONDS * sr / 512) * 512
    rng, sentences = np.random.default_rng(seed), []
    real = recordings(REAL, sr)
    kinds = {
        "words": words(sr),
        "synthetic": recordings(SYNTHETIC, sr),
        "letters": {k: v for k, v in real.items() if k.startswith("klettres")},
        "prompts": {k: v for k, v in real.items() if not k.startswith("klettres")},
    }
    for kind, voices in kinds.items():
        minutes = sum(len(y) for sounds in voices.values() for y in sounds) / sr / 60
        print(f"{kind}: {len(voices)} voices, {minutes:.0f} min", flush=True)
    for kind, voices in kinds.items():
        voices = list(voices.values())
        for k in range(round(SHARES[kind] * n) if voices else 0):
            # every other one begins somewhere in a word, as a cut file does
            skip = rng.integers(sr) if rng.random() < 0.5 else 0
            sounds = voices[k % len(voices)]
            y = concatenate_recordings(sounds, round(1.25 * samples) + skip, sr, rng)
            y = augment(y[skip:], samples, sr, rng)
            if audio.rms(y) > 1e-4:
                sentences.append(0.1 * y / audio.rms(y))
    return rng.permutation(np.stack(sentences)).astype(np.float32)


def load_training_data(sr, folder, seed=0):
    "(speech, noises, bank), made once and kept in `folder`."
    path = Path(folder) / "training_data.npz"
    if not path.exists():
        make_training_data(path, sr, seed)
    with np.load(path) as arrays:
        sentences, noises, *bank, n_clipped = arrays.values()
    return sentences, noises, (*bank, int(n_clipped))


def make_training_data(path, sr, seed):
    sentences = speech(sr, seed=seed)
    noises = training_noises(
        4000,
        sentences.shape[1],
        sr,
        recorded=list(datasets.esc10("train", sr=sr).audio),
        voices=list(sentences[::20]),
        seed=seed + 1,
    )
    bank = training_bank(sentences, sr, n_clipped=3000, n_dropouts=2000, seed=seed + 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    with audio_io.atomic_write(path) as part, open(part, "wb") as f:
        np.savez(f, sentences, noises, *bank)
