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
SEED = int(os.environ.get("GAN_AUDIO_TUT_SEED", 0))
KILLS = int(os.environ.get("GAN_AUDIO_TUT_KILLS", 3))
EVERY, STEPS = 5, 40


def start(out, life=0):
    "The command in the background; its output goes to a file beside the run, one for each life."
    options = ["--steps", STEPS, "--checkpoint-every", EVERY, "--sample-every", 10]
    call = [COMMAND, "train", "drums", *options, "--out", out, "--resume"]
    with open(f"{out}.{life}.log", "w") as output:
        return subprocess.Popen([str(c) for c in call], stdout=output, stderr=subprocess.STDOUT)


def kill_at(child, out, step, wait):
    "SIGKILL `wait` seconds after the checkpoint of `step` is there, unless the child ends before."
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


def newest_checkpoint(out):
    checkpoints = runs.list_checkpoints(out)
    return int(checkpoints[-1].stem) if checkpoints else 0


def contents(run):
    paths = [p for p in sorted(run.rglob("*")) if p.is_file()]
    kept = [p for p in paths if p.name not in ("timing.csv", ".lock")]
    return {str(p.relative_to(run)): p.read_bytes() for p in kept}


def test_killed_and_resumed_equals_untouched(tmp_path):
    rng, alone, killed = random.Random(SEED), tmp_path / "alone", tmp_path / "killed"
    untouched = start(alone)
    newest = [0]
    for k in range(KILLS):
        first = newest[-1] + EVERY
        target = rng.randrange(first, max(first + 1, STEPS * (k + 1) // (KILLS + 1) + 1))
        kill_at(start(killed, k), killed, min(target, STEPS - EVERY), rng.uniform(0, 2.5))
        check_whole(killed)
        newest.append(newest_checkpoint(killed))
    assert start(killed, KILLS).wait(300) == 0
    assert untouched.wait(300) == 0
    for k, step in enumerate(newest):
        log = (tmp_path / f"killed.{k}.log").read_text()
        resumed_at = re.findall(r"resumed at step (\d+)", log)
        killed_early = resumed_at == [] and k < KILLS  # before it could say so
        assert killed_early or resumed_at == [str(step)], (
            "each life begins at the newest checkpoint of the one before"
        )
    a, b = contents(alone), contents(killed)
    assert set(a) == set(b) and len(runs.read_csv(alone / "metrics.csv")) == STEPS
    assert [name for name in a if a[name] != b[name]] == []
