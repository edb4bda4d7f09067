import numpy as np
import pytest

from gan_audio_tut import audio, degrade, fidelity
from gan_audio_tut.audio import InputError
from gan_audio_tut.baselines import ar_inpaint, cubic_inpaint, ideal_ratio_mask, wiener
from gan_audio_tut.streaming import ChunkedFunction, process_in_chunks

FILLS = [ar_inpaint, cubic_inpaint]


def voiced(n=8000, seed=0):
    "A sound that linear prediction knows: noise through resonances, in pulses."
    rng = np.random.default_rng(seed)
    y = sum(audio.tone(f, n / 8000, 8000, amplitude=0.1) for f in (120, 240, 360, 700, 1300))
    return (y + 1e-3 * rng.standard_normal(n)).astype(np.float32)


@pytest.mark.parametrize("fill", FILLS)
def test_what_is_there_stays_bit_for_bit(fill):
    y = voiced()
    damaged, lost = degrade.dropouts(y, 8000, np.random.default_rng(0), 5, 0.01, 0.03)
    out = fill(damaged, lost)
    assert out.dtype == np.float32 and out.shape == y.shape and np.array_equal(out[~lost], y[~lost])


@pytest.mark.parametrize("fill", FILLS)
def test_nothing_lost_everything_lost_nothing_there(fill):
    y = voiced(1000)
    assert np.array_equal(fill(y, np.zeros(1000, bool)), y)
    for y in (y, np.zeros(1000, np.float32)):
        assert np.isfinite(fill(y, np.ones(1000, bool))).all()
    assert fill(np.zeros(0, np.float32), np.zeros(0, bool)).shape == (0,)
    assert not fill(np.zeros(2000, np.float32), np.arange(2000) % 100 < 10).any(), (
        "silence with holes is silence"
    )


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize(
    "lost", [np.zeros(99, bool), np.zeros(100, np.float32), np.zeros((1, 100), bool)]
)
def test_a_mask_that_does_not_fit_is_refused(fill, lost):
    with pytest.raises(InputError, match="lost: .*give a bool for each sample"):
        fill(np.zeros(100, np.float32), lost)


@pytest.mark.parametrize("below", [3, 9, 15])
def test_prediction_mends_clipping_and_goes_only_outwards(below):
    y = voiced()
    clipped, lost = degrade.hard_clip(y, below)
    out = ar_inpaint(clipped, lost)
    assert (np.abs(out[lost]) >= np.abs(clipped[lost])).all() and (
        np.sign(out[lost]) == np.sign(clipped[lost])
    ).all()
    assert fidelity.si_sdr(y, out) > fidelity.si_sdr(y, clipped) + 3


def test_prediction_in_pieces_is_prediction_as_a_whole():
    y = voiced(20000)
    damaged, lost = degrade.dropouts(y, 8000, np.random.default_rng(1), 30, 0.005, 0.05)
    fill = ChunkedFunction(lambda v: ar_inpaint(v, v == 0), 8000, 256, 512)
    for size, each in ((512, 700), (3000, 20000), (5000, 333)):
        pieces = [damaged[k : k + each] for k in range(0, len(y), each)]
        assert np.array_equal(
            np.concatenate(list(process_in_chunks(fill, pieces, size))),
            ar_inpaint(damaged, damaged == 0),
        )


def test_prediction_is_the_same_at_any_level():
    y = voiced()
    damaged, lost = degrade.dropouts(y, 8000, np.random.default_rng(2), 5, 0.01, 0.03)
    assert np.allclose(
        1e-2 * ar_inpaint(damaged, lost), ar_inpaint(1e-2 * damaged, lost), atol=1e-5
    )


def test_the_ideal_mask_of_a_clean_sound_is_all_pass():
    y = voiced()
    assert np.abs(ideal_ratio_mask(y, y) - y).max() < 1e-4


@pytest.mark.parametrize("samples", [129, 1000, 3001])
def test_wiener_keeps_the_length(samples):
    out = wiener(0.1 * np.random.default_rng(0).standard_normal(samples).astype(np.float32), 8000)
    assert out.shape == (samples,) and np.isfinite(out).all()


@pytest.mark.parametrize(
    "bad",
    [
        {"memory": 1.0},
        {"memory": -1},
        {"floor": -1},
        {"floor": 2},
        {"window": 0},
        {"memory": np.nan},
    ],
)
def test_wiener_says_what_is_no_setting(bad):
    with pytest.raises(InputError, match="wiener: "):
        wiener(0.1 * np.ones(1000, np.float32), 8000, **bad)


def test_digital_silence_is_not_taken_for_the_noise():
    rng = np.random.default_rng(0)
    tone = np.where(np.arange(24000) // 4000 % 2, voiced(24000), 0).astype(np.float32)
    noisy = tone + 0.02 * degrade.coloured_noise(24000, 8000, rng)
    alone, after = wiener(noisy, 8000), wiener(np.pad(noisy, (8000, 0)), 8000)[8000:]
    assert fidelity.si_sdr(tone, after) > fidelity.si_sdr(tone, alone) - 0.5


def test_a_spline_does_not_leave_the_ends():
    y = voiced(1000)
    out = cubic_inpaint(np.where(np.arange(1000) < 200, 0, y), np.arange(1000) < 200)
    assert np.allclose(out[:200], out[200])


@pytest.mark.parametrize("fill", FILLS)
def test_nan_is_refused(fill):
    with pytest.raises(InputError, match="NaN"):
        fill(np.full(100, np.nan), np.zeros(100, bool))


def test_ideal_mask_wants_a_pair():
    with pytest.raises(InputError, match="as many samples"):
        ideal_ratio_mask(voiced(4000), voiced(4001))


def test_wiener_says_what_is_too_short():
    with pytest.raises(InputError, match="pad with"):
        wiener(0.1 * np.ones(100, np.float32), 8000)


def test_wiener_takes_away_what_stays_and_keeps_what_comes_and_goes():
    rng = np.random.default_rng(0)
    hiss = 0.05 * degrade.coloured_noise(24000, 8000, rng)
    assert audio.amplitude_to_db(audio.rms(wiener(hiss, 8000)) / audio.rms(hiss)) < -15
    tone = np.where(np.arange(24000) // 4000 % 2, voiced(24000), 0).astype(np.float32)
    out = wiener(tone + 0.05 * hiss, 8000)
    assert fidelity.si_sdr(tone, out) > 15
