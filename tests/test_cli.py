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

from gan_audio_tut.cli import main

COMMAND = Path(sys.executable).parent / "gan-audio"


def apart(*words, **options):
    "The command in a process of its own."
    return subprocess.run(
        [str(COMMAND), *map(str, words)], capture_output=True, text=True, timeout=300, **options
    )


def call(*words, cwd="."):
    "The same in this process, where TensorFlow is imported once for all tests."
    out, err, root = io.StringIO(), io.StringIO(), logging.getLogger()
    kept, root.handlers = (
        root.handlers,
        [],
    )  # pytest's own; `main` sets up logging only where nobody has
    try:
        with (
            contextlib.chdir(cwd),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            status = main(list(map(str, words)))
    except SystemExit as e:
        status = e.code
    finally:
        root.handlers = kept
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


def refused(done):
    "Exit 2, one line on standard error, no traceback; the line comes back."
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return lines


def tones(folder, classes=("low", "high")):
    "A data set of two classes: the path of its folder."
    for c, name in enumerate(classes):
        for k in range(3):
            put(folder, f"{name}/{k}.wav", np.roll(hum(1), 10 * k) * (1 - 0.3 * c))
    return folder


def put(folder, name, y, sr=8000, **options):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    sf.write(folder / name, y, sr, **options)
    return folder / name


def hum(seconds=0.5, sr=8000):
    return 0.3 * np.sin(2 * np.pi * 200 * np.arange(int(seconds * sr)) / sr)


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["info"]])
def test_help_loads_no_tensorflow(words):
    code = f"import sys; from gan_audio_tut.cli import main\ntry: main({words!r})\nexcept SystemExit: pass\nassert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_import_is_light():
    code = "import gan_audio_tut, sys; print(sorted({'tensorflow', 'keras', 'librosa', 'numpy', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


WRONG = {
    "no verb": [],
    "unknown verb": ["sing"],
    "no such data": ["train", "nix", "--out", "run"],
    "unknown recipe": ["train", "drums", "--recipe", "nix", "--out", "run"],
    "no out": ["train", "drums"],
    "negative steps": ["train", "drums", "--out", "run", "--steps", "-1"],
    "zero minutes": ["train", "drums", "--out", "run", "--minutes", "0"],
    "both budgets": ["train", "drums", "--out", "run", "--minutes", "1", "--steps", "1"],
    "no such model": ["generate", "--model", "nix", "--label", "1", "--out", "x.wav"],
    "cannot say": ["generate", "--label", "kick", "--out", "x.wav"],
    "no such thing": ["info", "nix"],
    "no such file": ["info", "nix.wav"],
    "no generator": ["generate", "--model", "classifier-8k", "--label", "1", "--out", "x.wav"],
    "no such format": ["generate", "--label", "1", "--out", "x.xyz"],
    "negative seed": ["generate", "--label", "1", "--out", "x.wav", "--seed", "-1"],
    "minutes in words": ["train", "drums", "--out", "run", "--minutes", "ten"],
    "half a step": ["train", "drums", "--out", "run", "--steps", "1.5"],
}


WATCHED = """import sys
from gan_audio_tut.cli import main
try: status = main(sys.argv[1:])
except SystemExit as e: status = e.code
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
sys.exit(status)"""


def watched(*words, **options):
    "The command, which must answer without TensorFlow."
    return subprocess.run(
        [sys.executable, "-c", WATCHED, *map(str, words)], capture_output=True, text=True, **options
    )


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls(name, tmp_path):
    "Answered without TensorFlow, which is what makes the answer quick on any machine."
    lines = refused(watched(*WRONG[name], cwd=tmp_path))
    assert len(lines) == 1 and lines[0].startswith("gan-audio")
    assert not list(tmp_path.iterdir())


