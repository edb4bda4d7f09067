"""The textbook recipe against ours, and what each change is worth, at equal CPU seconds on real recordings.

    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/recipes.py recipes    # 2 recipes x 3 seeds
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/recipes.py changes    # one change at a time, 9 runs
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/recipes.py losses     # which loss to start from: 2 losses x 2 seeds

The runs of a seed take turns of 60 CPU seconds in one process, so that a busy machine disturbs them alike. They are
kept under runs/bench, with the generator at every point, so a stopped benchmark goes on where it was, and another
judge can be asked later. `recipes` learns from FSDD's official training recordings and is judged on the official test.
`changes` and `losses` are there to choose by, so the test stays out of them: they learn from the training recordings
less the validation part, and are judged on that. Judged from waveforms, by the shipped recogniser, 1000 clips a run.
"""
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import write

from gan_audio_tut import datasets, metrics, runs, specgan, training, weights

TURN = 60  # CPU seconds
OURS, TEXTBOOK = specgan.RECIPES["specgan"], specgan.RECIPES["textbook"]
CHANGES = {  # each row changes one thing of the row above it, down to ours
    "textbook": TEXTBOOK,
    "+ R1, no batch norm in D": (step := replace(TEXTBOOK, r1=OURS.r1, d_norm=None)),
    "+ rates x4 and x8, beta_2 0.9": (step := replace(step, g_rate=OURS.g_rate, d_rate=OURS.d_rate, beta_2=OURS.beta_2)),
    "+ per-position norm in G": (step := replace(step, g_norm="pixel")),
    "+ averaged weights (ours)": replace(step, ema=OURS.ema),
    # and ours with one thing changed
    "ours, relativistic": replace(OURS, loss="relativistic"),
    "ours, hinge": replace(OURS, loss="hinge"),
    "ours, least squares": replace(OURS, loss="least_squares"),
    "ours, no labels": replace(OURS, conditional=False),
}
LOSSES = {"non-saturating": replace(OURS, loss="non_saturating"), "least squares": replace(OURS, loss="least_squares")}
PLANS = {  # name -> ([(row, recipe, seed)], points in CPU seconds where it is judged, learned from, judged on)
    "recipes": ([(n, r, s) for s in range(3) for n, r in (("textbook", TEXTBOOK), ("specgan", OURS))], (460, 800, 1140), "train+valid", "test"),  # 4, 7 and 10 minutes of two idle cores
    "changes": ([(n, r, 0) for n, r in CHANGES.items()], (460,), "train", "valid"),
    "losses": ([(n, r, s) for s in range(2) for n, r in LOSSES.items()], (460, 1140), "train", "valid"),
}


class Contender:
    "One run: its state, the CPU seconds it has used, and the mean row of every turn."

    def __init__(self, plan, name, recipe, seed, clips, points):
        self.name, self.seed, self.points = name, seed, points
        self.state = specgan.picture_gan(clips, recipe, seed=seed)
        self.folder = Path("runs/bench") / plan / f"{name.replace(' ', '_').replace('/', '-')}-{seed}"
        log = self.folder / "log.json"
        self.log = json.loads(log.read_text()) if log.exists() else {"cpu_s": 0, "steps": {}, "curve": []}
        if self.log["curve"]: runs.load_checkpoint(self.checkpoint(), self.state)

    def at(self, point): return self.folder / f"{point}.keras"
    def checkpoint(self): return self.folder / "checkpoints" / f"{self.log['curve'][-1]['step']:07d}.npz"

    def turn(self):
        "Train for one TURN, or to the next point."
        ahead = [p for p in self.points if p > self.log["cpu_s"]]
        goal = min(ahead[0], self.log["cpu_s"] + TURN)
        if int(self.state.step) == 0: training.fit(self.state, steps=1, progress=False)  # tracing is nobody's training time
        rows = training.fit(self.state, seconds=goal - self.log["cpu_s"], clock=time.process_time, progress=False)
        mean = {k: float(np.mean([r[k] for r in rows])) for k in ("d_loss", "g_loss", "real_logit", "fake_logit", "told_apart")}
        self.log["curve"].append({"step": int(self.state.step), "cpu_s": goal, **mean})
        self.log["cpu_s"] = goal

    def keep(self):
        "First what a resumed benchmark would write again, then the log that makes it count."
        if self.log["cpu_s"] in self.points:
            runs.save_model(self.at(self.log["cpu_s"]), self.state.ema)  # without an average, the generator itself
            self.log["steps"][str(self.log["cpu_s"])] = int(self.state.step)
        runs.save_checkpoint(self.checkpoint(), self.state)
        with runs.replacing(self.folder / "log.json") as part: part.write_text(json.dumps(self.log))
        for old in set(runs.checkpoints(self.folder)) - {self.checkpoint()}: old.unlink()

    def scores(self, judge, config, point):
        "Figures at a point; an unconditional run is asked for nothing, so nothing can be right."
        net, labels = weights.load_model(self.at(point)), np.repeat(np.arange(10), 100)
        found = judge(specgan.hear_pictures(specgan.speak_pictures(net, labels, seed=self.seed), config), labels)
        if len(net.inputs) == 1: found.pop("accuracy"), found.pop("diversity")
        return rounded(found)


def rounded(found): return {k: np.round(v, 4).tolist() for k, v in found.items()}


def train(contenders):
    "Turn by turn until every contender has used its budget."
    while todo := [c for c in contenders if c.log["cpu_s"] < c.points[-1]]:
        for c in todo: c.turn(), c.keep()
        print(" ".join(f"{c.name}:{c.seed}={c.log['cpu_s']:.0f}" for c in contenders), flush=True)


def main(plan):
    rows, points, learned, judged = PLANS[plan]
    clips, unlearned = datasets.fsdd(learned), datasets.fsdd(judged)
    config, judge = specgan.mel_settings(clips), metrics.Judge(weights.load_model("recogniser-8k"), clips, unlearned)
    unheard = datasets.fsdd("valid")  # real clips that the listener has not learned
    real = {f"real {judged} (itself)": judge.relative([judge.ceiling]), "real train": judge.relative(judge.real_train)}
    if judged == "test":
        real["real, unheard"] = judge(unheard.audio, unheard.labels)
        del real["real, unheard"]["nearest"]  # the generators learn from these too
    done = []
    for seed in sorted({s for *_, s in rows}):  # seed by seed, so that a stopped benchmark leaves whole comparisons
        contenders = [Contender(plan, *row, clips, points) for row in rows if row[-1] == seed]
        train(contenders)
        done += [{"name": c.name, "seed": c.seed, **c.log, "scores": {str(p): c.scores(judge, config, p) for p in points}} for c in contenders]
        write(plan, {"points_cpu_s": points, "real": {k: rounded(v) for k, v in real.items()}, "runs": done})


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "recipes")
