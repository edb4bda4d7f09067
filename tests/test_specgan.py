"""SpecGAN: shapes, ranges, the receptive field, decoding, and that a recipe decides everything."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_audio_tut import audio, datasets, mel, metrics, runs, specgan, training, weights
from gan_audio_tut.mel import MelConfig

TINY = replace(specgan.TrainConfig(), base_channels=4, batch_size=8, latent_dim=8)


@pytest.fixture(scope="module")
def dataset():
    return datasets.drums(n_per_class=4)


@pytest.fixture(scope="module")
def log_mels():
    words = datasets.digits("train").select(slice(0, 12, 4)).audio
    return specgan.to_log_mel(words, MelConfig())


@pytest.mark.parametrize("frames, n_mels, num_classes", [(64, 64, 10), (32, 80, 3), (16, 16, 0)])
@pytest.mark.parametrize("norm", ["batch", "pixel", None])
def test_shapes(frames, n_mels, num_classes, norm):
    size = dict(frames=frames, n_mels=n_mels, base_channels=4, norm=norm)
    generator = specgan.spectrogram_generator(8, num_classes, **size)
    discriminator = specgan.spectrogram_discriminator(num_classes, **size)
    inputs = [tf.random.normal((5, 8)), tf.zeros(5, tf.int32)][: len(generator.inputs)]
    generated = training.forward(generator, inputs)
    assert generated.shape == (5, frames, n_mels)
    assert float(tf.reduce_max(tf.abs(generated))) <= 1
    assert training.forward(discriminator, [generated, *inputs[1:]]).shape == (5, 1)


def test_discriminator_sees_46_frames():
    "Perturb one frame and see whether a unit of the last convolution changes."
    discriminator = specgan.spectrogram_discriminator(num_classes=0, base_channels=4)
    last = [layer for layer in discriminator.layers if isinstance(layer, keras.layers.Conv2D)][-1]
    trunk = keras.Model(discriminator.input, last.output)
    x = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64)).astype(np.float32)
    perturbed = np.repeat(x, 64, axis=0)
    perturbed[np.arange(64), np.arange(64)] += 1  # frame k in example k
    # in batches of one, since only equal batches are equal to the last bit
    units = np.stack([trunk(example[None]).numpy()[0, 1, 1] for example in (*x, *perturbed)])
    visible = np.flatnonzero(np.abs(units[1:] - units[0]).max(axis=1) > 0)
    # "same" padding of kernel 4 and stride 2 puts one zero before each layer's input
    first = 16 - (1 + 2 + 4 + 8)
    assert visible.tolist() == list(range(first, first + 46))


def test_projection_is_an_inner_product():
    x, label = keras.Input((6,)), keras.Input((), dtype="int32")
    network = keras.Model([x, label], specgan.label_projection(x, label, 3))
    vectors = np.arange(18.0).reshape(3, 6)
    network.set_weights([vectors])
    features = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    labels = np.array([0, 2, 1, 2])
    expected = (features * vectors[labels]).sum(1)
    assert np.allclose(network([features, labels])[:, 0], expected, atol=1e-4)


def test_a_recipe_and_a_seed_decide_everything(dataset):
    weights_after = []
    for seed in (3, 3, 4):
        state = specgan.build_specgan(dataset, TINY, seed=seed)
        training.fit(state, steps=3, progress=False)
        weights_after.append([v.numpy() for v in state.variables])
    first, again, other = weights_after
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


LOSSES = ("non_saturating", "relativistic", "hinge", "least_squares", "minimax")


@pytest.mark.parametrize(
    "change",
    [
        *({"loss": name} for name in LOSSES),
        {"conditional": False},
        {"r2": 1.0},
        {"g_norm": "batch", "d_norm": "batch", "r1": 0.0},
        {"ema_decay": 0.0},
    ],
    ids=str,
)
def test_every_recipe_takes_steps(dataset, change):
    state = specgan.build_specgan(dataset, replace(TINY, **change))
    before = [v.numpy() for v in state.task.generator.trainable_variables]
    history = training.fit(state, steps=2, progress=False)
    after = [v.numpy() for v in state.task.generator.trainable_variables]
    assert all(np.isfinite(value) for row in history for value in row.values())
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if a.size > 50]
    assert pairs and not any(np.array_equal(a, b) for a, b in pairs)


def test_quick_training_goes_the_right_way(dataset):
    "After some steps the mean generated spectrogram is nearer to the mean real one."
    state = specgan.build_specgan(dataset, replace(TINY, base_channels=8, batch_size=32))
    real = specgan.to_log_mel(dataset.audio, specgan.infer_mel_config(dataset)).mean(0)

    def distance():
        generated = specgan.sample(state.ema_generator, np.arange(64) % 8)
        return np.abs(generated.mean(0) - real).mean()

    before = distance()
    training.fit(state, steps=60, progress=False)
    assert distance() < 0.8 * before


def test_mel_settings_follow_the_data(dataset):
    config = specgan.infer_mel_config(dataset)
    log_mels = specgan.to_log_mel(dataset.audio, config)
    assert config.sr == 16000 and log_mels.min() == -1 and 0.999 < log_mels.max() <= 1


def test_spectrograms_are_returned_as_they_are(log_mels):
    assert specgan.to_log_mel(log_mels, MelConfig()) is log_mels


def test_batches_change_nothing(dataset):
    config = specgan.infer_mel_config(dataset)
    whole = specgan.to_log_mel(dataset.audio, config)
    in_batches = specgan.to_log_mel(dataset.audio, config, batch_size=5)
    assert np.allclose(whole, in_batches, atol=1e-5)


def test_saved_samples_are_repeatable(dataset, tmp_path):
    generator = specgan.spectrogram_generator(8, 8, base_channels=4)
    config = specgan.infer_mel_config(dataset)
    for folder in ("a", "b"):
        specgan.save_samples(tmp_path / folder, 7, generator, dataset.classes, config)
    for name in ("step-0000007.wav", "step-0000007.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_saved_model_generates_the_same(tmp_path):
    generator = specgan.spectrogram_generator(8, 3, base_channels=4, norm="pixel")
    runs.save_model(tmp_path / "g.keras", generator)
    loaded = weights.load_model(tmp_path / "g.keras")
    assert np.array_equal(specgan.sample(generator, [0, 1, 2]), specgan.sample(loaded, [0, 1, 2]))


@pytest.mark.parametrize("name", ["voice-8k", "specgan-8k"])
def test_shipped_generators_are_intelligible(name):
    "To the shipped classifier, and in most speakers' voices; no data needed."
    labels = np.repeat(np.arange(10), 20)
    config = MelConfig(**weights.model_card(name)["mel"])
    generated = specgan.sample(weights.load_model(name), labels, seed=11)
    waveforms = specgan.decode_audio(generated, config)
    outputs = metrics.predict_features(weights.load_model("classifier-8k"), waveforms)
    assert np.mean(outputs["label"].argmax(1) == labels) > 0.93
    shares = np.bincount(outputs["speaker"].argmax(1), minlength=5) / 200
    assert (shares > 0.05).sum() >= 4


def test_real_recordings(real_data):
    train, test = datasets.fsdd("train"), datasets.fsdd("test")
    assert not set(train.files) & set(test.files)
    state = specgan.build_specgan(test, TINY)
    assert np.isfinite(training.fit(state, steps=1, progress=False)[0]["g_loss"])


def test_clips_of_the_wrong_length_are_refused(dataset):
    short = replace(dataset, audio=dataset.audio[:, :8000])
    with pytest.raises(audio.InputError, match="multiple of 2048 samples"):
        specgan.build_specgan(short, TINY)


@pytest.mark.parametrize(
    "norm, use_bias",
    [("pixel", [True] * 4), (None, [True] * 4), ("batch", [False, False, False, True])],
)
def test_hidden_layers_have_an_offset_unless_the_norm_brings_one(norm, use_bias):
    generator = specgan.spectrogram_generator(8, 0, base_channels=4, norm=norm)
    convolutions = [layer for layer in generator.layers if hasattr(layer, "kernel_size")]
    assert [layer.use_bias for layer in convolutions] == use_bias


@pytest.mark.parametrize(
    "change",
    [
        {"loss": "GANLoss"},
        {"loss": "unknown"},
        {"ema_decay": 2.0},
        {"ema_decay": float("nan")},
        {"batch_size": 0},
        {"g_lr": float("nan")},
        {"r1": -1.0},
        {"r2": -1.0},
    ],
    ids=str,
)
def test_impossible_recipes_are_refused(change):
    with pytest.raises(audio.InputError):
        replace(specgan.TrainConfig(), **change)


@pytest.mark.parametrize("change", [{"g_norm": "layer"}, {"d_norm": "Batch"}], ids=str)
def test_unknown_norms_are_refused(dataset, change):
    with pytest.raises(audio.InputError, match="give 'batch', 'pixel' or None"):
        specgan.build_specgan(dataset, replace(TINY, **change))


def test_unfit_data_are_refused(dataset):
    with pytest.raises(audio.InputError, match="16000 Hz, the mel settings 8000"):
        specgan.build_specgan(dataset, TINY, MelConfig())
    with pytest.raises(audio.InputError, match="finite"):
        specgan.build_specgan(replace(dataset, audio=dataset.audio * np.nan), TINY)


@pytest.mark.parametrize("labels", [[-1], [3], [], 2], ids=str)
def test_unknown_labels_are_refused(labels):
    generator = specgan.spectrogram_generator(8, 3, base_channels=4)
    with pytest.raises(audio.InputError, match="from 0 to 2"):
        specgan.sample(generator, labels)


@pytest.mark.parametrize("option", [{"shared_latent": 1.1}, {"shared_latent": "x"}, {"seed": 1.5}])
def test_impossible_draws_are_refused(option):
    generator = specgan.spectrogram_generator(8, 3, base_channels=4)
    with pytest.raises(audio.InputError, match=next(iter(option))):
        specgan.sample(generator, [0], **option)


def test_sounds_begin_and_end_at_zero():
    y = specgan.decode_audio(np.zeros((2, 64, 64), np.float32), MelConfig())
    level = np.abs(y)
    assert level.max() > 0.01 and not y[:, [0, -1]].any()
    assert level[:, :4].max() < 0.6 * level[:, 8:200].max()
    assert level[:, -8:].max() < 0.2 * level.max()


def test_the_fade_is_linear():
    y = specgan.decode_audio(np.ones((1, 8000), np.float32), MelConfig())[0]
    assert np.allclose(y[:9], np.arange(9) / 8)  # 1 ms is 8 samples
    assert np.allclose(y[-81:], np.arange(80, -1, -1) / 80)  # 10 ms are 80 samples
    assert (y[8:-80] == 1).all()


class InverseMel:
    "A vocoder that declares its mel settings: eight iterations of Griffin-Lim."

    def __init__(self, config):
        self.config = config
        self.batches = []

    def __call__(self, mels):
        self.batches.append(len(mels))
        return mel.mel_to_audio(mels, self.config, n_iter=8)


def test_a_vocoder_decodes_spectrograms(log_mels):
    config = MelConfig()
    vocoder = InverseMel(config)
    y = specgan.decode_audio(log_mels, config, batch_size=2, vocoder=vocoder)
    by_griffin_lim = specgan.decode_audio(log_mels, config)
    assert vocoder.batches == [2, 1]
    assert y.shape == by_griffin_lim.shape == (3, 8192) and not np.array_equal(y, by_griffin_lim)
    levels = [audio.amplitude_to_db(audio.rms(v.reshape(-1))) for v in (y, by_griffin_lim)]
    assert abs(levels[0] - levels[1]) < 1
    plain_function = specgan.decode_audio(log_mels, config, batch_size=2, vocoder=vocoder.__call__)
    assert np.array_equal(plain_function, y)


@pytest.mark.parametrize("other", [MelConfig(16000), MelConfig(8000, 1024, 256)], ids=str)
def test_a_vocoder_of_other_settings_is_refused(log_mels, other):
    with pytest.raises(audio.InputError, match="learned"):
        specgan.decode_audio(log_mels, MelConfig(), vocoder=InverseMel(other))
    with pytest.raises(audio.InputError, match="learned"):
        specgan.decode_audio(log_mels, other, vocoder=weights.load_model("vocoder-8k"))


def test_floor_and_maximum_belong_to_the_spectrogram(log_mels):
    config = MelConfig(floor=1e-2, max_value=2.0)
    y = specgan.decode_audio(log_mels, config, vocoder=InverseMel(MelConfig()))
    assert y.shape == (3, 8192)


@pytest.mark.parametrize("name", ["specgan-8k", "classifier-8k"])
def test_a_network_that_is_no_vocoder_is_refused(log_mels, name):
    with pytest.raises(audio.InputError, match="is no vocoder"):
        specgan.decode_audio(log_mels, MelConfig(), vocoder=weights.load_model(name))


def test_what_is_no_function_is_no_vocoder(log_mels):
    with pytest.raises(audio.InputError, match="is no vocoder"):
        specgan.decode_audio(log_mels, MelConfig(), vocoder="vocoder-8k")


@pytest.mark.parametrize("shape", [(64,), (0, 64, 64), (1, 2, 3, 4)], ids=str)
def test_what_is_no_sound_is_not_decoded(shape):
    with pytest.raises(audio.InputError, match="generated: got shape"):
        specgan.decode_audio(np.zeros(shape, np.float32), MelConfig())


def test_nan_is_not_decoded(log_mels):
    with pytest.raises(audio.InputError, match="finite"):
        specgan.decode_audio(log_mels * np.nan, MelConfig())
