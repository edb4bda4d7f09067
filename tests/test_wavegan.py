"""WaveGAN: shapes, sizes, what phase shuffle may and may not change, and a resumed run to the bit."""

import numpy as np
import pytest
import tensorflow as tf

from gan_audio_tut import datasets, runs, training, wavegan, weights
from gan_audio_tut.audio import InputError
from gan_audio_tut.specgan import sample

CLIPS = datasets.drums("train", n_per_class=4)
SMALL = wavegan.WaveGANConfig(base_channels=2, batch_size=4, latent_dim=8)


def test_the_papers_sizes():
    "Tables 3 and 4 of the paper, at width 64 and 16384 samples."
    assert wavegan.wave_generator(100, 16384, 64).output_shape == (None, 16384)
    assert 19.0e6 < wavegan.wave_generator(100, 16384, 64).count_params() < 19.1e6


@pytest.mark.parametrize("n", [0, 1, 3])
def test_phase_shuffle_moves_and_mirrors(n):
    "All examples and channels together, by -n to n, each about equally often."
    layer, x = (
        wavegan.PhaseShuffle(n, seed=1),
        np.random.default_rng(0).standard_normal((2, 20, 3)).astype(np.float32),
    )
    padded = np.pad(x, [(0, 0), (n, n), (0, 0)], mode="reflect")
    moved = [
        next(k for k in range(2 * n + 1) if np.array_equal(y, padded[:, k : k + 20]))
        for y in (layer(x).numpy() for _ in range(60 * (2 * n + 1)))
    ]
    assert np.bincount(moved).min() > 30


def test_the_critic_sees_the_last_sample_and_the_first():
    critic, y = (
        wavegan.wave_discriminator(2048, 4, phase_shuffle=0),
        tf.Variable(np.random.default_rng(0).standard_normal((1, 2048)).astype(np.float32)),
    )
    with tf.GradientTape() as tape:
        out = critic(y)
    g = tape.gradient(out, y).numpy()[0]
    assert g[0] != 0 and g[-1] != 0 and np.isfinite(g).all()


def test_resume_draws_on(tmp_path):
    "The shuffle's seed is in the checkpoint: a resumed run is the same run."
    whole = wavegan.build_wavegan(CLIPS, SMALL)
    wanted = training.fit(whole, steps=11, progress=False)
    first = wavegan.build_wavegan(CLIPS, SMALL)
    training.fit(first, steps=6, progress=False)
    runs.save_checkpoint(tmp_path / "0000006.npz", first)
    second = wavegan.build_wavegan(CLIPS, SMALL)
    runs.load_checkpoint(tmp_path / "0000006.npz", second)
    assert training.fit(second, steps=11, progress=False) == wanted[6:]
    assert all(np.array_equal(a, b) for a, b in zip(whole.variables, second.variables))


def test_saved_and_loaded_by_name(tmp_path):
    for name, net in (
        ("g", wavegan.wave_generator(8, 1024, 2)),
        ("d", wavegan.wave_discriminator(1024, 2)),
    ):
        runs.save_model(tmp_path / f"{name}.keras", net)
        again = weights.load_model(tmp_path / f"{name}.keras")
        assert all(np.array_equal(a, b) for a, b in zip(net.weights, again.weights))
    assert any(isinstance(l, wavegan.PhaseShuffle) and l.n == 2 for l in again.layers)


def test_unfit_clips_are_refused():
    with pytest.raises(
        InputError, match="^[^\n]*: clips of 8000 samples; give a multiple of 1024, such as 7168$"
    ):
        wavegan.build_wavegan(
            datasets.AudioDataset(
                "mine", 8000, ("a",), np.zeros((4, 8000), np.float32), np.zeros(4, np.int32)
            )
        )


def test_from_noise_is_reproducible_in_any_batch():
    net = wavegan.wave_generator(8, 1024, 2)
    assert np.allclose(
        sample(net, np.zeros(10), seed=3),
        sample(net, np.zeros(10), seed=3, batch_size=4),
        atol=1e-6,
    )
    assert not np.array_equal(sample(net, np.zeros(4), seed=3), sample(net, np.zeros(4), seed=4))


@pytest.mark.parametrize(
    "audio, problem",
    [
        (np.zeros((0, 8192)), "0 clips"),
        (np.full((4, 8192), np.nan), "finite"),
        (np.zeros((4, 0)), "multiple of 1024"),
    ],
    ids=["none", "nan", "empty"],
)
def test_no_or_bad_sound_is_refused(audio, problem):
    with pytest.raises(InputError, match=f"^mine: [^\n]*{problem}"):
        wavegan.build_wavegan(
            datasets.AudioDataset(
                "mine", 8000, ("a",), audio.astype(np.float32), np.zeros(len(audio), np.int32)
            )
        )


def test_a_shuffle_wider_than_the_frames_is_refused():
    with pytest.raises(InputError, match="^shuffle 8: [^\n]*; give less$"):
        wavegan.build_wavegan(
            datasets.AudioDataset(
                "mine", 8000, ("a",), np.ones((4, 2048), np.float32), np.zeros(4, np.int32)
            ),
            wavegan.WaveGANConfig(phase_shuffle=8),
        )
