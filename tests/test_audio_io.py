"""Audio files: every bad file and every bad target, parts and streams, nothing half written."""

import errno
import os
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile as sf
from conftest import RATES, refusal
from scipy import signal

from gan_audio_tut import audio, audio_io
from gan_audio_tut.audio import InputError

rng = np.random.default_rng(0)


def python(code, *args):
    "A process of its own, for limits and identities that cannot be undone."
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, timeout=120
    )


# --- bad files


def wav(y, sr=8000, subtype="PCM_16"):
    return audio_io.encode(np.asarray(y, np.float32), sr, subtype=subtype)


def float_wav(y):
    "A float WAV by hand: soundfile would be asked the same question twice."
    data = np.asarray(y, "<f4").tobytes()
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 3, 1, 8000, 32000, 4, 32)
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )


NOISE = audio.white_noise(2, 8000)
BAD = {
    "text.wav": (b"Dear sound engineer,\n" * 50, "not readable"),
    "text.mp3": (b"Dear sound engineer,\n" * 50, "not readable"),
    "text.flac": (b"fLaC, they said", "not readable"),
    "nothing.wav": (b"", "not readable"),
    "headless.raw": (bytes(1000), "not readable"),
    "picture.ogg": (b"\x89PNG\r\n\x1a\n" + bytes(300), "not readable"),
    "header.wav": (float_wav([]), "no samples"),
    "nan.wav": (float_wav([0, np.nan, 0]), "NaN"),
    "inf.wav": (float_wav([0, np.inf]), "infinite"),
    "int.wav": (float_wav([0, 12000, -9000]), "up to 12000"),
    "cut.flac": (audio_io.encode(NOISE, 8000, format="FLAC")[:9000], "damaged"),
    "cut.wav": (wav(NOISE)[:9000], "breaks off"),
    "cut24.wav": (wav(NOISE, subtype="PCM_24")[:-1], "breaks off"),
    "cut.aiff": (audio_io.encode(NOISE, 8000, format="AIFF")[:9000], "breaks off"),
    "cut.ogg": (audio_io.encode(NOISE, 8000, format="OGG")[:-1], "breaks off"),
    "cut.mp3": (audio_io.encode(NOISE, 8000, format="MP3")[:2000], "breaks off"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize(
    "read",
    [
        audio_io.load,
        lambda p: list(audio_io.stream(p)),
        lambda p: list(audio_io.stream(p, sr=16000, seconds=0.1)),
    ],
    ids=["load", "stream", "stream resampled"],
)
def test_bad_files(name, read, tmp_path):
    data, word = BAD[name]
    path = tmp_path / name
    path.write_bytes(data)
    assert word in refusal(read, path, about=path)


@pytest.mark.parametrize(
    "format, subtype",
    [
        ("WAV", "PCM_16"),
        ("WAV", "FLOAT"),
        ("WAV", "ULAW"),
        ("AIFF", None),
        ("FLAC", None),
        ("OGG", None),
        ("OGG", "OPUS"),
        ("MP3", None),
    ],
)
def test_no_cut_goes_unnoticed(format, subtype, tmp_path):
    "Wherever the end is missing, `load` refuses; a shorter sound is never the answer."
    data = audio_io.encode(audio.white_noise(8, 8000), 8000, format=format, subtype=subtype)
    path = tmp_path / f"cut.{format.lower()}"
    path.write_bytes(data)
    assert len(audio_io.load(path)[0]) == 64000
    for cut in {1, len(data) // 2, len(data) - 1, *rng.integers(0, len(data) - 1, 40).tolist()}:
        path.write_bytes(data[:cut])
        refusal(audio_io.load, path, about=path)


def test_no_file_at_all(tmp_path):
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe.wav")
    for path in [
        tmp_path / "nowhere.wav",
        tmp_path / "file" / "x.wav",
        tmp_path / ("a" * 300),
        tmp_path / "pipe.wav",
        "/dev/null",
    ]:
        assert "no such file" in refusal(audio_io.load, path, about=path)
    assert "is a folder" in refusal(audio_io.load, tmp_path, about=tmp_path)


AS_NOBODY = """
import os, sys, numpy as np
from gan_audio_tut import audio_io
if os.geteuid() == 0:
    os.setuid(65534)
"""


@pytest.fixture
def public():
    """A folder that everybody can reach; pytest's own are private.

    Root may read and write everything, so these tests become somebody else.
    """
    if not hasattr(os, "geteuid"):
        pytest.skip("POSIX permissions")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_file_that_may_not_be_read(public):
    path = audio_io.save(public / "mine.wav", NOISE, 8000)
    path.chmod(0)
    done = python(AS_NOBODY + "audio_io.load(sys.argv[1])", path)
    assert (
        done.returncode == 1
        and f"InputError: {path}: may not be read; change its permissions" in done.stderr
    ), done.stderr


# --- good files of odd kinds


@pytest.mark.parametrize(
    "header", [0xFFFFFFFF, 0x7FFFF000, 0x80000000], ids=["ffmpeg", "sox", "2 GiB"]
)
def test_wav_from_a_pipe_is_read(header, tmp_path):
    data = wav(NOISE)
    (tmp_path / "a.wav").write_bytes(
        data[:4]
        + struct.pack("<I", min(header + 36, 2**32 - 1))
        + data[8:40]
        + struct.pack("<I", header)
        + data[44:]
    )
    assert len(audio_io.load(tmp_path / "a.wav")[0]) == 16000


def test_harmless_oddities_are_read(tmp_path):
    files = {
        "tail.wav": wav(NOISE) + b"LIST\x0a\0\0\0INFOxxxxxx",
        "junk.wav": wav(NOISE) + b"junk" * 9,
        "riff.wav": wav(NOISE)[:4] + b"\0\0\0\0" + wav(NOISE)[8:],
        "id3.mp3": audio_io.encode(NOISE, 8000, format="MP3") + b"TAG" + bytes(125),
        "wav.mp3": wav(NOISE),
        "odd name: 1;2.wav": wav(NOISE),
        "UPPER.WAV": wav(NOISE),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        assert len(audio_io.load(tmp_path / name)[0]) == 16000, name


@pytest.fixture
def untagged_mp3(tmp_path):
    "Three seconds at a constant bit rate: tag frame cut away, a large ID3 block in front."
    with sf.SoundFile(
        tmp_path / "tagged.mp3",
        "w",
        44100,
        1,
        format="MP3",
        bitrate_mode="CONSTANT",
        compression_level=0.5,
    ) as f:
        f.write(audio.white_noise(3, 44100))
    data = (tmp_path / "tagged.mp3").read_bytes()
    frames = data[data.find(data[:2], 4) :]
    id3 = b"ID3\x03\0\0" + bytes([0, 6, 13, 32]) + bytes(6 * 16384 + 13 * 128 + 32)
    (tmp_path / "untagged.mp3").write_bytes(id3 + frames)
    return tmp_path / "untagged.mp3"


def test_mp3_without_a_length_tag_is_taken_as_it_is(untagged_mp3):
    "libsndfile overestimates the length."
    assert sf.info(untagged_mp3).frames > 140_000
    assert abs(len(audio_io.load(untagged_mp3)[0]) - 3 * 44100) < 3000
    assert len(audio_io.load(untagged_mp3, offset=2, duration=0.5)[0]) == 22050


@pytest.mark.parametrize("offset", [3.15, 100])
def test_no_such_part_of_an_mp3_without_a_length_tag(untagged_mp3, offset):
    for sr in (None, 8000):
        line = refusal(audio_io.load, untagged_mp3, sr, offset=offset, about=untagged_mp3)
        assert "give a lower offset" in line


def test_flac_of_unknown_length_is_named(tmp_path):
    data = bytearray(audio_io.encode(NOISE, 8000, format="FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # STREAMINFO: total samples, 36 bits
    (tmp_path / "a.flac").write_bytes(data)
    assert "how long" in refusal(audio_io.load, tmp_path / "a.flac", about=tmp_path / "a.flac")


# --- round trips

BOUND = {"PCM_16": 2.0**-16, "PCM_24": 2.0**-24, "PCM_U8": 2.0**-8, "FLOAT": 0}  # half a step


@pytest.mark.parametrize(
    "suffix, subtype",
    [
        ("wav", "PCM_16"),
        ("wav", "PCM_24"),
        ("wav", "PCM_U8"),
        ("wav", "FLOAT"),
        ("flac", "PCM_16"),
        ("flac", "PCM_24"),
        ("aiff", "PCM_16"),
        ("aif", "PCM_24"),
    ],
)
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("sr", [1000, 44100, 192000])
def test_lossless_round_trip(suffix, subtype, channels, sr, tmp_path):
    y = rng.uniform(-0.99, 0.99, (channels, 1234)).astype(np.float32)
    path = audio_io.save(tmp_path / f"a.{suffix}", y, sr, subtype=subtype)
    z, rate = audio_io.load(path, mono=False)
    assert rate == sr and z.shape == y.shape and z.dtype == np.float32
    assert np.abs(z - y).max() <= BOUND[subtype]
    mono, _ = audio_io.load(path)
    assert np.allclose(mono, z.mean(axis=0), atol=1e-7)
    # saving twice costs no more than saving once
    path = audio_io.save(tmp_path / f"b.{suffix}", z, sr, subtype=subtype)
    assert np.array_equal(audio_io.load(path, mono=False)[0], z)


@pytest.mark.parametrize(
    "suffix, sr, channels, min_snr_db",
    [
        ("ogg", 44100, 2, 20),
        ("ogg", 12345, 1, 20),
        ("ogg", 1000, 1, 12),
        ("ogg", 192000, 6, 20),
        ("mp3", 44100, 2, 20),
        ("mp3", 8000, 1, 20),
    ],
)
def test_lossy_round_trip(suffix, sr, channels, min_snr_db, tmp_path):
    "A tone survives a lossy coder: same length, no delay, error at least so many dB below it."
    y = np.stack([audio.tone(0.02 * sr, 1, sr, amplitude=0.3)] * channels)
    z, rate = audio_io.load(audio_io.save(tmp_path / f"a.{suffix}", y, sr), mono=False)
    assert rate == sr and z.shape == y.shape
    inside = slice(sr // 10, -sr // 10)
    signal_db = audio.amplitude_to_db(audio.rms(y[0, inside]))
    error_db = audio.amplitude_to_db(audio.rms((z - y)[0, inside]))
    assert signal_db - error_db > min_snr_db


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3", "aiff"])
def test_one_sample_and_silence(suffix, tmp_path):
    for y in [np.array([0.25], np.float32), np.zeros(8000, np.float32)]:
        z, _ = audio_io.load(audio_io.save(tmp_path / f"a.{suffix}", y, 8000))
        assert len(z) == len(y) and (suffix in ("ogg", "opus", "mp3") or np.array_equal(z, y))
    assert np.abs(z).max() < 1e-4


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_too_loud_is_clipped_not_wrapped(subtype, tmp_path):
    z, _ = audio_io.load(
        audio_io.save(tmp_path / "a.wav", np.array([-3, -1, 0.5, 1, 1.5]), 8000, subtype=subtype)
    )
    assert np.allclose(z, [-1, -1, 0.5, 1, 1], atol=2.0**-15)


def test_float_files_keep_their_overshoot(tmp_path):
    (tmp_path / "a.wav").write_bytes(float_wav([0, 1.5, -2]))
    assert np.array_equal(audio_io.load(tmp_path / "a.wav")[0], [0, 1.5, -2])


def test_long_ogg_does_not_crash_the_encoder():
    done = python(
        "import numpy as np; from gan_audio_tut import audio_io; "
        "y = np.zeros((2, 5_000_000), np.float32); "
        "print(len(audio_io.encode(y, 44100, format='OGG')))"
    )
    assert done.returncode == 0 and int(done.stdout) > 1000, done.stderr


# --- stream


@pytest.mark.parametrize("seed", range(12))
def test_stream_is_load(seed, tmp_path):
    rng = np.random.default_rng(seed)
    suffix = rng.choice(["wav", "flac", "ogg"])
    orig_sr, target_sr = map(int, rng.choice(RATES, 2))
    channels = int(rng.integers(1, 7))
    samples = int(rng.choice([rng.integers(1, 50), rng.integers(1, 60_000)]))
    y = 0.3 * rng.standard_normal((channels, samples)).astype(np.float32)
    path = audio_io.save(tmp_path / f"a.{suffix}", y.clip(-1, 1), orig_sr)
    shortest = 1e-9 if samples < 50 else 0.02
    for sr in (None, target_sr):
        whole, _ = audio_io.load(path, sr)
        for seconds in (10, float(rng.uniform(0.01, 0.5)), shortest):
            blocks = list(audio_io.stream(path, sr, seconds=seconds))
            assert np.array_equal(np.concatenate(blocks), whole)
            assert all(len(block) and block.dtype == np.float32 for block in blocks)


def test_stream_holds_one_block_at_a_time(tmp_path):
    path = audio_io.save(tmp_path / "a.wav", audio.white_noise(5, 8000), 8000)
    assert [len(p) for p in audio_io.stream(path, seconds=2)] == [16000, 16000, 8000]
    assert max(len(p) for p in audio_io.stream(path, 16000, seconds=0.5)) < 2 * 8000


def test_stream_gives_the_sound_before_the_damage(tmp_path):
    "The end of a long file cannot be known at its start: blocks come, then the error."
    path = tmp_path / "a.flac"
    path.write_bytes(audio_io.encode(audio.white_noise(20, 8000), 8000, format="FLAC")[:-10_000])
    blocks = audio_io.stream(path, seconds=1)
    assert len(next(blocks)) == 8000
    with pytest.raises(InputError, match="damaged"):
        list(blocks)


# --- bad targets


def tree(folder):
    return {
        p.relative_to(folder): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")
    }


TONE = audio.tone(440, 0.5, 8000)


@pytest.mark.parametrize(
    "name, y, sr, subtype, word",
    [
        ("a.mp3", TONE, 192_000, None, "48000 Hz"),
        ("a.mp3", TONE, 12_345, None, "11025"),
        ("a.mp3", np.stack([TONE] * 3), 8000, None, "2 channels"),
        ("a.ogg", TONE, 200_001, None, "200000 Hz"),
        ("a.ogg", np.zeros((256, 300)), 8000, None, "255 channels"),
        ("a.ogg", TONE, 12_345, "OPUS", "Opus only supports"),
        ("a.opus", TONE, 44_100, None, "Opus only supports"),
        ("a.flac", np.stack([TONE] * 9), 8000, None, "8 channels"),
        ("a.flac", TONE, 1_000_000, None, "655350 Hz"),
        ("a.flac", TONE, 8000, "FLOAT", "no subtype FLOAT"),
        ("a.wav", TONE, 8000, "VORBIS", "no subtype"),
        ("a.wav", TONE, 8000, "PCM_17", "no subtype"),
        ("a.wav", np.zeros((1025, 1025)), 8000, None, "1024 channels"),
        ("a.xyz", TONE, 8000, None, "no format"),
        ("a", TONE, 8000, None, "no format"),
        ("a.raw", TONE, 8000, None, "no format"),
        ("a.wav/", TONE, 8000, None, "folder"),
        ("a.wav", np.array([np.nan]), 8000, None, "NaN"),
        ("a.wav", np.array([np.inf]), 8000, None, "infinite"),
        ("a.wav", np.zeros(0), 8000, None, "no samples"),
        ("a.wav", np.zeros(5, np.int16), 8000, None, "int16"),
        ("a.wav", TONE, 0, None, "sample rate"),
        ("file/a.wav", TONE, 8000, None, "cannot be written"),
        ("file/deep/a.wav", TONE, 8000, None, "cannot be written"),
        ("n" * 300 + ".wav", TONE, 8000, None, "cannot be written"),
    ],
)
def test_bad_targets(name, y, sr, subtype, word, tmp_path):
    (tmp_path / "file").write_text("x")
    path = tmp_path / name
    is_plain_name = "/" not in name and len(name) < 300
    if name.endswith("/"):
        path.mkdir()
    elif is_plain_name:
        path.write_bytes(b"old")  # what was there stays
    before = tree(tmp_path)
    assert word in refusal(audio_io.save, path, y, sr, subtype=subtype, about=path)
    assert tree(tmp_path) == before
    if is_plain_name:
        path = tmp_path / "new" / "folder" / name
        assert word in refusal(audio_io.save, path, y, sr, subtype=subtype, about=path)
        assert tree(tmp_path) == before


def test_folder_that_may_not_be_written(public):
    public.chmod(0o555)
    for name in ("a.wav", "new/a.wav"):
        code = AS_NOBODY + "audio_io.save(sys.argv[1], np.zeros(9, 'f4'), 8000)"
        done = python(code, public / name)
        assert (
            done.returncode == 1
            and f"InputError: {public / name}: cannot be written (Permission denied); "
            in done.stderr
        ), done.stderr
    assert not list(public.iterdir())
    public.chmod(0o755)


# --- full disks

FULL = """
import os, resource, sys
from gan_audio_tut import audio, audio_io

folder, *paths = sys.argv[1:]
y = audio.white_noise(5, 16000)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
for limit in (0, 10, 4000, 9000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    for path in paths:
        try:
            print("written!", audio_io.save(path, y, 16000))
        except OSError as e:
            left = sorted(os.listdir(folder))
            print(type(e).__name__, e.errno, e.filename == path, path in str(e), *left)
"""


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_disk_that_fills_up(suffix, tmp_path):
    pytest.importorskip("resource")
    path, fresh = tmp_path / f"old.{suffix}", tmp_path / "new" / "folder" / f"a.{suffix}"
    path.write_bytes(b"old")
    done = python(FULL, tmp_path, path, fresh)
    expected = f"OSError {errno.EFBIG} True True old.{suffix}"
    assert done.stdout.splitlines() == [expected] * 8, done.stdout + done.stderr
    assert tree(tmp_path) == {Path(path.name): b"old"}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has /dev/full")
def test_no_space_left(tmp_path):
    "The error of a real write that found no space carries the name that the user knows."
    path = tmp_path / "new" / "a.bin"
    with (
        pytest.raises(OSError) as e,
        audio_io.atomic_write(path),
        open("/dev/full", "wb", buffering=0) as full,
    ):
        full.write(b"x")
    assert e.value.errno == errno.ENOSPC
    assert e.value.filename == str(path)
    assert not tree(tmp_path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has /dev/full")
def test_devices_are_not_replaced(tmp_path):
    (tmp_path / "a.wav").symlink_to("/dev/full")
    assert "device" in refusal(
        audio_io.save, tmp_path / "a.wav", TONE, 8000, about=tmp_path / "a.wav"
    )
    with pytest.raises(InputError, match="device"), audio_io.atomic_write("/dev/full"):
        pass
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


# --- atomic writes


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        KeyboardInterrupt(),
        SystemExit(1),
        OSError("h5py says so"),
        FloatingPointError("nan"),
    ],
)
def test_atomic_write_leaves_nothing_behind(error, tmp_path):
    (tmp_path / "old").write_text("old")
    for path in (tmp_path / "old", tmp_path / "new", tmp_path / "a" / "b" / "new"):
        with pytest.raises(type(error)), audio_io.atomic_write(path) as part:
            part.write_text("half")
            raise error
        assert tree(tmp_path) == {Path("old"): b"old"}


def test_atomic_write_hides_the_work_until_it_is_done(tmp_path):
    (tmp_path / "a.bin").write_text("old")
    with audio_io.atomic_write(tmp_path / "a.bin") as part:
        part.write_text("new")
        assert part.parent == tmp_path and part.suffix == ".bin"
        assert (tmp_path / "a.bin").read_text() == "old"
    assert tree(tmp_path) == {Path("a.bin"): b"new"}


def test_atomic_write_keeps_folders_that_hold_something(tmp_path):
    with pytest.raises(KeyError), audio_io.atomic_write(tmp_path / "a" / "b" / "c"):
        (tmp_path / "a" / "other").write_text("kept")
        raise KeyError
    assert tree(tmp_path) == {Path("a"): None, Path("a/other"): b"kept"}


def test_atomic_write_follows_links_and_umask(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    old = os.umask(0o077)
    try:
        with audio_io.atomic_write(tmp_path / "link") as part:
            part.write_text("x")
    finally:
        os.umask(old)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "x"
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o600


def test_atomic_write_does_not_blame_itself_for_another_file(tmp_path):
    with pytest.raises(FileNotFoundError) as e, audio_io.atomic_write(tmp_path / "a"):
        (tmp_path / "elsewhere").read_text()
    assert e.value.filename == str(tmp_path / "elsewhere")


def test_no_room_for_even_a_name(tmp_path, monkeypatch):
    "A disk without free inodes fails before the first byte: it is full, not a wrong place."

    def touch(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device", "hidden name")

    monkeypatch.setattr(Path, "touch", touch)
    path = tmp_path / "new" / "a.wav"
    with pytest.raises(OSError) as e:
        audio_io.save(path, TONE, 8000)
    assert e.value.errno == errno.ENOSPC
    assert e.value.filename == str(path)
    assert not tree(tmp_path)


def test_fsync_of_file_and_folders(tmp_path, monkeypatch):
    "First the bytes, then the new name, then the names of new folders; and nothing unless asked."
    order = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(handle):
        order.append((os.fstat(handle).st_dev, os.fstat(handle).st_ino))
        fsync(handle)

    def record_replace(source, target):
        order.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    path = tmp_path / "new" / "deeper" / "a.bin"
    with audio_io.atomic_write(path, fsync=True) as part:
        part.write_bytes(b"x")
    synced = [path, path.parent, path.parent.parent, tmp_path]
    file, *folders = [(p.stat().st_dev, p.stat().st_ino) for p in synced]
    assert order == [file, "rename", *folders]

    order.clear()
    with audio_io.atomic_write(path, fsync=True) as part:
        part.write_bytes(b"y")
    assert order[1:] == ["rename", folders[0]]

    order.clear()
    with audio_io.atomic_write(path) as part:
        part.write_bytes(b"z")
    assert order == ["rename"]


# --- stale temporaries

WRITER = """
import sys, time
from gan_audio_tut.audio_io import atomic_write

with atomic_write(sys.argv[1]) as part:
    part.write_bytes(b"half")
    print(part.name, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def start_writer():
    "Processes that stop in the middle of a write; gone at the end of the test."
    processes = []

    def start(path):
        command = [sys.executable, "-c", WRITER, str(path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return process, path.parent / process.stdout.readline().strip()

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.skipif(os.name != "posix", reason="Windows has no advisory locks")
def test_part_of_a_dead_writer_goes_and_of_a_live_rival_stays(tmp_path, start_writer):
    path = tmp_path / "song.wav"
    _, live = start_writer(path)
    dying, dead = start_writer(path)
    dying.kill()
    dying.wait()
    with audio_io.atomic_write(path) as mine:
        assert audio_io.remove_stale_parts(tmp_path, "song.wav") == [dead]
        assert live.exists() and mine.exists() and not dead.exists()
        mine.write_bytes(b"whole")
    assert path.read_bytes() == b"whole" and live.exists()
    assert audio_io.remove_stale_parts(tmp_path) == []


def test_only_parts_of_the_target_are_removed(tmp_path):
    kept = [".part-of-the-thesis", "song.wav", ".part-0123ab-other.wav", ".part-0123AB-song.wav"]
    stale = tmp_path / ".part-0123ab-song.wav"
    for name in (*kept, stale.name):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".part-456789-song.wav").mkdir()
    assert audio_io.remove_stale_parts(tmp_path, "song.wav") == [stale]
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, ".part-456789-song.wav"])
    other = tmp_path / ".part-0123ab-other.wav"
    assert audio_io.remove_stale_parts(tmp_path) == [other], "without a name, of any target"
    assert audio_io.remove_stale_parts(tmp_path / "nowhere") == []


def test_without_locks_age_decides(tmp_path, monkeypatch):
    monkeypatch.setattr(audio_io, "_try_lock", lambda handle: None)  # a network disk without locks
    fresh, old = tmp_path / ".part-000000-a", tmp_path / ".part-111111-a"
    for part in (fresh, old):
        part.write_bytes(b"x")
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(old, (two_days_ago, two_days_ago))
    assert audio_io.remove_stale_parts(tmp_path) == [old]
    with audio_io.atomic_write(tmp_path / "a") as part:
        part.write_text("written all the same")
    assert (tmp_path / "a").read_text() == "written all the same"


@pytest.mark.skipif(os.name != "posix", reason="Windows has no advisory locks")
def test_a_sweeper_that_comes_late_spares_the_new_file(tmp_path, monkeypatch):
    part, try_lock = tmp_path / ".part-0123ab-a.wav", audio_io._try_lock
    part.touch()

    def late(handle):
        part.unlink()  # by another sweeper
        part.write_text("new")  # by the writer, who goes on under the same name
        return try_lock(handle)

    monkeypatch.setattr(audio_io, "_try_lock", late)
    assert audio_io.remove_stale_parts(tmp_path) == []
    assert part.read_text() == "new"


def test_writers_and_sweepers_at_once(tmp_path):
    "Two threads write, two sweep: no write is lost, nothing is left."
    stop = threading.Event()

    def sweep():
        while not stop.is_set():
            audio_io.remove_stale_parts(tmp_path)

    def write(name):
        for k in range(100):
            with audio_io.atomic_write(tmp_path / name) as part:
                part.write_text(str(k))
            assert (tmp_path / name).read_text() == str(k)
        return True

    sweepers = [threading.Thread(target=sweep) for _ in range(2)]
    for thread in sweepers:
        thread.start()
    try:
        with ThreadPoolExecutor(2) as pool:
            assert all(pool.map(write, ["a", "b"]))
    finally:
        stop.set()
        for thread in sweepers:
            thread.join()
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


# --- standard error


@pytest.fixture
def damaged_mp3s(tmp_path):
    "Files about which libmpg123 writes notes to file descriptor 2."
    audio_io.save(tmp_path / "good.mp3", audio.tone(300, 2, 16000), 16000)
    good = (tmp_path / "good.mp3").read_bytes()
    flipped = bytearray(good)
    for damaged in (slice(401, 460), slice(2001, 2100)):
        flipped[damaged] = [byte ^ 255 for byte in flipped[damaged]]
    contents = {
        "cut.mp3": good[: len(good) // 2],
        "flipped.mp3": bytes(flipped),
        "random.mp3": b"ID3\x04\0\0\0\0\0\0" + np.random.default_rng(0).bytes(4000),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return [tmp_path / name for name in contents]


def test_the_mp3_decoder_can_be_held_back(damaged_mp3s, capfd):
    "A program that owns its process can promise one line, ours."
    with audio_io.suppress_stderr():
        for path in damaged_mp3s:
            with pytest.raises(InputError):
                audio_io.load(path)
    assert capfd.readouterr() == ("", "")


LOUD_NEIGHBOURS = """
import os, subprocess, sys, threading, time
from contextlib import suppress
from gan_audio_tut import audio_io

good, damaged = sys.argv[1:]
stop = threading.Event()


def read():
    while not stop.is_set():
        audio_io.load(good)
        with suppress(audio_io.InputError):
            audio_io.load(damaged)
        list(audio_io.stream(good, 8000, seconds=0.1))
        with audio_io.open_audio(good):
            pass


readers = [threading.Thread(target=read) for _ in range(2)]
for thread in readers:
    thread.start()
for k in range(1000):
    os.write(2, f"thread {k}\\n".encode())
    time.sleep(2e-4)
for k in range(20):
    subprocess.run(["sh", "-c", f"echo child {k} >&2"])
stop.set()
for thread in readers:
    thread.join()
"""


@pytest.mark.skipif(os.name != "posix", reason="the children are run by sh")
def test_reading_takes_no_message_from_threads_and_children(tmp_path, damaged_mp3s):
    "Two threads read, damaged MP3s too, while a third writes to descriptor 2 and starts children."
    good = audio_io.save(tmp_path / "good.wav", NOISE, 16000)
    done = python(LOUD_NEIGHBOURS, good, damaged_mp3s[1])
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stderr.splitlines()
    expected = [f"thread {k}" for k in range(1000)] + [f"child {k}" for k in range(20)]
    assert [line for line in lines if line.startswith(("thread", "child"))] == expected
    assert "Traceback" not in done.stderr


def test_standard_error_is_there_again_after_many_threads():
    code = """
import os
from concurrent.futures import ThreadPoolExecutor
from gan_audio_tut.audio_io import suppress_stderr

def write(k):
    with suppress_stderr(keep_python=k % 2):
        os.write(2, b"C")

with ThreadPoolExecutor(8) as pool:
    list(pool.map(write, range(200)))
os.write(2, b"afterwards")
print(len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0)
"""
    done = python(code)
    assert done.stderr == "afterwards"
    assert int(done.stdout) < 20, "no descriptor is left open"


def test_python_may_speak_while_c_may_not():
    code = """
import logging, os, sys
from gan_audio_tut.audio_io import suppress_stderr

with suppress_stderr(keep_python=True):
    os.write(2, b"C")
    print("python", file=sys.stderr)
    logging.basicConfig(format="%(message)s")
    logging.warning("logged")
with suppress_stderr():
    print("held back", file=sys.stderr)
logging.warning("the handler still works")
print("again", file=sys.stderr)
"""
    done = python(code)
    lines = ["python", "logged", "the handler still works", "again"]
    assert done.stderr.splitlines() == lines


# --- descriptions, and files that libsndfile reads on


def test_info_of_a_recording_longer_than_a_block(tmp_path):
    t = np.arange(70 * 8000) / 8000
    y = np.stack([0.5 * signal.chirp(t, 100, 70, 3000), np.zeros_like(t)])
    sf.write(tmp_path / "long.wav", y.T, 8000, subtype="FLOAT")
    level = audio.amplitude_to_db(audio.rms(y.reshape(-1)))
    expected = f"2 channels, 8000 Hz, 70.000 s, level {level:.1f} dB, peak 0.500"
    assert audio_io.audio_info(tmp_path / "long.wav") == expected


def test_an_ogg_with_a_damaged_middle_is_refused(tmp_path):
    "libsndfile reads on behind what it cannot read, as if nothing had been there."
    sf.write(tmp_path / "whole.ogg", audio.white_noise(10, 16000), 16000)
    data = bytearray((tmp_path / "whole.ogg").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = np.random.default_rng(1).bytes(3000)
    (tmp_path / "damaged.ogg").write_bytes(data)
    with pytest.raises(InputError, match=r"damaged\.ogg: (is damaged|breaks off)"):
        audio_io.load(tmp_path / "damaged.ogg")


def test_a_long_mp3_is_read_to_its_end_in_silence(tmp_path, capfd):
    "A good file is no reason for notes on standard error, however it is cut into blocks."
    y = audio.white_noise(130, 16000)  # longer than two blocks
    path = audio_io.save(tmp_path / "long.mp3", y, 16000)
    loaded, _ = audio_io.load(path)
    assert len(loaded) == len(y)
    assert np.array_equal(np.concatenate(list(audio_io.stream(path, seconds=7))), loaded)
    assert np.array_equal(
        audio_io.load(path, offset=63, duration=1)[0], loaded[63 * 16000 :][:16000]
    )
    assert capfd.readouterr() == ("", "")


# --- parts of a file


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "ogg", "opus", "mp3"])
def test_part_is_what_the_whole_has_there(suffix, tmp_path):
    y = np.stack([audio.white_noise(3, 16000, seed=k) for k in range(2)])
    path = audio_io.save(tmp_path / f"a.{suffix}", y, 16000)
    whole, sr = audio_io.load(path, mono=False)
    for offset, duration in [(0, 1), (0.5, 0.25), (1.0003, 0.1), (2.5, None), (0.7, 1e-9)]:
        start = round(offset * sr)
        stop = None if duration is None else start + max(1, round(duration * sr))
        part, _ = audio_io.load(path, mono=False, offset=offset, duration=duration)
        assert np.array_equal(part, whole[:, start:stop])
    mono, _ = audio_io.load(path, offset=1, duration=0.5)
    assert np.array_equal(mono, whole[:, 16000:24000].mean(axis=0))


def test_part_is_resampled_by_itself(tmp_path):
    path = audio_io.save(tmp_path / "a.wav", NOISE, 8000)
    part, _ = audio_io.load(path, offset=0.5, duration=0.25)
    resampled, sr = audio_io.load(path, 12000, offset=0.5, duration=0.25)
    assert sr == 12000
    assert np.array_equal(resampled, audio.resample(part, 8000, 12000))


def test_more_than_there_is_reads_to_the_end(tmp_path):
    path = audio_io.save(tmp_path / "a.wav", NOISE, 8000)
    assert len(audio_io.load(path, offset=1.5, duration=10)[0]) == 4000


def test_part_agrees_with_librosa(tmp_path):
    path = audio_io.save(tmp_path / "a.wav", NOISE, 8000)
    theirs, _ = librosa.load(path, sr=None, offset=0.25, duration=1.25)
    ours, _ = audio_io.load(path, offset=0.25, duration=1.25)
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
@pytest.mark.parametrize(
    "options, word",
    [
        ({"offset": -0.1}, "offset of 0 s or more"),
        ({"offset": float("nan")}, "offset of 0 s or more"),
        ({"offset": float("inf")}, "offset of 0 s or more"),
        ({"offset": 2.0}, "lasts 2.000 s"),
        ({"offset": 99, "duration": 1}, "lasts 2.000 s"),
        ({"duration": 0}, "duration above 0 s"),
        ({"duration": -1}, "duration above 0 s"),
        ({"duration": float("nan")}, "duration above 0 s"),
    ],
)
def test_no_such_part(suffix, options, word, tmp_path):
    path = audio_io.save(tmp_path / f"a.{suffix}", NOISE, 8000)
    assert word in refusal(audio_io.load, path, about=path, **options)


def test_only_the_part_is_read(tmp_path, monkeypatch):
    path = audio_io.save(tmp_path / "a.flac", audio.white_noise(60, 8000), 8000)
    read, frames = sf.SoundFile.read, []

    def record(self, n=-1, **options):
        frames.append(n)
        return read(self, n, **options)

    monkeypatch.setattr(sf.SoundFile, "read", record)
    audio_io.load(path, offset=30, duration=0.5)
    assert sum(frames) == 4000


def test_part_of_a_file_that_is_cut_within_it(tmp_path):
    data = audio_io.encode(audio.white_noise(20, 8000), 8000, format="FLAC")
    path = tmp_path / "cut.flac"
    path.write_bytes(data[: len(data) // 2])
    assert len(audio_io.load(path, offset=1, duration=1)[0]) == 8000
    assert "damaged" in refusal(audio_io.load, path, offset=5, duration=10, about=path)
    refusal(audio_io.load, path, offset=15, duration=1, about=path)


@pytest.mark.parametrize("sr", [0, -8000, 8000.5, float("nan"), float("inf"), 2**31])
def test_no_such_rate(sr, tmp_path):
    path = audio_io.save(tmp_path / "a.wav", audio.tone(440, 0.1, 8000), 8000)
    with pytest.raises(InputError):
        audio_io.load(path, sr=sr)
    with pytest.raises(InputError):
        list(audio_io.stream(path, sr=sr))
    refusal(audio_io.save, path, np.zeros(10), sr, about=path)


def test_arguments_after_the_sound_are_named(tmp_path):
    path = audio_io.save(tmp_path / "a.wav", TONE, 8000)
    for call in (
        lambda: audio_io.load(path, None, False),
        lambda: audio_io.stream(path, None, 1.0),
        lambda: audio_io.save(path, TONE, 8000, "PCM_24"),
        lambda: audio_io.encode(TONE, 8000, "FLAC"),
    ):
        with pytest.raises(TypeError, match="positional"):
            call()
