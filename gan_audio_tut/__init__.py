"""GANs for sound: make it, mend it, measure it. Heavy imports wait until first use."""

__version__ = "0.1.0"

import os

import lazy_loader

# TensorFlow reads this once, at import; a user's own setting wins.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "activations",
        "audio",
        "backbone",
        "baselines",
        "cli",
        "datasets",
        "degrade",
        "explore",
        "fidelity",
        "files",
        "health",
        "losses",
        "mel",
        "mending",
        "metrics",
        "plots",
        "restoration",
        "runs",
        "showcase",
        "specgan",
        "speak",
        "survey",
        "training",
        "vocoder",
        "wavegan",
        "weights",
    ],
    submod_attrs={"restoration": ["restore"], "speak": ["generate"]},
)
