import keras
import numpy as np
import pytest

from gan_audio_tut import degrade, fidelity, weights
from gan_audio_tut.audio import InputError
from gan_audio_tut.restoration_net import STFTFeatures, restoration_unet
from gan_audio_tut.runs import save_model

N = 8192
SMALL = {"channels": (4, 4), "dim": 8, "dilations": (1,)}


@pytest.fixture(scope="module")
def speech():
    rng = np.random.default_rng(0)
    envelopes = np.repeat(rng.uniform(0.05, 1, (6, N // 512)), 512, 1)
    noises = [0.1 * degrade.coloured_noise(N, 8000, rng, slope_db=-4) for _ in envelopes]
    return (np.stack(noises) * envelopes).astype(np.float32)


@pytest.fixture(scope="module")
def net():
    "A restorer with large random weights, so that it changes all it may."
    net = restoration_unet(**SMALL)
    rng = np.random.default_rng(0)
    net.set_weights(
        [w if w.ndim < 2 else w + 0.2 * rng.standard_normal(w.shape) for w in net.get_weights()]
    )
    return net


def run(net, y, missing=None, task=(0, 1)):
    missing = np.zeros_like(y) if missing is None else np.float32(missing)
    return np.array(net([y, y, missing, np.tile(np.float32(task), (len(y), 1))]))


def test_undamaged_sound_stays_bit_for_bit(net, speech):
    assert np.array_equal(run(net, speech), speech)


def test_only_missing_samples_change_and_clipped_ones_only_outwards(net, speech):
    rows = [degrade.hard_clip(y, clip_db=6) for y in speech]
    clipped, missing = (np.stack(column) for column in zip(*rows, strict=True))
    out = run(net, clipped, missing)
    assert np.array_equal(out[~missing], clipped[~missing])
    assert not np.array_equal(out[missing], clipped[missing])
    assert (np.abs(out[missing]) >= np.abs(clipped[missing])).all()
    assert (np.sign(out[missing]) == np.sign(clipped[missing])).all()


def test_a_missing_band_changes_above_the_cutoff_alone(net, speech):
    change = (run(net, speech, task=(0, 0.5)) - speech) * np.hanning(N)
    spectrum = np.abs(np.fft.rfft(change, axis=1)).max(0)
    below, above = spectrum[: int(0.45 * N / 2)], spectrum[int(0.52 * N / 2) :]
    assert below.max() < 0.02 * above.max()


def test_denoising_may_change_everything(net, speech):
    assert fidelity.si_sdr(speech[0], run(net, speech, task=(1, 1))[0]) < 30


@pytest.mark.parametrize("shape", [(1, 1000), (3, 5001)])
def test_any_length_and_any_number(net, shape):
    assert run(net, 0.1 * np.ones(shape, np.float32), task=(1, 1)).shape == shape


def test_saved_and_loaded_it_is_the_same(net, speech, tmp_path):
    save_model(tmp_path / "net.keras", net)
    loaded = weights.load_model(tmp_path / "net.keras")
    before, after = (run(network, speech, task=(1, 0.6)) for network in (net, loaded))
    assert np.allclose(after, before, atol=1e-6)


def test_bad_sizes():
    with pytest.raises(InputError, match="n_fft 500"):
        restoration_unet(n_fft=500)


def test_symbolic_shapes_are_the_real_ones():
    filled, missing = np.zeros((2, 1000), "float32"), np.ones((2, 1000), "float32")
    arrays = [filled, missing, np.float32([[0, 1], [1, 1]])]
    symbols = [keras.Input(batch_shape=v.shape) for v in arrays]
    features, symbolic = STFTFeatures()(*arrays), STFTFeatures()(*symbols)
    assert [v.shape for v in symbolic] == [tuple(v.shape) for v in features]
    assert {v.dtype for v in symbolic} == {"float32"}
