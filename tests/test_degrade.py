import itertools

import numpy as np
import pytest

from gan_audio_tut import audio, datasets, degrade, fidelity
from gan_audio_tut.audio import InputError, amplitude_to_db, rms

SR = 8000


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def words():
    clips = datasets.digits("valid")
    return np.concatenate([audio.trim(y, SR) for y in clips.audio[::40][:4]])


@pytest.mark.parametrize("snr_db", [-20, 0, 7.3, 60])
@pytest.mark.parametrize("level", [1, 1e-3])
def test_noise_stands_where_it_was_asked_to(words, snr_db, level):
    y, n = degrade.add_noise(level * words, rng().standard_normal(len(words)), snr_db)
    assert 20 * np.log10(rms(level * words) / rms(n)) == pytest.approx(snr_db, abs=1e-3)
    assert y.dtype == n.dtype == np.float32 and np.allclose(y - n, level * words, atol=1e-6)


@pytest.mark.parametrize(
    "clean, noise",
    [
        (np.zeros(9), np.ones(9)),
        (np.ones(9), np.zeros(9)),
        (np.ones(9), np.ones(8)),
        (np.full(9, np.nan), np.ones(9)),
        (np.ones(0), np.ones(0)),
    ],
)
def test_what_has_no_ratio_is_refused(clean, noise):
    with pytest.raises(InputError):
        degrade.add_noise(clean, noise, 0.0)


@pytest.mark.parametrize("name, slope", degrade.COLOURS.items())
@pytest.mark.parametrize("sr", [8000, 44100])
def test_colours_fall_as_they_should(name, slope, sr):
    y = degrade.coloured_noise(20 * sr, sr, rng(), slope)
    power, f = np.abs(np.fft.rfft(y)) ** 2, np.fft.rfftfreq(len(y), 1 / sr)
    octaves = [
        10 * np.log10(power[(f >= low) & (f < 2 * low)].mean()) for low in (200, 400, 800, 1600)
    ]
    assert np.diff(octaves) == pytest.approx(slope, abs=0.4) and rms(y) == pytest.approx(
        1, abs=1e-3
    )
    assert power[f < 19].sum() < 1e-9 * power.sum()


@pytest.mark.parametrize("freq", [50.0, 60.0])
def test_mains_hum_at_multiples_only(freq):
    y = degrade.mains_hum(4 * SR, SR, rng(), freq)  # 4 s: a bin at every quarter of a hertz
    power = np.abs(np.fft.rfft(y)) ** 2
    at = (np.arange(1, int(1500 / freq)) * freq * 4).astype(int)
    assert power[at].sum() > 0.95 * power.sum() and rms(y) == pytest.approx(1, abs=1e-3)
    even = [
        power[at[1::2]].sum() / power[at[::2]].sum()
        for power in (
            np.abs(np.fft.rfft(degrade.mains_hum(4 * SR, SR, rng(k), freq))) ** 2 for k in range(20)
        )
    ]
    assert np.mean(even) < 0.05


def test_a_stretch_goes_round():
    y = degrade.random_crop([np.arange(10.0)], 35, rng())
    assert len(y) == 35 and set(np.diff(y)) == {1.0, -9.0}
    with pytest.raises(InputError):
        degrade.random_crop([np.zeros(0)], 5, rng())
    with pytest.raises(InputError):
        degrade.random_crop([], 5, rng())


def test_babble_and_equaliser_keep_their_level(words):
    y = degrade.babble([words, words[::-1]], 8000, rng())
    assert len(y) == 8000 and rms(y) == pytest.approx(1, abs=1e-3)
    assert np.isfinite(degrade.babble([np.zeros(50)], 100, rng())).all()
    e = degrade.random_eq(words, rng())
    assert rms(e) == pytest.approx(rms(words), rel=1e-3) and fidelity.snr(words, e) < 20
    assert np.array_equal(degrade.random_eq(np.zeros(64, np.float32), rng()), np.zeros(64))


@pytest.mark.parametrize("below", [3.0, 15.0])
def test_hard_clipping_tells_what_it_cut(words, below):
    y, cut = degrade.hard_clip(words, below)
    assert amplitude_to_db(np.abs(y).max() / np.abs(words).max()) == pytest.approx(-below, abs=1e-3)
    assert (
        np.array_equal(y[~cut], words[~cut])
        and (np.abs(words[cut]) > np.abs(y[cut])).all()
        and (np.sign(words[cut]) == np.sign(y[cut])).all()
    )


def test_clipping_leaves_silence_alone():
    y = np.zeros(5, np.float32)
    hard, cut = degrade.hard_clip(y, 6.0)
    assert (
        np.array_equal(hard, y) and not cut.any() and np.array_equal(degrade.soft_clip(y, 12.0), y)
    )


