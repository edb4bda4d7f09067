from dataclasses import replace

import numpy as np
import pytest

from gan_audio_tut import degrade, fidelity, weights
from gan_audio_tut.audio import InputError
from gan_audio_tut.fidelity import compressed_stft_loss, estoi_loss, si_sdr_loss, third_octave_bands
from gan_audio_tut.restoration_net import restoration_unet
from gan_audio_tut.restoration_training import (
    RestorationConfig,
    build_restoration_gan,
    paired_batches,
    training_bank,
    training_noises,
)
from gan_audio_tut.runs import save_model

N = 8192
SMALL = dict(channels=(4, 4), dim=8, dilations=(1,))


def speech(n=6, samples=N, seed=0):
    rng = np.random.default_rng(seed)
    swell = np.repeat(rng.uniform(0.05, 1, (n, samples // 512)), 512, 1)
    return np.stack(
        [0.1 * degrade.coloured_noise(samples, 8000, rng, -4) * s for s in swell]
    ).astype(np.float32)


@pytest.fixture(scope="module")
def net():
    "A restorer whose last layer is loud, so that it changes all it may."
    net = restoration_unet(**SMALL)
    rng = np.random.default_rng(0)
    net.set_weights(
        [w if w.ndim < 2 else w + 0.2 * rng.standard_normal(w.shape) for w in net.get_weights()]
    )
    return net


def ask(net, y, guess=None, lost=None, wanted=(0, 1)):
    lost = np.zeros_like(y) if lost is None else lost
    return np.array(
        net(
            [
                y,
                y if guess is None else guess,
                np.float32(lost),
                np.tile(np.float32(wanted), (len(y), 1)),
            ]
        )
    )


def test_what_is_whole_stays_bit_for_bit(net):
    y = speech()
    assert np.array_equal(ask(net, y), y)


def test_only_lost_samples_change_and_clipped_ones_only_outwards(net):
    y = speech()
    clipped, lost = (np.stack(v) for v in zip(*(degrade.hard_clip(v, 6) for v in y)))
    out = ask(net, clipped, lost=lost)
    assert np.array_equal(out[~lost], clipped[~lost]) and not np.array_equal(
        out[lost], clipped[lost]
    )
    assert (np.abs(out[lost]) >= np.abs(clipped[lost])).all() and (
        np.sign(out[lost]) == np.sign(clipped[lost])
    ).all()


def test_lost_bands_change_above_the_cut_alone(net):
    y = speech()
    change = np.abs(np.fft.rfft((ask(net, y, wanted=(0, 0.5)) - y) * np.hanning(N), axis=1)).max(0)
    assert change[: int(0.45 * N / 2)].max() < 0.02 * change[int(0.52 * N / 2) :].max()


def test_noise_may_change_everything(net):
    y = speech()
    assert fidelity.si_sdr(y[0], ask(net, y, wanted=(1, 1))[0]) < 30


def test_any_length_and_any_number(net):
    for shape in ((1, 1000), (3, 5001)):
        assert ask(net, 0.1 * np.ones(shape, np.float32), wanted=(1, 1)).shape == shape


def test_saved_and_loaded_it_is_the_same(net, tmp_path):
    save_model(tmp_path / "net.keras", net)
    y = speech()
    assert np.allclose(
        ask(weights.load_model(tmp_path / "net.keras"), y, wanted=(1, 0.6)),
        ask(net, y, wanted=(1, 0.6)),
        atol=1e-6,
    )


def test_scale_free_is_si_sdr_below_its_bound():
    x = speech()
    for snr in (-5, 5, 15):
        y = np.stack(
            [
                degrade.add_noise(
                    v, degrade.coloured_noise(N, 8000, np.random.default_rng(k)), snr
                )[0]
                for k, v in enumerate(x)
            ]
        )
        assert -float(si_sdr_loss(x, y)) == pytest.approx(
            np.mean([fidelity.si_sdr(a, b) for a, b in zip(x, y)]), abs=0.15
        )
    assert -float(si_sdr_loss(x, x)) == pytest.approx(30, abs=0.5), "the bound"


def test_the_bands_are_those_of_pystoi():
    pystoi = pytest.importorskip("pystoi.utils")
    theirs = pystoi.thirdoct(10000, 512, 15, 150)[0]
    ours = third_octave_bands(10000, 512).T
    assert ours.shape == theirs.shape and np.abs(ours - theirs).sum(1).max() <= 2, (
        "edges may fall on a neighbouring bin"
    )


def test_likeness_follows_intelligibility():
    x = speech(8, 4 * N)
    rng, ours, theirs = np.random.default_rng(0), [], []
    for snr in (-5, 0, 5, 10, 20):
        y = np.stack(
            [degrade.add_noise(v, degrade.coloured_noise(4 * N, 8000, rng), snr)[0] for v in x]
        )
        ours.append(1 - float(estoi_loss(x, y, 8000)))
        theirs.append(np.mean([fidelity.stoi(a, b, 8000, extended=True) for a, b in zip(x, y)]))
    assert (np.diff(ours) > 0).all() and np.corrcoef(ours, theirs)[0, 1] > 0.98


def test_distances_have_a_slope_at_silence():
    import tensorflow as tf

    x, y = tf.zeros((2, N)), tf.Variable(tf.zeros((2, N)))
    for f in (si_sdr_loss, compressed_stft_loss, lambda a, b: estoi_loss(a, b, 8000)):
        with tf.GradientTape() as tape:
            loss = f(x, y)
        g = tape.gradient(loss, y)
        assert np.isfinite(float(loss)) and np.isfinite(g).all()


def test_the_bank_knows_what_it_did():
    x = speech()
    y, guess, lost, which, clipped = training_bank(x, 8000, 5, 4)
    assert clipped == 5 and y.shape == guess.shape == lost.shape == (9, N) and which.shape == (9,)
    assert np.array_equal(y[~lost], x[which][~lost]) and np.array_equal(guess[~lost], y[~lost])
    assert (y[5:][lost[5:]] == 0).all() and (np.abs(y[:5][lost[:5]]) > 0).all()


def test_noises_have_one_level_and_come_by_seed():
    a, b = (training_noises(20, N, 8000, [speech()[0]], list(speech()), seed=s) for s in (0, 0))
    assert (
        np.array_equal(a, b)
        and np.allclose(np.sqrt((a**2).mean(1)), 0.1, atol=1e-3)
        and len({v.tobytes() for v in a}) == 20
    )


def test_pairs_are_what_the_recipe_says():
    x = speech(20)
    recipe = RestorationConfig(shares=(4, 2, 2, 2), snr=(5, 5))
    (y, guess, lost, wanted), clean = (
        tuple(map(np.array, v)) if isinstance(v, tuple) else np.array(v)
        for v in paired_batches(
            x, training_noises(9, N, 8000), training_bank(x, 8000, 7, 3), recipe
        )(3, 7)
    )
    assert np.allclose([fidelity.snr(a, b) for a, b in zip(clean[:4], y[:4])], 5, atol=0.05)
    assert (
        wanted[:8].tolist() == [[1, 1]] * 4 + [[0, 1]] * 4
        and (wanted[8:, 0] == 0).all()
        and (wanted[8:, 1] < 0.86).all()
    )
    assert not lost[:4].any() and lost[4:8].any(1).all() and not lost[8:].any()
    assert all((y[k][lost[k] > 0] != 0).all() for k in (4, 5)) and all(
        (y[k][lost[k] > 0] == 0).all() for k in (6, 7)
    ), "clipped first, then holes"
    for k in (8, 9):
        above = np.abs(np.fft.rfft(y[k]))[int(wanted[k, 1] * N / 2) + 1 :]
        assert above.max() < 1e-3 * np.abs(np.fft.rfft(y[k])).max()
    level = 20 * np.log10(np.sqrt((y**2).mean(1)) / 0.1)
    assert (level > -15.1).all() and (level < 6.1).all()


def test_a_run_learns_and_the_opponent_sees_the_damage():
    from gan_audio_tut import training

    x, z = speech(12), training_noises(12, N, 8000)
    recipe = RestorationConfig(shares=(1, 1, 1, 1), adversarial=0.1, d_channels=4)
    state = build_restoration_gan(x, z, training_bank(x, 8000, 4, 4), 8000, recipe, **SMALL)
    rows = training.fit(state, steps=2, progress=False)
    assert (
        all(np.isfinite(v) for row in rows for v in row.values())
        and {"r1", "samples", "spectra", "likeness"} <= rows[0].keys()
    )
    given, real = state.task.batch(0, 0)
    view = state.task.d_transform(real)
    one, other = (
        np.array(state.task.discriminator([view, *state.task.condition(g)])[0])
        for g in (given, [given[0], given[1] * 0.1, *given[2:]])
    )
    assert not np.allclose(one, other)


@pytest.mark.parametrize(
    "bad, why",
    [
        (np.zeros((0, N)), "speech: got shape"),
        (np.zeros((3, 100)), "at least 8192"),
        (np.full((3, N), np.nan), "finite"),
        (np.zeros((3, 2 * N)), "give as many"),
    ],
)
def test_lessons_that_are_none(bad, why):
    with pytest.raises(InputError, match=why):
        build_restoration_gan(
            bad.astype(np.float32), speech(), training_bank(speech(), 8000, 1, 1), 8000, **SMALL
        )


@pytest.mark.parametrize(
    "change",
    [
        {"shares": (1, 2)},
        {"shares": (0, 1, 1, 1)},
        {"shares": (2.5, 1, 1, 1)},
        {"rate": 0},
        {"rate": np.nan},
        {"ema": 1.0},
        {"likeness": -1},
        {"snr": (9, 1)},
        {"highest": (0, 2)},
    ],
)
def test_recipes_that_are_none(change):
    with pytest.raises(InputError):
        replace(RestorationConfig(), **change)


@pytest.mark.parametrize(
    "shape, sounds", [((0, N), (1, 1)), ((3, 1000), (1, 1)), ((3, N), (0, 1)), ((N,), (1, 1))]
)
def test_banks_that_are_none(shape, sounds):
    with pytest.raises(InputError, match="bank: "):
        training_bank(np.zeros(shape, np.float32), 8000, *sounds)


def test_noises_and_networks_that_are_none():
    with pytest.raises(InputError, match="at least 1"):
        training_noises(0, N, 8000)
    with pytest.raises(InputError, match="n_fft 500"):
        restoration_unet(n_fft=500)


@pytest.mark.parametrize("sr", [8000, 11025, 16000, 22050, 44100])
def test_likeness_at_any_rate(sr):
    assert third_octave_bands(sr, 2 * round(0.016 * sr)).sum(0).min() >= 1
    y = 0.1 * degrade.coloured_noise(sr, sr, np.random.default_rng(0))[None]
    assert float(estoi_loss(y, y, sr)) < 0.01
    with pytest.raises(InputError, match="0.4 s"):
        estoi_loss(y[:, : sr // 10], y[:, : sr // 10], sr)
