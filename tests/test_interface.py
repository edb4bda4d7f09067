"""What a user of the library sees: help, types, names at the top level."""

import inspect
import os
import pydoc
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile as sf
from conftest import ROOT

import gan_audio_tut as gat

# What users call; functions that exist for a lesson may be described more briefly.
CALLED = """
    audio.resample audio.trim audio.normalize_rms audio.fix_length audio_io.load audio_io.save
    audio_io.stream audio_io.audio_info mel.stft mel.istft mel.mel_spectrogram mel.log_mel
    mel.griffin_lim mel.mel_to_audio mel.log_mel_to_audio training.fit datasets.load_dataset
    datasets.audio_folder datasets.drums datasets.digits datasets.fsdd metrics.inception_score
    metrics.frechet_distance metrics.kid fidelity.score fidelity.si_sdr fidelity.stoi
    fidelity.pesq fidelity.multi_resolution_stft degrade.add_noise degrade.hard_clip
    degrade.band_limit degrade.dropouts degrade.apply_codec degrade.apply_degradation
    streaming.process_in_chunks streaming.process_file baselines.wiener baselines.ar_inpaint
    detection.detect_damage vocoder.vocode restoration.restore restoration.restore_file
    restoration.restore_folder speak.generate weights.load_model weights.model_card
    specgan.sample specgan.decode_audio
""".strip().split()


def function(name):
    module, attribute = name.split(".")
    return getattr(getattr(gat, module), attribute)


def sections(name):
    "The NumPy-style sections of a docstring: title -> text."
    doc = inspect.getdoc(function(name))
    parts = re.split(r"^(\w[\w ]*)\n-{3,}$", doc, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", CALLED)
def test_docstring_describes_every_parameter(name):
    found = sections(name)
    headings = re.findall(r"^(\S.*)$", found.get("Parameters", ""), re.M)
    described = {name for line in headings for name in re.findall(r"\w+", line.split(" : ")[0])}
    parameters = set(inspect.signature(function(name)).parameters)
    assert parameters <= described, f"not described: {sorted(parameters - described)}"
    assert "Returns" in found or "Yields" in found or function(name).__annotations__.get("return")


@pytest.mark.parametrize("name", CALLED)
def test_type_hints_are_complete(name):
    signature = inspect.signature(function(name))
    bare = [p.name for p in signature.parameters.values() if p.annotation is p.empty]
    assert not bare


@pytest.mark.parametrize("name", CALLED)
def test_only_the_sound_and_its_rate_are_positional(name):
    "And what must be given, such as a random generator or the kind of degradation."
    parameters = list(inspect.signature(function(name)).parameters.values())
    if [p.name for p in parameters[:2]] == ["y", "sr"]:
        optional = [p for p in parameters[2:] if p.default is not p.empty]
        assert all(p.kind is p.KEYWORD_ONLY for p in optional)


def test_help_shows_shapes_units_and_ranges():
    text = pydoc.render_doc(gat.restore, renderer=pydoc.plaintext)
    for word in ("Parameters", "shape", "(samples,)", "Hz", "[-1, 1]", "Returns", "Raises"):
        assert word in text, f"{word} is missing"


def test_top_level_names(tmp_path):
    y = 0.1 * np.ones((800,), np.float32)
    gat.save(tmp_path / "a.wav", y, 8000)
    back, sr = gat.load(tmp_path / "a.wav")
    assert sr == 8000 and np.abs(back - y).max() < 1e-4
    assert issubclass(gat.InputError, ValueError)
    with pytest.raises(gat.InputError):
        gat.load(tmp_path / "b.wav")


def test_load_reads_a_part(tmp_path):
    y = np.linspace(-0.5, 0.5, 8000)
    sf.write(tmp_path / "a.wav", y, 8000, subtype="FLOAT")
    part, _ = gat.load(tmp_path / "a.wav", offset=0.25, duration=0.5)
    assert np.allclose(part, y[2000:6000])


USER = """
import numpy as np

import gan_audio_tut as gat

y, sr = gat.load("noisy.wav", offset=1.0, duration=2.0)
z: np.ndarray = gat.restore(y, sr, task="denoise")
words, rate = gat.generate("2026", seed=1)
gat.save("clean.wav", z, sr)
rate.bit_length()
gat.restore(y)  # type: ignore
gat.restore(y, sr, "denoise")  # type: ignore
z.no_such_method()  # type: ignore[attr-defined]
gat.no_such_name  # type: ignore[attr-defined]
"""


def test_mypy_sees_types(tmp_path):
    "Each of the four mistakes is found: `--warn-unused-ignores` complains where one is not."
    (tmp_path / "user.py").write_text(USER)
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nwarn_unused_ignores = True\nignore_missing_imports = True\n"
        "[mypy-tensorflow.*,keras.*,librosa.*,matplotlib.*,scipy.*,IPython.*]\n"
        "follow_imports = skip\nignore_missing_imports = True\n"
        "[mypy-gan_audio_tut.*]\nignore_errors = True\n"
    )
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "user.py"]
    env = os.environ | {"MYPYPATH": str(ROOT)}  # mypy does not follow an editable install
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