Y = np.sin(np.arange(8000) / 7).astype(np.float32)
WRONG = {  # a function of a sound -> it must refuse every sound that is none
    "add_noise": lambda y: degrade.add_noise(y, Y, 0.0),
    "under noise": lambda y: degrade.add_noise(Y, y, 0.0),
    "equalised": lambda y: degrade.random_eq(y, rng()),
    "hard_clip": lambda y: degrade.hard_clip(y, 6.0),
    "soft_clip": lambda y: degrade.soft_clip(y, 6.0),
    "narrow": lambda y: degrade.band_limit(y, SR, 2000),
    "coarse": lambda y: degrade.quantize(y, 8),
    "codec": lambda y: degrade.apply_codec(y, SR),
    "gaps": lambda y: degrade.dropouts(y, SR, rng()),
    "reverberate": lambda y: degrade.convolve_rir(y, Y[:9]),
    "in a room": lambda y: degrade.convolve_rir(Y, y),
    "damage": lambda y: degrade.apply_degradation(y, SR, "clip"),
    "stretch_of": lambda y: degrade.random_crop([y], 9, rng()),
}


@pytest.mark.parametrize(
    "y",
    [
        np.where(np.arange(8000) == 5, np.nan, Y),
        np.stack([Y, Y]),
        (Y * 30000).astype(np.int16),
        Y[:0],
        np.float32(1),
        1e39 * Y.astype(float),
    ],
    ids=["nan", "stereo", "int16", "empty", "number", "huge"],
)
@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_sound_is_refused(name, y):
    with pytest.raises(InputError) as error:
        WRONG[name](y)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: degrade.add_noise(Y, Y, np.nan),
        lambda: degrade.coloured_noise(0, SR, rng()),
        lambda: degrade.coloured_noise(9, -1, rng()),
        lambda: degrade.coloured_noise(9, SR, rng(), np.nan),
        lambda: degrade.coloured_noise(99, SR, rng(), fmin=4001),
        lambda: degrade.mains_hum(99, 0, rng()),
        lambda: degrade.mains_hum(99, SR, rng(), 1e-6),
        lambda: degrade.mains_hum(99, SR, rng(), 5000.0),
        lambda: degrade.random_crop(Y, 9, rng()),
        lambda: degrade.babble([Y], 9, rng(), 0),
        lambda: degrade.random_eq(Y, rng(), np.nan),
        lambda: degrade.random_eq(Y, rng(), n_points=1),
        lambda: degrade.hard_clip(Y, -6),
        lambda: degrade.soft_clip(Y, 1e4),
        lambda: degrade.band_limit(Y, SR, 0.2),
        lambda: degrade.quantize(Y, 4.5),
        lambda: degrade.quantize(Y, 8, True, 0),
        lambda: degrade.apply_codec(Y * 1e30, SR),
        lambda: degrade.apply_codec(Y, 0),
        lambda: degrade.apply_codec(Y, "8000"),
        lambda: degrade.dropouts(Y, SR, rng(), 0),
        lambda: degrade.dropouts(Y, SR, rng(), 1.5),
        lambda: degrade.dropouts(Y, SR, rng(), 2, 0.2, 0.1),
        lambda: degrade.dropouts(Y, SR, rng(), 2, clear=-1),
        lambda: degrade.dropouts(Y, -8000, rng()),
        lambda: degrade.synthetic_rir(SR, rng(), 0),
        lambda: degrade.synthetic_rir(0, rng()),
        lambda: degrade.synthetic_rir(SR, rng(), drr_db=np.nan),
        lambda: degrade.apply_degradation(Y, SR, "clip", -1),
        lambda: degrade.apply_degradation(Y, SR, "clip", 1.5),
        lambda: degrade.apply_degradation(Y, SR, "clip", None),
        lambda: degrade.apply_degradation(Y, SR, "clip", "a"),
        lambda: degrade.apply_degradation(Y, None, "noise"),
    ],
)
def test_settings_that_make_no_sense_are_refused(call):
    with pytest.raises(InputError) as error:
        call()
    assert "\n" not in str(error.value)


def test_a_seed_may_be_several_numbers():
    same = [
        degrade.apply_degradation(Y, SR, "noise", s)[0] for s in ((3, 7), (3, 7), (3, 8), 4, (4,))
    ]
    assert (
        np.array_equal(same[0], same[1])
        and not np.array_equal(same[0], same[2])
        and np.array_equal(same[3], same[4])
    )


def test_soft_clipping_can_be_undone(words):
    y, peak, gain = (
        degrade.soft_clip(words, 12.0),
        np.abs(words).max(),
        10 ** (12 / 20) / np.abs(words).max(),
    )
    assert np.abs(y).max() == pytest.approx(peak, rel=1e-5)
    assert np.allclose(
        np.arctanh(y.astype(float) * np.tanh(gain * peak) / peak) / gain, words, atol=1e-4
    )


