"""The scripts in tools/ that need an extra: skipped where it is not installed."""

import importlib.util
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from gan_audio_tut import audio, audio_io

TOOLS = Path(__file__).resolve().parent.parent / "tools"


@pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None, reason="the extra 'data' is not installed"
)
def test_make_voices(tmp_path):
    "Voices that differ, sound, do not clip, and come out alike on every rebuild."
    for out in ("a", "b"):
        subprocess.run(
            [
                sys.executable,
                TOOLS / "make_voices.py",
                tmp_path / out,
                "--minutes",
                "0.1",
                "--each",
                "2",
            ],
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
        assert (
            sr == 16000
            and len(y) == 32000
            and np.abs(y).max() < 1
            and -34 < audio.amplitude_to_db(audio.rms(y)) < -14
        )


@pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None, reason="the extra 'data' is not installed"
)
def test_every_accent_and_timbre_speaks():
    sys.path.insert(0, str(TOOLS))
    try:
        import make_voices
    finally:
        sys.path.remove(str(TOOLS))
    speaker = make_voices.Speaker()
    for voice in [*make_voices.ACCENTS, *(make_voices.ACCENTS[0] + t for t in make_voices.TIMBRES)]:
        assert np.abs(speaker("water", voice, 170, 50)).max() > 0.01, voice


def debian_package(path, files):
    "An `ar` archive with a compressed tar of these files in it, as dpkg would write it."
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:xz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f"./usr/share/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": inner.getvalue()}
    head = lambda name, data: f"{name:16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
    path.write_bytes(
        b"!<arch>\n" + b"".join(head(n, d) + d + b"\n" * (len(d) % 2) for n, d in parts.items())
    )


@pytest.mark.skipif(
    importlib.util.find_spec("G722") is None, reason="the extra 'data' is not installed"
)
def test_fetched_speech_is_unpacked_without_debian(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    import fetch_speech

    from gan_audio_tut import audio

    sound = lambda seconds, level: audio_io.encode(
        audio.tone(440, seconds, 8000, amplitude=level), 8000, format="WAV"
    )
    debian_package(
        tmp_path / "x.deb",
        {
            "say/en/one.wav": sound(0.5, 0.3),
            "say/en/silence/1.wav": sound(0.5, 0.3),
            "say/en/short.wav": sound(0.05, 0.3),
            "say/de/zwei.wav": sound(0.5, 0.3),
            "say/de/soft.wav": sound(0.5, 1e-4),
            "say/de/bad.wav": b"RIFF",
            "other/three.wav": sound(0.5, 0.3),
            "say/en/read.txt": b"no sound",
        },
    )
    assert fetch_speech.unpack(tmp_path / "x.deb", {"say/*": "v"}, tmp_path) == {
        "v-en": 1,
        "v-de": 1,
    }
    y, sr = audio_io.load(tmp_path / "v-en" / "0001.flac")
    assert sr == 8000 and len(y) == 4000
    assert fetch_speech.unpack(tmp_path / "x.deb", {"other": "alone"}, tmp_path) == {"alone": 1}


@pytest.mark.skipif(
    importlib.util.find_spec("G722") is None, reason="the extra 'data' is not installed"
)
def test_every_fetched_package_has_a_hash_and_a_source(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    import fetch_speech

    for path, (known, folders) in fetch_speech.PACKAGES.items():
        assert path.endswith("_all.deb") and len(known) == 64
        assert all(
            voice.removesuffix("-wide") in fetch_speech.SOURCES for voice in folders.values()
        )
