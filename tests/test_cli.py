"""The command as a user meets it: one clear line, the right exit status, nothing half done."""

import contextlib
import io
import json
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from gan_audio_tut import __version__, cli

COMMAND = Path(sys.executable).parent / "gan-audio"


def run_process(argv, **options):
    "A process of its own, with its output as text."
    argv = list(map(str, argv))
    return subprocess.run(argv, capture_output=True, text=True, timeout=300, **options)


@contextlib.contextmanager
def no_log_handlers():
    "Without pytest's own handlers, for `main` sets up logging only where nobody has."
    root = logging.getLogger()
    kept, root.handlers = root.handlers, []
    try:
        yield
    finally:
        root.handlers = kept


def call(*words, cwd="."):
    "The command in this process, where TensorFlow is imported once for all tests."
    out, err = io.StringIO(), io.StringIO()
    redirected = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with contextlib.chdir(cwd), redirected[0], redirected[1], no_log_handlers():
        try:
            status = cli.main(list(map(str, words)))
        except SystemExit as e:
            status = e.code
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


def succeeds(*words, **options):
    "What a call prints, which must not fail."
    done = call(*words, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(done):
    "Exit 2, one line or more on standard error, no traceback; the lines come back."
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()


def put(folder, name, y, sr=8000, **options):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    sf.write(folder / name, y, sr, **options)
    return folder / name


def tone(seconds=0.5, sr=8000):
    return 0.3 * np.sin(2 * np.pi * 200 * np.arange(int(seconds * sr)) / sr)


def two_classes(folder, classes=("low", "high")):
    "A data set of two classes of three files: the path of its folder."
    for c, name in enumerate(classes):
        for k in range(3):
            put(folder, f"{name}/{k}.wav", np.roll(tone(1), 10 * k) * (1 - 0.3 * c))
    return folder


HELP = """
import sys
from gan_audio_tut.cli import main

try:
    main({words!r})
except SystemExit:
    pass
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
"""


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["info"]])
def test_help_loads_no_tensorflow(words):
    assert run_process([sys.executable, "-c", HELP.format(words=words)]).returncode == 0


def test_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.strip() == f"gan-audio {__version__}"


def test_info_of_a_network_without_a_card(tmp_path, capsys):
    path = tmp_path / "x.keras"
    path.write_bytes(b"")
    assert cli.main(["info", str(path)]) == 2
    assert f"{path}: has no card" in capsys.readouterr().err


def test_import_is_light():
    heavy = "{'tensorflow', 'keras', 'librosa', 'numpy', 'matplotlib'}"
    code = f"import gan_audio_tut, sys; print(sorted({heavy} & set(sys.modules)))"
    assert run_process([sys.executable, "-c", code]).stdout.strip() == "[]"


def test_names_listed_twice_agree():
    from gan_audio_tut import istft_gan, restoration

    assert set(cli.RECIPES) == set(istft_gan.RECIPES)
    assert tuple(cli.TASKS) == tuple(restoration.TASKS)


TRAIN = ["train", "drums", "--out", "run"]
GENERATE = ["generate", "--out", "x.wav"]
WRONG = {
    "no command": [],
    "unknown command": ["sing"],
    "no such data": ["train", "nix", "--out", "run"],
    "unknown recipe": [*TRAIN, "--recipe", "nix"],
    "no out": ["train", "drums"],
    "negative steps": [*TRAIN, "--steps", "-1"],
    "zero minutes": [*TRAIN, "--minutes", "0"],
    "both budgets": [*TRAIN, "--minutes", "1", "--steps", "1"],
    "no such model": [*GENERATE, "--model", "nix", "--label", "1"],
    "no such label": [*GENERATE, "--label", "kick"],
    "no such name": ["info", "nix"],
    "no such file": ["info", "nix.wav"],
    "no generator": [*GENERATE, "--model", "classifier-8k", "--label", "1"],
    "no such format": ["generate", "--label", "1", "--out", "x.xyz"],
    "negative seed": [*GENERATE, "--label", "1", "--seed", "-1"],
    "minutes in words": [*TRAIN, "--minutes", "ten"],
    "half a step": [*TRAIN, "--steps", "1.5"],
}

WITHOUT_TENSORFLOW = """
import sys
from gan_audio_tut.cli import main

try:
    status = main(sys.argv[1:])
except SystemExit as e:
    status = e.code
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
sys.exit(status)
"""


