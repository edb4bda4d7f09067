"""`gan-audio restore` as a user meets it, with a small untrained network."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from gan_audio_tut import restoration, restoration_net, streaming
from gan_audio_tut.cli import main

COMMAND = Path(sys.executable).parent / "gan-audio"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    run = tmp_path_factory.mktemp("model") / "run"
    run.mkdir()
    restoration_net.restoration_unet(channels=(4, 4), dim=8, dilations=(1,)).save(
        run / "generator.keras"
    )
    (run / "config.json").write_text(json.dumps({"sr": 8000, "hop_length": 128}))
    return run


def put(path, y, sr=8000, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, y, sr, **options)
    return path


def words(seconds=1.0, sr=8000, channels=1, seed=0):
    y = 0.1 * np.random.default_rng(seed).standard_normal((round(seconds * sr), channels))
    return y.astype(np.float32)


def call(*words):
    return main(list(map(str, words)))


def nan():
    y = words()
    y[100] = np.nan
    return y


BAD = {  # name -> how to make the input, what the line says
    "missing": (lambda p: None, "no such file"),
    "text": (lambda p: p.write_text("hello"), "not readable"),
    "no samples": (lambda p: put(p, words()[:0]), "no samples"),
    "not finite": (lambda p: put(p, nan(), subtype="FLOAT"), "NaN"),
    "broken off": (lambda p: p.write_bytes(put(p, words(5)).read_bytes()[:9000]), "breaks off"),
}


@pytest.mark.parametrize("kind", BAD)
def test_unusable_input_is_one_line_and_nothing_is_written(kind, model, tmp_path, capsys):
    make, reason = BAD[kind]
    make(tmp_path / "in.wav")
    assert call("restore", tmp_path / "in.wav", tmp_path / "new" / "out.wav", "--model", model) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "in.wav" in line and reason in line
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "y",
    [words()[:1], 0 * words(), words(0.5, channels=12), words(0.3, channels=2)],
    ids=["one sample", "silent", "twelve channels", "stereo"],
)
@pytest.mark.parametrize("task", ["auto", "denoise", "declip"])
def test_odd_sounds_have_a_right_answer(y, task, model, tmp_path):
    assert (
        call(
            "restore",
            put(tmp_path / "in.wav", y),
            tmp_path / "out.wav",
            "--task",
            task,
            "--model",
            model,
        )
        == 0
    )
    z = sf.read(tmp_path / "out.wav", always_2d=True)[0]
    assert z.shape == y.shape and np.isfinite(z).all() and (y.any() or not z.any())


def test_wrong_targets(model, tmp_path, capsys):
    a = put(tmp_path / "a.wav", words())
    was = a.read_bytes()
    (tmp_path / "link.wav").symlink_to(a)
    put(tmp_path / "in" / "b.wav", words())
    for source, out in (
        (a, a),
        (a, tmp_path / "link.wav"),
        (a, tmp_path / "a.txt"),
        (a, a / "b.wav"),
        (tmp_path / "in", tmp_path / "in" / "out"),
        (tmp_path / "in", tmp_path),
        (tmp_path / "in", a),
    ):
        assert call("restore", source, out, "--model", model) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert a.read_bytes() == was and [p.name for p in (tmp_path / "in").iterdir()] == ["b.wav"]


def test_a_wrong_option_is_one_line(model, tmp_path, capsys):
    a = put(tmp_path / "a.wav", words())
    for extra in (["--mix", "2"], ["--mix", "nan"], ["--task", "clean"]):
        with pytest.raises(SystemExit) as end:
            call("restore", a, tmp_path / "b.wav", *extra)
        assert end.value.code == 2 and capsys.readouterr().err.count("\n") == 1
    assert call("restore", a, tmp_path / "b.wav", "--model", "nobody") == 2
    assert call("restore", a, tmp_path / "b.wav", "--model", "classifier-8k") == 2
    assert "is no restorer" in capsys.readouterr().err and not (tmp_path / "b.wav").exists()


@pytest.mark.parametrize(
    "name, options",
    [
        ("a.wav", {"subtype": "PCM_24"}),
        ("a.flac", {"subtype": "PCM_16"}),
        ("a.ogg", {}),
        ("a.wav", {"subtype": "FLOAT"}),
    ],
)
@pytest.mark.parametrize("sr", [8000, 44100, 192000])
def test_the_copy_is_like_the_original(name, options, sr, model, tmp_path):
    with sf.SoundFile(tmp_path / name, "w", sr, 2, **options) as f:
        f.title = "Said"
        f.write(words(0.7, sr, 2))
    assert (
        call(
            "restore",
            tmp_path / name,
            tmp_path / "out" / name,
            "--task",
            "denoise",
            "--model",
            model,
        )
        == 0
    )
    with sf.SoundFile(tmp_path / name) as a, sf.SoundFile(tmp_path / "out" / name) as b:
        assert (a.samplerate, a.channels, a.frames, a.subtype, a.title) == (
            b.samplerate,
            b.channels,
            b.frames,
            b.subtype,
            b.title,
        )


def test_no_mix_is_the_same_file(model, tmp_path):
    a = put(tmp_path / "a.wav", words())
    assert (
        call("restore", a, tmp_path / "b.wav", "--task", "denoise", "--mix", "0", "--model", model)
        == 0
    )
    assert (tmp_path / "b.wav").read_bytes() == a.read_bytes()


def test_a_folder_goes_on_where_it_stopped(model, tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    for k, name in enumerate(("a.wav", "deep/b.flac", "deep/c.wav")):
        put(source / name, words(seed=k))
    (source / "notes.txt").write_text("no sound")
    (source / "z.wav").write_text("no sound either")
    done = put(out / "a.wav", words(seed=9)).read_bytes()
    (out / "deep").mkdir()
    (out / "deep" / ".part-0123ab-c.wav").write_bytes(b"half")
    assert call("restore", source, out, "--task", "denoise", "--model", model, "--report") == 2
    printed = capsys.readouterr()
    assert (
        "1 of 4 skipped" in printed.err
        and f"skipped {source / 'z.wav'}: " in printed.err
        and "a.wav: there already" in printed.out
        and "c.wav: denoise" in printed.out
    )
    assert (out / "a.wav").read_bytes() == done
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()) == [
        "a.wav",
        "deep/b.flac",
        "deep/c.wav",
        "report.html",
    ]
    page = (out / "report.html").read_text()
    assert page.count("<audio") == 6 and page.count("<img") == 3


@pytest.mark.parametrize(
    "number, left", [(signal.SIGKILL, 2), (signal.SIGTERM, 1), (signal.SIGHUP, 1)]
)
def test_killed_half_way_nothing_half_is_there(number, left, model, tmp_path):
    a = put(tmp_path / "a.wav", words(600))
    job = subprocess.Popen(
        [COMMAND, "restore", a, tmp_path / "b.wav", "--task", "denoise", "--model", model],
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )  # nohup ignores it
    until = time.time() + 120
    while (
        not any(
            p.name.startswith(".part") and p.stat().st_size > 100_000 for p in tmp_path.iterdir()
        )
        and time.time() < until
        and job.poll() is None
    ):
        time.sleep(0.02)
    job.send_signal(number)
    assert job.wait() == (-number if number == signal.SIGKILL else 130)
    assert len(list(tmp_path.iterdir())) == left and not (tmp_path / "b.wav").exists()


@pytest.mark.parametrize("then", ["goes on", "stumbles"])
def test_an_interrupt_that_is_swallowed_stops_it_all_the_same(
    then, model, tmp_path, monkeypatch, capsys
):
    def f(y):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except:  # noqa: E722 - as Keras does in `ops.shape`
            if then == "stumbles":
                raise TypeError("None has no shape") from None
        return y

    a = put(tmp_path / "a.wav", words(60))

    def build_chain(report, *_, **__):
        return streaming.ChunkedFunction(f, report.sr, 0)

    monkeypatch.setattr(restoration, "build_chain", build_chain)
    assert call("restore", a, tmp_path / "b.wav", "--task", "denoise", "--model", model) == 130
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"] and not capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="needs limits on files")
def test_a_full_disk_is_one_line(model, tmp_path):
    import resource

    a = put(tmp_path / "a.wav", words(60))
    done = subprocess.run(
        [COMMAND, "restore", a, tmp_path / "b.wav", "--task", "denoise", "--model", model],
        capture_output=True,
        text=True,
        preexec_fn=lambda: (
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)),
        ),
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "b.wav" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]
