"Chunked processing and files: nothing is lost, moved or half written."

import math
import resource
import signal

import numpy as np
import pytest
import soundfile as sf

from gan_audio_tut import audio, audio_io, mel, streaming
from gan_audio_tut.streaming import (
    ChunkedFunction,
    compose,
    dry_wet_mix,
    process_in_chunks,
    resampled_processing,
)


def smooth(y):
    "An STFT filter that looks 256 samples to either side, in steps of 64."
    flat = y.reshape(-1, y.shape[-1])
    real, imag = (np.asarray(v) for v in mel.stft(flat, 256, 64))
    gain = 1 / (1 + 0.3 * (real**2 + imag**2))
    return np.asarray(mel.istft(gain * real, gain * imag, 64, y.shape[-1])).reshape(y.shape)


SMOOTH = ChunkedFunction(smooth, 16000, receptive_field=256, hop=64)


def scale_by(factor):
    "Samples times a factor; looks nowhere else."
    return lambda y: factor * y


def scaling(factor):
    "`sr` -> a chunked function that scales."
    return lambda sr: ChunkedFunction(scale_by(factor), sr, receptive_field=0)


unchanged = scaling(1.0)


def identity(sr, receptive_field=0, hop=1):
    return ChunkedFunction(scale_by(1.0), sr, receptive_field, hop)


def random_split(y, rng):
    "The same sound in chunks of random lengths."
    cuts = np.sort(rng.integers(0, y.shape[-1], rng.integers(0, 9)))
    return np.split(y, cuts, axis=-1)


def chunked(function, chunks, size):
    "The whole output of a function that is applied in chunks."
    return np.concatenate(list(process_in_chunks(function, chunks, size)), axis=-1)


