"""The inverse-STFT generator, its discriminators' inputs, augmentation, every recipe by name."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import check_exact_resume

from gan_audio_tut import cli, datasets, istft_gan, mel, runs, specgan, training, weights
from gan_audio_tut.audio import InputError
from gan_audio_tut.mel import MelConfig

SMALL = istft_gan.ISTFTGANConfig(
    base_channels=2,
    dim=8,
    blocks=1,
    batch_size=8,
    latent_dim=8,
    short_window_width=4,
    shift=0.02,
    gain_db=6.0,
)
PLAIN = replace(SMALL, shift=0.0, gain_db=0.0)


@pytest.fixture(scope="module")
def words():
    "A quarter of a second from the middle of each of 64 words."
    words = datasets.digits("train").select(slice(0, 64))
    return replace(words, audio=words.audio[:, 2048:4096])


def identity_head(n_fft, hop_length):
    "A head whose dense layer passes its input on."
    head = istft_gan.ISTFTHead(n_fft, hop_length, log_magnitude_bias=0.0)
    n = 3 * (n_fft // 2 + 1)
    head.build((1, None, n))
    head.proj.set_weights([np.eye(n, dtype=np.float32), np.zeros(n, np.float32)])
    return head


@pytest.mark.parametrize("n_fft, hop_length", [(512, 128), (256, 64), (128, 32)])
@pytest.mark.parametrize("log_gain", [0.0, -2.0])
def test_the_head_inverts_a_known_stft(n_fft, hop_length, log_gain):
    x = np.random.default_rng(0).standard_normal((2, 32 * hop_length)).astype(np.float32)
    real, imag = mel.stft(x, n_fft, hop_length)
    y = identity_head(n_fft, hop_length)(tf.concat([0 * real + log_gain, real, imag], -1))
    assert y.shape == x.shape and np.allclose(y, np.exp(log_gain) * x, atol=1e-5)


def test_the_head_neither_overflows_nor_loses_its_gradient():
    "A gain far too high is limited, and real and imaginary part still get a gradient."
    head, numbers = identity_head(128, 32), tf.Variable(tf.fill((1, 9, 195), 500.0))
    with tf.GradientTape() as tape:
        y = head(numbers)
        loss = tf.reduce_sum(tf.abs(y))
    _, real, _ = np.split(tape.gradient(loss, numbers).numpy(), 3, -1)
    assert np.isfinite(y).all() and np.abs(y).max() > 0
    assert np.isfinite(real).all() and np.abs(real).max() > 0


def test_the_head_takes_any_number_of_frames():
    inputs = keras.Input((None, 8))
    network = keras.Model(inputs, istft_gan.ISTFTHead(128, 32)(inputs))
    lengths = [network(np.zeros((1, n, 8), np.float32)).shape[1] for n in (2, 9, 100)]
    assert lengths == [32, 8 * 32, 99 * 32]


@pytest.mark.parametrize(
    "frames, num_classes, hop_length", [(64, 10, 128), (32, 3, 64), (16, 0, 128)]
)
def test_the_generators_shape(frames, num_classes, hop_length):
    network = istft_gan.istft_generator(
        8,
        num_classes,
        frames=frames,
        base_channels=2,
        dim=8,
        blocks=1,
        n_fft=4 * hop_length,
        hop_length=hop_length,
    )
    assert specgan.sample(network, np.zeros(3)).shape == (3, frames * hop_length)


def test_a_fresh_generator_is_quiet():
    assert np.abs(specgan.sample(istft_gan.istft_generator(), np.arange(10))).max() < 0.1


def test_f0_envelope_modulation_is_a_share_that_modulation_raises():
    "The envelope of noise has power at all rates; modulation at 125 Hz adds some within the range."
    noise = np.random.default_rng(0).standard_normal((8, 8192))
    t = np.arange(8192) / 8000
    modulated = noise * (1 + np.sin(2 * np.pi * 125 * t))
    plain, raised = (istft_gan.f0_envelope_modulation(y, 8000) for y in (noise, modulated))
    assert 0 < plain < 0.35 and 0.6 < raised < 1
    outside = noise * (1 + np.sin(2 * np.pi * 500 * t))
    assert istft_gan.f0_envelope_modulation(outside, 8000) < plain


@pytest.mark.parametrize("scale", [1.0, 0.1, 0.0])
def test_scale_gradient_scales_the_gradient_alone(scale):
    x = tf.Variable([[0.3, -2.0, 1e-3]])
    with tf.GradientTape() as tape:
        y = istft_gan.scale_gradient(x, scale)
    assert np.allclose(y, x, rtol=1e-6)
    assert np.allclose(tape.gradient(y, x), scale, atol=1e-7)


def test_the_scale_reaches_the_generator_through_d_transform(words):
    gradients = []
    for scale in (1.0, 0.1):
        d_transform = istft_gan.make_d_transform(MelConfig(), replace(SMALL, grad_scale=scale))
        y = tf.Variable(words.audio[:2])
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(d_transform(y)[1])
        gradients.append(tape.gradient(loss, y).numpy())
    full, scaled = gradients
    assert np.abs(full).max() > 0 and np.allclose(scaled, 0.1 * full, rtol=1e-3, atol=1e-9)


def test_without_the_short_window_there_is_one_input(words):
    d_transform = istft_gan.make_d_transform(MelConfig(), replace(SMALL, short_window_width=0))
    (log_mel,) = d_transform(words.audio[:2])
    assert np.array_equal(log_mel, mel.log_mel(words.audio[:2], MelConfig()))


def test_augment_shifts_and_scales_each_sound_by_itself():
    y = np.zeros((200, 2048), np.float32)
    y[:, 1000] = 0.5
    seed = training.fold_in(0, 7)
    augmented = istft_gan.augment(y, seed, 100, 6.0).numpy()
    assert (np.count_nonzero(augmented, 1) == 1).all()
    shift, gain_db = augmented.argmax(1) - 1000, 20 * np.log10(augmented.max(1) / 0.5)
    assert shift.min() < -80 and shift.max() > 80 and np.abs(shift).max() <= 100
    assert abs(shift.mean()) < 15
    assert gain_db.min() < -5 and gain_db.max() > 5 and np.abs(gain_db).max() <= 6.001
    assert np.array_equal(augmented, istft_gan.augment(y, seed, 100, 6.0))
    assert not np.array_equal(augmented, istft_gan.augment(y, training.fold_in(0, 8), 100, 6.0))


def test_a_resumed_run_is_the_run(words, tmp_path):
    "Augmentation and both discriminators included."
    check_exact_resume(lambda: istft_gan.build_istft_gan(words, SMALL), tmp_path)


def test_augmentation_changes_what_the_discriminator_reads(words):
    "The first steps differ in the logits, and without shift and gain nothing is changed."
    states = [istft_gan.build_istft_gan(words, recipe) for recipe in (PLAIN, SMALL)]
    y = tf.constant(words.audio[:2])
    assert states[0].task.augment(y, (0, 0)) is y
    plain, augmented = (training.fit(state, steps=1, progress=False)[0] for state in states)
    assert plain["real_logit"] != augmented["real_logit"]


def test_saved_and_loaded_by_name(words, tmp_path):
    network = istft_gan.build_istft_gan(words, SMALL).ema_generator
    runs.save_model(tmp_path / "g.keras", network)
    loaded = weights.load_model(tmp_path / "g.keras")
    assert np.array_equal(specgan.sample(network, [0, 1]), specgan.sample(loaded, [0, 1]))


def test_the_command_line_knows_every_recipe():
    assert tuple(istft_gan.RECIPES) == cli.RECIPES


@pytest.mark.parametrize("name", istft_gan.RECIPES)
def test_every_recipe_is_built_by_name(name):
    drums = datasets.drums("train", n_per_class=1)
    config = specgan.infer_mel_config(drums)
    state = istft_gan.build_recipe(name, drums, seed=5)
    generated = specgan.sample(state.task.generator, [0])
    assert state.seed == 5
    assert specgan.decode_audio(generated, config).shape == (1, 8192)


def test_unfit_clips_are_refused(words):
    short = replace(words, audio=words.audio[:, :1000])
    with pytest.raises(InputError, match="multiple of 2048 samples"):
        istft_gan.build_istft_gan(short, SMALL)
    with pytest.raises(InputError, match="finite"):
        istft_gan.build_istft_gan(replace(words, audio=words.audio * np.nan), SMALL)
