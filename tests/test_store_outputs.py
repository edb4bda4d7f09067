"Stored figures: small, and the same to the eye."

import base64
import importlib.util
import io

import numpy as np
from conftest import ROOT
from matplotlib.figure import Figure
from PIL import Image

from gan_audio_tut import audio, plots


def load_tool():
    path = ROOT / "tools" / "store_outputs.py"
    spec = importlib.util.spec_from_file_location("store_outputs", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"), float)


def test_a_figure_shrinks_and_looks_the_same():
    figure = Figure(figsize=(7, 3), dpi=80)
    plots.spectrogram(audio.white_noise(1.0, 8000), 8000, ax=figure.subplots())
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    png = base64.b64encode(buffer.getvalue()).decode()

    reduced = load_tool().reduce_colours(png)
    assert len(reduced) < 0.7 * len(png)
    assert pixels(reduced).shape == pixels(png).shape
    assert np.abs(pixels(reduced) - pixels(png)).mean() < 3
