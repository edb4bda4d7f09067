"""The wheel, installed elsewhere, brings what it must: an editable install would hide a gap."""

import subprocess
import sys

import pytest
from conftest import ROOT


def run(*words, **options):
    return subprocess.run(list(map(str, words)), check=True, capture_output=True, **options)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    "The wheel built from a source distribution, unpacked in a folder of its own."
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps"]
    run(*pip, "--target", folder / "site", wheel)
    return folder / "site"


SCRIPT = """
import gan_audio_tut as gat

assert gat.__file__.startswith({site!r}), gat.__file__
assert len(gat.datasets.digits("train+valid+test")) == 750
y, sr = gat.generate("7")
assert sr == 8000 and abs(y).max() > 0.05
print(*gat.weights.list_pretrained())
"""

SHIPPED = """
    voice-8k specgan-8k classifier-8k vocoder-8k vocoder-16k restore-8k restore-16k drums-16k
""".strip()


def test_generator_and_digits_travel(installed, tmp_path):
    script = SCRIPT.format(site=str(installed))
    env = {"PYTHONPATH": str(installed), "PATH": ""}
    done = run(sys.executable, "-c", script, cwd=tmp_path, env=env, text=True)
    assert set(done.stdout.split()) == set(SHIPPED.split())


def test_types_travel(installed):
    assert {"py.typed", "__init__.pyi"} <= {p.name for p in (installed / "gan_audio_tut").iterdir()}


def test_metadata(installed):
    (info,) = installed.glob("gan_audio_tut-*.dist-info")
    text = (info / "METADATA").read_text()
    for line in ("Requires-Dist: tensorflow>=2.21", 'extra == "cuda"', "License-Expression: MIT"):
        assert line in text
    assert "gan-audio = gan_audio_tut.cli:main" in (info / "entry_points.txt").read_text()
