"Classical baselines: known samples stay, bounds hold, known answers come out."

import numpy as np
import pytest

from gan_audio_tut import audio, degrade, fidelity
from gan_audio_tut.audio import InputError
from gan_audio_tut.baselines import (
    ar_block_sizes,
    ar_inpaint,
    cubic_inpaint,
    ideal_ratio_mask,
    musical_noise_peaks,
    wiener,
)
from gan_audio_tut.streaming import ChunkedFunction, process_in_chunks

METHODS = [ar_inpaint, cubic_inpaint]


def predictable(n=8000, seed=0):
    "A sound that linear prediction can continue: tones in a little noise."
    rng = np.random.default_rng(seed)
    y = sum(audio.tone(freq, n / 8000, 8000, amplitude=0.1) for freq in (120, 240, 360, 700, 1300))
    return (y + 1e-3 * rng.standard_normal(n)).astype(np.float32)


def with_dropouts(y, seed=0, count=5, shortest=0.01, longest=0.03):
    rng = np.random.default_rng(seed)
    return degrade.dropouts(y, 8000, rng, count=count, shortest=shortest, longest=longest)


@pytest.mark.parametrize("inpaint", METHODS)
def test_known_samples_stay_bit_for_bit(inpaint):
    y = predictable()
    damaged, missing = with_dropouts(y)
    out = inpaint(damaged, missing)
    assert (out.dtype, out.shape) == (np.float32, y.shape)
    assert np.array_equal(out[~missing], y[~missing])


@pytest.mark.parametrize("inpaint", METHODS)
def test_nothing_missing_everything_missing_and_no_samples(inpaint):
    y = predictable(1000)
    assert np.array_equal(inpaint(y, np.zeros(1000, bool)), y)
    for sound in (y, np.zeros(1000, np.float32)):
        assert np.isfinite(inpaint(sound, np.ones(1000, bool))).all()
    assert inpaint(np.zeros(0, np.float32), np.zeros(0, bool)).shape == (0,)


@pytest.mark.parametrize("inpaint", METHODS)
def test_silence_with_gaps_is_silence(inpaint):
    missing = np.arange(2000) % 100 < 10
    assert not inpaint(np.zeros(2000, np.float32), missing).any()


@pytest.mark.parametrize("inpaint", METHODS)
@pytest.mark.parametrize(
    "missing", [np.zeros(99, bool), np.zeros(100, np.float32), np.zeros((1, 100), bool)]
)
def test_a_mask_that_does_not_fit_is_refused(inpaint, missing):
    with pytest.raises(InputError, match=r"missing: .*give a bool for each sample"):
        inpaint(np.zeros(100, np.float32), missing)


@pytest.mark.parametrize("clip_db", [3, 9, 15])
def test_prediction_restores_clipped_peaks_and_moves_only_outwards(clip_db):
    y = predictable()
    clipped, missing = degrade.hard_clip(y, clip_db=clip_db)
    out = ar_inpaint(clipped, missing)
    assert (np.abs(out[missing]) >= np.abs(clipped[missing])).all()
    assert (np.sign(out[missing]) == np.sign(clipped[missing])).all()
    assert fidelity.si_sdr(y, out) > fidelity.si_sdr(y, clipped) + 3


@pytest.mark.parametrize("size, delivered", [(512, 700), (3000, 20000), (5000, 333)])
def test_prediction_in_chunks_is_prediction_as_a_whole(size, delivered):
    y = predictable(20000)
    damaged, _ = with_dropouts(y, seed=1, count=30, shortest=0.005, longest=0.05)

    def inpaint(v):
        return ar_inpaint(v, v == 0)

    function = ChunkedFunction(inpaint, 8000, receptive_field=256, hop=512)
    chunks = [damaged[start : start + delivered] for start in range(0, len(y), delivered)]
    out = np.concatenate(list(process_in_chunks(function, chunks, size)))
    assert np.array_equal(out, inpaint(damaged))


def test_prediction_with_a_mask_in_chunks():
    "A chunked function that receives its mask."
    y = predictable(6000)
    damaged, missing = with_dropouts(y, seed=1)
    function = ChunkedFunction(ar_inpaint, 8000, receptive_field=256, hop=512)
    chunks = zip(np.split(damaged, 6), np.split(missing, 6), strict=True)
    out = np.concatenate(list(process_in_chunks(function, chunks, 1024)))
    assert np.array_equal(out, ar_inpaint(damaged, missing))


