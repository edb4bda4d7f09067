"""Sound in and out: formulas of the test tones and levels, every bad file, every bad target, nothing half written."""

import errno
import os
import stat
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from scipy import signal

from gan_audio_tut import audio
from gan_audio_tut.audio import InputError

RATES = [1000, 7919, 8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000]
rng = np.random.default_rng(0)


def refused(f, *args, about):
    "The one line with which `f` refuses its input; it begins with the culprit and holds a remedy."
    with pytest.raises(InputError) as e:
        f(*args)
    line = str(e.value)
    assert line.startswith(f"{about}: ") and "; " in line and "\n" not in line
    return line


def python(code, *args):
    "A process of its own, for limits and identities that cannot be undone."
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, timeout=120
    )


# --- the module


def test_import_is_light():
    done = python(
        "import sys; from gan_audio_tut import audio; "
        "print([m for m in ('keras', 'tensorflow', 'matplotlib', 'librosa', 'scipy') if m in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr


# --- tones, levels, cuts


@pytest.mark.parametrize(
    "make",
    [
        lambda s, sr: audio.tone(100, s, sr),
        lambda s, sr: audio.chirp(1, 9, s, sr),
        audio.white_noise,
    ],
)
def test_duration_is_rounded_to_samples(make):
    for seconds, sr, samples in [
        (0.57, 8000, 4560),
        (1.1, 44100, 48510),
        (1e-4, 8000, 1),
        (1e-5, 8000, 0),
    ]:
        y = make(seconds, sr)
        assert y.shape == (samples,) and y.dtype == np.float32


def test_tone_is_the_sine():
    k = np.arange(8000)
    assert np.allclose(
        audio.tone(123.4, 1, 8000, 0.7), 0.7 * np.sin(2 * np.pi * 123.4 * k / 8000), atol=1e-6
    )


def test_sweep_has_the_frequency_it_should():
    "The phase of the analytic signal, differentiated, is the frequency: f0 + (f1 - f0) t / T."
    y = audio.chirp(500, 2500, 2, 8000)
    f = np.diff(np.unwrap(np.angle(signal.hilbert(y)))) * 8000 / (2 * np.pi)
    t = (np.arange(len(f)) + 0.5) / 8000
    assert np.abs(f - (500 + 1000 * t))[800:-800].max() < 5  # Hz, of a glide through 2000


def test_noise_is_white_level_and_repeatable():
    y = audio.white_noise(10, 8000, seed=3, level=0.2)
    assert abs(audio.amplitude_to_db(audio.rms(y)) - audio.amplitude_to_db(0.2)) < 0.1
    power = np.abs(np.fft.rfft(y)) ** 2
    bands = power[1:40001].reshape(8, -1).mean(1)
    assert (
        np.ptp(10 * np.log10(bands)) < 1
    )  # dB between the loudest and the faintest eighth of the spectrum
    assert np.array_equal(y, audio.white_noise(10, 8000, seed=3, level=0.2)) and not np.array_equal(
        y, audio.white_noise(10, 8000, seed=4, level=0.2)
    )


def test_rms_and_decibels():
    assert np.isclose(audio.rms(np.array([3, 4, 0, 0])), 2.5) and audio.rms(np.zeros(0)) == 0
    assert np.allclose(audio.rms(np.array([[1.0, -1], [2, 2]])), [1, 2])
    assert (
        audio.amplitude_to_db(10) == 20
        and audio.amplitude_to_db(-1) == 0
        and audio.amplitude_to_db(0, -80) == -80
    )
    db = np.linspace(-119, 20, 50)
    assert np.allclose(audio.amplitude_to_db(audio.db_to_amplitude(db)), db)


@pytest.mark.parametrize("shape", [(4000,), (2, 4000), (3, 2, 500)])
def test_set_level_is_one_gain(shape):
    y = rng.standard_normal(shape).astype(np.float32)
    z = audio.normalize_rms(y, -23)
    assert z.shape == shape and z.dtype == np.float32
    assert np.isclose(audio.amplitude_to_db(audio.rms(z.reshape(-1))), -23, atol=1e-3)
    assert np.allclose(z / y, (z / y).flat[0], rtol=1e-4)


def test_set_level_at_its_limits():
    click = np.eye(1, 8000, dtype=np.float32)[0]
    assert np.isclose(np.abs(audio.normalize_rms(-click, 0)).max(), 0.99)
    assert not audio.normalize_rms(np.zeros(10)).any() and audio.normalize_rms(
        np.zeros(0)
    ).shape == (0,)
    assert np.isclose(
        audio.rms(audio.normalize_rms(1e-30 * audio.tone(100, 1, 8000), -20)), 0.1, rtol=1e-3
    )


def test_trim_keeps_what_is_loud():
    word, hush = audio.tone(300, 0.5, 8000), audio.white_noise(0.2, 8000, level=1e-4)
    assert np.array_equal(
        audio.trim(np.concatenate([hush, word, hush, word, hush]), 8000),
        np.concatenate([word, hush, word]),
    )
    assert len(audio.trim(np.zeros(100), 8000)) == len(audio.trim(np.zeros(0), 8000)) == 0
    assert len(audio.trim(np.ones(1), 8000)) == 1  # shorter than a frame
    assert (
        len(audio.trim(audio.tone(100, 0.123, 8000), 8000)) == 984
    )  # the last, partial frame is kept as long as it is


def test_fix_length():
    y = np.arange(6.0).reshape(2, 3)
    assert np.array_equal(audio.fix_length(y, 2), [[0, 1], [3, 4]]) and np.array_equal(
        audio.fix_length(y, 4), [[0, 1, 2, 0], [3, 4, 5, 0]]
    )
    assert audio.fix_length(y, 0).shape == (2, 0)


# --- resampling


@pytest.mark.parametrize(
    "a, b",
    [
        (44100, 16000),
        (16000, 44100),
        (8000, 22050),
        (48000, 8000),
        (192000, 1000),
        (1000, 192000),
        (7919, 16000),
    ],
)
def test_resample_moves_a_tone_and_nothing_else(a, b):
    freq = 0.2 * min(a, b)
    y, want = audio.resample(audio.tone(freq, 1, a), a, b), audio.tone(freq, 1, b)
    edge = len(want) // 10
    assert y.shape == want.shape and y.dtype == np.float32
    assert np.abs(y - want)[edge:-edge].max() < 5e-6  # -106 dB


@pytest.mark.parametrize("up, down", [(1, 2), (3, 2), (160, 441), (441, 160)])
def test_resample_agrees_with_scipy(up, down):
    "A sound without its top third, so that the two filters' different edges do not matter."
    a = 100 * down
    spectrum = np.fft.rfft(rng.standard_normal(2 * a))
    spectrum[int(0.66 * len(spectrum) * min(1, up / down)) :] = 0
    y = np.fft.irfft(spectrum)
    theirs = signal.resample_poly(y, up, down, window=("kaiser", 12.0))
    ours = audio.resample(y, a, 100 * up)
    assert len(ours) == len(theirs)
    inside = slice(len(ours) // 5, -len(ours) // 5)
    assert audio.rms((ours - theirs)[inside]) < 2e-3 * audio.rms(theirs[inside])


@pytest.mark.parametrize("a, b", [(8000, 4000), (44100, 16000), (48000, 44100)])
def test_resample_leaves_no_alias(a, b):
    y = audio.resample(audio.tone(0.56 * b if 0.56 * b < a / 2 else 0.49 * a, 1, a), a, b)
    if 0.56 * b < a / 2:
        assert audio.amplitude_to_db(audio.rms(y[1000:-1000]), -200) < -100
    else:
        assert audio.amplitude_to_db(audio.rms(y[1000:-1000])) < 0


def test_resample_length_and_shape():
    for _ in range(200):
        n, (a, b) = int(rng.integers(0, 3000)), rng.choice(RATES, 2)
        assert audio.resample(np.zeros(n, np.float32), a, b).shape == (-(-n * int(b) // int(a)),)
    many = rng.standard_normal((3, 2, 500)).astype(np.float32)
    out = audio.resample(many, 8000, 6000)
    assert out.shape == (3, 2, 375) and np.array_equal(
        out[1, 1], audio.resample(many[1, 1], 8000, 6000)
    )
    assert np.array_equal(audio.resample(many, 8000, 8000), many)


@pytest.mark.parametrize("a, b", [(22050, 16000), (44100, 16000), (8000, 11025)])
def test_resample_at_28_bits_is_the_same_from_any_cut(a, b):
    y, step = rng.standard_normal(2 * a).astype(np.float32), a // np.gcd(a, b)
    whole = audio.resample(y, a, b, "VHQ")
    for k in (1, 7, 20):
        part = audio.resample(y[k * step :], a, b, "VHQ")
        assert np.abs(part - whole[-len(part) :])[300:-300].max() < 1e-7 * np.abs(whole).max()


@pytest.mark.parametrize("sr", [0, -8000, 8000.5, float("nan"), float("inf"), 2**31])
def test_no_such_rate(sr, tmp_path):
    for a, b in [(8000, sr), (sr, 8000)]:
        refused(audio.resample, np.zeros(10), a, b, about="audio")
    path = audio_io.save(tmp_path / "a.wav", audio.tone(440, 0.1, 8000), 8000)
    with pytest.raises(InputError):
        audio_io.load(path, sr=sr)
    with pytest.raises(InputError):
        list(audio_io.stream(path, sr=sr))
    refused(audio_io.save, path, np.zeros(10), sr, about=path)


# --- what counts as sound


@pytest.mark.parametrize(
    "y, word",
    [
        (np.zeros(0), "no samples"),
        (np.zeros((2, 0)), "no samples"),
        (np.zeros((0, 5)), "no samples"),
        (np.float64(0.5), "shape"),
        (np.zeros((2, 2, 2)), "shape"),
        (np.zeros((44100, 2)), "transpose"),
        (np.zeros(3, np.int16), "int16"),
        (np.zeros(3, bool), "bool"),
        (np.zeros(3, complex), "complex128"),
        (["a"], "<U1"),
        (np.array([0, np.nan]), "NaN"),
        (np.array([0, np.inf]), "infinite"),
        (np.array([0, -np.inf], np.float16), "infinite"),
        (np.array([1e39]), "infinite"),
    ],
)  # finite in float64, not in float32
def test_check_audio_refuses(y, word, recwarn):
    assert word in refused(audio.check_audio, y, 8000, "it", about="it")
    assert not recwarn.list


@pytest.mark.parametrize(
    "y",
    [np.zeros(1), [0.0, 0.5], np.zeros((6, 1)), np.ones((2, 3), np.float16), np.zeros((64, 64))],
)
def test_check_audio_accepts(y):
    out = audio.check_audio(y, 8000)
    assert out.dtype == np.float32 and np.array_equal(out, np.asarray(y))


# --- bad files


def wav(y, sr=8000, subtype="PCM_16"):
    return audio_io.encode(np.asarray(y, np.float32), sr, "WAV", subtype)


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


HISS = audio.white_noise(2, 8000)
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
    "cut.flac": (audio_io.encode(HISS, 8000, "FLAC")[:9000], "damaged"),
    "cut.wav": (wav(HISS)[:9000], "breaks off"),
    "cut24.wav": (wav(HISS, subtype="PCM_24")[:-1], "breaks off"),
    "cut.aiff": (audio_io.encode(HISS, 8000, "AIFF")[:9000], "breaks off"),
    "cut.ogg": (audio_io.encode(HISS, 8000, "OGG")[:-1], "breaks off"),
    "cut.mp3": (audio_io.encode(HISS, 8000, "MP3")[:2000], "breaks off"),
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
    assert word in refused(read, path, about=path)


@pytest.mark.parametrize(
    "form, subtype",
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
def test_no_cut_goes_unnoticed(form, subtype, tmp_path):
    "Wherever the end is missing, `load` refuses; a shorter sound is never the answer."
    data = audio_io.encode(audio.white_noise(8, 8000), 8000, form, subtype)
    path = tmp_path / f"cut.{form.lower()}"
    path.write_bytes(data)
    assert len(audio_io.load(path)[0]) == 64000
    for cut in {1, len(data) // 2, len(data) - 1, *rng.integers(0, len(data) - 1, 40).tolist()}:
        path.write_bytes(data[:cut])
        refused(audio_io.load, path, about=path)


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
        assert "no such file" in refused(audio_io.load, path, about=path)
    assert "is a folder" in refused(audio_io.load, tmp_path, about=tmp_path)


AS_NOBODY = "import os, sys, numpy as np; from gan_audio_tut import audio\nif os.geteuid() == 0: os.setuid(65534)\n"


@pytest.fixture
def public():
    "A folder that everybody can reach (pytest's own are private): root may read and write everything, so these tests become somebody else."
    if not hasattr(os, "geteuid"):
        pytest.skip("POSIX permissions")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_file_that_may_not_be_read(public):
    path = audio_io.save(public / "mine.wav", HISS, 8000)
    path.chmod(0)
    done = python(AS_NOBODY + "audio.load(sys.argv[1])", path)
    assert (
        done.returncode == 1
        and f"InputError: {path}: may not be read; change its permissions" in done.stderr
    ), done.stderr


# --- good files of odd kinds


@pytest.mark.parametrize(
    "header", [0xFFFFFFFF, 0x7FFFF000, 0x80000000], ids=["ffmpeg", "sox", "2 GiB"]
)
def test_wav_from_a_pipe_is_read(header, tmp_path):
    data = wav(HISS)
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
        "tail.wav": wav(HISS) + b"LIST\x0a\0\0\0INFOxxxxxx",
        "junk.wav": wav(HISS) + b"junk" * 9,
        "riff.wav": wav(HISS)[:4] + b"\0\0\0\0" + wav(HISS)[8:],
        "id3.mp3": audio_io.encode(HISS, 8000, "MP3") + b"TAG" + bytes(125),
        "wav.mp3": wav(HISS),
        "odd name: 1;2.wav": wav(HISS),
        "UPPER.WAV": wav(HISS),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        assert len(audio_io.load(tmp_path / name)[0]) == 16000, name


def test_mp3_without_a_length_tag_is_taken_as_it_is(tmp_path):
    "Constant bit rate, tag frame cut away, picture in front: libsndfile overestimates the length."
    with sf.SoundFile(
        tmp_path / "a.mp3",
        "w",
        44100,
        1,
        format="MP3",
        bitrate_mode="CONSTANT",
        compression_level=0.5,
    ) as f:
        f.write(audio.white_noise(3, 44100))
    data = (tmp_path / "a.mp3").read_bytes()
    sound = data[data.find(data[:2], 4) :]
    (tmp_path / "b.mp3").write_bytes(
        b"ID3\x03\0\0" + bytes([0, 6, 13, 32]) + bytes(6 * 16384 + 13 * 128 + 32) + sound
    )
    assert sf.info(tmp_path / "b.mp3").frames > 140_000  # the guess
    assert abs(len(audio_io.load(tmp_path / "b.mp3")[0]) - 3 * 44100) < 3000


def test_flac_of_unknown_length_is_named(tmp_path):
    data = bytearray(audio_io.encode(HISS, 8000, "FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # STREAMINFO: total samples, 36 bits
    (tmp_path / "a.flac").write_bytes(data)
    assert "how long" in refused(audio_io.load, tmp_path / "a.flac", about=tmp_path / "a.flac")


# --- round trips

BOUND = {"PCM_16": 2.0**-16, "PCM_24": 2.0**-24, "PCM_U8": 2.0**-8, "FLOAT": 0}  # half a step


@pytest.mark.parametrize(
    "form, subtype",
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
def test_lossless_round_trip(form, subtype, channels, sr, tmp_path):
    y = rng.uniform(-0.99, 0.99, (channels, 1234)).astype(np.float32)
    z, rate = audio_io.load(audio_io.save(tmp_path / f"a.{form}", y, sr, subtype), mono=False)
    assert rate == sr and z.shape == y.shape and z.dtype == np.float32
    assert np.abs(z - y).max() <= BOUND[subtype]
    again, _ = audio_io.load(audio_io.save(tmp_path / f"b.{form}", z, sr, subtype), mono=False)
    assert np.array_equal(again, z)  # saving twice costs no more than saving once
    mono, _ = audio_io.load(tmp_path / f"a.{form}")
    assert np.allclose(mono, z.mean(0), atol=1e-7)


@pytest.mark.parametrize(
    "form, sr, channels, least",
    [
        ("ogg", 44100, 2, 20),
        ("ogg", 12345, 1, 20),
        ("ogg", 1000, 1, 12),
        ("ogg", 192000, 6, 20),
        ("mp3", 44100, 2, 20),
        ("mp3", 8000, 1, 20),
    ],
)
def test_lossy_round_trip(form, sr, channels, least, tmp_path):
    "A tone survives a lossy coder: same length, no delay, error at least so many dB below it."
    y = np.stack([audio.tone(0.02 * sr, 1, sr, 0.3)] * channels)
    z, rate = audio_io.load(audio_io.save(tmp_path / f"a.{form}", y, sr), mono=False)
    inside = slice(sr // 10, -sr // 10)
    assert rate == sr and z.shape == y.shape
    assert (
        audio.amplitude_to_db(audio.rms(y[0, inside]))
        - audio.amplitude_to_db(audio.rms((z - y)[0, inside]))
        > least
    )


@pytest.mark.parametrize("form", ["wav", "flac", "ogg", "opus", "mp3", "aiff"])
def test_one_sample_and_silence(form, tmp_path):
    for y in [np.array([0.25], np.float32), np.zeros(8000, np.float32)]:
        z, _ = audio_io.load(audio_io.save(tmp_path / f"a.{form}", y, 8000))
        assert len(z) == len(y) and (form in ("ogg", "opus", "mp3") or np.array_equal(z, y))
    assert np.abs(z).max() < 1e-4


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_too_loud_is_clipped_not_wrapped(subtype, tmp_path):
    z, _ = audio_io.load(
        audio_io.save(tmp_path / "a.wav", np.array([-3, -1, 0.5, 1, 1.5]), 8000, subtype)
    )
    assert np.allclose(z, [-1, -1, 0.5, 1, 1], atol=2.0**-15)


def test_float_files_keep_their_overshoot(tmp_path):
    (tmp_path / "a.wav").write_bytes(float_wav([0, 1.5, -2]))
    assert np.array_equal(audio_io.load(tmp_path / "a.wav")[0], [0, 1.5, -2])


def test_long_ogg_does_not_crash_the_encoder():
    done = python(
        "import sys, numpy as np; from gan_audio_tut import audio; print(len(audio.encode(np.zeros((2, 5_000_000), np.float32), 44100, 'OGG')))"
    )
    assert done.returncode == 0 and int(done.stdout) > 1000, done.stderr


# --- stream


@pytest.mark.parametrize("seed", range(12))
def test_stream_is_load(seed, tmp_path):
    dice = np.random.default_rng(seed)
    form, (a, b) = dice.choice(["wav", "flac", "ogg"]), dice.choice(RATES, 2)
    y = 0.3 * dice.standard_normal(
        (
            int(dice.integers(1, 7)),
            int(dice.choice([dice.integers(1, 50), dice.integers(1, 60_000)])),
        )
    ).astype(np.float32)
    path = audio_io.save(tmp_path / f"a.{form}", y.clip(-1, 1), int(a))
    for sr in (None, int(b)):
        whole, _ = audio_io.load(path, sr)
        for seconds in (10, float(dice.uniform(0.01, 0.5)), 1e-9 if y.shape[1] < 50 else 0.02):
            pieces = list(audio_io.stream(path, sr, seconds))
            assert np.array_equal(np.concatenate(pieces), whole) and all(
                len(p) and p.dtype == np.float32 for p in pieces
            )


def test_stream_holds_one_piece_at_a_time(tmp_path):
    path = audio_io.save(tmp_path / "a.wav", audio.white_noise(5, 8000), 8000)
    assert [len(p) for p in audio_io.stream(path, seconds=2)] == [16000, 16000, 8000]
    assert max(len(p) for p in audio_io.stream(path, 16000, seconds=0.5)) < 2 * 8000


def test_stream_gives_the_sound_before_the_damage(tmp_path):
    "The end of a long file cannot be known at its start: pieces come, then the error."
    path = tmp_path / "a.flac"
    path.write_bytes(audio_io.encode(audio.white_noise(20, 8000), 8000, "FLAC")[:-10_000])
    pieces = audio_io.stream(path, seconds=1)
    assert len(next(pieces)) == 8000
    with pytest.raises(InputError, match="damaged"):
        list(pieces)


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
    if name.endswith("/"):
        path.mkdir()
    elif len(name) < 9 and "/" not in name:
        path.write_bytes(b"old")  # what was there stays
    before = tree(tmp_path)
    assert word in refused(audio_io.save, path, y, sr, subtype, about=path)
    assert tree(tmp_path) == before
    assert (
        word
        in refused(
            audio_io.save,
            tmp_path / "new" / "folder" / path.name,
            y,
            sr,
            subtype,
            about=tmp_path / "new" / "folder" / path.name,
        )
        if "/" not in name and len(name) < 300
        else True
    )
    assert tree(tmp_path) == before


def test_folder_that_may_not_be_written(public):
    public.chmod(0o555)
    for name in ("a.wav", "new/a.wav"):
        done = python(AS_NOBODY + "audio.save(sys.argv[1], np.zeros(9, 'f4'), 8000)", public / name)
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
from pathlib import Path
from gan_audio_tut import audio
from gan_audio_tut import audio_io
y, (_, hard) = audio.noise(5, 16000), resource.getrlimit(resource.RLIMIT_FSIZE)
for limit in (0, 10, 4000, 9000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    for path in sys.argv[2:]:
        try: print('written!', audio.save(path, y, 16000))
        except OSError as e: print(type(e).__name__, e.errno, e.filename == path, path in str(e), *sorted(os.listdir(sys.argv[1])))
"""


@pytest.mark.parametrize("form", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_disk_that_fills_up(form, tmp_path):
    pytest.importorskip("resource")
    path, fresh = tmp_path / f"old.{form}", tmp_path / "new" / "folder" / f"a.{form}"
    path.write_bytes(b"old")
    done = python(FULL, tmp_path, path, fresh)
    assert done.stdout.splitlines() == [f"OSError {errno.EFBIG} True True old.{form}"] * 8, (
        done.stdout + done.stderr
    )
    assert tree(tmp_path) == {Path(path.name): b"old"}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has /dev/full")
def test_no_space_left(tmp_path):
    "The error of a real write that found no space carries the name that the user knows."
    with pytest.raises(OSError) as e:
        with (
            audio_io.atomic_write(tmp_path / "new" / "a.bin"),
            open("/dev/full", "wb", buffering=0) as full,
        ):
            full.write(b"x")
    assert (
        e.value.errno == errno.ENOSPC
        and e.value.filename == str(tmp_path / "new" / "a.bin")
        and not tree(tmp_path)
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has /dev/full")
def test_devices_are_not_replaced(tmp_path):
    (tmp_path / "a.wav").symlink_to("/dev/full")
    assert "device" in refused(
        audio_io.save, tmp_path / "a.wav", TONE, 8000, about=tmp_path / "a.wav"
    )
    with pytest.raises(InputError, match="device"):
        with audio_io.atomic_write("/dev/full"):
            pass
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


# --- replacing


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
def test_replacing_leaves_nothing_behind(error, tmp_path):
    (tmp_path / "old").write_text("old")
    for path in (tmp_path / "old", tmp_path / "new", tmp_path / "a" / "b" / "new"):
        with pytest.raises(type(error)):
            with audio_io.atomic_write(path) as part:
                part.write_text("half")
                raise error
        assert tree(tmp_path) == {Path("old"): b"old"}


def test_replacing_hides_the_work_until_it_is_done(tmp_path):
    (tmp_path / "a.bin").write_text("old")
    with audio_io.atomic_write(tmp_path / "a.bin") as part:
        part.write_text("new")
        assert (
            part.parent == tmp_path
            and part.suffix == ".bin"
            and (tmp_path / "a.bin").read_text() == "old"
        )
    assert tree(tmp_path) == {Path("a.bin"): b"new"}


def test_replacing_keeps_folders_that_hold_something(tmp_path):
    with pytest.raises(ValueError):
        with audio_io.atomic_write(tmp_path / "a" / "b" / "c"):
            (tmp_path / "a" / "other").write_text("kept")
            raise ValueError
    assert tree(tmp_path) == {Path("a"): None, Path("a/other"): b"kept"}


def test_replacing_follows_links_and_umask(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    old = os.umask(0o077)
    try:
        with audio_io.atomic_write(tmp_path / "link") as part:
            part.write_text("x")
    finally:
        os.umask(old)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "x"
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o600


def test_replacing_does_not_blame_itself_for_another_file(tmp_path):
    with pytest.raises(FileNotFoundError) as e:
        with audio_io.atomic_write(tmp_path / "a"):
            open(tmp_path / "elsewhere")
    assert e.value.filename == str(tmp_path / "elsewhere")


def test_no_room_for_even_a_name(tmp_path, monkeypatch):
    "A disk without free inodes fails before the first byte: a full disk all the same, not a wrong place."

    def touch(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device", "hidden name")

    monkeypatch.setattr(Path, "touch", touch)
    with pytest.raises(OSError) as e:
        audio_io.save(tmp_path / "new" / "a.wav", TONE, 8000)
    assert (e.value.errno, e.value.filename) == (
        errno.ENOSPC,
        str(tmp_path / "new" / "a.wav"),
    ) and not tree(tmp_path)


def test_the_mp3_library_does_not_speak_for_itself(tmp_path, capfd):
    "libmpg123 writes to file descriptor 2; the user is promised one line, ours."
    audio_io.save(tmp_path / "a.mp3", audio.tone(300, 2, 16000), 16000)
    good = (tmp_path / "a.mp3").read_bytes()
    damaged = bytes(
        [c ^ 255 if 400 < i < 460 or 2000 < i < 2100 else c for i, c in enumerate(good)]
    )
    for data in (
        good[: len(good) // 2],
        damaged,
        b"ID3\x04\0\0\0\0\0\0" + np.random.default_rng(0).bytes(4000),
    ):
        (tmp_path / "x.mp3").write_bytes(data)
        with pytest.raises(audio.InputError):
            audio_io.load(tmp_path / "x.mp3")
    assert capfd.readouterr() == ("", "")


def test_standard_error_is_there_again_after_many_threads():
    code = (
        "import os\nfrom concurrent.futures import ThreadPoolExecutor\nfrom gan_audio_tut.audio import silent\n"
        "def hush(k):\n    with silent(): os.write(2, b'C')\n"
        "with ThreadPoolExecutor(8) as pool: list(pool.map(hush, range(200)))\n"
        "os.write(2, b'after'); print(len(os.listdir('/proc/self/fd')) if os.path.isdir('/proc/self/fd') else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "after" and int(done.stdout) < 20, "no descriptor is left open"


def test_a_recording_described_in_pieces_is_described_as_a_whole(tmp_path):
    y = np.stack(
        [0.5 * signal.chirp(np.arange(70 * 8000) / 8000, 100, 70, 3000), np.zeros(70 * 8000)]
    )  # longer than a piece
    sf.write(tmp_path / "long.wav", y.T, 8000, subtype="FLOAT")
    level = audio.amplitude_to_db(audio.rms(y.reshape(-1)))
    assert (
        audio_io.audio_info(tmp_path / "long.wav")
        == f"2 channels, 8000 Hz, 70.000 s, level {level:.1f} dB, peak 0.500"
    )


def test_an_ogg_with_a_hole_is_damaged(tmp_path):
    "libsndfile reads on behind what it cannot read, as if nothing had been there."
    sf.write(
        tmp_path / "whole.ogg", 0.1 * np.random.default_rng(0).standard_normal((160000, 1)), 16000
    )
    data = bytearray((tmp_path / "whole.ogg").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = np.random.default_rng(1).bytes(3000)
    (tmp_path / "hole.ogg").write_bytes(data)
    with pytest.raises(InputError, match="hole.ogg.*damaged|hole.ogg.*breaks off"):
        audio_io.load(tmp_path / "hole.ogg")


def test_a_long_mp3_is_read_to_its_end(tmp_path):
    y = (0.1 * np.random.default_rng(0).standard_normal(44100 * 130)).astype(np.float32)
    audio_io.save(tmp_path / "long.mp3", y, 44100)
    assert abs(len(audio_io.load(tmp_path / "long.mp3")[0]) - len(y)) < 5000
