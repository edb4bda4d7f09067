"""Vocoders on speakers that they never heard: ours, its twin without an opponent, Griffin-Lim; quality, hum and time.

    python tools/make_voices.py runs/voices --minutes 100                        # synthetic voices to learn from
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/vocoder.py train 8000           # or 16000; goes on where it stopped
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/vocoder.py judge 8000 --on valid [--lean 0.1]
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/vocoder.py trials 8000          # what was tried and not taken
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/vocoder.py opponents 8000       # how much say the opponent should have
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/vocoder.py taught 8000          # other lessons; needs tools/fetch_speech.py runs/real
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/vocoder.py leaning 8000         # those, and towards which magnitudes to lean

All twins begin with the same copyist and then learn for the same CPU seconds: alone, against our opponent, against a
hinge loss. At 8 kHz they have the recipe that ships, at 16 kHz, and in all trials, the older one. At 8 kHz the test is the FSDD speaker `yweweler`, at 16 kHz three of the five real speakers in `speech16k`;
the choices were made on the others.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import librosa
import numpy as np
import tensorflow as tf
from common import write
from contest import Contender, rounded, train

from gan_audio_tut import (
    audio,
    audio_io,
    datasets,
    fidelity,
    istft_gan,
    metrics,
    restoration_training,
    vocoder_training,
    weights,
)
from gan_audio_tut.mel import MelConfig, mel_spectrogram, mel_to_audio

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools"))
import restoration_lessons  # noqa: E402

CONFIGS = {8000: MelConfig(), 16000: MelConfig(16000, 1024, 256, 80)}
START, BUDGET = 600, 1200  # CPU seconds of the copyist, and of each twin
TRIPS = {8000: 8, 16000: 6}  # round trips of the judged; they learned with four, for a shorter step
TWINS = {
    "no-adv": {"adversarial": 0},
    "adv": {},
    "hinge": {"loss": "hinge", "r1": 0.0, "adversarial": 0.07},
}
SHORT = 240  # CPU seconds of a trial after the copyist; one more trial has no copyist, and as many seconds in all
TRIALS = {
    "no-adv": {"adversarial": 0},
    "adv": {},
    "feature matching": {"features": 5.0},
    "periods of 3 and 5": {"periods": (3, 5)},
}
WEIGHTS = {f"weight {w:g}": {"adversarial": w} for w in (0.0, 1.0, 2.0, 5.0)}  # of the opponent
LEARNED, VALID, TEST = ("george", "jackson", "lucas"), ("nicolas",), ("yweweler",)
OLDER = vocoder_training.VocoderConfig(
    adversarial=5.0, lsd=0.0, magnitude_weight=0.3, learned_magnitude=False
)  # what the trials began with
RECIPES = {8000: vocoder_training.VocoderConfig(), 16000: OLDER}


def spoken_by(names):
    "FSDD's recordings of these speakers, whatever their part in the official split."
    clips = datasets.fsdd("train+valid+test")
    return clips.select(np.isin(clips.speakers, [clips.speaker_names.index(n) for n in names]))


def lessons(words, config, recipe, voices=Path("runs/voices")):
    "Stretches twice as long as a run cuts from them: these words, the synthetic voices, hisses."
    if not voices.is_dir():
        raise audio.InputError(
            f"{voices}: no such folder; run: python tools/make_voices.py {voices} --minutes 100"
        )
    return vocoder_training.training_sounds(
        words, config.sr, 2 * recipe.frames * config.hop_length, voices
    )


def starts(sr, seed, sounds=None, plan=None, recipe=OLDER):
    "A maker of runs, the trained copyist that they begin with, and the recipe for what follows."
    config, first_plan = CONFIGS[sr], plan or f"vocoder-{sr}" + "-older" * (recipe != RECIPES[sr])
    if sounds is None:
        sounds = lessons(spoken_by(LEARNED), config, OLDER)
    row = lambda name, recipe, points, start=None, plan=first_plan: Contender(
        plan,
        name,
        seed,
        vocoder_training.build_vocoder_gan(sounds, config, recipe, seed, start),
        None,
        points,
    )
    first = row("pretrained", replace(recipe, adversarial=0), (START,))
    train([first])
    return row, weights.load_model(first.at(START)), replace(recipe, learning_rate=recipe.g_lr / 2)


def twins(sr, seed):
    "The copyist, then its twins, each turn by turn."
    row, start, second = starts(sr, seed, recipe=RECIPES[sr])
    train(
        [
            row(name, replace(second, **change), (BUDGET // 2, BUDGET), start)
            for name, change in TWINS.items()
        ]
    )


def judged(way, sr, part):
    "All figures of a way on those nobody has learned."
    found = {
        k: rounded(figures(way, sounds, CONFIGS[sr])) for k, sounds in unheard(sr, part).items()
    } | {"hiss": rounded(hissed(way, CONFIGS[sr]))}
    return found | (
        {"recognition": rounded(heard(way, single_words(part), CONFIGS[sr]))} if sr == 8000 else {}
    )


def tried(sr, rows):
    "Train, and judge on the validation speaker."
    train(rows)
    results = {}
    for c in rows:
        results[c.name] = {"steps": int(c.state.step)} | judged(
            ready(c.at(c.points[-1])), sr, "valid"
        )
        print(c.name, results[c.name], flush=True)
    return results


def trials(sr, seed):
    "The same in small, for what was not taken."
    (row, start, second), plan = starts(sr, seed), f"vocoder-{sr}-trials"
    rows = [
        row(name, replace(second, **change), (SHORT,), start, plan)
        for name, change in TRIALS.items()
    ]
    rows += [row("from the first step", OLDER, (START + SHORT,), plan=plan)]
    write(
        plan,
        {
            "seed": seed,
            "cpu_s": {"reconstruction only": START, "then": SHORT},
            "scores": tried(sr, rows),
        },
    )


def opponents(sr, seed):
    "Twins whose opponent has more or less of a say."
    (row, start, second), plan = starts(sr, seed), f"vocoder-{sr}-opponents"
    rows = [
        row(name, replace(second, **change), (BUDGET,), start, plan)
        for name, change in WEIGHTS.items()
    ]
    results = tried(sr, rows)
    alone, ours = (weights.load_model(c.at(BUDGET)) for c in (rows[0], rows[-1]))
    results["mean of the first and the last"] = judged(
        ready(restoration_training.interpolate_weights(alone, ours)), sr, "valid"
    )
    write(
        plan,
        {
            "seed": seed,
            "cpu_s": {"reconstruction only": START, "then": BUDGET},
            "scores": results,
            "weight 1 on the test": judged(ready(rows[1].at(BUDGET)), sr, "test"),
        },
    )


def with_real_voices(sr):
    "The lessons, and a restorer's sentences, which hold real voices too."
    words = lessons(spoken_by(LEARNED), CONFIGS[sr], OLDER)
    return np.random.default_rng(0).permutation(
        np.concatenate([words, restoration_lessons.speech(sr)[:, : words.shape[1]]])
    )


def taught(sr, seed):
    "Twins of weight 1 whose lessons hold real voices too; the second is asked for the LSD itself."
    plan = f"vocoder-{sr}-taught"
    row, start, second = starts(sr, seed, with_real_voices(sr), plan)
    rows = [
        row(name, replace(second, adversarial=1.0, lsd=lsd), (BUDGET,), start, plan)
        for name, lsd in {"real speech": 0.0, "real speech, LSD as a loss": 0.5}.items()
    ]
    write(
        plan,
        {
            "seed": seed,
            "cpu_s": {"reconstruction only": START, "then": BUDGET},
            "scores": tried(sr, rows),
        },
    )


def leaning(sr, seed):
    "The second of those, leaning from the first step towards its own magnitudes in place of the bands': a little, and much."
    sounds, results = with_real_voices(sr), {}
    for lean in (0.3, 0.7):
        plan = f"vocoder-{sr}-own-{lean:g}"
        row, start, second = starts(
            sr,
            seed,
            sounds,
            plan,
            replace(OLDER, lsd=0.5, magnitude_weight=lean, learned_magnitude=True),
        )
        results[f"own, lean {lean:g}, no opponent yet"] = judged(ready(start), sr, "valid")
        results[f"own, lean {lean:g}"] = tried(
            sr, [row("adv", replace(second, adversarial=1.0), (BUDGET,), start, plan)]
        )["adv"]
    write(
        f"vocoder-{sr}-leaning",
        {"seed": seed, "cpu_s": {"reconstruction only": START, "then": BUDGET}, "scores": results},
    )


def whole(y, sr):
    return audio.normalize_rms(y[: len(y) // CONFIGS[sr].hop_length * CONFIGS[sr].hop_length], -23)


def sentences(names, n=40, words=6, seed=0):
    "Words of these FSDD speakers, six in a row."
    clips, rng = spoken_by(names), np.random.default_rng(seed)
    pause = np.zeros(400, np.float32)
    say = lambda: np.concatenate(
        [
            v
            for k in rng.choice(len(clips), words)
            for v in (audio.trim(clips.audio[k], 8000), pause)
        ]
    )
    return [whole(say(), 8000) for _ in range(n)]


def speech(sr, files, seconds=4.0):
    "Real recordings of 16 kHz, in pieces."
    found = []
    for path in files:
        y, n = audio_io.load(path, sr)[0], int(seconds * sr)
        found += [
            whole(y[k : k + n], sr)
            for k in range(0, len(y) - n, n)
            if audio.amplitude_to_db(audio.rms(y[k : k + n])) > -50
        ]
    return found


def unheard(sr, part):
    "What nobody has learned: FSDD's word by word speakers at 8 kHz, real speech at both rates."
    files = sorted((datasets.data_dir() / "speech16k").glob("*.flac"))
    real = speech(sr, files[:2] if part == "valid" else files[2:])
    return (
        {"words": sentences(VALID if part == "valid" else TEST), "speech": real}
        if sr == 8000
        else {"speech": real}
    )


def by_librosa(mel, config, steps):
    "What a user would do: non-negative least squares, then Griffin-Lim, with librosa's defaults."
    bins = librosa.feature.inverse.mel_to_stft(
        np.asarray(mel)[0].T, sr=config.sr, n_fft=config.n_fft, power=1.0
    )
    return librosa.griffinlim(
        bins, n_iter=steps, hop_length=config.hop_length, pad_mode="reflect", random_state=0
    )[None]


def ready(net, lean=None):
    "A network, or the path to one, to be judged: with as many round trips as all, leaning as it learned to or as told."
    if isinstance(net, Path):
        net = weights.load_model(net)
    net.layers[-1].trips = TRIPS[net.layers[-1].config.sr]
    if lean is not None:
        net.layers[-1].lean = lean
    return tf.function(net, reduce_retracing=True)


def ways(sr, seed, lean=None, names=("pretrained", *TWINS)):
    "Every way from bands to sound: mel (1, frames, bands) -> (1, samples); `names` of the twins among them."
    config, folder = CONFIGS[sr], Path("runs/bench") / f"vocoder-{sr}"
    found = {f"librosa, {n} rounds": partial(by_librosa, config=config, steps=n) for n in (32, 60)}
    found["Griffin-Lim with mel consistency, 60 iterations"] = lambda mel: mel_to_audio(
        mel, config, n_iter=60
    )
    for name in names:
        kept = sorted((folder / f"{name}-{seed}").glob("*.keras"), key=lambda p: int(p.stem))
        if kept:
            found[name] = ready(kept[-1], lean)
        else:
            raise audio.InputError(
                f"{folder}: no network {name} yet; run: python benchmarks/vocoder.py train {sr}"
            )
    ships = weights.load_model(name := f"vocoder-{sr // 1000}k")
    if lean is not None:
        ships.layers[-1].lean = lean
    found[f"{name}, as it ships" if lean is None else f"{name}, lean {lean:g}"] = tf.function(
        ships, reduce_retracing=True
    )
    return found


def figures(way, sounds, config):
    "Means over sounds, with the half width of their 95 % interval."
    rows = [
        fidelity.score(y, np.asarray(way(mel_spectrogram(y[None], config)))[0][: len(y)], config.sr)
        for y in sounds
    ]
    values = {
        k: np.array([r[k] for r in rows])
        for k in ("pesq", "lsd", "stft", "stoi", "estoi")
        if k in rows[0]
    }
    return {k: [np.nanmean(v), 1.96 * np.nanstd(v) / len(v) ** 0.5] for k, v in values.items()}


def single_words(part):
    "A fifth of the recordings of those nobody has learned."
    clips = spoken_by(VALID if part == "valid" else TEST)
    return clips.select(np.arange(0, len(clips), 5))


def heard(way, clips, config):
    "What needs no pairs: what the recogniser hears of copied words, and their pulses."
    y = np.concatenate([np.asarray(way(mel_spectrogram(v[None], config))) for v in clips.audio])
    out = metrics.predict_features(weights.load_model("classifier-8k"), y)
    return {
        "accuracy": np.mean(out["label"].argmax(1) == clips.labels),
        "f0_modulation": istft_gan.f0_envelope_modulation(y, config.sr),
    }


def hissed(way, config):
    hiss = 0.05 * np.random.default_rng(0).standard_normal(
        (8, 4 * config.sr // config.hop_length * config.hop_length)
    ).astype(np.float32)
    y = np.concatenate([np.asarray(way(mel_spectrogram(v[None], config))) for v in hiss])
    return {
        "hop_rate_periodicity": vocoder_training.hop_rate_periodicity(
            y, config.sr, config.sr / config.hop_length
        ),
        "log_magnitude_std": vocoder_training.log_magnitude_std(y, config.n_fft),
    }


class Peers:
    "Published PyTorch networks in a process of their own (see peers.py); each entry of `ways` runs one and returns its seconds."

    def __init__(self, python):
        self.process = subprocess.Popen(
            [python, Path(__file__).with_name("peers.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ways = {name: partial(self.ask, name) for name in self.ask("names").split(";")}

    def ask(self, line):
        print(line, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()


def seconds_of(act):
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def paces(found, sr, peers=None, rounds=7):
    "Seconds of sound made in a second of time: ten seconds at a time, batch 1, all ways by turns, the median."
    config = CONFIGS[sr]
    y = np.concatenate(unheard(sr, "valid")["speech"])[
        : 10 * sr // config.hop_length * config.hop_length
    ]
    mel = mel_spectrogram(y[None], config)
    bins = librosa.feature.inverse.mel_to_stft(
        np.asarray(mel)[0].T, sr=sr, n_fft=config.n_fft, power=1.0
    )
    timed = {
        name: partial(seconds_of, lambda way=way: np.asarray(way(mel)))
        for name, way in found.items()
    }
    timed["librosa, 60 iterations, STFT magnitude given"] = partial(
        seconds_of, lambda: librosa.griffinlim(bins, n_iter=60, hop_length=config.hop_length)
    )
    if peers:
        timed |= {name: lambda ask=ask: float(ask()) for name, ask in Peers(peers).ways.items()}
    taken = [{name: act() for name, act in timed.items()} for _ in range(rounds + 1)][
        1:
    ]  # the first time is for tracing
    return {name: 10 / np.median([row[name] for row in taken]) for name in timed}


def judge(sr, seed, part, peers, lean, shipped):
    found, results = ways(sr, seed, lean, () if shipped else ("pretrained", *TWINS)), {}
    for name, way in found.items():
        results[name] = judged(way, sr, part)
        print(name, results[name], flush=True)
    facts = {
        "seed": seed,
        "n_iter": weights.model_card(f"vocoder-{sr // 1000}k")["n_iter"] if shipped else TRIPS[sr],
        "f0_modulation of the real words": round(
            istft_gan.f0_envelope_modulation(single_words(part).audio, 8000), 4
        ),
        "scores": results,
    }
    if part == "test":
        facts["times real time"] = rounded(paces(found, sr, peers))
    write(
        f"vocoder-{sr}-{part}"
        + "-shipped" * shipped
        + (f"-lean-{lean:g}" if lean is not None else ""),
        facts,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what", choices=["train", "judge", "trials", "opponents", "taught", "leaning"]
    )
    parser.add_argument("sr", type=int, choices=CONFIGS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--on", choices=["valid", "test"], default="valid", help="whom to judge on")
    parser.add_argument(
        "--peers",
        help="a python that has torch, transformers and vocos: their time stands in the table too",
    )
    parser.add_argument(
        "--shipped", action="store_true", help="judge what ships, without the twins"
    )
    parser.add_argument(
        "--lean", type=float, help="judge the networks leaning otherwise than they learned to"
    )
    args = parser.parse_args()
    try:
        if args.what == "judge":
            judge(args.sr, args.seed, args.on, args.peers, args.lean, args.shipped)
        else:
            {
                "train": twins,
                "trials": trials,
                "opponents": opponents,
                "taught": taught,
                "leaning": leaning,
            }[args.what](args.sr, args.seed)
    except audio.InputError as e:
        sys.exit(str(e))
