"Degradations: by a known amount, at the right place, the same for the same seed."

import itertools

import numpy as np
import pytest

from gan_audio_tut import audio, datasets, degrade, fidelity
from gan_audio_tut.audio import InputError, amplitude_to_db, rms

SR = 8000


def rng(seed=0):
    return np.random.default_rng(seed)


def power_spectrum(y):
    return np.abs(np.fft.rfft(y)) ** 2


@pytest.fixture(scope="module")
def words():
    clips = datasets.digits("valid")
    return np.concatenate([audio.trim(y, SR) for y in clips.audio[::40][:4]])


@pytest.mark.parametrize("snr_db", [-20, 0, 7.3, 60])
@pytest.mark.parametrize("level", [1, 1e-3])
def test_the_snr_is_exact(words, snr_db, level):
    clean = level * words
    mixture, noise = degrade.add_noise(clean, rng().standard_normal(len(words)), snr_db=snr_db)
    assert 20 * np.log10(rms(clean) / rms(noise)) == pytest.approx(snr_db, abs=1e-3)
    assert mixture.dtype == noise.dtype == np.float32
    assert np.allclose(mixture - noise, clean, atol=1e-6)


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
def test_what_has_no_snr_is_refused(clean, noise):
    with pytest.raises(InputError):
        degrade.add_noise(clean, noise, snr_db=0.0)


@pytest.mark.parametrize("name, slope_db", degrade.COLOURS.items())
@pytest.mark.parametrize("sr", [8000, 44100])
def test_coloured_noise_has_its_slope(name, slope_db, sr):
    y = degrade.coloured_noise(20 * sr, sr, rng(), slope_db=slope_db)
    power, freq = power_spectrum(y), np.fft.rfftfreq(len(y), 1 / sr)
    octaves = [
        10 * np.log10(power[(freq >= low) & (freq < 2 * low)].mean())
        for low in (200, 400, 800, 1600)
    ]
    assert np.diff(octaves) == pytest.approx(slope_db, abs=0.4)
    assert rms(y) == pytest.approx(1, abs=1e-3)
    assert power[freq < 19].sum() < 1e-9 * power.sum()


@pytest.mark.parametrize("freq", [50.0, 60.0])
def test_mains_hum_has_power_at_multiples_only(freq):
    n = 4 * SR  # 4 s: a bin at every quarter of a hertz
    y = degrade.mains_hum(n, SR, rng(), freq=freq)
    harmonic_bins = (np.arange(1, int(1500 / freq)) * freq * 4).astype(int)
    power = power_spectrum(y)
    assert power[harmonic_bins].sum() > 0.95 * power.sum()
    assert rms(y) == pytest.approx(1, abs=1e-3)

    even_to_odd = []
    for seed in range(20):
        power = power_spectrum(degrade.mains_hum(n, SR, rng(seed), freq=freq))[harmonic_bins]
        even_to_odd.append(power[1::2].sum() / power[::2].sum())
    assert np.mean(even_to_odd) < 0.05


def test_a_crop_longer_than_its_recording_wraps_around():
    y = degrade.random_crop([np.arange(10.0)], 35, rng())
    assert len(y) == 35
    assert set(np.diff(y)) == {1.0, -9.0}


@pytest.mark.parametrize("sounds", [[np.zeros(0)], []])
def test_nothing_to_crop_is_refused(sounds):
    with pytest.raises(InputError):
        degrade.random_crop(sounds, 5, rng())


def test_babble_has_unit_rms(words):
    y = degrade.babble([words, words[::-1]], 8000, rng())
    assert len(y) == 8000
    assert rms(y) == pytest.approx(1, abs=1e-3)
    assert np.isfinite(degrade.babble([np.zeros(50)], 100, rng())).all()


def test_the_equaliser_keeps_the_level(words):
    y = degrade.random_eq(words, rng())
    assert rms(y) == pytest.approx(rms(words), rel=1e-3)
    assert fidelity.snr(words, y) < 20
    silence = np.zeros(64, np.float32)
    assert np.array_equal(degrade.random_eq(silence, rng()), silence)