def call_without_tensorflow(*words, **options):
    "The command in a process of its own, which must answer without TensorFlow."
    return run_process([sys.executable, "-c", WITHOUT_TENSORFLOW, *words], **options)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls(name, tmp_path):
    "Answered without TensorFlow, which is what makes the answer quick on any machine."
    lines = refused(call_without_tensorflow(*WRONG[name], cwd=tmp_path))
    assert len(lines) == 1 and lines[0].startswith("gan-audio")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("old, new", [("spectral", "istft"), ("textbook", "dcgan")])
def test_an_old_recipe_names_its_successor(old, new):
    (line,) = refused(call(*TRAIN, "--recipe", old))
    assert new in line


def bad_data(folder, kind):
    "A folder of data that cannot be used."
    folder.mkdir()
    samples = {
        "no samples": np.zeros(0),
        "one sample": np.ones(1) * 0.5,
        "silence": np.zeros(8000),
        "nan": np.full(8000, np.nan),
        "inf": np.full(8000, np.inf),
    }
    if kind == "text as wav":
        (folder / "a.wav").write_text("hello")
    elif kind == "truncated flac":
        whole = put(folder, "a.flac", tone(3)).read_bytes()
        (folder / "a.flac").write_bytes(whole[: len(whole) // 3])
    elif kind in samples:
        put(folder, "a.wav", samples[kind], subtype="FLOAT")
    return folder


BAD_DATA = ["empty folder", "text as wav", "truncated flac", "no samples", "one sample"]
BAD_DATA += ["silence", "nan", "inf"]


@pytest.mark.parametrize("kind", BAD_DATA)
def test_unusable_data(kind, tmp_path):
    lines = refused(call("train", bad_data(tmp_path / "data", kind), "--out", tmp_path / "run"))
    assert "data" in lines[-1] and all(line.startswith("gan-audio") for line in lines)
    assert kind == "empty folder" or "a.wav" in lines[0] or "a.flac" in lines[0]
    assert not (tmp_path / "run").exists()


def test_out_is_a_file(tmp_path):
    (tmp_path / "run").write_text("mine")
    train = ["train", "drums", "--out", tmp_path / "run", "--steps", 1]
    lines = refused(call_without_tensorflow(*train))
    assert "run" in lines[0] and (tmp_path / "run").read_text() == "mine"


@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_a_used_folder_is_refused_before_anything_slow(more, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    lines = refused(call_without_tensorflow("train", "drums", "--out", tmp_path, *more))
    assert "holds no run" in lines[0]


@pytest.mark.parametrize("words", [["demo"], ["generate", "--label", "1"]])
def test_only_train_can_be_resumed(words):
    (line,) = refused(call(*words, "--out", "/dev/null/x/y.wav"))
    assert "/dev/null" in line and "--resume" not in line


def test_odd_but_usable_data(tmp_path):
    "Six channels, 1 kHz, 192 kHz, a class of one file; one bad file is named and counted."
    data, run = tmp_path / "data", tmp_path / "run"
    put(data, "low/a.wav", tone(1, 1000), 1000)
    put(data, "high/a.wav", tone(0.4, 192000), 192000)
    put(data, "wide/a.flac", np.stack([tone()] * 6, 1))
    put(data, "wide/nan.wav", np.full(800, np.nan), subtype="FLOAT")
    done = call("train", data, "--out", run, "--steps", 2, "--checkpoint-every", 1)
    assert done.returncode == 0, done.stderr
    assert "nan.wav" in done.stderr and "skipped 1 of 4" in done.stderr
    assert (run / "generator.keras").exists()
    generate = ["generate", "--model", run, "--label", "wide", "--count", 2]
    succeeds(*generate, "--out", tmp_path / "w.wav")
    assert {p.name for p in tmp_path.glob("*.wav")} == {"w-000.wav", "w-001.wav"}
    assert refused(call("train", data, "--out", tmp_path / "run2", "--steps", 2, "--strict"))


def test_nothing_from_tensorflow_on_stderr(tmp_path):
    done = run_process([COMMAND, "train", "drums", "--out", tmp_path / "run", "--steps", 1])
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert not re.search("[\b\r\x1b]", done.stdout), "a log file is no terminal"


def test_score(tmp_path):
    x = np.tile(tone(2), 2)[:16000] * np.hanning(16000)
    late = 0.5 * np.r_[np.zeros(7), x][:15000]
    reference, estimate = put(tmp_path, "a.wav", x), put(tmp_path, "b.flac", late)
    done = call("score", reference, estimate)
    assert done.returncode == 0 and done.stderr == ""
    assert "7 samples late" in done.stdout and "what both have" in done.stdout
    assert "SI-SDR" in done.stdout and "| b.flac |" in done.stdout
    other_rate = put(tmp_path, "c.wav", np.repeat(x, 2), 16000)
    printed = succeeds("score", reference, other_rate)
    assert "16000 Hz" in printed and "what both have" not in printed


@pytest.mark.parametrize("name, problem", [("silent.wav", "is silent"), ("short.wav", "too few")])
def test_what_cannot_be_scored(name, problem, tmp_path):
    y = {"silent.wav": np.zeros(16000), "short.wav": tone()[:300]}[name]
    good = put(tmp_path, "a.wav", tone(2))
    (line,) = refused(call("score", put(tmp_path, name, y), good))
    assert problem in line and name in line


@pytest.mark.parametrize("command", ["info", "score"])
def test_standard_output_that_cannot_be_written(command, tmp_path):
    "A full disk is one line and a failure; a reader that has gone is no error worth a line."
    files = 2 * [put(tmp_path, "a.wav", tone(2))] if command == "score" else []
    line = " ".join(map(str, [COMMAND, command, *files]))
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    if os.path.exists("/dev/full"):
        (said,) = refused(run_process(["bash", "-c", f"{line} > /dev/full"], env=env))
        assert "standard output" in said
    gone = run_process(["bash", "-c", f"{line} | true; exit ${{PIPESTATUS[0]}}"], env=env)
    assert gone.stderr == "" and gone.returncode in (0, 141)


def test_info_of_an_unfinished_run(tmp_path):
    run, data = tmp_path / "run", two_classes(tmp_path / "data", ("kick", "snare"))
    succeeds("train", data, "--steps", 2, "--out", run)
    (run / "generator.keras").unlink()
    card = json.loads(succeeds("info", run))
    assert card["recipe"] == "specgan"
    assert card["reached"]["step"] == 2 and card["reached"]["cpu_s"] > 0
    generate = ["generate", "--model", run, "--label", "kick", "--out", tmp_path / "x.wav"]
    (line,) = refused(call(*generate))
    assert "finish the run first" in line


@pytest.mark.parametrize("recipe, label", [("istft", "kick"), ("wavegan", "sound")])
def test_recipes_that_make_samples(recipe, label, tmp_path):
    "Trained, resumed and heard as SpecGAN is; one without labels has a single class."
    run, data = tmp_path / "run", two_classes(tmp_path / "data", ("kick", "snare"))
    train = ["train", data, "--recipe", recipe, "--out", run]
    succeeds(*train, "--steps", 5, "--sample-every", 5)
    done = call(*train, "--steps", 6, "--resume")
    assert done.returncode == 0 and done.stderr == ""
    assert "resumed at step 5" in done.stdout and f"--label={label}" in done.stdout
    y, sr = sf.read(run / "samples" / "step-0000005.wav")
    config = json.loads((run / "config.json").read_text())
    assert sr == 8000 and len(y) == 4 * config["samples"]
    generate = ["generate", "--model", run, "--out", tmp_path / "a.wav"]
    succeeds(*generate, "--label", label)
    assert "can" in refused(call(*generate, "--label", "flute"))[-1]


def test_resume_refusals(tmp_path):
    run, data = tmp_path / "run", two_classes(tmp_path / "data")
    train = ["train", data, "--out", run]
    succeeds(*train, "--steps", 1, "--resume")  # an empty run starts
    assert len(refused(call(*train, "--steps", 2))) == 1
    assert "seed" in refused(call(*train, "--steps", 2, "--seed", 1, "--resume"))[-1]
    assert "resumed at step 1" in succeeds(*train, "--steps", 2, "--resume")


def test_full_disk(tmp_path):
    "A file-size limit stands in for a full disk: one line, and the run goes on later."
    run, data = tmp_path / "run", two_classes(tmp_path / "data")
    train = ["train", data, "--out", run, "--checkpoint-every", 1]
    succeeds(*train, "--steps", 2)
    resume = [*train, "--steps", 4, "--resume"]
    command = shlex.join(map(str, [COMMAND, *resume]))
    assert len(refused(run_process(["bash", "-c", f"ulimit -f 100; exec {command}"]))) == 1
    assert not list(run.rglob(".part-*"))
    assert "resumed at step 2" in succeeds(*resume)


def test_generate(tmp_path):
    out = tmp_path / "2026.wav"
    generate = ["generate", "--label", "2026", "--out", out, "--seed", 3]
    done = call(*generate)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    y, sr = sf.read(out)
    assert sr == 8000 and 1 < len(y) / sr < 5 and 0.05 < np.abs(y).max() <= 1
    first = out.read_bytes()
    succeeds(*generate)
    assert out.read_bytes() == first
    assert refused(call("generate", "--label", "1", "--out", tmp_path))
    assert refused(call("generate", "--label", "1", "--out", tmp_path / "a.xyz"))


def test_demo(tmp_path):
    folder = tmp_path / "demo"
    printed = succeeds("demo", "--out", folder, "--minutes", 0.05)
    page = (folder / "report.html").read_text()
    assert page.count("<audio") == 31 and "<table>" in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert len(list(folder.rglob("*.wav"))) == 31 and len(list(folder.glob("*.png"))) == 2
    assert str(folder / "report.html") in printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_keeps_the_step_it_names_and_a_generator(number, tmp_path):
    data, run = two_classes(tmp_path / "data"), tmp_path / "run"
    train = ["train", data, "--out", run]
    options = ["--steps", 500, "--checkpoint-every", 1000, "--sample-every", 2]
    argv = list(map(str, [COMMAND, *train, *options]))
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 200
    while not list((run / "samples").glob("*.wav")) and time.time() < deadline:
        time.sleep(0.1)
    child.send_signal(number)
    printed, errors = child.communicate(timeout=100)
    (step,) = [int(p.stem) for p in (run / "checkpoints").glob("[0-9]*.npz")]
    assert child.returncode == 130 and errors == "", printed[-500:] + errors
    assert f"step {step} is kept" in printed
    assert step >= 2 and (run / "generator.keras").exists()
    assert f"resumed at step {step}" in succeeds(*train, "--steps", step + 1, "--resume")


def test_a_run_is_its_data_and_not_a_path(tmp_path):
    data, run = two_classes(tmp_path / "data"), tmp_path / "run"
    succeeds("train", "data", "--steps", 1, "--out", run, cwd=tmp_path)
    succeeds("train", f"{data}/", "--steps", 2, "--out", run, "--resume")
    put(data, "low/0.wav", tone(1)[::-1])
    resumed = call("train", data, "--steps", 3, "--out", run, "--resume")
    assert "another digest" in refused(resumed)[-1]
    inside = call("train", data, "--steps", 1, "--out", data / "run")
    assert "lies within the data" in refused(inside)[-1] and not (data / "run").exists()


def test_a_run_may_bear_the_name_of_its_data_set(tmp_path):
    for steps in (1, 2):
        train = ["train", "drums", "--steps", steps, "--out", "drums", "--resume"]
        succeeds(*train, cwd=tmp_path)


def test_what_is_printed_can_be_pasted(tmp_path):
    data, run = two_classes(tmp_path / "data", ("a; false", "-dash")), tmp_path / "my run"
    printed = succeeds("train", data, "--steps", 1, "--out", run)
    line = printed.strip().splitlines()[-1].partition("hear it with: gan-audio ")[2]
    words = shlex.split(line)
    assert words[:4] == ["generate", "--model", str(run), "--label=-dash"]
    succeeds(*words[:-1], tmp_path / "x.wav")
    assert (tmp_path / "x.wav").exists()


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize("tail", ["2>&-", ">&-", "| head -1", "<&-"])
def test_streams_that_are_not_there(tail, tmp_path):
    line = f"'{COMMAND}' generate --label 1 --out x.wav --count 2 {tail}"
    done = run_process(["bash", "-c", line], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "space" not in done.stderr
    assert len(list(tmp_path.glob("*.wav"))) == 2 or "head" in tail


def test_names_that_cannot_be_shown(tmp_path):
    name = "\u65e5\u672c\n.wav"
    put(tmp_path, name, tone())
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = run_process([COMMAND, "info", name], cwd=tmp_path, env=ascii_only)
    assert done.returncode == 0 and "\\u65e5" in done.stdout
    (line,) = refused(run_process([COMMAND, "info", "no\nsuch.wav"], cwd=tmp_path))
    assert "no\\nsuch.wav" in line


def test_as_a_module():
    assert "voice-8k" in run_process([sys.executable, "-m", "gan_audio_tut", "info"]).stdout