def random_sound(shape, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype(np.float32)


@pytest.mark.parametrize("trial", range(20))
def test_chunks_equal_the_whole(trial):
    rng = np.random.default_rng(trial)
    channels = [[], [1], [2], [3, 2]][trial % 4]
    y = rng.standard_normal((*channels, rng.integers(300, 12000))).astype(np.float32)
    chunks = random_split(y, rng)
    out = chunked(SMOOTH, chunks, int(rng.integers(1, 5000)))
    assert out.shape == y.shape
    assert np.abs(out - smooth(y)).max() < 1e-5


def test_a_sound_of_one_sample_and_none():
    function = identity(8000, receptive_field=100)
    assert np.array_equal(chunked(function, [np.ones(1, np.float32)], 10), [1])
    assert list(process_in_chunks(function, [], 10)) == []
    empty_first = [np.zeros(0, np.float32), np.ones(5, np.float32)]
    assert chunked(function, empty_first, 2).sum() == 5


def test_memory_is_bounded():
    "The function never receives more than a chunk and its context on both sides."
    lengths = []

    def record_length(y):
        lengths.append(y.shape[-1])
        return y

    function = ChunkedFunction(record_length, 8000, receptive_field=100, hop=10)
    out = chunked(function, (np.full(37, k, np.float32) for k in range(2000)), 500)
    assert max(lengths) <= 700
    assert np.array_equal(out, np.repeat(np.arange(2000), 37))


@pytest.mark.parametrize("trial", range(12))
def test_a_mask_is_cut_with_its_sound(trial):
    "The output depends on the mask of neighbours too, so a misplaced cut would show."
    rng = np.random.default_rng(trial)
    y = rng.standard_normal((2, rng.integers(200, 4000))).astype(np.float32)
    mask = rng.random(y.shape) < 0.3

    def spread_mask(y, mask):
        assert mask.dtype == bool
        assert mask.shape == y.shape
        near = sum(np.roll(np.pad(mask, ((0, 0), (9, 9))), k, 1) for k in range(-9, 10))
        return y * near[:, 9:-9]

    function = ChunkedFunction(spread_mask, 8000, receptive_field=9, hop=4)
    cuts = np.sort(rng.integers(0, y.shape[1], 5))
    chunks = zip(np.split(y, cuts, 1), np.split(mask, cuts, 1), strict=True)
    out = chunked(function, chunks, int(rng.integers(1, 900)))
    assert out.dtype == np.float32
    assert np.array_equal(out, function(y, mask))


def test_a_mask_may_have_a_shape_of_its_own():
    y, weight = np.ones((2, 1000), np.float32), np.arange(1000, dtype=np.int64)
    function = ChunkedFunction(lambda y, w: y * w.astype(np.float32), 8000, 10)
    out = chunked(function, [(y[:, :300], weight[:300]), (y[:, 300:], weight[300:])], 128)
    assert np.array_equal(out, np.stack([weight, weight]))


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(audio.InputError, match=r"\[9, 8\] samples; give as many"):
        list(process_in_chunks(identity(8000), [(np.ones(9), np.ones(8))], 4))


@pytest.mark.parametrize("wrong", [dict(receptive_field=-1), dict(receptive_field=0, hop=0)])
def test_settings_that_make_no_sense(wrong):
    with pytest.raises(audio.InputError, match="give"):
        ChunkedFunction(scale_by(1.0), 8000, **wrong)


def delay(n):
    "A delay by n samples, which therefore looks n samples back."

    def shift(y):
        padding = [(0, 0)] * (y.ndim - 1) + [(n, 0)]
        return np.pad(y[..., :-n], padding)

    return ChunkedFunction(shift, 8000, receptive_field=n, hop=n)


def test_functions_in_sequence():
    y = np.arange(1000, dtype=np.float32)
    sequence = compose(delay(4), delay(6), delay(9))
    assert (sequence.receptive_field, sequence.hop, sequence.sr) == (19, 36, 8000)
    out = chunked(sequence, random_split(y, np.random.default_rng(0)), 50)
    assert np.array_equal(out[19:], y[:-19])
    assert np.array_equal(out, sequence(y))


def test_no_functions_in_sequence_change_nothing():
    nothing = compose(sr=44100)
    assert (nothing.sr, nothing.receptive_field, nothing.hop) == (44100, 0, 1)
    assert np.array_equal(nothing(np.ones(5, np.float32)), np.ones(5))


@pytest.mark.parametrize(
    "functions, sr", [((SMOOTH, delay(3)), None), ((SMOOTH,), 8000), ((), None)]
)
def test_sequences_have_one_rate(functions, sr):
    with pytest.raises(audio.InputError, match="one rate"):
        compose(*functions, sr=sr)


def test_aligned_arrays_reach_every_function_of_a_sequence():
    fill = ChunkedFunction(lambda y, mask: np.where(mask, y + 1, y), 8000, 0)
    y, mask = np.zeros(6, np.float32), np.arange(6) % 2 == 0
    assert np.array_equal(compose(fill, fill)(y, mask), 2 * mask)
    assert np.array_equal(dry_wet_mix(fill, 0.5)(y, mask), 0.5 * mask)


def test_a_mix_is_between_input_and_output():
    y = random_sound(5000)
    for mix in (0, 0.25, 1):
        mixed = dry_wet_mix(SMOOTH, mix)
        assert np.allclose(mixed(y), (1 - mix) * y + mix * smooth(y), atol=1e-6)
        assert (mixed.receptive_field, mixed.hop, mixed.sr) == (256, 64, 16000)
    assert np.array_equal(dry_wet_mix(SMOOTH, 0)(y), y)
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(audio.InputError, match="give 0 to 1"):
            dry_wet_mix(SMOOTH, wrong)


@pytest.mark.parametrize("sr", [8000, 11025, 12000, 22050, 32000, 44100, 48000, 96000, 192000])
def test_nothing_is_lost_at_another_rate(sr):
    y = np.random.default_rng(sr).standard_normal((2, sr // 2 + 7)).astype(np.float32)
    for above in (True, False):
        function = resampled_processing(identity(16000, hop=64), sr, above=above)
        assert np.abs(function(y) - y).max() < 1e-5
        assert math.gcd(function.hop * 16000 // sr, 64) == 64 or sr == 16000
        assert (function.hop * 16000) % sr == 0


@pytest.mark.parametrize("sr", [8000, 11025, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("above", [True, False])
def test_chunks_equal_the_whole_at_another_rate(sr, above):
    rng = np.random.default_rng(sr)
    y = rng.standard_normal((2, sr + 11)).astype(np.float32)
    function = resampled_processing(SMOOTH, sr, above=above)
    out = chunked(function, random_split(y, rng), sr // 6)
    assert out.shape == y.shape
    assert np.abs(out - function(y)).max() < 1e-5


def test_only_the_change_comes_back():
    "A gain of a half below 8 kHz: what lies above follows, or passes."
    half = ChunkedFunction(scale_by(0.5), 16000, receptive_field=0, hop=128)
    low, high = (audio.tone(freq, 1.0, 44100, 0.1) for freq in (1000, 15000))
    middle = slice(8000, -8000)
    passed = resampled_processing(half, 44100, above=False)(low + high)
    assert np.abs(passed - (0.5 * low + high))[middle].max() < 1e-3

    # noise gives the top of the band a level
    noise = 0.01 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    y = low + high + audio.resample(noise, 16000, 44100)
    followed = resampled_processing(half, 44100)(y)
    assert np.abs(followed - 0.5 * y)[middle].max() < 2e-3


def test_a_sound_too_short_to_follow_is_not_lost():
    y = np.ones((1, 30), np.float32)
    silencer = ChunkedFunction(scale_by(0), 16000, receptive_field=0)
    assert np.abs(resampled_processing(silencer, 44100)(y)).max() < 0.6
    assert np.allclose(resampled_processing(identity(16000), 44100)(y), y, atol=1e-6)


LOSSLESS_STEP = {"PCM_16": 2**-16, "PCM_24": 2**-24, "FLOAT": 1e-7}
FILES = [
    ("a.wav", "PCM_16"),
    ("a.wav", "PCM_24"),
    ("a.wav", "FLOAT"),
    ("a.flac", "PCM_24"),
    ("a.ogg", "VORBIS"),
    ("a.aiff", "PCM_16"),
    ("a.mp3", "MPEG_LAYER_III"),
]


@pytest.mark.parametrize("name, subtype", FILES)
def test_a_copy_is_like_its_original(tmp_path, name, subtype):
    y = 0.3 * np.random.default_rng(0).standard_normal((2, 20000)).astype(np.float32).clip(-1, 1)
    source, target = tmp_path / name, tmp_path / f"b-{name}"
    tags = {"title": "noise", "year": "2026"}
    with streaming.open_writer(source, 32000, 2, subtype=subtype, tags=tags) as write:
        write(y[:, :777])
        write(y[:, 777:])
    streaming.process_file(source, target, scaling(0.5), seconds=0.1)

    before, after = sf.info(source), sf.info(target)
    for key in ("samplerate", "channels", "subtype", "format"):
        assert getattr(before, key) == getattr(after, key), key
    assert name == "a.mp3" or before.frames == after.frames
    if subtype in LOSSLESS_STEP:
        a, b = (audio_io.load(path, mono=False)[0] for path in (source, target))
        assert np.abs(0.5 * a - b).max() <= LOSSLESS_STEP[subtype] * 1.01
    with audio_io.open_audio(target) as f:
        assert f.title == "noise"


def copied_subtype(source, target):
    "The subtype of an unchanged copy."
    streaming.process_file(source, target, unchanged)
    return sf.info(target).subtype


def test_other_formats_keep_what_they_can(tmp_path):
    silence = np.zeros((2, 900), np.float32)
    audio_io.save(tmp_path / "a.wav", silence, 8000, subtype="PCM_24")
    audio_io.save(tmp_path / "c.wav", silence, 8000, subtype="FLOAT")
    assert copied_subtype(tmp_path / "a.wav", tmp_path / "b.flac") == "PCM_24"
    assert copied_subtype(tmp_path / "a.wav", tmp_path / "b.ogg") == "VORBIS"
    assert copied_subtype(tmp_path / "c.wav", tmp_path / "c.flac") == "PCM_24"
    assert copied_subtype(tmp_path / "c.wav", tmp_path / "c.aiff") == "FLOAT"
    assert copied_subtype(tmp_path / "b.ogg", tmp_path / "d.wav") == "PCM_16"


@pytest.mark.parametrize("form", ["WAVEX", "RF64"])
def test_relatives_of_wav_keep_their_floats(tmp_path, form):
    source, target = tmp_path / "x.wav", tmp_path / "y.wav"
    sf.write(source, np.full((900, 2), 1.5, np.float32), 8000, "FLOAT", format=form)
    streaming.process_file(source, target, unchanged)
    assert audio_io.load(target)[0].max() == 1.5


@pytest.mark.parametrize("name, kept", [("a.flac", "Für Elise"), ("a.mp3", "")])
def test_letters_that_a_tag_cannot_hold_are_left_out(tmp_path, name, kept):
    tags = {"title": "Für Elise", "artist": None, "write": "x", "album": "a"}
    with streaming.open_writer(tmp_path / name, 44100, 1, tags=tags) as write:
        write(np.zeros((1, 5000), np.float32))
    with audio_io.open_audio(tmp_path / name) as f:
        assert (f.title, f.album) == (kept, "a")


def test_a_name_that_ends_in_opus_gets_opus(tmp_path):
    audio_io.save(tmp_path / "a.wav", audio.tone(440, 0.5, 16000), 16000)
    assert copied_subtype(tmp_path / "a.wav", tmp_path / "b.opus") == "OPUS"
    assert copied_subtype(tmp_path / "b.opus", tmp_path / "c.opus") == "OPUS"
    assert copied_subtype(tmp_path / "b.opus", tmp_path / "d.wav") == "PCM_16"
    assert copied_subtype(tmp_path / "a.wav", tmp_path / "e.ogg") == "VORBIS"


@pytest.mark.parametrize(
    "fn",
    [
        lambda y: y[..., ::2],
        lambda y: y[..., :-1],
        lambda y: (9 * y).astype(int),
        lambda y: y[0],
        lambda y: y + 1j,
        lambda y: np.nan * y,
    ],
)
@pytest.mark.parametrize("sr", [8000, 16000])
def test_a_function_that_breaks_its_promise(tmp_path, fn, sr):
    "At its own rate, and at another."
    audio_io.save(tmp_path / "a.wav", np.ones((2, 900), np.float32), sr)
    with pytest.raises(audio.InputError, match="the function gave"):
        function = ChunkedFunction(fn, 8000, receptive_field=10)
        streaming.process_file(tmp_path / "a.wav", tmp_path / "b.wav", function)
    assert not (tmp_path / "b.wav").exists()


def halve_in_place(y):
    y *= 0.5
    return y


def test_a_function_may_work_in_place():
    y = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    function = ChunkedFunction(halve_in_place, 8000, receptive_field=100)
    assert np.array_equal(chunked(function, [y], 700), 0.5 * y)
    assert np.array_equal(dry_wet_mix(function, 0.5)(y), 0.75 * y)


@pytest.mark.parametrize("above", [True, False])
def test_a_function_may_work_in_place_at_another_rate(above):
    y = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    outputs = []
    for fn in (halve_in_place, scale_by(0.5)):
        function = ChunkedFunction(fn, 8000, receptive_field=100, hop=128)
        outputs.append(resampled_processing(function, 44100, above=above)(y))
    assert np.array_equal(*outputs)


@pytest.fixture
def stereo_file(tmp_path):
    "A file of floats at 44.1 kHz."
    path = tmp_path / "a.wav"
    audio_io.save(path, random_sound((2, 30000)), 44100, subtype="FLOAT")
    return path


def test_a_function_for_another_rate_is_resampled(tmp_path, stereo_file):
    streaming.process_file(stereo_file, tmp_path / "b.wav", SMOOTH, seconds=0.2)
    before, after = (
        audio_io.load(path, mono=False)[0] for path in (stereo_file, tmp_path / "b.wav")
    )
    assert np.abs(after - resampled_processing(SMOOTH, 44100)(before)).max() < 1e-5


def test_a_function_that_claims_the_wrong_rate_is_refused(tmp_path, stereo_file):
    with pytest.raises(audio.InputError, match="44100 Hz"):
        streaming.process_file(stereo_file, tmp_path / "b.wav", lambda sr: SMOOTH)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_seconds_that_make_no_sense(tmp_path, stereo_file, seconds):
    with pytest.raises(audio.InputError, match="seconds"):
        streaming.process_file(stereo_file, tmp_path / "b.wav", SMOOTH, seconds=seconds)


def bend(y):
    "A function of single samples."
    return np.where(np.abs(y) > 0.5, y, 0.3 * y * y).astype(np.float32)


@pytest.mark.parametrize("sr", [8000, 16000, 48000, 96000])
@pytest.mark.parametrize("rate", [4000, 8000, 16000])
def test_the_receptive_field_of_the_resampler_is_counted(sr, rate):
    "The function itself needs no context, so none of its own can hide an error."
    y = np.random.default_rng(0).standard_normal((1, sr)).astype(np.float32)
    function = resampled_processing(ChunkedFunction(bend, rate, receptive_field=0), sr)
    # where `bend` jumps, a rounding may become more
    assert np.abs(chunked(function, [y], sr // 7) - function(y)).max() < 2e-4


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff"])
def test_a_full_disk_leaves_the_older_file(tmp_path, name):
    "At every place where the space may end, as a limit on the size of files."
    y = random_sound((1, 9000))
    audio_io.save(tmp_path / name, 0.1 * y[0], 16000)
    before = (tmp_path / name).read_bytes()
    with streaming.open_writer(tmp_path / f"whole-{name}", 16000, 1) as write:
        write(y)
    size = (tmp_path / f"whole-{name}").stat().st_size
    old_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    old_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for missing in (1, 100, 700, size // 2, size - 50):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size - missing, old_limit[1]))
            with (
                pytest.raises(OSError) as error,
                streaming.open_writer(tmp_path / name, 16000, 1) as write,
            ):
                write(y)
            assert error.value.filename == str(tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        signal.signal(signal.SIGXFSZ, old_handler)
    assert (tmp_path / name).read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


class AlmostFull:
    "What `_append_samples` asks of a SoundFile."

    format, subtype, channels = "WAV", "DOUBLE", 8

    def tell(self):
        return 2**32 // 64 - 2000

    def write(self, y):
        raise AssertionError("written")


def test_a_wav_of_more_than_four_gigabytes_is_refused():
    with pytest.raises(audio.InputError, match="4 GiB; choose FLAC"):
        streaming._append_samples(AlmostFull(), np.zeros((8, 5000), np.float32), "a.wav")


@pytest.mark.parametrize(
    "name, sr, channels, subtype",
    [("a.mp3", 44101, 2, None), ("a.ogg", 44100, 5, "OPUS"), ("a.wav", 8000, 5, "IMA_ADPCM")],
)
def test_what_an_encoder_refuses_is_one_line(tmp_path, name, sr, channels, subtype):
    with (
        pytest.raises(audio.InputError, match=name) as error,
        streaming.open_writer(tmp_path / name, sr, channels, subtype=subtype) as write,
    ):
        write(np.zeros((channels, 100), np.float32))
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_many_channels_and_few_samples(tmp_path):
    source, target = tmp_path / "a.wav", tmp_path / "b.wav"
    sf.write(source, random_sound((44105, 12)), 44100)
    streaming.process_file(source, target, identity(44100), seconds=1)
    assert np.array_equal(sf.read(source)[0], sf.read(target)[0])


@pytest.mark.parametrize("subtype, peak", [("FLOAT", 1.5), ("PCM_16", 1.0)])
def test_floats_are_not_clipped_and_integers_are(tmp_path, subtype, peak):
    source, target = tmp_path / "a.wav", tmp_path / "b.wav"
    audio_io.save(source, np.full(900, 0.5, np.float32), 8000, subtype=subtype)
    gain = streaming.process_file(source, target, scaling(3.0))
    assert np.isclose(audio_io.load(target)[0].max(), peak, atol=1e-3)
    assert gain == 1.0


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seconds", [0.1, 10])
def test_clipping_is_prevented_by_one_gain_in_one_pass(tmp_path, channels, seconds):
    "Processing runs once, and gives what a first pass for the peak and a second would give."
    source, target = tmp_path / "a.wav", tmp_path / "b.wav"
    y = random_sound((channels, 9001))
    audio_io.save(source, y, 8000, subtype="PCM_24")
    y = audio_io.load(source, mono=False)[0].reshape(channels, -1)
    n_samples = []

    def count_and_scale(y):
        n_samples.append(y.shape[-1])
        return 3 * y

    function = ChunkedFunction(count_and_scale, 8000, receptive_field=0)
    done = []
    gain = streaming.process_file(
        source, target, function, seconds=seconds, progress=done.append, prevent_clipping=True
    )
    out = audio_io.load(target, mono=False)[0].reshape(channels, -1)
    assert gain == pytest.approx(1 / (3 * np.abs(y).max()), rel=1e-6)
    assert np.abs(out - 3 * y / np.float32(3 * np.abs(y).max())).max() <= 2**-23
    assert np.abs(out).max() == pytest.approx(1, abs=2**-22)
    assert sum(n_samples) == 9001
    assert done[-1] == 9001 / 8000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.wav", "b.wav"]


def test_what_does_not_clip_is_not_scaled(tmp_path):
    source = tmp_path / "a.wav"
    audio_io.save(source, random_sound((2, 9000)), 8000, subtype="FLOAT")
    for name, factor in (("same.flac", 1.9), ("float.wav", 9.0)):
        target = tmp_path / name
        gain = streaming.process_file(source, target, scaling(factor), prevent_clipping=True)
        before, after = (audio_io.load(path, mono=False)[0] for path in (source, target))
        assert gain == 1.0
        assert np.abs(after - factor * before).max() < 2**-23


@pytest.mark.parametrize(
    "case", ["same", "link", "folder", "format", "breaks", "missing", "channels"]
)
def test_nothing_is_half_written(tmp_path, case):
    source, link = tmp_path / "a.wav", tmp_path / "link.wav"
    audio_io.save(source, np.zeros((3, 5000), np.float32), 8000)
    link.symlink_to(source)
    before = source.read_bytes()

    def fail(y):
        raise audio.InputError("a.wav: broke half-way")

    arguments = {
        "same": (source, source, unchanged),
        "link": (source, link, unchanged),
        "folder": (source, tmp_path, unchanged),
        "format": (source, tmp_path / "b.txt", unchanged),
        "breaks": (source, tmp_path / "b.wav", ChunkedFunction(fail, 8000, receptive_field=0)),
        "missing": (tmp_path / "no.wav", source, unchanged),
        "channels": (source, tmp_path / "b.mp3", unchanged),
    }[case]
    for prevent_clipping in (False, True):
        with pytest.raises(audio.InputError):
            streaming.process_file(*arguments, prevent_clipping=prevent_clipping)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.wav", "link.wav"]
    assert source.read_bytes() == before


@pytest.mark.parametrize("prevent_clipping", [False, True])
def test_progress_is_told_in_seconds(tmp_path, prevent_clipping):
    source, target = tmp_path / "a.wav", tmp_path / "b.wav"
    audio_io.save(source, np.zeros(9000, np.float32), 8000)
    done = []
    streaming.process_file(
        source,
        target,
        unchanged,
        seconds=0.25,
        progress=done.append,
        prevent_clipping=prevent_clipping,
    )
    assert done[-1] == 9000 / 8000
    assert len(done) >= 4
    assert done == sorted(done)
