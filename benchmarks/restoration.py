"""Restoration of speakers and noises that had no part in it: ours, beside what people reach for today.

    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/restoration.py judge 8000 --on valid   # choices were made on these
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/restoration.py judge 8000 --on test    # and these were asked once
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/restoration.py twins 8000              # what an opponent adds; needs runs/real, runs/voices
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/restoration.py between 8000            # the two legs' ends under runs/restore-8k, and the middle
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/restoration.py voicebank 16000 --on test  # for those who have VoiceBank-DEMAND

At 8 kHz the speakers are FSDD's `nicolas` (valid) and `yweweler` (test), in strings of digits, at 16 kHz real speech (the
first two recordings of `speech16k`, and the other three); the noises are ESC-10's fold 3 (valid) and 4 and 5 (test). The
network learned from folds 1 and 2, and from other speakers. The twins begin with the shipped network and go on for as
many CPU seconds, by turns, without an opponent and with one that has more or less of a say.
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
import restoration_lessons

FINE = ("si_sdr", "segmental_snr", "pesq", "stoi", "estoi", "lsd")
SNRS, EACH, SECONDS = (0.0, 5.0, 10.0), 4, 3.0
AGAIN = "WebRTC, second pass"


def studio(part):
    "The files of two voices to choose by, or of three to test with; neither network has learned any of them."
    files = sorted((datasets.data_dir() / "speech16k").glob("*.flac"))
    return files[:2] if part == "valid" else files[2:]


def speech(sr, part, seed=5):
    "Without end: at 8 kHz strings of digits, at 16 kHz real speech in pieces, over and over."
    n, rng = int(SECONDS * sr), np.random.default_rng(seed)
    if sr == 8000:
        said = [np.trim_zeros(y, "b") for y in spoken_by(VALID if part == "valid" else TEST).audio]
        while True:
            yield restoration_lessons.sentence(said, n, sr, rng)
    yield from cycle(recordings(sr, studio(part), SECONDS))


def noisy(sr, part):
    "Every class of noise at every SNR, `EACH` times: dicts with clean, damaged, kind, snr."
    said, clips, rng = speech(sr, part), datasets.esc10(part, sr=sr), np.random.default_rng(6)
    for label, kind in enumerate(clips.classes):
        for snr in SNRS:
            for _ in range(EACH):
                x = next(said)
                a = degrade.random_crop(
                    [clips.audio[rng.choice(np.flatnonzero(clips.labels == label))]], len(x), rng
                )
                if audio.rms(a) < 1e-5:
                    a = degrade.coloured_noise(len(x), sr, rng)
                yield {
                    "clean": x,
                    "damaged": degrade.add_noise(x, a, snr)[0],
                    "kind": kind,
                    "snr": snr,
                }


def clipped(sr, part):
    for below in (3, 6, 9, 12, 15):
        for x in strings_of(sr, part, 12):
            y, lost = degrade.hard_clip(x, below)
            yield {"clean": x, "damaged": y, "lost": lost, "kind": f"{below} dB below the peak"}


def narrowed(sr, part):
    for x in strings_of(sr, part, 24):
        yield {
            "clean": x,
            "damaged": degrade.band_limit(x, sr, sr / 4),
            "kind": f"{sr // 4000} of {sr // 2000} kHz",
        }


def holed(sr, part):
    for ms in (20, 50, 100):
        for k, x in enumerate(strings_of(sr, part, 12)):
            y, lost = degrade.dropouts(x, sr, np.random.default_rng(k), 5, ms / 1000, ms / 1000)
            yield {"clean": x, "damaged": y, "lost": lost, "kind": f"5 holes of {ms} ms"}


def strings_of(sr, part, n):
    said = speech(sr, part, 7)
    return [next(said) for _ in range(n)]


def at_snr(sr, part, snr, n=40):
    "Strings under recorded noise of any kind, at one SNR."
    clips, rng = list(datasets.esc10(part, sr=sr).audio), np.random.default_rng(9)
    for x in strings_of(sr, part, n):
        a = degrade.random_crop(clips, len(x), rng)
        yield {
            "clean": x,
            "damaged": degrade.add_noise(
                x, a if audio.rms(a) > 1e-5 else degrade.coloured_noise(len(x), sr, rng), snr
            )[0],
            "kind": f"{snr:.0f} dB",
        }


def taken_for_noisy(sr, part):
    "SNR in dB -> the share of strings that `auto` would take the noise from."
    restorer = restoration.load_restorer(sr)
    taken = lambda y: "denoise" in restoration.choose_tasks(detect_damage([y[None]], sr), restorer)
    return {
        f"{snr:.0f}": float(np.mean([taken(row["damaged"]) for row in at_snr(sr, part, snr)]))
        for snr in (0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0)
    }


def by_noisereduce(y, sr, stationary):
    "In windows of 64 ms: its default at 16 kHz, and of 16, 32, 64 and 128 ms (its default at 8 kHz) the best at 8 kHz, on valid."
    import noisereduce

    return noisereduce.reduce_noise(
        y=y, sr=sr, stationary=stationary, n_fft=2 ** round(np.log2(0.064 * sr))
    ).astype(np.float32)


def by_webrtc(y, sr, level=2):
    "WebRTC's noise suppression, as webrtc-noise-gain offers it: 10 ms at a time, at 16 kHz; its delay taken out."
    from webrtc_noise_gain import AudioProcessor

    up = audio.resample(y, sr, 16000) if sr != 16000 else y
    pcm = (np.clip(np.pad(up, (0, 1600)), -1, 1) * 32767).astype(np.int16)
    process, out = AudioProcessor(0, level), []
    for k in range(0, len(pcm) - 159, 160):
        out.append(np.frombuffer(process.Process10ms(pcm[k : k + 160].tobytes()).audio, np.int16))
    z = np.concatenate(out).astype(np.float32) / 32768
    late = fidelity.estimate_delay(up, z[: len(up)], max_delay=800)
    z = np.roll(z, -late)[: len(up)]
    return audio.fix_length(audio.resample(z, 16000, sr) if sr != 16000 else z, len(y))


def figures(rows, way):
    "Every figure of every case: name -> (cases,)."
    found = [fidelity.score(row["clean"], way(row), row["sr"]) for row in rows]
    return {k: np.array([f[k] for f in found]) for k in FINE if k in found[0]}


def mean(v):
    return [round(float(np.nanmean(v)), 4), round(float(1.96 * np.nanstd(v) / len(v) ** 0.5), 4)]


def table(rows, ways, by):
    "name -> all, what ours has over it case by case, and for each value of `by`: figure -> [mean, half of its 95 % interval]; the worst case in SI-SDR."
    results, found = {}, {name: figures(rows, way) for name, way in ways.items()}
    for name, v in found.items():
        groups = {b: np.array([row[b] for row in rows]) for b in by}
        results[name] = {
            "all": {k: mean(x) for k, x in v.items()},
            "ours minus it": {k: mean(found["ours"][k] - x) for k, x in v.items()},
        }
        results[name] |= {
            b: {str(g): {k: mean(x[where == g]) for k, x in v.items()} for g in sorted(set(where))}
            for b, where in groups.items()
        }
        gain = v["si_sdr"] - np.array(
            [fidelity.si_sdr(row["clean"], row["damaged"]) for row in rows]
        )
        worst = int(np.argmin(gain))
        results[name]["worst"] = {
            "kind": rows[worst]["kind"],
            "gain_db": round(float(gain[worst]), 2),
        }
        print(
            name,
            results[name]["all"],
            results[name]["ours minus it"],
            results[name]["worst"],
            flush=True,
        )
    return results


def heard(sr, part, ways):
    "Share of single words in noise at 0 dB that the recogniser gets right."
    words, noises, rng = single_words(part), datasets.esc10(part), np.random.default_rng(8)
    listener, right, rows = weights.load_model("classifier-8k"), {}, []
    for y in words.audio:
        a = degrade.random_crop(list(noises.audio), len(y), rng)
        rows.append(
            {
                "clean": y,
                "damaged": degrade.add_noise(
                    y, a if audio.rms(a) > 1e-5 else degrade.coloured_noise(len(y), sr, rng), 0.0
                )[0],
                "sr": sr,
            }
        )
    for name, way in ways.items():
        y = np.stack([audio.fix_length(way(row), words.audio.shape[1]) for row in rows])
        right[name] = round(
            float(
                np.mean(metrics.predict_features(listener, y)["label"].argmax(1) == words.labels)
            ),
            4,
        )
    return right


def ways_to_denoise(sr, model=None):
    "name -> function of a row; what is not installed is left out, and says so."
    samples = lambda seconds: 2 ** round(np.log2(seconds * sr))
    ways = {
        "input": lambda row: row["damaged"],
        "Wiener": lambda row: baselines.wiener(row["damaged"], sr, samples(0.032), samples(0.008)),
    }
    for name, f in {
        "noisereduce, stationary": partial(by_noisereduce, sr=sr, stationary=True),
        "noisereduce": partial(by_noisereduce, sr=sr, stationary=False),
        "WebRTC": partial(by_webrtc, sr=sr),
    }.items():
        try:
            f(0.1 * np.random.default_rng(0).standard_normal(sr).astype(np.float32))
        except ImportError as e:
            print(f"{name}: {e}; left out")
            continue
        ways[name] = lambda row, f=f: f(row["damaged"])
        if name == "WebRTC":
            ways[AGAIN] = lambda row, f=f: f(np.tile(row["damaged"], 3))[
                -len(row["damaged"]) :
            ]  # it learns the noise as it goes
    if sr == 16000:
        ways["restore-8k"] = lambda row: restoration.restore(
            row["damaged"], sr, "denoise", model="restore-8k"
        )
    ideal = lambda row: baselines.ideal_ratio_mask(
        row["clean"], row["damaged"], samples(0.064), samples(0.016)
    )
    return ways | {
        "ours": lambda row: restoration.restore(row["damaged"], sr, "denoise", model=model),
        "ours, auto": lambda row: restoration.restore(row["damaged"], sr, model=model),
        "ideal ratio mask": ideal,
    }


def line(row):
    t, y, lost = np.arange(len(row["damaged"])), row["damaged"], row["lost"]
    return np.where(
        lost, baselines.clip_consistency(y, np.interp(t, t[~lost], y[~lost])), y
    ).astype(np.float32)


def spline(row):
    "From a rate of twice the highest frequency by a cubic spline."
    from scipy.interpolate import CubicSpline

    sr, y = row["sr"], row["damaged"]
    low = audio.resample(y, sr, sr // 2)
    return audio.fix_length(
        CubicSpline(np.arange(len(low)) * 2, low)(np.arange(len(y))).astype(np.float32), len(y)
    )


def ways_to_fill(sr, task):
    ours = {
        "ours": lambda row: restoration.restore(row["damaged"], sr, task),
        "ours, mask given": lambda row: restoration.restore(
            row["damaged"], sr, task, missing=row["lost"]
        ),
    }
    return {
        "input": lambda row: row["damaged"],
        "straight line": line,
        "cubic": lambda row: baselines.cubic_inpaint(row["damaged"], row["lost"]),
        "prediction": lambda row: baselines.ar_inpaint(
            row["damaged"], row["lost"], *baselines.ar_block_sizes(sr)
        ),
    } | ours


def cut_anywhere(sr, part, n, seed=3):
    "Pieces of 1.2 to 6 s of studio speech, most of which begin and end in the middle of a word."
    rng, files = np.random.default_rng(seed), studio(part)
    said = [audio.resample(*audio_io.load(path), sr) for path in files]
    while n:
        samples = int(sr * rng.uniform(1.2, 6))
        y = said[n % len(said)]
        at = rng.integers(len(y) - samples)
        x = y[at : at + samples]
        if audio.rms(x) > 3e-3:
            n -= 1
            yield x


def left_alone(sounds, sr):
    "By how much `auto` changes what is whole: dB, the worst, and how often at all."
    gone = []
    for x in sounds:
        change = restoration.restore(x, sr) - x
        gone.append(
            audio.amplitude_to_db(audio.rms(change) / audio.rms(x)) if change.any() else -np.inf
        )
    return {
        "worst_db": float(np.max(gone)),
        "changed": float(np.mean(np.isfinite(gone))),
        "sounds": len(gone),
    }


def paces(sr, ways, seconds=30.0, rounds=3):
    "Seconds of sound mended in a second of time: all ways by turns, the median."
    rng = np.random.default_rng(0)
    x = np.concatenate(strings_of(sr, "valid", int(seconds / SECONDS)))
    y, _ = degrade.add_noise(x, degrade.coloured_noise(len(x), sr, rng, -3), 5.0)
    row, taken = {"damaged": y, "clean": x}, {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way(row)
            taken[name].append(time.perf_counter() - start)
    return {name: round(len(y) / sr / float(np.median(t[1:])), 1) for name, t in taken.items()}


def rows_of(make, sr, part):
    return [row | {"sr": sr} for row in make(sr, part)]


def judge(sr, part):
    denoise = ways_to_denoise(sr)
    results = {"denoise": table(rows_of(noisy, sr, part), denoise, ("snr", "kind"))}
    results["declip"] = table(rows_of(clipped, sr, part), ways_to_fill(sr, "declip"), ("kind",))
    results["bandwidth"] = table(
        rows_of(narrowed, sr, part),
        {
            "input": lambda row: row["damaged"],
            "spline": spline,
            "ours": lambda row: restoration.restore(row["damaged"], sr, "bandwidth"),
        },
        ("kind",),
    )
    results["inpaint"] = table(rows_of(holed, sr, part), ways_to_fill(sr, "inpaint"), ("kind",))
    little = [
        row
        for snr in (20.0, 30.0, 40.0)
        for row in rows_of(partial(at_snr, snr=snr, n=24), sr, part)
    ]
    results["high SNR"] = table(
        little, {k: denoise[k] for k in ("input", "ours", "ours, auto")}, ("kind",)
    )
    results["classified as noisy, by SNR"] = taken_for_noisy(sr, part)
    results["auto on whole recordings"] = left_alone(strings_of(sr, part, 40), sr)
    results["auto on excerpts"] = left_alone(cut_anywhere(sr, part, 80), sr)
    if sr == 8000:
        results["word accuracy at 0 dB"] = heard(
            sr, part, {k: v for k, v in denoise.items() if k not in ("ours, auto", AGAIN)}
        )
    results["times real time"] = paces(
        sr, {k: v for k, v in denoise.items() if k not in ("input", AGAIN)}
    )
    write(
        f"restoration-{sr}-{part}",
        {"cases": {"SNR in dB": SNRS, "each": EACH, "seconds": SECONDS}, **results},
    )


def paired(sr, part):
    "VoiceBank-DEMAND, sentence by sentence; the kinds are the speakers."
    for noisy, clean in datasets.voicebank(part):
        yield {
            "clean": audio_io.load(clean, sr)[0],
            "damaged": audio_io.load(noisy, sr)[0],
            "kind": clean.name.partition("_")[0],
        }


def voicebank(sr, part):
    write(
        f"voicebank-{sr}-{part}",
        {"denoise": table(rows_of(paired, sr, part), ways_to_denoise(sr), ("kind",))},
    )


BUDGET = 400  # CPU seconds of each twin
TWINS = {
    "alone": {},
    "adversarial 0.05": {"adversarial": 0.05},
    "adversarial 0.2": {"adversarial": 0.2},
    "adversarial 0.05, feature matching": {"adversarial": 0.05, "features": 1.0},
}


def twins(sr, seed=0):
    "What an opponent adds and costs, in every figure, on the validation speakers and noises."
    name = f"restore-{sr // 1000}k"
    start, card, lessons = (
        weights.load_model(name),
        weights.model_card(name),
        restoration_lessons.lessons(sr, f"runs/{name}"),
    )
    build = lambda change: restoration_training.build_restoration_gan(
        *lessons,
        sr,
        restoration_training.RestorationConfig(g_lr=3e-4, **change),
        seed,
        start,
        n_fft=card["n_fft"],
        hop_length=card["hop_length"],
    )
    rows = [
        Contender(f"restoration-{sr}-twins", k, seed, build(change), None, (BUDGET,))
        for k, change in TWINS.items()
    ]
    train(rows)
    cases, found = (
        {"denoise": (noisy, {"noisy": 1.0}), "bandwidth": (narrowed, {"highest": 0.5})},
        {},
    )
    for c in rows:
        ours = restoration.Restorer(weights.load_model(c.at(BUDGET)), sr, card["hop_length"])
        found[c.name] = {
            task: figures(
                rows_of(make, sr, "valid"),
                lambda row: ours(row["damaged"][None], audio.rms(row["damaged"]), **wanted)[0],
            )
            for task, (make, wanted) in cases.items()
        }
    over = lambda v, task: {
        k: {"mean": mean(x), "over alone": mean(x - found["alone"][task][k])} for k, x in v.items()
    }
    results = {
        c.name: {"steps": int(c.state.step)}
        | {task: over(v, task) for task, v in found[c.name].items()}
        for c in rows
    }
    write(f"restoration-{sr}-twins", {"seed": seed, "cpu_s": BUDGET, "scores": results})


def between(sr):
    "What a second leg among the nearly clean buys and costs, and the networks between its beginning and its end, on the validation speakers."
    name, results = f"restore-{sr // 1000}k", {}
    first, last = (
        weights.load_model(Path("runs") / name / f"leg-{k}" / "generator.keras") for k in (0, 1)
    )
    hop, pieces = (
        weights.model_card(name)["hop_length"],
        [detect_damage([y[None]], sr) for y in cut_anywhere(sr, "valid", 160, seed=17)],
    )
    for share in (0.0, 0.5, 0.75, 1.0):
        restorer = restoration.Restorer(
            restoration_training.interpolate_weights(first, last, share), sr, hop
        )
        ours = lambda row: restorer(row["damaged"][None], audio.rms(row["damaged"]), noisy=1.0)[0]
        found = {
            k: {f: mean(v) for f, v in figures(rows, ours).items()}
            for k, rows in {
                "0, 5, 10 dB": rows_of(noisy, sr, "valid"),
                "40 dB": rows_of(partial(at_snr, snr=40.0, n=24), sr, "valid"),
            }.items()
        }
        clean = np.array([restoration.estimate_noise(restorer, piece) for piece in pieces])
        results[f"{share:g}"] = found | {
            "clean pieces": {
                "classified as noisy": float(np.mean(clean > restoration.CLEAN_DB)),
                "95 in 100 below, dB": round(float(np.quantile(clean, 0.95)), 1),
                "pieces": len(pieces),
            }
        }
        print(share, results[f"{share:g}"], flush=True)
    write(f"restoration-{sr}-between", {"scores": results})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["judge", "twins", "between", "voicebank"])
    parser.add_argument("sr", type=int, choices=(8000, 16000))
    parser.add_argument("--on", choices=["valid", "test"], default="valid", help="whom to judge on")
    args = parser.parse_args()
    try:
        {
            "judge": judge,
            "voicebank": voicebank,
            "twins": lambda sr, _: twins(sr),
            "between": lambda sr, _: between(sr),
        }[args.what](args.sr, args.on)
    except audio.InputError as e:
        sys.exit(str(e))
