"""The mel front end against librosa: 64 clips of 8192 samples, to mel spectrograms and back.

    python benchmarks/mel.py        # half a minute on two cores

All contenders take turns in one process, so that other work on the machine disturbs them alike.
A ratio is the median of the rounds' ratios. A short pause before each call lets the threads of the
other library come to rest.
"""

import time
from functools import partial

import librosa
import numpy as np
from common import write

from gan_audio_tut import datasets, mel

PAUSE = 0.03  # seconds
CONFIG = mel.MelConfig()
CLIPS = datasets.digits().audio[::6][:64]  # synthetic speech, shipped with the package
MAGNITUDES = np.array(mel.magnitude(*mel.stft(CLIPS)))
SPECTROGRAMS = np.array(mel.log_mel(CLIPS))

eager_mel = mel._mel_spectrogram.__wrapped__


def librosa_mel():
    settings = {"sr": 8000, "n_fft": 512, "hop_length": 128, "n_mels": 64}
    result = librosa.feature.melspectrogram(y=CLIPS, **settings, power=1, pad_mode="reflect")
    return result.swapaxes(1, 2)


def librosa_griffin_lim():
    return librosa.griffinlim(
        MAGNITUDES.swapaxes(1, 2),
        n_iter=32,
        hop_length=128,
        length=8192,
        pad_mode="reflect",
        random_state=0,
    )


def eager_griffin_lim():
    tensors = (*mel._random_phase(MAGNITUDES, 0), MAGNITUDES)
    return mel._griffin_lim_loop.__wrapped__(tensors, 128, 8192, 32, 0.9)


TO_MEL = {
    "librosa": librosa_mel,
    "eager": partial(eager_mel, CLIPS, CONFIG),
    "ours": partial(mel.mel_spectrogram, CLIPS),
}
TO_AUDIO = {
    "librosa": librosa_griffin_lim,
    "eager": eager_griffin_lim,
    "ours": partial(mel.griffin_lim, MAGNITUDES),
    "log_mel_to_audio": partial(mel.log_mel_to_audio, SPECTROGRAMS),
}


def time_in_turns(contenders, rounds):
    "Seconds of every call, (rounds, contenders), after a warm-up; and what each returned."
    results = {name: np.array(fn()) for name, fn in contenders.items()}
    seconds = np.empty((rounds, len(contenders)))
    for i in range(rounds):
        for j, fn in enumerate(contenders.values()):
            time.sleep(PAUSE)
            start = time.perf_counter()
            np.asarray(fn())
            seconds[i, j] = time.perf_counter() - start
    return seconds, results


def report(title, contenders, rounds):
    "Median milliseconds, and medians of the ratios to librosa; printed and returned."
    seconds, results = time_in_turns(contenders, rounds)
    rows = {}
    for j, name in enumerate(contenders):
        milliseconds = 1000 * float(np.median(seconds[:, j]))
        ratio = float(np.median(seconds[:, 0] / seconds[:, j]))
        rows[name] = {"ms": round(milliseconds, 2), "times_librosa": round(ratio, 2)}
        print(f"{title:9} {name:18} {milliseconds:9.1f} ms  {ratio:5.2f} times librosa")
    return rows, results


def spectral_convergence(y):
    achieved = np.array(mel.magnitude(*mel.stft(y)))
    return float(np.linalg.norm(achieved - MAGNITUDES) / np.linalg.norm(MAGNITUDES))


if __name__ == "__main__":
    to_mel, results = report("to mel", TO_MEL, 101)
    difference = np.abs(results["ours"] - results["librosa"]).max() / results["librosa"].max()
    print(f"maximum difference, relative to the largest value: {difference:.1e}")

    to_audio, results = report("to audio", TO_AUDIO, 9)
    for name in ("librosa", "ours"):
        convergence = round(spectral_convergence(results[name]), 4)
        to_audio[name]["spectral_convergence"] = convergence
        print(f"spectral convergence, {name}: {convergence}")
    write(
        "mel",
        {
            "clips": list(CLIPS.shape),
            "mel_spectrogram": to_mel,
            "maximum_relative_difference": float(difference),
            "griffin_lim_32_iterations": to_audio,
        },
    )
