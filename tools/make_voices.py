"""Speech of many synthetic voices, to train a vocoder on: `pip install gan_audio_tut[data] && python tools/make_voices.py FOLDER`.

espeak-ng says random words in many accents and timbres. Every file is one voice in one room: its speed, pitch and
formants, the tone of its microphone and the echo of its walls are drawn from a seed. Real voices are left for judging.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from make_digits import Speaker

from gan_audio_tut import audio, audio_io

SR = 16000
ACCENTS = (
    "en-us",
    "en-gb-x-rp",
    "en-gb-scotland",
    "en-029",
    "de",
    "fr",
    "es",
    "it",
    "nl",
    "pl",
    "sv",
    "pt-br",
    "cs",
    "fi",
    "hu",
    "tr",
)
TIMBRES = ("", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+f1", "+f2", "+f3", "+f4", "+f5")
WORDS = """able above age air allow animal answer apple arm ash autumn away baby bridge bright brown butter cake calm candle
catch chair cheese child choose church circle cloud coal coffee cold colour corner cotton cough cousin dance danger day deep
desk dinner doctor dream drive dust early earth edge eight elbow empty engine enough evening eye face fast father feather
field finger fire five flower fly four fresh friend garden gentle give glass gold good grass green guess hand happy harbour
heart heavy hello hill honey hour house ice idea island jacket job join journey judge juice jump kettle key kind king kitchen
knee language large laugh leaf learn letter light lion listen little loud lunch machine market measure milk minute month moon
morning mother mountain mouse music narrow near needle never night nine noise north nose number ocean office oil one onion
open orange other paper park pencil people piano picture pleasure pocket point pot power queen question quick quiet rain
reach ready red rice ring river road roof room round rough salt school seven shadow sharp sheep ship shoe shop short shoulder
silver sing six skin sleep slow small smile smooth snow soap song soup south spoon spring square stone story street strong
sugar summer sun supper sweet table teach ten thank thick thin thing third thought three thumb thunder tiger time tooth
towel town toy tree true turn two uncle under usual valley village vision voice wait walk wall warm wash watch water weather
west wheel white wide wild wind window winter wish wolf wonder wood wool word work yellow yes young zero zone""".split()


def coloured(y, rng, most=8.0):
    "Through a microphone: a smooth gain of up to `most` dB either way at nine points from 0 Hz to half the rate."
    gain = np.interp(
        np.fft.rfftfreq(len(y), 1 / SR), np.linspace(0, SR / 2, 9), rng.uniform(-most, most, 9)
    )
    return np.fft.irfft(np.fft.rfft(y) * 10 ** (gain / 20), len(y))


def in_a_room(y, rng):
    "With an echo: noise that dies away by 60 dB within 0.1 to 0.5 s, 6 to 20 dB below the voice."
    n = int(rng.uniform(0.1, 0.5) * SR)
    echo = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / n)
    echo = np.fft.irfft(np.fft.rfft(y, len(y) + n) * np.fft.rfft(echo, len(y) + n))[: len(y)]
    return y + echo * 10 ** (-rng.uniform(6, 20) / 20) * audio.rms(y) / (audio.rms(echo) + 1e-9)


def say(speaker, rng, seconds):
    "One voice for so many seconds: (samples,) at `SR`, at a level between -32 and -16 dB."
    voice, faster = (
        rng.choice(ACCENTS) + rng.choice(TIMBRES),
        rng.uniform(0.85, 1.18),
    )  # played faster: higher formants too
    said = []
    while sum(map(len, said)) < seconds * SR:
        text = " ".join(rng.choice(WORDS, rng.integers(2, 9)))
        y = speaker(text, voice, int(rng.integers(110, 260)), int(rng.integers(0, 100)))
        said += [
            audio.resample(y, round(speaker.sr * faster), SR),
            np.zeros(int(rng.uniform(0, 0.4) * SR), np.float32),
        ]
    y = coloured(np.concatenate(said)[: int(seconds * SR)], rng)
    if rng.random() < 0.4:
        y = in_a_room(y, rng)
    y = audio.normalize_rms(y.astype(np.float32), target_db=rng.uniform(-32, -16))
    return y / max(1.0, np.abs(y).max() / 0.99)


def main(out, minutes, each, seed):
    speaker = Speaker()
    for k in range(max(1, round(60 * minutes / each))):
        path = out / f"voice-{k:04d}.flac"
        if path.exists():
            continue  # stopped before: it goes on
        audio_io.save(path, say(speaker, np.random.default_rng([seed, k]), each), SR)
        print(f"{(k + 1) * each / 60:.1f} min", end="\r", flush=True)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("out", type=Path, metavar="FOLDER")
    p.add_argument("--minutes", type=float, default=60)
    p.add_argument("--each", type=float, default=12.0, help="seconds a file")
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args()
    if not (0 < args.minutes < 1e4 and 0.5 <= args.each < 600 and args.seed >= 0):
        p.error("give minutes, at least half a second for --each, and a seed that is not negative")
    try:
        main(**vars(args))
    except audio.InputError as e:
        sys.exit(str(e))
