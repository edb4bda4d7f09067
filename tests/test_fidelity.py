"""Figures with a reference: known answers, bad input, and long or silent sounds."""

import importlib.util
import math

import numpy as np
import pytest
from scipy import signal

from gan_audio_tut import audio, fidelity
from gan_audio_tut.audio import InputError

RNG = np.random.default_rng(0)


def voiced(seconds, sr=8000):
    "A buzz that rises and falls like syllables."
    t = np.arange(int(seconds * sr)) / sr
    return (0.2 * signal.sawtooth(2 * np.pi * 120 * t) * np.sin(np.pi * 2.5 * t) ** 2).astype(
        np.float32
    )


X = voiced(3)
NOISE = RNG.standard_normal(len(X)).astype(np.float32)


@pytest.mark.parametrize("db", [-10, 0, 20])
def test_ratios_are_what_was_mixed(db):
    "An error at a right angle and of known power: all ratios agree."
    error = NOISE - (NOISE @ X) / (X @ X) * X
    error *= np.linalg.norm(X) / np.linalg.norm(error) * audio.db_to_amplitude(-db)
    assert np.isclose(fidelity.si_sdr(X, X + error), db, atol=1e-3) and np.isclose(
        fidelity.snr(X, X + error), db, atol=1e-3
    )


@pytest.mark.parametrize("gain", [0.01, -3, 100])
def test_si_sdr_does_not_know_the_level(gain):
    assert np.isclose(
        fidelity.si_sdr(X, gain * (X + 0.1 * NOISE)), fidelity.si_sdr(X, X + 0.1 * NOISE), atol=1e-3
    )


def test_segmental_snr_weighs_every_frame_alike():
    "Half the frames perfect, half at 0 dB: the mean of the limit and 0."
    y = np.r_[X[: len(X) // 2], 0 * X[len(X) // 2 :]]
    assert abs(fidelity.segmental_snr(X, y, 8000) - 17.5) < 1


def test_segmental_snr_passes_over_silence():
    "Of the reference: what stands around the sentence is no part of it."
    pad = lambda v: np.r_[0 * X, v, 0 * X]
    y = X + 0.03 * NOISE
    assert np.isclose(
        fidelity.segmental_snr(pad(X), pad(y), 8000), fidelity.segmental_snr(X, y, 8000), atol=0.1
    )


def test_pieces_lose_nothing():
    "A fault in the last seconds of a long sound counts."
    x = np.tile(X, 10)[: int(29.5 * 8000)]
    y = x.copy()
    y[-8000:] = 0
    assert fidelity.score(x, y, 8000)["stoi"] < 0.99 < fidelity.score(x, x, 8000)["stoi"]


@pytest.mark.parametrize(
    "figure",
    [
        fidelity.snr,
        fidelity.si_sdr,
        fidelity.log_spectral_distance,
        fidelity.stft_distance,
        lambda x, y: fidelity.segmental_snr(x, y, 8000),
        lambda x, y: fidelity.stoi(x, y, 8000),
    ],
    ids=range(6),
)
def test_every_figure_refuses_what_cannot_be_compared(figure):
    for x, y in ((X, X[:-1]), (X[None], X[None]), (0 * X, X), (X, X * np.nan)):
        with pytest.raises(InputError, match="^(score|reference|estimate): [^\n]*; [^\n]*$"):
            figure(x, y)


def test_log_spectral_distance_of_a_gain_is_that_gain():
    white = audio.white_noise(2, 8000)
    for db in (-20, 6):
        assert np.isclose(
            fidelity.log_spectral_distance(white, white * audio.db_to_amplitude(db)),
            abs(db),
            atol=0.1,
        )


def test_stft_terms_are_a_loss():
    "A wrong phase costs nothing, a wrong magnitude does, and descent along the gradient mends it."
    import tensorflow as tf

    y = tf.Variable(0.3 * NOISE[None, :4096])
    x = tf.constant(NOISE[None, :4096])
    total = lambda: sum(fidelity.multi_resolution_stft(x, y).values())
    before = float(total())
    for _ in range(60):
        with tf.GradientTape() as tape:
            loss = total()
        g = tape.gradient(loss, y)
        y.assign_sub(0.3 * g / tf.norm(g))
    assert np.isfinite(g.numpy()).all() and float(total()) < 0.7 * before
    assert float(sum(fidelity.multi_resolution_stft(x, -x).values())) < 0.01


def test_libraries_are_called_the_right_way_round():
    "The reference first: muffling speech is a smaller fault than adding what was not there."
    assert np.isclose(fidelity.stoi(X, X, 8000), 1, atol=1e-6)
    assert fidelity.stoi(X, X + NOISE, 8000) < 0.8 and math.isnan(
        fidelity.stoi(X[:500], X[:500], 8000)
    )


@pytest.mark.skipif(
    importlib.util.find_spec("pesq") is None, reason="the extra 'metrics' is not installed"
)
def test_pesq():
    assert (
        fidelity.pesq(X, X, 8000) > 4.4 > 2 > fidelity.pesq(X, X + 0.3 * NOISE, 8000)
        and fidelity.pesq(X, 0 * X, 8000) == 1
    )
    assert fidelity.pesq(*[audio.resample(v, 8000, 44100) for v in (X, X)], 44100) > 4.4


@pytest.mark.parametrize("late", [-300, -1, 0, 1, 300])
@pytest.mark.parametrize("sign", [1, -0.2])
def test_delay(late, sign):
    y = sign * (
        np.r_[np.zeros(late), X[: len(X) - late]]
        if late >= 0
        else np.r_[X[-late:], np.zeros(-late)]
    )
    assert fidelity.estimate_delay(X, y + 0.001 * NOISE) == late


def test_silence_has_no_delay_and_scores():
    assert fidelity.estimate_delay(X, 0 * X) == fidelity.estimate_delay(X, NOISE) == 0
    found = fidelity.score(X, 0 * X, 8000)
    assert found["si_sdr"] == -np.inf and found["snr"] == 0 and set(found) <= set(fidelity.METRICS)
    assert "-inf" in fidelity.format_table({"silence": found})


@pytest.mark.parametrize(
    "x, y",
    [
        (X, X[:-1]),
        (np.stack([X, X]), np.stack([X, X])),
        (0 * X, X),
        (X, X * np.nan),
        (X[:100], X[:100]),
    ],
    ids=range(5),
)
def test_unfit_pairs_are_refused_in_one_line(x, y):
    with pytest.raises(InputError, match="^(score|reference|estimate): [^\n]*; [^\n]*$"):
        fidelity.score(x, y, 8000)


def test_a_long_sound_with_a_silent_piece_is_scored():
    "Twelve pieces, of which four are silent."
    x = np.concatenate(
        [np.tile(X, 14)[: 40 * 8000], np.zeros(40 * 8000, np.float32), np.tile(X, 14)[: 40 * 8000]]
    )
    found = fidelity.score(x, x + 0.1 * RNG.standard_normal(len(x)).astype(np.float32), 8000)
    assert all(np.isfinite(v) for v in found.values()) and 0 < found["stoi"] < 1
