"""Restoration of held-out speakers and noises: ours, beside the usual tools.

    export GAN_AUDIO_TUT_DATA_DIR=...
    python benchmarks/restoration.py evaluate 8000 --on valid   # choices were made on these
    python benchmarks/restoration.py evaluate 8000 --on test    # these were evaluated once
    python benchmarks/restoration.py ablation 8000              # what a discriminator adds
    python benchmarks/restoration.py interpolation 8000         # between two training stages
    python benchmarks/restoration.py voicebank 16000 --on test  # if you have VoiceBank-DEMAND

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
import restoration_data

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
            y, missing = degrade.dropouts(
                clean, sr, rng, count=5, shortest=ms / 1000, longest=ms / 1000
            )
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


def webrtc(y, sr, level=2):
    "WebRTC's noise suppression, 10 ms at a time at 16 kHz; its delay taken out."
    from webrtc_noise_gain import AudioProcessor

    wide = audio.resample(y, sr, 16000) if sr != 16000 else y
    pcm = (np.clip(np.pad(wide, (0, 1600)), -1, 1) * 32767).astype(np.int16)
    processor, blocks = AudioProcessor(0, level), []
    for k in range(0, len(pcm) - 159, 160):
        result = processor.Process10ms(pcm[k : k + 160].tobytes())
        blocks.append(np.frombuffer(result.audio, np.int16))
    z = np.concatenate(blocks).astype(np.float32) / 32768
    delay = fidelity.estimate_delay(wide, z[: len(wide)], max_delay=800)
    z = np.roll(z, -delay)[: len(wide)]
    return audio.fix_length(audio.resample(z, 16000, sr) if sr != 16000 else z, len(y))


def scores_of(cases, method):
    "Every metric of every case: name -> (cases,)."
    rows = [fidelity.score(case["clean"], method(case), case["sr"]) for case in cases]
    return {k: np.array([row[k] for row in rows]) for k in METRICS if k in rows[0]}


def mean(v):
    "Mean and half of its 95 % interval, as if the cases were independent."
    half = 1.96 * np.nanstd(v) / len(v) ** 0.5
    return [round(float(np.nanmean(v)), 4), round(float(half), 4)]


def compare(cases, methods, by):
    """Methods on the same cases.

    name -> all, what ours has over it case by case, and for each value of the keys in `by`:
    metric -> [mean, half of its interval]; and its worst case in SI-SDR.
    """
    results, scores = {}, {name: scores_of(cases, method) for name, method in methods.items()}
    input_si_sdr = np.array([fidelity.si_sdr(case["clean"], case["degraded"]) for case in cases])
    for name, values in scores.items():
        row = {
            "all": {k: mean(v) for k, v in values.items()},
            "ours minus it": {k: mean(scores["ours"][k] - v) for k, v in values.items()},
        }
        for key in by:
            group = np.array([case[key] for case in cases])
            row[key] = {
                str(g): {k: mean(v[group == g]) for k, v in values.items()}
                for g in sorted(set(group))
            }
        gain = values["si_sdr"] - input_si_sdr
        worst = int(np.argmin(gain))
        row["worst"] = {"kind": cases[worst]["kind"], "gain_db": round(float(gain[worst]), 2)}
        results[name] = row
        print(name, row["all"], row["ours minus it"], row["worst"], flush=True)
    return results


def word_accuracy(sr, part, methods):
    "Share of single words in noise at 0 dB that the classifier recognises."
    words, noises = single_words(part), datasets.esc10(part)
    rng, classifier = np.random.default_rng(8), weights.load_model("classifier-8k")
    cases = []
    for clean in words.audio:
        noise = audible_crop(list(noises.audio), len(clean), sr, rng)
        degraded = degrade.add_noise(clean, noise, snr_db=0.0)[0]
        cases.append({"clean": clean, "degraded": degraded, "sr": sr})
    accuracy = {}
    for name, method in methods.items():
        outputs = [audio.fix_length(method(case), words.audio.shape[1]) for case in cases]
        labels = metrics.predict_features(classifier, np.stack(outputs))["label"].argmax(1)
        accuracy[name] = round(float(np.mean(labels == words.labels)), 4)
    return accuracy


def power_of_two(seconds, sr):
    return 2 ** round(np.log2(seconds * sr))


def denoising_methods(sr, model=None):
    "name -> function of a case; what is not installed is reported and left out."
    n_fft, hop_length = power_of_two(0.032, sr), power_of_two(0.008, sr)
    methods = {
        "input": lambda case: case["degraded"],
        "Wiener": lambda case: baselines.wiener(
            case["degraded"], sr, n_fft=n_fft, hop_length=hop_length
        ),
    }
    peers = {
        "noisereduce, stationary": partial(noisereduce, sr=sr, stationary=True),
        "noisereduce": partial(noisereduce, sr=sr, stationary=False),
        "WebRTC": partial(webrtc, sr=sr),
    }
    for name, peer in peers.items():
        try:
            peer(0.1 * np.random.default_rng(0).standard_normal(sr).astype(np.float32))
        except ImportError as e:
            print(f"{name}: {e}; left out")
            continue
        methods[name] = lambda case, peer=peer: peer(case["degraded"])
        if name == "WebRTC":  # it learns the noise as it goes
            methods[SECOND_PASS] = lambda case, peer=peer: peer(np.tile(case["degraded"], 3))[
                -len(case["degraded"]) :
            ]
    if sr == 16000:
        methods["restore-8k"] = restoring(sr, "denoise", model="restore-8k")
    return methods | {
        "ours": restoring(sr, "denoise", model=model),
        "ours, auto": restoring(sr, "auto", model=model),
        "ideal ratio mask": lambda case: baselines.ideal_ratio_mask(
            case["clean"],
            case["degraded"],
            n_fft=power_of_two(0.064, sr),
            hop_length=power_of_two(0.016, sr),
        ),
    }


def restoring(sr, task, model=None):
    return lambda case: restoration.restore(case["degraded"], sr, task=task, model=model)


def straight_line(case):
    "Missing samples by linear interpolation."
    y, missing = case["degraded"], case["missing"]
    t = np.arange(len(y))
    line = baselines.clip_consistency(y, np.interp(t, t[~missing], y[~missing]))
    return np.where(missing, line, y).astype(np.float32)


def spline(case):
    "From a rate of twice the highest frequency by a cubic spline."
    from scipy.interpolate import CubicSpline

    sr, y = case["sr"], case["degraded"]
    low = audio.resample(y, sr, sr // 2)
    up = CubicSpline(np.arange(len(low)) * 2, low)(np.arange(len(y))).astype(np.float32)
    return audio.fix_length(up, len(y))


def linear_prediction(case):
    order, block, context = baselines.ar_block_sizes(case["sr"])
    return baselines.ar_inpaint(
        case["degraded"], case["missing"], order=order, block=block, context=context
    )


def filling_methods(sr, task):
    return {
        "input": lambda case: case["degraded"],
        "straight line": straight_line,
        "cubic": lambda case: baselines.cubic_inpaint(case["degraded"], case["missing"]),
        "linear prediction": linear_prediction,
        "ours": restoring(sr, task),
        "ours, mask given": lambda case: restoration.restore(
            case["degraded"], sr, task=task, missing=case["missing"]
        ),
    }


def share_classified_as_noisy(sr, part):
    "SNR in dB -> the share of strings whose noise `auto` would remove."
    restorer = restoration.load_restorer(sr)

    def is_noisy(y):
        return "denoise" in restoration.choose_tasks(detect_damage([y[None]], sr), restorer)

    shares = {}
    for snr in (0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0):
        cases = cases_at_snr(sr, part, snr)
        shares[f"{snr:.0f}"] = float(np.mean([is_noisy(case["degraded"]) for case in cases]))
    return shares


def change_by_auto(sounds, sr):
    "By how much `auto` changes clean sounds: the worst in dB, and how often at all."
    changes = []
    for y in sounds:
        change = restoration.restore(y, sr) - y
        ratio = audio.rms(change) / audio.rms(y)
        changes.append(audio.amplitude_to_db(ratio) if change.any() else -np.inf)
    return {
        "worst_db": float(np.max(changes)),
        "changed": float(np.mean(np.isfinite(changes))),
        "sounds": len(changes),
    }


def times_real_time(sr, methods, seconds=30.0, rounds=3):
    "Seconds of sound processed in a second: all methods by turns, the median."
    rng = np.random.default_rng(0)
    clean = np.concatenate(first_strings(sr, "valid", int(seconds / SECONDS)))
    noise = degrade.coloured_noise(len(clean), sr, rng, slope_db=-3)
    degraded, _ = degrade.add_noise(clean, noise, snr_db=5.0)
    case, times = {"degraded": degraded, "clean": clean}, {name: [] for name in methods}
    for _ in range(rounds + 1):
        for name, method in methods.items():
            start = time.perf_counter()
            method(case)
            times[name].append(time.perf_counter() - start)
    length = len(clean) / sr
    return {name: round(length / float(np.median(t[1:])), 1) for name, t in times.items()}


def evaluate(sr, part):
    "Every table of chapter 12, except for the training stages."
    denoising = denoising_methods(sr)
    cases = partial(make_cases, sr=sr, part=part)
    results = {
        "denoise": compare(cases(noisy_cases), denoising, ("snr", "kind")),
        "declip": compare(cases(clipped_cases), filling_methods(sr, "declip"), ("kind",)),
    }
    band_methods = {
        "input": lambda case: case["degraded"],
        "spline": spline,
        "ours": restoring(sr, "bandwidth"),
    }
    results["bandwidth"] = compare(cases(band_limited_cases), band_methods, ("kind",))
    results["inpaint"] = compare(cases(dropout_cases), filling_methods(sr, "inpaint"), ("kind",))
    high_snr = []
    for snr in (20.0, 30.0, 40.0):
        high_snr += cases(partial(cases_at_snr, snr=snr, n=24))
    some = {name: denoising[name] for name in ("input", "ours", "ours, auto")}
    results["high SNR"] = compare(high_snr, some, ("kind",))
    results["classified as noisy, by SNR"] = share_classified_as_noisy(sr, part)
    results["auto on whole recordings"] = change_by_auto(first_strings(sr, part, 40), sr)
    results["auto on excerpts"] = change_by_auto(clean_excerpts(sr, part, 80), sr)
    if sr == 8000:
        some = {k: v for k, v in denoising.items() if k not in ("ours, auto", SECOND_PASS)}
        results["word accuracy at 0 dB"] = word_accuracy(sr, part, some)
    some = {k: v for k, v in denoising.items() if k not in ("input", SECOND_PASS)}
    results["times real time"] = times_real_time(sr, some)
    facts = {"SNR in dB": SNRS, "each": CASES_PER_SNR, "seconds": SECONDS}
    write(f"restoration-{sr}-{part}", {"cases": facts, **results})


def voicebank_cases(sr, part):
    "VoiceBank-DEMAND, sentence by sentence; the kinds are the speakers."
    for noisy, clean in datasets.voicebank(part):
        yield {
            "clean": audio_io.load(clean, sr)[0],
            "degraded": audio_io.load(noisy, sr)[0],
            "kind": clean.name.partition("_")[0],
        }


def voicebank(sr, part):
    cases = make_cases(voicebank_cases, sr, part)
    results = {"denoise": compare(cases, denoising_methods(sr), ("kind",))}
    write(f"voicebank-{sr}-{part}", results)


BUDGET = 400  # CPU seconds of each run
ABLATION = {
    "no-adv": {"adversarial": 0.0},
    "adversarial 0.05": {"adversarial": 0.05},
    "adversarial 0.2": {"adversarial": 0.2},
    "adversarial 0.05, feature matching": {"adversarial": 0.05, "feature_matching": 1.0},
}


def ablation(sr, seed=0):
    "What a discriminator adds and costs, in every metric, on the validation speakers."
    name, plan = f"restore-{sr // 1000}k", f"restoration-{sr}-ablation"
    start, card = weights.load_model(name), weights.model_card(name)
    data = restoration_data.load_training_data(sr, f"runs/{name}")
    runs = []
    for label, change in ABLATION.items():
        config = restoration_training.RestorationConfig(g_lr=3e-4, **change)
        state = restoration_training.build_restoration_gan(
            *data,
            sr,
            config=config,
            seed=seed,
            start=start,
            n_fft=card["n_fft"],
            hop_length=card["hop_length"],
        )
        runs.append(Contender(plan, label, seed, state, None, (BUDGET,)))
    train(runs)
    tasks = {
        "denoise": (make_cases(noisy_cases, sr, "valid"), {"denoise": 1.0}),
        "bandwidth": (make_cases(band_limited_cases, sr, "valid"), {"bandwidth": 0.5}),
    }
    scores = {}
    for run in runs:
        net = weights.load_model(run.at(BUDGET))
        restorer = restoration.Restorer(net, sr, card["hop_length"])
        scores[run.name] = {
            task: scores_of(cases, by_network(restorer, **options))
            for task, (cases, options) in tasks.items()
        }
    results = {}
    for run in runs:
        results[run.name] = {"steps": int(run.state.step)}
        for task, values in scores[run.name].items():
            results[run.name][task] = {
                k: {"mean": mean(v), "minus no-adv": mean(v - scores["no-adv"][task][k])}
                for k, v in values.items()
            }
    write(plan, {"seed": seed, "cpu_s": BUDGET, "scores": results})


def by_network(restorer, **options):
    "One call of the network on a whole case, without any detection."

    def method(case):
        y = case["degraded"]
        return restorer(y[None], audio.rms(y), **options)[0]

    return method


def interpolation(sr):
    """What fine-tuning at high SNRs gains and costs, and the networks on the way to its end.

    On the validation speakers.
    """
    name, results = f"restore-{sr // 1000}k", {}
    first, last = (
        weights.load_model(Path("runs") / name / f"stage-{k}" / "generator.keras") for k in (0, 1)
    )
    hop_length = weights.model_card(name)["hop_length"]
    excerpts = clean_excerpts(sr, "valid", 160, seed=17)
    reports = [detect_damage([y[None]], sr) for y in excerpts]
    cases = {
        "0, 5, 10 dB": make_cases(noisy_cases, sr, "valid"),
        "40 dB": make_cases(partial(cases_at_snr, snr=40.0, n=24), sr, "valid"),
    }
    for share in (0.0, 0.5, 0.75, 1.0):
        net = restoration_training.interpolate_weights(first, last, share)
        restorer = restoration.Restorer(net, sr, hop_length)
        row = {}
        for label, rows in cases.items():
            scores = scores_of(rows, by_network(restorer, denoise=1.0))
            row[label] = {k: mean(v) for k, v in scores.items()}
        noise = np.array([restoration.estimate_noise(restorer, report) for report in reports])
        row["clean excerpts"] = {
            "classified as noisy": float(np.mean(noise > restoration.CLEAN_DB)),
            "95th percentile, dB": round(float(np.quantile(noise, 0.95)), 1),
            "excerpts": len(reports),
        }
        results[f"{share:g}"] = row
        print(share, row, flush=True)
    write(f"restoration-{sr}-interpolation", {"scores": results})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["evaluate", "ablation", "interpolation", "voicebank"])
    parser.add_argument("sr", type=int, choices=(8000, 16000))
    parser.add_argument("--on", choices=["valid", "test"], default="valid", help="which speakers")
    args = parser.parse_args()
    commands = {
        "evaluate": evaluate,
        "voicebank": voicebank,
        "ablation": lambda sr, _: ablation(sr),
        "interpolation": lambda sr, _: interpolation(sr),
    }
    try:
        commands[args.what](args.sr, args.on)
    except audio.InputError as e:
        sys.exit(str(e))
