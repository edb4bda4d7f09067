"""Discriminators: shapes, receptive fields, what each can and cannot see, and their combination."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_audio_tut import discriminators, losses, specgan
from gan_audio_tut.audio import InputError
from gan_audio_tut.mel import MelConfig, log_mel


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).standard_normal((2, 1024)).astype(np.float32)


def test_log_spectrogram_of_silence_and_of_a_tone():
    tone = np.sin(2 * np.pi * 1000 * np.arange(4096) / 8000)
    y = np.stack([np.zeros(4096), tone]).astype(np.float32)
    silent, tonal = discriminators.log_spectrogram(y, 64, 32).numpy()
    assert silent.shape == (128, 32) and np.allclose(silent, np.log(1e-3) / 3.5 + 1)
    assert tonal.argmax(-1)[1:].tolist() == [8] * 127  # 1000 Hz is bin 8 of 64 at 8 kHz
    assert tonal.min() > -1 and tonal.max() < 2


def test_log_spectrogram_has_a_finite_gradient_at_silence():
    y = tf.Variable(tf.zeros((1, 1024)))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(discriminators.log_spectrogram(y, 64, 32))
    assert np.isfinite(tape.gradient(total, y).numpy()).all()


@pytest.mark.parametrize("num_classes", [0, 3])
def test_short_window_discriminator_gives_one_logit(num_classes):
    network = discriminators.short_window_discriminator(
        num_classes, frames=32, bins=8, base_channels=2
    )
    spectrogram = tf.zeros((5, 32, 8))
    labels = tf.constant([0, 1, 2, 0, 1])
    logits = network([spectrogram, labels] if num_classes else spectrogram)
    assert logits.shape == (5, 1) and logits.dtype == "float32"


def frames_seen_by(network, bins, patch, frames=512):
    "Frames on which one patch logit depends, by its gradient."
    x = tf.Variable(np.random.default_rng(0).standard_normal((1, frames, bins)), dtype="float32")
    with tf.GradientTape() as tape:
        logit = network(x)[0][0, patch]
    gradient = np.abs(tape.gradient(logit, x).numpy()[0]).max(axis=1)
    return np.flatnonzero(gradient > 0)


def test_a_patch_logit_of_the_resolution_discriminator_sees_41_frames():
    visible = frames_seen_by(discriminators.resolution_discriminator(16, 4), 16, patch=60)
    assert visible.tolist() == list(range(visible[0], visible[0] + 41))
    assert visible[0] <= 4 * 60 <= visible[-1]


def test_a_patch_logit_of_the_patch_discriminator_sees_70_frames():
    "The 70 x 70 PatchGAN has kernels of 4 with strides 2, 2, 2, 1 and 1."
    patches_per_frame = 16 // 8
    network = discriminators.patch_discriminator(16, 2)
    visible = frames_seen_by(network, 16, patch=30 * patches_per_frame)
    assert visible.tolist() == list(range(visible[0], visible[0] + 70))


@pytest.mark.parametrize("frames", [64, 128])
def test_patch_logits_grow_with_the_length(frames):
    x = np.zeros((2, frames, 16), np.float32)
    by_resolution = discriminators.resolution_discriminator(16, 2)(x)
    by_patch = discriminators.patch_discriminator(16, 2)(x)
    assert by_resolution[0].shape == (2, frames // 4) and len(by_resolution) == 5
    assert by_patch[0].shape == (2, frames // 8 * 2) and len(by_patch) == 5


def test_a_period_discriminator_reads_columns():
    "A change of one sample in column 1 changes no feature of columns 0 and 2."
    network = discriminators.period_discriminator(1024, 3)
    silent = np.zeros((1, 1024), np.float32)
    touched = silent.copy()
    touched[0, 301] = 1
    by_column = np.abs(network(touched)[1] - network(silent)[1])[0].max((0, 2))
    assert by_column[1] > 0 and by_column[0] == by_column[2] == 0


def test_a_period_discriminator_leaves_out_the_last_broken_row():
    network = discriminators.period_discriminator(1024, 3, channels=(4,))
    silent = np.zeros((1, 1024), np.float32)
    touched = silent.copy()
    touched[0, 1023] = 1  # 341 rows of 3 are 1023 samples
    assert np.array_equal(network(touched)[0], network(silent)[0])


@pytest.mark.parametrize("period", [0, -1, 1025])
def test_an_impossible_period_is_refused(period):
    with pytest.raises(InputError, match="period"):
        discriminators.period_discriminator(1024, period)


def test_magnitudes_hide_the_sign_that_an_mpd_sees(noise):
    spectrograms = [discriminators.log_spectrogram(y, 64, 32) for y in (noise, -noise)]
    network = discriminators.period_discriminator(1024, 5, channels=(8, 8))
    logits = [network(y)[0].numpy() for y in (noise, -noise)]
    assert np.allclose(*spectrograms, atol=1e-6)
    assert np.abs(logits[0] - logits[1]).max() > 1e-3


@pytest.mark.parametrize("num_classes", [0, 10])
def test_multi_discriminator_puts_logits_side_by_side(num_classes):
    members = [
        specgan.spectrogram_discriminator(num_classes, frames=16, n_mels=16, base_channels=2),
        discriminators.short_window_discriminator(num_classes, frames=64, bins=8, base_channels=2),
    ]
    label = [tf.range(3)] if num_classes else []
    d_inputs = [tf.random.stateless_normal((3, *d.inputs[0].shape[1:]), (0, 1)) for d in members]
    separate = [
        member([x, *label] if label else x) for member, x in zip(members, d_inputs, strict=True)
    ]
    together = discriminators.MultiDiscriminator(members, num_classes)([*d_inputs, *label])
    assert np.allclose(together, tf.concat(separate, 1), atol=1e-6)


def test_multi_discriminator_appends_all_features(noise):
    resolution = discriminators.resolution_discriminator(16, 4)
    period = discriminators.period_discriminator(512, 3)
    x = np.random.default_rng(0).standard_normal((2, 64, 16)).astype("float32")
    y = noise[:, :512]
    logits, *features = discriminators.MultiDiscriminator([resolution, period])([x, y])
    separate = [resolution(x), period(y)]
    assert np.allclose(logits, np.concatenate([s[0] for s in separate], 1), atol=1e-6)
    expected = [f for s in separate for f in s[1:]]
    assert len(features) == len(expected) == 8
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(features, expected, strict=True))


def test_no_discriminators_are_refused():
    with pytest.raises(InputError, match="at least one"):
        discriminators.MultiDiscriminator([])


def test_both_discriminators_pass_a_finite_gradient_at_silence():
    y = tf.Variable(tf.zeros((2, 8192)))
    members = [
        specgan.spectrogram_discriminator(base_channels=2),
        discriminators.short_window_discriminator(base_channels=2),
    ]
    discriminator = discriminators.MultiDiscriminator(members, 10)
    with tf.GradientTape() as tape:
        d_inputs = [log_mel(y, MelConfig()), discriminators.log_spectrogram(y, 64, 32)]
        loss = tf.reduce_sum(discriminator([*d_inputs, tf.zeros(2, tf.int32)]))
    assert np.isfinite(tape.gradient(loss, y).numpy()).all()


def test_a_conditional_discriminator_is_its_member_on_stacked_bins():
    member = discriminators.resolution_discriminator(16, 2)
    conditional = discriminators.conditional_discriminator(member, 8)
    x, condition = tf.random.stateless_normal((2, 3, 32, 8), (0, 1))
    logits, *features = conditional([x, condition])
    expected = member(tf.concat([x, condition], axis=-1))
    assert np.allclose(logits, expected[0], atol=1e-6) and len(features) == 4
    assert not np.allclose(logits, conditional([condition, x])[0])


def test_a_member_for_one_spectrogram_cannot_be_conditioned():
    with pytest.raises(InputError, match="give one of 16"):
        discriminators.conditional_discriminator(discriminators.resolution_discriminator(8, 2), 8)


def test_r1_is_taken_of_the_sum_of_all_patch_logits():
    member = discriminators.resolution_discriminator(8, 2)
    x = tf.Variable(tf.random.stateless_normal((2, 64, 8), (0, 0)))
    with tf.GradientTape(persistent=True) as tape:
        logits = member(x)[0]
        total = tf.reduce_sum(logits)
    by_loop = losses.r1_penalty([tape.gradient(logits, x)])
    by_sum = losses.r1_penalty([tape.gradient(total, x)])
    assert np.isclose(by_loop, by_sum)


def test_half_precision_leaves_the_logits_in_float32(noise):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        members = [
            discriminators.resolution_discriminator(8, 2),
            discriminators.patch_discriminator(8, 2),
            discriminators.period_discriminator(1024, 3, channels=(4,)),
        ]
        together = discriminators.MultiDiscriminator(members)
    finally:
        keras.config.set_dtype_policy("float32")
    spectrogram = np.zeros((2, 64, 8), np.float32)
    d_inputs = [spectrogram, spectrogram, noise]
    outputs = [member(x) for member, x in zip(members, d_inputs, strict=True)]
    assert [logits.dtype for logits, *_ in outputs] == ["float32"] * 3
    assert [feature.dtype for _, feature, *_ in outputs] == ["bfloat16"] * 3
    assert together(d_inputs)[0].dtype == "float32"
