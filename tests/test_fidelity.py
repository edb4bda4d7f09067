"""Full-reference metrics: known answers, bad input, and long or silent sounds."""

import importlib.util
import math
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from scipy import signal

from gan_audio_tut import audio, fidelity
from gan_audio_tut.audio import InputError

RNG = np.random.default_rng(0)
ONE_LINE = r"^(score|reference|estimate): [^\n]*; [^\n]*$"


def voiced(seconds, sr=8000):
    "A sawtooth whose level rises and falls like syllables."
    t = np.arange(int(seconds * sr)) / sr
    envelope = np.sin(np.pi * 2.5 * t) ** 2
    return (0.2 * signal.sawtooth(2 * np.pi * 120 * t) * envelope).astype(np.float32)


X = voiced(3)
NOISE = RNG.standard_normal(len(X)).astype(np.float32)


@pytest.mark.parametrize("db", [-10, 0, 20])
def test_ratios_are_what_was_mixed(db):
    "An orthogonal error of known power: all ratios agree."
    error = NOISE - (NOISE @ X) / (X @ X) * X
    error *= np.linalg.norm(X) / np.linalg.norm(error) * audio.db_to_amplitude(-db)
    assert np.isclose(fidelity.si_sdr(X, X + error), db, atol=1e-3)
    assert np.isclose(fidelity.snr(X, X + error), db, atol=1e-3)


@pytest.mark.parametrize("gain", [0.01, -3, 100])
def test_si_sdr_does_not_depend_on_the_level(gain):
    noisy = X + 0.1 * NOISE
    assert np.isclose(fidelity.si_sdr(X, gain * noisy), fidelity.si_sdr(X, noisy), atol=1e-3)


