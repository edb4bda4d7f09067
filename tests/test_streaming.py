"Any file, piece by piece: nothing is lost, moved or half written."

import math

import numpy as np
import pytest
import soundfile as sf

from gan_audio_tut import audio, audio_io, mel, streaming
from gan_audio_tut.streaming import ChunkedFunction, process_in_chunks, resampled_processing


def smeared(y):
    "Looks 256 samples to either side, in steps of 64."
    flat = y.reshape(-1, y.shape[-1])
    re, im = (np.asarray(v) for v in mel.stft(flat, 256, 64))
    gain = 1 / (1 + 0.3 * (re**2 + im**2))
    return np.asarray(mel.istft(gain * re, gain * im, 64, y.shape[-1])).reshape(y.shape)


SMEAR = ChunkedFunction(smeared, 16000, 256, 64)


def delivered(y, rng):
    "The same sound in pieces of random lengths."
    return np.split(y, np.sort(rng.integers(0, y.shape[-1], rng.integers(0, 9))), axis=-1)


@pytest.mark.parametrize("trial", range(20))
def test_pieces_equal_the_whole(trial):
    rng = np.random.default_rng(trial)
    y = rng.standard_normal((*[[], [1], [2], [3, 2]][trial % 4], rng.integers(300, 12000))).astype(
        np.float32
    )
    out = np.concatenate(
        list(process_in_chunks(SMEAR, delivered(y, rng), int(rng.integers(1, 5000)))), -1
    )
    assert out.shape == y.shape and np.abs(out - smeared(y)).max() < 1e-5


def test_a_sound_of_one_sample_and_none():
    still = ChunkedFunction(lambda y: y, 8000, 100)
    assert np.array_equal(
        np.concatenate(list(process_in_chunks(still, [np.ones(1, np.float32)], 10))), [1]
    )
    assert list(process_in_chunks(still, [], 10)) == []
    assert (
        np.concatenate(
            list(process_in_chunks(still, [np.zeros(0, np.float32), np.ones(5, np.float32)], 2))
        ).sum()
        == 5
    )


def test_memory_is_bounded():
    "The function never sees more than a piece and its context on both sides."
    seen = []

    def f(y):
        seen.append(y.shape[-1])
        return y

    pieces = (np.full(37, k, np.float32) for k in range(2000))
    out = np.concatenate(list(process_in_chunks(ChunkedFunction(f, 8000, 100, 10), pieces, 500)))
    assert max(seen) <= 700 and np.array_equal(out, np.repeat(np.arange(2000), 37))


@pytest.mark.parametrize("wrong", [dict(context=-1), dict(context=0, align=0)])
def test_settings_that_make_no_sense(wrong):
    with pytest.raises(audio.InputError):
        ChunkedFunction(lambda y: y, 8000, **wrong)


