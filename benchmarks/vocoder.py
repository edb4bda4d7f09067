"""Vocoders on speakers outside their training data: with and without discriminators, Griffin-Lim.

    python tools/make_voices.py runs/voices --minutes 100   # synthetic voices to train on
    export GAN_AUDIO_TUT_DATA_DIR=...
    python benchmarks/vocoder.py train 8000                 # or 16000; goes on where it stopped
    python benchmarks/vocoder.py evaluate 8000 --on valid [--magnitude-weight 0.1]
    python benchmarks/vocoder.py trials 8000                # what was tried and not taken
    python benchmarks/vocoder.py adversarial-weight 8000    # weights of the adversarial losses
    python benchmarks/vocoder.py training-data 8000         # needs tools/fetch_speech.py runs/real
    python benchmarks/vocoder.py magnitude-weight 8000      # and the target of that weight

All ablation runs begin with the same reconstruction-only model and then train for the same CPU
seconds: without discriminators, with them, with a hinge loss. At 8 kHz they have the configuration
that ships, at 16 kHz, and in all trials, the older one. At 8 kHz the test is the FSDD speaker
`yweweler`, at 16 kHz three of the five real speakers in `speech16k`; choices were made on the
others.
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
import restoration_data

CONFIGS = {8000: MelConfig(), 16000: MelConfig(16000, 1024, 256, 80)}
PRETRAINING, BUDGET = 600, 1200  # CPU seconds of reconstruction only, and of each ablation run
TRIAL_BUDGET = 240  # CPU seconds of a trial after pretraining
# Griffin-Lim iterations at evaluation; training used four, for a shorter step
N_ITER = {8000: 8, 16000: 6}
ABLATIONS = {
    "no-adv": {"adversarial": 0},
    "adv": {},
    "hinge": {"loss": "hinge", "r1": 0.0, "adversarial": 0.07},
}
TRIALS = {
    "no-adv": {"adversarial": 0},
    "adv": {},
    "feature matching": {"feature_matching": 5.0},
    "periods of 3 and 5": {"periods": (3, 5)},
}
ADVERSARIAL_WEIGHTS = {f"weight {w:g}": {"adversarial": w} for w in (0.0, 1.0, 2.0, 5.0)}
TRAIN, VALID, TEST = ("george", "jackson", "lucas"), ("nicolas",), ("yweweler",)
OLDER = vocoder_training.VocoderConfig(
    adversarial=5.0, lsd=0.0, magnitude_weight=0.3, learned_magnitude=False
)
RECIPES = {8000: vocoder_training.VocoderConfig(), 16000: OLDER}


# --- data


def spoken_by(names):
    "FSDD's recordings of these speakers, whatever their part in the official split."
    clips = datasets.fsdd("train+valid+test")
    return clips.select(np.isin(clips.speakers, [clips.speaker_names.index(n) for n in names]))


def training_data(words, config, recipe, voices=Path("runs/voices")):
    "Sounds twice as long as a segment: these words, the synthetic voices, noise."
    if not voices.is_dir():
        raise audio.InputError(
            f"{voices}: no such folder; run: python tools/make_voices.py {voices} --minutes 100"
        )
    samples = 2 * recipe.frames * config.hop_length
    return vocoder_training.training_sounds(words, config.sr, samples, voices)


def with_real_speech(sr):
    "The training data, and a restorer's sentences, which hold real speakers too."
    sounds = training_data(spoken_by(TRAIN), CONFIGS[sr], OLDER)
    speech = restoration_data.speech(sr)[:, : sounds.shape[1]]
    return np.random.default_rng(0).permutation(np.concatenate([sounds, speech]))


def whole_hops(y, sr):
    "Cut to whole hops, at -23 dB."
    hop_length = CONFIGS[sr].hop_length
    return audio.normalize_rms(y[: len(y) // hop_length * hop_length], target_db=-23)


def sentences(names, n=40, words=6, seed=0):
    "Words of these FSDD speakers, six in a row."
    clips, rng = spoken_by(names), np.random.default_rng(seed)
    pause = np.zeros(400, np.float32)

    def sentence():
        parts = []
        for k in rng.choice(len(clips), words):
            parts += [audio.trim(clips.audio[k], 8000), pause]
        return np.concatenate(parts)

    return [whole_hops(sentence(), 8000) for _ in range(n)]


def speech(sr, files, seconds=4.0):
    "Real recordings of 16 kHz, in segments that are not silent."
    segments, n = [], int(seconds * sr)
    for path in files:
        y = audio_io.load(path, sr)[0]
        for k in range(0, len(y) - n, n):
            segment = y[k : k + n]
            if audio.amplitude_to_db(audio.rms(segment)) > -50:
                segments.append(whole_hops(segment, sr))
    return segments


def evaluation_sounds(sr, part):
    "Nobody's training data: sequences of FSDD's words at 8 kHz, real speech at both rates."
    files = sorted((datasets.data_dir() / "speech16k").glob("*.flac"))
    sounds = {"speech": speech(sr, files[:2] if part == "valid" else files[2:])}
    if sr == 8000:
        sounds = {"words": sentences(VALID if part == "valid" else TEST)} | sounds
    return sounds


def single_words(part):
    "A fifth of the recordings of the evaluation speaker."
    clips = spoken_by(VALID if part == "valid" else TEST)
    return clips.select(np.arange(0, len(clips), 5))


# --- training


def pretrain(sr, seed, sounds=None, plan=None, recipe=OLDER):
    """The reconstruction-only model that all runs begin with.

    Returns a maker of runs, that model, and the configuration for what follows.
    """
    config = CONFIGS[sr]
    first_plan = plan or f"vocoder-{sr}" + "-older" * (recipe != RECIPES[sr])
    if sounds is None:
        sounds = training_data(spoken_by(TRAIN), config, OLDER)

    def run(name, recipe, points, start=None, plan=first_plan):
        state = vocoder_training.build_vocoder_gan(sounds, config, recipe, seed, start)
        return Contender(plan, name, seed, state, None, points)

    first = run("pretrained", replace(recipe, adversarial=0), (PRETRAINING,))
    train([first])
    second = replace(recipe, g_lr=recipe.g_lr / 2)
    return run, weights.load_model(first.at(PRETRAINING)), second


def train_ablations(sr, seed):
    "The reconstruction-only model, then the ablation runs in turns."
    run, start, second = pretrain(sr, seed, recipe=RECIPES[sr])
    points = (BUDGET // 2, BUDGET)
    train(
        [run(name, replace(second, **change), points, start) for name, change in ABLATIONS.items()]
    )


# --- methods


def librosa_vocoder(mel, config, n_iter):
    "What a user would do: non-negative least squares, then Griffin-Lim, with librosa's defaults."
    mel = np.asarray(mel)[0].T
    magnitude = librosa.feature.inverse.mel_to_stft(
        mel, sr=config.sr, n_fft=config.n_fft, power=1.0
    )
    y = librosa.griffinlim(
        magnitude,
        n_iter=n_iter,
        hop_length=config.hop_length,
        pad_mode="reflect",
        random_state=0,
    )
    return y[None]


def for_evaluation(network, magnitude_weight=None):
    "A network, or the path to one, as a graph with the iterations of all and a magnitude weight."
    if isinstance(network, Path):
        network = weights.load_model(network)
    head = network.layers[-1]
    head.n_iter = N_ITER[head.config.sr]
    if magnitude_weight is not None:
        head.magnitude_weight = magnitude_weight
    return tf.function(network, reduce_retracing=True)


def trained_run(folder, name, seed, sr):
    "The last network that an ablation run has kept."
    kept = sorted((folder / f"{name}-{seed}").glob("*.keras"), key=lambda p: int(p.stem))
    if not kept:
        raise audio.InputError(
            f"{folder}: no network {name} yet; run: python benchmarks/vocoder.py train {sr}"
        )
    return kept[-1]


def methods(sr, seed, magnitude_weight=None, names=("pretrained", *ABLATIONS)):
    "Every method: mel (1, frames, n_mels) -> (1, samples); `names` are the ablation runs in it."
    config, folder = CONFIGS[sr], Path("runs/bench") / f"vocoder-{sr}"
    found = {
        f"librosa, {n} iterations": partial(librosa_vocoder, config=config, n_iter=n)
        for n in (32, 60)
    }
    found["Griffin-Lim with mel consistency, 60 iterations"] = partial(
        mel_to_audio, config=config, n_iter=60
    )
    for name in names:
        found[name] = for_evaluation(trained_run(folder, name, seed, sr), magnitude_weight)

    name = f"vocoder-{sr // 1000}k"
    shipped = weights.load_model(name)
    if magnitude_weight is not None:
        shipped.layers[-1].magnitude_weight = magnitude_weight
        name = f"{name}, magnitude weight {magnitude_weight:g}"
    found[name] = tf.function(shipped, reduce_retracing=True)
    return found


# --- evaluation


def mean_scores(method, sounds, config):
    "Means over sounds, with the half width of their 95 % interval."
    rows = []
    for y in sounds:
        estimate = np.asarray(method(mel_spectrogram(y[None], config)))[0][: len(y)]
        rows.append(fidelity.score(y, estimate, config.sr))
    scores = {}
    for name in ("pesq", "lsd", "stft", "stoi", "estoi"):
        if name in rows[0]:
            values = np.array([row[name] for row in rows])
            scores[name] = [np.nanmean(values), 1.96 * np.nanstd(values) / len(values) ** 0.5]
    return scores


def recognition(method, clips, config):
    "Without a reference: accuracy of the evaluation classifier, and F0-rate envelope modulation."
    y = np.concatenate([np.asarray(method(mel_spectrogram(v[None], config))) for v in clips.audio])
    outputs = metrics.predict_features(weights.load_model("classifier-8k"), y)
    return {
        "accuracy": np.mean(outputs["label"].argmax(1) == clips.labels),
        "f0_modulation": istft_gan.f0_envelope_modulation(y, config.sr),
    }


def noise_measures(method, config):
    "Hop-rate periodicity and log-magnitude standard deviation of copied white noise."
    samples = 4 * config.sr // config.hop_length * config.hop_length
    noise = np.random.default_rng(0).standard_normal((8, samples))
    noise = 0.05 * noise.astype(np.float32)
    y = np.concatenate([np.asarray(method(mel_spectrogram(v[None], config))) for v in noise])
    return {
        "hop_rate_periodicity": vocoder_training.hop_rate_periodicity(y, config.hop_length),
        "log_magnitude_std": vocoder_training.log_magnitude_std(y, config.n_fft),
    }


def evaluate_method(method, sr, part):
    "All measures of a method on speakers outside the training data."
    config = CONFIGS[sr]
    found = {
        kind: rounded(mean_scores(method, sounds, config))
        for kind, sounds in evaluation_sounds(sr, part).items()
    }
    found["noise"] = rounded(noise_measures(method, config))
    if sr == 8000:
        found["recognition"] = rounded(recognition(method, single_words(part), config))
    return found


class Peers:
    """Published PyTorch networks in a process of their own (see peers.py).

    Each entry of `methods` runs one and returns its seconds.
    """

    def __init__(self, python):
        self.process = subprocess.Popen(
            [python, Path(__file__).with_name("peers.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        names = self.ask("names").split(";")
        self.methods = {name: partial(self.seconds, name) for name in names}

    def ask(self, line):
        print(line, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()

    def seconds(self, name):
        return float(self.ask(name))


def seconds_of(function, *args, **kwargs):
    start = time.perf_counter()
    np.asarray(function(*args, **kwargs))
    return time.perf_counter() - start


def speeds(found, sr, peers=None, repeats=7):
    """Seconds of sound made in a second, of every method.

    Ten seconds at a time, batch 1, all methods in turns, the median.
    """
    config = CONFIGS[sr]
    y = np.concatenate(evaluation_sounds(sr, "valid")["speech"])
    mel = mel_spectrogram(y[None, : 10 * sr // config.hop_length * config.hop_length], config)
    magnitude = librosa.feature.inverse.mel_to_stft(
        np.asarray(mel)[0].T, sr=sr, n_fft=config.n_fft, power=1.0
    )
    timed = {name: partial(seconds_of, method, mel) for name, method in found.items()}
    timed["librosa, 60 iterations, STFT magnitude given"] = partial(
        seconds_of, librosa.griffinlim, magnitude, n_iter=60, hop_length=config.hop_length
    )
    if peers:
        timed |= Peers(peers).methods
    times = [{name: run() for name, run in timed.items()} for _ in range(repeats + 1)]
    # the first round is for tracing
    return {name: 10 / np.median([row[name] for row in times[1:]]) for name in timed}


# --- the commands


def evaluate(sr, seed, part, peers, magnitude_weight, shipped):
    "The table of chapter 10a."
    names = () if shipped else ("pretrained", *ABLATIONS)
    found, results = methods(sr, seed, magnitude_weight, names), {}
    for name, method in found.items():
        results[name] = evaluate_method(method, sr, part)
        print(name, results[name], flush=True)

    card = weights.model_card(f"vocoder-{sr // 1000}k")
    modulation = istft_gan.f0_envelope_modulation(single_words(part).audio, 8000)
    facts = {
        "seed": seed,
        "n_iter": card["n_iter"] if shipped else N_ITER[sr],
        "f0_modulation of the real words": round(modulation, 4),
        "scores": results,
    }
    if part == "test":
        facts["times real time"] = rounded(speeds(found, sr, peers))
    name = f"vocoder-{sr}-{part}" + "-shipped" * shipped
    if magnitude_weight is not None:
        name += f"-magnitude-weight-{magnitude_weight:g}"
    write(name, facts)


def train_and_evaluate(sr, runs):
    "Train, and evaluate on the validation speaker."
    train(runs)
    results = {}
    for run in runs:
        method = for_evaluation(run.at(run.points[-1]))
        results[run.name] = {"steps": int(run.state.step)} | evaluate_method(method, sr, "valid")
        print(run.name, results[run.name], flush=True)
    return results


def write_results(plan, seed, budget, scores, **more):
    cpu_s = {"reconstruction only": PRETRAINING, "then": budget}
    write(plan, {"seed": seed, "cpu_s": cpu_s, "scores": scores} | more)


def trials(sr, seed):
    "Short runs of what was not taken; one has no pretraining, and as many seconds in all."
    plan = f"vocoder-{sr}-trials"
    run, start, second = pretrain(sr, seed)
    runs = [
        run(name, replace(second, **change), (TRIAL_BUDGET,), start, plan)
        for name, change in TRIALS.items()
    ]
    runs.append(run("from the first step", OLDER, (PRETRAINING + TRIAL_BUDGET,), plan=plan))
    write_results(plan, seed, TRIAL_BUDGET, train_and_evaluate(sr, runs))


def adversarial_weight(sr, seed):
    "Runs with more or less weight on the adversarial losses."
    plan = f"vocoder-{sr}-adversarial-weight"
    run, start, second = pretrain(sr, seed)
    runs = [
        run(name, replace(second, **change), (BUDGET,), start, plan)
        for name, change in ADVERSARIAL_WEIGHTS.items()
    ]
    results = train_and_evaluate(sr, runs)
    first, last = (weights.load_model(runs[k].at(BUDGET)) for k in (0, -1))
    mean = for_evaluation(restoration_training.interpolate_weights(first, last))
    results["mean of the first and the last"] = evaluate_method(mean, sr, "valid")
    on_test = evaluate_method(for_evaluation(runs[1].at(BUDGET)), sr, "test")
    write_results(plan, seed, BUDGET, results, **{"weight 1 on the test": on_test})


def more_data(sr, seed):
    "Runs of weight 1 that are trained on real speech too, without and with the LSD as a loss."
    plan = f"vocoder-{sr}-training-data"
    run, start, second = pretrain(sr, seed, with_real_speech(sr), plan)
    variants = {"real speech": 0.0, "real speech, LSD as a loss": 0.5}
    runs = [
        run(name, replace(second, adversarial=1.0, lsd=lsd), (BUDGET,), start, plan)
        for name, lsd in variants.items()
    ]
    write_results(plan, seed, BUDGET, train_and_evaluate(sr, runs))


def magnitude_weight(sr, seed):
    "The second of those, moving towards its own magnitude from the first step on."
    sounds, results = with_real_speech(sr), {}
    for weight in (0.3, 0.7):
        plan, name = f"vocoder-{sr}-own-{weight:g}", f"learned magnitude, weight {weight:g}"
        recipe = replace(OLDER, lsd=0.5, magnitude_weight=weight, learned_magnitude=True)
        run, start, second = pretrain(sr, seed, sounds, plan, recipe)
        results[f"{name}, no-adv"] = evaluate_method(for_evaluation(start), sr, "valid")
        runs = [run("adv", replace(second, adversarial=1.0), (BUDGET,), start, plan)]
        results[name] = train_and_evaluate(sr, runs)["adv"]
    write_results(f"vocoder-{sr}-magnitude-weight", seed, BUDGET, results)


COMMANDS = {
    "train": train_ablations,
    "trials": trials,
    "adversarial-weight": adversarial_weight,
    "training-data": more_data,
    "magnitude-weight": magnitude_weight,
}


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["evaluate", *COMMANDS])
    parser.add_argument("sr", type=int, choices=CONFIGS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--on", choices=["valid", "test"], default="valid", help="which speakers")
    parser.add_argument(
        "--peers", help="a python with torch, transformers and vocos, whose networks are timed too"
    )
    parser.add_argument(
        "--shipped", action="store_true", help="the shipped network, without the ablation runs"
    )
    parser.add_argument(
        "--magnitude-weight", type=float, help="another weight than the networks were trained with"
    )
    return parser.parse_args()


if __name__ == "__main__":
    args = parse_args()
    try:
        if args.command == "evaluate":
            evaluate(args.sr, args.seed, args.on, args.peers, args.magnitude_weight, args.shipped)
        else:
            COMMANDS[args.command](args.sr, args.seed)
    except audio.InputError as e:
        sys.exit(str(e))
