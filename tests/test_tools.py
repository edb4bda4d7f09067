"""The scripts in tools/; what needs an extra is skipped where it is not installed."""

import importlib
import importlib.util
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import nbformat
import numpy as np
import pytest

from gan_audio_tut import audio, audio_io

TOOLS = Path(__file__).resolve().parent.parent / "tools"


needs_espeak = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None, reason="the extra 'data' is not installed"
)


@needs_espeak
def test_make_voices(tmp_path):
    "Voices that differ, sound, do not clip, and come out alike on every rebuild."
    for out in ("a", "b"):
        call = ["make_voices.py", tmp_path / out, "--minutes", "0.1", "--seconds", "2"]
        subprocess.run(
            [sys.executable, TOOLS / call[0], *call[1:]],
            check=True,
            capture_output=True,
            timeout=120,
        )
    first, again = (
        [p.read_bytes() for p in sorted((tmp_path / out).glob("*.flac"))] for out in ("a", "b")
    )
    assert len(first) == 3 and len(set(first)) == 3 and first == again
    for path in (tmp_path / "a").glob("*.flac"):
        y, sr = audio_io.load(path)
        assert sr == 16000 and len(y) == 32000 and np.abs(y).max() < 1
        assert -34 < audio.amplitude_to_db(audio.rms(y)) < -14


