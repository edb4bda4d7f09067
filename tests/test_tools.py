"""The scripts in tools/ that need an extra: skipped where it is not installed."""
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gan_audio_tut import audio

TOOLS = Path(__file__).resolve().parent.parent / "tools"


@pytest.mark.skipif(importlib.util.find_spec("espeakng_loader") is None, reason="the extra 'data' is not installed")
def test_make_voices(tmp_path):
    "Voices that differ, sound, do not clip, and come out alike on every rebuild."
    for out in ("a", "b"): subprocess.run([sys.executable, TOOLS / "make_voices.py", tmp_path / out, "--minutes", "0.1", "--each", "2"], check=True, capture_output=True, timeout=120)
    first, again = ([p.read_bytes() for p in sorted((tmp_path / out).glob("*.flac"))] for out in ("a", "b"))
    assert len(first) == 3 and len(set(first)) == 3 and first == again
    for path in (tmp_path / "a").glob("*.flac"):
        y, sr = audio.load(path)
        assert sr == 16000 and len(y) == 32000 and np.abs(y).max() < 1 and -34 < audio.to_db(audio.rms(y)) < -14


@pytest.mark.skipif(importlib.util.find_spec("espeakng_loader") is None, reason="the extra 'data' is not installed")
def test_every_accent_and_timbre_speaks():
    sys.path.insert(0, str(TOOLS))
    try: import make_voices
    finally: sys.path.remove(str(TOOLS))
    speaker = make_voices.Speaker()
    for voice in [*make_voices.ACCENTS, *(make_voices.ACCENTS[0] + t for t in make_voices.TIMBRES)]:
        assert np.abs(speaker("water", voice, 170, 50)).max() > 0.01, voice
