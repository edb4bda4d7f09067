"""Rebuild the embedded digits: `pip install gan_audio_tut[data] && python tools/make_digits.py`.

espeak-ng speaks ten words in many voices. The clips are in one OGG file, end to end, which ships as
package data with a table of labels, voices and splits beside it.
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

SR, SAMPLES = 8000, 8192
# silence around each clip, so that Vorbis does not smear one into the next
MARGIN = 512
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# without en-us-nyc, which hardly differs from en-us
ACCENTS = ("en-us", "en-gb-x-rp", "en-gb-scotland", "en-029", "en-gb-x-gbcwmd")
TIMBRES = ("", "+m3", "+m7", "+f2", "+f4")
# words a minute, pitch (0 to 99)
TAKES = ((150, 40), (175, 50), (200, 60))
ASSETS = Path(__file__).resolve().parent.parent / "gan_audio_tut" / "assets"

CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)
# espeakCHARS_UTF8, espeakRATE, espeakPITCH
UTF8, RATE, PITCH = 1, 1, 3


class Speaker:
    "espeak-ng as a function from words to samples."

    def __init__(self):
        self.lib = ctypes.CDLL(espeakng_loader.get_library_path())
        self.sr = self.lib.espeak_Initialize(2, 0, espeakng_loader.get_data_path().encode(), 0)
        if self.sr <= 0:
            raise RuntimeError("espeak-ng did not start: no voice data found")
        # its aspiration noise is random; without this, every rebuild would differ
        self.lib.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self.blocks = []
        # kept alive here, since C holds only its address
        self.callback = CALLBACK(self.collect)
        self.lib.espeak_SetSynthCallback(self.callback)

    def collect(self, wav, count, events):
        if count > 0:
            self.blocks.append(np.ctypeslib.as_array(wav, (count,)).copy())
        return 0

    def __call__(self, text, voice, rate, pitch):
        "Samples in [-1, 1] at `self.sr`."
        if code := self.lib.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"no voice {voice} ({code})")
        self.lib.espeak_SetParameter(RATE, rate, 0)
        self.lib.espeak_SetParameter(PITCH, pitch, 0)
        self.blocks.clear()
        data = text.encode() + b"\0"
        self.lib.espeak_Synth(data, len(data), 0, 0, 0, UTF8, None, None)
        if not self.blocks:
            raise RuntimeError(f"{voice} said nothing for '{text}'")
        return np.concatenate(self.blocks).astype(np.float32) / 32768


def split_of(voice, take):
    """Test: five whole voices, one of each accent and of each timbre.

    Valid: the middle take of every other voice.
    """
    accent, timbre = divmod(voice, len(TIMBRES))
    if accent == timbre:
        return "test"
    return "valid" if take == 1 else "train"


def synthesize(speaker, word, voice, rate, pitch):
    "One word at `SR`, without silence around it, at -20 dB RMS, (SAMPLES,)."
    y = audio.resample(speaker(word, voice, rate, pitch), speaker.sr, SR)
    return audio.fix_length(audio.normalize_rms(audio.trim(y, SR), target_db=-20), SAMPLES)


def synthesize_all(voices):
    "All clips, and for each its (label, voice, split)."
    speaker, clips, rows = Speaker(), [], []
    for v, voice in enumerate(voices):
        for take, (rate, pitch) in enumerate(TAKES):
            for label, word in enumerate(WORDS):
                clips.append(synthesize(speaker, word, voice, rate, pitch))
                rows.append([label, v, split_of(v, take)])
    return clips, rows


def main():
    voices = [accent + timbre for accent in ACCENTS for timbre in TIMBRES]
    clips, rows = synthesize_all(voices)
    audio_io.save(ASSETS / "digits.ogg", np.concatenate([np.pad(y, MARGIN) for y in clips]), SR)
    table = {
        "sr": SR,
        "samples": SAMPLES,
        "margin": MARGIN,
        "speaker_names": voices,
        "clips": rows,
        "made_with": "espeak-ng 1.52",
    }
    with audio_io.atomic_write(ASSETS / "digits.json") as part:
        part.write_text(json.dumps(table) + "\n")
    counts = ", ".join(f"{n} {split}" for split, n in Counter(row[2] for row in rows).items())
    size = (ASSETS / "digits.ogg").stat().st_size / 1e6
    print(f"{len(rows)} clips ({counts}), {size:.2f} MB")


if __name__ == "__main__":
    main()
