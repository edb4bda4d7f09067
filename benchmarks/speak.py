"""How long `generate` takes, warm and from a cold command, and whether a seed gives equal bytes.

python benchmarks/speak.py
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import write

from gan_audio_tut import speak

COMMAND = Path(sys.executable).with_name("gan-audio")
REPEATS = 7


def timed(function, *args, **kwargs):
    "Seconds that a call takes."
    start = time.perf_counter()
    function(*args, **kwargs)
    return time.perf_counter() - start


def cold_command(out):
    command = [COMMAND, "generate", "--label", "2026", "--seed", "3", "--out", out]
    subprocess.run(command, check=True, capture_output=True)


def summary(seconds):
    return {"median_s": round(float(np.median(seconds)), 3), "worst_s": round(max(seconds), 3)}


def main():
    with tempfile.TemporaryDirectory() as folder:
        outs = [Path(folder) / f"{k}.wav" for k in range(REPEATS)]
        cold = [timed(cold_command, out) for out in outs]
        equal_bytes = len({out.read_bytes() for out in outs}) == 1
    first = timed(speak.generate, "2026", seed=3)
    warm = [timed(speak.generate, "2026", seed=k) for k in range(REPEATS)]
    results = {
        "cold command": summary(cold),
        "first call in a process": round(first, 3),
        "warm": summary(warm),
        "bytes equal in every process": equal_bytes,
    }
    write("speak", results)


if __name__ == "__main__":
    main()
