"""Datasets: clean drums, disjoint splits, and folders with everything in them that goes wrong."""

import functools
import hashlib
import http.server
import logging
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from gan_audio_tut import audio, audio_io, datasets
from gan_audio_tut.audio import InputError


def sound(seconds=0.5, sr=8000, freq=440.0):
    return audio.tone(freq, seconds, sr)


def one_line(error):
    return "\n" not in str(error.value) and ("; " in str(error.value))


def test_import_needs_no_tensorflow():
    code = (
        "import sys, gan_audio_tut.datasets as d; d.drums(n_per_class=1); d.digits(); "
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# drums


@pytest.fixture(scope="module")
def machine():
    return datasets.drums("train", n_per_class=25)


def test_drums_are_labelled_and_clean(machine):
    assert machine.audio.shape == (200, 8192)
    assert machine.audio.dtype == np.float32 and machine.labels.dtype == np.int32
    assert np.array_equal(machine.labels, np.repeat(np.arange(8), 25))
    assert machine.classes == tuple(datasets.DRUMS)
    peaks = np.abs(machine.audio).max(1)
    assert np.isfinite(machine.audio).all() and peaks.min() > 0.299 and peaks.max() < 0.901
    assert (np.abs(machine.audio.mean(1)) < 1e-3 * peaks).all()


def test_drums_do_not_click_at_either_end(machine):
    assert np.abs(machine.audio[:, [0, -1]]).max() == 0
    peaks = np.abs(machine.audio).max(1)
    last_millisecond = np.abs(machine.audio[:, -16:]).max(1)
    assert (last_millisecond < 0.005 * peaks).all()
    steps = np.abs(np.diff(machine.audio[:, -160:])).max(1)
    assert (steps < 0.01 * peaks).all(), "a step in the fade"


def class_medians(values, machine):
    values = np.asarray(values)
    return {k: np.median(values[machine.labels == i]) for i, k in enumerate(machine.classes)}


def test_drums_lie_where_their_names_say(machine):
    power = np.abs(np.fft.rfft(machine.audio)) ** 2
    centroids = power @ np.fft.rfftfreq(8192, 1 / 16000) / power.sum(1)
    center = class_medians(centroids, machine)
    assert center["kick"] < center["tom"] < center["rim"] < center["snare"] < center["closed_hat"]
    ends = [np.flatnonzero(np.abs(y) > 0.01 * np.abs(y).max())[-1] / 16000 for y in machine.audio]
    length = class_medians(ends, machine)
    assert length["rim"] < length["closed_hat"] + 0.05 < length["snare"]
    assert 2 * length["closed_hat"] < length["open_hat"]


def test_drums_vary_within_a_class(machine):
    for k in range(8):
        spectra = np.abs(np.fft.rfft(machine.audio[machine.labels == k]))
        spectra /= np.linalg.norm(spectra, axis=1, keepdims=True)
        assert np.median(spectra @ spectra.T) < 0.95, machine.classes[k]


def test_drums_are_a_function_of_kind_and_seed():
    for kind in datasets.DRUMS:
        assert np.array_equal(datasets.drum_hit(kind, 5), datasets.drum_hit(kind, 5))
        assert not np.array_equal(datasets.drum_hit(kind, 5), datasets.drum_hit(kind, 6))
    assert np.array_equal(datasets.drums(n_per_class=2).audio[3], datasets.drum_hit("snare", 1))
    assert not np.allclose(
        datasets.drum_hit("closed_hat", 0)[:500], datasets.drum_hit("open_hat", 0)[:500]
    )


def test_drum_splits_share_nothing():
    hits = {
        s: {y.tobytes() for y in datasets.drums(s, n_per_class=4).audio} for s in datasets.SPLITS
    }
    assert all(len(h) == 32 for h in hits.values()) and len(set.union(*hits.values())) == 96
    both = datasets.drums("train+test", n_per_class=4)
    assert {y.tobytes() for y in both.audio} == hits["train"] | hits["test"]
    assert np.bincount(both.labels).tolist() == [8] * 8


@pytest.mark.parametrize("sr, samples", [(4000, 512), (8000, 4096), (44100, 22050)])
def test_drums_at_other_rates(sr, samples):
    clips = datasets.drums(n_per_class=2, sr=sr, samples=samples)
    assert clips.audio.shape == (16, samples) and np.isfinite(clips.audio).all() and clips.sr == sr


def test_square_waves_have_no_alias():
    sr, n = 16000, 16000  # one bin is 1 Hz
    level = np.abs(np.fft.rfft(datasets._square_wave(n, sr, 777))) * 2 / n
    odd = np.arange(777, 8000, 2 * 777)
    assert np.allclose(level[odd], 4 / np.pi / (odd / 777)) and np.delete(level, odd).max() < 1e-9


@pytest.mark.parametrize(
    "call",
    [
        lambda: datasets.drum_hit("gong"),
        lambda: datasets.drums("all"),
        lambda: datasets.drums(n_per_class=0),
        lambda: datasets.drum_hit("kick", samples=1),
        lambda: datasets.digits("trian"),
        lambda: datasets.digits(""),
        lambda: datasets.load_dataset("drumz"),
        lambda: datasets.load_dataset(""),
    ],
)
def test_wrong_calls_are_one_clear_line(call):
    with pytest.raises(InputError) as error:
        call()
    assert one_line(error)


# digits


@pytest.fixture(scope="module")
def all_digits():
    return {s: datasets.digits(s) for s in datasets.SPLITS}


def test_digits_are_all_there(all_digits):
    assert sum(map(len, all_digits.values())) == 750
    assert len(datasets.digits("train+valid+test")) == 750
    for clips in all_digits.values():
        assert clips.sr == 8000 and clips.audio.shape[1] == 8192
        assert np.bincount(clips.labels, minlength=10).min() >= 15
        assert (audio.rms(clips.audio) > audio.db_to_amplitude(-30)).all()
        assert np.abs(clips.audio).max() <= 1


def test_digit_splits_share_no_clip_and_the_test_no_speaker(all_digits):
    assert len({y.tobytes() for clips in all_digits.values() for y in clips.audio}) == 750
    test = set(all_digits["test"].speakers)
    others = set(all_digits["train"].speakers) | set(all_digits["valid"].speakers)
    assert len(test) == 5 and not test & others
    names = [all_digits["test"].speaker_names[v].partition("+") for v in test]
    assert len({accent for accent, _, _ in names}) == len({timbre for _, _, timbre in names}) == 5


def test_digits_sound_apart():
    "The nearest clip of another speaker has nearly always the same label."
    clips = datasets.digits("train+valid+test")
    frames = clips.audio.reshape(750, 64, 128) * np.hanning(128)
    magnitude = np.abs(np.fft.rfft(frames, axis=2))[..., :64]
    features = np.log(1e-3 + magnitude).reshape(750, -1)
    distance = (features**2).sum(1) - 2 * features @ features.T
    distance[clips.speakers[:, None] == clips.speakers] = np.inf
    assert np.mean(clips.labels[distance.argmin(1)] == clips.labels) > 0.9


# FSDD and Speech Commands


@pytest.fixture
def fake_fsdd(tmp_path):
    "Two digits, three speakers, 12 recordings of each."
    for digit in (0, 7):
        for v, name in enumerate(("ann", "bo_b", "zoë")):
            for i in range(12):
                audio_io.save(
                    tmp_path / "recordings" / f"{digit}_{name}_{i}.wav",
                    sound(0.3, freq=200 + 50 * v),
                    8000,
                )
    (tmp_path / "recordings" / "notes.wav").write_text("no digit")
    (tmp_path / "recordings" / "._0_ann_0.wav").write_text("hidden")
    return tmp_path


def test_fsdd_takes_what_is_there(fake_fsdd):
    parts = {s: datasets.fsdd(s, fake_fsdd) for s in datasets.SPLITS}
    assert {s: len(c) for s, c in parts.items()} == {"train": 12, "valid": 30, "test": 30}
    assert len(datasets.fsdd("train+valid", fake_fsdd)) == 42
    assert len({f for c in parts.values() for f in c.files}) == 72
    for s, clips in parts.items():
        assert clips.speaker_names == ("ann", "bo_b", "zoë")
        assert set(clips.labels) == {0, 7} and len(clips.classes) == 10
        for f, k, v in zip(clips.files, clips.labels, clips.speakers, strict=True):
            digit, rest = Path(f).stem.split("_", 1)
            name, i = rest.rsplit("_", 1)
            assert int(digit) == k and clips.speaker_names[v] == name
            assert s == ("test" if int(i) < 5 else "valid" if int(i) < 10 else "train")
    assert datasets.fsdd("test", str(fake_fsdd), sr=16000, samples=1000).audio.shape == (30, 1000)


def test_fsdd_skips_and_counts_a_bad_recording(fake_fsdd, caplog):
    (fake_fsdd / "recordings" / "0_ann_0.wav").write_bytes(b"")
    assert len(datasets.fsdd("test", fake_fsdd)) == 29
    assert "0_ann_0.wav" in caplog.messages[0] and caplog.messages[1] == "skipped 1 of 30 files"


def test_fsdd_says_what_is_missing(fake_fsdd, tmp_path, monkeypatch):
    for call, words in (
        (lambda: datasets.fsdd("validation", fake_fsdd), "validation: no such split"),
        (lambda: datasets.fsdd("train", tmp_path / "nowhere"), "datasets.download('fsdd')"),
    ):
        with pytest.raises(InputError) as error:
            call()
        assert words in str(error.value) and one_line(error)
    for p in fake_fsdd.glob("recordings/*_1?.wav"):
        p.unlink()
    with pytest.raises(InputError) as error:
        datasets.fsdd("train", fake_fsdd)
    assert one_line(error)
    monkeypatch.setenv("GAN_AUDIO_TUT_DATA_DIR", str(tmp_path / "elsewhere"))
    with pytest.raises(InputError) as error:
        datasets.load_dataset("fsdd")
    assert str(tmp_path / "elsewhere" / "fsdd") in str(error.value)


def test_fsdd_as_it_is(real_data):
    parts = {s: datasets.fsdd(s) for s in datasets.SPLITS}
    speakers = len(parts["test"].speaker_names)
    assert len(parts["test"]) == len(parts["valid"]) == 50 * speakers
    assert len(parts["train"]) == 400 * speakers
    assert not set(parts["train"].files) & set(parts["test"].files)
    assert np.bincount(parts["test"].labels).tolist() == [5 * speakers] * 10
    assert parts["test"].sr == 8000 and np.isfinite(parts["test"].audio).all()


NOISES = [
    (fold, source, take, number, kind)
    for fold in range(1, 6)
    for source, number, kind in ((100 + fold, 0, "dog"), (200 + fold, 10, "rain"))
    for take in "AB"
]


@pytest.fixture(params=["as published", "by kind"])
def fake_esc10(request, tmp_path):
    "ESC-10 in both layouts; as published, among ESC-50's other classes."
    for fold, source, take, number, kind in NOISES:
        name = (
            f"{fold}-{source}-{take}-{number}.wav"
            if request.param == "as published"
            else f"{fold}-{source}-{take}.wav"
        )
        audio_io.save(
            tmp_path / ("audio" if request.param == "as published" else kind) / name,
            sound(0.5, 16000, source),
            16000,
        )
    if request.param == "as published":
        audio_io.save(tmp_path / "audio" / "1-300-A-14.wav", sound(0.5, 16000), 16000)
        rows = [
            f"{fold}-{source}-{take}-{number}.wav,{fold},{number},{kind},True,{source},{take}"
            for fold, source, take, number, kind in NOISES
        ]
        (tmp_path / "meta").mkdir()
        (tmp_path / "meta" / "esc50.csv").write_text(
            "\n".join(
                [
                    "filename,fold,target,category,esc10,src_file,take",
                    *rows,
                    "1-300-A-14.wav,1,14,chirping_birds,False,300,A",
                    "",
                ]
            )
        )
    return tmp_path


def test_esc10_keeps_recordings_together(fake_esc10):
    parts = {s: datasets.esc10(s, fake_esc10, sr=4000, samples=2000) for s in datasets.SPLITS}
    assert {s: len(c) for s, c in parts.items()} == {"train": 8, "valid": 4, "test": 8}
    for clips in parts.values():
        assert clips.classes == ("dog", "rain") and clips.audio.shape[1] == 2000
        assert set(clips.labels) == {0, 1}
    assert {Path(f).name[0] for f in parts["valid"].files} == {"3"}
    assert {Path(f).name[0] for f in parts["test"].files} == {"4", "5"}
    assert datasets.esc10("test", fake_esc10).audio.shape == (8, 40000)


def test_esc10_says_what_is_missing(fake_esc10, tmp_path):
    for options in (
        {"split": "dev"},
        {"split": None},
        {"root": tmp_path / "nowhere"},
        {"samples": 0},
        {"sr": 0},
        {"sr": 8000.0},
        {"samples": 10.5},
    ):
        with pytest.raises(InputError) as error:
            datasets.esc10(**{"root": fake_esc10} | options)
        assert one_line(error)


@pytest.mark.parametrize(
    "table",
    [
        b"",
        b"filename;fold\n",
        b"\xff\xfe\x00",
        b"filename,fold,target,category,esc10\n",
        b"filename,category,esc10\nnone-of-these.wav,dog,True\n",
    ],
)
def test_a_damaged_table_of_esc50_is_named(tmp_path, table):
    audio_io.save(tmp_path / "audio" / "1-100-A-0.wav", sound(0.5, 16000), 16000)
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_bytes(table)
    with pytest.raises(InputError, match=r"esc50\.csv") as error:
        datasets.esc10("train", tmp_path)
    assert one_line(error)
    (tmp_path / "meta" / "esc50.csv").unlink()
    with pytest.raises(InputError, match="holds no ESC-10"):
        datasets.esc10("train", tmp_path)


def test_esc50_may_lie_in_a_folder_of_its_own(tmp_path):
    audio_io.save(tmp_path / "ESC-50-master" / "audio" / "1-100-A-0.wav", sound(0.5, 16000), 16000)
    (tmp_path / "ESC-50-master" / "meta").mkdir()
    (tmp_path / "ESC-50-master" / "meta" / "esc50.csv").write_text(
        "\ufefffilename,category,esc10\n1-100-A-0.wav,dog,TRUE\n"
    )  # as a spreadsheet saves it
    assert datasets.esc10("train", tmp_path).classes == ("dog",)


@pytest.fixture
def fake_sc09(tmp_path):
    for i, who in enumerate(("aa11", "bb22", "cc33", "dd44")):
        for word in ("zero", "nine", "cat"):
            for take in range(2):
                audio_io.save(
                    tmp_path / word / f"{who}_nohash_{take}.wav",
                    sound(0.4, 16000, 200 + 40 * i),
                    16000,
                )
    for name, who in (("validation_list.txt", "bb22"), ("testing_list.txt", "cc33")):
        (tmp_path / name).write_text(
            "".join(
                f"{w}/{who}_nohash_{t}.wav\n" for w in ("zero", "nine", "cat") for t in range(2)
            )
        )
    return tmp_path


def test_sc09_follows_the_lists(fake_sc09):
    parts = {s: datasets.sc09(s, fake_sc09) for s in datasets.SPLITS}
    assert {s: len(c) for s, c in parts.items()} == {"train": 8, "valid": 4, "test": 4}
    train = parts["train"]
    assert {train.speaker_names[v] for v in train.speakers} == {"aa11", "dd44"}
    assert set(parts["test"].speakers) == {2} and set(train.labels) == {0, 9}
    assert train.audio.shape == (8, 8192) and train.sr == 8000
    assert len(datasets.sc09("train+test", fake_sc09)) == 12


def test_sc09_says_what_is_missing(fake_sc09, tmp_path):
    for split, root in (("dev", fake_sc09), ("train", tmp_path / "nowhere")):
        with pytest.raises(InputError) as error:
            datasets.sc09(split, root)
        assert one_line(error)
    (fake_sc09 / "testing_list.txt").unlink()
    with pytest.raises(InputError, match="holds no Speech Commands"):
        datasets.sc09("train", fake_sc09)


def test_voicebank_pairs_by_name_and_says_what_is_missing(tmp_path):
    for name in ("train/p226_001", "train/p287_002", "train/p301_001", "test/p232_001"):
        part, stem = name.split("/")
        for kind in ("noisy", "clean"):
            audio_io.save(
                tmp_path / f"{kind}_{part}set_wav" / f"{stem}.wav", sound(0.1, 48000), 48000
            )
    parts = {s: datasets.voicebank(s, tmp_path) for s in datasets.SPLITS}
    assert {s: [clean.stem for _, clean in pairs] for s, pairs in parts.items()} == {
        "train": ["p301_001"],
        "valid": ["p226_001", "p287_002"],
        "test": ["p232_001"],
    }
    for noisy, clean in [pair for pairs in parts.values() for pair in pairs]:
        assert noisy.parent.name.startswith("noisy") and clean.parent.name.startswith("clean")
        assert clean.is_file()
    assert len(datasets.voicebank("train+valid+test", tmp_path)) == 4
    parts["test"][0][1].unlink()
    for split, word in (("test", r"p232_001\.wav: is missing"), ("dev", "dev")):
        with pytest.raises(InputError, match=word) as error:
            datasets.voicebank(split, tmp_path)
        assert one_line(error)
    with pytest.raises(InputError, match="holds no VoiceBank-DEMAND"):
        datasets.voicebank("train", tmp_path / "nowhere")


# the download


@pytest.fixture
def shop(tmp_path, fake_fsdd, monkeypatch):
    "An archive of FSDD's form, served on this machine; `data_dir` is empty."
    served = tmp_path / "served"
    served.mkdir()
    with tarfile.open(served / "v1.tar.gz", "w:gz") as tar:
        tar.add(fake_fsdd / "recordings", "free-1/recordings")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *a: None)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1.tar.gz"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("GAN_AUDIO_TUT_DATA_DIR", str(tmp_path / "home"))
    sha256 = hashlib.sha256((served / "v1.tar.gz").read_bytes()).hexdigest()
    monkeypatch.setitem(datasets.SOURCES, "fsdd", (url, sha256, "free-1"))
    yield server
    server.shutdown()
    server.server_close()