@pytest.mark.parametrize("sr, highest", [(8000, 2000), (16000, 4000), (44100, 5513.3)])
def test_narrow_takes_the_top_and_moves_nothing(sr, highest):
    y = degrade.coloured_noise(2 * sr, sr, rng())
    z, f = degrade.band_limit(y, sr, highest), np.fft.rfftfreq(2 * sr, 1 / sr)
    power = lambda v: np.abs(np.fft.rfft(v * np.hanning(len(v)))) ** 2
    assert (
        len(z) == len(y)
        and power(z)[f > 1.1 * highest].sum() < 1e-5 * power(y)[f > 1.1 * highest].sum()
    )
    low = lambda v: np.fft.irfft(np.fft.rfft(v) * (f < 0.85 * highest), len(y))
    assert fidelity.estimate_delay(y, z) == 0 and np.corrcoef(low(y), low(z))[0, 1] > 0.999
    for wrong in (0, sr / 2, np.nan):
        with pytest.raises(InputError):
            degrade.band_limit(y, sr, wrong)


def test_coarse_numbers():
    y = np.linspace(-1, 1, 10001, dtype=np.float32)
    assert (
        len(np.unique(degrade.quantize(y, 3)))
        == len(np.unique(degrade.quantize(y, 3, mu_law=True)))
        == 7
    )
    assert np.abs(degrade.quantize(y, 8) - y).max() <= 0.5 / 127 + 1e-6
    for law in (False, True):
        once = degrade.quantize(y, 6, law)
        assert (
            np.allclose(degrade.quantize(once, 6, law), once, atol=1e-6)
            and np.allclose(degrade.quantize(-y, 6, law), -once)
            and degrade.quantize(np.zeros(1), 6, law)[0] == 0
        )
    quiet = 0.01 * y
    assert (
        fidelity.snr(quiet, degrade.quantize(quiet, 8, mu_law=True))
        > fidelity.snr(quiet, degrade.quantize(quiet, 8)) + 10
    )
    for bits in (1, 17):
        with pytest.raises(InputError):
            degrade.quantize(y, bits)


@pytest.mark.parametrize(
    "name, sr",
    [
        ("mp3", 8000),
        ("mp3", 44100),
        ("mp3", 96000),
        ("vorbis", 8000),
        ("vorbis", 22050),
        ("vorbis", 12345),
        ("opus", 16000),
        ("opus", 44100),
        ("opus", 48000),
    ],
)
def test_codecs_move_nothing(words, name, sr):
    y = audio.resample(words, SR, sr)
    small, good = (
        degrade.apply_codec(y, sr, name),
        degrade.apply_codec(y, sr, name, compression_level=0.0),
    )
    assert small.shape == y.shape and abs(fidelity.estimate_delay(y, small)) <= 2e-4 * sr
    assert fidelity.snr(y, small) < fidelity.snr(y, good) and fidelity.snr(y, good) > 10


def test_a_long_sound_does_not_overflow_vorbis():
    y = np.tile(0.1 * np.sin(np.arange(48000) / 9).astype(np.float32), 60)
    assert degrade.apply_codec(y, SR, "vorbis").shape == y.shape


def test_codecs_say_what_they_cannot():
    for options in ({"name": "flac"}, {"squeeze": 1.5}, {"squeeze": -1}):
        with pytest.raises(InputError) as error:
            degrade.apply_codec(np.zeros(800, np.float32), **({"sr": SR} | options))
        assert "\n" not in str(error.value)


def test_gaps_do_not_touch(words):
    for seed in range(20):
        y, mask = degrade.dropouts(words, SR, rng(seed), 3, 0.02, 0.1, clear=0.05)
        runs = [(k, len(list(g))) for k, g in itertools.groupby(mask)]
        assert [k for k, _ in runs] == [False, True] * 3 + [False]
        assert (
            all(160 <= n <= 800 if k else n >= 400 for k, n in runs)
            and (y[mask] == 0).all()
            and np.array_equal(y[~mask], words[~mask])
        )


def test_gaps_that_do_not_fit_are_refused(words):
    with pytest.raises(InputError, match="fewer or shorter"):
        degrade.dropouts(words[:1000], SR, rng(), 3)


def test_gaps_stay_apart_even_when_told_to_be_close(words):
    for seed in range(50):
        _, mask = degrade.dropouts(words[:4000], SR, rng(seed), 10, clear=0.0, longest=0.03)
        assert np.sum(np.diff(mask.astype(int)) == 1) == 10


