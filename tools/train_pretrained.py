"""Train what ships: `GAN_AUDIO_TUT_DATA_DIR=... python tools/train_pretrained.py NAME [--minutes M]`.

recogniser-8k   names digits and voices; learned from FSDD's training recordings 10 to 49
voice-8k        the picture GAN that says digits; learned from FSDD's official training recordings
Training of the voice goes in legs: stopped or run again, it goes on from runs/NAME. The voice that ships is the last
point of a run of benchmarks/recipes.py instead: `voice-8k --run runs/bench/recipes/specgan-0`.
"""
import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np

from gan_audio_tut import datasets, metrics, runs, specgan, training, weights

FSDD = {"data": "Free Spoken Digit Dataset (Jakobovski et al.)", "data_licence": "CC BY-SA 4.0", "licence": "CC BY-SA 4.0"}


def figures(found): return {metrics.COLUMNS[k]: round(float(np.min(found[k])), 3) for k in metrics.COLUMNS if k in found}


def recogniser(name, minutes, run=None, seed=1):
    train, valid, test = (datasets.fsdd(s) for s in ("train", "valid", "test"))
    keras.utils.set_random_seed(seed)
    model, start = metrics.build_recogniser(10, len(train.voices)), time.process_time()
    history = metrics.train_recogniser(model, train, valid, seed=seed, verbose=2)
    cpu, out = time.process_time() - start, metrics.hear(model, test.audio)
    right = {"digit": np.mean(out["label"].argmax(1) == test.labels), "voice": np.mean(out["voice"].argmax(1) == test.speakers)}
    weights.ship(name, model, FSDD | {
        "about": "names spoken digits and five voices; its features measure distances between clips",
        "trained_on": f"{len(train)} recordings, index 10 and up", "sr": train.sr, "samples": train.audio.shape[1],
        "classes": list(train.classes), "voices": list(train.voices), "epochs": len(history.epoch), "cpu_s": round(cpu), "seed": seed,
        "scores": {"official test": {k: round(float(v), 4) for k, v in right.items()}},
        "limits": "English digits in five voices; other speakers and rooms are heard less well"})


def thinned(rows, n=40):
    "The mean rows of `n` stretches of a run, for the card."
    names = ("d_loss", "g_loss", "real_logit", "fake_logit", "told_apart")
    parts = np.array_split(rows, min(n, len(rows)))
    return [{"step": part[-1]["step"], **{k: round(float(np.mean([r[k] for r in part])), 4) for k in names}} for part in parts]


def ship_voice(name, net, facts, judge, mel, unheard):
    "Judge a generator and put it among the shipped ones; `facts` are its data, recipe, steps, CPU seconds, seed and curve."
    labels = np.repeat(np.arange(10), 100)
    found = judge(specgan.to_sound(specgan.from_noise(net, labels, seed=2026), mel), labels)
    fresh = {k: v for k, v in judge(unheard.audio, unheard.labels).items() if k != "nearest"}  # the voice has learned from these too
    scores = {"real test (itself)": judge.relative([judge.ceiling]), "real train": judge.relative(judge.real_train), "real, unheard": fresh, name: found}
    print(metrics.score_table(scores), found["voices"])
    weights.ship(name, net, FSDD | facts | {
        "about": "says the digits 0 to 9 from noise: a picture GAN and Griffin-Lim, five voices at 8 kHz",
        "judged_by": "recogniser-8k, 1000 clips, no selection, official test", "scores": {k: figures(v) for k, v in scores.items()},
        "limits": "single English digits of about a second; phases are found by Griffin-Lim and sound slightly hollow"})


def trained(name, minutes, clips, recipe, mel, config):
    "The averaged generator of a run of our own; its steps, CPU seconds and curve."
    run = runs.open_run(f"runs/{name}", config, resume=True)
    state = specgan.picture_gan(clips, recipe, mel, config["seed"])
    recorder = runs.Recorder(run, state, checkpoint_every=500)
    if minutes: training.fit(state, seconds=60 * minutes, callbacks=[recorder])
    recorder.finish(state)
    cpu = runs.read_rows(run / "timing.csv")[-1]["cpu_s"]
    return state.ema, {"steps": int(state.step), "cpu_s": round(cpu), "curve": thinned(runs.read_rows(run / "metrics.csv"))}


def benchmarked(run):
    "The generator at the last point of a run of benchmarks/recipes.py; its steps, CPU seconds and curve."
    log = json.loads((Path(run) / "log.json").read_text())
    curve = [{k: v if k == "step" else round(v, 4) for k, v in row.items() if k != "cpu_s"} for row in log["curve"]]
    return weights.load_model(Path(run) / f"{log['cpu_s']}.keras"), {"steps": curve[-1]["step"], "cpu_s": log["cpu_s"], "curve": curve}


def voice(name, minutes, run=None, seed=0):
    clips, recipe = datasets.fsdd("train+valid"), specgan.RECIPES["specgan"]
    mel = specgan.mel_settings(clips)
    config = {"data": "fsdd", "classes": list(clips.classes), "seed": seed, "mel": vars(mel), "settings": vars(recipe)}
    net, facts = benchmarked(run) if run else trained(name, minutes, clips, recipe, mel, config)
    facts |= config | {"trained_on": f"{len(clips)} recordings, the official training set"}
    judge = metrics.Judge(weights.load_model("recogniser-8k"), clips, datasets.fsdd("test"))
    ship_voice(name, net, facts, judge, mel, datasets.fsdd("valid"))


NAMES = {"recogniser-8k": recogniser, "voice-8k": voice}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--minutes", type=float, default=10, help="of this leg, for the voice; 0 judges and ships what is there")
    parser.add_argument("--run", help="a run of benchmarks/recipes.py, seed 0, to judge and ship instead")
    args = parser.parse_args()
    NAMES[args.name](args.name, args.minutes, args.run)