def left(tmp_path):
    "Names of what is in `data_dir`."
    home = tmp_path / "home"
    return sorted(p.name for p in home.iterdir()) if home.exists() else []


def test_download_puts_it_where_the_loader_looks(shop, tmp_path, monkeypatch):
    where = datasets.download("fsdd")
    assert where == datasets.data_dir() / "fsdd" and left(tmp_path) == ["fsdd"]
    assert len(datasets.fsdd("test")) == 30
    monkeypatch.setitem(datasets.SOURCES, "fsdd", ("http://127.0.0.1:9/gone", "0" * 64, "free-1"))
    assert datasets.download("fsdd") == where, "what is there is not downloaded again"


def test_download_of_an_archive_without_a_top_folder(shop, tmp_path, monkeypatch):
    url, sha256, _ = datasets.SOURCES["fsdd"]
    monkeypatch.setitem(datasets.SOURCES, "sc09", (url, sha256, ""))
    assert (datasets.download("sc09") / "free-1" / "recordings").is_dir()
    assert left(tmp_path) == ["sc09"]


def test_download_without_network(shop, tmp_path, monkeypatch):
    monkeypatch.setitem(
        datasets.SOURCES, "fsdd", ("http://127.0.0.1:9/v1.tar.gz", "0" * 64, "free-1")
    )
    with pytest.raises(InputError) as error:
        datasets.download("fsdd")
    assert one_line(error) and "http://127.0.0.1:9/v1.tar.gz" in str(error.value)
    assert str(datasets.data_dir() / "fsdd") in str(error.value)
    assert left(tmp_path) == []


