"""Generators that learn by turns, each within the same CPU seconds, and are judged alike.

The runs of a seed take turns of 60 CPU seconds in one process, so that a busy machine disturbs them alike. They are
kept under runs/bench, with the generator at every point, so a stopped benchmark goes on where it was, and another
judge can be asked later. Judged from waveforms, by the shipped recogniser, 1000 clips a run.
"""

import json
import time
from pathlib import Path

import numpy as np
from common import write

from gan_audio_tut import datasets, metrics, runs, training, weights
from gan_audio_tut.istft_gan import f0_envelope_modulation

TURN = 60  # CPU seconds
WATCHED = ("d_loss", "g_loss", "real_logit", "fake_logit", "d_ranking_accuracy")


class Contender:
    "One run: its state, the CPU seconds it has used, and the mean row of every turn."

    def __init__(self, plan, name, seed, state, hear, points):
        self.name, self.seed, self.state, self.hear, self.points = name, seed, state, hear, points
        self.folder = (
            Path("runs/bench") / plan / f"{name.replace(' ', '_').replace('/', '-')}-{seed}"
        )
        log = self.folder / "log.json"
        self.log = (
            json.loads(log.read_text()) if log.exists() else {"cpu_s": 0, "steps": {}, "curve": []}
        )
        if self.log["curve"]:
            runs.load_checkpoint(self.checkpoint(), self.state)

    def at(self, point):
        return self.folder / f"{point}.keras"

    def checkpoint(self):
        return self.folder / "checkpoints" / f"{self.log['curve'][-1]['step']:07d}.npz"

    def turn(self):
        "Train for one TURN, or to the next point."
        ahead = [p for p in self.points if p > self.log["cpu_s"]]
        goal = min(ahead[0], self.log["cpu_s"] + TURN)
        if int(self.state.step) == 0:
            training.fit(
                self.state, steps=self.state.task.n_critic, progress=False
            )  # tracing is nobody's training time
        rows = training.fit(
            self.state, seconds=goal - self.log["cpu_s"], clock=time.process_time, progress=False
        )
        mean = {k: float(np.mean([r[k] for r in rows if k in r])) for k in WATCHED}
        self.log["curve"].append({"step": int(self.state.step), "cpu_s": goal, **mean})
        self.log["cpu_s"] = goal

    def keep(self):
        "First what a resumed benchmark would write again, then the log that makes it count."
        if self.log["cpu_s"] in self.points:
            runs.save_model(
                self.at(self.log["cpu_s"]), self.state.ema_generator
            )  # without an average, the generator itself
            self.log["steps"][str(self.log["cpu_s"])] = int(self.state.step)
        runs.save_checkpoint(self.checkpoint(), self.state)
        with runs.replacing(self.folder / "log.json") as part:
            part.write_text(json.dumps(self.log))
        for old in set(runs.list_checkpoints(self.folder)) - {self.checkpoint()}:
            old.unlink()

    def scores(self, judge, point):
        "Figures at a point; an unconditional run is asked for nothing, so nothing can be right."
        net, labels = weights.load_model(self.at(point)), np.repeat(np.arange(10), 100)
        y = self.hear(net, labels, self.seed)
        found = judge(y, labels) | {"f0_modulation": f0_envelope_modulation(y, 8000)}
        if len(net.inputs) == 1:
            found.pop("accuracy"), found.pop("diversity")
        return rounded(found)


def rounded(found):
    return {k: np.round(v, 4).tolist() for k, v in found.items()}


def train(contenders):
    "Turn by turn until every contender has used its budget."
    while todo := [c for c in contenders if c.log["cpu_s"] < c.points[-1]]:
        for c in todo:
            c.turn(), c.keep()
        print(" ".join(f"{c.name}:{c.seed}={c.log['cpu_s']:.0f}" for c in contenders), flush=True)


def frame(judge, clips, judged):
    "Rows of real clips, to read the others by."
    part, unheard = (
        datasets.fsdd(judged),
        datasets.fsdd("valid"),
    )  # the listener has not learned the latter
    pulses = {"f0_modulation": f0_envelope_modulation(part.audio, part.sr)}
    real = {
        f"real {judged} (itself)": judge.relative([judge.ceiling]) | pulses,
        "real train": judge.relative(judge.real_train)
        | {"f0_modulation": f0_envelope_modulation(clips.audio, clips.sr)},
    }
    if judged == "test":
        real["real, held out"] = judge(unheard.audio, unheard.labels) | {
            "f0_modulation": f0_envelope_modulation(unheard.audio, unheard.sr)
        }
        del real["real, held out"]["nearest"]  # the generators learn from these too
    return {k: rounded(v) for k, v in real.items()}


def contest(plan, rows, points, learned, judged):
    "Every row is (name, seed, build, hear): build(clips, seed) -> State, hear(net, labels, seed) -> waveforms."
    clips = datasets.fsdd(learned) if isinstance(learned, str) else learned
    judge = metrics.Evaluator(weights.load_model("classifier-8k"), clips, datasets.fsdd(judged))
    real, done = frame(judge, clips, judged), []
    for seed in sorted(
        {row[1] for row in rows}
    ):  # seed by seed, so that a stopped benchmark leaves whole comparisons
        contenders = [
            Contender(plan, name, s, build(clips, s), hear, points)
            for name, s, build, hear in rows
            if s == seed
        ]
        train(contenders)
        done += [
            {
                "name": c.name,
                "seed": c.seed,
                **c.log,
                "scores": {str(p): c.scores(judge, p) for p in points},
            }
            for c in contenders
        ]
        write(plan, {"points_cpu_s": points, "real": real, "runs": done})
