"""The vocoder: its head, its trips, what it learns from, and who listens."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from gan_audio_tut import (
    audio,
    audio_io,
    datasets,
    discriminators,
    fidelity,
    mel,
    specgan,
    training,
    vocoder,
    vocoder_training,
    weights,
)
from gan_audio_tut.mel import MelConfig, mel_spectrogram
from gan_audio_tut.vocoder import build_vocoder
from gan_audio_tut.vocoder_training import VocoderConfig, build_vocoder_gan

SMALL = VocoderConfig(dim=32, blocks=1, n_iter=1, d_channels=8, batch_size=2, frames=16)


@pytest.fixture(scope="module")
def words():
    return datasets.digits("train").take(slice(0, 40, 4))


@pytest.fixture(scope="module")
def sounds(words):
    return vocoder_training.random_word_sequences(words, 12, 4096)


@pytest.mark.parametrize(
    "config", [MelConfig(), MelConfig(16000, 1024, 256, 80), MelConfig(8000, 256, 64, 32)]
)
def test_any_length_and_every_clip_for_itself(config):
    net, bands = (
        build_vocoder(config, dim=32, blocks=1),
        np.abs(np.random.default_rng(0).standard_normal((3, 30, config.n_mels))).astype("float32"),
    )
    y = np.array(net(bands))
    assert y.shape == (3, 29 * config.hop_length) and np.isfinite(y).all()
    assert np.allclose(net(bands[1:2])[0], y[1], atol=1e-5)


def test_a_trip_keeps_a_sound_that_has_these_bands(words):
    y = words.audio[:2] + audio.tone(440, 1.024, 8000) * 0.1
    bands = mel_spectrogram(y)
    start = mel.mel_to_magnitude(bands)
    kept = np.array(vocoder.magnitude_projection(y, bands, start, MelConfig(), 0.0))
    assert (
        np.abs(kept - y).max() < 0.02 * np.abs(y).max()
    )  # no band holds the first and the last bin
    leant = np.array(vocoder.magnitude_projection(y, bands, start, MelConfig(), 1.0))
    far = lambda v: np.abs(
        np.log(mel.magnitude(*mel.stft(v, 512, 128), 1e-4)) - np.log(np.maximum(start, 1e-4))
    )[..., 1:-1].mean()
    assert far(leant) < 0.8 * far(y)


def test_trips_bring_the_bands_nearer(words):
    bands = mel_spectrogram(words.audio)
    nets = [build_vocoder(dim=32, blocks=1, n_iter=n, magnitude_weight=0.0) for n in (0, 2, 8)]
    for n in nets[1:]:
        n.set_weights(nets[0].get_weights())
    far = [np.abs(np.array(mel_spectrogram(n(bands))) - bands).mean() for n in nets]
    assert far[2] < far[1] < 0.7 * far[0]


def test_it_survives_the_disc(tmp_path, words):
    from gan_audio_tut.runs import save_model

    net, bands = (
        build_vocoder(dim=32, blocks=1, n_iter=3, magnitude_weight=0.1),
        mel_spectrogram(words.audio[:2]),
    )
    save_model(tmp_path / "v.keras", net)
    assert np.array_equal(weights.load_model(tmp_path / "v.keras")(bands), net(bands))


def test_batches_are_pure_and_differ(sounds):
    batch = vocoder_training.segment_batches(sounds, MelConfig(), 4, 2048)
    (bands,), y = batch(3, 5)
    assert (
        np.array_equal(batch(3, 5)[1], y)
        and not np.array_equal(batch(3, 6)[1], y)
        and not np.array_equal(batch(4, 5)[1], y)
    )
    assert y.shape == (4, 2048) and np.allclose(bands, mel_spectrogram(y)) and np.abs(y).max() < 1.1


def test_silence_among_the_sounds_is_no_nan(sounds):
    (bands,), y = vocoder_training.segment_batches(0 * sounds, MelConfig(), 4, 2048)(0, 0)
    assert np.isfinite(y).all() and np.isfinite(bands).all()


def test_joined_words_follow_each_other(words):
    y = vocoder_training.random_word_sequences(words, 5, 16000, gap=0.05)
    loud = np.abs(y.reshape(5, -1, 400)).max(2) > 0.01
    assert y.shape == (5, 16000) and loud.mean() > 0.7
    assert np.array_equal(
        y, vocoder_training.random_word_sequences(words, 5, 16000, gap=0.05)
    ) and not np.array_equal(
        y, vocoder_training.random_word_sequences(words, 5, 16000, seed=1, gap=0.05)
    )
    with pytest.raises(audio.InputError, match="nothing but silence"):
        vocoder_training.random_word_sequences(replace(words, audio=0 * words.audio), 1, 800)


def test_lessons_mix_voices_words_and_hisses(tmp_path, words):
    for k in range(3):
        audio_io.save(tmp_path / f"{k}.wav", audio.tone(200 + 100 * k, 3, 16000), 16000)
    y = vocoder_training.training_sounds(words, 16000, 8000, tmp_path)
    assert y.shape[1] == 8000 and 18 <= len(y) <= 26 and y.dtype == np.float32
    assert np.array_equal(y, vocoder_training.training_sounds(words, 16000, 8000, tmp_path))


def test_hum_and_texture_of_what_is_known():
    noise = np.random.default_rng(1).standard_normal((6, 16384)).astype("float32")
    t = np.arange(16384) / 8000
    assert (
        0.6 < vocoder_training.hop_rate_periodicity(noise, 8000, 62.5) < 1.5
        and abs(vocoder_training.log_magnitude_std(noise) - 5.57) < 0.1
    )
    assert (
        vocoder_training.hop_rate_periodicity(
            noise * (1 + 0.5 * np.sin(2 * np.pi * 62.5 * t)), 8000, 62.5
        )
        > 10
    )
    assert (
        vocoder_training.hop_rate_periodicity(
            noise * (1 + 0.5 * np.sin(2 * np.pi * 90 * t)), 8000, 62.5
        )
        < 1.5
    )  # another pace
    assert (
        abs(
            vocoder_training.log_magnitude_std(10 * noise)
            - vocoder_training.log_magnitude_std(noise)
        )
        < 1e-3
    )
    assert (
        vocoder_training.hop_rate_periodicity(np.tile(noise[:, :128], (1, 128)), 8000, 62.5) > 1e3
    )


def test_without_a_say_the_opponent_changes_nothing(sounds):
    nets = []
    for d_rate in (1e-3, 1e-1):
        state = build_vocoder_gan(sounds, recipe=replace(SMALL, adversarial=0, d_lr=d_rate))
        training.fit(state, steps=3, progress=False)
        nets.append(state.task.generator.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*nets))


def test_with_a_say_it_does(sounds):
    nets = []
    for weight in (0.01, 1.0):
        state = build_vocoder_gan(
            sounds, recipe=replace(SMALL, adversarial=weight, periods=(3,), feature_matching=1.0)
        )
        rows = training.fit(state, steps=2, progress=False)
        nets.append(state.task.generator.get_weights())
        assert {"mel", "stft", "features", "d_loss"} <= rows[-1].keys() and np.isfinite(
            list(rows[-1].values())
        ).all()
    assert not all(np.array_equal(a, b) for a, b in zip(*nets))


def test_start_is_where_it_begins_and_the_rate_falls(sounds):
    first = build_vocoder(dim=32, blocks=1, n_iter=1)
    state = build_vocoder_gan(sounds, recipe=replace(SMALL, decay_steps=10), start=first)
    same = lambda net, other: all(
        np.array_equal(a, b) for a, b in zip(net.get_weights(), other.get_weights(), strict=True)
    )
    assert same(
        build_vocoder_gan(sounds, recipe=replace(SMALL, adversarial=0), start=first).job.generator,
        first,
    )
    assert same(state.task.generator, vocoder_training.set_noise_excitation(first)) and not same(
        state.task.generator, first
    )
    rate = state.g_optimizer._learning_rate
    assert np.isclose(float(rate(0)), 1e-3) and np.isclose(float(rate(10)), 2e-5)


def test_panel_is_its_listeners_side_by_side():
    a, b = (
        discriminators.resolution_discriminator(16, 4),
        discriminators.period_discriminator(512, 3),
    )
    x, y = (
        np.random.default_rng(0).standard_normal((2, 64, 16)).astype("float32"),
        np.random.default_rng(1).standard_normal((2, 512)).astype("float32"),
    )
    logits, *features = discriminators.MultiDiscriminator([a, b])([x, y])
    assert (
        np.allclose(logits, np.concatenate([a(x)[0], b(y)[0]], 1), atol=1e-6) and len(features) == 8
    )


def test_a_period_listener_reads_columns():
    "A change of one sample in column 1 changes nothing that is said of columns 0 and 2."
    net, y = discriminators.period_discriminator(1024, 3), np.zeros((1, 1024), np.float32)
    touched = y.copy()
    touched[0, 301] = 1
    changed = np.abs(net(touched)[1] - net(y)[1])[0].max((0, 2))
    assert changed[1] > 0 and changed[0] == changed[2] == 0


@pytest.mark.parametrize("bad", [np.zeros(4096), np.zeros((2, 100)), np.full((2, 4096), np.nan)])
def test_what_is_no_sound_is_named(bad):
    with pytest.raises(audio.InputError, match="give \\(n, samples\\), finite, at least 2048"):
        build_vocoder_gan(bad, recipe=SMALL)


def test_pictures_are_spoken_by_a_vocoder(words):
    config = MelConfig()
    pictures = specgan.to_log_mel(words.audio[:3], config)
    y = specgan.decode_audio(
        pictures,
        config,
        batch_size=2,
        vocoder=lambda bands: mel.mel_to_audio(bands, config, n_iter=8),
    )
    again = specgan.decode_audio(pictures, config)
    assert y.shape == again.shape == (3, 8192) and 0 < np.abs(y - again).max()
    assert (
        abs(
            audio.amplitude_to_db(audio.rms(y.reshape(-1)))
            - audio.amplitude_to_db(audio.rms(again.reshape(-1)))
        )
        < 1
    )


def test_breath_is_the_bands_own():
    "The same for the same bands, whatever the batch and the length; standard normal; another for other bands."
    bands = np.abs(np.random.default_rng(0).standard_normal((40, 30, 64))).astype("float32")
    drawn = np.array(vocoder.noise_excitation(bands, 257))
    assert (
        drawn.shape == (2, 40, 30, 257) and abs(drawn.mean()) < 0.01 and abs(drawn.std() - 1) < 0.01
    )
    assert np.array_equal(drawn[:, 5:6, :12], vocoder.noise_excitation(bands[5:6, :12], 257))
    assert len({drawn[0, k, 0, 0] for k in range(40)}) > 30


def test_a_breath_of_fresh_networks_comes_back(words):
    net, bands = build_vocoder(dim=16, blocks=1, n_iter=0), mel_spectrogram(words.audio[:2])
    *rest, kernel, bias = net.get_weights()
    bias[-257:] = -30
    net.set_weights([*rest, kernel, bias])
    assert (
        np.abs(np.array(vocoder_training.set_noise_excitation(net)(bands)) - net(bands)).max()
        > 0.01
    )


def test_features_of_a_listener_that_does_not_learn_are_refused(sounds):
    with pytest.raises(audio.InputError, match="give adversarial more than 0"):
        build_vocoder_gan(sounds, recipe=replace(SMALL, adversarial=0, feature_matching=1.0))


def test_half_precision_elsewhere_leaves_the_head_whole():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        net = build_vocoder(dim=16, blocks=1)
    finally:
        keras.config.set_dtype_policy("float32")
    y = net(np.ones((1, 20, 64), np.float32))
    assert (
        y.dtype == "float32"
        and np.isfinite(y).all()
        and any(l.compute_dtype == "bfloat16" for l in net.layers)
    )


@pytest.mark.parametrize("name", ["vocoder-8k", "vocoder-16k"])
def test_shipped_vocoder_is_steady_and_quiet_where_nothing_is(name):
    net, config = weights.load_model(name), MelConfig(**weights.model_card(name)["mel"])
    y = vocoder_training.modulated_noise(2, 64 * config.hop_length, seed=5)
    bands = mel_spectrogram(y, config)
    copied = np.asarray(net(bands))
    assert (
        copied.shape == y.shape
        and np.isfinite(copied).all()
        and np.array_equal(copied, np.asarray(net(bands)))
    )
    assert np.abs(np.asarray(net(0 * bands))).max() < 1e-3
    steady = np.asarray(
        net(
            mel_spectrogram(
                0.05
                * np.random.default_rng(0)
                .standard_normal((4, 128 * config.hop_length))
                .astype(np.float32),
                config,
            )
        )
    )
    assert (
        vocoder_training.hop_rate_periodicity(steady, config.sr, config.sr / config.hop_length) < 12
        and vocoder_training.log_magnitude_std(steady, config.n_fft) > 4
    )  # a copyist: about 29, about 4.2


def test_shipped_vocoder_copies_words_nearer_than_librosa():
    import librosa

    clips, net = datasets.digits("test"), weights.load_model("vocoder-8k")
    words = clips.audio[np.linspace(0, len(clips) - 1, 10).astype(int)]
    bands = np.asarray(mel_spectrogram(words))
    bins = librosa.feature.inverse.mel_to_stft(
        bands.transpose(0, 2, 1), sr=8000, n_fft=512, power=1.0
    )
    theirs = librosa.griffinlim(bins, n_iter=60, hop_length=128, pad_mode="reflect")
    far = lambda y: float(sum(fidelity.multi_resolution_stft(words, y).values()))
    assert far(np.asarray(net(bands))) < 0.95 * far(theirs)


@pytest.mark.parametrize(
    "wrong",
    [
        dict(loss="nope"),
        dict(loss="feature_matching"),
        dict(windows=()),
        dict(windows=(0,)),
        dict(periods=(0,)),
        dict(batch_size=0),
        dict(frames=3),
        dict(ema=1.0),
        dict(r1=-1),
        dict(lean=1.5),
        dict(rate=0),
        dict(fall=-1),
        dict(width=0),
    ],
)
def test_recipes_that_make_no_sense_are_refused(wrong):
    with pytest.raises(audio.InputError):
        VocoderConfig(**wrong)


def test_a_window_shorter_than_a_spectrum_is_refused():
    with pytest.raises(audio.InputError, match="resolutions"):
        vocoder_training.build_discriminators(MelConfig(), VocoderConfig(resolutions=(1, 100)))


def test_vocode_asks_before_it_answers(words):
    net, bands = weights.load_model("vocoder-8k"), np.asarray(mel_spectrogram(words.audio[:2]))
    assert np.array_equal(vocoder.vocode(bands), vocoder.vocode(bands.astype("float64"), net))
    shortest = vocoder.vocode(bands[:, :4])
    assert shortest.shape == (2, 3 * 128) and np.isfinite(shortest).all()
    for other in ("voice-8k", "specgan-8k", "classifier-8k", None, 5, lambda bands: bands):
        with pytest.raises(audio.InputError, match="is no vocoder"):
            vocoder.vocode(bands, other)
    with pytest.raises(audio.InputError, match="^voice-8k: is no vocoder"):
        vocoder.vocode(bands, "voice-8k")
    for wrong in (
        "bands",
        bands[0],
        bands[:0],
        bands[:, :3],
        bands[..., :-1],
        audio.amplitude_to_db(bands),
        np.where(bands > 0.1, np.nan, bands),
        bands * 32768,
        bands + 0j,
    ):
        with pytest.raises(audio.InputError, match="bands: "):
            vocoder.vocode(wrong)


def test_pictures_of_other_settings_are_refused(words):
    net, config = weights.load_model("vocoder-8k"), MelConfig()
    pictures = np.asarray(mel.log_mel(words.audio[:1], config))
    specgan.decode_audio(
        pictures, replace(config, max_value=2.0), vocoder=net
    )  # the picture's affair
    for wrong in (MelConfig(16000), MelConfig(8000, 1024, 256)):
        with pytest.raises(audio.InputError, match="learned"):
            specgan.decode_audio(pictures, wrong, vocoder=net)
    with pytest.raises(audio.InputError, match="is no vocoder"):
        specgan.decode_audio(pictures, config, vocoder=weights.load_model("specgan-8k"))
    for made in (pictures[0, 0], pictures[:0], pictures * np.nan):
        with pytest.raises(audio.InputError):
            specgan.decode_audio(made, config, vocoder=net)


def test_the_lsd_as_a_term_is_the_figure_in_nepers(words):
    y = words.audio[:1, :8192]
    noisy = (y + 0.01 * np.random.default_rng(0).standard_normal(y.shape)).astype(np.float32)
    term = float(vocoder_training.reconstruction_losses(MelConfig())["lsd"](None, y, noisy))
    assert term * 20 / np.log(10) == pytest.approx(
        fidelity.log_spectral_distance(y[0], noisy[0]), rel=0.01
    )


def test_own_is_where_a_trip_leans_to_and_is_kept(tmp_path, words):
    bands, nets = (
        mel_spectrogram(words.audio[:2], MelConfig()),
        {
            (own, lean): build_vocoder(
                dim=8, blocks=1, n_iter=1, magnitude_weight=lean, learned_magnitude=own
            )
            for own in (False, True)
            for lean in (0.0, 1.0)
        },
    )
    rng = np.random.default_rng(0)
    kept = [w + 0.1 * rng.standard_normal(w.shape) for w in nets[False, 0.0].get_weights()]
    for net in nets.values():
        net.set_weights(kept)
    out = {k: np.array(net(bands)) for k, net in nets.items()}
    assert np.array_equal(out[False, 0.0], out[True, 0.0])  # who does not lean leans to nothing
    assert np.abs(out[False, 1.0] - out[True, 1.0]).max() > 0.01 * np.abs(out[True, 1.0]).max()
    nets[True, 1.0].save(tmp_path / "own.keras")
    again = weights.load_model(tmp_path / "own.keras")
    assert again.layers[-1].own and np.allclose(np.array(again(bands)), out[True, 1.0], atol=1e-6)