def test_download_of_something_else(shop, tmp_path, monkeypatch):
    url, _, inner = datasets.SOURCES["fsdd"]
    monkeypatch.setitem(datasets.SOURCES, "fsdd", (url, "0" * 64, inner))
    with pytest.raises(InputError, match="SHA-256") as error:
        datasets.download("fsdd")
    assert one_line(error) and left(tmp_path) == []
    monkeypatch.setitem(datasets.SOURCES, "fsdd", (url + ".old", "0" * 64, inner))
    with pytest.raises(InputError, match="cannot be downloaded") as error:
        datasets.download("fsdd")
    assert one_line(error) and left(tmp_path) == []


def test_interrupted_unpacking_never_looks_complete(shop, tmp_path, monkeypatch):
    import pooch

    whole = pooch.Untar._extract_file

    def half(self, fname, extract_dir):
        whole(self, fname, extract_dir)
        for p in list(Path(extract_dir).rglob("7_*.wav")):
            p.unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(pooch.Untar, "_extract_file", half)
    with pytest.raises(KeyboardInterrupt):
        datasets.download("fsdd")
    assert left(tmp_path) == ["fsdd.tar.gz"], (
        "the checked download is kept, nothing that looks like data"
    )
    monkeypatch.setattr(pooch.Untar, "_extract_file", whole)
    shop.shutdown()  # the second attempt needs no network
    datasets.download("fsdd")
    assert len(datasets.fsdd("train+valid+test")) == 72 and left(tmp_path) == ["fsdd"]