@pytest.mark.parametrize("clip_db", [3.0, 15.0])
def test_hard_clipping_says_what_it_clipped(words, clip_db):
    y, mask = degrade.hard_clip(words, clip_db=clip_db)
    peak_ratio = np.abs(y).max() / np.abs(words).max()
    assert amplitude_to_db(peak_ratio) == pytest.approx(-clip_db, abs=1e-3)
    assert np.array_equal(y[~mask], words[~mask])
    assert (np.abs(words[mask]) > np.abs(y[mask])).all()
    assert (np.sign(words[mask]) == np.sign(y[mask])).all()


def test_clipping_leaves_silence_alone():
    silence = np.zeros(5, np.float32)
    clipped, mask = degrade.hard_clip(silence, clip_db=6.0)
    assert np.array_equal(clipped, silence)
    assert not mask.any()
    assert np.array_equal(degrade.soft_clip(silence, drive_db=12.0), silence)


Y = np.sin(np.arange(8000) / 7).astype(np.float32)
NOT_A_SOUND = {
    "nan": np.where(np.arange(8000) == 5, np.nan, Y),
    "stereo": np.stack([Y, Y]),
    "int16": (Y * 30000).astype(np.int16),
    "empty": Y[:0],
    "number": np.float32(1),
    "huge": 1e39 * Y.astype(float),
}
FUNCTIONS = {  # name -> a function of a sound
    "add_noise to": lambda y: degrade.add_noise(y, Y, snr_db=0.0),
    "add_noise of": lambda y: degrade.add_noise(Y, y, snr_db=0.0),
    "random_eq": lambda y: degrade.random_eq(y, rng()),
    "hard_clip": lambda y: degrade.hard_clip(y, clip_db=6.0),
    "soft_clip": lambda y: degrade.soft_clip(y, drive_db=6.0),
    "band_limit": lambda y: degrade.band_limit(y, SR, cutoff=2000),
    "quantize": lambda y: degrade.quantize(y, bits=8),
    "apply_codec": lambda y: degrade.apply_codec(y, SR),
    "dropouts": lambda y: degrade.dropouts(y, SR, rng()),
    "convolve_rir of": lambda y: degrade.convolve_rir(y, Y[:9]),
    "convolve_rir with": lambda y: degrade.convolve_rir(Y, y),
    "apply_degradation": lambda y: degrade.apply_degradation(y, SR, "hard_clip"),
    "random_crop": lambda y: degrade.random_crop([y], 9, rng()),
}


@pytest.mark.parametrize("y", NOT_A_SOUND.values(), ids=NOT_A_SOUND)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_no_sound_is_refused(name, y):
    with pytest.raises(InputError) as error:
        FUNCTIONS[name](y)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: degrade.add_noise(Y, Y, snr_db=np.nan),
        lambda: degrade.coloured_noise(0, SR, rng()),
        lambda: degrade.coloured_noise(9, -1, rng()),
        lambda: degrade.coloured_noise(9, SR, rng(), slope_db=np.nan),
        lambda: degrade.coloured_noise(99, SR, rng(), fmin=4001),
        lambda: degrade.mains_hum(99, 0, rng()),
        lambda: degrade.mains_hum(99, SR, rng(), freq=1e-6),
        lambda: degrade.mains_hum(99, SR, rng(), freq=5000.0),
        lambda: degrade.random_crop(Y, 9, rng()),
        lambda: degrade.babble([Y], 9, rng(), talkers=0),
        lambda: degrade.random_eq(Y, rng(), std_db=np.nan),
        lambda: degrade.random_eq(Y, rng(), n_points=1),
        lambda: degrade.hard_clip(Y, clip_db=-6),
        lambda: degrade.soft_clip(Y, drive_db=1e4),
        lambda: degrade.band_limit(Y, SR, cutoff=0.2),
        lambda: degrade.quantize(Y, bits=4.5),
        lambda: degrade.quantize(Y, bits=8, mu_law=True, mu=0),
        lambda: degrade.apply_codec(Y * 1e30, SR),
        lambda: degrade.apply_codec(Y, 0),
        lambda: degrade.apply_codec(Y, "8000"),
        lambda: degrade.dropouts(Y, SR, rng(), count=0),
        lambda: degrade.dropouts(Y, SR, rng(), count=1.5),
        lambda: degrade.dropouts(Y, SR, rng(), count=2, shortest=0.2, longest=0.1),
        lambda: degrade.dropouts(Y, SR, rng(), count=2, spacing=-1),
        lambda: degrade.dropouts(Y, -8000, rng()),
        lambda: degrade.synthetic_rir(SR, rng(), t60=0),
        lambda: degrade.synthetic_rir(0, rng()),
        lambda: degrade.synthetic_rir(SR, rng(), drr_db=np.nan),
        lambda: degrade.apply_degradation(Y, SR, "hard_clip", seed=-1),
        lambda: degrade.apply_degradation(Y, SR, "hard_clip", seed=1.5),
        lambda: degrade.apply_degradation(Y, SR, "hard_clip", seed=None),
        lambda: degrade.apply_degradation(Y, SR, "hard_clip", seed="a"),
        lambda: degrade.apply_degradation(Y, None, "noise"),
    ],
)
def test_settings_that_make_no_sense_are_refused(call):
    with pytest.raises(InputError) as error:
        call()
    assert "\n" not in str(error.value)