@needs_espeak
def test_every_accent_and_timbre_speaks(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    make_voices = importlib.import_module("make_voices")
    speaker = make_voices.Speaker()
    accents, timbres = make_voices.ACCENTS, make_voices.TIMBRES
    for voice in [*accents, *(accents[0] + timbre for timbre in timbres)]:
        assert np.abs(speaker("water", voice, 170, 50)).max() > 0.01, voice


REBUILD_FIRST_DIGIT = """
import json
import numpy as np
import make_digits
from gan_audio_tut import audio_io

table = json.loads((make_digits.ASSETS / "digits.json").read_text())
shipped = audio_io.load(make_digits.ASSETS / "digits.ogg")[0].reshape(len(table["clips"]), -1)
shipped = shipped[0, table["margin"] :][: table["samples"]]
label, voice, split = table["clips"][0]
assert split == make_digits.split_of(voice, take=0)
word, name = make_digits.WORDS[label], table["speaker_names"][voice]
y = make_digits.synthesize(make_digits.Speaker(), word, name, *make_digits.TAKES[0])
assert np.corrcoef(y, shipped)[0, 1] > 0.99, "more than the loss of Vorbis"
"""


@needs_espeak
def test_the_digits_that_ship_are_rebuilt():
    "In a process of its own, since espeak-ng keeps a state."
    subprocess.run([sys.executable, "-c", REBUILD_FIRST_DIGIT], cwd=TOOLS, check=True, timeout=120)


def stream(text):
    return nbformat.v4.new_output("stream", text=text)


def test_stored_outputs_are_cleaned(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    store_outputs = importlib.import_module("store_outputs")
    temporary = tempfile.gettempdir() + "/tmpabc/x.wav"
    widget = {"application/vnd.jupyter.widget-view+json": {}}
    outputs = [
        stream("I0000 00:00 start-up\n"),
        stream("10 %\r100 %\n\x1b[31m" + temporary + "\x1b[0m\n"),
        nbformat.v4.new_output("display_data", data=widget),
        stream("\n"),
        nbformat.v4.new_output("execute_result", data={"text/plain": "3"}, execution_count=7),
    ]
    cell = nbformat.v4.new_code_cell("1 + 2", outputs=outputs, execution_count=7)
    store_outputs.clean_cell(cell)
    assert [o.get("text") for o in cell.outputs] == ["100 %\nx.wav", None]
    assert cell.execution_count is None and cell.outputs[1].execution_count is None


@pytest.fixture
def fetch_speech(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    return importlib.import_module("fetch_speech")


def wav(seconds, amplitude):
    return audio_io.encode(audio.tone(440, seconds, 8000, amplitude=amplitude), 8000, format="WAV")


RECORDINGS = {
    "say/en/one.wav": wav(0.5, 0.3),
    "say/en/silence/1.wav": wav(0.5, 0.3),
    "say/en/short.wav": wav(0.05, 0.3),
    "say/de/zwei.wav": wav(0.5, 0.3),
    "say/de/soft.wav": wav(0.5, 1e-4),
    "say/de/bad.wav": b"RIFF",
    "other/three.wav": wav(0.5, 0.3),
    "say/en/read.txt": b"no sound",
}


@pytest.fixture
def fake_debian(tmp_path, monkeypatch):
    "An apt-get that knows one package, and a dpkg-deb that unpacks it, first on PATH."
    with tarfile.open(tmp_path / "archive.deb", "w:xz") as tar:
        for name, data in RECORDINGS.items():
            info = tarfile.TarInfo(f"./usr/share/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    tools = {
        "apt-get": f"""test "$*" = "download voices" || {{ echo "E: No such $2" >&2; exit 100; }}
            cp '{tmp_path}/archive.deb' voices_1.2-3_all.deb""",
        "dpkg-deb": 'test "$1" = -x && mkdir -p "$3" && tar -xJf "$2" -C "$3"',
    }
    (tmp_path / "bin").mkdir()
    for name, script in tools.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)


def test_packages_are_fetched_by_name(fetch_speech, fake_debian, tmp_path):
    out = tmp_path / "out"
    deb, counts = fetch_speech.fetch("voices", {"say/*": "v"}, out)
    assert deb == "voices_1.2-3_all.deb" and counts == {"v-de": 1, "v-en": 1}
    y, sr = audio_io.load(out / "v-en" / "0001.flac")
    assert sr == 8000 and len(y) == 4000
    assert fetch_speech.fetch("voices", {"other": "alone"}, out)[1] == {"alone": 1}
    fetch_speech.write_sources(out, [deb])
    sources = (out / "SOURCES.txt").read_text()
    assert deb in sources and "CC BY-SA 3.0" in sources


def test_a_package_that_apt_lacks_is_one_line(fetch_speech, fake_debian, tmp_path):
    with pytest.raises(audio.InputError, match=r"^gone: [^\n]*No such gone[^\n]*; [^\n]*$"):
        fetch_speech.fetch("gone", {}, tmp_path)


def test_a_damaged_package_is_one_line(fetch_speech, fake_debian, tmp_path):
    (tmp_path / "archive.deb").write_bytes(b"no archive")
    with pytest.raises(audio.InputError, match=r"is damaged"):
        fetch_speech.fetch("voices", {}, tmp_path)


def test_without_apt_get_there_is_one_line(fetch_speech, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(audio.InputError, match=r"^apt-get: is missing; [^\n]*$"):
        fetch_speech.fetch("voices", {}, tmp_path)


def test_every_package_has_a_licence_and_no_address(fetch_speech):
    for package, folders in fetch_speech.PACKAGES.items():
        assert "/" not in package and "." not in package
        for voice in folders.values():
            assert voice.removesuffix("-wide") in fetch_speech.LICENCES
    assert "://" not in Path(fetch_speech.__file__).read_text()


@pytest.mark.skipif(
    importlib.util.find_spec("G722") is None, reason="the extra 'data' is not installed"
)
def test_g722_has_no_header_and_16_khz(fetch_speech, tmp_path):
    from G722 import G722

    tone = np.round(8000 * np.sin(np.arange(8000) * 0.2)).astype(np.int16)
    (tmp_path / "x.g722").write_bytes(G722(16000, 64000).encode(tone))
    y, sr = fetch_speech.decode(tmp_path / "x.g722")
    assert sr == 16000 and len(y) == 8000 and 0.2 < np.abs(y).max() < 0.3