def test_download_over_an_empty_folder(shop, tmp_path):
    (tmp_path / "home" / "fsdd").mkdir(parents=True)
    assert (datasets.download("fsdd") / "recordings").is_dir()


def test_download_where_nothing_can_be_written(shop, tmp_path):
    (tmp_path / "home").write_text("a file in the way")
    with pytest.raises(InputError) as error:
        datasets.download("fsdd")
    assert one_line(error)
    with pytest.raises(InputError, match="nothing to download") as error:
        datasets.download("mnist")
    assert one_line(error)


# a folder of yours


def truncated_flac(p):
    audio_io.save(p, audio.white_noise(2, 8000), 8000)
    p.write_bytes(p.read_bytes()[:9000])


BAD = {
    "text.wav": lambda p: p.write_text("not a sound"),
    "empty file.wav": lambda p: p.write_bytes(b""),
    "truncated.flac": truncated_flac,
    "no samples.wav": lambda p: sf.write(p, np.zeros(0), 8000),
    "one sample.wav": lambda p: sf.write(p, np.ones(1) * 0.5, 8000),
    "silence.wav": lambda p: sf.write(p, np.zeros(16000), 8000),
    "offset only.wav": lambda p: sf.write(p, np.full(16000, 0.3), 8000),
    "nan.wav": lambda p: sf.write(
        p, np.where(np.arange(8000) == 99, np.nan, sound(1)), 8000, "FLOAT"
    ),
    "inf.wav": lambda p: sf.write(
        p, np.where(np.arange(8000) == 7999, np.inf, sound(1)), 8000, "FLOAT"
    ),
    "huge.wav": lambda p: sf.write(p, 20000 * sound(1), 8000, "FLOAT"),
    "broken link.wav": lambda p: p.symlink_to("nowhere.wav"),
    "link to itself.wav": lambda p: p.symlink_to(p.name),
    "pipe.wav": lambda p: os.mkfifo(p),
}


