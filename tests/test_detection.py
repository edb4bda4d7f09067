import numpy as np
import pytest

from gan_audio_tut import audio, datasets, degrade
from gan_audio_tut.audio import InputError
from gan_audio_tut.detection import detect_damage, find_dropouts


def story(seconds=8, sr=8000, seed=0):
    "Bursts of tones over a soft hiss."
    rng, n = np.random.default_rng(seed), round(seconds * sr)
    t = np.arange(n) / sr
    y = (
        0.2
        * np.sin(2 * np.pi * (200 + 40 * np.sin(3 * t)) * t)
        * (np.sin(2 * np.pi * 0.7 * t) > -0.3)
        * rng.uniform(0.3, 1, 200)[np.minimum((t * 20).astype(int), 199)]
    )
    return (y + 2e-3 * rng.standard_normal(n)).astype(np.float32)


@pytest.mark.parametrize("below", [3, 6, 9, 15])
@pytest.mark.parametrize("sr", [8000, 44100])
def test_clipping_is_found_where_it_is(below, sr):
    y = story(sr=sr)
    clipped, lost = degrade.hard_clip(y, below)
    low, high = detect_damage([clipped[None]], sr).limits[0]
    assert np.array_equal(
        (clipped <= low) | (clipped >= high), np.abs(clipped) >= 0.999 * np.abs(clipped).max()
    )


def test_one_side_alone_and_one_channel_alone():
    y = story()
    one_side = np.minimum(y, 0.5 * y.max())
    found = detect_damage([np.stack([y, one_side])], 8000)
    assert found.clip_levels[0] == (-np.inf, np.inf)
    assert (
        found.clip_levels[1][0] == -np.inf
        and abs(found.clip_levels[1][1] / (0.5 * y.max()) - 0.999) < 1e-4
    )


@pytest.mark.parametrize("bits", [8, 12])
def test_coarse_numbers_are_no_clipping(bits):
    y = story()
    step = np.abs(y).max() / 2 ** (bits - 1)
    assert detect_damage([np.round(y / step)[None] * step], 8000).limits[0] == (-np.inf, np.inf)


def test_what_is_certain_needs_no_wall():
    y = story()
    assert detect_damage([y[None]], 8000).tops[0] == pytest.approx(
        (0.999 * y.min(), 0.999 * y.max())
    )


@pytest.mark.parametrize("highest", [1000, 2000, 3000])
def test_the_end_of_the_band(highest):
    assert (
        abs(
            detect_damage([degrade.band_limit(story(), 8000, highest)[None]], 8000).highest
            - highest
        )
        < 0.1 * highest
    )
    assert detect_damage([story()[None]], 8000).highest > 3900


def test_a_hole_is_found_across_pieces():
    y = story()
    y[35200:35600] = 0
    for cuts in ([], [35400], [35201, 35599], [35199, 35200, 35600]):
        assert detect_damage(np.split(y[None], cuts, 1), 8000).holes == 1
    assert np.flatnonzero(
        find_dropouts(y, 8000, detect_damage([y[None]], 8000).beside)
    ).tolist() == list(range(35200, 35600))


def test_long_zeros_are_pauses_and_the_ends_are_nothing():
    y = story()
    y[20000:24000] = 0
    found = detect_damage([np.pad(y, (4000, 9000))[None]], 8000)
    assert (found.dropouts, found.digital_silences) == (0, 1)


def test_the_level_does_not_hear_silence():
    y = story()
    a, b = (
        detect_damage([y[None]], 8000).level,
        detect_damage([np.pad(y, (0, 80000))[None]], 8000).level,
    )
    assert abs(a / b - 1) < 0.01


@pytest.mark.parametrize(
    "y", [np.zeros((1, 20000)), np.zeros((2, 0)), np.zeros((1, 1)), np.ones((12, 5))]
)
def test_silence_and_next_to_nothing(y):
    found = detect_damage([y.astype(np.float32)], 8000)
    assert (
        found.samples == y.shape[1]
        and found.dropouts == found.digital_silences == 0
        and np.isfinite(found.level)
    )


def test_nothing_at_all_is_refused():
    with pytest.raises(InputError, match="at least one piece"):
        detect_damage([], 8000)


@pytest.mark.parametrize(
    "piece, sr, why",
    [
        (np.full((1, 99), np.nan), 8000, "finite"),
        (np.full((1, 99), np.inf), 8000, "finite"),
        (np.zeros(99), 8000, "channels"),
        (np.zeros((1, 99)), 0, "100 or more"),
    ],
)
def test_what_is_no_piece(piece, sr, why):
    with pytest.raises(InputError, match=why):
        detect_damage([piece], sr)


def test_soft_noise_of_few_steps_is_not_clipped():
    y = np.round(3 * np.clip(np.random.default_rng(0).standard_normal(80000) / 3, -1, 1)) / 128
    assert detect_damage([y[None].astype(np.float32)], 8000).limits[0] == (-np.inf, np.inf)


