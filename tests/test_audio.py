"""Test signals, levels, trimming, resampling; every array that is no audio."""

import subprocess
import sys

import librosa
import numpy as np
import pytest
from conftest import RATES, refusal
from scipy import signal

from gan_audio_tut import audio

rng = np.random.default_rng(0)


# --- the module


def test_import_is_light():
    code = (
        "import sys; from gan_audio_tut import audio, audio_io; "
        "heavy = 'keras', 'tensorflow', 'matplotlib', 'librosa', 'scipy'; "
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


# --- tones, levels, cuts


@pytest.mark.parametrize(
    "make",
    [
        lambda seconds, sr: audio.tone(100, seconds, sr),
        lambda seconds, sr: audio.chirp(1, 9, seconds, sr),
        audio.white_noise,
    ],
    ids=["tone", "chirp", "white_noise"],
)
def test_duration_is_rounded_to_samples(make):
    cases = [(0.57, 8000, 4560), (1.1, 44100, 48510), (1e-4, 8000, 1), (1e-5, 8000, 0)]
    for seconds, sr, samples in cases:
        y = make(seconds, sr)
        assert y.shape == (samples,) and y.dtype == np.float32


def test_tone_is_the_sine():
    t = np.arange(8000) / 8000
    expected = 0.7 * np.sin(2 * np.pi * 123.4 * t)
    assert np.allclose(audio.tone(123.4, 1, 8000, amplitude=0.7), expected, atol=1e-6)


def test_chirp_has_the_frequency_it_should():
    "The phase of the analytic signal, differentiated, is the frequency: f0 + (f1 - f0) t / T."
    y = audio.chirp(500, 2500, 2, 8000)
    phase = np.unwrap(np.angle(signal.hilbert(y)))
    freq = np.diff(phase) * 8000 / (2 * np.pi)
    t = (np.arange(len(freq)) + 0.5) / 8000
    error = np.abs(freq - (500 + 1000 * t))
    assert error[800:-800].max() < 5  # Hz, of a chirp through 2000


def test_white_noise_has_its_level_and_is_white_and_repeatable():
    y = audio.white_noise(10, 8000, seed=3, level=0.2)
    assert abs(audio.amplitude_to_db(audio.rms(y)) - audio.amplitude_to_db(0.2)) < 0.1
    power = np.abs(np.fft.rfft(y)) ** 2
    eighths_db = 10 * np.log10(power[1:40001].reshape(8, -1).mean(axis=1))
    assert np.ptp(eighths_db) < 1  # between the loudest and the faintest eighth of the spectrum
    assert np.array_equal(y, audio.white_noise(10, 8000, seed=3, level=0.2))
    assert not np.array_equal(y, audio.white_noise(10, 8000, seed=4, level=0.2))


def test_rms_and_decibels():
    assert np.isclose(audio.rms(np.array([3, 4, 0, 0])), 2.5)
    assert audio.rms(np.zeros(0)) == 0
    assert np.allclose(audio.rms(np.array([[1.0, -1], [2, 2]])), [1, 2])
    assert audio.amplitude_to_db(10) == 20
    assert audio.amplitude_to_db(-1) == 0
    assert audio.amplitude_to_db(0, min_db=-80) == -80
    db = np.linspace(-119, 20, 50)
    assert np.allclose(audio.amplitude_to_db(audio.db_to_amplitude(db)), db)


def test_decibels_agree_with_librosa():
    amplitude = np.abs(rng.standard_normal(1000))
    theirs = librosa.amplitude_to_db(amplitude, ref=1.0, amin=1e-6, top_db=None)
    assert np.allclose(audio.amplitude_to_db(amplitude), theirs)
    db = np.linspace(-100, 20, 50)
    assert np.allclose(audio.db_to_amplitude(db), librosa.db_to_amplitude(db))


@pytest.mark.parametrize("shape", [(4000,), (2, 4000), (3, 2, 500)])
def test_normalize_rms_is_one_gain(shape):
    y = rng.standard_normal(shape).astype(np.float32)
    z = audio.normalize_rms(y, target_db=-23)
    assert z.shape == shape and z.dtype == np.float32
    assert np.isclose(audio.amplitude_to_db(audio.rms(z.reshape(-1))), -23, atol=1e-3)
    assert np.allclose(z / y, (z / y).flat[0], rtol=1e-4)


def test_normalize_rms_at_its_limits():
    click = np.eye(1, 8000, dtype=np.float32)[0]
    assert np.isclose(np.abs(audio.normalize_rms(-click, target_db=0)).max(), 0.99)
    assert not audio.normalize_rms(np.zeros(10)).any()
    assert audio.normalize_rms(np.zeros(0)).shape == (0,)
    faint = 1e-30 * audio.tone(100, 1, 8000)
    assert np.isclose(audio.rms(audio.normalize_rms(faint, target_db=-20)), 0.1, rtol=1e-3)


@pytest.mark.parametrize("shape", [(4000,), (2, 4000), (3, 2, 500)])
def test_normalize_peak_is_one_gain(shape):
    y = rng.standard_normal(shape).astype(np.float32)
    z = audio.normalize_peak(y, peak=0.7)
    assert z.shape == shape and z.dtype == np.float32
    assert np.isclose(np.abs(z).max(), 0.7)
    assert np.allclose(z / y, (z / y).flat[0], rtol=1e-4)


def test_normalize_peak_at_its_limits():
    assert np.isclose(audio.normalize_peak([-0.5, 0.25]).min(), -0.99)  # 0.99 unless told otherwise
    assert not audio.normalize_peak(np.zeros(10)).any()
    assert audio.normalize_peak(np.zeros(0)).shape == (0,)
    faint = np.array([1e-40, -1e-40], np.float32)
    assert np.allclose(audio.normalize_peak(faint, peak=1), [1, -1], rtol=1e-3)


# --- silence


def test_frame_rms_pads_the_last_frame():
    y = np.array([3.0, 4, 0, 0, 2])
    assert np.allclose(audio.frame_rms(y, 4), [2.5, 1])
    assert np.allclose(audio.frame_rms(y, 1), np.abs(y))
    assert audio.frame_rms(np.zeros(0), 4).shape == (0,)


def test_frame_rms_about_the_mean_does_not_hear_an_offset():
    y = 0.3 + audio.tone(100, 1, 8000, amplitude=0.1)  # a period has 80 samples
    assert np.allclose(audio.frame_rms(y, 80, remove_mean=True), 0.1 / np.sqrt(2), rtol=1e-5)
    assert np.all(audio.frame_rms(y, 80) > 0.3)


def test_nonsilent_intervals_are_where_the_sound_is():
    word, hush = audio.tone(300, 0.5, 8000), audio.white_noise(0.2, 8000, level=1e-4)
    y = np.concatenate([hush, word, hush, word, word[:40]])
    intervals = audio.nonsilent_intervals(y, 80)
    assert np.array_equal(intervals, [[1600, 5600], [7200, len(y)]])  # the last frame is partial
    bridged = audio.nonsilent_intervals(y, 80, min_silence=1601)
    assert np.array_equal(bridged, [[1600, len(y)]])
    assert len(audio.nonsilent_intervals(y, 80, min_silence=1600)) == 2
    assert audio.nonsilent_intervals(np.zeros(100), 80).shape == (0, 2)
    assert audio.nonsilent_intervals(np.zeros(0), 80).shape == (0, 2)


def test_nonsilent_intervals_agree_with_librosa():
    "With hop = frame, librosa's centred frames are ours, moved by half a frame."
    gate = np.repeat(rng.random(60) < 0.5, 800)
    y = np.where(gate, audio.white_noise(6, 8000), 0)
    shifted = np.concatenate([np.zeros(40), y])  # centred on 40 + 80 k, these are our frames
    theirs = librosa.effects.split(shifted[:-40], top_db=40, frame_length=80, hop_length=80)
    ours = audio.nonsilent_intervals(y, 80)
    theirs = theirs - 80  # librosa's first frame is all padding
    assert np.array_equal(ours, np.clip(theirs, 0, len(y)))


def test_nonsilent_levels_are_relative_and_absolute():
    loud, faint = audio.tone(300, 0.1, 8000), audio.tone(300, 0.1, 8000, amplitude=0.05)  # -20 dB
    y = np.concatenate([faint, loud])
    assert np.array_equal(audio.nonsilent_intervals(y, 80, top_db=15), [[800, 1600]])
    assert np.array_equal(audio.nonsilent_intervals(y, 80, top_db=25), [[0, 1600]])
    assert np.array_equal(audio.nonsilent_intervals(y, 80, min_db=-15), [[800, 1600]])


def test_trim_keeps_what_is_loud():
    word, hush = audio.tone(300, 0.5, 8000), audio.white_noise(0.2, 8000, level=1e-4)
    y = np.concatenate([hush, word, hush, word, hush])
    assert np.array_equal(audio.trim(y, 8000), np.concatenate([word, hush, word]))
    assert len(audio.trim(np.zeros(100), 8000)) == len(audio.trim(np.zeros(0), 8000)) == 0
    assert len(audio.trim(np.ones(1), 8000)) == 1  # shorter than a frame
    # the last, partial frame is kept as long as it is
    assert len(audio.trim(audio.tone(100, 0.123, 8000), 8000)) == 984


def test_trim_takes_its_frame_in_seconds():
    "Samples hide under no librosa name: a frame of 0.1 s at 8 kHz has 800 samples."
    y = np.concatenate([np.zeros(850), audio.tone(300, 0.5, 8000), np.zeros(850)])
    assert len(audio.trim(y, 8000)) == 4000 + 30 + 50  # to whole frames of 80 samples
    assert len(audio.trim(y, 8000, frame_seconds=0.1)) == 4000 + 50 + 750
    with pytest.raises(TypeError):
        audio.trim(y, 8000, frame_length=80)


def test_fix_length():
    y = np.arange(6.0).reshape(2, 3)
    assert np.array_equal(audio.fix_length(y, 2), [[0, 1], [3, 4]])
    assert np.array_equal(audio.fix_length(y, 4), [[0, 1, 2, 0], [3, 4, 5, 0]])
    assert audio.fix_length(y, 0).shape == (2, 0)


# --- resampling


@pytest.mark.parametrize(
    "orig_sr, target_sr",
    [
        (44100, 16000),
        (16000, 44100),
        (8000, 22050),
        (48000, 8000),
        (192000, 1000),
        (1000, 192000),
        (7919, 16000),
    ],
)
def test_resample_moves_a_tone_and_nothing_else(orig_sr, target_sr):
    freq = 0.2 * min(orig_sr, target_sr)
    y = audio.resample(audio.tone(freq, 1, orig_sr), orig_sr, target_sr)
    expected = audio.tone(freq, 1, target_sr)
    edge = len(expected) // 10
    assert y.shape == expected.shape and y.dtype == np.float32
    assert np.abs(y - expected)[edge:-edge].max() < 5e-6  # -106 dB


@pytest.mark.parametrize("up, down", [(1, 2), (3, 2), (160, 441), (441, 160)])
def test_resample_agrees_with_scipy(up, down):
    "A sound without its top third, so that the two filters' different edges do not matter."
    orig_sr = 100 * down
    spectrum = np.fft.rfft(rng.standard_normal(2 * orig_sr))
    spectrum[int(0.66 * len(spectrum) * min(1, up / down)) :] = 0
    y = np.fft.irfft(spectrum)
    theirs = signal.resample_poly(y, up, down, window=("kaiser", 12.0))
    ours = audio.resample(y, orig_sr, 100 * up)
    assert len(ours) == len(theirs)
    inside = slice(len(ours) // 5, -len(ours) // 5)
    assert audio.rms((ours - theirs)[inside]) < 2e-3 * audio.rms(theirs[inside])


@pytest.mark.parametrize("orig_sr, target_sr", [(8000, 4000), (44100, 16000), (48000, 44100)])
def test_resample_leaves_no_alias(orig_sr, target_sr):
    above_nyquist = 0.56 * target_sr
    fits_the_original = above_nyquist < orig_sr / 2
    freq = above_nyquist if fits_the_original else 0.49 * orig_sr
    y = audio.resample(audio.tone(freq, 1, orig_sr), orig_sr, target_sr)
    level_db = audio.amplitude_to_db(audio.rms(y[1000:-1000]), min_db=-200)
    assert level_db < (-100 if fits_the_original else 0)


def test_resample_length_and_shape():
    for _ in range(200):
        n, (orig_sr, target_sr) = int(rng.integers(0, 3000)), rng.choice(RATES, 2)
        expected = -(-n * int(target_sr) // int(orig_sr))
        assert audio.resample(np.zeros(n, np.float32), orig_sr, target_sr).shape == (expected,)
    many = rng.standard_normal((3, 2, 500)).astype(np.float32)
    out = audio.resample(many, 8000, 6000)
    assert out.shape == (3, 2, 375)
    assert np.array_equal(out[1, 1], audio.resample(many[1, 1], 8000, 6000))
    assert np.array_equal(audio.resample(many, 8000, 8000), many)


@pytest.mark.parametrize("orig_sr, target_sr", [(22050, 16000), (44100, 16000), (8000, 11025)])
def test_resample_at_28_bits_is_the_same_from_any_cut(orig_sr, target_sr):
    y = rng.standard_normal(2 * orig_sr).astype(np.float32)
    step = orig_sr // np.gcd(orig_sr, target_sr)
    whole = audio.resample(y, orig_sr, target_sr, res_type="VHQ")
    for k in (1, 7, 20):
        part = audio.resample(y[k * step :], orig_sr, target_sr, res_type="VHQ")
        error = np.abs(part - whole[-len(part) :])[300:-300]
        assert error.max() < 1e-7 * np.abs(whole).max()


@pytest.mark.parametrize("sr", [0, -8000, 8000.5, float("nan"), float("inf"), 2**31, True, "8000"])
def test_no_such_rate(sr):
    refusal(audio.resample, np.zeros(10), 8000, sr, about="audio")
    refusal(audio.resample, np.zeros(10), sr, 8000, about="audio")
    assert "sample rate" in refusal(audio.check_audio, np.zeros(10), sr, "it", about="it")


# --- what counts as sound


@pytest.mark.parametrize(
    "y, word",
    [
        (np.zeros(0), "no samples"),
        (np.zeros((2, 0)), "no samples"),
        (np.zeros((0, 5)), "no samples"),
        (np.float64(0.5), "shape"),
        (np.zeros((2, 2, 2)), "shape"),
        (np.zeros((44100, 2)), "transpose"),
        (np.zeros(3, np.int16), "int16"),
        (np.zeros(3, bool), "bool"),
        (np.zeros(3, complex), "complex128"),
        (["a"], "<U1"),
        (np.array([0, np.nan]), "NaN"),
        (np.array([0, np.inf]), "infinite"),
        (np.array([0, -np.inf], np.float16), "infinite"),
        (np.array([1e39]), "infinite"),  # finite in float64, not in float32
    ],
)
def test_check_audio_refuses(y, word, recwarn):
    assert word in refusal(audio.check_audio, y, 8000, "it", about="it")
    assert not recwarn.list


@pytest.mark.parametrize(
    "y",
    [np.zeros(1), [0.0, 0.5], np.zeros((6, 1)), np.ones((2, 3), np.float16), np.zeros((64, 64))],
)
def test_check_audio_accepts(y):
    out = audio.check_audio(y, 8000)
    assert out.dtype == np.float32 and np.array_equal(out, np.asarray(y))