def test_a_seed_may_be_several_numbers():
    a, b, c, d, e = (
        degrade.apply_degradation(Y, SR, "noise", seed=seed)[0]
        for seed in ((3, 7), (3, 7), (3, 8), 4, (4,))
    )
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert np.array_equal(d, e)


def test_soft_clipping_can_be_undone(words):
    peak = np.abs(words).max()
    gain = 10 ** (12 / 20) / peak
    y = degrade.soft_clip(words, drive_db=12.0)
    assert np.abs(y).max() == pytest.approx(peak, rel=1e-5)
    undone = np.arctanh(y.astype(float) * np.tanh(gain * peak) / peak) / gain
    assert np.allclose(undone, words, atol=1e-4)


@pytest.mark.parametrize("sr, cutoff", [(8000, 2000), (16000, 4000), (44100, 5513.3)])
def test_band_limiting_removes_the_top_and_moves_nothing(sr, cutoff):
    y = degrade.coloured_noise(2 * sr, sr, rng())
    z = degrade.band_limit(y, sr, cutoff=cutoff)
    freq = np.fft.rfftfreq(2 * sr, 1 / sr)

    def power_above(v):
        return power_spectrum(v * np.hanning(len(v)))[freq > 1.1 * cutoff].sum()

    def lowpass(v):
        return np.fft.irfft(np.fft.rfft(v) * (freq < 0.85 * cutoff), len(y))

    assert len(z) == len(y)
    assert power_above(z) < 1e-5 * power_above(y)
    assert fidelity.estimate_delay(y, z) == 0
    assert np.corrcoef(lowpass(y), lowpass(z))[0, 1] > 0.999
    for wrong in (0, sr / 2, np.nan):
        with pytest.raises(InputError):
            degrade.band_limit(y, sr, cutoff=wrong)


RAMP = np.linspace(-1, 1, 10001, dtype=np.float32)


@pytest.mark.parametrize("mu_law", [False, True])
def test_quantisation_levels(mu_law):
    once = degrade.quantize(RAMP, bits=6, mu_law=mu_law)
    assert len(np.unique(degrade.quantize(RAMP, bits=3, mu_law=mu_law))) == 7
    assert np.allclose(degrade.quantize(once, bits=6, mu_law=mu_law), once, atol=1e-6)
    assert np.allclose(degrade.quantize(-RAMP, bits=6, mu_law=mu_law), -once)
    assert degrade.quantize(np.zeros(1), bits=6, mu_law=mu_law)[0] == 0


def test_quantisation_error():
    assert np.abs(degrade.quantize(RAMP, bits=8) - RAMP).max() <= 0.5 / 127 + 1e-6
    quiet = 0.01 * RAMP
    even = fidelity.snr(quiet, degrade.quantize(quiet, bits=8))
    mu_law = fidelity.snr(quiet, degrade.quantize(quiet, bits=8, mu_law=True))
    assert mu_law > even + 10


