"""An hour of noisy speech at 44.1 kHz, stereo, 16 bits, through `gan-audio restore`: seconds, times real time, peak memory.

python benchmarks/hour.py
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import write

from gan_audio_tut import audio, datasets, degrade, streaming

COMMAND, SR, MINUTES = Path(sys.executable).with_name("gan-audio"), 44100, 60


def minute(rng):
    "The embedded words one after the other, a hiss in each channel of its own, 10 dB below them."
    words = [audio.trim(y, 8000) for y in datasets.digits("test").audio]
    said = audio.fix_length(
        audio.resample(
            np.concatenate([words[k] for k in rng.integers(0, len(words), 150)]), 8000, SR
        ),
        60 * SR,
    )
    return np.stack(
        [
            degrade.add_noise(said, degrade.coloured_noise(len(said), SR, rng, -3), 10.0)[0]
            for _ in range(2)
        ]
    )


def main():
    rng, results = np.random.default_rng(0), {}
    with tempfile.TemporaryDirectory() as folder:
        source, y = Path(folder) / "hour.wav", minute(rng)
        with streaming.open_writer(source, SR, 2) as put:
            for _ in range(MINUTES):
                put(y)
        for task in ("denoise", "auto"):
            start = time.perf_counter()
            subprocess.run(
                [COMMAND, "restore", source, Path(folder) / f"{task}.wav", "--task", task],
                check=True,
            )
            seconds = time.perf_counter() - start
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (
                1 if sys.platform == "darwin" else 1024
            )  # of the largest so far
            results[task] = {
                "seconds": round(seconds, 1),
                "times real time": round(60 * MINUTES / seconds, 1),
                "peak_gb": round(peak / 1e9, 3),
            }
            print(task, results[task], flush=True)
    write("hour", {"minutes": MINUTES, "sr": SR, "channels": 2, **results})


if __name__ == "__main__":
    main()
