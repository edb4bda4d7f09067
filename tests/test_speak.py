"""Words, joins and seeds."""
import numpy as np
import pytest

from gan_audio_tut import audio, speak


def test_same_seed_same_samples():
    a, sr = speak.generate("42", seed=9)
    assert sr == 8000 and a.dtype == np.float32 and a.ndim == 1
    assert np.array_equal(a, speak.generate("42", seed=9)[0]) and not np.array_equal(a, speak.generate("42", seed=10)[0])


def test_no_click_at_joins_or_ends():
    rng = np.random.default_rng(0)
    words = [0.3 * np.sin(2 * np.pi * rng.uniform(100, 300) * np.arange(n) / 8000 + rng.uniform(0, 6)).astype(np.float32) for n in (900, 1703, 2501)]
    y = speak.join(words, 8000)
    assert y[0] == y[-1] == 0
    jump = np.abs(np.diff(y)).max()
    assert jump < 2 * np.abs(y).max() * 2 * np.pi * 300 / 8000  # no step beyond the steepest slope of the sine itself


def test_words_have_one_level():
    loud = audio.tone(200, 0.4, 8000, 0.9)
    y = speak.join([loud, 0.01 * loud], 8000, gap=0.1)
    a, b = (audio.to_db(audio.rms(audio.trim(part, 8000))) for part in (y[: len(y) // 2], y[len(y) // 2 :]))
    assert abs(a - b) < 0.5


@pytest.mark.parametrize("text", ["", "x", "1 2", "-1", "²"])
def test_unspeakable(text):
    with pytest.raises(audio.InputError): speak.generate(text)


def test_a_drum_keeps_its_attack():
    from gan_audio_tut import datasets
    for kind in datasets.DRUMS:
        hit = audio.set_level(datasets.drum_hit(kind, 3))
        said = speak.join([hit], 16000, gap=0)
        early = lambda y: 10 * np.log10(np.sum(audio.trim(y, 16000, 35)[:160] ** 2) / np.sum(y**2))  # share of the energy in the first 10 ms
        assert early(said) > early(hit) - 1, kind
