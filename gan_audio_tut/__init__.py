"""GANs for audio: generation, restoration, separation. Heavy imports wait until first use."""

__version__ = "0.2.0"

import os

import lazy_loader

# TensorFlow reads this once, at import; a user's own setting wins.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
