"""Shipped files and their cards; all that can be wrong with a model file is said in one line."""

import json
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pooch import file_hash

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
def assets(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "ASSETS", tmp_path / "assets")
    return tmp_path / "assets"


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
def test_what_ships_is_whole_and_computes_in_float32(name):
    card = weights.model_card(name)
    assert set(weights.REQUIRED_FIELDS) <= set(card) and card["licence"] and card["limits"]
    assert file_hash(weights.ASSETS / f"{name}.keras") == card["sha256"]
    model = weights.load_model(name)
    assert model.count_params() == card["parameters"]
    assert {layer.compute_dtype for layer in model.layers} <= {"float32", "int32"}


def test_save_and_load(assets, model):
    assert weights.list_pretrained() == {}
    weights.save_pretrained("toy", model, CARD | {"classes": ["a", "b"]})
    assert (
        list(weights.list_pretrained()) == ["toy"]
        and weights.resolve_model("toy") == assets / "toy.keras"
    )
    card = weights.model_card("toy")
    assert card["classes"] == ["a", "b"] and card["parameters"] == model.count_params()
    x = np.random.default_rng(0).standard_normal((5, 8)).astype("float32")
    assert np.array_equal(weights.load_model("toy")(x), model(x))
    first = (assets / "toy.keras").read_bytes()
    weights.save_pretrained("toy", model, CARD)
    assert (assets / "toy.keras").read_bytes() == first


@pytest.mark.parametrize("field", weights.REQUIRED_FIELDS)
def test_a_card_without(field, assets, model):
    message = refused(
        weights.save_pretrained, "toy", model, {k: v for k, v in CARD.items() if k != field}
    )
    assert field in message and not assets.exists()


def test_a_wrong_checksum(assets, model):
    import keras

    weights.save_pretrained("toy", model, CARD)
    other = keras.models.clone_model(model)  # as valid, freshly initialised
    runs.save_model(assets / "toy.keras", other)
    assert "does not match its card" in refused(weights.load_model, "toy")
    assert "does not match its card" in refused(weights.load_model, assets / "toy.keras"), (
        "by its path as by its name"
    )
    (assets / "toy.keras").rename(assets.parent / "mine.keras")
    assert weights.load_model(assets.parent / "mine.keras"), (
        "elsewhere it is a model like any other"
    )


def test_resolve_model(assets, model, tmp_path):
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


def test_model_card(assets, model, tmp_path):
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


def with_config(model, folder, old, new):
    "The model's file, with one replacement in its config."
    path = folder / "good.keras"
    runs.save_model(path, model)
    config = zipfile.ZipFile(path).read("config.json").replace(old, new, 1)
    return rewritten(path, folder / "bad.keras", **{"config.json": config})


def test_a_module_that_this_version_lacks(model, tmp_path):
    bad = with_config(model, tmp_path, b'"keras.layers"', b'"gan_audio_tut.telepathy"')
    message = refused(weights.load_model, bad)
    assert "needs gan_audio_tut.telepathy" in message and "update" in message


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


def test_only_our_modules_are_named():
    named = ("metrics", "os", "gan_audio_tut_evil.x", "a.b", "mel", "metrics")
    modules = [m if m in ("os", "gan_audio_tut_evil.x") else f"gan_audio_tut.{m}" for m in named]
    text = json.dumps([{"module": m} for m in modules])
    assert weights.required_modules(text) == ["gan_audio_tut.mel", "gan_audio_tut.metrics"]


def test_only_modules_with_layers_are_imported(model, tmp_path):
    "Any module of the package that a file named was imported, the command line too."
    sys.modules.pop("gan_audio_tut.cli", None)
    bad = with_config(model, tmp_path, b'"keras.layers"', b'"gan_audio_tut.cli"')
    assert "needs gan_audio_tut.cli" in refused(weights.load_model, bad)
    assert "gan_audio_tut.cli" not in sys.modules


