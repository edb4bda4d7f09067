"""What every test shares: quiet TensorFlow, and no real data unless it was pointed at."""

import os
from pathlib import Path

import numpy as np
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


RATES = [1000, 7919, 8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000]


def refusal(f, *args, about, **options):
    "The one line with which `f` refuses its input; it begins with the culprit and holds a remedy."
    from gan_audio_tut.audio import InputError

    with pytest.raises(InputError) as e:
        f(*args, **options)
    line = str(e.value)
    assert line.startswith(f"{about}: ") and "; " in line and "\n" not in line
    return line


def check_exact_resume(make_state, folder):
    "Three steps, a checkpoint, three more: the resumed run equals the other one, bit for bit."
    from gan_audio_tut import runs, training

    whole, resumed = make_state(), make_state()
    training.fit(whole, steps=3, progress=False)
    runs.save_checkpoint(folder / "0000003.npz", whole)
    history = training.fit(whole, steps=6, progress=False)
    runs.load_checkpoint(folder / "0000003.npz", resumed)
    assert training.fit(resumed, steps=6, progress=False) == history
    pairs = zip(whole.variables, resumed.variables, strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
