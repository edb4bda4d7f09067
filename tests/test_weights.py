"""Shipped files and their cards; everything that can be wrong with a model file is said in one line."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from gan_audio_tut import runs, weights
from gan_audio_tut.audio import InputError

CARD = {
    "about": "a test",
    "data": "none",
    "licence": "MIT",
    "seed": 0,
    "scores": {},
    "limits": "it does nothing",
}


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "ASSETS", tmp_path / "shelf")
    return tmp_path / "shelf"


@pytest.fixture(scope="module")
def model():
    import keras

    keras.utils.set_random_seed(0)
    x = keras.Input((8,))
    return keras.Model(x, keras.layers.BatchNormalization()(keras.layers.Dense(32)(x)))


def refused(call, *args):
    "The message of the `InputError`, which must be one line."
    with pytest.raises(InputError) as caught:
        call(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", weights.list_pretrained())
def test_what_ships_is_whole(name):
    card = weights.model_card(name)
    assert set(weights.REQUIRED_FIELDS) <= set(card) and card["licence"] and card["limits"]
    assert weights.checksum(weights.ASSETS / f"{name}.keras") == card["sha256"]
    assert weights.load_model(name).count_params() == card["parameters"]


@pytest.mark.parametrize("name", weights.list_pretrained())
def test_what_ships_computes_in_float32(name):
    assert {layer.compute_dtype for layer in weights.load_model(name).layers} <= {
        "float32",
        "int32",
    }


def test_ship_and_load(shelf, model):
    assert weights.list_pretrained() == {}
    weights.save_pretrained("toy", model, CARD | {"classes": ["a", "b"]})
    assert (
        list(weights.list_pretrained()) == ["toy"]
        and weights.resolve_model("toy") == shelf / "toy.keras"
    )
    card = weights.model_card("toy")
    assert card["classes"] == ["a", "b"] and card["parameters"] == model.count_params()
    x = np.random.default_rng(0).standard_normal((5, 8)).astype("float32")
    assert np.array_equal(weights.load_model("toy")(x), model(x))
    first = (shelf / "toy.keras").read_bytes()
    weights.save_pretrained("toy", model, CARD)
    assert (shelf / "toy.keras").read_bytes() == first


@pytest.mark.parametrize("field", weights.REQUIRED_FIELDS)
def test_a_card_without(field, shelf, model):
    said = refused(
        weights.save_pretrained, "toy", model, {k: v for k, v in CARD.items() if k != field}
    )
    assert field in said and not shelf.exists()


def test_a_wrong_checksum(shelf, model):
    import keras

    weights.save_pretrained("toy", model, CARD)
    other = keras.models.clone_model(model)  # as valid, freshly initialised
    runs.save_model(shelf / "toy.keras", other)
    assert "does not match its card" in refused(weights.load_model, "toy")
    assert "does not match its card" in refused(weights.load_model, shelf / "toy.keras"), (
        "by its path as by its name"
    )
    (shelf / "toy.keras").rename(shelf.parent / "mine.keras")
    assert weights.load_model(shelf.parent / "mine.keras"), "elsewhere it is a model like any other"


def test_checksum(tmp_path):
    import hashlib

    data = np.random.default_rng(0).bytes(3_000_000)
    (tmp_path / "x").write_bytes(data)
    assert weights.checksum(tmp_path / "x") == hashlib.sha256(data).hexdigest()


def test_find_model(shelf, model, tmp_path):
    for name in ("toy", "", "..", "toy.keras", tmp_path / "none.keras"):
        refused(weights.resolve_model, name)
    assert "shipped are none" in refused(weights.resolve_model, "toy")
    weights.save_pretrained("toy", model, CARD)
    assert "shipped are toy" in refused(weights.resolve_model, "voice")
    run = tmp_path / "run"
    run.mkdir()
    assert "is no run" in refused(weights.resolve_model, run)
    (run / "config.json").write_text("{}")
    assert "finish the run first" in refused(weights.resolve_model, run)
    runs.save_model(run / "generator.keras", model)
    assert (
        weights.resolve_model(run)
        == weights.resolve_model(str(run))
        == weights.resolve_model(run / "generator.keras")
    )
    (run / "generator.h5").write_bytes(b"x")
    refused(weights.resolve_model, run / "generator.h5")


def test_card_of(shelf, model, tmp_path):
    run = runs.open_run(tmp_path / "run", {"seed": 3})
    runs.save_model(run / "generator.keras", model)
    runs.save_model(run / "mine.keras", model)
    assert weights.model_card(run) == weights.model_card(run / "generator.keras") == {"seed": 3}
    assert weights.model_card(run / "mine.keras") == {}, "the config is the run's, not the file's"
    (run / "config.json").write_text('{"seed": ')
    assert "config.json: is damaged" in refused(weights.model_card, run)
    refused(weights.model_card, "nobody")


def test_damaged_files(model, tmp_path):
    path, bad = tmp_path / "good.keras", tmp_path / "bad.keras"
    runs.save_model(path, model)
    good = path.read_bytes()
    flipped = [
        good[:i] + bytes([good[i] ^ 255]) + good[i + 1 :] for i in (0, 26, 28, 29)
    ]  # the first header; 29: an error without a text
    for data in [good[: len(good) * k // 12] for k in range(12)] + [
        bytes(len(good)),
        b"RIFF" + good[4:200],
        *flipped,
    ]:
        bad.write_bytes(data)
        assert str(bad) in refused(weights.load_model, bad)


def rewritten(path, to, **members):
    "A copy of a model file with some members replaced, valid as a zip; None leaves one out."
    with zipfile.ZipFile(path) as z:
        parts = {n: z.read(n) for n in z.namelist()}
    with zipfile.ZipFile(to, "w") as z:
        for name, data in (parts | members).items():
            if data is not None:
                z.writestr(name, data)
    return to


def test_valid_zips_that_are_no_models(model, tmp_path):
    path, bad = tmp_path / "good.keras", tmp_path / "bad.keras"
    runs.save_model(path, model)
    config = zipfile.ZipFile(path).read("config.json")
    cases = [
        {"config.json": None},
        {"config.json": b"{"},
        {"config.json": b"[]"},
        {"model.weights.h5": None},
        {"model.weights.h5": b"not HDF5"},
        {"config.json": config.replace(b'"units": 32', b'"units": 33')},
        {"config.json": config.replace(b'"Dense"', b'"Dunce"')},
    ]
    for members in cases:
        assert str(bad) in refused(weights.load_model, rewritten(path, bad, **members))
    assert weights.load_model(rewritten(path, bad)), "rewriting alone does no harm"


def test_a_module_that_this_version_lacks(model, tmp_path):
    path = tmp_path / "new.keras"
    runs.save_model(path, model)
    config = (
        zipfile.ZipFile(path)
        .read("config.json")
        .replace(b'"keras.layers"', b'"gan_audio_tut.telepathy"', 1)
    )
    said = refused(
        weights.load_model, rewritten(path, path.with_name("x.keras"), **{"config.json": config})
    )
    assert "needs gan_audio_tut.telepathy" in said and "update" in said


def test_what_keras_says_at_length_becomes_one_line(model, tmp_path, monkeypatch):
    import keras

    runs.save_model(tmp_path / "x.keras", model)

    def load(*args, **options):
        raise ValueError("A total of 2 objects could not be loaded.\n\nLayer ...")

    monkeypatch.setattr(keras.saving, "load_model", load)
    assert "2 objects" in refused(weights.load_model, tmp_path / "x.keras")


def test_a_file_that_cannot_be_opened_is_not_called_damaged(model, tmp_path, monkeypatch):
    runs.save_model(tmp_path / "x.keras", model)

    def closed(path, *args):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(zipfile, "ZipFile", closed)
    with pytest.raises(PermissionError):
        weights.load_model(tmp_path / "x.keras")


def test_only_our_modules_are_imported():
    text = json.dumps(
        [
            {"module": m}
            for m in (
                "gan_audio_tut.metrics",
                "os",
                "gan_audio_tut_evil.x",
                "gan_audio_tut.a.b",
                "gan_audio_tut.mel",
                "gan_audio_tut.metrics",
            )
        ]
    )
    assert weights.required_modules(text) == ["gan_audio_tut.mel", "gan_audio_tut.metrics"]


def test_code_in_a_file_is_not_run(tmp_path):
    import keras

    x = keras.Input((2,))
    keras.Model(x, keras.layers.Lambda(lambda t: t + 1)(x)).save(tmp_path / "lambda.keras")
    refused(weights.load_model, tmp_path / "lambda.keras")


LOAD = """
import sys
from gan_audio_tut import weights
assert "gan_audio_tut.metrics" not in sys.modules
model = weights.load_model(sys.argv[1])
assert "gan_audio_tut.metrics" in sys.modules
print(model.layers[1].__class__.__name__)
"""


def test_our_layers_are_found_in_a_fresh_process(tmp_path):
    from gan_audio_tut import metrics

    runs.save_model(tmp_path / "r.keras", metrics.build_classifier(2, base_channels=2, features=4))
    out = subprocess.run(
        [sys.executable, "-c", LOAD, tmp_path / "r.keras"], capture_output=True, text=True
    )
    assert out.stdout.strip() == "MelPicture", out.stderr[-1500:]


def test_a_wrong_name_needs_no_tensorflow():
    code = (
        "import sys; from gan_audio_tut import weights\n"
        "try: weights.load_model('nobody')\n"
        "except ValueError: sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
def test_half_precision_is_mended(policy, tmp_path, shelf):
    import keras

    def net(dtype):
        keras.utils.set_random_seed(0)
        keras.config.set_dtype_policy(dtype)
        try:
            x = keras.Input((8,))
            return keras.Model(
                x,
                keras.layers.Dense(4, activation="tanh")(
                    keras.layers.Dense(64, activation="relu")(x)
                ),
            )
        finally:
            keras.config.set_dtype_policy("float32")

    plain, half, x = (
        net("float32"),
        net(policy),
        np.random.default_rng(0).standard_normal((16, 8)).astype("float32"),
    )
    half.set_weights(plain.get_weights())
    runs.save_model(tmp_path / "half.keras", half)
    error = lambda m: np.abs(np.asarray(m(x), "float32") - plain(x)).max()
    assert error(weights.load_model(tmp_path / "half.keras")) > 1e-4, (
        "the trap: it computes as it was trained"
    )
    weights.save_pretrained("half", half, CARD)
    mended = weights.load_model("half")
    assert {layer.compute_dtype for layer in mended.layers} == {"float32"}
    assert error(mended) < (
        1e-5 if policy.startswith("mixed") else 0.05
    )  # pure bfloat16 rounds the weights themselves
    assert weights.to_float32(plain) is plain
