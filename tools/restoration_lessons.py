"""What a restorer learns from: sentences of many voices, noises, and a bank of clipped and holed sounds.

Real voices come from `tools/fetch_speech.py runs/real`, synthetic ones from `tools/make_voices.py runs/voices
--minutes 100`, words from three of FSDD's speakers, noises from ESC-10's folds 1 and 2. FSDD's `nicolas` and ESC-10's
fold 3 are for choices, `yweweler` and folds 4 and 5 for the test; `speech16k` for both, at either rate.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from gan_audio_tut import audio, audio_io, datasets, degrade, restoration_training

REAL, SYNTHETIC = Path("runs/real"), Path("runs/voices")
LEARNED = ("george", "jackson", "lucas")
SHARES = {
    "words": 0.23,
    "synthetic": 0.2,
    "prompts": 0.4,
    "letters": 0.17,
}  # of the sentences: FSDD, espeak-ng, telephony and reading, KLettres
SECONDS = 2.048
LATER = restoration_training.RestorationConfig(
    g_lr=3e-4, snr=(-5, 45), decay_steps=1500
)  # at last, what is nearly clean as well
RESTORERS = {  # what ships: the network, and how it learns, leg by leg, each in as many steps as its rate takes to fall
    "restore-8k": (
        {"sr": 8000, "n_fft": 512, "hop_length": 128},
        (restoration_training.RestorationConfig(decay_steps=9000), LATER),
    ),
    "restore-16k": (
        {"sr": 16000, "n_fft": 512, "hop_length": 256},
        (
            restoration_training.RestorationConfig(shares=(18, 6, 4, 4), decay_steps=7800),
            replace(LATER, decay_steps=600),
        ),
    ),
}


def recordings(folder, sr, shortest=0.15):
    "Voice -> its recordings, trimmed, at `sr`: all of them were made at that rate or above."
    if not folder.is_dir():
        raise audio.InputError(
            f"{folder}: no such folder; see the head of tools/restoration_lessons.py"
        )
    found = {}
    for path in sorted(folder.rglob("*.flac")):
        y, rate = audio_io.load(path)
        if rate < sr or (sr == 8000 and path.parent.name.endswith("-wide")):
            continue  # at 8 kHz the prompts come without a codec
        y = audio.trim(audio.resample(y, rate, sr), sr)
        if len(y) > shortest * sr:
            found.setdefault(path.parent.name if folder == REAL else path.stem, []).append(y)
    return {k: v for k, v in found.items() if sum(map(len, v)) > 20 * sr or folder != REAL}


def words(sr):
    "The learned speakers' words of FSDD; nothing above 8 kHz."
    clips = datasets.fsdd("train+valid+test")
    say = lambda name: [
        audio.trim(y, sr) for y in clips.audio[clips.speakers == clips.speaker_names.index(name)]
    ]
    return {name: say(name) for name in LEARNED} if sr == 8000 else {}


def sentence(said, samples, sr, rng):
    "Recordings of one voice in a row, with pauses of 0.02 to 0.5 s, their levels 1.5 dB apart; `samples` of it."
    y = np.zeros(int(rng.uniform(0, 0.3) * sr), np.float32)
    while len(y) < samples:
        one = said[rng.integers(len(said))]
        at = rng.integers(max(1, len(one) - samples))  # somewhere in a long one
        one = (
            audio.normalize_rms(one[at : at + samples], -20 + rng.normal(0, 1.5))
            if audio.rms(one[at : at + samples]) > 1e-4
            else one[:0]
        )
        y = np.concatenate([y, one, np.zeros(int(rng.uniform(0.02, 0.5) * sr), np.float32)])
    return y[:samples].astype(np.float32)


def varied(y, samples, sr, rng):
    "Played up to 15 % faster or slower, seven times in ten, and through a crooked microphone every other time."
    if rng.random() < 0.7:
        y = audio.resample(y, sr, round(sr / rng.uniform(0.85, 1.15)))
    y = y[:samples]
    return degrade.random_eq(y, rng, std_db=3.0) if rng.random() < 0.5 else y


def speech(sr, n=6400, seed=0):
    "(n, samples) of RMS 0.1: sentences of every voice in turn."
    samples, rng, out = round(SECONDS * sr / 512) * 512, np.random.default_rng(seed), []
    real = recordings(REAL, sr)
    voices = {
        "words": words(sr),
        "synthetic": recordings(SYNTHETIC, sr),
        "letters": {k: v for k, v in real.items() if k.startswith("klettres")},
        "prompts": {k: v for k, v in real.items() if not k.startswith("klettres")},
    }
    print(
        {
            k: f"{len(v)} voices, {sum(len(y) for said in v.values() for y in said) / sr / 60:.0f} min"
            for k, v in voices.items()
        },
        flush=True,
    )
    for kind, said in voices.items():
        for k in range(round(SHARES[kind] * n) if said else 0):
            late = (
                rng.integers(sr) if rng.random() < 0.5 else 0
            )  # every other one begins somewhere in a word, as a cut file does
            y = varied(
                sentence(list(said.values())[k % len(said)], round(1.25 * samples) + late, sr, rng)[
                    late:
                ],
                samples,
                sr,
                rng,
            )
            if audio.rms(y) > 1e-4:
                out.append(0.1 * y / audio.rms(y))
    return rng.permutation(np.stack(out)).astype(np.float32)


def lessons(sr, folder, seed=0):
    "(speech, noises, bank), made once and kept in `folder`."
    path = Path(folder) / "lessons.npz"
    if not path.exists():
        said = speech(sr, seed=seed)
        noises = restoration_training.training_noises(
            4000,
            said.shape[1],
            sr,
            list(datasets.esc10("train", sr=sr).audio),
            list(said[::20]),
            seed + 1,
        )
        kept = restoration_training.training_bank(said, sr, 3000, 2000, seed + 2)
        path.parent.mkdir(parents=True, exist_ok=True)
        with audio_io.atomic_write(path) as part, open(part, "wb") as f:
            np.savez(f, said, noises, *kept)
    with np.load(path) as found:
        said, noises, *kept = found.values()
    return said, noises, (*kept[:4], int(kept[4]))
