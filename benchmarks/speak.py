"""How long `generate` takes, warm and from a cold command, and whether a seed gives the same bytes in two processes.

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
TURNS = 7


def clock(act):
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def cold(out):
    subprocess.run(
        [COMMAND, "generate", "--label", "2026", "--seed", "3", "--out", out],
        check=True,
        capture_output=True,
    )


def main():
    with tempfile.TemporaryDirectory() as folder:
        outs = [Path(folder) / f"{k}.wav" for k in range(TURNS)]
        from_nothing = [clock(lambda: cold(out)) for out in outs]
        same = len({out.read_bytes() for out in outs}) == 1
    first = clock(lambda: speak.generate("2026", seed=3))
    warm = [clock(lambda: speak.generate("2026", seed=k)) for k in range(TURNS)]
    spread = lambda times: {
        "median_s": round(float(np.median(times)), 3),
        "worst_s": round(max(times), 3),
    }
    write(
        "speak",
        {
            "cold command": spread(from_nothing),
            "first call in a process": round(first, 3),
            "warm": spread(warm),
            "bytes equal in every process": same,
        },
    )


if __name__ == "__main__":
    main()