def test_layer_modules_are_complete():
    folder = Path(weights.__file__).parent
    found = {
        f"gan_audio_tut.{path.stem}"
        for path in folder.glob("*.py")
        if "@keras.saving.register_keras_serializable" in path.read_text()
    }
    assert found == set(weights.LAYER_MODULES)


@pytest.mark.parametrize("old", weights._RENAMED_LAYERS)
def test_a_file_of_an_older_version(old, model, tmp_path):
    registered = f'"gan_audio_tut>{old}"'.encode()
    bad = with_config(model, tmp_path, b'"keras.layers"', b'"gan_audio_tut.backbone"')
    config = zipfile.ZipFile(bad).read("config.json")
    config = config.replace(b'"registered_name": null', b'"registered_name": ' + registered, 1)
    bad = rewritten(bad, tmp_path / "old.keras", **{"config.json": config})
    message = refused(weights.load_model, bad)
    assert f"its layer {old} is now {weights._RENAMED_LAYERS[old]}" in message
    assert "0.1.0" in message


def test_a_run_of_an_older_version(model, tmp_path):
    runs.save_model(tmp_path / "generator.keras", model)
    (tmp_path / "config.json").write_text('{"seed": 0, "mel": {"ceiling": 3.5}}')
    assert "mel.ceiling is now max_value" in refused(weights.model_card, tmp_path)


@pytest.mark.parametrize(
    "old, new", [("pictures-8k", "specgan-8k"), ("recogniser-8k", "classifier-8k")]
)
def test_a_shipped_name_of_an_older_version(old, new):
    assert new in weights.list_pretrained()
    for call in (weights.resolve_model, weights.load_model, weights.model_card):
        assert f"is called {new} now" in refused(call, old)


@pytest.mark.parametrize("member", ["model.weights.h5", "config.json", "anything"])
def test_a_decompression_bomb(member, model, tmp_path):
    "389 kB took 1.95 GB. Now the sizes in the zip's directory are read before its contents."
    path, bomb = tmp_path / "good.keras", tmp_path / "bomb.keras"
    runs.save_model(path, model)
    with zipfile.ZipFile(path) as z:
        members = {name: z.read(name) for name in z.namelist()}
    members[member] = bytes(400_000_000)
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as z:
        for name, data in members.items():
            z.writestr(name, data)
    del members
    assert bomb.stat().st_size < 3_000_000
    tracemalloc.start()
    message = refused(weights.load_model, bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "would unpack to 400," in message and peak < 5_000_000


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
    assert out.stdout.strip() == "LogMel", out.stderr[-1500:]


def test_a_wrong_name_needs_no_tensorflow():
    code = (
        "import sys; from gan_audio_tut import weights\n"
        "try: weights.load_model('nobody')\n"
        "except ValueError: sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def network_of_policy(dtype):
    import keras

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(dtype)
    try:
        x = keras.Input((8,))
        h = keras.layers.Dense(64, activation="relu")(x)
        return keras.Model(x, keras.layers.Dense(4, activation="tanh")(h))
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
def test_half_precision_is_rebuilt(policy, tmp_path, assets):
    plain, half = network_of_policy("float32"), network_of_policy(policy)
    half.set_weights(plain.get_weights())
    x = np.random.default_rng(0).standard_normal((16, 8)).astype("float32")

    def error(model):
        return np.abs(np.asarray(model(x), "float32") - plain(x)).max()

    runs.save_model(tmp_path / "half.keras", half)
    assert error(weights.load_model(tmp_path / "half.keras")) > 1e-4, (
        "the trap: it computes as it was trained"
    )
    weights.save_pretrained("half", half, CARD)
    rebuilt = weights.load_model("half")
    assert {layer.compute_dtype for layer in rebuilt.layers} == {"float32"}
    # pure bfloat16 rounds the weights themselves
    assert error(rebuilt) < (1e-5 if policy.startswith("mixed") else 0.05)
    assert weights.to_float32(plain) is plain
