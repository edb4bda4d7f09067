"""Train generators in turns, each within the same CPU seconds, and evaluate them alike.

The runs of a seed take turns of 60 CPU seconds in one process, so that a busy machine slows all of
them alike. They are kept under runs/bench, with the generator at every point, so that a stopped
benchmark goes on where it was and another evaluator can be used later. Waveforms are evaluated with
the classifier that ships, 1000 clips a run.
"""

import json
import time
from pathlib import Path

import numpy as np
from common import write

from gan_audio_tut import datasets, metrics, runs, training, weights
from gan_audio_tut.audio_io import atomic_write
from gan_audio_tut.istft_gan import f0_envelope_modulation

TURN = 60  # CPU seconds
WATCHED = ("d_loss", "g_loss", "real_logit", "fake_logit", "d_ranking_accuracy")


class Contender:
    """One run: its state, the CPU seconds that it has used, and the mean row of every turn.

    `decode(generator, labels, seed)` gives waveforms; `points` are the CPU seconds at which the
    generator is kept.
    """

    def __init__(self, plan, name, seed, state, decode, points):
        self.name, self.seed, self.state = name, seed, state
        self.decode, self.points = decode, points
        run = f"{name.replace(' ', '_').replace('/', '-')}-{seed}"
        self.folder = Path("runs/bench") / plan / run
        self.log = {"cpu_s": 0, "steps": {}, "curve": []}
        if self.log_file.exists():
            self.log = json.loads(self.log_file.read_text())
        if self.log["curve"]:
            runs.load_checkpoint(self.checkpoint(), self.state)

    @property
    def log_file(self):
        return self.folder / "log.json"

    def at(self, point):
        "The file of the generator at a point."
        return self.folder / f"{point}.keras"

    def checkpoint(self):
        "The file of the newest checkpoint."
        return self.folder / "checkpoints" / f"{self.log['curve'][-1]['step']:07d}.npz"

    def train_turn(self):
        "Train for one TURN, or to the next point."
        next_point = min(point for point in self.points if point > self.log["cpu_s"])
        goal = min(next_point, self.log["cpu_s"] + TURN)
        if int(self.state.step) == 0:
            # a first step outside the budget, since tracing is not training
            training.fit(self.state, steps=self.state.task.n_critic, progress=False)
        seconds = goal - self.log["cpu_s"]
        rows = training.fit(self.state, seconds=seconds, clock=time.process_time, progress=False)
        mean = {k: float(np.mean([row[k] for row in rows if k in row])) for k in WATCHED}
        self.log["curve"].append({"step": int(self.state.step), "cpu_s": goal, **mean})
        self.log["cpu_s"] = goal

    def save(self):
        "First what a resumed benchmark would write again, then the log that makes it count."
        cpu_s = self.log["cpu_s"]
        if cpu_s in self.points:
            # without an average, this is the generator itself
            runs.save_model(self.at(cpu_s), self.state.ema_generator)
            self.log["steps"][str(cpu_s)] = int(self.state.step)
        runs.save_checkpoint(self.checkpoint(), self.state)
        with atomic_write(self.log_file) as part:
            part.write_text(json.dumps(self.log))
        for old in set(runs.list_checkpoints(self.folder)) - {self.checkpoint()}:
            old.unlink()

    def scores(self, evaluator, point):
        "Metrics at a point; those that depend on labels are left out for an unconditional run."
        generator = weights.load_model(self.at(point))
        labels = np.repeat(np.arange(10), 100)
        y = self.decode(generator, labels, self.seed)
        found = evaluator(y, labels) | {"f0_modulation": f0_envelope_modulation(y, 8000)}
        if len(generator.inputs) == 1:
            del found["accuracy"], found["diversity"]
        return rounded(found)


def rounded(found):
    "The same numbers with four decimals, for JSON."
    return {name: np.round(value, 4).tolist() for name, value in found.items()}


def train(contenders):
    "Turn by turn until every contender has used its budget."
    while unfinished := [c for c in contenders if c.log["cpu_s"] < c.points[-1]]:
        for contender in unfinished:
            contender.train_turn()
            contender.save()
        print(" ".join(f"{c.name}:{c.seed}={c.log['cpu_s']:.0f}" for c in contenders), flush=True)


def evaluate_real(evaluator, train_clips, split):
    "Rows of real clips, the reference for the others."

    def modulation(clips):
        return {"f0_modulation": f0_envelope_modulation(clips.audio, clips.sr)}

    itself = evaluator.relative([evaluator.real_test]) | modulation(datasets.fsdd(split))
    train_row = evaluator.relative(evaluator.real_train) | modulation(train_clips)
    real = {f"real {split} (itself)": itself, "real train": train_row}
    if split == "test":
        # the classifier has not been trained on these, but the generators have
        held_out = datasets.fsdd("valid")
        row = evaluator(held_out.audio, held_out.labels) | modulation(held_out)
        del row["nearest"]
        real["real, held out"] = row
    return {name: rounded(row) for name, row in real.items()}


def contest(plan, rows, points, train_split, test_split):
    """Train and evaluate all rows (name, seed, build, decode), and write benchmarks/PLAN.json.

    `build(clips, seed)` gives a TrainState, `decode(generator, labels, seed)` waveforms.
    `train_split` is a split of FSDD, or the clips themselves; `test_split` a split of FSDD.
    """
    clips = datasets.fsdd(train_split) if isinstance(train_split, str) else train_split
    classifier = weights.load_model("classifier-8k")
    evaluator = metrics.Evaluator(classifier, clips, datasets.fsdd(test_split))
    real, done = evaluate_real(evaluator, clips, test_split), []
    # seed by seed, so that a stopped benchmark leaves whole comparisons
    for seed in sorted({row_seed for _, row_seed, _, _ in rows}):
        contenders = [
            Contender(plan, name, seed, build(clips, seed), decode, points)
            for name, row_seed, build, decode in rows
            if row_seed == seed
        ]
        train(contenders)
        for c in contenders:
            scores = {str(point): c.scores(evaluator, point) for point in points}
            done.append({"name": c.name, "seed": c.seed, **c.log, "scores": scores})
        write(plan, {"points_cpu_s": points, "real": real, "runs": done})
