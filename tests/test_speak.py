"""Words, joins and seeds."""

import json
import shutil

import keras
import numpy as np
import pytest

from gan_audio_tut import audio, datasets, metrics, speak, specgan, training, weights

WRONG = [{"seed": 1.5}, {"seed": None}, {"seed": "3"}, {"seed": 2**70}]
WRONG += [{"shared_latent": v} for v in ("x", None, -0.1, 1.1, float("nan"))]


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_settings_are_named(wrong):
    (name,) = wrong
    with pytest.raises(audio.InputError, match=name):
        speak.generate("4", **wrong)


def test_same_seed_same_samples():
    y, sr = speak.generate("42", seed=9)
    assert sr == 8000 and y.dtype == np.float32 and y.ndim == 1
    assert np.array_equal(y, speak.generate("42", seed=9)[0])
    assert not np.array_equal(y, speak.generate("42", seed=10)[0])


def test_no_click_at_joins_or_ends():
    rng = np.random.default_rng(0)
    words = []
    for n in (900, 1703, 2501):
        cycles = rng.uniform(100, 300) * np.arange(n) / 8000
        words.append((0.3 * np.sin(2 * np.pi * cycles + rng.uniform(0, 6))).astype(np.float32))
    y = speak.concatenate_words(words, 8000)
    assert y[0] == y[-1] == 0
    steepest = np.abs(y).max() * 2 * np.pi * 300 / 8000  # slope of the sine itself
    assert np.abs(np.diff(y)).max() < 2 * steepest


def test_words_have_one_level():
    loud = audio.tone(200, 0.4, 8000, amplitude=0.9)
    y = speak.concatenate_words([loud, 0.01 * loud], 8000, pause=0.1)
    halves = y[: len(y) // 2], y[len(y) // 2 :]
    first, second = (audio.amplitude_to_db(audio.rms(audio.trim(h, 8000))) for h in halves)
    assert abs(first - second) < 0.5


@pytest.mark.parametrize("text", ["", "x", "1 2", "-1", "²"])
def test_what_cannot_be_said(text):
    with pytest.raises(audio.InputError):
        speak.generate(text)


def early_energy_db(y, sr=16000):
    "Share of the energy that lies in the first 10 ms of the sound, in dB."
    start = audio.trim(y, sr, top_db=35)[: sr // 100]
    return 10 * np.log10(np.sum(start**2) / np.sum(y**2))


@pytest.mark.parametrize("kind", datasets.DRUMS)
def test_a_drum_keeps_its_attack(kind):
    hit = audio.normalize_rms(datasets.drum_hit(kind, 3))
    joined = speak.concatenate_words([hit], 16000, pause=0)
    assert early_energy_db(joined) > early_energy_db(hit) - 1


@pytest.fixture(scope="module")
def identity():
    "A generator that returns the z it is given."
    z = keras.Input((64,))
    return keras.Model(z, keras.layers.Identity()(z))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 1.0])
def test_shared_latents_stay_standard_normal(identity, share):
    draws = [specgan.sample(identity, np.zeros(4), s, shared_latent=share) for s in range(300)]
    draws = np.stack(draws)  # (300, 4, 64)
    assert abs(draws.std() - 1) < 0.02 and abs(draws.mean()) < 0.02
    assert abs(np.mean(draws[:, 0] * draws[:, 1]) - share) < 0.03


def test_without_a_shared_latent_the_draw_is_the_plain_one(identity):
    plain = training.sample_latent(5, 0, 4, 64, stream=14)
    assert np.array_equal(specgan.sample(identity, np.zeros(4), 5), plain)


def speaker_counts(generator, classifier, share):
    "How often each speaker is found in the ten digits of each seed: (12, 5)."
    counts = []
    for seed in range(12):
        words = specgan.sample(generator, np.arange(10), seed, shared_latent=share)
        found = metrics.predict_features(classifier, words)["speaker"].argmax(1)
        counts.append(np.bincount(found, minlength=5))
    return np.stack(counts)


def test_a_shared_latent_keeps_the_speaker():
    "Most of ten digits are by one speaker, and several seeds have several speakers."
    generator = weights.load_model(speak.DEFAULT_MODEL)
    classifier = weights.load_model("classifier-8k")
    shared = speaker_counts(generator, classifier, 0.99)
    independent = speaker_counts(generator, classifier, 0.0)
    assert shared.max(1).mean() > 7 > independent.max(1).mean() + 1
    assert len(set(shared.argmax(1))) >= 3


def same_word_twice(share):
    y, sr = speak.generate("22", seed=4, shared_latent=share)
    pause = int(0.06 * sr)
    n = (len(y) - 3 * pause) // 2
    return y[pause : pause + n], y[-pause - n : -pause]


def test_a_word_said_twice_differs():
    assert np.allclose(*same_word_twice(1.0), atol=1e-5)
    assert not np.allclose(*same_word_twice(0.99), atol=1e-2)


def silence(seconds):
    return np.zeros(int(8000 * seconds), np.float32)


@pytest.mark.parametrize("seed", range(20))
def test_a_word_ends_at_a_long_pause(seed):
    rng = np.random.default_rng(seed)
    vowel = audio.tone(rng.uniform(100, 400), rng.uniform(0.1, 0.4), 8000)
    closure = silence(rng.uniform(0, 0.15))
    before, after = silence(rng.uniform(0, 0.2)), silence(rng.uniform(0.25, 0.6))
    tick = 0.2 * vowel[:160]
    y = np.concatenate([before, vowel, closure, 0.3 * vowel, after, tick])
    word = speak.trim_word(y, 8000)
    assert abs(len(word) - 2 * len(vowel) - len(closure)) <= 240  # to the frame, at each end


def test_no_word_in_silence():
    assert len(speak.trim_word(silence(1), 8000)) == len(speak.trim_word(silence(0), 8000)) == 0


@pytest.mark.parametrize("model", ["voice-8k", "specgan-8k"])
def test_no_take_has_a_long_pause(model):
    "A tick behind a word must not keep the silence before it."
    for seed in range(20):
        y, _ = speak.generate("2026", seed=seed, model=model)
        level = audio.amplitude_to_db(audio.rms(y[: len(y) // 80 * 80].reshape(-1, 80)))
        active = np.flatnonzero(level > level.max() - 35)
        assert np.diff(active).max() <= 26, seed


DAMAGED = [
    {"mel": {"sr": 8000, "bogus": 1}},
    {"classes": [0, 1]},
    {"classes": None},
    {"classes": []},
    {"vocoder": "voice-8k"},
    {"vocoder": "vocoder-16k"},
    {"vocoder": "nope"},
]


@pytest.mark.parametrize("change", DAMAGED, ids=str)
def test_a_damaged_card_is_named(tmp_path, change):
    shutil.copy(weights.resolve_model("specgan-8k"), tmp_path / "generator.keras")
    card = {k: weights.model_card("specgan-8k")[k] for k in ("mel", "classes")}
    (tmp_path / "config.json").write_text(json.dumps(card | change))
    with pytest.raises(audio.InputError):
        speak.generate("1", model=tmp_path)
