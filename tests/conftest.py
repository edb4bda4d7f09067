"""What every test shares: quiet TensorFlow, and no real data unless it was pointed at."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def real_data():
    "The folder of real recordings, or skip."
    folder = os.environ.get("GAN_AUDIO_TUT_DATA_DIR")
    if not folder or not (Path(folder) / "fsdd" / "recordings").is_dir():
        pytest.skip("set GAN_AUDIO_TUT_DATA_DIR to run on real recordings")
    return Path(folder)