@pytest.mark.parametrize("sr", [8000, 11025, 12000, 22050, 32000, 44100, 48000, 96000, 192000])
def test_nothing_is_lost_at_another_rate(sr):
    y = np.random.default_rng(sr).standard_normal((2, sr // 2 + 7)).astype(np.float32)
    for above in (True, False):
        still = resampled_processing(ChunkedFunction(lambda v: v, 16000, 0, 64), sr, above)
        assert np.abs(still.fn(y) - y).max() < 1e-5
        assert math.gcd(still.hop * 16000 // sr, 64) == 64 or sr == 16000
        assert (still.hop * 16000) % sr == 0


@pytest.mark.parametrize("sr", [8000, 11025, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("above", [True, False])
def test_pieces_equal_the_whole_at_another_rate(sr, above):
    rng = np.random.default_rng(sr)
    y, local = (
        rng.standard_normal((2, sr + 11)).astype(np.float32),
        resampled_processing(SMEAR, sr, above),
    )
    out = np.concatenate(list(process_in_chunks(local, delivered(y, rng), sr // 6)), -1)
    assert out.shape == y.shape and np.abs(out - local.fn(y)).max() < 1e-5


def test_only_the_change_comes_back():
    "A gain of a half below 8 kHz: what lies above follows, or passes."
    t = np.arange(44100) / 44100
    low, high = (np.sin(2 * np.pi * f * t).astype(np.float32) * 0.1 for f in (1000, 15000))
    half = ChunkedFunction(lambda y: 0.5 * y, 16000, 0, 128)
    middle = slice(8000, -8000)
    assert (
        np.abs(resampled_processing(half, 44100, above=False).f(low + high) - (0.5 * low + high))[
            middle
        ].max()
        < 1e-3
    )
    rng = np.random.default_rng(0)
    hiss = audio.resample(
        0.01 * rng.standard_normal(16000).astype(np.float32), 16000, 44100
    )  # gives the top of the band a level
    assert (
        np.abs(resampled_processing(half, 44100).f(low + high + hiss) - 0.5 * (low + high + hiss))[
            middle
        ].max()
        < 2e-3
    )


def test_a_sound_too_short_to_follow_is_not_lost():
    y = np.ones((1, 30), np.float32)
    assert (
        np.abs(resampled_processing(ChunkedFunction(lambda v: 0 * v, 16000, 0), 44100).f(y)).max()
        < 0.6
    )
    assert np.allclose(
        resampled_processing(ChunkedFunction(lambda v: v, 16000, 0), 44100).f(y), y, atol=1e-6
    )


@pytest.mark.parametrize(
    "name, subtype",
    [
        ("a.wav", "PCM_16"),
        ("a.wav", "PCM_24"),
        ("a.wav", "FLOAT"),
        ("a.flac", "PCM_24"),
        ("a.ogg", "VORBIS"),
        ("a.aiff", "PCM_16"),
        ("a.mp3", "MPEG_LAYER_III"),
    ],
)
def test_a_copy_is_like_its_original(tmp_path, name, subtype):
    y = 0.3 * np.random.default_rng(0).standard_normal((2, 20000)).astype(np.float32).clip(-1, 1)
    with streaming.open_writer(
        tmp_path / name, 32000, 2, subtype, {"title": "noise", "year": "2026"}
    ) as write:
        write(y[:, :777]), write(y[:, 777:])
    before = sf.info(tmp_path / name)
    streaming.process_file(
        tmp_path / name,
        tmp_path / f"b-{name}",
        lambda sr: ChunkedFunction(lambda v: 0.5 * v, sr, 0),
        seconds=0.1,
    )
    after = sf.info(tmp_path / f"b-{name}")
    assert (before.samplerate, before.channels, before.subtype, before.format) == (
        after.samplerate,
        after.channels,
        after.subtype,
        after.format,
    )
    assert name == "a.mp3" or before.frames == after.frames
    (a, _), (b, _) = (audio_io.load(tmp_path / k, mono=False) for k in (name, f"b-{name}"))
    if subtype in ("PCM_16", "PCM_24", "FLOAT"):
        assert (
            np.abs(0.5 * a - b).max()
            <= {"PCM_16": 2**-16, "PCM_24": 2**-24, "FLOAT": 1e-7}[subtype] * 1.01
        )
    with audio_io.open_audio(tmp_path / f"b-{name}") as f:
        assert f.title == "noise"


def test_other_formats_keep_what_they_can(tmp_path):
    audio_io.save(tmp_path / "a.wav", np.zeros((2, 900), np.float32), 8000, subtype="PCM_24")
    still = lambda sr: ChunkedFunction(lambda v: v, sr, 0)
    assert (
        sf.info(streaming.process_file(tmp_path / "a.wav", tmp_path / "b.flac", still)).subtype
        == "PCM_24"
    )
    assert (
        sf.info(streaming.process_file(tmp_path / "a.wav", tmp_path / "b.ogg", still)).subtype
        == "VORBIS"
    )
    audio_io.save(tmp_path / "c.wav", np.zeros((2, 900), np.float32), 8000, subtype="FLOAT")
    assert (
        sf.info(streaming.process_file(tmp_path / "c.wav", tmp_path / "c.flac", still)).subtype
        == "PCM_24"
    )
    assert (
        sf.info(streaming.process_file(tmp_path / "c.wav", tmp_path / "c.aiff", still)).subtype
        == "FLOAT"
    )
    assert (
        sf.info(streaming.process_file(tmp_path / "b.ogg", tmp_path / "d.wav", still)).subtype
        == "PCM_16"
    )
    for form in ("WAVEX", "RF64"):
        sf.write(tmp_path / "x.wav", np.full((900, 2), 1.5, np.float32), 8000, "FLOAT", format=form)
        assert (
            audio_io.load(streaming.process_file(tmp_path / "x.wav", tmp_path / "y.wav", still))[
                0
            ].max()
            == 1.5
        )


def test_letters_that_a_tag_cannot_hold_are_left_out(tmp_path):
    for name, kept in (("a.flac", "Für Elise"), ("a.mp3", "")):
        with streaming.open_writer(
            tmp_path / name,
            44100,
            1,
            tags={"title": "Für Elise", "artist": None, "write": "x", "album": "a"},
        ) as write:
            write(np.zeros((1, 5000), np.float32))
        with audio_io.open_audio(tmp_path / name) as f:
            assert (f.title, f.album) == (kept, "a")


def test_a_name_that_ends_in_opus_gets_opus(tmp_path):
    audio_io.save(tmp_path / "a.wav", audio.tone(440, 0.5, 16000), 16000)
    still = lambda sr: ChunkedFunction(lambda v: v, sr, 0)
    assert (
        sf.info(streaming.process_file(tmp_path / "a.wav", tmp_path / "b.opus", still)).subtype
        == "OPUS"
    )
    assert (
        sf.info(streaming.process_file(tmp_path / "b.opus", tmp_path / "c.opus", still)).subtype
        == "OPUS"
    )
    assert (
        sf.info(streaming.process_file(tmp_path / "b.opus", tmp_path / "d.wav", still)).subtype
        == "PCM_16"
    )
    assert (
        sf.info(streaming.process_file(tmp_path / "a.wav", tmp_path / "e.ogg", still)).subtype
        == "VORBIS"
    )


@pytest.mark.parametrize(
    "f",
    [
        lambda y: y[..., ::2],
        lambda y: y[..., :-1],
        lambda y: (9 * y).astype(int),
        lambda y: y[0],
        lambda y: y + 1j,
        lambda y: np.nan * y,
    ],
)
def test_a_function_that_breaks_its_word(tmp_path, f):
    audio_io.save(tmp_path / "a.wav", np.ones((2, 900), np.float32), 8000)
    with pytest.raises(audio.InputError, match="the function gave"):
        streaming.process_file(tmp_path / "a.wav", tmp_path / "b.wav", ChunkedFunction(f, 8000, 10))
    assert not (tmp_path / "b.wav").exists()


def test_a_function_may_work_in_place():
    def halved(y):
        y *= 0.5
        return y

    y = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    assert np.array_equal(
        np.concatenate(list(process_in_chunks(ChunkedFunction(halved, 8000, 100), [y], 700))),
        0.5 * y,
    )
    for above in (True, False):
        ways = [
            resampled_processing(ChunkedFunction(f, 8000, 100, 128), 44100, above).f(y)
            for f in (halved, lambda v: 0.5 * v)
        ]
        assert np.array_equal(*ways)


def test_the_rate_is_minded(tmp_path):
    "A function for another rate is brought to the file's; one that claims the wrong rate is refused."
    audio_io.save(
        tmp_path / "a.wav",
        np.random.default_rng(0).uniform(-0.5, 0.5, (2, 30000)).astype(np.float32),
        44100,
        subtype="FLOAT",
    )
    y = audio_io.load(tmp_path / "a.wav", mono=False)[0]
    out = audio_io.load(
        streaming.process_file(tmp_path / "a.wav", tmp_path / "b.wav", SMEAR, 0.2), mono=False
    )[0]
    assert np.abs(out - resampled_processing(SMEAR, 44100).f(y)).max() < 1e-5
    with pytest.raises(audio.InputError, match="44100 Hz"):
        streaming.process_file(tmp_path / "a.wav", tmp_path / "b.wav", lambda sr: SMEAR)
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(audio.InputError, match="seconds"):
            streaming.process_file(tmp_path / "a.wav", tmp_path / "b.wav", SMEAR, wrong)


@pytest.mark.parametrize("sr", [8000, 16000, 48000, 96000])
@pytest.mark.parametrize("rate", [4000, 8000, 16000])
def test_the_context_has_no_slack_to_live_on(sr, rate):
    "A function of single samples, which needs no context of its own."
    y = np.random.default_rng(0).standard_normal((1, sr)).astype(np.float32)
    local = resampled_processing(
        ChunkedFunction(
            lambda v: np.where(np.abs(v) > 0.5, v, 0.3 * v * v).astype(np.float32), rate, 0
        ),
        sr,
    )
    assert (
        np.abs(np.concatenate(list(process_in_chunks(local, [y], sr // 7)), -1) - local.fn(y)).max()
        < 2e-4
    )  # a jump may turn a rounding into more


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff"])
def test_a_full_disk_leaves_the_older_file(tmp_path, name):
    "At every place where the space may end, as a limit on the size of files."
    import resource
    import signal

    y = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 9000)).astype(np.float32)
    audio_io.save(tmp_path / name, 0.1 * y, 16000)
    before = (tmp_path / name).read_bytes()
    with streaming.open_writer(tmp_path / f"whole-{name}", 16000, 1) as write:
        write(y)
    size, old = (
        (tmp_path / f"whole-{name}").stat().st_size,
        resource.getrlimit(resource.RLIMIT_FSIZE),
    )
    signalled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for short in (1, 100, 700, size // 2, size - 50):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size - short, old[1]))
            with pytest.raises(OSError) as e:
                with streaming.open_writer(tmp_path / name, 16000, 1) as write:
                    write(y)
            assert e.value.filename == str(tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, signalled)
    assert (tmp_path / name).read_bytes() == before and len(list(tmp_path.iterdir())) == 2


def test_a_wav_of_more_than_four_gigabytes_is_refused(tmp_path):
    class Full:  # what `_put` asks of a SoundFile
        format, subtype, channels = "WAV", "DOUBLE", 8

        def tell(self):
            return 2**32 // 64 - 2000

        def write(self, y):
            raise AssertionError("written")

    with pytest.raises(audio.InputError, match="4 GiB; choose FLAC"):
        streaming._put(Full(), np.zeros((8, 5000), np.float32), "a.wav")


@pytest.mark.parametrize(
    "name, sr, subtype",
    [("a.mp3", 44101, None), ("a.ogg", 44100, "OPUS"), ("a.wav", 8000, "IMA_ADPCM")],
)
def test_what_an_encoder_refuses_is_one_line(tmp_path, name, sr, subtype):
    with pytest.raises(audio.InputError, match=name):
        with streaming.open_writer(
            tmp_path / name, sr, 2 if subtype is None else 5, subtype
        ) as write:
            write(np.zeros((2 if subtype is None else 5, 100), np.float32))
    assert not list(tmp_path.iterdir())


def test_many_channels_and_few_samples(tmp_path):
    sf.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, (44105, 12)), 44100)
    streaming.process_file(
        tmp_path / "a.wav", tmp_path / "b.wav", ChunkedFunction(lambda v: v, 44100, 0), seconds=1
    )
    assert np.array_equal(sf.read(tmp_path / "a.wav")[0], sf.read(tmp_path / "b.wav")[0])


def test_floats_are_not_clipped_and_integers_are(tmp_path):
    loud = lambda sr: ChunkedFunction(lambda v: 3 * v, sr, 0)
    for subtype, top in (("FLOAT", 1.5), ("PCM_16", 1.0)):
        audio_io.save(tmp_path / "a.wav", np.full(900, 0.5, np.float32), 8000, subtype=subtype)
        assert np.isclose(
            audio_io.load(streaming.process_file(tmp_path / "a.wav", tmp_path / "b.wav", loud))[
                0
            ].max(),
            top,
            atol=1e-3,
        )


@pytest.mark.parametrize(
    "how", ["same", "link", "folder", "format", "breaks", "missing", "channels"]
)
def test_nothing_is_half_written(tmp_path, how):
    source = tmp_path / "a.wav"
    audio_io.save(source, np.zeros((3, 5000), np.float32), 8000)
    before, still = source.read_bytes(), lambda sr: ChunkedFunction(lambda v: v, sr, 0)
    (tmp_path / "link.wav").symlink_to(source)

    def broken(v):
        raise audio.InputError("a.wav: broke half-way")

    call = {
        "same": (source, source, still),
        "link": (source, tmp_path / "link.wav", still),
        "folder": (source, tmp_path, still),
        "format": (source, tmp_path / "b.txt", still),
        "breaks": (source, tmp_path / "b.wav", lambda sr: ChunkedFunction(broken, sr, 0)),
        "missing": (tmp_path / "no.wav", source, still),
        "channels": (source, tmp_path / "b.mp3", still),
    }[how]
    with pytest.raises(audio.InputError):
        streaming.process_file(*call)
    assert (
        sorted(p.name for p in tmp_path.iterdir()) == ["a.wav", "link.wav"]
        and source.read_bytes() == before
    )


def test_progress_is_told(tmp_path):
    audio_io.save(tmp_path / "a.wav", np.zeros(9000, np.float32), 8000)
    told = []
    streaming.process_file(
        tmp_path / "a.wav",
        tmp_path / "b.wav",
        lambda sr: ChunkedFunction(lambda v: v, sr, 0),
        seconds=0.25,
        progress=told.append,
    )
    assert told[-1] == 9000 / 8000 and len(told) >= 4 and told == sorted(told)