@pytest.mark.parametrize("name", BAD)
def test_one_bad_file_among_good_ones(name, tmp_path, caplog):
    audio_io.save(tmp_path / "good.wav", sound(), 8000)
    BAD[name](tmp_path / name)
    clips = datasets.audio_folder(tmp_path)
    assert len(clips) == 1 and clips.files == (str(tmp_path / "good.wav"),)
    assert np.isfinite(clips.audio).all()
    skipped, count = caplog.messages
    assert name in skipped and "; " in skipped and count == "skipped 1 of 2 files"
    with pytest.raises(InputError) as error:
        datasets.audio_folder(tmp_path, strict=True)
    assert name in str(error.value) and one_line(error)


@pytest.mark.parametrize("name", BAD)
def test_nothing_usable(name, tmp_path, caplog):
    BAD[name](tmp_path / name)
    with pytest.raises(InputError) as error:
        datasets.load_dataset(str(tmp_path))
    assert one_line(error) and name in caplog.messages[0]


def test_folders_that_are_none(tmp_path):
    (tmp_path / "file.wav").write_text("x")
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    for path in ("missing", "empty", "file.wav"):
        for opened in (datasets.audio_folder, datasets.load_dataset):
            with pytest.raises(InputError) as error:
                opened(tmp_path / path)
            assert one_line(error) and str(tmp_path / path) in str(error.value)
    with pytest.raises(InputError) as error:
        datasets.audio_folder(tmp_path, sr=0)
    assert one_line(error)


