"""What every benchmark shares: facts about the machine, and results written whole or not at all."""

import importlib.metadata
import json
import os
import platform
from pathlib import Path

from gan_audio_tut.audio_io import atomic_write

HERE = Path(__file__).resolve().parent
PACKAGES = ("tensorflow", "keras", "numpy", "librosa")


def machine():
    "What a result depends on, without naming the machine."
    return {
        "cpus": os.cpu_count(),
        "arch": platform.machine(),
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in PACKAGES},
    }


def write(name, results):
    "Save results as benchmarks/NAME.json, beside the script."
    text = json.dumps({"machine": machine(), **results}, indent=1)
    with atomic_write(HERE / f"{name}.json") as part:
        part.write_text(text + "\n")
