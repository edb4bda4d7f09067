"""`gan-audio train`, killed with SIGKILL and resumed, ends like a run that nobody touched."""

import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

from gan_audio_tut import audio_io, runs

COMMAND = Path(sys.executable).with_name("gan-audio")
KILLS, EVERY, STEPS = int(os.environ.get("GAN_AUDIO_TUT_KILLS", 3)), 5, 40


def start(out, life=0):
    "The command in the background; what it says goes to a file beside the run, one for each life."
    call = [
        COMMAND,
        "train",
        "drums",
        "--steps",
        str(STEPS),
        "--checkpoint-every",
        str(EVERY),
        "--sample-every",
        "10",
        "--out",
        out,
        "--resume",
    ]
    with open(f"{out}.{life}.log", "w") as said:
        return subprocess.Popen([str(c) for c in call], stdout=said, stderr=subprocess.STDOUT)


def kill_at(child, out, step, wait):
    "SIGKILL `wait` seconds after the checkpoint of `step` is there, or at once if the child ends before."
    while child.poll() is None and not any(int(p.stem) >= step for p in runs.list_checkpoints(out)):
        time.sleep(0.01)
    time.sleep(wait)
    child.kill()
    child.wait()


def check_whole(out):
    "Nothing half-written bears a final name."
    for path in runs.list_checkpoints(out):
        runs.read_arrays(path)
    for name in ("metrics.csv", "timing.csv"):
        runs.read_csv(out / name)
    for path in (out / "samples").glob("[!.]*.wav"):
        audio_io.load(path)


def contents(run):
    return {
        str(p.relative_to(run)): p.read_bytes()
        for p in sorted(run.rglob("*"))
        if p.is_file() and p.name != "timing.csv"
    }


def test_killed_and_resumed_equals_untouched(tmp_path):
    rng, alone, killed, newest = (
        random.Random(int(os.environ.get("GAN_AUDIO_TUT_SEED", 0))),
        tmp_path / "alone",
        tmp_path / "killed",
        [0],
    )
    untouched = start(alone)
    for k in range(KILLS):
        target = rng.randrange(
            newest[-1] + EVERY, max(newest[-1] + EVERY + 1, STEPS * (k + 1) // (KILLS + 1) + 1)
        )
        kill_at(start(killed, k), killed, min(target, STEPS - EVERY), rng.uniform(0, 2.5))
        check_whole(killed)
        newest.append(
            int(runs.list_checkpoints(killed)[-1].stem) if runs.list_checkpoints(killed) else 0
        )
    assert start(killed, KILLS).wait(300) == 0
    assert untouched.wait(300) == 0
    for k, step in enumerate(newest):  # a life may end before it has spoken, but not the last
        said = re.findall(r"resumed at step (\d+)", (tmp_path / f"killed.{k}.log").read_text())
        assert said == [str(step)] or (said == [] and k < KILLS), (
            "each life begins at the newest checkpoint of the one before"
        )
    a, b = contents(alone), contents(killed)
    assert set(a) == set(b) and len(runs.read_csv(alone / "metrics.csv")) == STEPS
    assert [name for name in a if a[name] != b[name]] == []
