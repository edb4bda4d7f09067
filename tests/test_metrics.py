"""Figures against known answers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_audio_tut import datasets, mel, metrics, runs, weights

rng = np.random.default_rng(5)


@pytest.mark.parametrize("n", [2, 5, 10])
def test_inception_score_bounds(n):
    assert np.isclose(metrics.inception_score(np.eye(n)), n)
    assert np.isclose(metrics.inception_score(np.full((7, n), 1 / n)), 1)
    p = metrics.softmax(rng.standard_normal((50, n)))
    assert 1 <= metrics.inception_score(p) <= n
    assert np.isclose(
        metrics.inception_score(p), np.exp(np.mean([np.sum(q * np.log(q / p.mean(0))) for q in p]))
    )


def test_frechet_is_a_distance():
    a, b = rng.standard_normal((300, 8)), rng.standard_normal((300, 8)) * 2 + 1
    assert np.isclose(metrics.frechet_distance(a, a), 0, atol=1e-8)
    assert np.isclose(metrics.frechet_distance(a, b), metrics.frechet_distance(b, a))
    assert np.isclose(metrics.frechet_distance(3 * a, 3 * b), 9 * metrics.frechet_distance(a, b))
    turn = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    assert np.isclose(metrics.frechet_distance(a @ turn, b @ turn), metrics.frechet_distance(a, b))


def test_frechet_survives_dead_features():
    a, b = rng.standard_normal((50, 6)), rng.standard_normal((50, 6))
    a[:, 2], b[:, 2] = 0, 0
    assert np.isclose(
        metrics.frechet_distance(a, b),
        metrics.frechet_distance(np.delete(a, 2, 1), np.delete(b, 2, 1)),
    )


def test_kernel_distance_by_loops():
    a, b = rng.standard_normal((6, 3)), rng.standard_normal((5, 3))
    k = lambda x, y: (x @ y / 3 + 1) ** 3
    own = lambda v: np.mean([k(x, y) for i, x in enumerate(v) for j, y in enumerate(v) if i != j])
    assert np.isclose(
        metrics.kid(a, b),
        own(a) + own(b) - 2 * np.mean([k(x, y) for x in a for y in b]),
    )


def test_sets_are_disjoint_and_balanced():
    labels = rng.permutation(np.repeat(np.arange(4), 11))
    sets = metrics.disjoint_subsets(labels, 5)
    assert len(sets) == 2 and not set(sets[0]) & set(sets[1])
    assert all((np.bincount(labels[s]) == 5).all() for s in sets)
    assert len(metrics.disjoint_subsets(labels, 20)) == 1
    assert (np.bincount(labels[metrics.stratified_indices(labels, 3)]) == 3).all()


def test_disturb_keeps_what_matters():
    y = np.stack([0.2 * np.sin(np.arange(8192) * w) for w in (0.1, 0.3)]).astype(np.float32)
    out = metrics.augment(y, [0, 0]).numpy()
    peaks = lambda v: np.abs(np.fft.rfft(v * np.hanning(8192))).argmax(1)
    assert out.shape == y.shape and np.abs(peaks(out) - peaks(y)).max() <= 1
    gain = 20 * np.log10(out.std(1) / y.std(1))
    assert (np.abs(gain) < 11).all()


def test_recogniser_reloads_without_its_module(tmp_path):
    net = metrics.build_classifier(
        3, 2, base_channels=4, config=mel.MelConfig(sr=16000, max_value=2.0)
    )
    runs.save_model(tmp_path / "r.keras", net)
    loaded = weights.load_model(tmp_path / "r.keras")
    y = datasets.drums(n_per_class=1).audio
    for k, v in net(y).items():
        assert np.array_equal(v, loaded(y)[k])


def test_judge_on_itself():
    "Real clips judged against real clips: shares of one, and a Fréchet distance near its unit."
    train, test, more = (datasets.drums(s, n_per_class=20) for s in ("train", "test", "valid"))
    keras.utils.set_random_seed(0)
    judge = metrics.Evaluator(
        metrics.build_classifier(8, config=mel.MelConfig(sr=16000), base_channels=4), train, test
    )
    found = judge(more.audio, more.labels)
    assert (
        0.7 < found["diversity"] < 1.4 and 0.3 < found["frechet"] < 3 and 0.5 < found["nearest"] < 2
    )
    assert judge(train.audio, train.labels)["nearest"] < 0.01
    table = metrics.score_table({"more": found})
    assert table.count("\n") == 2 and "more" in table


def test_shipped_recogniser_on_the_official_test(real_data):
    test = datasets.fsdd("test")
    out = metrics.predict_features(weights.load_model("classifier-8k"), test.audio)
    assert np.mean(out["label"].argmax(1) == test.labels) > 0.98
    assert np.mean(out["speaker"].argmax(1) == test.speakers) > 0.95


@pytest.mark.parametrize("samples", [16, 4095, 4096, 4099, 8192])
def test_disturb_at_any_length(samples):
    "0.1 of 4096 is no whole number: a shift must not reach beyond the padding."
    y = (
        np.ones((3000, samples), np.float32)
        if samples < 100
        else np.ones((40, samples), np.float32)
    )
    for k in range(5):
        assert metrics.augment(y, [3, k]).shape == y.shape


def test_each_epoch_is_disturbed_anew(monkeypatch):
    seeds, disturb = [], metrics.augment

    def spy(y, seed):
        tf.numpy_function(lambda s: seeds.append(tuple(s)) or np.int64(0), [seed], tf.int64)
        return disturb(y, seed)

    monkeypatch.setattr(metrics, "disturb", spy)
    clips = datasets.drums(n_per_class=9)
    metrics.train_classifier(
        metrics.build_classifier(8, config=mel.MelConfig(sr=16000), base_channels=2),
        clips,
        clips,
        epochs=3,
    )
    assert len(seeds) >= 6 and len(set(seeds)) == len(seeds)


def test_the_shipped_listeners_features_are_alive():
    f = metrics.predict_features(
        weights.load_model("classifier-8k"), datasets.digits("test").audio
    )["features"]
    assert (f.std(0) > 0.01).all(), "a dead feature measures nothing"


def test_a_table_with_gaps():
    full = {"accuracy": 0.5, "frechet": 2.0, "speaker_coverage": [0.1, 0.9]}
    table = metrics.score_table(
        {"all": full, "no labels": {"frechet": 3.0, "speaker_coverage": [0.5, 0.5]}}
    ).splitlines()
    assert [cell.strip() for cell in table[-1].split("|")[1:-1]] == [
        "no labels",
        "",
        "3.00",
        "0.50",
    ]


def test_a_judge_refuses_what_it_cannot_judge():
    train, test = datasets.drums("train", n_per_class=4), datasets.drums("test", n_per_class=4)
    judge = metrics.Evaluator(
        metrics.build_classifier(8, config=mel.MelConfig(sr=16000), base_channels=2), train, test
    )
    y, labels = test.audio, test.labels
    for wrong in (
        (y * np.nan, labels),
        (y, labels[:5]),
        (y[:, :99], labels),
        (y[:0], labels[:0]),
        ((y * 32767).astype(np.int16), labels),
    ):
        with pytest.raises(ValueError, match="^judge: "):
            judge(*wrong)
    one_class_less = test.select(test.labels > 0)
    assert metrics.Evaluator(judge.recogniser, train, one_class_less).each == 4
    with pytest.raises(ValueError, match="at least 2"):
        metrics.Evaluator(judge.recogniser, train, datasets.drums("test", n_per_class=1))