def test_what_falls_slowly_has_no_end():
    for slope in (-6, -9):
        y = degrade.coloured_noise(441000, 44100, np.random.default_rng(0), slope)
        assert detect_damage([0.1 * y[None]], 44100).highest == 22050


def test_an_offset_is_no_band():
    y = degrade.band_limit(story(), 8000, 2000)
    assert detect_damage([y[None] + 0.2], 8000).highest == detect_damage([y[None]], 8000).highest


@pytest.mark.parametrize("lead", [8000, 19000, 40000])
def test_leading_zeros_are_no_pause(lead):
    found = detect_damage([np.pad(story(), (lead, 0))[None]], 8000)
    assert (found.dropouts, found.digital_silences) == (0, 0)


@pytest.mark.parametrize("bad", [np.zeros((2, 99), np.float32), np.zeros(99, np.int16)])
def test_holes_wants_one_channel_of_floats(bad):
    with pytest.raises(InputError, match="one channel"):
        find_dropouts(bad, 8000, 0.1)


def test_whatever_the_pieces():
    rng, y = np.random.default_rng(0), np.stack([story(20), story(20, seed=1)])
    whole = detect_damage([y], 8000)
    for _ in range(5):
        parts = detect_damage(np.split(y, np.sort(rng.integers(0, y.shape[1], 40)), 1), 8000)
        assert all(
            getattr(whole, k) == getattr(parts, k)
            for k in ("samples", "level", "limits", "tops", "highest", "holes", "pauses")
        )
        assert len(whole.excerpts) == len(parts.excerpts) == 10


def test_moments_of_an_hour_are_sixteen_at_most():
    hour = (0.1 * np.ones((1, 16000), np.float32) * k for k in range(1800))
    found = detect_damage(hour, 8000)
    at = [round(float(m[0, 0]) * 10) for m in found.excerpts]
    assert 8 <= len(at) <= 16 and np.ptp(np.diff(at)) == 0 and at[-1] > 1600


@pytest.mark.parametrize("sr", [8000, 16000])
def test_on_real_words_no_clean_string_is_clipped_and_nine_in_ten_are_found(real_data, sr):
    clips, rng, found = (
        datasets.fsdd("train+valid+test", real_data / "fsdd"),
        np.random.default_rng(0),
        {},
    )
    for voice, name in enumerate(clips.speaker_names):
        words = [np.trim_zeros(y, "b") for y in clips.audio[clips.speakers == voice]]
        for _ in range(12):
            y = audio.resample(
                np.concatenate([words[k] for k in rng.integers(len(words), size=5)]), clips.sr, sr
            )
            found.setdefault(name, []).append(
                [
                    np.isfinite(detect_damage([x[None]], sr).limits[0]).any()
                    for x in (y, degrade.hard_clip(y, 3.0)[0])
                ]
            )
    share = {name: np.mean(v, 0) for name, v in found.items()}
    assert all(clean == 0 for clean, _ in share.values())
    assert all(
        clipped >= 0.9 for name, (_, clipped) in share.items() if (name, sr) != ("nicolas", 8000)
    )  # his peaks are some 40 steps high


def test_silent_pauses_make_holes_doubtful():
    y = story()
    y[20000:20400] = 0
    hissing, silent = (
        detect_damage([y[None]], 8000),
        detect_damage([np.where(np.arange(len(y)) // 8000 == 4, 0, y)[None]], 8000),
    )
    assert (
        hissing.digital_silences == 0
        and hissing.beside == 0
        and find_dropouts(y, 8000, hissing.beside)[20000:20400].all()
    )
    assert silent.digital_silences == 1 and abs(silent.beside / silent.level - 0.7) < 1e-6


@pytest.mark.parametrize("offset", [0.0, 0.02, -0.3])
def test_an_offset_is_found_and_is_no_loudness(offset):
    rng = np.random.default_rng(0)
    y = datasets.digits("test").audio[:10].reshape(-1) + 1e-3 * degrade.coloured_noise(
        10 * datasets.digits("test").audio.shape[1], 8000, rng, -3
    )
    a, b = (detect_damage([np.stack([v, y])], 8000) for v in (y, y + np.float32(offset)))
    assert abs(b.dc_offset[0] - offset) < 0.05 * a.level and abs(b.dc_offset[1]) < 0.05 * a.level
    assert b.level == pytest.approx(a.level, rel=1e-3)


def test_words_with_an_offset_and_silence_between_them_have_none_in_common():
    y = np.zeros(32000, np.float32)
    for k in range(0, 32000, 8000):
        y[k : k + 6000] = 0.05 + 0.1 * np.random.default_rng(k).standard_normal(6000)
    assert detect_damage([y[None]], 8000).offset == (0.0,)
