from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from gan_audio_tut import degrade, fidelity, training
from gan_audio_tut.audio import InputError
from gan_audio_tut.fidelity import compressed_stft_loss, estoi_loss, si_sdr_loss, third_octave_bands
from gan_audio_tut.restoration_training import (
    RestorationConfig,
    build_restoration_gan,
    interpolate_weights,
    paired_batches,
    training_bank,
    training_noises,
)

N = 8192
SMALL = {"channels": (4, 4), "dim": 8, "dilations": (1,)}


def make_speech(n=6, samples=N, seed=0):
    rng = np.random.default_rng(seed)
    envelopes = np.repeat(rng.uniform(0.05, 1, (n, samples // 512)), 512, 1)
    noises = [0.1 * degrade.coloured_noise(samples, 8000, rng, slope_db=-4) for _ in envelopes]
    return (np.stack(noises) * envelopes).astype(np.float32)


@pytest.fixture(scope="module")
def speech():
    return make_speech(12)


@pytest.fixture(scope="module")
def noises():
    return training_noises(12, N, 8000)


@pytest.fixture(scope="module")
def bank(speech):
    return training_bank(speech, 8000, n_clipped=4, n_dropouts=4)


def test_si_sdr_loss_is_si_sdr_below_its_bound(speech):
    for snr in (-5, 5, 15):
        noisy = []
        for k, clean in enumerate(speech):
            noise = degrade.coloured_noise(N, 8000, np.random.default_rng(k))
            noisy.append(degrade.add_noise(clean, noise, snr_db=snr)[0])
        expected = np.mean([fidelity.si_sdr(a, b) for a, b in zip(speech, noisy, strict=True)])
        assert -float(si_sdr_loss(speech, np.stack(noisy))) == pytest.approx(expected, abs=0.15)
    assert -float(si_sdr_loss(speech, speech)) == pytest.approx(30, abs=0.5), "the bound"


def test_the_third_octave_bands_are_those_of_pystoi():
    pystoi = pytest.importorskip("pystoi.utils")
    theirs = pystoi.thirdoct(10000, 512, 15, 150)[0]
    ours = third_octave_bands(10000, 512).T
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).sum(1).max() <= 2, "edges may fall on a neighbouring bin"


def test_estoi_loss_follows_intelligibility():
    speech = make_speech(8, 4 * N)
    rng, ours, theirs = np.random.default_rng(0), [], []
    for snr in (-5, 0, 5, 10, 20):
        noisy = np.stack(
            [
                degrade.add_noise(y, degrade.coloured_noise(4 * N, 8000, rng), snr_db=snr)[0]
                for y in speech
            ]
        )
        ours.append(1 - float(estoi_loss(speech, noisy, 8000)))
        pairs = zip(speech, noisy, strict=True)
        theirs.append(np.mean([fidelity.stoi(a, b, 8000, extended=True) for a, b in pairs]))
    assert (np.diff(ours) > 0).all() and np.corrcoef(ours, theirs)[0, 1] > 0.98


def estoi_loss_at_8_khz(reference, estimate):
    return estoi_loss(reference, estimate, 8000)


@pytest.mark.parametrize("loss", [si_sdr_loss, compressed_stft_loss, estoi_loss_at_8_khz])
def test_losses_have_a_finite_gradient_at_silence(loss):
    x, y = tf.zeros((2, N)), tf.Variable(tf.zeros((2, N)))
    with tf.GradientTape() as tape:
        value = loss(x, y)
    assert np.isfinite(float(value)) and np.isfinite(tape.gradient(value, y)).all()


@pytest.mark.parametrize("sr", [8000, 11025, 16000, 22050, 44100])
def test_estoi_loss_at_any_rate(sr):
    assert third_octave_bands(sr, 2 * round(0.016 * sr)).sum(0).min() >= 1
    y = 0.1 * degrade.coloured_noise(sr, sr, np.random.default_rng(0))[None]
    assert float(estoi_loss(y, y, sr)) < 0.01
    with pytest.raises(InputError, match=r"0\.4 s"):
        estoi_loss(y[:, : sr // 10], y[:, : sr // 10], sr)


def test_the_bank_marks_what_is_missing(speech):
    y, filled, missing, source, n_clipped = training_bank(speech, 8000, n_clipped=5, n_dropouts=4)
    assert n_clipped == 5 and y.shape == filled.shape == missing.shape == (9, N)
    assert source.shape == (9,)
    assert np.array_equal(y[~missing], speech[source][~missing])
    assert np.array_equal(filled[~missing], y[~missing])
    assert (y[5:][missing[5:]] == 0).all() and (np.abs(y[:5][missing[:5]]) > 0).all()


def test_noises_have_one_level_and_are_fixed_by_the_seed(speech):
    a, b = (
        training_noises(20, N, 8000, recorded=[speech[0]], voices=list(speech), seed=0)
        for _ in range(2)
    )
    assert np.array_equal(a, b)
    assert np.allclose(np.sqrt((a**2).mean(1)), 0.1, atol=1e-3)
    assert len({y.tobytes() for y in a}) == 20


@pytest.fixture(scope="module")
def batch(speech):
    "Four noisy, two clipped, two with dropouts, two band-limited pairs, as arrays."
    config = RestorationConfig(shares=(4, 2, 2, 2), snr=(5, 5))
    bank = training_bank(speech, 8000, n_clipped=7, n_dropouts=3)
    inputs, clean = paired_batches(speech, training_noises(9, N, 8000), bank, config)(3, 7)
    return *(np.array(v) for v in inputs), np.array(clean)


def test_noisy_pairs_have_the_snr(batch):
    degraded, _, _, _, clean = batch
    snrs = [fidelity.snr(clean[k], degraded[k]) for k in range(4)]
    assert np.allclose(snrs, 5, atol=0.05)


def test_the_task_says_what_is_wrong(batch):
    _, _, missing, task, _ = batch
    assert task[:8].tolist() == [[1, 1]] * 4 + [[0, 1]] * 4
    assert (task[8:, 0] == 0).all() and (task[8:, 1] < 0.86).all()
    assert not missing[:4].any() and missing[4:8].any(1).all() and not missing[8:].any()


def test_clipped_sounds_come_before_those_with_dropouts(batch):
    degraded, _, missing, _, _ = batch
    for k in (4, 5):
        assert (degraded[k][missing[k] > 0] != 0).all()
    for k in (6, 7):
        assert (degraded[k][missing[k] > 0] == 0).all()


def test_band_limited_pairs_end_at_the_cutoff(batch):
    degraded, _, _, task, _ = batch
    for k in (8, 9):
        spectrum = np.abs(np.fft.rfft(degraded[k]))
        assert spectrum[int(task[k, 1] * N / 2) + 1 :].max() < 1e-3 * spectrum.max()


def test_the_loudness_is_in_its_range(batch):
    level = 20 * np.log10(np.sqrt((batch[0] ** 2).mean(1)) / 0.1)
    assert (level > -15.1).all() and (level < 6.1).all()


def test_without_weight_there_is_no_discriminator(speech, noises, bank):
    config = RestorationConfig(shares=(1, 1, 1, 1))
    state = build_restoration_gan(speech, noises, bank, 8000, config=config, **SMALL)
    assert state.task.discriminator is None
    row = training.fit(state, steps=1, progress=False)[0]
    assert {"si_sdr", "compressed_stft", "estoi"} <= row.keys() and "d_loss" not in row


@pytest.fixture(scope="module")
def adversarial(speech, noises, bank):
    "A state with a discriminator and feature matching after two steps, and their history."
    config = RestorationConfig(
        shares=(1, 1, 1, 1), adversarial=0.1, feature_matching=0.5, d_channels=4
    )
    state = build_restoration_gan(speech, noises, bank, 8000, config=config, **SMALL)
    return state, training.fit(state, steps=2, progress=False)


def test_a_run_trains(adversarial):
    _, rows = adversarial
    assert all(np.isfinite(v) for row in rows for v in row.values())
    names = {"r1", "si_sdr", "compressed_stft", "estoi", "feature_matching"}
    assert names <= rows[0].keys()


def test_the_discriminator_sees_the_degraded_sound(adversarial):
    task = adversarial[0].task
    inputs, real = task.batch(0, 0)
    degraded, filled, *rest = inputs
    logits = [
        np.array(task.discriminator([task.d_transform(real), *task.condition(given)])[0])
        for given in (inputs, (degraded, 0.1 * filled, *rest))
    ]
    assert not np.allclose(*logits)


def test_half_way_between_two_networks(adversarial):
    state = adversarial[0]
    first, last = state.ema_generator, state.task.generator
    middle = interpolate_weights(first, last)
    weights = [net.get_weights() for net in (middle, first, last)]
    assert all(np.allclose(m, (a + b) / 2) for m, a, b in zip(*weights, strict=True))


@pytest.mark.parametrize(
    "bad, reason",
    [
        (np.zeros((0, N)), "speech: got shape"),
        (np.zeros((3, 100)), "at least 8192"),
        (np.full((3, N), np.nan), "finite"),
        (np.zeros((3, 2 * N)), "give as many"),
    ],
)
def test_bad_training_data(bad, reason, speech, bank):
    with pytest.raises(InputError, match=reason):
        build_restoration_gan(bad.astype(np.float32), speech, bank, 8000, **SMALL)


@pytest.mark.parametrize(
    "change",
    [
        {"shares": (1, 2)},
        {"shares": (0, 1, 1, 1)},
        {"shares": (2.5, 1, 1, 1)},
        {"g_lr": 0},
        {"g_lr": np.nan},
        {"ema_decay": 1.0},
        {"estoi": -1},
        {"estoi": np.nan},
        {"snr": (9, 1)},
        {"cutoff": (0, 2)},
        {"feature_matching": 1.0},
    ],
)
def test_bad_configs(change):
    with pytest.raises(InputError):
        replace(RestorationConfig(), **change)


@pytest.mark.parametrize(
    "shape, counts", [((0, N), (1, 1)), ((3, 1000), (1, 1)), ((3, N), (0, 1)), ((N,), (1, 1))]
)
def test_bad_banks(shape, counts):
    n_clipped, n_dropouts = counts
    with pytest.raises(InputError, match="training_bank: "):
        training_bank(np.zeros(shape, np.float32), 8000, n_clipped=n_clipped, n_dropouts=n_dropouts)


def test_bad_noises():
    with pytest.raises(InputError, match="at least 1"):
        training_noises(0, N, 8000)
