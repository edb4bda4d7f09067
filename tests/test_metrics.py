"""Metrics against known answers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gan_audio_tut import datasets, mel, metrics, runs, weights

rng = np.random.default_rng(5)


def small_classifier(base_channels=2):
    return metrics.build_classifier(
        8, config=mel.MelConfig(sr=16000), base_channels=base_channels, features=16
    )


@pytest.fixture(scope="module")
def drums():
    return {s: datasets.drums(s, n_per_class=20) for s in datasets.SPLITS}


@pytest.fixture(scope="module")
def evaluator(drums):
    "An untrained classifier is enough to compare real clips with real clips."
    keras.utils.set_random_seed(0)
    classifier = metrics.build_classifier(8, config=mel.MelConfig(sr=16000), base_channels=4)
    return metrics.Evaluator(classifier, drums["train"], drums["test"])


@pytest.mark.parametrize("n", [2, 5, 10])
def test_inception_score_bounds(n):
    assert np.isclose(metrics.inception_score(np.eye(n)), n)
    assert np.isclose(metrics.inception_score(np.full((7, n), 1 / n)), 1)
    p = metrics.softmax(rng.standard_normal((50, n)), axis=1)
    assert 1 <= metrics.inception_score(p) <= n
    divergences = [np.sum(q * np.log(q / p.mean(0))) for q in p]
    assert np.isclose(metrics.inception_score(p), np.exp(np.mean(divergences)))


def test_frechet_is_a_distance():
    a, b = rng.standard_normal((300, 8)), rng.standard_normal((300, 8)) * 2 + 1
    distance = metrics.frechet_distance(a, b)
    assert np.isclose(metrics.frechet_distance(a, a), 0, atol=1e-8)
    assert np.isclose(metrics.frechet_distance(b, a), distance)
    assert np.isclose(metrics.frechet_distance(3 * a, 3 * b), 9 * distance)
    rotation = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    assert np.isclose(metrics.frechet_distance(a @ rotation, b @ rotation), distance)


def test_frechet_survives_dead_features():
    a, b = rng.standard_normal((50, 6)), rng.standard_normal((50, 6))
    a[:, 2], b[:, 2] = 0, 0
    alive = metrics.frechet_distance(np.delete(a, 2, 1), np.delete(b, 2, 1))
    assert np.isclose(metrics.frechet_distance(a, b), alive)


def test_kid_by_loops():
    a, b = rng.standard_normal((6, 3)), rng.standard_normal((5, 3))

    def kernel(x, y):
        return (x @ y / 3 + 1) ** 3

    def within(v):
        return np.mean([kernel(x, y) for i, x in enumerate(v) for j, y in enumerate(v) if i != j])

    across = np.mean([kernel(x, y) for x in a for y in b])
    assert np.isclose(metrics.kid(a, b), within(a) + within(b) - 2 * across)


def test_pairwise_distances_by_loops():
    a, b = rng.standard_normal((6, 3)), rng.standard_normal((5, 3))
    loops = [[np.linalg.norm(x - y) for y in b] for x in a]
    assert np.allclose(metrics.pairwise_distances(a, b), loops, rtol=1e-12)
    assert (np.diag(metrics.pairwise_distances(a, a)) == 0).all()


def test_diversity_and_nearest_neighbour_on_a_line():
    "Classes at 0, 1, 3 and at 10, 14; a class of one clip has no pair."
    features, labels = np.array([[0.0], [1], [3], [10], [14], [99]]), np.array([0, 0, 0, 1, 1, 2])
    assert np.isclose(metrics.diversity(features, labels), ((1 + 3 + 2) / 3 + 4) / 2)
    train = np.array([[0.0], [12]])
    assert metrics.nearest_neighbour_distance(features[:5], train) == np.median([0, 1, 3, 2, 2])


def test_subsets_are_disjoint_and_balanced():
    labels = rng.permutation(np.repeat(np.arange(4), 11))
    subsets = metrics.disjoint_subsets(labels, 5)
    assert len(subsets) == 2 and not set(subsets[0]) & set(subsets[1])
    assert all((np.bincount(labels[s]) == 5).all() for s in subsets)
    assert len(metrics.disjoint_subsets(labels, 20)) == 1
    assert (np.bincount(labels[metrics.stratified_indices(labels, 3)]) == 3).all()


def test_augment_keeps_what_matters():
    y = np.stack([0.2 * np.sin(np.arange(8192) * w) for w in (0.1, 0.3)]).astype(np.float32)
    out = metrics.augment(y, [0, 0]).numpy()

    def strongest_bin(v):
        return np.abs(np.fft.rfft(v * np.hanning(8192))).argmax(1)

    assert out.shape == y.shape and np.abs(strongest_bin(out) - strongest_bin(y)).max() <= 1
    gain = 20 * np.log10(out.std(1) / y.std(1))
    assert (np.abs(gain) < 11).all()


@pytest.mark.parametrize("samples", [16, 4095, 4096, 4099, 8192])
def test_augment_at_any_length(samples):
    "0.1 of 4096 is no whole number: a shift must not reach beyond the padding."
    y = np.ones((3000 if samples < 100 else 40, samples), np.float32)
    for k in range(5):
        assert metrics.augment(y, [3, k]).shape == y.shape


def test_each_epoch_is_augmented_anew(monkeypatch):
    seeds, augment = [], metrics.augment

    def record(seed):
        seeds.append(tuple(seed))
        return np.int64(0)

    def recording_augment(y, seed):
        tf.numpy_function(record, [seed], tf.int64)
        return augment(y, seed)

    monkeypatch.setattr(metrics, "augment", recording_augment)
    clips = datasets.drums(n_per_class=9)
    metrics.train_classifier(small_classifier(), clips, clips, epochs=3)
    assert len(seeds) >= 6 and len(set(seeds)) == len(seeds)


def test_classifier_reloads_without_its_module(tmp_path, drums):
    config = mel.MelConfig(sr=16000, max_value=2.0)
    net = metrics.build_classifier(3, speakers=2, base_channels=4, config=config)
    runs.save_model(tmp_path / "r.keras", net)
    loaded = weights.load_model(tmp_path / "r.keras")
    y = drums["train"].audio[::20]
    for name, value in net(y).items():
        assert np.array_equal(value, loaded(y)[name])


def test_evaluator_on_real_clips(evaluator, drums):
    "Real against real: shares of one, and a Fréchet distance near its unit."
    found = evaluator(drums["valid"].audio, drums["valid"].labels)
    assert 0.7 < found["diversity"] < 1.4
    assert 0.3 < found["frechet"] < 3 and 0.5 < found["nearest"] < 2
    assert evaluator(drums["train"].audio, drums["train"].labels)["nearest"] < 0.01
    itself = evaluator.relative([evaluator.real_test])
    assert itself["inception"] == itself["diversity"] == itself["nearest"] == 1
    assert np.isclose(itself["frechet"], 0, atol=1e-8)


def test_evaluator_averages_disjoint_subsets(evaluator, drums):
    "Twice as many clips as the test has make two sets; each counts one half."
    train = drums["train"]
    twice = np.concatenate([train.audio, drums["valid"].audio])
    labels = np.concatenate([train.labels, drums["valid"].labels])
    halves = [evaluator(drums[s].audio, drums[s].labels) for s in ("train", "valid")]
    both = evaluator(twice, labels)
    for name in ("accuracy", "frechet", "kid", "diversity"):
        assert np.isclose(both[name], np.mean([half[name] for half in halves]), atol=1e-6)


def test_evaluator_refuses_what_it_cannot_evaluate(evaluator, drums):
    y, labels = drums["test"].audio, drums["test"].labels
    wrong_calls = (
        (y * np.nan, labels),
        (y, labels[:5]),
        (y[:, :99], labels),
        (y[:0], labels[:0]),
        ((y * 32767).astype(np.int16), labels),
    )
    for audio, asked in wrong_calls:
        with pytest.raises(ValueError, match=r"^evaluator: "):
            evaluator(audio, asked)


def test_evaluator_needs_two_test_clips_of_each_class(evaluator):
    train, test = datasets.drums("train", n_per_class=4), datasets.drums("test", n_per_class=4)
    one_class_less = test.select(test.labels > 0)
    assert metrics.Evaluator(evaluator.classifier, train, one_class_less).n_per_class == 4
    with pytest.raises(ValueError, match="at least 2"):
        metrics.Evaluator(evaluator.classifier, train, datasets.drums("test", n_per_class=1))


def test_shipped_classifier_on_the_official_test(real_data):
    test = datasets.fsdd("test")
    outputs = metrics.predict_features(weights.load_model("classifier-8k"), test.audio)
    assert np.mean(outputs["label"].argmax(1) == test.labels) > 0.98
    assert np.mean(outputs["speaker"].argmax(1) == test.speakers) > 0.95


def test_no_feature_of_the_shipped_classifier_is_dead():
    classifier, clips = weights.load_model("classifier-8k"), datasets.digits("test")
    features = metrics.predict_features(classifier, clips.audio)["features"]
    assert (features.std(0) > 0.01).all(), "a dead feature measures nothing"


def cells(line):
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_markdown_table():
    table = metrics.markdown_table(["", "dB"], [["a\nb", "1"], ["c|d", "-2"]])
    assert table == "|  | dB |\n| --- | --- |\n| a b | 1 |\n| c\\|d | -2 |"
    assert metrics.markdown_table(["x"], []).count("\n") == 1


def test_score_table_has_one_order_of_columns():
    row = dict.fromkeys(reversed(metrics.COLUMNS), 0.12345)
    header, rule, line = map(cells, metrics.score_table({"all": row}).splitlines())
    assert header == ["", *metrics.COLUMNS.values()] and set(rule) == {"---"}
    assert line == ["all", "0.12", "0.12", "0.12", "0.123", "0.12", "0.12", "0.12", "0.12"]


def test_score_table_with_gaps():
    full = {"accuracy": 0.5, "frechet": 2.0, "speaker_coverage": [0.1, 0.9]}
    no_labels = {"frechet": 3.0, "speaker_coverage": [0.5, 0.5]}
    table = metrics.score_table({"all": full, "no labels": no_labels}).splitlines()
    assert cells(table[-2]) == ["all", "0.50", "2.00", "0.10"]
    assert cells(table[-1]) == ["no labels", "", "3.00", "0.50"]


def test_stored_scores_use_the_columns():
    "What the model cards hold is what the tables of this version print."
    for name in ("voice-8k", "specgan-8k", "drums-16k"):
        for row in weights.model_card(name)["scores"].values():
            assert set(row) <= set(metrics.COLUMNS.values()), name
