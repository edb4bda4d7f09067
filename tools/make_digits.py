"""Rebuild the embedded digits: `pip install gan_audio_tut[data] && python tools/make_digits.py`.

espeak-ng speaks ten words in many voices; the clips lie end to end, one slot each, in one OGG file
that ships as package data with a table of labels, voices and splits beside it.
"""

import ctypes
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from gan_audio_tut import audio, audio_io

try:
    import espeakng_loader
except ModuleNotFoundError:
    sys.exit("espeakng_loader is missing; pip install 'gan_audio_tut[data]'")

SR, SAMPLES, MARGIN = (
    8000,
    8192,
    512,
)  # the margin keeps Vorbis from smearing one clip into the next
WORDS = "zero one two three four five six seven eight nine".split()
ACCENTS = (
    "en-us",
    "en-gb-x-rp",
    "en-gb-scotland",
    "en-029",
    "en-gb-x-gbcwmd",
)  # en-us-nyc is all but en-us
TIMBRES = ("", "+m3", "+m7", "+f2", "+f4")
TAKES = ((150, 40), (175, 50), (200, 60))  # words a minute, pitch (0 to 99)
ASSETS = Path(__file__).resolve().parent.parent / "gan_audio_tut" / "assets"

CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)
UTF8, RATE, PITCH = 1, 1, 3  # espeakCHARS_UTF8, espeakRATE, espeakPITCH


class Speaker:
    "espeak-ng as a function from words to samples."

    def __init__(self):
        self.lib = ctypes.CDLL(espeakng_loader.get_library_path())
        self.sr = self.lib.espeak_Initialize(2, 0, espeakng_loader.get_data_path().encode(), 0)
        if self.sr <= 0:
            raise RuntimeError("espeak-ng did not start: no voice data found")
        self.lib.espeak_ng_SetRandSeed(
            ctypes.c_long(1)
        )  # its breath is random: without this, every rebuild differs
        self.heard = []
        self.callback = CALLBACK(self.collect)  # kept alive: C holds only its address
        self.lib.espeak_SetSynthCallback(self.callback)

    def collect(self, wav, count, events):
        if count > 0:
            self.heard.append(np.ctypeslib.as_array(wav, (count,)).copy())
        return 0

    def __call__(self, text, voice, rate, pitch):
        "Samples in [-1, 1] at `self.sr`."
        if code := self.lib.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"no voice {voice} ({code})")
        self.lib.espeak_SetParameter(RATE, rate, 0)
        self.lib.espeak_SetParameter(PITCH, pitch, 0)
        self.heard.clear()
        data = text.encode() + b"\0"
        self.lib.espeak_Synth(data, len(data), 0, 0, 0, UTF8, None, None)
        if not self.heard:
            raise RuntimeError(f"{voice} said nothing for '{text}'")
        return np.concatenate(self.heard).astype(np.float32) / 32768


def split_of(voice, take):
    "Test: five whole voices, one of each accent and of each timbre. Valid: the middle take of every other voice."
    accent, timbre = divmod(voice, len(TIMBRES))
    if accent == timbre:
        return "test"
    return "valid" if take == 1 else "train"


def main():
    say, clips, rows = Speaker(), [], []
    voices = [a + t for a in ACCENTS for t in TIMBRES]
    for v, voice in enumerate(voices):
        for take, (rate, pitch) in enumerate(TAKES):
            for label, word in enumerate(WORDS):
                y = audio.trim(audio.resample(say(word, voice, rate, pitch), say.sr, SR), SR)
                y = audio.fix_length(audio.normalize_rms(y, target_db=-20), SAMPLES)
                clips.append(np.pad(y, MARGIN))
                rows.append([label, v, split_of(v, take)])
    audio_io.save(ASSETS / "digits.ogg", np.concatenate(clips), SR)
    table = {
        "sr": SR,
        "samples": SAMPLES,
        "margin": MARGIN,
        "voices": voices,
        "clips": rows,
        "made_with": "espeak-ng 1.52",
    }
    with audio_io.atomic_write(ASSETS / "digits.json") as part:
        part.write_text(json.dumps(table) + "\n")
    counts = ", ".join(f"{n} {s}" for s, n in Counter(row[2] for row in rows).items())
    print(f"{len(rows)} clips ({counts}), {(ASSETS / 'digits.ogg').stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
