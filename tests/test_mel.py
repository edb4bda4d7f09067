"""The mel front end: librosa's values at any setting, exact inverses, gradients at silence."""

import inspect

import keras
import librosa
import numpy as np
import pytest
import tensorflow as tf

from gan_audio_tut import audio, audio_io, mel
from gan_audio_tut.audio import InputError
from gan_audio_tut.mel import MelConfig

NOISE = np.random.default_rng(0).uniform(-1, 1, (3, 8192)).astype(np.float32)
DB_PER_UNIT = 20 * np.log10(3.0 / 1e-3) / 2  # of a normalised log-mel spectrogram


def max_difference(ours, theirs):
    "Largest difference, relative to the largest value."
    return np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max()


def random_settings(seed):
    "Random settings: even n_fft, any hop up to half of it, window and length as they fall."
    rng = np.random.default_rng(seed)
    n_fft = 2 * int(rng.integers(16, 600))
    hop_length = int(rng.integers(1 + n_fft // 16, n_fft // 2 + 1))
    win_length = int(rng.integers(n_fft // 2, n_fft + 1))
    length = int(rng.integers(n_fft // 2 + 1, 4000))
    return n_fft, hop_length, win_length, length


def harmonic_word(seconds=1.024, sr=8000):
    "A falling pitch with harmonics and a pause: something to invert."
    t = np.arange(int(seconds * sr)) / sr
    phase = 2 * np.pi * np.cumsum(150 - 50 * t) / sr
    envelope = np.clip(np.sin(np.pi * t / seconds) - 0.2, 0, 1)
    y = sum(np.sin(k * phase) / k for k in range(1, 20)) * envelope * 0.3
    return y.astype(np.float32)


@pytest.fixture(scope="module")
def word():
    return harmonic_word()


@pytest.fixture(scope="module")
def word_magnitudes(word):
    return np.asarray(mel.magnitude(*mel.stft(word[None])))


def numpy_frames(y):
    "Windowed frames of the default STFT, by NumPy in the precision of `y`."
    padded = np.pad(y, [(0, 0), (256, 256)], mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 512, axis=1)[:, ::128]
    return frames * mel.hann(512, 512)


# --- STFT and back


@pytest.mark.parametrize("seed", range(12))
def test_stft_equals_librosa(seed):
    n_fft, hop, win, length = random_settings(seed)
    real, imag = mel.stft(NOISE[:, :length], n_fft, hop, win)
    theirs = librosa.stft(
        NOISE[:, :length], n_fft=n_fft, hop_length=hop, win_length=win, pad_mode="reflect"
    )
    complex_frames = np.asarray(real) + 1j * np.asarray(imag)
    assert max_difference(complex_frames, theirs.swapaxes(1, 2)) < 2e-6


@pytest.mark.parametrize("seed", range(12))
def test_istft_is_exact_to_the_edges(seed):
    n_fft, hop, win, length = random_settings(seed)
    hop = min(hop, win // 4)
    inverse = mel.istft(*mel.stft(NOISE[:, :length], n_fft, hop, win), hop, length, win)
    assert np.abs(np.asarray(inverse) - NOISE[:, :length]).max() < 1e-5


# 1 + n_fft // 2 is even for these, which griffin_lim once refused
EVEN_BINS = pytest.mark.parametrize("n_fft", [882, 1102, 510, 1022, 250, 50])


@EVEN_BINS
def test_the_inverse_is_exact_for_every_even_n_fft(n_fft):
    hop, y = n_fft // 4, NOISE[:, :4000]
    inverse = mel.istft(*mel.stft(y, n_fft, hop), hop, 4000)
    assert np.abs(np.asarray(inverse) - y).max() < 1e-5


# librosa 1.0 renamed the argument
SEED = "rng" if "rng" in inspect.signature(librosa.griffinlim).parameters else "random_state"


def librosa_griffin_lim(magnitudes, hop, length, **settings):
    return librosa.griffinlim(
        magnitudes[0].T, hop_length=hop, length=length, pad_mode="reflect", momentum=0.9, **settings
    )


def excerpt_magnitudes(word, n_fft):
    return np.asarray(mel.magnitude(*mel.stft(word[None, 2000:6000], n_fft, n_fft // 4)))


@EVEN_BINS
def test_griffin_lim_converges_as_librosa_for_every_even_n_fft(n_fft, word):
    hop, magnitudes = n_fft // 4, excerpt_magnitudes(word, n_fft)

    def error(y):
        achieved = np.asarray(mel.magnitude(*mel.stft(y, n_fft, hop)))
        return np.linalg.norm(achieved - magnitudes) / np.linalg.norm(magnitudes)

    def our_error(seed):
        settings = {"hop_length": hop, "length": 4000, "random_state": seed}
        return error(mel.griffin_lim(magnitudes, **settings))

    def their_error(seed):
        settings = {"n_iter": 32, SEED: seed}
        return error(librosa_griffin_lim(magnitudes, hop, 4000, **settings)[None])

    ours, theirs = (np.mean([e(seed) for seed in range(4)]) for e in (our_error, their_error))
    assert ours < 1.5 * theirs  # a single start may come out half as good as another


@EVEN_BINS
def test_griffin_lim_equals_librosa_for_every_even_n_fft(n_fft, word):
    "Two iterations, since rounding errors grow with each."
    hop, magnitudes = n_fft // 4, excerpt_magnitudes(word, n_fft)
    start = (magnitudes, 0 * magnitudes, magnitudes)
    ours = mel._griffin_lim_loop(start, hop, 4000, 2, 0.9)[0]
    theirs = librosa_griffin_lim(magnitudes, hop, 4000, n_iter=2, init=None)
    assert max_difference(ours, theirs) < 1e-4


@pytest.mark.parametrize("n_fft", [511, 881, 1, 0, -2])
def test_an_odd_n_fft_is_refused_by_name(n_fft):
    "Its inverse could not be told from that of the even one below."
    with pytest.raises(InputError, match=rf"^stft: needs an even n_fft, not {n_fft}; give \d+$"):
        mel.stft(NOISE, n_fft, 100)
    with pytest.raises(InputError, match=r"^MelConfig: n_fft [^\n]*; give an even n_fft"):
        MelConfig(n_fft=n_fft)


def test_a_hop_of_nothing_is_refused():
    with pytest.raises(InputError, match=r"^stft: needs a hop_length [^\n]*; give [^\n]*$"):
        mel.stft(NOISE, 512, 0)


@pytest.mark.parametrize("seed", range(4))
def test_istft_of_any_frames_equals_librosa(seed):
    "Not only of consistent ones: the least-squares inverse."
    rng = np.random.default_rng(seed)
    frames = rng.standard_normal((2, 20, 129)) + 1j * rng.standard_normal((2, 20, 129))
    frames[..., [0, -1]] = frames[..., [0, -1]].real
    ours = mel.istft(frames.real.astype("f"), frames.imag.astype("f"), 64, 19 * 64)
    theirs = librosa.istft(frames.swapaxes(1, 2), hop_length=64, length=19 * 64)
    assert max_difference(ours, theirs) < 1e-5


def test_parseval():
    real, imag = (np.asarray(part, float) for part in mel.stft(NOISE, 512, 128))
    power = real**2 + imag**2
    energy = (power[..., 0] + 2 * power[..., 1:-1].sum(-1) + power[..., -1]) / 512
    assert np.allclose(energy, (numpy_frames(NOISE).astype(float) ** 2).sum(-1), rtol=1e-5)


@pytest.mark.parametrize("n_fft, k, amplitude", [(512, 64, 0.5), (256, 10, 1.0), (1024, 300, 0.01)])
def test_the_magnitude_of_a_sine_is_known(n_fft, k, amplitude):
    y = audio.tone(k * 8000 / n_fft, 1, 8000, amplitude=amplitude)
    magnitudes = np.asarray(mel.magnitude(*mel.stft(y[None], n_fft, n_fft // 4)))[0, 8:-8]
    assert (magnitudes.argmax(1) == k).all()
    assert np.allclose(magnitudes[:, k], amplitude * n_fft / 4, rtol=1e-3)


FRAME_SETTINGS = [(8, 1), (8, 3), (7, 7), (5, 9), (512, 128), (512, 32), (512, 31), (512, 4)]


@pytest.mark.parametrize("frame_length, hop", FRAME_SETTINGS)
def test_frames_of_any_hop(frame_length, hop):
    windows = np.lib.stride_tricks.sliding_window_view(NOISE, frame_length, axis=1)
    assert np.array_equal(mel.frame(NOISE, frame_length, hop), windows[:, ::hop])


@pytest.mark.parametrize("frame_length, hop", [(512, 128), (400, 160), (8, 3)])
def test_the_gradient_of_frames_counts_every_frame(frame_length, hop):
    "The gradient of a weighted sum of frames is the overlap-add of the weights."
    n_frames = 1 + (8192 - frame_length) // hop
    weights = np.random.default_rng(1).standard_normal((3, n_frames, frame_length)).astype("f")
    expected = np.zeros_like(NOISE)
    for i in range(n_frames):
        expected[:, i * hop : i * hop + frame_length] += weights[:, i]

    def weighted_sum(y):
        return weights * mel.frame(y, frame_length, hop)

    assert np.allclose(gradient(weighted_sum, NOISE), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_other_floats_are_taken_as_float32(dtype):
    y = tf.cast(NOISE, dtype)
    expected = np.asarray(mel.mel_spectrogram(np.asarray(tf.cast(y, "float32"))))
    assert max_difference(mel.mel_spectrogram(y), expected) < 1e-6


# --- mel


@pytest.mark.parametrize("seed", range(12))
def test_mel_equals_librosa(seed):
    n_fft, hop, _, length = random_settings(seed)
    rng = np.random.default_rng(100 + seed)
    sr = int(rng.choice([8000, 16000, 22050, 44100]))
    n_mels = int(rng.integers(4, 40))
    fmin = float(rng.choice([0, 30]))
    fmax = float(rng.choice([sr / 2, sr / 2.7]))
    config = MelConfig(sr, n_fft, hop, n_mels, fmin, fmax)

    bands = {"sr": sr, "n_fft": n_fft, "n_mels": n_mels, "fmin": fmin, "fmax": fmax}
    filters = librosa.filters.mel(**bands).T
    assert np.abs(config.filterbank - filters).max() <= 1e-6 * filters.max()

    y = NOISE[:, :length]
    theirs = librosa.feature.melspectrogram(
        y=y, **bands, hop_length=hop, power=1, pad_mode="reflect"
    )
    assert max_difference(mel.mel_spectrogram(y, config), theirs.swapaxes(1, 2)) < 1e-5


def test_mel_scale_equals_librosa_and_inverts():
    f = np.linspace(0, 24000, 500)
    assert np.allclose(mel.hz_to_mel(f), librosa.hz_to_mel(f))
    assert np.allclose(mel.mel_to_hz(mel.hz_to_mel(f)), f)


def test_cached_arrays_are_read_only():
    for shared in (mel.hann(512, 512), MelConfig().filterbank):
        with pytest.raises(ValueError):
            shared[0] = 1


def test_normalize_and_denormalize():
    config = MelConfig(floor=1e-2, max_value=7)
    levels = np.geomspace(1e-2, 7, 100).astype(np.float32)
    normalized = np.asarray(mel.normalize(levels, config))
    assert np.allclose(normalized, np.linspace(-1, 1, 100), atol=1e-5)
    assert np.allclose(mel.denormalize(normalized, config), levels, rtol=1e-5)
    assert np.allclose(mel.normalize(np.float32([0, 1e-9, 8, 1e9]), config), [-1, -1, 1, 1])


def test_log_mel_drops_the_last_frame():
    assert mel.log_mel(NOISE).shape == (3, 64, 64)
    whole = mel.normalize(mel.mel_spectrogram(NOISE))
    assert np.allclose(mel.log_mel(NOISE), whole[:, :-1], atol=1e-5)


def test_log_mel_to_mel_repeats_the_last_frame_and_reads_the_floor_as_silence():
    spectrogram = np.asarray(mel.log_mel(NOISE)).copy()
    spectrogram[0] = -1
    spectrogram[1, :, 0] = -0.985
    restored = np.asarray(mel.log_mel_to_mel(spectrogram))
    assert restored.shape == (3, 65, 64)
    assert np.array_equal(restored[:, -1], restored[:, -2])
    assert (restored[0] == 0).all() and (restored[1, :, 0] == 0).all()
    expected = mel.denormalize(spectrogram[2])
    assert np.allclose(restored[2, :-1], expected, rtol=1e-5)


# --- gradients


def gradient(fn, y):
    y = tf.Variable(y)
    with tf.GradientTape() as tape:
        total = keras.ops.sum(fn(y))
    return np.asarray(tape.gradient(total, y))


def stft_magnitude(y):
    return mel.magnitude(*mel.stft(y))


@pytest.mark.parametrize("fn", [mel.mel_spectrogram, mel.log_mel, stft_magnitude])
def test_gradients_are_finite_at_silence(fn):
    y = NOISE.copy()
    y[0] = 0
    y[1, 2000:6000] = 0
    grad = gradient(fn, y)
    assert np.isfinite(grad).all() and np.abs(grad[2]).max() > 0 and (grad[0] == 0).all()


def test_gradient_against_finite_differences():
    y = NOISE[:1].astype(float)
    direction = np.random.default_rng(1).standard_normal((1, 8192))
    slope = (gradient(mel.mel_spectrogram, y.astype("f")) * direction).sum()

    def total(y):  # in double precision, by NumPy alone
        return (np.abs(np.fft.rfft(numpy_frames(y))) @ MelConfig().filterbank).sum()

    h = 1e-5
    difference = (total(y + h * direction) - total(y - h * direction)) / (2 * h)
    assert slope == pytest.approx(difference, rel=1e-4)


# --- compiled


def eager_mel(y):
    return mel._mel_spectrogram.__wrapped__(y, MelConfig())


def test_compiled_is_the_same_function():
    assert max_difference(mel.mel_spectrogram(NOISE), np.asarray(eager_mel(NOISE))) < 1e-6
    assert max_difference(gradient(mel.mel_spectrogram, NOISE), gradient(eager_mel, NOISE)) < 1e-5
    by_name = mel.mel_spectrogram(y=NOISE, config=MelConfig())
    assert np.allclose(by_name, mel.mel_spectrogram(NOISE), rtol=1e-5)


def test_it_works_inside_graphs_and_models():
    expected = np.asarray(mel.log_mel(NOISE))
    inputs = keras.Input((8192,))
    model = keras.Model(inputs, mel.log_mel(inputs))
    assert max_difference(model(NOISE), expected) < 1e-6
    assert max_difference(tf.function(mel.log_mel)(tf.constant(NOISE)), expected) < 1e-6
    mapped = tf.data.Dataset.from_tensors(NOISE).map(mel.log_mel)
    assert max_difference(next(iter(mapped)), expected) < 1e-6


def test_batch_size_changes_nothing():
    alone = np.concatenate([mel.mel_spectrogram(NOISE[i : i + 1]) for i in range(3)])
    assert max_difference(mel.mel_spectrogram(NOISE), alone) < 1e-6


def test_gradient_by_variables_of_any_batch():
    "A graph for all shapes must not keep the shape of the first variable that it met."
    for batch in (2, 4, 1, 5, 3):
        y = np.resize(NOISE, (batch, 8192))
        assert gradient(mel.mel_spectrogram, y).shape == (batch, 8192)


# --- bands to bins to waveform


def test_updates_are_non_negative_and_the_divergence_never_rises(word):
    target = np.asarray(mel.mel_spectrogram(word[None]), float) + 1e-4
    divergence = []
    for n_iter in (1, 2, 3, 5, 8, 20):
        magnitudes = np.asarray(mel.mel_to_magnitude(target, n_iter=n_iter))
        found = magnitudes.astype(float) @ MelConfig().filterbank
        divergence.append((target * np.log(target / found) - target + found).sum())
        assert magnitudes.min() >= 0 and np.isfinite(magnitudes).all()
    assert np.all(np.diff(divergence) < 0) and divergence[-1] < 0.01 * divergence[0]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_griffin_lim_equals_librosa_from_the_same_phases(word_magnitudes, momentum):
    theirs = librosa.griffinlim(
        word_magnitudes[0].T,
        n_iter=12,
        hop_length=128,
        length=8192,
        pad_mode="reflect",
        init=None,
        momentum=momentum,
    )
    start = (word_magnitudes, 0 * word_magnitudes, word_magnitudes)
    ours = mel._griffin_lim_loop(start, 128, 8192, 12, momentum)[0]
    assert max_difference(ours, theirs) < 1e-3


@pytest.mark.parametrize("shape", [(64, 257), (1, 64, 1), (1, 2, 257)], ids=str)
def test_griffin_lim_refuses_what_is_no_spectrogram(shape):
    with pytest.raises(InputError, match=r"^griffin_lim: [^\n]*; [^\n]*$"):
        mel.griffin_lim(np.ones(shape, np.float32))


@pytest.mark.parametrize("length", [0, 63 * 128 - 1, 64 * 128])
def test_griffin_lim_refuses_a_length_that_does_not_fit(length):
    with pytest.raises(InputError, match=r"^griffin_lim: [^\n]*; leave length out$"):
        mel.griffin_lim(np.ones((1, 64, 257), np.float32), length=length)


def test_sound_depends_on_the_seed_alone(word, word_magnitudes):
    spectrograms = np.asarray(mel.log_mel(np.stack([word, NOISE[0] * 0.1])))
    first = np.asarray(mel.log_mel_to_audio(spectrograms))
    assert np.array_equal(mel.log_mel_to_audio(spectrograms), first)
    other_seed = np.asarray(mel.log_mel_to_audio(spectrograms, random_state=1))
    assert np.abs(other_seed - first).max() > 0.01
    alone = np.asarray(mel.log_mel_to_audio(spectrograms[1:]))[0]
    assert np.abs(alone - first[1]).max() < 1e-4  # not on the batch
    repeated = [mel.griffin_lim(word_magnitudes, random_state=3) for _ in range(2)]
    assert np.array_equal(*repeated)


def test_more_iterations_come_closer(word_magnitudes):
    errors = []
    for n_iter in (0, 4, 32):
        y = mel.griffin_lim(word_magnitudes, n_iter=n_iter)
        achieved = np.asarray(mel.magnitude(*mel.stft(y)))
        errors.append(np.linalg.norm(achieved - word_magnitudes) / np.linalg.norm(word_magnitudes))
    assert errors[2] < 0.3 * errors[1] < 0.3 * errors[0]


def test_restoring_bands_beats_fixed_magnitudes(word):
    target = np.asarray(mel.mel_spectrogram(word[None]))

    def difference_db(y):
        difference = mel.normalize(mel.mel_spectrogram(y)) - mel.normalize(target)
        return DB_PER_UNIT * np.abs(np.asarray(difference)).mean()

    in_two_stages = mel.griffin_lim(mel.mel_to_magnitude(target))
    assert difference_db(mel.mel_to_audio(target)) < 0.6 * difference_db(in_two_stages)


CONFIGS = [MelConfig(), MelConfig(16000, 400, 160, 40, fmax=7000.0), MelConfig(8000, 256, 64, 32)]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_log_mel_to_audio_has_the_wanted_log_mel(config):
    wanted = np.asarray(mel.log_mel(harmonic_word(1.024, config.sr)[None], config))
    y = np.asarray(mel.log_mel_to_audio(wanted, config))
    n_frames = wanted.shape[1]
    assert y.shape == (1, n_frames * config.hop_length)
    assert np.isfinite(y).all() and np.abs(y).max() <= 1
    achieved = np.asarray(mel.log_mel(y, config))[:, :n_frames]
    assert np.abs(achieved - wanted).mean() < 0.05


def test_silence_comes_back_as_silence():
    silence = -np.ones((2, 64, 64), np.float32)
    assert np.abs(np.asarray(mel.log_mel_to_audio(silence))).max() < 1e-6


def test_any_spectrogram_gives_finite_sound():
    random = np.random.default_rng(0).uniform(-1, 1, (4, 64, 64)).astype(np.float32)
    assert np.isfinite(np.asarray(mel.log_mel_to_audio(random))).all()


# --- refusals

BAD_SETTINGS = [
    {"fmin": -1},
    {"fmax": 4001},
    {"fmin": 3000, "fmax": 2000},
    {"fmax": 0},
    {"n_fft": 511},
    {"hop_length": 0},
    {"hop_length": 257},
    {"floor": 0},
    {"floor": 3},
    {"max_value": float("inf")},
    {"n_mels": 0},
]


@pytest.mark.parametrize("bad", BAD_SETTINGS, ids=str)
def test_unfit_settings_are_refused_in_one_line(bad):
    with pytest.raises(InputError, match=r"^MelConfig: [^\n]*; give [^\n]*$"):
        MelConfig(**bad)


@pytest.mark.parametrize("shape", [(8192,), (1, 1, 8192), (1, 256), (1, 0)], ids=str)
def test_unfit_batches_are_refused_in_one_line(shape):
    for fn in (mel.stft, mel.mel_spectrogram, mel.log_mel):
        with pytest.raises(InputError, match=r"^stft: needs [^\n]*; [^\n]*$"):
            fn(np.zeros(shape, np.float32))


def test_a_window_longer_than_the_frame_is_refused():
    with pytest.raises(InputError, match=r"^hann: [^\n]*; shorten it$"):
        mel.stft(NOISE, 512, 128, win_length=600)


@pytest.mark.parametrize("shape", [(64, 64), (1, 64, 63), (64,), (1, 1, 64, 64)], ids=str)
def test_unfit_mel_spectrograms_are_refused_in_one_line(shape):
    for fn in (mel.mel_to_audio, mel.log_mel_to_audio, mel.log_mel_to_mel):
        with pytest.raises(InputError, match=r"^mel: needs [^\n]*; [^\n]*$"):
            fn(np.zeros(shape, np.float32))


def test_short_clips_are_refused_after_long_ones_too():
    "Once a graph serves any length, its check must still hold."
    config = MelConfig(floor=2e-3)
    for n in (8192, 8000, 7000):
        mel.mel_spectrogram(NOISE[:, :n], config)
    with pytest.raises(InputError):
        mel.mel_spectrogram(NOISE[:, :200], config)


# --- real recordings


def test_real_digits_come_back(real_data):
    files = sorted((real_data / "fsdd" / "recordings").glob("*.wav"))[::200]
    clips = np.stack([audio.fix_length(audio_io.load(file)[0], size=8192) for file in files])
    wanted = np.asarray(mel.log_mel(clips))
    achieved = np.asarray(mel.log_mel(mel.log_mel_to_audio(wanted)))
    # in dB; magnitudes and phases in two stages stay at 0.7
    assert np.abs(achieved - wanted).mean() * DB_PER_UNIT < 0.5
