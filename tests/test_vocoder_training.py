"""Training a vocoder: its data, its losses and measures, its configuration and its task."""

from dataclasses import replace

import numpy as np
import pytest

from gan_audio_tut import audio, audio_io, datasets, fidelity, training, vocoder_training
from gan_audio_tut.mel import MelConfig, mel_spectrogram
from gan_audio_tut.vocoder import build_vocoder
from gan_audio_tut.vocoder_training import (
    VocoderConfig,
    build_vocoder_gan,
    hop_rate_periodicity,
    log_magnitude_std,
    modulated_noise,
    random_word_sequences,
    segment_batches,
    set_noise_excitation,
    training_sounds,
)

SMALL = VocoderConfig(dim=32, blocks=1, n_iter=1, d_channels=8, batch_size=2, frames=16)


@pytest.fixture(scope="module")
def words():
    return datasets.digits("train").select(slice(0, 40, 4))


@pytest.fixture(scope="module")
def sounds(words):
    return random_word_sequences(words, 12, 4096)


@pytest.fixture(scope="module")
def small_vocoder():
    return build_vocoder(dim=32, blocks=1, n_iter=1)


def equal_weights(network, other):
    pairs = zip(network.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


# --- data


def test_batches_are_pure_and_differ(sounds):
    batch = segment_batches(sounds, MelConfig(), batch_size=4, samples=2048)
    (mels,), y = batch(3, 5)
    assert np.array_equal(batch(3, 5)[1], y)
    assert not np.array_equal(batch(3, 6)[1], y)
    assert not np.array_equal(batch(4, 5)[1], y)
    assert y.shape == (4, 2048) and np.abs(y).max() < 1.1
    assert np.allclose(mels, mel_spectrogram(y))


def test_silence_among_the_sounds_is_no_nan(sounds):
    batch = segment_batches(0 * sounds, MelConfig(), batch_size=4, samples=2048)
    (mels,), y = batch(0, 0)
    assert np.isfinite(y).all() and np.isfinite(mels).all()


def test_words_follow_each_other(words):
    y = random_word_sequences(words, 5, 16000, gap=0.05)
    loud = np.abs(y.reshape(5, -1, 400)).max(2) > 0.01
    assert y.shape == (5, 16000) and loud.mean() > 0.7
    assert np.array_equal(y, random_word_sequences(words, 5, 16000, gap=0.05))
    assert not np.array_equal(y, random_word_sequences(words, 5, 16000, seed=1, gap=0.05))
    with pytest.raises(audio.InputError, match="nothing but silence"):
        random_word_sequences(replace(words, audio=0 * words.audio), 1, 800)


def test_modulated_noise_is_noise_of_changing_colour_and_level():
    y = modulated_noise(20, 8192, seed=1)
    assert y.shape == (20, 8192) and y.dtype == np.float32
    assert audio.rms(y).max() < 0.11 and audio.rms(y).min() > 0.02
    spectrum = np.abs(np.fft.rfft(y)).reshape(20, -1)[:, :4096].reshape(20, 16, -1).mean(2)
    assert 20 * np.log10(spectrum.max() / spectrum.min()) > 12, "the spectra differ"
    assert np.array_equal(y, modulated_noise(20, 8192, seed=1))


def test_training_data_mix_speech_words_and_noise(tmp_path, words):
    for k in range(3):
        tone = audio.tone(200 + 100 * k, 3, 16000)
        audio_io.save(tmp_path / f"{k}.wav", tone, 16000)
    y = training_sounds(words, 16000, 8000, tmp_path)
    assert y.shape[1] == 8000 and 18 <= len(y) <= 26 and y.dtype == np.float32
    assert np.array_equal(y, training_sounds(words, 16000, 8000, tmp_path))


# --- losses and measures


def test_the_lsd_as_a_loss_is_the_metric_in_nepers(words):
    y = words.audio[:1, :8192]
    noise = np.random.default_rng(0).standard_normal(y.shape)
    noisy = (y + 0.01 * noise).astype(np.float32)
    loss = float(vocoder_training.reconstruction_losses(MelConfig())["lsd"](None, y, noisy))
    metric = fidelity.log_spectral_distance(y[0], noisy[0])
    assert loss * 20 / np.log(10) == pytest.approx(metric, rel=0.01)


def test_measures_of_known_noise():
    noise = np.random.default_rng(1).standard_normal((6, 16384)).astype("float32")
    t = np.arange(16384) / 8000

    def modulated(frequency):
        return noise * (1 + 0.5 * np.sin(2 * np.pi * frequency * t))

    assert 0.6 < hop_rate_periodicity(noise, 128) < 1.5
    assert hop_rate_periodicity(modulated(62.5), 128) > 10
    assert hop_rate_periodicity(modulated(90), 128) < 1.5, "another rate than the hop's"
    assert hop_rate_periodicity(np.tile(noise[:, :128], (1, 128)), 128) > 1e3
    assert abs(log_magnitude_std(noise) - 5.57) < 0.1
    assert abs(log_magnitude_std(10 * noise) - log_magnitude_std(noise)) < 1e-3


def test_periodicity_of_too_short_a_signal_is_refused():
    with pytest.raises(audio.InputError, match="at least 16384 samples"):
        hop_rate_periodicity(np.zeros((1, 16383)), 128)


# --- the task


def test_reconstruction_only_needs_no_discriminator(sounds):
    "No discriminator is built, none of its losses appear, and its settings change nothing."
    networks = []
    for d_lr in (1e-3, 1e-1):
        state = build_vocoder_gan(sounds, recipe=replace(SMALL, adversarial=0, d_lr=d_lr))
        rows = training.fit(state, steps=3, progress=False)
        networks.append(state.task.generator)
    assert state.task.discriminator is None and state.d_optimizer is None
    assert {"mel", "stft", "lsd", "g_loss"} <= rows[-1].keys() and "d_loss" not in rows[-1]
    assert equal_weights(*networks)


def test_the_adversarial_weight_changes_the_generator(sounds):
    recipe = replace(SMALL, periods=(3,), feature_matching=1.0)
    networks = []
    for weight in (0.01, 1.0):
        state = build_vocoder_gan(sounds, recipe=replace(recipe, adversarial=weight))
        rows = training.fit(state, steps=2, progress=False)
        networks.append(state.task.generator)
        assert {"mel", "stft", "feature_matching", "d_loss"} <= rows[-1].keys()
        assert np.isfinite(list(rows[-1].values())).all()
    assert not equal_weights(*networks)


def test_start_is_where_it_begins_and_the_rate_falls(sounds, small_vocoder):
    state = build_vocoder_gan(sounds, recipe=replace(SMALL, decay_steps=10), start=small_vocoder)
    alone = build_vocoder_gan(sounds, recipe=replace(SMALL, adversarial=0), start=small_vocoder)
    assert equal_weights(alone.task.generator, small_vocoder)
    assert equal_weights(state.task.generator, set_noise_excitation(small_vocoder))
    assert not equal_weights(state.task.generator, small_vocoder)
    rate = state.g_optimizer._learning_rate
    assert np.isclose(float(rate(0)), 1e-3) and np.isclose(float(rate(10)), 2e-5)


def test_noise_excitation_is_set(words):
    network, mels = build_vocoder(dim=16, blocks=1, n_iter=0), mel_spectrogram(words.audio[:2])
    silent = set_noise_excitation(network, -30)
    reset = set_noise_excitation(silent)
    assert np.abs(np.array(reset(mels)) - silent(mels)).max() > 0.01
    *rest, kernel, bias = silent.get_weights()
    assert (bias[-257:] == -30).all() and not kernel[:, -257:].any()
    for a, b in zip(rest, network.get_weights(), strict=False):
        assert np.array_equal(a, b), "all other weights stay"


def test_feature_matching_without_discriminators_is_refused(sounds):
    with pytest.raises(audio.InputError, match="give adversarial more than 0"):
        build_vocoder_gan(sounds, recipe=replace(SMALL, adversarial=0, feature_matching=1.0))


@pytest.mark.parametrize("bad", [np.zeros(4096), np.zeros((2, 100)), np.full((2, 4096), np.nan)])
def test_unfit_training_data_are_refused(bad):
    with pytest.raises(audio.InputError, match=r"give \(n, samples\), finite, at least 2048"):
        build_vocoder_gan(bad, recipe=SMALL)


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": "nope"},
        {"loss": "feature_matching"},
        {"resolutions": ()},
        {"resolutions": (0,)},
        {"periods": (0,)},
        {"batch_size": 0},
        {"frames": 3},
        {"ema_decay": 1.0},
        {"r1": -1},
        {"magnitude_weight": 1.5},
        {"g_lr": 0},
        {"decay_steps": -1},
        {"d_channels": 0},
    ],
    ids=str,
)
def test_settings_out_of_range_are_named(wrong):
    (name,) = wrong
    with pytest.raises(audio.InputError, match=rf"^{name} [^\n]*; [^\n]*$"):
        VocoderConfig(**wrong)


def test_a_window_shorter_than_a_spectrum_is_refused():
    with pytest.raises(audio.InputError, match="resolutions"):
        vocoder_training.build_discriminators(MelConfig(), VocoderConfig(resolutions=(1, 100)))
