"""The wheel, installed elsewhere, brings what it must: an editable install would hide what is missing."""

import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    "The wheel built from a source distribution, unpacked in a folder of its own."
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-deps", "--target", folder / "site", wheel],
        check=True,
        capture_output=True,
    )
    return folder / "site"


def test_generator_and_digits_travel(installed, tmp_path):
    code = (
        "import gan_audio_tut as g, sys\n"
        f"assert g.__file__.startswith({str(installed)!r}), g.__file__\n"
        "assert len(g.datasets.digits('train+valid+test')) == 750\n"
        "y, sr = g.generate('7')\n"
        "assert sr == 8000 and abs(y).max() > 0.05\n"
        "assert set(g.weights.list_pretrained()) >= {'voice-8k', 'specgan-8k', 'classifier-8k', 'vocoder-8k', 'vocoder-16k', 'drums-16k'}"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed), "PATH": ""},
    )


def test_metadata(installed):
    (info,) = installed.glob("gan_audio_tut-*.dist-info")
    text = (info / "METADATA").read_text()
    assert (
        "Requires-Dist: tensorflow>=2.21" in text
        and 'extra == "cuda"' in text
        and "License-Expression: MIT" in text
    )
    assert "gan-audio = gan_audio_tut.cli:main" in (info / "entry_points.txt").read_text()
