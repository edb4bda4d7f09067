"""The textbook recipe against ours, and what each change is worth, at equal CPU seconds on real recordings.

    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/recipes.py recipes    # 2 recipes x 3 seeds x 1200 CPU s
    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/recipes.py changes    # one change at a time, 600 CPU s each

The runs of a seed take turns of 60 CPU seconds in one process, so that a busy machine disturbs them alike. They are
kept under runs/bench, so a stopped benchmark goes on where it was. Learned from: FSDD's official training
recordings. Judged on: the official test, from waveforms, by the shipped recogniser, 1000 clips a run.
"""
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import HERE, write

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
PLANS = {  # name -> ([(row, recipe, seed)], points in CPU seconds where it is judged)
    "recipes": ([(n, r, s) for s in range(3) for n, r in (("textbook", TEXTBOOK), ("specgan", OURS))], (480, 840, 1200)),
    "changes": ([(n, r, 0) for n, r in CHANGES.items()], (600,)),
}


class Contender:
    "One run: its state, the CPU seconds it has used, and its figures."

    def __init__(self, plan, name, recipe, seed, clips, points):
        self.name, self.seed, self.points = name, seed, points
        self.state = specgan.picture_gan(clips, recipe, seed=seed)
        self.folder = Path("runs/bench") / plan / f"{name.replace(' ', '_').replace('/', '-')}-{seed}"
        if kept := runs.checkpoints(self.folder): runs.load_checkpoint(kept[-1], self.state)
        log = self.folder / "log.json"
        self.log = json.loads(log.read_text()) if log.exists() else {"cpu_s": 0.0, "wall_s": 0.0, "scores": {}}

    def turn(self):
        "Train to the next multiple of TURN or the next point."
        goal = min([p for p in self.points if p > self.log["cpu_s"] + 1e-6] + [self.log["cpu_s"] + TURN], key=float)
        goal = min(goal, self.log["cpu_s"] + TURN)
        if int(self.state.step) == 0: training.fit(self.state, steps=1, progress=False)  # tracing is nobody's training time
        wall = time.perf_counter()
        training.fit(self.state, seconds=goal - self.log["cpu_s"], clock=time.process_time, progress=False)
        self.log["cpu_s"] = goal
        self.log["wall_s"] += time.perf_counter() - wall

    def judge(self, judge, config):
        "Figures at this point; an unconditional run is asked for nothing, so nothing can be right."
        labels = np.repeat(np.arange(10), 100)
        net = self.state.ema if self.state.ema_decay else self.state.job.generator
        found = judge(specgan.hear_pictures(specgan.speak_pictures(net, labels, seed=self.seed), config), labels)
        if len(net.inputs) == 1: found.pop("accuracy"), found.pop("diversity")
        self.log["scores"][str(int(self.log["cpu_s"]))] = {k: np.round(v, 4).tolist() for k, v in found.items()} | {"step": int(self.state.step)}

    def keep(self):
        runs.save_checkpoint(self.folder / "checkpoints" / f"{int(self.state.step):07d}.npz", self.state)
        for old in runs.checkpoints(self.folder)[:-1]: old.unlink()
        with runs.replacing(self.folder / "log.json") as part: part.write_text(json.dumps(self.log))


def train(contenders, judge, config):
    "Turn by turn until every contender has used its budget."
    while todo := [c for c in contenders if c.log["cpu_s"] < c.points[-1]]:
        for c in todo:
            c.turn()
            if int(c.log["cpu_s"]) in c.points: c.judge(judge, config)
            c.keep()
        print(" ".join(f"{c.name}:{c.seed}={c.log['cpu_s']:.0f}" for c in contenders), flush=True)


def main(plan):
    rows, points = PLANS[plan]
    clips, test = datasets.fsdd("train+valid"), datasets.fsdd("test")
    judge, config = metrics.Judge(weights.load_model("recogniser-8k"), clips, test), specgan.mel_settings(clips)
    frame = {"real test (itself)": judge.relative([judge.ceiling]), "real train": judge.relative(judge.real_train)}
    frame = {n: {k: np.round(v, 4).tolist() for k, v in f.items()} for n, f in frame.items()}
    done = []
    for seed in sorted({s for *_, s in rows}):  # seed by seed, so that a stopped benchmark leaves whole comparisons
        contenders = [Contender(plan, *row, clips, points) for row in rows if row[-1] == seed]
        train(contenders, judge, config)
        done += [{"name": c.name, "seed": c.seed, **c.log} for c in contenders]
        write(plan, {"points_cpu_s": points, "real": frame, "runs": done})


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "recipes")
