"""What every benchmark shares: facts about the machine, and results written whole or not at all."""

import importlib.metadata
import json
import os
import platform
from pathlib import Path

from gan_audio_tut.audio_io import atomic_write

HERE = Path(__file__).resolve().parent


def machine():
    "What a figure depends on, without naming the machine."
    versions = {
        p: importlib.metadata.version(p) for p in ("tensorflow", "keras", "numpy", "librosa")
    }
    return {
        "cpus": os.cpu_count(),
        "arch": platform.machine(),
        "python": platform.python_version(),
        **versions,
    }


def write(name, results):
    "benchmarks/NAME.json, beside the script."
    with atomic_write(HERE / f"{name}.json") as part:
        part.write_text(json.dumps({"machine": machine(), **results}, indent=1) + "\n")
