"""The picture GAN: shapes, ranges, the field of view, and that a recipe decides everything."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_audio_tut import datasets, mel, runs, specgan, training, weights

TINY = replace(specgan.TrainConfig(), base_channels=4, batch_size=8, latent_dim=8)


@pytest.fixture(scope="module")
def clips():
    return datasets.drums(n_per_class=4)


@pytest.mark.parametrize("frames, n_mels, classes", [(64, 64, 10), (32, 80, 3), (16, 16, 0)])
@pytest.mark.parametrize("norm", ["batch", "pixel", None])
def test_shapes(frames, n_mels, classes, norm):
    shape = dict(classes=classes, frames=frames, n_mels=n_mels, width=4)
    g, d = (
        specgan.spectrogram_generator(8, norm=norm, **shape),
        specgan.spectrogram_discriminator(norm=norm, **shape),
    )
    given = [tf.random.normal((5, 8)), tf.zeros(5, tf.int32)][: len(g.inputs)]
    pictures = training.forward(g, given)
    assert pictures.shape == (5, frames, n_mels) and float(tf.reduce_max(tf.abs(pictures))) <= 1
    assert training.forward(d, [pictures, *given[1:]]).shape == (5, 1)


def test_discriminator_sees_46_frames():
    "Perturb one frame and see which units of the last convolution move."
    d = specgan.spectrogram_discriminator(classes=0, base_channels=4)
    last = [l for l in d.layers if isinstance(l, keras.layers.Conv2D)][-1]
    trunk = keras.Model(d.input, last.output)
    x = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64)).astype(np.float32)
    base, reach = trunk(x).numpy()[0, 1, 1], []
    for frame in range(64):
        y = x.copy()
        y[0, frame] += 1
        if np.abs(trunk(y).numpy()[0, 1, 1] - base).max() > 0:
            reach.append(frame)
    before = (
        1 + 2 + 4 + 8
    )  # 'same' padding of kernel 4, stride 2 puts one zero before each layer's input
    assert reach == list(range(max(0, 16 - before), 16 - before + 46))


def test_projection_is_an_inner_product():
    x, label = keras.Input((6,)), keras.Input((), dtype="int32")
    net = keras.Model([x, label], specgan.label_projection(x, label, 3))
    vectors = np.arange(18.0).reshape(3, 6)
    net.layers[-2].set_weights([vectors]) if net.layers[-2].weights else net.layers[-1].set_weights(
        [vectors]
    )
    features = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    labels = np.array([0, 2, 1, 2])
    assert np.allclose(
        net([features, labels])[:, 0], (features * vectors[labels]).sum(1), atol=1e-4
    )


def test_a_recipe_and_a_seed_decide_everything(clips):
    runs_ = [specgan.build_specgan(clips, TINY, seed=3) for _ in range(2)] + [
        specgan.build_specgan(clips, TINY, seed=4)
    ]
    for state in runs_:
        training.fit(state, steps=3, progress=False)
    first, again, other = ([v.numpy() for v in s.variables] for s in runs_)
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other))


@pytest.mark.parametrize(
    "change",
    [{"loss": l} for l in ("non_saturating", "relativistic", "hinge", "least_squares", "minimax")]
    + [
        {"conditional": False},
        {"r2": 1.0},
        {"g_norm": "batch", "d_norm": "batch", "r1": 0.0},
        {"ema": 0.0},
    ],
    ids=str,
)
def test_every_recipe_takes_steps(clips, change):
    state = specgan.build_specgan(clips, replace(TINY, **change))
    before = [v.numpy() for v in state.task.generator.trainable_variables]
    history = training.fit(state, steps=2, progress=False)
    assert all(np.isfinite(v) for row in history for v in row.values())
    assert all(
        not np.array_equal(a, b)
        for a, b in zip(before, [v.numpy() for v in state.task.generator.trainable_variables])
        if a.size > 50
    )


def test_quick_learning_goes_the_right_way(clips):
    "After some steps the mean generated picture is nearer to the mean real one than at the start."
    state = specgan.build_specgan(clips, replace(TINY, base_channels=8, batch_size=32))
    real = specgan.to_log_mel(clips.audio, specgan.infer_mel_config(clips)).mean(0)
    labels = np.arange(64) % 8
    far = lambda: np.abs(specgan.sample(state.ema_generator, labels).mean(0) - real).mean()
    before = far()
    training.fit(state, steps=60, progress=False)
    assert far() < 0.8 * before


def test_settings_follow_the_data(clips):
    quiet = clips.select(slice(None))
    quiet.audio[:] *= 1  # a copy, the fixture stays
    config = specgan.infer_mel_config(clips)
    pictures = specgan.to_log_mel(clips.audio, config)
    assert config.sr == 16000 and pictures.min() == -1 and 0.999 < pictures.max() <= 1


def test_samples_are_whole_and_repeatable(clips, tmp_path):
    g = specgan.spectrogram_generator(8, 8, base_channels=4)
    config = specgan.infer_mel_config(clips)
    specgan.save_samples(tmp_path / "a", 7, g, clips.classes, config)
    specgan.save_samples(tmp_path / "b", 7, g, clips.classes, config)
    for name in ("step-0000007.wav", "step-0000007.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_saved_model_speaks_the_same(tmp_path):
    g = specgan.spectrogram_generator(8, 3, base_channels=4, norm="pixel")
    runs.save_model(tmp_path / "g.keras", g)
    loaded = weights.load_model(tmp_path / "g.keras")
    assert np.array_equal(specgan.sample(g, [0, 1, 2]), specgan.sample(loaded, [0, 1, 2]))


@pytest.mark.parametrize("name", ["voice-8k", "specgan-8k"])
def test_shipped_generators_are_understood(name):
    "By the shipped listener, in most voices; no data needed."
    from gan_audio_tut import metrics

    voice, ear = weights.load_model(name), weights.load_model("classifier-8k")
    labels = np.repeat(np.arange(10), 20)
    heard = metrics.predict_features(
        ear,
        specgan.decode_audio(
            specgan.sample(voice, labels, seed=11),
            mel.MelConfig(**weights.model_card(name)["mel"]),
        ),
    )
    assert np.mean(heard["label"].argmax(1) == labels) > 0.93
    assert (np.bincount(heard["speaker"].argmax(1), minlength=5) / 200 > 0.05).sum() >= 4


def test_real_recordings(real_data):
    train, test = datasets.fsdd("train"), datasets.fsdd("test")
    assert not set(train.files) & set(test.files)
    state = specgan.build_specgan(test, TINY)
    assert np.isfinite(training.fit(state, steps=1, progress=False)[0]["g_loss"])


def test_clips_that_make_no_picture_are_refused(clips):
    short = replace(clips, audio=clips.audio[:, :8000])
    with pytest.raises(ValueError, match="multiple of 2048 samples"):
        specgan.build_specgan(short, TINY)


def test_hidden_layers_have_an_offset_unless_the_norm_brings_one():
    biased = lambda norm: [
        l.use_bias
        for l in specgan.spectrogram_generator(8, 0, base_channels=4, norm=norm).layers
        if hasattr(l, "kernel_size")
    ]
    assert biased("pixel") == biased(None) == [True] * 4 and biased("batch") == [False] * 3 + [True]


def test_what_does_not_fit_is_refused(clips):
    for change in (
        {"loss": "Adversarial"},
        {"loss": "nix"},
        {"ema": 2.0},
        {"batch_size": 0},
        {"r1": -1.0},
    ):
        with pytest.raises(ValueError):
            replace(specgan.TrainConfig(), **change)
    for change in ({"g_norm": "layer"}, {"d_norm": "Batch"}):
        with pytest.raises(ValueError, match="give 'batch', 'pixel' or None"):
            specgan.build_specgan(clips, replace(TINY, **change))
    with pytest.raises(ValueError, match="16000 Hz, the mel settings 8000"):
        specgan.build_specgan(clips, TINY, mel.MelConfig())
    with pytest.raises(ValueError, match="finite"):
        specgan.build_specgan(replace(clips, audio=clips.audio * np.nan), TINY)
    g = specgan.spectrogram_generator(8, 3, base_channels=4)
    for labels in ([-1], [3], [], 2):
        with pytest.raises(ValueError, match="from 0 to 2"):
            specgan.sample(g, labels)


def test_sounds_begin_and_end_at_zero():
    loud = np.zeros((2, 64, 64), np.float32)
    y = specgan.decode_audio(loud, mel.MelConfig())
    assert np.abs(y).max() > 0.01 and not y[:, [0, -1]].any()
    assert (
        np.abs(y[:, :4]).max() < 0.6 * np.abs(y[:, 8:200]).max()
        and np.abs(y[:, -8:]).max() < 0.2 * np.abs(y).max()
    )
