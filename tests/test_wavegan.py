"""WaveGAN: shapes, sizes, what phase shuffle may and may not change, and an exact resume."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from conftest import check_exact_resume

from gan_audio_tut import datasets, runs, wavegan, weights
from gan_audio_tut.audio import InputError
from gan_audio_tut.specgan import sample

SMALL = wavegan.WaveGANConfig(base_channels=2, batch_size=4, latent_dim=8)


def make_dataset(audio):
    "A data set of one class with these clips."
    labels = np.zeros(len(audio), np.int32)
    return datasets.AudioDataset("mine", 8000, ("a",), audio.astype(np.float32), labels)


@pytest.fixture(scope="module")
def drums():
    return datasets.drums("train", n_per_class=4)


@pytest.fixture(scope="module")
def generator():
    return wavegan.wave_generator(8, 1024, 2)


def test_the_papers_sizes():
    "Tables 3 and 4 of the paper, at 64 base channels and 16384 samples."
    generator = wavegan.wave_generator(100, 16384, 64)
    assert generator.output_shape == (None, 16384)
    assert 19.0e6 < generator.count_params() < 19.1e6


@pytest.mark.parametrize("n", [0, 1, 3])
def test_phase_shuffle_shifts_and_reflects(n):
    "All examples and channels together, by -n to n, each about equally often."
    layer = wavegan.PhaseShuffle(n, seed=1)
    x = np.random.default_rng(0).standard_normal((2, 20, 3)).astype(np.float32)
    padded = np.pad(x, [(0, 0), (n, n), (0, 0)], mode="reflect")
    possible = np.stack([padded[:, k : k + 20] for k in range(2 * n + 1)])
    shifts = []
    for _ in range(60 * (2 * n + 1)):
        equal = (possible == layer(x).numpy()).all(axis=(1, 2, 3))
        assert equal.sum() == 1
        shifts.append(equal.argmax())
    assert np.bincount(shifts).min() > 30


def test_the_discriminator_sees_the_first_sample_and_the_last():
    discriminator = wavegan.wave_discriminator(2048, 4, phase_shuffle=0)
    y = tf.Variable(np.random.default_rng(0).standard_normal((1, 2048)).astype(np.float32))
    with tf.GradientTape() as tape:
        score = discriminator(y)
    gradient = tape.gradient(score, y).numpy()[0]
    assert gradient[0] != 0 and gradient[-1] != 0 and np.isfinite(gradient).all()


def test_resume_continues_the_sequence_of_shifts(drums, tmp_path):
    "The shuffle's seed is in the checkpoint: a resumed run is the same run."
    short = replace(drums, audio=drums.audio[:, :2048])
    recipe = replace(SMALL, n_critic=2)
    check_exact_resume(lambda: wavegan.build_wavegan(short, recipe), tmp_path)


def test_saved_and_loaded_by_name(generator, tmp_path):
    discriminator = wavegan.wave_discriminator(1024, 2)
    for name, network in (("g", generator), ("d", discriminator)):
        runs.save_model(tmp_path / f"{name}.keras", network)
        loaded = weights.load_model(tmp_path / f"{name}.keras")
        pairs = zip(network.weights, loaded.weights, strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
    shuffles = [layer for layer in loaded.layers if isinstance(layer, wavegan.PhaseShuffle)]
    assert [layer.n for layer in shuffles] == [2] * 4


def test_sampling_is_reproducible_in_any_batch(generator):
    labels = np.zeros(10)
    whole = sample(generator, labels, seed=3)
    assert np.allclose(whole, sample(generator, labels, seed=3, batch_size=4), atol=1e-6)
    assert not np.array_equal(whole, sample(generator, labels, seed=4))


@pytest.mark.parametrize(
    "audio, problem",
    [
        (np.zeros((0, 8192)), "0 clips"),
        (np.full((4, 8192), np.nan), "finite"),
        (np.zeros((4, 0)), "multiple of 1024"),
        (np.zeros((4, 8000)), "clips of 8000 samples; give a multiple of 1024, such as 7168$"),
    ],
    ids=["none", "nan", "empty", "length"],
)
def test_unfit_clips_are_refused_in_one_line(audio, problem):
    with pytest.raises(InputError, match=rf"^mine: [^\n]*{problem}"):
        wavegan.build_wavegan(make_dataset(audio))


def test_a_shift_beyond_the_frames_is_refused():
    recipe = replace(SMALL, phase_shuffle=8)
    with pytest.raises(InputError, match=r"^phase_shuffle 8: [^\n]*; give less$"):
        wavegan.build_wavegan(make_dataset(np.ones((4, 2048))), recipe)