def test_segmental_snr_weights_every_frame_alike():
    "Half the frames perfect, half at 0 dB: the mean of the limit and 0."
    y = np.r_[X[: len(X) // 2], 0 * X[len(X) // 2 :]]
    assert abs(fidelity.segmental_snr(X, y, 8000) - 17.5) < 1


def test_segmental_snr_leaves_out_silence():
    "Of the reference: what stands around the sentence is no part of it."
    y = X + 0.03 * NOISE
    padded_x, padded_y = (np.r_[0 * X, v, 0 * X] for v in (X, y))
    padded = fidelity.segmental_snr(padded_x, padded_y, 8000)
    assert np.isclose(padded, fidelity.segmental_snr(X, y, 8000), atol=0.1)


def test_segments_lose_nothing():
    "An error in the last seconds of a long sound counts."
    x = np.tile(X, 10)[: int(29.5 * 8000)]
    y = x.copy()
    y[-8000:] = 0
    assert fidelity.score(x, y, 8000)["stoi"] < 0.99 < fidelity.score(x, x, 8000)["stoi"]


@pytest.mark.parametrize(
    "metric",
    [
        fidelity.snr,
        fidelity.si_sdr,
        fidelity.log_spectral_distance,
        fidelity.stft_distance,
        partial(fidelity.segmental_snr, sr=8000),
        partial(fidelity.stoi, sr=8000),
    ],
    ids=range(6),
)
def test_every_metric_refuses_what_cannot_be_compared(metric):
    for x, y in ((X, X[:-1]), (X[None], X[None]), (0 * X, X), (X, X * np.nan)):
        with pytest.raises(InputError, match=ONE_LINE):
            metric(x, y)


@pytest.mark.parametrize("db", [-20, 6])
def test_log_spectral_distance_of_a_gain_is_that_gain(db):
    white = audio.white_noise(2, 8000)
    distance = fidelity.log_spectral_distance(white, white * audio.db_to_amplitude(db))
    assert np.isclose(distance, abs(db), atol=0.1)


def test_log_spectral_loss_is_the_metric_in_nepers():
    loss = float(fidelity.log_spectral_loss(X[None], (X + 0.01 * NOISE)[None]))
    metric = fidelity.log_spectral_distance(X, X + 0.01 * NOISE)
    assert loss * 20 / np.log(10) == pytest.approx(metric, rel=0.01)


def test_multi_resolution_stft_is_a_loss():
    "Phase costs nothing, magnitude does, and descent along the gradient reduces it."
    y = tf.Variable(0.3 * NOISE[None, :4096])
    x = tf.constant(NOISE[None, :4096])

    def total(y):
        return sum(fidelity.multi_resolution_stft(x, y).values())

    before = float(total(y))
    for _ in range(60):
        with tf.GradientTape() as tape:
            loss = total(y)
        g = tape.gradient(loss, y)
        y.assign_sub(0.3 * g / tf.norm(g))
    assert np.isfinite(g.numpy()).all() and float(total(y)) < 0.7 * before
    assert float(total(-x)) < 0.01


def test_libraries_are_called_the_right_way_round():
    "The reference first, and too little sound is NaN."
    assert np.isclose(fidelity.stoi(X, X, 8000), 1, atol=1e-6)
    assert fidelity.stoi(X, X + NOISE, 8000) < 0.8
    assert math.isnan(fidelity.stoi(X[:500], X[:500], 8000))


needs_pesq = pytest.mark.skipif(
    importlib.util.find_spec("pesq") is None, reason="the extra 'metrics' is not installed"
)


@needs_pesq
def test_pesq_falls_with_noise():
    assert fidelity.pesq(X, X, 8000) > 4.4 > 2 > fidelity.pesq(X, X + 0.3 * NOISE, 8000)
    assert fidelity.pesq(X, 0 * X, 8000) == 1
    at_44_khz = audio.resample(X, 8000, 44100)
    assert fidelity.pesq(at_44_khz, at_44_khz, 44100) > 4.4


@needs_pesq
@pytest.mark.parametrize("sr, slope, offset", [(8000, 1.4945, 4.6607), (16000, 1.3669, 3.8224)])
def test_pesq_has_the_range_of_p862(sr, slope, offset):
    "The mappings of P.862.1 and P.862.2 send the best raw score, 4.5, to 4.549 and 4.644."
    best = 0.999 + 4 / (1 + np.exp(-slope * 4.5 + offset))
    assert best == pytest.approx({8000: 4.549, 16000: 4.644}[sr], abs=1e-3)
    x = audio.resample(X, 8000, sr)
    noise = RNG.standard_normal(len(x)).astype(np.float32)
    assert fidelity.pesq(x, x, sr) == pytest.approx(best, abs=1e-3)
    assert 0.999 < fidelity.pesq(x, 0.5 * noise, sr) < 2


@pytest.mark.parametrize("delay", [-300, -1, 0, 1, 300])
@pytest.mark.parametrize("gain", [1, -0.2])
def test_delay(delay, gain):
    if delay >= 0:
        shifted = np.r_[np.zeros(delay), X[: len(X) - delay]]
    else:
        shifted = np.r_[X[-delay:], np.zeros(-delay)]
    assert fidelity.estimate_delay(X, gain * shifted + 0.001 * NOISE) == delay


def test_delay_beyond_the_limit_is_not_found():
    late = np.r_[np.zeros(300), X[:-300]]
    assert abs(fidelity.estimate_delay(X, late, max_delay=100)) <= 100
    assert fidelity.estimate_delay(X, late, max_delay=0) == 0


def test_silence_has_no_delay_and_scores():
    assert fidelity.estimate_delay(X, 0 * X) == fidelity.estimate_delay(X, NOISE) == 0
    found = fidelity.score(X, 0 * X, 8000)
    assert found["si_sdr"] == -np.inf and found["snr"] == 0
    assert set(found) <= set(fidelity.METRICS)
    assert "-inf" in fidelity.format_table({"silence": found})


def test_the_table_has_a_row_a_sound_whatever_its_name():
    scores = {"si_sdr": 12.34, "snr": 1.234, "lsd": np.nan}
    lines = fidelity.format_table({"a|b\nc": scores, "d": scores}).splitlines()
    assert lines[0] == "|  | SI-SDR (dB) | SNR (dB) | LSD (dB) ↓ |"
    assert lines[2:] == [r"| a\|b c | 12.3 | 1.23 | - |", "| d | 12.3 | 1.23 | - |"]


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
    with pytest.raises(InputError, match=ONE_LINE):
        fidelity.score(x, y, 8000)


def test_a_long_sound_with_a_silent_segment_is_scored():
    "Twelve segments, of which four are silent."
    speech, silence = np.tile(X, 14)[: 40 * 8000], np.zeros(40 * 8000, np.float32)
    x = np.concatenate([speech, silence, speech])
    y = x + 0.1 * RNG.standard_normal(len(x)).astype(np.float32)
    found = fidelity.score(x, y, 8000)
    assert all(np.isfinite(v) for v in found.values()) and 0 < found["stoi"] < 1


def test_estoi_loss_refuses_what_is_too_short():
    with pytest.raises(InputError, match=r"estoi_loss: 2000 samples at 8000 Hz; give 0\.4 s"):
        fidelity.estoi_loss(X[None, :2000], X[None, :2000], 8000)