def bad_data(folder, kind):
    "A folder of data that cannot be used."
    folder.mkdir()
    if kind == "text as wav":
        (folder / "a.wav").write_text("hello")
    if kind == "truncated flac":
        whole = put(folder, "a.flac", hum(3)).read_bytes()
        (folder / "a.flac").write_bytes(whole[: len(whole) // 3])
    if kind == "no samples":
        put(folder, "a.wav", np.zeros(0))
    if kind == "one sample":
        put(folder, "a.wav", np.ones(1) * 0.5)
    if kind == "silence":
        put(folder, "a.wav", np.zeros(8000))
    if kind == "nan":
        put(folder, "a.wav", np.full(8000, np.nan), subtype="FLOAT")
    if kind == "inf":
        put(folder, "a.wav", np.full(8000, np.inf), subtype="FLOAT")
    return folder


@pytest.mark.parametrize(
    "kind",
    [
        "empty folder",
        "text as wav",
        "truncated flac",
        "no samples",
        "one sample",
        "silence",
        "nan",
        "inf",
    ],
)
def test_unusable_data(kind, tmp_path):
    lines = refused(call("train", bad_data(tmp_path / "data", kind), "--out", tmp_path / "run"))
    assert "data" in lines[-1] and all(l.startswith("gan-audio") for l in lines)
    assert kind == "empty folder" or "a.wav" in lines[0] or "a.flac" in lines[0]
    assert not (tmp_path / "run").exists()


def test_out_is_a_file(tmp_path):
    (tmp_path / "run").write_text("mine")
    lines = refused(watched("train", "drums", "--out", tmp_path / "run", "--steps", 1))
    assert "run" in lines[0] and (tmp_path / "run").read_text() == "mine"


def test_a_used_folder_is_refused_before_anything_slow(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for more in ([], ["--resume"]):
        assert "holds no run" in refused(watched("train", "drums", "--out", tmp_path, *more))[0]


@pytest.mark.parametrize("words", [["demo"], ["generate", "--label", "1"]])
def test_only_train_can_be_resumed(words):
    said = refused(call(*words, "--out", "/dev/null/x/y.wav"))
    assert len(said) == 1 and "/dev/null" in said[0] and "--resume" not in said[0]


def test_odd_but_usable_data(tmp_path):
    "Six channels, 1 kHz, 192 kHz, a class of one file: they work, beside one bad file that is named and counted."
    data = tmp_path / "data"
    put(data, "low/a.wav", hum(1, 1000), 1000)
    put(data, "high/a.wav", hum(0.4, 192000), 192000)
    put(data, "wide/a.flac", np.stack([hum()] * 6, 1))
    put(data, "wide/nan.wav", np.full(800, np.nan), subtype="FLOAT")
    done = call("train", data, "--out", tmp_path / "run", "--steps", 2, "--checkpoint-every", 1)
    assert done.returncode == 0, done.stderr
    assert "nan.wav" in done.stderr and "skipped 1 of 4" in done.stderr
    assert (tmp_path / "run" / "generator.keras").exists()
    made = call(
        "generate",
        "--model",
        tmp_path / "run",
        "--label",
        "wide",
        "--out",
        tmp_path / "w.wav",
        "--count",
        2,
    )
    assert made.returncode == 0, made.stderr
    assert {p.name for p in tmp_path.glob("*.wav")} == {"w-000.wav", "w-001.wav"}
    assert refused(call("train", data, "--out", tmp_path / "run2", "--steps", 2, "--strict"))


def test_nothing_from_tensorflow_on_stderr(tmp_path):
    done = apart("train", "drums", "--out", tmp_path / "run", "--steps", 1)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert not re.search("[\b\r\x1b]", done.stdout), "a log file is no terminal"


def test_score(tmp_path):
    x = np.tile(hum(2), 2)[:16000] * np.hanning(16000)
    a, b = put(tmp_path, "a.wav", x), put(tmp_path, "b.flac", 0.5 * np.r_[np.zeros(7), x][:15000])
    done = call("score", a, b)
    assert (
        done.returncode == 0
        and done.stderr == ""
        and "7 samples late" in done.stdout
        and "what both have" in done.stdout
    )
    assert "SI-SDR" in done.stdout and "| b.flac |" in done.stdout
    other = call("score", a, put(tmp_path, "c.wav", np.repeat(x, 2), 16000))
    assert (
        other.returncode == 0
        and "16000 Hz" in other.stdout
        and "what both have" not in other.stdout
    )
    for name, y, problem in (("silent.wav", 0 * x, "is silent"), ("short.wav", x[:300], "too few")):
        (said,) = refused(call("score", put(tmp_path, name, y), a))
        assert problem in said and name in said


@pytest.mark.parametrize("verb", ["info", "score"])
def test_standard_output_that_cannot_be_written(verb, tmp_path):
    "A full disk is one line and a failure; a reader that has gone is no error worth a line."
    words = {"info": ["info"], "score": ["score"] + 2 * [put(tmp_path, "a.wav", hum(2))]}[verb]
    line = " ".join(map(str, [COMMAND, *words]))
    plain = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    if os.path.exists("/dev/full"):
        full = subprocess.run(
            f"{line} > /dev/full",
            shell=True,
            capture_output=True,
            text=True,
            timeout=300,
            env=plain,
        )
        (said,) = refused(full)
        assert "standard output" in said
    gone = subprocess.run(
        ["bash", "-c", f"{line} | true; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=300,
        env=plain,
    )
    assert gone.stderr == "" and gone.returncode in (0, 141)


def test_info_of_an_unfinished_run(tmp_path):
    run, data = tmp_path / "run", tones(tmp_path / "data", ("kick", "snare"))
    assert call("train", data, "--steps", 2, "--out", run).returncode == 0
    (run / "generator.keras").unlink()
    found = json.loads(call("info", run).stdout)
    assert (
        found["recipe"] == "specgan"
        and found["reached"]["step"] == 2
        and found["reached"]["cpu_s"] > 0
    )
    (said,) = refused(
        call("generate", "--model", run, "--label", "kick", "--out", tmp_path / "x.wav")
    )
    assert "finish the run first" in said


@pytest.mark.parametrize("recipe, label", [("istft", "kick"), ("wavegan", "sound")])
def test_recipes_that_make_samples(recipe, label, tmp_path):
    "Trained, sampled, resumed and heard like the picture GAN; one without labels has a single thing to say."
    run, data = tmp_path / "run", tones(tmp_path / "data", ("kick", "snare"))
    assert (
        call(
            "train", data, "--recipe", recipe, "--steps", 5, "--sample-every", 5, "--out", run
        ).returncode
        == 0
    )
    done = call("train", data, "--recipe", recipe, "--steps", 6, "--out", run, "--resume")
    assert (
        done.returncode == 0
        and done.stderr == ""
        and "resumed at step 5" in done.stdout
        and f"--label={label}" in done.stdout
    )
    y, sr = sf.read(run / "samples" / "step-0000005.wav")
    assert sr == 8000 and len(y) == 4 * json.loads((run / "config.json").read_text())["samples"]
    assert (
        call("generate", "--model", run, "--label", label, "--out", tmp_path / "a.wav").returncode
        == 0
    )
    assert (
        "can"
        in refused(
            call("generate", "--model", run, "--label", "flute", "--out", tmp_path / "b.wav")
        )[-1]
    )


def test_resume_refusals(tmp_path):
    run, data = tmp_path / "run", tones(tmp_path / "data")
    assert (
        call("train", data, "--out", run, "--steps", 1, "--resume").returncode == 0
    )  # an empty run starts
    assert len(refused(call("train", data, "--out", run, "--steps", 2))) == 1
    assert (
        "seed"
        in refused(call("train", data, "--out", run, "--steps", 2, "--seed", 1, "--resume"))[-1]
    )
    again = call("train", data, "--out", run, "--steps", 2, "--resume")
    assert again.returncode == 0 and "resumed at step 1" in again.stdout


def test_full_disk(tmp_path):
    "A file-size limit stands in for a full disk: one line, and the run goes on once there is room."
    run, data = tmp_path / "run", tones(tmp_path / "data")
    assert call("train", data, "--out", run, "--steps", 2, "--checkpoint-every", 1).returncode == 0
    limited = [
        "bash",
        "-c",
        f"ulimit -f 100; exec {COMMAND} train {data} --out {run} --steps 4 --checkpoint-every 1 --resume",
    ]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=300)
    assert len(refused(done)) == 1
    assert not list(run.rglob(".part-*"))
    again = call("train", data, "--out", run, "--steps", 4, "--checkpoint-every", 1, "--resume")
    assert again.returncode == 0 and "resumed at step 2" in again.stdout


def test_generate(tmp_path):
    out = tmp_path / "2026.wav"
    done = call("generate", "--label", "2026", "--out", out, "--seed", 3)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    y, sr = sf.read(out)
    assert sr == 8000 and 1 < len(y) / sr < 5 and 0.05 < np.abs(y).max() <= 1
    first = out.read_bytes()
    assert (
        call("generate", "--label", "2026", "--out", out, "--seed", 3).returncode == 0
        and out.read_bytes() == first
    )
    assert refused(call("generate", "--label", "1", "--out", tmp_path))
    assert refused(call("generate", "--label", "1", "--out", tmp_path / "a.xyz"))


def test_demo(tmp_path):
    done = call("demo", "--out", tmp_path / "demo", "--minutes", 0.05)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "demo" / "report.html").read_text()
    assert (
        page.count("<audio") == 31
        and "<table>" in page
        and not re.search(r'(src|href)="(?!data:)', page)
    )
    assert (
        len(list((tmp_path / "demo").rglob("*.wav"))) == 31
        and len(list((tmp_path / "demo").glob("*.png"))) == 2
    )
    assert str(tmp_path / "demo" / "report.html") in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_keeps_the_step_it_names_and_a_voice(number, tmp_path):
    data, run = tones(tmp_path / "data"), tmp_path / "run"
    child = subprocess.Popen(
        [
            COMMAND,
            "train",
            data,
            "--steps",
            "500",
            "--checkpoint-every",
            "1000",
            "--sample-every",
            "2",
            "--out",
            run,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.time() + 200
    while not list((run / "samples").glob("*.wav")) and time.time() < deadline:
        time.sleep(0.1)
    child.send_signal(number)
    said, errors = child.communicate(timeout=100)
    (kept,) = [int(p.stem) for p in (run / "checkpoints").glob("[0-9]*.npz")]
    assert child.returncode == 130 and f"step {kept} is kept" in said and errors == "", (
        said[-500:] + errors
    )
    assert kept >= 2 and (run / "generator.keras").exists()
    again = call("train", data, "--steps", kept + 1, "--out", run, "--resume")
    assert again.returncode == 0 and f"resumed at step {kept}" in again.stdout


def test_a_run_is_its_data_and_not_a_path(tmp_path):
    data, run = tones(tmp_path / "data"), tmp_path / "run"
    assert call("train", "data", "--steps", 1, "--out", run, cwd=tmp_path).returncode == 0
    assert call("train", f"{data}/", "--steps", 2, "--out", run, "--resume").returncode == 0
    put(data, "low/0.wav", hum(1)[::-1])
    assert (
        "another digest" in refused(call("train", data, "--steps", 3, "--out", run, "--resume"))[-1]
    )
    done = call("train", data, "--steps", 1, "--out", data / "run")
    assert "lies within the data" in refused(done)[-1] and not (data / "run").exists()


def test_a_run_may_bear_the_name_of_its_data_set(tmp_path):
    for steps in (1, 2):
        assert (
            call(
                "train", "drums", "--steps", steps, "--out", "drums", "--resume", cwd=tmp_path
            ).returncode
            == 0
        )


def test_what_is_printed_can_be_pasted(tmp_path):
    data = tones(tmp_path / "data", ("a; false", "-dash"))
    done = call("train", data, "--steps", 1, "--out", tmp_path / "my run")
    line = done.stdout.strip().splitlines()[-1].partition("hear it with: gan-audio ")[2]
    words = shlex.split(line)
    assert (
        words[:3] == ["generate", "--model", str(tmp_path / "my run")]
        and words[3] == "--label=-dash"
    )
    assert call(*words[:-1], tmp_path / "x.wav").returncode == 0 and (tmp_path / "x.wav").exists()


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize("tail, status", [("2>&-", 0), (">&-", 0), ("| head -1", 0), ("<&-", 0)])
def test_streams_that_are_not_there(tail, status, tmp_path):
    done = subprocess.run(
        f"'{COMMAND}' generate --label 1 --out x.wav --count 2 {tail}",
        shell=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (
        done.returncode == status and "Traceback" not in done.stderr and "space" not in done.stderr
    )
    assert len(list(tmp_path.glob("*.wav"))) == 2 or "head" in tail


def test_names_that_cannot_be_shown(tmp_path):
    name = "\u65e5\u672c\n.wav"
    put(tmp_path, name, hum())
    done = apart("info", name, cwd=tmp_path, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and "\\u65e5" in done.stdout
    said = refused(apart("info", "no\nsuch.wav", cwd=tmp_path))
    assert len(said) == 1 and "no\\nsuch.wav" in said[0]


def test_as_a_module(tmp_path):
    assert "voice-8k" in subprocess.check_output(
        [sys.executable, "-m", "gan_audio_tut", "info"], text=True
    )