@pytest.mark.parametrize("bits", [1, 17])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(InputError):
        degrade.quantize(RAMP, bits=bits)


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
def test_codecs_do_not_delay(words, name, sr):
    y = audio.resample(words, SR, sr)
    smallest = degrade.apply_codec(y, sr, name=name)
    best = degrade.apply_codec(y, sr, name=name, compression_level=0.0)
    assert smallest.shape == y.shape
    assert abs(fidelity.estimate_delay(y, smallest)) <= 2e-4 * sr
    assert fidelity.snr(y, smallest) < fidelity.snr(y, best)
    assert fidelity.snr(y, best) > 10


def test_a_long_sound_does_not_overflow_vorbis():
    y = np.tile(0.1 * np.sin(np.arange(48000) / 9).astype(np.float32), 60)
    assert degrade.apply_codec(y, SR, name="vorbis").shape == y.shape


@pytest.mark.parametrize(
    "options", [{"name": "flac"}, {"compression_level": 1.5}, {"compression_level": -1}]
)
def test_codecs_say_what_they_cannot(options):
    with pytest.raises(InputError) as error:
        degrade.apply_codec(np.zeros(800, np.float32), SR, **options)
    assert "\n" not in str(error.value)


def runs(mask):
    "(value, length) of every run."
    return [(value, len(list(group))) for value, group in itertools.groupby(mask)]


def test_dropouts_keep_their_distance(words):
    for seed in range(20):
        y, mask = degrade.dropouts(
            words, SR, rng(seed), count=3, shortest=0.02, longest=0.1, spacing=0.05
        )
        assert [value for value, _ in runs(mask)] == [False, True] * 3 + [False]
        assert all(160 <= n <= 800 for is_dropout, n in runs(mask) if is_dropout)
        assert all(n >= 400 for is_dropout, n in runs(mask) if not is_dropout)
        assert (y[mask] == 0).all()
        assert np.array_equal(y[~mask], words[~mask])


def test_dropouts_that_do_not_fit_are_refused(words):
    with pytest.raises(InputError, match="fewer or shorter"):
        degrade.dropouts(words[:1000], SR, rng(), count=3)


def test_dropouts_without_spacing_stay_apart(words):
    for seed in range(50):
        _, mask = degrade.dropouts(words[:4000], SR, rng(seed), count=10, spacing=0.0, longest=0.03)
        assert np.sum(np.diff(mask.astype(int)) == 1) == 10


@pytest.mark.parametrize("t60", [0.2, 0.8])
def test_rooms_decay_as_asked(t60):
    for seed in range(3):
        rir = degrade.synthetic_rir(SR, rng(seed), t60=t60, drr_db=0.0)
        energy = np.cumsum(rir[::-1].astype(float) ** 2)[::-1]
        remaining_db = 10 * np.log10(energy / np.sum(rir**2) + 1e-12)
        at = np.flatnonzero((remaining_db < -10) & (remaining_db > -35))
        slope = np.polyfit(at / SR, remaining_db[at], 1)[0]
        assert -60 / slope == pytest.approx(t60, rel=0.25)
        assert rir[0] == 1
        assert np.sum(rir[1:] ** 2) == pytest.approx(1, rel=1e-3)


