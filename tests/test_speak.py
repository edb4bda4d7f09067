"""Words, joins and seeds."""

import numpy as np
import pytest

from gan_audio_tut import audio, metrics, speak, specgan, training, weights


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": 1.5},
        {"seed": None},
        {"seed": "3"},
        {"seed": 2**70},
        {"alike": "x"},
        {"alike": None},
        {"alike": 1.1},
    ],
)
def test_seeds_and_shares_that_are_none(wrong):
    with pytest.raises(audio.InputError):
        speak.generate("4", **wrong)


def test_same_seed_same_samples():
    a, sr = speak.generate("42", seed=9)
    assert sr == 8000 and a.dtype == np.float32 and a.ndim == 1
    assert np.array_equal(a, speak.generate("42", seed=9)[0]) and not np.array_equal(
        a, speak.generate("42", seed=10)[0]
    )


def test_no_click_at_joins_or_ends():
    rng = np.random.default_rng(0)
    words = [
        0.3
        * np.sin(
            2 * np.pi * rng.uniform(100, 300) * np.arange(n) / 8000 + rng.uniform(0, 6)
        ).astype(np.float32)
        for n in (900, 1703, 2501)
    ]
    y = speak.concatenate_words(words, 8000)
    assert y[0] == y[-1] == 0
    jump = np.abs(np.diff(y)).max()
    assert (
        jump < 2 * np.abs(y).max() * 2 * np.pi * 300 / 8000
    )  # no step beyond the steepest slope of the sine itself


def test_words_have_one_level():
    loud = audio.tone(200, 0.4, 8000, amplitude=0.9)
    y = speak.concatenate_words([loud, 0.01 * loud], 8000, gap=0.1)
    a, b = (
        audio.amplitude_to_db(audio.rms(audio.trim(part, 8000)))
        for part in (y[: len(y) // 2], y[len(y) // 2 :])
    )
    assert abs(a - b) < 0.5


@pytest.mark.parametrize("text", ["", "x", "1 2", "-1", "²"])
def test_unspeakable(text):
    with pytest.raises(audio.InputError):
        speak.generate(text)


def test_a_drum_keeps_its_attack():
    from gan_audio_tut import datasets

    for kind in datasets.DRUMS:
        hit = audio.normalize_rms(datasets.drum_hit(kind, 3))
        said = speak.concatenate_words([hit], 16000, gap=0)
        early = lambda y: (
            10 * np.log10(np.sum(audio.trim(y, 16000, top_db=35)[:160] ** 2) / np.sum(y**2))
        )  # share of the energy in the first 10 ms
        assert early(said) > early(hit) - 1, kind


def test_alike_draws_are_still_standard_normal_and_share_what_they_should():
    import keras

    z = keras.Input((64,))
    pure = keras.Model(z, keras.layers.Identity()(z))  # shows the z it is given
    for alike in (0.0, 0.5, 0.9, 1.0):
        draws = np.stack(
            [specgan.sample(pure, np.zeros(4), seed, shared_latent=alike) for seed in range(300)]
        )  # (300, 4, 64)
        assert abs(draws.std() - 1) < 0.02 and abs(draws.mean()) < 0.02
        assert abs(np.mean(draws[:, 0] * draws[:, 1]) - alike) < 0.03
    assert np.array_equal(
        specgan.sample(pure, np.zeros(4), 5), training.sample_latent(5, 0, 4, 64, stream=14)
    )  # without it, as ever


def test_a_shared_z_keeps_the_speaker():
    "The listener hears most of ten digits in one voice, and several voices from several seeds."
    voice, ear = weights.load_model(speak.DEFAULT_MODEL), weights.load_model("classifier-8k")

    def who(alike):
        return [
            np.bincount(
                metrics.predict_features(
                    ear, specgan.sample(voice, np.arange(10), seed, shared_latent=alike)
                )["speaker"].argmax(1),
                minlength=5,
            )
            for seed in range(12)
        ]

    one, many = who(0.99), who(0.0)
    assert np.mean([c.max() for c in one]) > 7 > np.mean([c.max() for c in many]) + 1
    assert len({c.argmax() for c in one}) >= 3


def test_a_word_said_twice_differs():
    def twice(alike):
        y, sr = speak.generate("22", seed=4, shared_latent=alike)
        gap = int(0.06 * sr)
        n = (len(y) - 3 * gap) // 2
        return y[gap : gap + n], y[-gap - n : -gap]

    assert np.allclose(*twice(1.0), atol=1e-5) and not np.allclose(*twice(0.99), atol=1e-2)


def test_a_word_is_what_no_long_silence_interrupts():
    rng, quiet = np.random.default_rng(0), lambda seconds: np.zeros(int(8000 * seconds), np.float32)
    for _ in range(20):
        word, stop = (
            audio.tone(rng.uniform(100, 400), rng.uniform(0.1, 0.4), 8000),
            quiet(rng.uniform(0, 0.15)),
        )
        y = np.concatenate(
            [
                quiet(rng.uniform(0, 0.2)),
                word,
                stop,
                0.3 * word,
                quiet(rng.uniform(0.25, 0.6)),
                0.2 * word[:160],
            ]
        )
        found = speak.trim_word(y, 8000)
        assert abs(len(found) - 2 * len(word) - len(stop)) <= 240  # to the frame, at each end
    assert len(speak.trim_word(quiet(1), 8000)) == len(speak.trim_word(quiet(0), 8000)) == 0


@pytest.mark.parametrize("model", ["voice-8k", "specgan-8k"])
def test_no_take_has_a_hole(model):
    "The longest pause in twenty takes: a tick behind the word must not keep the silence before it."
    for seed in range(20):
        y = speak.generate("2026", seed=seed, model=model)[0]
        level = audio.amplitude_to_db(audio.rms(y[: len(y) // 80 * 80].reshape(-1, 80)))
        assert np.diff(np.flatnonzero(level > level.max() - 35)).max() <= 26, seed


@pytest.mark.parametrize("wrong", [dict(alike=-0.1), dict(alike=1.1), dict(alike=float("nan"))])
def test_a_share_is_a_share(wrong):
    with pytest.raises(audio.InputError, match="alike"):
        speak.generate("1", **wrong)


@pytest.mark.parametrize(
    "change",
    [
        {"mel": {"sr": 8000, "bogus": 1}},
        {"classes": [0, 1]},
        {"classes": None},
        {"classes": []},
        {"vocoder": "voice-8k"},
        {"vocoder": "vocoder-16k"},
        {"vocoder": "nope"},
    ],
)
def test_a_damaged_card_is_named(tmp_path, change):
    import json
    import shutil

    shutil.copy(weights.resolve_model("specgan-8k"), tmp_path / "generator.keras")
    card = {k: weights.model_card("specgan-8k")[k] for k in ("mel", "classes")}
    (tmp_path / "config.json").write_text(json.dumps(card | change))
    with pytest.raises(audio.InputError):
        speak.generate("1", model=tmp_path)
