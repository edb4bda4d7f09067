"""The vocoder at inference: its head, its iterations, the shipped networks, `vocode`."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_audio_tut import audio, datasets, fidelity, mel, specgan, vocoder, weights
from gan_audio_tut.mel import MelConfig, mel_spectrogram
from gan_audio_tut.vocoder import build_vocoder
from gan_audio_tut.vocoder_training import (
    hop_rate_periodicity,
    log_magnitude_std,
    modulated_noise,
)


@pytest.fixture(scope="module")
def words():
    return datasets.digits("train").select(slice(0, 40, 4))


@pytest.fixture(scope="module")
def shipped():
    return weights.load_model("vocoder-8k")


@pytest.fixture(scope="module")
def two_mels(words):
    return np.asarray(mel_spectrogram(words.audio[:2]))


@pytest.mark.parametrize(
    "config", [MelConfig(), MelConfig(16000, 1024, 256, 80), MelConfig(8000, 256, 64, 32)]
)
def test_any_length_and_every_clip_by_itself(config):
    network = build_vocoder(config, dim=32, blocks=1)
    rng = np.random.default_rng(0)
    mels = np.abs(rng.standard_normal((3, 30, config.n_mels))).astype("float32")
    y = np.array(network(mels))
    assert y.shape == (3, 29 * config.hop_length) and np.isfinite(y).all()
    assert np.allclose(network(mels[1:2])[0], y[1], atol=1e-5)


def test_an_iteration_keeps_a_waveform_that_has_this_mel_spectrogram(words):
    y = words.audio[:2] + audio.tone(440, 1.024, 8000) * 0.1
    mels = mel_spectrogram(y)
    target = mel.mel_to_magnitude(mels)
    kept = np.array(vocoder.magnitude_projection(y, mels, target, MelConfig(), 0.0))
    # no band covers the first and the last bin
    assert np.abs(kept - y).max() < 0.02 * np.abs(y).max()

    def distance(y):
        log_magnitude = np.log(mel.magnitude(*mel.stft(y, 512, 128), 1e-4))
        return np.abs(log_magnitude - np.log(np.maximum(target, 1e-4)))[..., 1:-1].mean()

    moved = np.array(vocoder.magnitude_projection(y, mels, target, MelConfig(), 1.0))
    assert distance(moved) < 0.8 * distance(y)


def test_iterations_bring_the_mel_spectrogram_closer(words):
    mels = mel_spectrogram(words.audio)
    networks = [build_vocoder(dim=32, blocks=1, n_iter=n, magnitude_weight=0.0) for n in (0, 2, 8)]
    for network in networks[1:]:
        network.set_weights(networks[0].get_weights())
    distances = [
        np.abs(np.array(mel_spectrogram(network(mels))) - mels).mean() for network in networks
    ]
    assert distances[2] < distances[1] < 0.7 * distances[0]


def test_it_survives_saving(tmp_path, two_mels):
    from gan_audio_tut.runs import save_model

    network = build_vocoder(dim=32, blocks=1, n_iter=3, magnitude_weight=0.1)
    save_model(tmp_path / "v.keras", network)
    again = weights.load_model(tmp_path / "v.keras")
    assert np.array_equal(again(two_mels), network(two_mels))


def test_noise_excitation_is_a_function_of_the_mel_spectrogram():
    "The same for equal spectrograms, whatever the batch and the length; standard normal."
    rng = np.random.default_rng(0)
    mels = np.abs(rng.standard_normal((40, 30, 64))).astype("float32")
    noise = np.array(vocoder.noise_excitation(mels, 257))
    assert noise.shape == (2, 40, 30, 257)
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 1) < 0.01
    assert np.array_equal(noise[:, 5:6, :12], vocoder.noise_excitation(mels[5:6, :12], 257))
    assert len({noise[0, k, 0, 0] for k in range(40)}) > 30


def test_half_precision_elsewhere_leaves_the_head_whole():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = build_vocoder(dim=16, blocks=1)
    finally:
        keras.config.set_dtype_policy("float32")
    y = network(np.ones((1, 20, 64), np.float32))
    assert y.dtype == "float32" and np.isfinite(y).all()
    assert any(layer.compute_dtype == "bfloat16" for layer in network.layers)


def test_learned_magnitude_is_the_target_of_an_iteration_and_is_kept(tmp_path, two_mels):
    networks = {
        (learned, weight): build_vocoder(
            dim=8, blocks=1, n_iter=1, magnitude_weight=weight, learned_magnitude=learned
        )
        for learned in (False, True)
        for weight in (0.0, 1.0)
    }
    rng = np.random.default_rng(0)
    kept = [w + 0.1 * rng.standard_normal(w.shape) for w in networks[False, 0.0].get_weights()]
    for network in networks.values():
        network.set_weights(kept)
    out = {settings: np.array(network(two_mels)) for settings, network in networks.items()}
    # without a weight the target does not matter
    assert np.array_equal(out[False, 0.0], out[True, 0.0])
    difference = np.abs(out[False, 1.0] - out[True, 1.0]).max()
    assert difference > 0.01 * np.abs(out[True, 1.0]).max()

    networks[True, 1.0].save(tmp_path / "learned.keras")
    again = weights.load_model(tmp_path / "learned.keras")
    assert again.layers[-1].learned_magnitude
    assert np.allclose(np.array(again(two_mels)), out[True, 1.0], atol=1e-6)


# --- the shipped networks


@pytest.mark.parametrize("name", ["vocoder-8k", "vocoder-16k"])
def test_shipped_vocoder_is_steady_and_quiet_where_nothing_is(name):
    network, config = weights.load_model(name), MelConfig(**weights.model_card(name)["mel"])
    y = modulated_noise(2, 64 * config.hop_length, seed=5)
    mels = mel_spectrogram(y, config)
    copied = np.asarray(network(mels))
    assert copied.shape == y.shape and np.isfinite(copied).all()
    assert np.array_equal(copied, np.asarray(network(mels)))
    assert np.abs(np.asarray(network(0 * mels))).max() < 1e-3

    white = np.random.default_rng(0).standard_normal((4, 128 * config.hop_length))
    copied = np.asarray(network(mel_spectrogram(0.05 * white.astype(np.float32), config)))
    # a reconstruction-only model: about 29, about 4.2
    assert hop_rate_periodicity(copied, config.hop_length) < 12
    assert log_magnitude_std(copied, config.n_fft) > 4


def test_shipped_vocoder_copies_words_closer_than_librosa(shipped):
    import librosa

    clips = datasets.digits("test")
    words = clips.audio[np.linspace(0, len(clips) - 1, 10).astype(int)]
    mels = np.asarray(mel_spectrogram(words))
    magnitude = librosa.feature.inverse.mel_to_stft(
        mels.transpose(0, 2, 1), sr=8000, n_fft=512, power=1.0
    )
    theirs = librosa.griffinlim(magnitude, n_iter=60, hop_length=128, pad_mode="reflect")

    def distance(y):
        return float(sum(fidelity.multi_resolution_stft(words, y).values()))

    assert distance(np.asarray(shipped(mels))) < 0.95 * distance(theirs)


# --- vocode


def test_vocode_is_the_network_as_a_graph(shipped, two_mels):
    "Bit for bit what a graph for all shapes gives; eager mode rounds otherwise, by below 1e-6."
    y = vocoder.vocode(two_mels)
    signature = [tf.TensorSpec((None, None, 64), tf.float32)]
    graph = tf.function(lambda mels: shipped(mels, training=False), input_signature=signature)
    assert np.array_equal(y, graph(two_mels))
    assert np.allclose(y, shipped(two_mels), atol=1e-6, rtol=0)


def test_vocode_loads_and_traces_once(two_mels):
    "The second call runs the graph of the first, also for another shape, and takes hundredths."
    vocoder.vocode(two_mels[:1])
    loaded = vocoder.load_vocoder("vocoder-8k")
    start = time.perf_counter()
    y = vocoder.vocode(two_mels[:1])
    seconds = time.perf_counter() - start
    vocoder.vocode(two_mels[:, :30])
    assert vocoder.load_vocoder("vocoder-8k") is loaded
    assert loaded._infer.experimental_get_tracing_count() == 1
    assert y.shape == (1, 8192) and seconds < 1, "0.02 s on an idle machine; eager, 2 s and more"


def test_a_changed_file_is_loaded_anew(tmp_path, two_mels):
    path = tmp_path / "v.keras"
    shutil.copy(weights.resolve_model("vocoder-8k"), path)
    first = vocoder.load_vocoder(path)
    assert vocoder.load_vocoder(str(path)) is vocoder.load_vocoder(str(path))
    network = build_vocoder(dim=8, blocks=1, n_iter=0)
    network.save(path)
    os.utime(path, ns=(1, 1))
    second = vocoder.load_vocoder(path)
    assert second is not first
    assert np.allclose(second(two_mels), network(two_mels), atol=1e-5)


def test_vocode_checks_its_input(shipped, two_mels):
    in_float64 = vocoder.vocode(two_mels.astype("float64"), shipped)
    assert np.array_equal(vocoder.vocode(two_mels), in_float64)
    assert np.array_equal(vocoder.vocode(two_mels, vocoder.Vocoder(shipped)), in_float64)
    shortest = vocoder.vocode(two_mels[:, :4])
    assert shortest.shape == (2, 3 * 128) and np.isfinite(shortest).all()
    for wrong in (
        "mel",
        two_mels[0],
        two_mels[:0],
        two_mels[:, :3],
        two_mels[..., :-1],
        audio.amplitude_to_db(two_mels),
        np.where(two_mels > 0.1, np.nan, two_mels),
        two_mels * 32768,
        two_mels + 0j,
    ):
        with pytest.raises(audio.InputError, match=r"^mel: [^\n]*; [^\n]*$"):
            vocoder.vocode(wrong)


def test_only_a_vocoder_is_a_vocoder(two_mels):
    "By the type of its last layer, not by the methods that this happens to have."

    class Checks(keras.layers.Layer):
        config = MelConfig()

        def check(self, config):
            return None

        def call(self, x):
            return x

    inputs = keras.Input((None, 64))
    other = keras.Model(inputs, Checks()(inputs), name="other")
    for model in ("voice-8k", "specgan-8k", "classifier-8k", None, 5, lambda mel: mel, other):
        with pytest.raises(audio.InputError, match="is no vocoder"):
            vocoder.vocode(two_mels, model)
    with pytest.raises(audio.InputError, match=r"^voice-8k: is no vocoder"):
        vocoder.vocode(two_mels, "voice-8k")


def test_importing_the_vocoder_loads_no_training_code():
    code = "import sys, gan_audio_tut.vocoder; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.removeprefix("gan_audio_tut.") for name in out.stdout.split()}
    training = {"training", "losses", "datasets", "discriminators", "vocoder_training", "specgan"}
    assert not training & loaded


# --- a generator's log-mel spectrograms


def test_log_mel_spectrograms_are_decoded_by_a_vocoder(words):
    config = MelConfig()
    log_mels = specgan.to_log_mel(words.audio[:3], config)

    def griffin_lim(mels):
        return mel.mel_to_audio(mels, config, n_iter=8)

    y = specgan.decode_audio(log_mels, config, batch_size=2, vocoder=griffin_lim)
    again = specgan.decode_audio(log_mels, config)
    assert y.shape == again.shape == (3, 8192) and np.abs(y - again).max() > 0
    levels = [audio.amplitude_to_db(audio.rms(v.reshape(-1))) for v in (y, again)]
    assert abs(levels[0] - levels[1]) < 1


def test_log_mel_spectrograms_of_other_settings_are_refused(words, shipped):
    config = MelConfig()
    log_mels = np.asarray(mel.log_mel(words.audio[:1], config))
    # floor and max_value do not matter, since a vocoder takes magnitudes
    specgan.decode_audio(log_mels, replace(config, max_value=2.0), vocoder=shipped)
    for wrong in (MelConfig(16000), MelConfig(8000, 1024, 256)):
        for network in (shipped, vocoder.Vocoder(shipped)):
            with pytest.raises(audio.InputError, match="learned"):
                specgan.decode_audio(log_mels, wrong, vocoder=network)
    with pytest.raises(audio.InputError, match="is no vocoder"):
        specgan.decode_audio(log_mels, config, vocoder=weights.load_model("specgan-8k"))
    for made in (log_mels[0, 0], log_mels[:0], log_mels * np.nan):
        with pytest.raises(audio.InputError):
            specgan.decode_audio(made, config, vocoder=shipped)