def test_classes_are_subfolders(tmp_path, caplog):
    audio_io.save(tmp_path / "a kick" / "in" / "deep.wav", sound(), 8000)
    audio_io.save(tmp_path / "große Trommel" / "eins zwei.flac", sound(), 8000)
    for i in range(3):
        audio_io.save(tmp_path / "鼓" / f"{i}.ogg", sound(), 8000)
    (tmp_path / "all bad").mkdir()
    (tmp_path / "all bad" / "x.wav").write_text("x")
    (tmp_path / "nothing").mkdir()
    clips = datasets.audio_folder(tmp_path)
    assert clips.classes == ("a kick", "große Trommel", "鼓")
    assert clips.labels.tolist() == [0, 1, 2, 2, 2]
    assert clips.name == tmp_path.name and all(Path(f).is_file() for f in clips.files)


def test_hidden_files_and_other_files_are_left_out(tmp_path, caplog):
    audio_io.save(tmp_path / "GOOD.WAV", sound(), 8000)
    for name in ("._GOOD.wav", ".hidden.wav", "cover.jpg", "readme.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "object.wav").write_text("x")
    assert len(datasets.audio_folder(tmp_path, strict=True)) == 1 and not caplog.messages


def test_links_to_folders(tmp_path):
    audio_io.save(tmp_path / "real" / "kick" / "a.wav", sound(), 8000)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kick").symlink_to(tmp_path / "real" / "kick")
    (tmp_path / "mine" / "kick" / "back").symlink_to(tmp_path / "mine")
    (tmp_path / "mine" / "self").symlink_to(tmp_path / "mine" / "self")
    clips = datasets.audio_folder(tmp_path / "mine", strict=True)
    assert clips.classes == ("kick",) and len(clips) == 1


def test_a_name_that_is_no_text(tmp_path, caplog):
    audio_io.save(tmp_path / "good.wav", sound(), 8000)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")).write_bytes(
        (tmp_path / "good.wav").read_bytes()
    )
    assert len(datasets.audio_folder(tmp_path)) == 1 and "rename" in caplog.messages[0]
    caplog.messages[0].encode()


@pytest.fixture
def as_nobody():
    "A folder that everybody may enter, and how to become a user whom permissions bind, and back."
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    audio_io.save(folder / "good" / "a.wav", sound(), 8000)
    is_root = os.geteuid() == 0

    def become(user):
        if is_root:
            os.seteuid(user)

    yield folder, become
    become(0)
    subprocess.run(["chmod", "-R", "u+rwx", str(folder)])
    subprocess.run(["rm", "-r", str(folder)])


@pytest.mark.parametrize("what", ["file", "folder", "locked folder"])
def test_permissions(what, as_nobody, caplog):
    folder, become = as_nobody
    audio_io.save(folder / "bad" / "b.wav", sound(), 8000)
    locked = folder / "bad" / "b.wav" if what == "file" else folder / "bad"
    locked.chmod(0o644 if what == "locked folder" else 0o000)
    become(65534)
    try:
        clips = datasets.audio_folder(folder)
        with pytest.raises(InputError) as error:
            datasets.audio_folder(folder, strict=True)
    finally:
        become(0)
    assert len(clips) == 1 and clips.classes == ("good",) and "bad" in caplog.messages[0]
    assert "bad" in str(error.value) and "permissions" in str(error.value) and one_line(error)


@pytest.mark.parametrize("sr", [1000, 11025, 48000, 192000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_rate_and_channel_count(sr, channels, tmp_path):
    sf.write(tmp_path / "x.wav", np.stack([sound(0.5, sr, 220)] * channels, 1), sr)
    clips = datasets.audio_folder(tmp_path, sr=8000, strict=True)
    strongest = np.abs(np.fft.rfft(clips.audio[0])).argmax() * 8000 / 8192
    assert clips.audio.shape == (1, 8192) and abs(strongest - 220) < 2
    assert 0.4 < np.abs(clips.audio).max() < 0.6


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".aiff"])
def test_any_format(suffix, tmp_path):
    sf.write(tmp_path / f"x{suffix}", sound(0.5), 8000)
    assert len(datasets.audio_folder(tmp_path, strict=True)) == 1


def test_silence_is_cut_and_quiet_is_kept(tmp_path):
    gap, hit = np.zeros(12000), sound(0.8)
    y = 0.01 * np.concatenate([gap, hit, gap, hit, gap])
    y += audio.white_noise(6.1, 8000, level=1e-5)[: len(y)]
    audio_io.save(tmp_path / "hits.wav", y, 8000, "FLOAT")
    clips = datasets.audio_folder(tmp_path)
    assert len(clips) == 2 and (np.abs(clips.audio[:, :80]).max(1) > 1e-4).all()
    assert np.allclose(np.sort(np.abs(clips.audio).max(1)), 0.005, rtol=0.02)


def test_a_long_recording_is_cut_without_loss(tmp_path):
    y = audio.white_noise(30, 8000, level=0.2).clip(-0.9, 0.9)
    audio_io.save(tmp_path / "y.wav", y, 8000, "FLOAT")
    clips = datasets.audio_folder(tmp_path, samples=4096)
    whole = len(y) // 4096
    # sound that goes on is cut edge to edge
    assert np.array_equal(clips.audio[:whole].reshape(-1), y[: whole * 4096])
    assert len(clips) == whole + 1 and clips.audio[-1][-1] == 0
    assert np.array_equal(clips.audio[-1][: len(y) % 4096], y[whole * 4096 :])


