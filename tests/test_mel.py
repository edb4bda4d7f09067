"""The mel front end: librosa's figures at any setting, exact ways back, gradients at silence, sounds that do not depend on their neighbours."""

import keras
import librosa
import numpy as np
import pytest
import tensorflow as tf

from gan_audio_tut import audio, audio_io, graphs, mel
from gan_audio_tut.audio import InputError
from gan_audio_tut.mel import MelConfig

NOISE = np.random.default_rng(0).uniform(-1, 1, (3, 8192)).astype(np.float32)


def apart(ours, theirs):
    return np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max()


def settings(seed):
    "Random settings: even n_fft, any hop up to half of it, window and length as they fall."
    rng = np.random.default_rng(seed)
    n_fft = 2 * int(rng.integers(16, 600))
    return (
        n_fft,
        int(rng.integers(1 + n_fft // 16, n_fft // 2 + 1)),
        int(rng.integers(n_fft // 2, n_fft + 1)),
        int(rng.integers(n_fft // 2 + 1, 4000)),
    )


def tone_word(seconds=1.024, sr=8000):
    "A falling pitch with harmonics and a pause: something to invert."
    t = np.arange(int(seconds * sr)) / sr
    turns = 2 * np.pi * np.cumsum(150 - 50 * t) / sr
    return (
        sum(np.sin(k * turns) / k for k in range(1, 20))
        * np.clip(np.sin(np.pi * t / seconds) - 0.2, 0, 1)
        * 0.3
    ).astype(np.float32)


# --- STFT and back


@pytest.mark.parametrize("seed", range(12))
def test_stft_equals_librosa(seed):
    n_fft, hop, win, length = settings(seed)
    real, imag = mel.stft(NOISE[:, :length], n_fft, hop, win)
    theirs = librosa.stft(
        NOISE[:, :length], n_fft=n_fft, hop_length=hop, win_length=win, pad_mode="reflect"
    ).swapaxes(1, 2)
    assert apart(np.asarray(real) + 1j * np.asarray(imag), theirs) < 2e-6


@pytest.mark.parametrize("seed", range(12))
def test_istft_is_exact_to_the_edges(seed):
    n_fft, hop, win, length = settings(seed)
    hop = min(hop, win // 4)
    back = mel.istft(*mel.stft(NOISE[:, :length], n_fft, hop, win), hop, length, win)
    assert np.abs(np.asarray(back) - NOISE[:, :length]).max() < 1e-5


@pytest.mark.parametrize("seed", range(4))
def test_istft_of_any_frames_equals_librosa(seed):
    "Not only of consistent ones: the least-squares inverse."
    rng = np.random.default_rng(seed)
    frames = rng.standard_normal((2, 20, 129)) + 1j * rng.standard_normal((2, 20, 129))
    frames[..., [0, -1]] = frames[..., [0, -1]].real
    ours = mel.istft(frames.real.astype("f"), frames.imag.astype("f"), 64, 19 * 64)
    assert apart(ours, librosa.istft(frames.swapaxes(1, 2), hop_length=64, length=19 * 64)) < 1e-5


def test_parseval():
    real, imag = (np.asarray(part, float) for part in mel.stft(NOISE, 512, 128))
    power = real**2 + imag**2
    energy = (power[..., 0] + 2 * power[..., 1:-1].sum(-1) + power[..., -1]) / 512
    padded = np.pad(NOISE, [(0, 0), (256, 256)], mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 512, axis=1)[:, ::128] * mel.hann(
        512, 512
    )
    assert np.allclose(energy, (frames.astype(float) ** 2).sum(-1), rtol=1e-5)


@pytest.mark.parametrize("n_fft, k, amplitude", [(512, 64, 0.5), (256, 10, 1.0), (1024, 300, 0.01)])
def test_a_sine_has_the_magnitude_that_algebra_says(n_fft, k, amplitude):
    y = audio.tone(k * 8000 / n_fft, 1, 8000, amplitude=amplitude)
    mags = np.asarray(mel.magnitude(*mel.stft(y[None], n_fft, n_fft // 4)))[0, 8:-8]
    assert (mags.argmax(1) == k).all() and np.allclose(mags[:, k], amplitude * n_fft / 4, rtol=1e-3)


def test_frames_of_any_hop():
    for n, hop in [(8, 1), (8, 3), (7, 7), (5, 9), (512, 128)]:
        theirs = np.lib.stride_tricks.sliding_window_view(NOISE, n, axis=1)[:, ::hop]
        assert np.array_equal(mel.frame(NOISE, n, hop), theirs), (n, hop)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_other_floats_are_taken_as_float32(dtype):
    y = tf.cast(NOISE, dtype)
    assert (
        apart(
            mel.mel_spectrogram(y),
            np.asarray(mel.mel_spectrogram(np.asarray(tf.cast(y, "float32")))),
        )
        < 1e-6
    )


# --- mel


@pytest.mark.parametrize("seed", range(12))
def test_mel_equals_librosa(seed):
    n_fft, hop, _, length = settings(seed)
    rng = np.random.default_rng(100 + seed)
    sr = int(rng.choice([8000, 16000, 22050, 44100]))
    c = MelConfig(
        sr,
        n_fft,
        hop,
        int(rng.integers(4, 40)),
        float(rng.choice([0, 30])),
        float(rng.choice([sr / 2, sr / 2.7])),
    )
    theirs = librosa.filters.mel(sr=sr, n_fft=n_fft, n_mels=c.n_mels, fmin=c.fmin, fmax=c.fmax).T
    assert np.abs(c.filterbank - theirs).max() <= 1e-6 * theirs.max()
    theirs = librosa.feature.melspectrogram(
        y=NOISE[:, :length],
        sr=sr,
        n_fft=n_fft,
        hop_length=hop,
        n_mels=c.n_mels,
        fmin=c.fmin,
        fmax=c.fmax,
        power=1,
        pad_mode="reflect",
    ).swapaxes(1, 2)
    assert apart(mel.mel_spectrogram(NOISE[:, :length], c), theirs) < 1e-5


def test_mel_scale_equals_librosa_and_inverts():
    f = np.linspace(0, 24000, 500)
    assert np.allclose(mel.hz_to_mel(f), librosa.hz_to_mel(f)) and np.allclose(
        mel.mel_to_hz(mel.hz_to_mel(f)), f
    )


def test_shared_arrays_cannot_be_spoiled():
    for shared in (mel.hann(512, 512), MelConfig().filterbank):
        with pytest.raises(ValueError):
            shared[0] = 1


def test_picture_and_back():
    c = MelConfig(floor=1e-2, max_value=7)
    levels = np.geomspace(1e-2, 7, 100).astype(np.float32)
    p = np.asarray(mel.normalize(levels, c))
    assert np.allclose(p, np.linspace(-1, 1, 100), atol=1e-5) and np.allclose(
        mel.denormalize(p, c), levels, rtol=1e-5
    )
    assert np.allclose(mel.normalize(np.float32([0, 1e-9, 8, 1e9]), c), [-1, -1, 1, 1])


def test_picture_shape_drops_the_last_frame():
    assert mel.log_mel(NOISE).shape == (3, 64, 64)
    assert np.allclose(
        mel.log_mel(NOISE), mel.normalize(mel.mel_spectrogram(NOISE))[:, :-1], atol=1e-5
    )


# --- gradients


def gradient(f, y):
    y = tf.Variable(y)
    with tf.GradientTape() as tape:
        total = keras.ops.sum(f(y))
    return np.asarray(tape.gradient(total, y))


@pytest.mark.parametrize(
    "f",
    [mel.mel_spectrogram, mel.log_mel, lambda y: mel.magnitude(*mel.stft(y))],
    ids=["mel", "picture", "magnitude"],
)
def test_gradients_are_finite_at_silence(f):
    y = NOISE.copy()
    y[0], y[1, 2000:6000] = 0, 0
    grad = gradient(f, y)
    assert np.isfinite(grad).all() and np.abs(grad[2]).max() > 0 and (grad[0] == 0).all()


def test_gradient_against_finite_differences():
    y, direction = NOISE[:1].astype(float), np.random.default_rng(1).standard_normal((1, 8192))
    slope = (gradient(mel.mel_spectrogram, y.astype("f")) * direction).sum()

    def total(y):  # in double precision, by NumPy alone
        padded = np.pad(y, [(0, 0), (256, 256)], mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, 512, axis=1)[:, ::128] * mel.hann(
            512, 512
        )
        return (np.abs(np.fft.rfft(frames)) @ MelConfig().filterbank).sum()

    h = 1e-5
    assert slope == pytest.approx(
        (total(y + h * direction) - total(y - h * direction)) / (2 * h), rel=1e-4
    )


# --- compiled


def test_compiled_is_the_same_function():
    plain = lambda y: mel._mel_spectrogram.__wrapped__(y, MelConfig())
    assert apart(mel.mel_spectrogram(NOISE), np.asarray(plain(NOISE))) < 1e-6
    assert apart(gradient(mel.mel_spectrogram, NOISE), gradient(plain, NOISE)) < 1e-5
    assert np.allclose(
        mel.mel_spectrogram(y=NOISE, config=MelConfig()), mel.mel_spectrogram(NOISE), rtol=1e-5
    )


def test_compiled_steps_aside_inside_graphs_and_models():
    expected = np.asarray(mel.log_mel(NOISE))
    inputs = keras.Input((8192,))
    model = keras.Model(inputs, mel.log_mel(inputs))
    assert apart(model(NOISE), expected) < 1e-6
    assert apart(tf.function(mel.log_mel)(tf.constant(NOISE)), expected) < 1e-6
    mapped = tf.data.Dataset.from_tensors(NOISE).map(mel.log_mel)
    assert apart(next(iter(mapped)), expected) < 1e-6


def test_compiled_traces_once_for_a_setting_and_then_for_any_shape():
    traces = []

    @graphs.graph_cached
    def twice(y, factor=2.0):
        traces.append(factor)
        return y * factor

    for n in range(1, 12):
        for samples in (10, 20 + n):
            assert np.array_equal(twice(np.ones((n, samples))), np.full((n, samples), 2.0))
    assert len(traces) <= 4
    assert (
        np.array_equal(twice(np.ones((1, 3)), factor=5.0), [[5, 5, 5]]) and traces.count(5.0) == 1
    )


def test_batch_size_changes_nothing():
    alone = np.concatenate([mel.mel_spectrogram(NOISE[i : i + 1]) for i in range(3)])
    assert apart(mel.mel_spectrogram(NOISE), alone) < 1e-6


# --- bands to bins to sound


def test_updates_are_non_negative_and_the_divergence_never_rises():
    target = np.asarray(mel.mel_spectrogram(tone_word()[None]), float) + 1e-4
    divergence = []
    for steps in (1, 2, 3, 5, 8, 20):
        mag = np.asarray(mel.mel_to_magnitude(target, n_iter=steps))
        found = mag.astype(float) @ MelConfig().filterbank
        divergence.append((target * np.log(target / found) - target + found).sum())
        assert mag.min() >= 0 and np.isfinite(mag).all()
    assert np.all(np.diff(divergence) < 0) and divergence[-1] < 0.01 * divergence[0]


def test_griffin_lim_equals_librosa_from_the_same_phases():
    mag = np.asarray(mel.magnitude(*mel.stft(tone_word()[None])))
    for momentum in (0.0, 0.9):
        theirs = librosa.griffinlim(
            mag[0].T,
            n_iter=12,
            hop_length=128,
            length=8192,
            pad_mode="reflect",
            init=None,
            momentum=momentum,
        )
        assert (
            apart(mel._griffin_lim_loop((mag, 0 * mag, mag), 128, 8192, 12, momentum)[0], theirs)
            < 1e-3
        )


@pytest.mark.parametrize("shape", [(64, 257), (1, 64, 256), (1, 2, 257)], ids=str)
def test_griffin_lim_refuses_what_is_no_spectrogram(shape):
    with pytest.raises(InputError, match="^griffin_lim: [^\n]*; [^\n]*$"):
        mel.griffin_lim(np.ones(shape, np.float32))


def test_sound_depends_on_the_seed_alone():
    p = np.asarray(mel.log_mel(np.stack([tone_word(), NOISE[0] * 0.1])))
    first = np.asarray(mel.log_mel_to_audio(p))
    assert np.array_equal(mel.log_mel_to_audio(p), first)
    assert np.abs(np.asarray(mel.log_mel_to_audio(p, random_state=1)) - first).max() > 0.01
    assert (
        np.abs(np.asarray(mel.log_mel_to_audio(p[1:]))[0] - first[1]).max() < 1e-4
    )  # not on the batch
    mag = np.asarray(mel.magnitude(*mel.stft(tone_word()[None])))
    assert np.array_equal(
        mel.griffin_lim(mag, random_state=3), mel.griffin_lim(mag, random_state=3)
    )


def test_more_rounds_come_closer():
    mag = np.asarray(mel.magnitude(*mel.stft(tone_word()[None])))
    off = [
        np.linalg.norm(np.asarray(mel.magnitude(*mel.stft(mel.griffin_lim(mag, n_iter=n)))) - mag)
        / np.linalg.norm(mag)
        for n in (0, 4, 32)
    ]
    assert off[2] < 0.3 * off[1] < 0.3 * off[0]


def test_restoring_bands_beats_fixed_bins():
    bands = np.asarray(mel.mel_spectrogram(tone_word()[None]))

    def dB(y):
        return (
            np.abs(np.asarray(mel.normalize(mel.mel_spectrogram(y)) - mel.normalize(bands))).mean()
            * 34.8
        )

    assert dB(mel.mel_to_audio(bands)) < 0.6 * dB(mel.griffin_lim(mel.mel_to_magnitude(bands)))


@pytest.mark.parametrize(
    "c",
    [MelConfig(), MelConfig(16000, 400, 160, 40, fmax=7000.0), MelConfig(8000, 256, 64, 32)],
    ids=str,
)
def test_picture_to_audio_has_the_picture(c):
    y = tone_word(1.024, c.sr)
    p = np.asarray(mel.log_mel(y[None], c))
    back = np.asarray(mel.log_mel_to_audio(p, c))
    assert (
        back.shape == (1, p.shape[1] * c.hop_length)
        and np.isfinite(back).all()
        and np.abs(back).max() <= 1
    )
    again = np.asarray(mel.log_mel(back, c))
    assert np.abs(again[:, : p.shape[1]] - p).mean() < 0.05


def test_silence_comes_back_as_silence():
    assert np.abs(np.asarray(mel.log_mel_to_audio(-np.ones((2, 64, 64), np.float32)))).max() < 1e-6


def test_any_picture_gives_finite_sound():
    wild = np.random.default_rng(0).uniform(-1, 1, (4, 64, 64)).astype(np.float32)
    assert np.isfinite(np.asarray(mel.log_mel_to_audio(wild))).all()


# --- refusals


@pytest.mark.parametrize(
    "bad",
    [
        dict(fmin=-1),
        dict(fmax=4001),
        dict(fmin=3000, fmax=2000),
        dict(fmax=0),
        dict(n_fft=511),
        dict(hop_length=0),
        dict(hop_length=257),
        dict(floor=0),
        dict(floor=3),
    ],
    ids=str,
)
def test_unfit_settings_are_refused_in_one_line(bad):
    with pytest.raises(InputError, match="^MelConfig: [^\n]*; give [^\n]*$"):
        MelConfig(**bad)


@pytest.mark.parametrize("shape", [(8192,), (1, 1, 8192), (1, 256), (1, 0)], ids=str)
def test_unfit_batches_are_refused_in_one_line(shape):
    for f in (mel.stft, mel.mel_spectrogram, mel.log_mel):
        with pytest.raises(InputError, match="^stft: needs [^\n]*; [^\n]*$"):
            f(np.zeros(shape, np.float32))


@pytest.mark.parametrize("shape", [(64, 64), (1, 64, 63), (64,), (1, 1, 64, 64)], ids=str)
def test_unfit_pictures_are_refused_in_one_line(shape):
    for f in (mel.mel_to_audio, mel.log_mel_to_audio):
        with pytest.raises(InputError, match="^mel: needs [^\n]*; [^\n]*$"):
            f(np.zeros(shape, np.float32))


def test_short_clips_are_refused_after_long_ones_too():
    "Once a graph serves any length, its check must still hold."
    c = MelConfig(floor=2e-3)
    for n in (8192, 8000, 7000):
        mel.mel_spectrogram(NOISE[:, :n], c)
    with pytest.raises(InputError):
        mel.mel_spectrogram(NOISE[:, :200], c)


# --- real recordings


def test_real_digits_come_back(real_data):
    files = sorted((real_data / "fsdd" / "recordings").glob("*.wav"))[::200]
    clips = np.stack([audio.fix_length(audio_io.load(f)[0], 8192) for f in files])
    p = np.asarray(mel.log_mel(clips))
    again = np.asarray(mel.log_mel(mel.log_mel_to_audio(p)))
    assert np.abs(again - p).mean() * 34.8 < 0.5  # dB; the two-stage way stays at 0.7


def test_gradient_by_variables_of_any_batch():
    "A variable's handle once kept the shape of the first: after a graph for all shapes is there, no batch may meet another's."
    for batch in (2, 4, 1, 5, 3):
        assert gradient(mel.mel_spectrogram, np.resize(NOISE, (batch, 8192))).shape == (batch, 8192)