def band_t60(sr, low, high, t60=0.4):
    "Reverberation time of a band, from the mean power of twelve rooms in windows of 16 ms."
    n = int(0.016 * sr)
    freq = np.fft.rfftfreq(n, 1 / sr)
    power = 0.0
    for seed in range(12):
        rir = degrade.synthetic_rir(sr, rng(seed), t60=t60)[int(0.06 * sr) :]
        frames = rir[: len(rir) // n * n].reshape(-1, n) * np.hanning(n)
        power = power + power_spectrum(frames)[:, (freq > low) & (freq < high)].sum(1)
    level_db = 10 * np.log10(power)
    at = np.flatnonzero(level_db > level_db[0] - 35)
    return -60 / np.polyfit(at * n / sr, level_db[at], 1)[0]


@pytest.mark.parametrize("sr", [8000, 44100])
def test_high_frequencies_decay_twice_as_fast(sr):
    assert band_t60(sr, 300, 1800) == pytest.approx(0.4, rel=0.1)
    assert band_t60(sr, 2300, sr / 2) == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize("sr", [8000, 44100])
def test_early_reflections_have_a_fifth_of_the_energy(sr):
    for seed in range(20):
        rir = degrade.synthetic_rir(sr, rng(seed), t60=0.4)
        reflections = np.sort(rir[1 : int(0.03 * sr)] ** 2)[-6:].sum()
        assert 0.1 < reflections / np.sum(rir[1:] ** 2) < 0.35


def test_reverberation_keeps_the_sound_in_place(words):
    direct_only = np.array([1.0])
    assert np.allclose(degrade.convolve_rir(words, direct_only), words, atol=1e-6)
    reverberant = degrade.convolve_rir(words, degrade.synthetic_rir(SR, rng(), t60=0.4))
    assert reverberant.shape == words.shape
    assert fidelity.estimate_delay(words, reverberant) == 0


@pytest.mark.parametrize("kind", degrade.DEGRADATIONS)
@pytest.mark.parametrize("sr", [8000, 16000, 44100])
def test_every_kind_by_seed(words, kind, sr):
    y = audio.resample(words, SR, sr)

    def apply(seed):
        return degrade.apply_degradation(y, sr, kind, seed=seed, noises=[y[::-1]], voices=[y])

    results = [apply(seed) for seed in range(4)]
    assert np.array_equal(results[3][0], apply(3)[0])
    assert len({out.tobytes() for out, _ in results}) > 1
    for out, done in results:
        assert (out.shape, out.dtype, done.kind) == (y.shape, np.float32, kind)
        assert np.isfinite(out).all()
        assert done.settings
        if done.mask is not None:
            assert np.array_equal(out[~done.mask], y[~done.mask])
            assert done.mask.any()
        if done.noise is not None:
            assert np.array_equal(y + done.noise, out)


def test_settings_bear_the_names_of_the_parameters(words):
    expected = {
        "noise": {"source", "snr_db"},
        "hard_clip": {"clip_db"},
        "soft_clip": {"drive_db"},
        "band_limit": {"cutoff"},
        "dropouts": {"missing"},
        "quantize": {"bits", "mu_law"},
        "codec": {"name", "compression_level"},
        "reverb": {"t60", "drr_db"},
    }
    settings = {
        kind: set(degrade.apply_degradation(words, SR, kind)[1].settings)
        for kind in degrade.DEGRADATIONS
    }
    assert settings == expected


# a codec drops what is too quiet to hear
@pytest.mark.parametrize("kind", sorted(set(degrade.DEGRADATIONS) - {"codec"}))
def test_the_level_does_not_matter(words, kind):
    loud, quiet = (
        degrade.apply_degradation(level * words, SR, kind, seed=1)[0] / level
        for level in (1.0, 1e-3)
    )
    assert np.allclose(loud, quiet, atol=2e-3)


def test_short_sounds_have_their_dropout(words):
    for seed in range(20):
        assert degrade.apply_degradation(words[:1100], SR, "dropouts", seed=seed)[1].mask.any()


def test_noise_reports_its_true_snr(words):
    for seed in range(12):
        y, done = degrade.apply_degradation(words, SR, "noise", seed=seed)
        assert fidelity.snr(words, y) == pytest.approx(done.settings["snr_db"], abs=0.01)


def test_silent_recordings_do_not_stop_a_training(words):
    silence = [np.zeros(100)]
    for seed in range(12):
        y, done = degrade.apply_degradation(
            words, SR, "noise", seed=seed, noises=silence, voices=silence
        )
        assert np.isfinite(y).all()
        assert done.settings["source"] in {*degrade.COLOURS, "mains_hum"}


@pytest.mark.parametrize(
    "kind, y",
    [
        ("rust", np.ones(800)),
        ("noise", np.zeros(800)),
        ("dropouts", np.ones(100)),
        ("noise", np.zeros(0)),
    ],
)
def test_what_cannot_be_degraded_is_named(kind, y):
    with pytest.raises(InputError) as error:
        degrade.apply_degradation(y, SR, kind)
    assert "\n" not in str(error.value)
