"""Runs survive: exact resume, kill -9, full disks, damaged files, strange folders."""

import csv
import errno
import itertools
import json
import os
import random
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from gan_audio_tut import audio_io, runs
from gan_audio_tut.audio import InputError

posix = pytest.mark.skipif(os.name != "posix", reason="needs resource limits")


class Array:
    "What a checkpoint asks of a variable."

    def __init__(self, value):
        self.value = np.array(value)

    shape = property(lambda self: self.value.shape)

    def numpy(self):
        return self.value

    def assign(self, value):
        self.value = np.array(value)

    def __int__(self):
        return int(self.value)


def stand_in(size=1000):
    "A state without a network."
    step, walk = Array(0), Array(np.zeros(size))
    return SimpleNamespace(step=step, variables=[step, walk], walk=walk)


def train_until(state, callback, until):
    while int(state.step) < until:
        state.step.assign(int(state.step) + 1)
        state.walk.assign(
            state.walk.value
            + np.random.default_rng(int(state.step)).standard_normal(state.walk.shape)
        )
        callback(state, {"d_loss": float(state.walk.value.std())})


def contents(run, without=("timing.csv", ".lock")):
    paths = [p for p in sorted(run.rglob("*")) if p.is_file() and p.name not in without]
    return {str(p.relative_to(run)): p.read_bytes() for p in paths}


# --- exact resume ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def toy():
    import keras
    from keras import layers

    from gan_audio_tut import losses, training

    def network(size):
        x = keras.Input((size,))
        h = layers.BatchNormalization()(layers.Dense(16, activation="relu")(x))
        return keras.Model(x, layers.Dense(1)(layers.Dropout(0.1)(h)))

    def batch(seed, step):
        inputs = (training.sample_latent(seed, step, 32, 2),)
        return inputs, 3 + training.sample_latent(seed, step, 32, 1, stream=1)

    def make(seed=0, **options):
        keras.utils.clear_session()
        keras.utils.set_random_seed(seed)
        generator, discriminator = network(2), network(1)
        weights = {"r1": 0.1}
        task = training.Task(
            generator, discriminator, batch, losses.relativistic, loss_weights=weights, **options
        )
        g_optimizer, d_optimizer = (keras.optimizers.Adam(1e-3, 0.5) for _ in range(2))
        return training.TrainState(task, g_optimizer, d_optimizer, seed=seed)

    return make


def train_in_pieces(toy, run, *stops, **options):
    from gan_audio_tut import training

    for stop in stops:
        state = toy(**options)

        def sample(folder, step, state=state):
            total = float(np.sum(state.ema_generator.get_weights()[0]))
            runs.write_csv(folder / f"{step}.csv", [{"weight": total}])

        folder = runs.open_run(run, {"seed": 0}, resume=True)
        callback = runs.CheckpointCallback(
            folder, state, sample, checkpoint_every=5, sample_every=4
        )
        training.fit(state, stop, callbacks=[callback], progress=False)
    callback.finish(state)
    return state


@pytest.mark.parametrize(
    "options", [{}, {"n_critic": 3}], ids=["alternating", "three critic steps"]
)
def test_a_run_in_pieces_equals_a_run(toy, tmp_path, options):
    straight = train_in_pieces(toy, tmp_path / "a", 20, **options)
    resumed = train_in_pieces(toy, tmp_path / "b", 7, 13, 20, **options)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert set(contents(tmp_path / "a")) >= {
        "metrics.csv",
        "generator.keras",
        "checkpoints/0000020.npz",
        "samples/20.csv",
    }
    assert all(
        np.array_equal(a.numpy(), b.numpy())
        for a, b in zip(straight.variables, resumed.variables, strict=True)
    )
    rows = runs.read_csv(tmp_path / "b" / "metrics.csv")
    assert [r["step"] for r in rows] == list(range(1, 21))
    assert sum("g_loss" in r for r in rows) == 20 // options.get("n_critic", 1)