def test_prediction_is_the_same_at_any_level():
    damaged, missing = with_dropouts(predictable(), seed=2)
    quiet = ar_inpaint(1e-2 * damaged, missing)
    assert np.allclose(1e-2 * ar_inpaint(damaged, missing), quiet, atol=1e-5)


@pytest.mark.parametrize(
    "sr, sizes",
    [
        (8000, (32, 512, 256)),
        (16000, (64, 1024, 512)),
        (44100, (64, 2048, 1024)),
        (4000, (32, 512, 256)),
    ],
)
def test_block_sizes_follow_the_rate(sr, sizes):
    assert ar_block_sizes(sr) == sizes
    assert ar_block_sizes(sr).block == sizes[1]


def test_the_ideal_mask_of_a_clean_sound_is_all_pass():
    y = predictable()
    assert np.abs(ideal_ratio_mask(y, y) - y).max() < 1e-4


def test_the_ideal_mask_needs_a_pair():
    with pytest.raises(InputError, match="as many samples"):
        ideal_ratio_mask(predictable(4000), predictable(4001))


@pytest.mark.parametrize("samples", [129, 1000, 3001])
def test_wiener_keeps_the_length(samples):
    y = 0.1 * np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    out = wiener(y, 8000)
    assert out.shape == (samples,)
    assert np.isfinite(out).all()


@pytest.mark.parametrize(
    "setting",
    [
        {"alpha": 1.0},
        {"alpha": -1},
        {"min_gain": -1},
        {"min_gain": 2},
        {"window": 0},
        {"alpha": np.nan},
    ],
)
def test_wiener_says_which_setting_is_wrong(setting):
    (name,) = setting
    with pytest.raises(InputError, match=f"wiener: {name} "):
        wiener(0.1 * np.ones(1000, np.float32), 8000, **setting)


def test_wiener_says_what_is_too_short():
    with pytest.raises(InputError, match="pad with"):
        wiener(0.1 * np.ones(100, np.float32), 8000)


@pytest.fixture(scope="module")
def bursts():
    "Half a second of tones, half a second of silence, three times."
    is_on = np.arange(24000) // 4000 % 2 == 1
    return np.where(is_on, predictable(24000), 0).astype(np.float32)


def test_digital_silence_is_not_taken_for_the_noise(bursts):
    noise = degrade.coloured_noise(24000, 8000, np.random.default_rng(0))
    noisy = bursts + 0.02 * noise
    alone = wiener(noisy, 8000)
    after_silence = wiener(np.pad(noisy, (8000, 0)), 8000)[8000:]
    loss = fidelity.si_sdr(bursts, alone) - fidelity.si_sdr(bursts, after_silence)
    assert loss < 0.5


def test_wiener_removes_steady_noise_and_keeps_bursts(bursts):
    noise = 0.05 * degrade.coloured_noise(24000, 8000, np.random.default_rng(0))
    attenuation = audio.rms(wiener(noise, 8000)) / audio.rms(noise)
    assert audio.amplitude_to_db(attenuation) < -15
    assert fidelity.si_sdr(bursts, wiener(bursts + 0.05 * noise, 8000)) > 15


def test_musical_noise_peaks_of_filtered_noise():
    "None of silence; fewer with a smooth gain; more with a lower threshold."
    noise = 0.05 * degrade.coloured_noise(24000, 8000, np.random.default_rng(0))
    assert musical_noise_peaks(noise, np.zeros_like(noise), 8000) == 0
    fluctuating, smooth = (wiener(noise, 8000, alpha=alpha) for alpha in (0.0, 0.98))
    peaks = musical_noise_peaks(noise, fluctuating, 8000)
    assert peaks > 5 * musical_noise_peaks(noise, smooth, 8000)
    assert musical_noise_peaks(noise, fluctuating, 8000, below_db=10.0) > peaks


def test_a_spline_does_not_overshoot_at_the_ends():
    y, missing = predictable(1000), np.arange(1000) < 200
    out = cubic_inpaint(np.where(missing, 0, y), missing)
    assert np.allclose(out[:200], out[200])


@pytest.mark.parametrize("inpaint", METHODS)
def test_nan_is_refused(inpaint):
    with pytest.raises(InputError, match="NaN"):
        inpaint(np.full(100, np.nan), np.zeros(100, bool))
