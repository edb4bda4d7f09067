"""The spectral head, its listeners, augmentation, and the door to every recipe."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_audio_tut import (
    cli,
    datasets,
    discriminators,
    istft_gan,
    mel,
    runs,
    specgan,
    training,
    weights,
)
from gan_audio_tut.audio import InputError

CLIPS = datasets.digits("train").take(slice(0, 64))
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


def set_head(n_fft, hop):
    "A head that gives back the numbers it is told."
    head = istft_gan.ISTFTHead(n_fft, hop, log_magnitude_bias=0.0)
    n = 3 * (n_fft // 2 + 1)
    head.build((1, None, n))
    head.proj.set_weights([np.eye(n, dtype=np.float32), np.zeros(n, np.float32)])
    return head


@pytest.mark.parametrize("n_fft, hop", [(512, 128), (256, 64), (128, 32)])
@pytest.mark.parametrize("gain", [0.0, -2.0])
def test_the_head_says_what_it_is_told(n_fft, hop, gain):
    x = np.random.default_rng(0).standard_normal((2, 32 * hop)).astype(np.float32)
    real, imag = mel.stft(x, n_fft, hop)
    y = set_head(n_fft, hop)(tf.concat([0 * real + gain, real, imag], -1))
    assert y.shape == x.shape and np.allclose(y, np.exp(gain) * x, atol=1e-5)


def test_the_head_neither_overflows_nor_goes_dead():
    "A gain far too high is held, and the directions still learn."
    head, told = set_head(128, 32), tf.Variable(tf.fill((1, 9, 195), 500.0))
    with tf.GradientTape() as tape:
        y = head(told)
        loss = tf.reduce_sum(tf.abs(y))
    gain, a, b = np.split(tape.gradient(loss, told).numpy(), 3, -1)
    assert (
        np.isfinite(y).all()
        and np.abs(y).max() > 0
        and np.isfinite(a).all()
        and np.abs(a).max() > 0
    )


def test_the_head_takes_any_number_of_frames():
    inputs = keras.Input((None, 8))
    net = keras.Model(inputs, istft_gan.ISTFTHead(128, 32)(inputs))
    assert [net(np.zeros((1, n, 8), np.float32)).shape[1] for n in (2, 9, 100)] == [
        32,
        256,
        99 * 32,
    ]


@pytest.mark.parametrize("dilation, ends", [(1, (17, 23)), (4, (14, 26))])
def test_the_reach_of_a_block(dilation, ends):
    inputs = keras.Input((40, 4))
    net = keras.Model(
        inputs,
        istft_gan.convnext_block(
            istft_gan.convnext_block(inputs, kernel_size=5), kernel_size=3, dilation_rate=dilation
        ),
    )
    x = np.random.default_rng(0).standard_normal((1, 40, 4)).astype(np.float32)
    y = x.copy()
    y[0, 20] += 1
    touched = np.flatnonzero(np.abs(net(x) - net(y)).max((0, 2)) > 1e-7)
    assert (touched[0], touched[-1]) == ends


@pytest.mark.parametrize("frames, classes, hop", [(64, 10, 128), (32, 3, 64), (16, 0, 128)])
def test_the_generators_shape(frames, classes, hop):
    net = istft_gan.istft_generator(8, classes, frames, 2, 8, 1, n_fft=4 * hop, hop_length=hop)
    assert specgan.sample(net, np.zeros(3)).shape == (3, frames * hop)


def test_a_fresh_generator_is_quiet():
    assert np.abs(specgan.sample(istft_gan.istft_generator(), np.arange(10))).max() < 0.1


def test_log_spectrogram():
    y = np.stack([np.zeros(4096), np.sin(2 * np.pi * 1000 * np.arange(4096) / 8000)]).astype(
        np.float32
    )
    p = discriminators.log_spectrogram(y, 64, 32).numpy()
    assert p.shape == (2, 128, 32) and np.allclose(p[0], np.log(1e-3) / 3.5 + 1)
    assert p[1].argmax(-1)[1:].tolist() == [8] * 127 and p.min() > -1 and p.max() < 2


def test_the_listeners_pass_a_finite_gradient_at_silence():
    y = tf.Variable(tf.zeros((2, 8192)))
    view = istft_gan.make_d_transform(mel.MelConfig(), SMALL)
    judge = discriminators.MultiDiscriminator(
        [
            specgan.spectrogram_discriminator(base_channels=2),
            discriminators.short_window_discriminator(base_channels=2),
        ],
        10,
    )
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(judge([*view(y), tf.zeros(2, tf.int32)]))
    assert np.isfinite(tape.gradient(loss, y).numpy()).all()


@pytest.mark.parametrize("share", [1.0, 0.1, 0.0])
def test_a_share_of_the_slope(share):
    x = tf.Variable([[0.3, -2.0, 1e-3]])
    with tf.GradientTape() as tape:
        y = istft_gan.scale_gradient(x, share)
    assert np.allclose(y, x, rtol=1e-6) and np.allclose(tape.gradient(y, x), share, atol=1e-7)


def test_the_share_reaches_the_generator_through_the_view():
    steep = []
    for share in (1.0, 0.1):
        y = tf.Variable(CLIPS.audio[:2])
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(
                istft_gan.make_d_transform(mel.MelConfig(), replace(SMALL, grad_scale=share))(y)[1]
            )
        steep.append(tape.gradient(loss, y).numpy())
    assert np.abs(steep[0]).max() > 0 and np.allclose(
        steep[1], 0.1 * steep[0], rtol=1e-3, atol=1e-9
    )


@pytest.mark.parametrize("classes", [0, 10])
def test_together_is_side_by_side(classes):
    parts = [
        specgan.spectrogram_discriminator(classes, 16, 16, 2),
        discriminators.short_window_discriminator(classes, 64, 8, 2),
    ]
    label = [tf.range(3)] if classes else []
    views = [tf.random.stateless_normal((3, *d.inputs[0].shape[1:]), (0, 1)) for d in parts]
    apart = [d([v, *label] if classes else v) for d, v in zip(parts, views)]
    assert np.allclose(
        discriminators.MultiDiscriminator(parts, classes)([*views, *label]),
        tf.concat(apart, 1),
        atol=1e-6,
    )


def test_moved_moves_and_scales_each_sound_by_itself():
    y = np.zeros((200, 2048), np.float32)
    y[:, 1000] = 0.5
    z = istft_gan.augment(y, training.fold_in(0, 7), 100, 6.0).numpy()
    at, level = z.argmax(1) - 1000, 20 * np.log10(z.max(1) / 0.5)
    assert at.min() < -80 and at.max() > 80 and np.abs(at).max() <= 100 and abs(at.mean()) < 15
    assert level.min() < -5 and level.max() > 5 and np.abs(level).max() <= 6.001
    assert (np.count_nonzero(z, 1) == 1).all()
    assert np.array_equal(z, istft_gan.augment(y, training.fold_in(0, 7), 100, 6.0))
    assert not np.array_equal(z, istft_gan.augment(y, training.fold_in(0, 8), 100, 6.0))


def test_a_resumed_run_is_the_run(tmp_path):
    "Moved sounds and both discriminators included."
    whole = istft_gan.build_istft_gan(CLIPS, SMALL)
    wanted = training.fit(whole, steps=6, progress=False)
    first, second = istft_gan.build_istft_gan(CLIPS, SMALL), istft_gan.build_istft_gan(CLIPS, SMALL)
    training.fit(first, steps=3, progress=False)
    runs.save_checkpoint(tmp_path / "0000003.npz", first)
    runs.load_checkpoint(tmp_path / "0000003.npz", second)
    assert training.fit(second, steps=6, progress=False) == wanted[3:]
    assert all(np.array_equal(a, b) for a, b in zip(whole.variables, second.variables))


def test_augmentation_changes_what_is_judged_and_not_what_is_made():
    "The same first step but for what the discriminator hears."
    plain, other = (
        training.fit(istft_gan.build_istft_gan(CLIPS, r), steps=1, progress=False)[0]
        for r in (replace(SMALL, shift=0.0, gain_db=0.0), SMALL)
    )
    assert plain["real_logit"] != other["real_logit"]
    quiet = istft_gan.build_istft_gan(CLIPS, replace(SMALL, shift=0.0, gain_db=0.0))
    y = tf.constant(CLIPS.audio[:2])
    assert quiet.task.augment(y, (0, 0)) is y


def test_saved_and_loaded_by_name(tmp_path):
    net = istft_gan.build_istft_gan(CLIPS, SMALL).ema
    runs.save_model(tmp_path / "g.keras", net)
    loaded = weights.load_model(tmp_path / "g.keras")
    assert np.array_equal(specgan.sample(net, [0, 1]), specgan.sample(loaded, [0, 1]))


def test_every_recipe_comes_through_the_door():
    assert cli.RECIPES == tuple(istft_gan.RECIPES)
    drums = datasets.drums("train", n_per_class=1)
    for name in istft_gan.RECIPES:
        state = istft_gan.build_recipe(name, drums, seed=5)
        made = specgan.sample(state.task.generator, [0])
        assert state.seed == 5 and specgan.decode_audio(
            made, specgan.infer_mel_config(drums)
        ).shape == (
            1,
            8192,
        )


def test_unfit_clips_are_refused():
    short = replace(CLIPS, audio=CLIPS.audio[:, :1000])
    with pytest.raises(InputError, match="multiple of 2048 samples"):
        istft_gan.build_istft_gan(short, SMALL)
    with pytest.raises(InputError, match="finite"):
        istft_gan.build_istft_gan(replace(CLIPS, audio=CLIPS.audio * np.nan), SMALL)
