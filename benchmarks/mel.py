"""The mel front end against librosa: 64 clips of 8192 samples, there and back.

    python benchmarks/mel.py        # half a minute on two cores

All contenders take turns in one process, so that a busy machine disturbs them alike; a ratio is the median
of the rounds' ratios. A short pause before each call lets the other library's threads come to rest.
"""

import time
from functools import partial

import librosa
import numpy as np
from common import write

from gan_audio_tut import datasets, mel

PAUSE = 0.03  # seconds
config = mel.MelConfig()
clips = datasets.digits().audio[::6][:64]  # synthetic speech, shipped with the package
power_1 = partial(
    librosa.feature.melspectrogram,
    sr=8000,
    n_fft=512,
    hop_length=128,
    n_mels=64,
    power=1,
    pad_mode="reflect",
)
magnitudes = np.array(mel.magnitude(*mel.stft(clips)))
picture = np.array(mel.log_mel(clips))

THERE = {
    "librosa": lambda: power_1(y=clips).swapaxes(1, 2),
    "op by op": lambda: mel._mel_spectrogram.__wrapped__(clips, config),
    "ours": lambda: mel.mel_spectrogram(clips),
}
BACK = {
    "librosa": lambda: librosa.griffinlim(
        magnitudes.swapaxes(1, 2),
        n_iter=32,
        hop_length=128,
        length=8192,
        pad_mode="reflect",
        random_state=0,
    ),
    "op by op": lambda: mel._griffin_lim_loop.__wrapped__(
        (*mel._random_phase(magnitudes, 0), magnitudes), 128, 8192, 32, 0.9
    ),
    "ours": lambda: mel.griffin_lim(magnitudes),
    "log_mel_to_audio": lambda: mel.log_mel_to_audio(picture),
}


def race(contenders, rounds):
    "Seconds of every call, (rounds, contenders), after a warm-up; and what each returned."
    results = {name: np.array(f()) for name, f in contenders.items()}
    seconds = np.empty((rounds, len(contenders)))
    for i in range(rounds):
        for j, f in enumerate(contenders.values()):
            time.sleep(PAUSE)
            start = time.perf_counter()
            np.asarray(f())
            seconds[i, j] = time.perf_counter() - start
    return seconds, results


def report(title, contenders, rounds):
    "Median milliseconds, and medians of the ratios to librosa; printed and returned."
    seconds, results = race(contenders, rounds)
    rows = {
        name: {
            "ms": round(1000 * float(np.median(seconds[:, j])), 2),
            "times_librosa": round(float(np.median(seconds[:, 0] / seconds[:, j])), 2),
        }
        for j, name in enumerate(contenders)
    }
    for name, row in rows.items():
        print(f"{title:6} {name:18} {row['ms']:9.1f} ms  {row['times_librosa']:5.2f} times librosa")
    return rows, results


def convergence(y):
    return float(
        np.linalg.norm(np.array(mel.magnitude(*mel.stft(y))) - magnitudes)
        / np.linalg.norm(magnitudes)
    )


if __name__ == "__main__":
    there, results = report("there", THERE, 101)
    difference = float(
        np.abs(results["ours"] - results["librosa"]).max() / results["librosa"].max()
    )
    print(f"maximum difference, relative to the largest value: {difference:.1e}")
    back, results = report("back", BACK, 9)
    for name in ("librosa", "ours"):
        back[name]["spectral_convergence"] = round(convergence(results[name]), 4)
    print(
        {
            name: row["spectral_convergence"]
            for name, row in back.items()
            if "spectral_convergence" in row
        }
    )
    write(
        "mel",
        {
            "clips": list(clips.shape),
            "mel_spectrogram": there,
            "maximum_relative_difference": difference,
            "griffin_lim_32_iterations": back,
        },
    )