def test_the_interval_of_checkpoints_does_not_matter(tmp_path):
    for run, every in (("a", 2), ("b", 7)):
        state = stand_in()
        callback = runs.CheckpointCallback(
            runs.open_run(tmp_path / run, {}), state, checkpoint_every=every
        )
        train_until(state, callback, 20)
        callback.write(state)
    assert (tmp_path / "a" / "metrics.csv").read_bytes() == (
        tmp_path / "b" / "metrics.csv"
    ).read_bytes()


def test_an_interrupt_within_a_step_writes_nothing(tmp_path):
    state = stand_in()
    callback = runs.CheckpointCallback(
        runs.open_run(tmp_path / "run", {}), state, checkpoint_every=5
    )
    train_until(state, callback, 12)
    state.step.assign(13)  # the step was taken, Ctrl-C came before its row
    callback.write(state)
    assert [p.stem for p in runs.list_checkpoints(tmp_path / "run")] == ["0000005", "0000010"]
    state.step.assign(12)  # between two steps everything is there
    callback.write(state)
    assert [r["step"] for r in runs.read_csv(tmp_path / "run" / "metrics.csv")] == list(
        range(1, 13)
    )


def test_a_sample_precedes_its_row(tmp_path):
    state = stand_in()

    def sample(folder, step):
        raise KeyboardInterrupt

    callback = runs.CheckpointCallback(runs.open_run(tmp_path / "run", {}), state, sample, 5, 7)
    with pytest.raises(KeyboardInterrupt):
        train_until(state, callback, 20)
    callback.write(state)  # as the command does
    assert runs.read_csv(tmp_path / "run" / "metrics.csv")[-1]["step"] == 5, (
        "the sample of step 7 would never be made"
    )


def test_time_adds_up_and_checkpoints_are_pruned(tmp_path):
    for stop in (10, 20):
        state = stand_in()
        callback = runs.CheckpointCallback(
            runs.open_run(tmp_path / "run", {}, True), state, checkpoint_every=5
        )
        time.sleep(0.02)
        train_until(state, callback, stop)
    times = runs.read_csv(tmp_path / "run" / "timing.csv")
    assert [t["step"] for t in times] == [5, 10, 15, 20]
    assert (
        all(a["wall_s"] <= b["wall_s"] for a, b in itertools.pairwise(times))
        and times[-1]["wall_s"] >= 0.04
    )
    assert callback.before["step"] == 10 and callback.before["wall_s"] == times[1]["wall_s"]
    assert [p.stem for p in runs.list_checkpoints(tmp_path / "run")] == ["0000015", "0000020"]


def test_keep_0_keeps_all(tmp_path):
    state = stand_in()
    train_until(
        state,
        runs.CheckpointCallback(
            runs.open_run(tmp_path / "run", {}), state, checkpoint_every=5, keep=0
        ),
        20,
    )
    assert len(runs.list_checkpoints(tmp_path / "run")) == 4


# --- kill -9 --------------------------------------------------------------------------------------

CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from test_runs import *
if int(sys.argv[3]):
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
state = stand_in(50_000)
def sample(folder, step):
    runs.write_csv(folder / f"{step}.csv", [{"walk": float(state.walk.value[0])}])
run = runs.open_run(sys.argv[2], {"seed": 0}, True)
callback = runs.CheckpointCallback(run, state, sample, checkpoint_every=3, sample_every=4)
print(int(state.step), flush=True)
def announce(state, scalars):
    print(int(state.step), flush=True)
    callback(state, scalars)