def test_segments_at_the_limits(tmp_path):
    def count(n):
        audio_io.save(tmp_path / "y.wav", audio.white_noise(n / 8000, 8000), 8000)
        return len(datasets.audio_folder(tmp_path, samples=1024))

    lengths = {161: 1, 1023: 1, 1024: 1, 1025: 1, 1024 + 255: 1, 1024 + 256: 2, 2048: 2}
    assert {n: count(n) for n in lengths} == lengths
    with pytest.raises(InputError):
        count(159)


def test_samples_stay_within_full_scale(tmp_path):
    sf.write(tmp_path / "hot.wav", 2.4 * sound(1), 8000, "FLOAT")
    assert np.abs(datasets.audio_folder(tmp_path).audio).max() == 1


def test_the_limit_is_shared_by_need(tmp_path, caplog):
    for name, seconds in (("long", 60), ("longer", 70), ("short", 2)):
        audio_io.save(tmp_path / name / "x.wav", audio.white_noise(seconds, 8000), 8000)
    clips = datasets.audio_folder(tmp_path, samples=8000, limit=20)
    assert np.bincount(clips.labels).tolist() == [9, 9, 2]
    assert [m.partition(":")[0] for m in caplog.messages] == ["long", "longer"]


def test_many_small_classes_leave_their_share_to_the_large_one(tmp_path, caplog):
    "100 classes of one clip and one of 600: 20000 clips are allowed, and none is left out."
    for i in range(100):
        audio_io.save(tmp_path / f"{i:02d}" / "x.wav", sound(0.1), 8000)
    audio_io.save(tmp_path / "large" / "x.wav", audio.white_noise(60, 8000), 8000)
    clips = datasets.audio_folder(tmp_path, samples=800)
    assert np.bincount(clips.labels).tolist() == [1] * 100 + [600] and not caplog.messages
    clips = datasets.audio_folder(tmp_path, samples=800, limit=500)
    assert np.bincount(clips.labels).tolist() == [1] * 100 + [400]


def test_the_remedy_of_a_full_class_exists(tmp_path, caplog):
    audio_io.save(tmp_path / "x.wav", audio.white_noise(10, 8000), 8000)
    assert len(datasets.audio_folder(tmp_path, samples=8000, limit=4)) == 4
    (message,) = caplog.messages
    assert "first 4 clips" in message and "datasets.audio_folder(path, limit=N)" in message
    assert len(datasets.audio_folder(tmp_path, samples=8000, limit=20)) == 10


def test_bad_files_do_not_count_for_the_limit(tmp_path, caplog):
    for name in "ab":
        audio_io.save(tmp_path / name / "good.wav", audio.white_noise(5, 8000), 8000)
    (tmp_path / "a" / "bad.wav").write_text("x")
    assert len(datasets.audio_folder(tmp_path, samples=8000, limit=10)) == 10


def test_half_an_hour_in_bounded_memory(tmp_path):
    y = audio.white_noise(60, 8000)
    with sf.SoundFile(tmp_path / "hours.wav", "w", 8000, 1) as f:
        for _ in range(30):
            f.write(y)
    start = time.process_time()
    tracemalloc.start()
    few = datasets.audio_folder(tmp_path, limit=100)
    small = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    all_of_it = datasets.audio_folder(tmp_path)
    large = tracemalloc.get_traced_memory()[1] - few.audio.nbytes
    tracemalloc.stop()
    kept = few.audio.nbytes / 1e6
    assert len(few) == 100 and small < 8e6, f"{small / 1e6:.1f} MB for {kept:.1f} MB"
    assert len(all_of_it) == 1758 and large < 1.3 * all_of_it.audio.nbytes, f"{large / 1e6:.1f} MB"
    assert time.process_time() - start < 20


# one way in


def test_load_dataset(tmp_path):
    audio_io.save(tmp_path / "a" / "x.wav", sound(), 8000)
    assert datasets.load_dataset("drums", "valid", n_per_class=1).name == "drums"
    assert len(datasets.load_dataset("digits", "test")) == 150
    assert len(datasets.load_dataset(str(tmp_path), sr=16000)) == 1
    assert len(datasets.load_dataset(tmp_path)) == 1
    for split in ("test", "train+valid", "all"):
        with pytest.raises(InputError) as error:
            datasets.load_dataset(tmp_path, split)
        assert one_line(error)


def test_a_folder_called_drums(tmp_path, monkeypatch, caplog):
    "One line says that the built-in drums are taken, and how to get the folder."
    monkeypatch.chdir(tmp_path)
    datasets.load_dataset("drums", n_per_class=1)
    assert not caplog.messages, "nothing to say where there is no such folder"
    for name in ("cat", "dog"):
        audio_io.save(tmp_path / "drums" / name / "x.wav", sound(), 8000)
    assert datasets.load_dataset("drums", n_per_class=1).classes == tuple(datasets.DRUMS)
    (message,) = caplog.messages
    assert message.startswith("drums: ") and "./drums" in message and "\n" not in message
    assert datasets.load_dataset("./drums").classes == ("cat", "dog")
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("index", [slice(None), slice(0, 0), slice(None, None, 3), [5, 1]], ids=str)
def test_digest_equals_the_hash_of_all_bytes(machine, index):
    clips = machine.select(index)
    whole = hashlib.sha256(clips.audio.tobytes() + clips.labels.tobytes())
    assert clips.digest() == whole.hexdigest()[:16]


