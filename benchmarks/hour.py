"""An hour of noisy speech at 44.1 kHz, stereo, 16 bits, through `gan-audio restore`.

Measures seconds, speed relative to real time and peak memory:

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

COMMAND = Path(sys.executable).with_name("gan-audio")
SR = 44100
MINUTES = 60
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes


def noisy_minute(rng):
    "A minute of the embedded words, with noise 10 dB below them, independent in each channel."
    words = [audio.trim(y, 8000) for y in datasets.digits("test").audio]
    speech = np.concatenate([words[k] for k in rng.integers(0, len(words), 150)])
    speech = audio.fix_length(audio.resample(speech, 8000, SR), 60 * SR)

    def add_pink_noise():
        noise = degrade.coloured_noise(len(speech), SR, rng, slope_db=-3)
        return degrade.add_noise(speech, noise, snr_db=10.0)[0]

    return np.stack([add_pink_noise() for _ in range(2)])


def write_hour(path):
    y = noisy_minute(np.random.default_rng(0))
    with streaming.open_writer(path, SR, 2) as write_samples:
        for _ in range(MINUTES):
            write_samples(y)


def measure(source, task):
    "Restore a file in a process of its own: seconds, speed, memory."
    target = source.with_name(f"{task}.wav")
    start = time.perf_counter()
    subprocess.run([COMMAND, "restore", source, target, "--task", task], check=True)
    seconds = time.perf_counter() - start
    # of the largest child so far
    peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * MAXRSS_UNIT
    return {
        "seconds": round(seconds, 1),
        "times real time": round(60 * MINUTES / seconds, 1),
        "peak_gb": round(peak_bytes / 1e9, 3),
    }


def main():
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "hour.wav"
        write_hour(source)
        for task in ("denoise", "auto"):
            results[task] = measure(source, task)
            print(task, results[task], flush=True)
    write("hour", {"minutes": MINUTES, "sr": SR, "channels": 2, **results})


if __name__ == "__main__":
    main()