train_until(state, announce, 120)
"""


def life(run, steps=0, limit=0, wait=0.0):
    "Run the child, kill it `wait` seconds after `steps`: its first step, its last, its errors."
    here = os.path.dirname(os.path.abspath(__file__))
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, here, run, str(limit)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = [child.stdout.readline() for _ in range(1 + steps)]
    if steps:
        time.sleep(wait)
        child.kill()
    rest, errors = child.stdout.read(), child.stderr.read()
    child.wait()
    numbers = [int(n) for n in "".join([*lines, rest]).split()]
    return numbers[0], numbers[-1], errors


def test_ten_kills_leave_no_trace(tmp_path):
    rng, reached = random.Random(0), 0
    life(tmp_path / "alone")
    for _ in range(10):
        found, now, _ = life(tmp_path / "killed", rng.randint(1, 14), wait=rng.uniform(0, 0.01))
        assert 0 <= reached - found <= 3, "at most one checkpoint interval is lost"
        reached = now
        for path in runs.list_checkpoints(tmp_path / "killed"):
            runs.read_arrays(path)
        for path in (tmp_path / "killed").rglob("*.csv"):
            if not path.name.startswith(".part-"):
                assert runs.read_csv(path) and path.read_text().endswith("\n")
    assert life(tmp_path / "killed")[1] == 120
    assert contents(tmp_path / "alone") == contents(tmp_path / "killed")


def test_stale_files_are_removed_and_nothing_else(tmp_path):
    run = runs.open_run(tmp_path / "run", {})
    for name in (
        ".part-0123ab-x.json",
        "checkpoints/.part-0123ab-y.npz",
        "samples/.part-0123ab-z.wav",
        "samples/mine.wav",
        ".gitignore",
    ):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_bytes(b"x")
    runs.open_run(run, {}, resume=True)
    assert set(contents(run)) == {"config.json", "samples/mine.wav", ".gitignore"}


def test_killed_before_its_config(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".part-0123ab-config.json").write_text("{")
    runs.open_run(tmp_path / "run", {"seed": 0})
    assert set(contents(tmp_path / "run")) == {"config.json"}


# --- whole or not at all --------------------------------------------------------------------------


def small_model():
    import keras

    x = keras.Input((4,))
    return keras.Model(x, keras.layers.BatchNormalization()(keras.layers.Dense(64)(x)))


WRITERS = {
    "0000009.npz": lambda path: runs.save_checkpoint(path, stand_in(20_000)),
    "rows.csv": lambda path: runs.write_csv(
        path, [{"step": k, "d_loss": k / 7} for k in range(20_000)]
    ),
    "generator.keras": lambda path: runs.save_model(path, small_model()),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_reader_never_sees_half_a_file(name, tmp_path, monkeypatch):
    path, old = tmp_path / name, []
    path.write_bytes(b"old")
    replace = os.replace

    def spy(a, b):
        old.append(path.read_bytes())
        replace(a, b)

    monkeypatch.setattr(os, "replace", spy)
    WRITERS[name](path)
    assert old == [b"old"] and path.read_bytes() != b"old" and os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_no_space_left(name, tmp_path, monkeypatch):
    "ENOSPC at the last moment, when the bytes are pushed out."
    path = tmp_path / name
    path.write_bytes(b"old")

    def full(fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError) as caught:
        WRITERS[name](path)
    assert caught.value.filename == str(path) and caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == [name]


LIMITED = """
import os, resource, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_runs import WRITERS
folder, name = Path(sys.argv[2]), sys.argv[3]
path = folder / name
WRITERS[name](path)
size = path.stat().st_size
path.write_bytes(b"old")
for limit in (0, 1, 30, 200, 1000, size // 4, size // 2, size - 200, size - 1):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try: WRITERS[name](path)
    except OSError as e: assert e.filename == str(path) and e.errno, (limit, e)
    else: raise SystemExit(f"limit {limit} of {size} was not noticed")
    assert path.read_bytes() == b"old" and os.listdir(folder) == [name], limit
print("passed")
"""


@posix
@pytest.mark.parametrize("name", WRITERS)
def test_a_disk_that_fills_at_any_point(name, tmp_path):
    here = os.path.dirname(os.path.abspath(__file__))
    out = subprocess.run(
        [sys.executable, "-c", LIMITED, here, tmp_path, name], capture_output=True, text=True
    )
    assert out.stdout.strip() == "passed", out.stderr[-2000:]


@posix
def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path):
    run = tmp_path / "run"
    assert life(tmp_path / "alone")[1] == 120 and life(run, 40)[0] == 0
    good = contents(run)
    *_, errors = life(run, limit=200_000)  # a checkpoint has 400 kB
    assert "OSError" in errors and ".npz" in errors.strip().splitlines()[-1]
    assert {k: v for k, v in good.items() if k.endswith(".npz")} == {
        k: v for k, v in contents(run).items() if k.endswith(".npz")
    }
    assert life(run)[1] == 120 and contents(run) == contents(tmp_path / "alone")


def test_a_sample_on_a_full_disk_is_named(tmp_path, monkeypatch):
    state = stand_in()

    def sample(folder, step):
        def full(*args):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
        audio_io.save(folder / "step.wav", np.zeros(100, np.float32), 8000)

    callback = runs.CheckpointCallback(runs.open_run(tmp_path / "run", {}), state, sample, 5, 5)
    with pytest.raises(OSError) as caught:
        train_until(state, callback, 5)
    assert caught.value.filename == str(tmp_path / "run" / "samples" / "step.wav")
    assert runs.list_checkpoints(tmp_path / "run") == []


def test_what_hdf5_raises_names_the_file(tmp_path, monkeypatch):
    model = small_model()

    def save(path):
        raise OSError("Unable to synchronously write")  # h5py's errors know neither number nor name

    monkeypatch.setattr(model, "save", save)
    with pytest.raises(OSError, match="Unable to synchronously write") as caught:
        runs.save_model(tmp_path / "m.keras", model)
    assert (
        caught.value.errno
        and caught.value.filename == str(tmp_path / "m.keras")
        and os.listdir(tmp_path) == []
    )


def test_an_error_that_no_disk_caused_stays_itself(tmp_path):
    with pytest.raises(TypeError), audio_io.atomic_write(tmp_path / "x"):
        raise TypeError("a bug")
    assert os.listdir(tmp_path) == []
    with pytest.raises(InputError):
        runs.write_csv(tmp_path, [])  # the name is a folder's


# --- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b"",
        lambda b: b[:100],
        lambda b: b[: len(b) // 2],
        lambda b: b[:-10],
        lambda b: bytes(len(b)),
        lambda b: b[:3000] + b"?" + b[3001:],
    ],
)
def test_a_damaged_checkpoint(damage, tmp_path, caplog):
    run, state = runs.open_run(tmp_path / "run", {}), stand_in()
    train_until(state, runs.CheckpointCallback(run, state, checkpoint_every=5), 10)
    _, newest = runs.list_checkpoints(run)
    newest.write_bytes(damage(newest.read_bytes()))
    fresh = stand_in()
    with pytest.raises(InputError, match=r"0000010\.npz: is damaged"):
        runs.load_checkpoint(newest, fresh)
    assert int(fresh.step) == 0 and not fresh.walk.value.any(), (
        "a damaged file must not touch the state"
    )
    callback = runs.CheckpointCallback(run, fresh, checkpoint_every=5)
    assert int(fresh.step) == 5 and "0000010.npz" in caplog.text and not newest.exists()
    train_until(fresh, callback, 10)
    assert np.array_equal(fresh.walk.value, state.walk.value)
    for path in runs.list_checkpoints(run):
        path.write_bytes(b"gone")
    with pytest.raises(InputError, match=r"0000010\.npz"):
        runs.CheckpointCallback(run, stand_in())


def test_another_recipe(tmp_path):
    runs.save_checkpoint(tmp_path / "1.npz", stand_in(10))
    with pytest.raises(InputError, match="another recipe"):
        runs.load_checkpoint(tmp_path / "1.npz", stand_in(11))
    with pytest.raises(FileNotFoundError):
        runs.load_checkpoint(tmp_path / "2.npz", stand_in(10))


def test_damaged_history(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,d_loss\n1,much\n")
    with pytest.raises(InputError, match=r"metrics\.csv"):
        runs.read_csv(tmp_path / "metrics.csv")
    (tmp_path / "metrics.csv").write_text("step,d_loss\n1,0.5,7\n")
    with pytest.raises(InputError, match=r"metrics\.csv"):
        runs.read_csv(tmp_path / "metrics.csv")


# --- folders --------------------------------------------------------------------------------------


def test_open_run(tmp_path):
    config = {"seed": 0, "classes": ("a", "b"), "rate": 1e-3, "nothing": None}
    run = runs.open_run(
        tmp_path / "deep" / "run", config, resume=True
    )  # --resume on nothing starts it
    assert runs.open_run(run, config, resume=True) == run
    with pytest.raises(InputError, match="add --resume"):
        runs.open_run(run, config)
    with pytest.raises(InputError, match="another seed, rate"):
        runs.open_run(run, config | {"seed": 1, "rate": 2e-3}, True)
    (run / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json: is damaged"):
        runs.open_run(run, config, True)


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_something_else(tmp_path, resume):
    (tmp_path / "thesis.txt").write_text("precious")
    (tmp_path / ".part-of-the-thesis").write_text("precious")
    with pytest.raises(InputError, match="not empty"):
        runs.open_run(tmp_path, {}, resume)
    with pytest.raises(InputError, match="is a file"):
        runs.open_run(tmp_path / "thesis.txt", {}, resume)
    assert len(os.listdir(tmp_path)) == 2, "nothing of the user's may be touched"


# --- tables and models ----------------------------------------------------------------------------


def test_rows_keep_every_digit(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        {
            "step": k,
            "a": float(np.float32(rng.standard_normal() * 10.0 ** rng.integers(-30, 30))),
            **({"b": -0.0} if k % 3 else {}),
        }
        for k in range(500)
    ]
    runs.write_csv(tmp_path / "t.csv", rows)
    assert runs.read_csv(tmp_path / "t.csv") == rows
    with open(tmp_path / "t.csv", newline="") as f:
        assert [len(r) for r in csv.reader(f)] == [3] * 501
    runs.write_csv(tmp_path / "t.csv", [])
    assert (tmp_path / "t.csv").read_text() == "step\n" and runs.read_csv(tmp_path / "t.csv") == []


def long_history(n=20_000):
    return [{"step": k, **{f"loss_{i}": (k + i) / 7 for i in range(9)}} for k in range(n)]


def test_a_long_history_is_not_the_cost(tmp_path):
    "20,000 rows: a checkpoint's table must cost less than a step of the smallest SpecGAN, 0.17 s."
    rows = long_history()
    table, spent = runs.CSVLogger(tmp_path / "metrics.csv", rows), []
    for k in range(5):
        start = time.process_time()
        table.add({**rows[0], "step": 20_000 + k})
        table.write()
        spent.append(time.process_time() - start)
    assert min(spent) < 0.1, spent
    assert len(runs.read_csv(tmp_path / "metrics.csv")) == 20_005


def test_rows_are_appended(tmp_path, monkeypatch):
    "Metrics were written whole at every checkpoint: 22 GB in a run of 100,000 steps."
    written = []
    write_at = runs._write_at

    def record(path, position, data):
        written.append(len(data))
        write_at(path, position, data)

    monkeypatch.setattr(runs, "_write_at", record)
    rows, path = long_history(1000), tmp_path / "metrics.csv"
    table = runs.CSVLogger(path)
    for row in rows:
        table.add(row)
        if row["step"] % 50 == 49:
            table.write()
    assert len(written) == 19 and sum(written) < path.stat().st_size
    runs.write_csv(tmp_path / "whole.csv", rows)
    assert path.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_late_column(tmp_path):
    rows = [{"step": 1, "a": 0.5}, {"step": 2, "a": 0.25, "b": 3.0}, {"step": 3, "a": 1.0}]
    table = runs.CSVLogger(tmp_path / "t.csv")
    for row in rows:
        table.add(row)
        table.write()
    assert (tmp_path / "t.csv").read_text() == "step,a,b\n1,0.5,\n2,0.25,3.0\n3,1.0,\n"
    assert runs.read_csv(tmp_path / "t.csv") == rows


def test_an_append_to_a_full_disk_is_made_good(tmp_path, monkeypatch):
    path, rows = tmp_path / "t.csv", long_history(30)
    table = runs.CSVLogger(path, rows[:10])
    table.write()
    for row in rows[10:20]:
        table.add(row)

    def full(fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as m:
        m.setattr(os, "fsync", full)
        with pytest.raises(OSError) as caught:
            table.write()
    assert caught.value.filename == str(path) and caught.value.errno == errno.ENOSPC
    for row in rows[20:]:
        table.add(row)
    table.write()
    assert runs.read_csv(path) == rows


@pytest.mark.parametrize("torn", ["", "11,0.", "11,0.5,0.", "\0\0\0\0", "11,0.5\nrubbish\n"])
def test_what_a_killed_append_leaves(torn, tmp_path):
    "The resumed run equals one that was left alone, whatever follows the checkpoint's row."
    for name in ("alone", "killed"):
        started(tmp_path / name)
    with open(tmp_path / "killed" / "metrics.csv", "a") as f:
        f.write(torn)
    for name in ("alone", "killed"):
        started(tmp_path / name, 20)
    assert contents(tmp_path / "alone") == contents(tmp_path / "killed")
    assert len(runs.read_csv(tmp_path / "killed" / "metrics.csv")) == 20


SAVE = """
import sys, keras
from gan_audio_tut import runs
keras.utils.set_random_seed(0)
x = keras.Input((4,))
h = keras.layers.BatchNormalization()(keras.layers.Dense(300, kernel_regularizer="l2")(x))
outputs = [keras.layers.Dropout(0.5)(h), keras.layers.Dense(2)(h)]
runs.save_model(sys.argv[1], keras.Model(x, outputs))
"""


def test_model_files_of_two_processes_are_equal(tmp_path):
    import io
    import zipfile

    import h5py
    import keras

    for k in (1, 2):
        subprocess.run(
            [sys.executable, "-c", SAVE, tmp_path / f"{k}.keras"],
            check=True,
            env=os.environ | {"PYTHONHASHSEED": str(k)},
            capture_output=True,
        )
        time.sleep(1.1)  # another second on the clock
    a, b = ((tmp_path / f"{k}.keras").read_bytes() for k in (1, 2))
    assert a == b
    with zipfile.ZipFile(tmp_path / "1.keras") as z:
        assert {i.date_time[0] for i in z.infolist()} == {1980} and b'date_saved": ""' in z.read(
            "metadata.json"
        )
        weights = h5py.File(io.BytesIO(z.read("model.weights.h5")))
        stamps = []
        weights.visititems(
            lambda name, item: stamps.append(
                h5py.h5o.get_info(item.id).mtime
                if hasattr(h5py.h5o.get_info(item.id), "mtime")
                else 0
            )
        )
        assert not any(stamps), "HDF5 would write the time of creation"
    model = keras.saving.load_model(tmp_path / "1.keras")
    assert [o.shape for o in model(np.ones((2, 4), np.float32))] == [(2, 300), (2, 2)]


def test_shared_objects_are_numbered_in_order():
    text = '[{"shared_object_id": 140}, {"shared_object_id": 77}, {"shared_object_id": 140}]'
    assert (
        runs.canonical_config(text)
        == '[{"shared_object_id": 1}, {"shared_object_id": 2}, {"shared_object_id": 1}]'
    )
    assert runs.canonical_config(text.replace("140", "9")) == runs.canonical_config(text)


def test_no_tensorflow_to_open_a_run():
    "A wrong call must be answered before TensorFlow loads."
    code = (
        "import sys; from gan_audio_tut import runs, weights\n"
        "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_checkpoint_of_another_recipe_is_refused_and_kept(tmp_path):
    run = tmp_path / "run" / "checkpoints"
    runs.save_checkpoint(run / "0000005.npz", stand_in(10))
    runs.save_checkpoint(run / "0000010.npz", stand_in(11))
    with pytest.raises(InputError, match="another recipe"):
        runs.restore_latest(tmp_path / "run", stand_in(10))
    assert len(runs.list_checkpoints(tmp_path / "run")) == 2


def started(run, steps=10, every=5):
    state = stand_in()
    callback = runs.CheckpointCallback(
        runs.open_run(run, {"seed": 0}, True), state, checkpoint_every=every
    )
    train_until(state, callback, steps)
    return callback


def test_lost_checkpoints_are_not_started_over(tmp_path):
    started(tmp_path / "run")
    for path in runs.list_checkpoints(tmp_path / "run"):
        path.unlink()
    with pytest.raises(InputError, match="has lost its checkpoints"):
        started(tmp_path / "run", 1)
    assert len(runs.read_csv(tmp_path / "run" / "metrics.csv")) == 10


def test_killed_before_the_first_checkpoint_starts_over(tmp_path):
    started(tmp_path / "run", 5)
    for path in runs.list_checkpoints(tmp_path / "run"):
        path.unlink()  # the tables are written just before it
    started(tmp_path / "run")
    times = runs.read_csv(tmp_path / "run" / "timing.csv")
    assert [t["step"] for t in times] == [5, 10]


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "garbage\n", ""])
@pytest.mark.parametrize("name", ["metrics.csv", "timing.csv"])
def test_tables_that_are_none(name, text, tmp_path):
    started(tmp_path / "run")
    (tmp_path / "run" / name).write_text(text)
    with pytest.raises(InputError, match=f"{name}: is no table"):
        started(tmp_path / "run", 20)


@pytest.mark.parametrize("text", ["{}", "[]", "5", "null", '"s"', '{"name": "somebody else"}'])
def test_a_foreign_config_is_no_run(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match="no run's config"):
        runs.open_run(tmp_path, {"seed": 0}, resume=True)


def test_a_config_that_lacks_something_is_another(tmp_path):
    (tmp_path / "config.json").write_text('{"seed": 0}')
    with pytest.raises(InputError, match="another recipe"):
        runs.open_run(tmp_path, {"seed": 0, "recipe": "x"}, resume=True)


LOCK = """
import sys
from gan_audio_tut import runs
try:
    runs.open_run(sys.argv[1], {"seed": 0}, True)
except ValueError as e:
    print(e)
"""


def refusal_elsewhere(run):
    "What another process says that opens the run."
    return subprocess.check_output([sys.executable, "-c", LOCK, run], text=True)


def test_two_processes_cannot_share_a_run(tmp_path):
    run = runs.open_run(tmp_path / "run", {"seed": 0})
    assert "another process is working on it" in refusal_elsewhere(run)
    runs.open_run(run, {"seed": 0}, True)  # the same process may
    runs.unlock_run(run)
    assert refusal_elsewhere(run) == ""


def test_a_finished_run_is_unlocked_and_its_descriptor_freed(tmp_path):
    state = stand_in()
    state.ema_generator = small_model()
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    run = runs.open_run(tmp_path / "run", {"seed": 0})
    callback = runs.CheckpointCallback(run, state, checkpoint_every=5)
    train_until(state, callback, 5)
    callback.finish(state)
    if descriptors is not None:
        assert len(os.listdir("/proc/self/fd")) == descriptors
    assert refusal_elsewhere(run) == ""


@pytest.mark.parametrize(
    "old, change",
    [
        ({"recipe": "textbook"}, "recipe textbook is now dcgan"),
        ({"recipe": "spectral"}, "recipe spectral is now istft"),
        ({"mel": {"sr": 8000, "ceiling": 3.5}}, "mel.ceiling is now max_value"),
        ({"settings": {"g_rate": 1e-3}}, "settings.g_rate is now g_lr"),
    ],
)
def test_a_run_of_an_older_version(old, change, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"seed": 0} | old))
    with pytest.raises(InputError, match=change) as caught:
        runs.open_run(tmp_path, {"seed": 0, "recipe": "istft"}, resume=True)
    assert "0.1.0" in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_where_checkpoints_should_be(tmp_path):
    runs.open_run(tmp_path / "run", {"seed": 0})
    (tmp_path / "run" / "checkpoints").rmdir()
    (tmp_path / "run" / "checkpoints").write_text("mine")
    with pytest.raises(InputError, match="checkpoints: cannot be written"):
        runs.open_run(tmp_path / "run", {"seed": 0}, True)
