"""Train what ships: `GAN_AUDIO_TUT_DATA_DIR=... python tools/train_pretrained.py NAME [--minutes M]`.

recogniser-8k   names digits and voices; learned from FSDD's training recordings 10 to 49
voice-8k        the picture GAN that says digits; learned from FSDD's official training recordings
Training of the voice goes in legs: stopped or run again, it goes on from runs/NAME.
"""
import argparse
import time

import keras
import numpy as np

from gan_audio_tut import datasets, metrics, runs, specgan, training, weights

FSDD = {"data": "Free Spoken Digit Dataset (Jakobovski et al.)", "data_licence": "CC BY-SA 4.0", "licence": "CC BY-SA 4.0"}


def figures(found): return {metrics.COLUMNS[k]: round(float(np.min(found[k])), 3) for k in metrics.COLUMNS if k in found}


def recogniser(name, minutes, seed=1):
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


def voice(name, minutes, seed=0):
    train, test = datasets.fsdd("train+valid"), datasets.fsdd("test")
    recipe, mel = specgan.RECIPES["specgan"], specgan.mel_settings(train)
    config = {"data": "fsdd", "classes": list(train.classes), "seed": seed, "mel": vars(mel), "settings": vars(recipe)}
    run = runs.open_run(f"runs/{name}", config, resume=True)
    state = specgan.picture_gan(train, recipe, mel, seed)
    recorder = runs.Recorder(run, state, checkpoint_every=500)
    if minutes: training.fit(state, seconds=60 * minutes, callbacks=[recorder])
    recorder.finish(state)
    labels, judge = np.repeat(np.arange(10), 100), metrics.Judge(weights.load_model("recogniser-8k"), train, test)
    found = judge(specgan.hear_pictures(specgan.speak_pictures(state.ema, labels, seed=2026), mel), labels)
    print(metrics.score_table({name: found}), found["voices"])
    weights.ship(name, state.ema, FSDD | config | {
        "about": "says the digits 0 to 9 from noise: a picture GAN and Griffin-Lim, five voices at 8 kHz",
        "trained_on": f"{len(train)} recordings, the official training set", "steps": int(state.step),
        "cpu_s": round(runs.read_rows(run / "timing.csv")[-1]["cpu_s"]), "judged_by": "recogniser-8k, 1000 clips, no selection, official test",
        "scores": {"real test (itself)": figures(judge.relative([judge.ceiling])), "real train": figures(judge.relative(judge.real_train)), name: figures(found)},
        "limits": "single English digits of about a second; phases are found by Griffin-Lim and sound slightly hollow"})


NAMES = {"recogniser-8k": recogniser, "voice-8k": voice}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--minutes", type=float, default=40, help="of this leg, for the voice; 0 judges and ships what is there")
    args = parser.parse_args()
    NAMES[args.name](args.name, args.minutes)