def test_digest_changes_with_audio_and_labels(machine):
    changed = machine.audio.copy()
    changed[100, 5] += 1e-6
    others = [replace(machine, audio=changed), replace(machine, labels=machine.labels[::-1])]
    assert len({machine.digest(), *(other.digest() for other in others)}) == 3
    assert replace(machine, name="elsewhere").digest() == machine.digest()


def test_digest_copies_no_more_than_a_block(machine):
    clips = machine.select(np.tile(np.arange(200), 4))
    tracemalloc.start()
    clips.digest()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert clips.audio.nbytes > 25e6 and peak < 3e6, f"{peak / 1e6:.1f} MB"


def test_select_keeps_rows_together(fake_fsdd):
    clips = datasets.fsdd("test", fake_fsdd)
    for index in (clips.speakers == 1, np.array([4, 2]), slice(3, 9)):
        part = clips.select(index)
        where = [clips.files.index(f) for f in part.files]
        assert np.array_equal(part.audio, clips.audio[where])
        assert np.array_equal(part.labels, clips.labels[where])
        assert np.array_equal(part.speakers, clips.speakers[where])


def test_tf_dataset_computes_a_feature_once_and_shuffles_anew():
    import tensorflow as tf

    clips, sizes = datasets.drums(n_per_class=40, samples=256), []

    def count_and_reduce(y):
        sizes.append(len(y))
        return np.abs(y).max(1)

    def peak(y):
        return tf.numpy_function(count_and_reduce, [y], tf.float32)

    def rows(epoch):
        return [row for x, k in epoch for row in zip(x.tolist(), k.tolist(), strict=True)]

    def read(data):
        return [(x.numpy(), k.numpy()) for x, k in data]

    data = datasets.tf_dataset(clips, peak, batch_size=50)
    epochs = [read(data) for _ in range(3)]
    assert sum(sizes) == len(clips), "the second and third epoch compute nothing"
    peaks = np.abs(clips.audio).max(1).tolist()
    truth = sorted(zip(peaks, clips.labels.tolist(), strict=True))
    first, second, third = map(rows, epochs)
    assert sorted(first) == sorted(second) == sorted(third) == truth
    assert first != second != third
    again = rows(read(datasets.tf_dataset(clips, peak, batch_size=50)))
    assert again == first, "the order is a function of the seed"
    assert [len(k) for _, k in epochs[0]] == [50] * 6 + [20]


def test_tf_dataset_without_a_feature_gives_the_waveforms():
    clips = datasets.drums(n_per_class=1, samples=256)
    ((x, labels),) = datasets.tf_dataset(clips)
    assert np.array_equal(x.numpy()[np.argsort(labels.numpy())], clips.audio)


def test_the_library_logs_and_does_not_print(tmp_path, capfd):
    audio_io.save(tmp_path / "good.wav", sound(), 8000)
    (tmp_path / "bad.wav").write_text("x")
    logging.getLogger("gan_audio_tut").addHandler(logging.NullHandler())
    datasets.audio_folder(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_link_does_not_swallow_another_class(tmp_path):
    for name in ("a", "b"):
        audio_io.save(tmp_path / name / "x.wav", sound(), 8000)
    (tmp_path / "a" / "more").symlink_to(tmp_path / "b")
    clips = datasets.audio_folder(tmp_path, strict=True)
    assert clips.classes == ("a", "b") and np.bincount(clips.labels).tolist() == [1, 1]


def test_a_limit_that_is_just_enough_says_nothing(tmp_path, caplog):
    for name in "pq":
        audio_io.save(tmp_path / f"{name}.wav", sound(), 8000)
    assert len(datasets.audio_folder(tmp_path, limit=2)) == 2 and caplog.messages == []
    assert len(datasets.audio_folder(tmp_path, limit=1)) == 1
    assert len(caplog.messages) == 1 and "first 1 clips" in caplog.messages[0]


@pytest.mark.parametrize(
    "labels", [[0], [0, 0, 0], [[0], [1]], [0, 2], [-1, 0], [0.0, 1.0]], ids=str
)
def test_labels_that_do_not_fit_are_refused(labels):
    with pytest.raises(InputError, match=r"^mine: labels [^\n]*; [^\n]*$"):
        datasets.AudioDataset(
            "mine", 8000, ("a", "b"), np.zeros((2, 10), np.float32), np.array(labels)
        )


@pytest.mark.parametrize("shape, sr", [((10,), 8000), ((2, 10, 1), 8000), ((2, 10), 0)], ids=str)
def test_audio_that_is_no_batch_of_clips_is_refused(shape, sr):
    with pytest.raises(InputError, match=r"^mine: audio [^\n]*; [^\n]*$"):
        datasets.AudioDataset("mine", sr, ("a", "b"), np.zeros(shape, np.float32), np.array([0, 1]))
