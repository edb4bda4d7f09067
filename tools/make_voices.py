"""Speech of many synthetic voices, to train a vocoder on.

    pip install gan_audio_tut[data] && python tools/make_voices.py FOLDER

espeak-ng says random words in many accents and timbres. Every file is one voice in one room: its
speed, pitch and formants, the frequency response of its microphone and the reverberation of its
room are drawn from a seed. Real voices are kept for evaluation.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from make_digits import Speaker

from gan_audio_tut import audio, audio_io

SR = 16000
ACCENTS = ("en-us", "en-gb-x-rp", "en-gb-scotland", "en-029", "de", "fr", "es", "it")
ACCENTS += ("nl", "pl", "sv", "pt-br", "cs", "fi", "hu", "tr")
TIMBRES = ("", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+f1", "+f2", "+f3", "+f4", "+f5")
WORDS = """
able above age air allow animal answer apple arm ash autumn away baby bridge bright brown butter
cake calm candle catch chair cheese child choose church circle cloud coal coffee cold colour
corner cotton cough cousin dance danger day deep desk dinner doctor dream drive dust early earth
edge eight elbow empty engine enough evening eye face fast father feather field finger fire five
flower fly four fresh friend garden gentle give glass gold good grass green guess hand happy
harbour heart heavy hello hill honey hour house ice idea island jacket job join journey judge
juice jump kettle key kind king kitchen knee language large laugh leaf learn letter light lion
listen little loud lunch machine market measure milk minute month moon morning mother mountain
mouse music narrow near needle never night nine noise north nose number ocean office oil one
onion open orange other paper park pencil people piano picture pleasure pocket point pot power
queen question quick quiet rain reach ready red rice ring river road roof room round rough salt
school seven shadow sharp sheep ship shoe shop short shoulder silver sing six skin sleep slow
small smile smooth snow soap song soup south spoon spring square stone story street strong sugar
summer sun supper sweet table teach ten thank thick thin thing third thought three thumb thunder
tiger time tooth towel town toy tree true turn two uncle under usual valley village vision voice
wait walk wall warm wash watch water weather west wheel white wide wild wind window winter wish
wolf wonder wood wool word work yellow yes young zero zone
"""
WORDS = tuple(WORDS.split())


def random_response(y, rng, max_gain_db=8.0):
    "Through a microphone: a smooth gain of up to `max_gain_db` either way, drawn at nine points."
    frequency, knots = np.fft.rfftfreq(len(y), 1 / SR), np.linspace(0, SR / 2, 9)
    gain_db = np.interp(frequency, knots, rng.uniform(-max_gain_db, max_gain_db, 9))
    return np.fft.irfft(np.fft.rfft(y) * 10 ** (gain_db / 20), len(y))


def add_reverberation(y, rng):
    "Decaying noise as impulse response: -60 dB within 0.1 to 0.5 s, 6 to 20 dB below the voice."
    n = int(rng.uniform(0.1, 0.5) * SR)
    response = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / n)
    spectrum = np.fft.rfft(y, len(y) + n) * np.fft.rfft(response, len(y) + n)
    reverberation = np.fft.irfft(spectrum)[: len(y)]
    gain = 10 ** (-rng.uniform(6, 20) / 20)
    return y + reverberation * gain * audio.rms(y) / (audio.rms(reverberation) + 1e-9)


def speak(speaker, rng, seconds):
    "One voice for so many seconds: (samples,) at `SR`, at a level between -32 and -16 dB."
    voice = rng.choice(ACCENTS) + rng.choice(TIMBRES)
    # played faster, so that the formants are higher as well
    speed = rng.uniform(0.85, 1.18)
    parts = []
    while sum(map(len, parts)) < seconds * SR:
        text = " ".join(rng.choice(WORDS, rng.integers(2, 9)))
        y = speaker(text, voice, int(rng.integers(110, 260)), int(rng.integers(0, 100)))
        parts.append(audio.resample(y, round(speaker.sr * speed), SR))
        parts.append(np.zeros(int(rng.uniform(0, 0.4) * SR), np.float32))
    y = random_response(np.concatenate(parts)[: int(seconds * SR)], rng)
    if rng.random() < 0.4:
        y = add_reverberation(y, rng)
    y = audio.normalize_rms(y.astype(np.float32), target_db=rng.uniform(-32, -16))
    return y / max(1.0, np.abs(y).max() / 0.99)


def main(out, minutes, seconds, seed):
    speaker = Speaker()
    for k in range(max(1, round(60 * minutes / seconds))):
        path = out / f"voice-{k:04d}.flac"
        if path.exists():
            # from an earlier call that was stopped
            continue
        audio_io.save(path, speak(speaker, np.random.default_rng([seed, k]), seconds), SR)
        print(f"{(k + 1) * seconds / 60:.1f} min", end="\r", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="FOLDER")
    parser.add_argument("--minutes", type=float, default=60, help="of speech in all")
    parser.add_argument("--seconds", type=float, default=12.0, help="length of a file")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not 0 < args.minutes < 1e4:
        parser.error("give --minutes above 0")
    if not 0.5 <= args.seconds < 600:
        parser.error("give --seconds of at least 0.5 and below 600")
    if args.seed < 0:
        parser.error("give a --seed that is not negative")
    try:
        main(**vars(args))
    except audio.InputError as e:
        sys.exit(str(e))