@pytest.mark.parametrize("t60", [0.2, 0.8])
def test_rooms_decay_as_asked(t60):
    for seed in range(3):
        h = degrade.synthetic_rir(SR, rng(seed), t60, drr_db=0.0)
        left = 10 * np.log10(np.cumsum(h[::-1].astype(float) ** 2)[::-1] / np.sum(h**2) + 1e-12)
        at = np.flatnonzero((left < -10) & (left > -35))
        assert -60 / np.polyfit(at / SR, left[at], 1)[0] == pytest.approx(t60, rel=0.25)
        assert h[0] == 1 and np.sum(h[1:] ** 2) == pytest.approx(1, rel=1e-3)


def band_t60(sr, low, high, t60=0.4):
    "Reverberation time of a band, from the mean power of twelve rooms in windows of 16 ms."
    n, power = int(0.016 * sr), 0.0
    for seed in range(12):
        h = degrade.synthetic_rir(sr, rng(seed), t60)[int(0.06 * sr) :]
        p, f = (
            np.abs(np.fft.rfft(h[: len(h) // n * n].reshape(-1, n) * np.hanning(n))) ** 2,
            np.fft.rfftfreq(n, 1 / sr),
        )
        power = power + p[:, (f > low) & (f < high)].sum(1)
    db = 10 * np.log10(power)
    at = np.flatnonzero(db > db[0] - 35)
    return -60 / np.polyfit(at * n / sr, db[at], 1)[0]


@pytest.mark.parametrize("sr", [8000, 44100])
def test_high_dies_twice_as_fast(sr):
    assert band_t60(sr, 300, 1800) == pytest.approx(0.4, rel=0.1) and band_t60(
        sr, 2300, sr / 2
    ) == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize("sr", [8000, 44100])
def test_walls_answer_with_a_fifth_of_the_energy(sr):
    for k in range(20):
        h = degrade.synthetic_rir(sr, rng(k), 0.4)
        walls = np.sort(h[1 : int(0.03 * sr)] ** 2)[-6:].sum()
        assert 0.1 < walls / np.sum(h[1:] ** 2) < 0.35


def test_a_room_of_nothing_is_the_sound(words):
    assert np.allclose(degrade.convolve_rir(words, np.array([1.0])), words, atol=1e-6)
    wet = degrade.convolve_rir(words, degrade.synthetic_rir(SR, rng(), 0.4))
    assert wet.shape == words.shape and fidelity.estimate_delay(words, wet) == 0


@pytest.mark.parametrize("kind", degrade.DEGRADATIONS)
@pytest.mark.parametrize("sr", [8000, 16000, 44100])
def test_every_kind_by_seed(words, kind, sr):
    y = audio.resample(words, SR, sr)
    seen = [
        degrade.apply_degradation(y, sr, kind, seed, noises=[y[::-1]], voices=[y])
        for seed in range(4)
    ]
    again, _ = degrade.apply_degradation(y, sr, kind, 3, noises=[y[::-1]], voices=[y])
    assert np.array_equal(seen[3][0], again) and len({v.tobytes() for v, _ in seen}) > 1
    for v, done in seen:
        assert (
            v.shape == y.shape
            and v.dtype == np.float32
            and np.isfinite(v).all()
            and done.kind == kind
            and done.settings
        )
        if done.mask is not None:
            assert np.array_equal(v[~done.mask], y[~done.mask]) and done.mask.any()
        if done.noise is not None:
            assert np.array_equal(y + done.noise, v)


@pytest.mark.parametrize(
    "kind", sorted(set(degrade.DEGRADATIONS) - {"codec"})
)  # a codec drops what is too quiet to hear
def test_the_level_does_not_matter(words, kind):
    loud, quiet = (
        degrade.apply_degradation(level * words, SR, kind, 1)[0] / level for level in (1.0, 1e-3)
    )
    assert np.allclose(loud, quiet, atol=2e-3)


def test_short_sounds_have_their_gap(words):
    for seed in range(20):
        assert degrade.apply_degradation(words[:1100], SR, "gaps", seed)[1].mask.any()


def test_noise_says_its_true_level(words):
    for seed in range(12):
        y, done = degrade.apply_degradation(words, SR, "noise", seed)
        assert fidelity.snr(words, y) == pytest.approx(done.settings["snr_db"], abs=0.01)


def test_silent_recordings_do_not_stop_a_training(words):
    for seed in range(12):
        y, done = degrade.apply_degradation(
            words, SR, "noise", seed, noises=[np.zeros(100)], voices=[np.zeros(100)]
        )
        assert np.isfinite(y).all() and done.settings["source"] in {*degrade.COLOURS, "mains"}


@pytest.mark.parametrize(
    "kind, y",
    [
        ("rust", np.ones(800)),
        ("noise", np.zeros(800)),
        ("gaps", np.ones(100)),
        ("noise", np.zeros(0)),
    ],
)
def test_what_cannot_be_damaged_is_named(kind, y):
    with pytest.raises(InputError) as error:
        degrade.apply_degradation(y, SR, kind)
    assert "\n" not in str(error.value)
