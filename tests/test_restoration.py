from dataclasses import replace

import keras
import numpy as np
import pytest
import soundfile as sf

from gan_audio_tut import audio, audio_io, datasets, degrade, restoration, restoration_net
from gan_audio_tut.audio import InputError
from gan_audio_tut.detection import detect_damage
from gan_audio_tut.restoration import (
    Restorer,
    build_chain,
    choose_tasks,
    estimate_noise,
    restore,
    restore_file,
    restore_folder,
)
from gan_audio_tut.streaming import process_in_chunks


@pytest.fixture(scope="module")
def loud():
    "A small restorer that changes all it may, by a lot."
    keras.utils.set_random_seed(0)
    net = restoration_net.restoration_unet(channels=(4, 4), dim=8, dilations=(1,))
    rng = np.random.default_rng(0)
    net.set_weights(
        [w if w.ndim < 2 else w + 0.05 * rng.standard_normal(w.shape) for w in net.get_weights()]
    )
    return Restorer(net, 8000)


@pytest.fixture
def asked(loud, monkeypatch):
    "`restore` with that one, whatever is asked for."
    monkeypatch.setattr(restoration, "load_restorer", lambda *_: loud)
    return loud


def story(sr, seconds=8, seed=0, channels=1):
    rng, n = np.random.default_rng(seed), round(seconds * sr)
    swell = np.interp(
        np.arange(n) / sr,
        np.arange(0, seconds + 1, 0.25),
        rng.uniform(0.05, 1, 4 * int(seconds + 1)),
    )
    return np.stack(
        [0.1 * degrade.coloured_noise(n, sr, rng, -4) * swell for _ in range(channels)]
    ).astype(np.float32)


@pytest.mark.parametrize("sr", [8000, 11025, 16000, 44100])
@pytest.mark.parametrize(
    "todo", [["denoise"], ["bandwidth"], ["declip"], ["inpaint"], ["declip", "inpaint", "denoise"]]
)
def test_in_pieces_it_is_the_whole(loud, sr, todo):
    rng, y = np.random.default_rng(1), story(sr, channels=2)
    y, _ = (np.stack(v) for v in zip(*(degrade.hard_clip(v, 6) for v in y)))
    y[:, sr : sr + 300] = 0
    found = (
        detect_damage([degrade.band_limit(y[0], sr, 2000)[None]], sr)
        if todo == ["bandwidth"]
        else detect_damage([y], sr)
    )
    local = build_chain(found, todo, loud)
    for size in rng.integers(sr // 2, 5 * sr, 3):
        cuts = np.sort(rng.integers(0, y.shape[1], 20))
        assert (
            np.abs(
                np.concatenate(list(process_in_chunks(local, np.split(y, cuts, 1), int(size))), 1)
                - local.fn(y)
            ).max()
            < 1e-6
        )


@pytest.mark.parametrize("sr", [16000, 22050])
def test_in_pieces_at_16_khz(sr):
    "The shipped one, whose frames are half as long in its hop."
    restorer, y = restoration.load_restorer(16000), story(sr, 6)
    assert (restorer.sr, restorer.hop_length) == (16000, 256)
    local = build_chain(detect_damage([y], sr), ["denoise"], restorer)
    cuts = np.sort(np.random.default_rng(0).integers(0, y.shape[1], 9))
    assert (
        np.abs(
            np.concatenate(list(process_in_chunks(local, np.split(y, cuts, 1), sr)), 1)
            - local.fn(y)
        ).max()
        < 1e-6
    )  # resampled at 20 bits: 1e-5


@pytest.mark.parametrize(
    "sr, name",
    [
        (8000, "restore-8k"),
        (11025, "restore-8k"),
        (12000, "restore-16k"),
        (44100, "restore-16k"),
        (192000, "restore-16k"),
    ],
)
def test_the_nearest_rate(sr, name):
    assert restoration.load_restorer(sr) is restoration.load_restorer(sr, name)


@pytest.mark.parametrize("db", [-10, -20, -30])
def test_softer_in_softer_out(asked, db):
    y = story(8000)[0]
    a, b = restore(y, 8000, task="denoise"), restore(y * audio.db_to_amplitude(db), 8000, task="denoise")
    assert abs(audio.amplitude_to_db(audio.rms(b) / audio.rms(a)) - db) < 0.01


@pytest.mark.parametrize("shape", [(1,), (100,), (12, 5000), (1, 3000)])
@pytest.mark.parametrize("task", restoration.TASKS)
def test_any_shape(asked, shape, task):
    y = (0.1 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)
    out = restore(y, 8000, task=task)
    assert out.shape == y.shape and out.dtype == np.float32 and np.isfinite(out).all()


def test_silence_stays(asked):
    for task in restoration.TASKS:
        assert not restore(np.zeros(9000, np.float32), 8000, task=task).any()


def test_only_what_is_named_is_filled(asked):
    y = story(8000)[0]
    lost = np.zeros(len(y), bool)
    lost[9000:9200] = True
    out = restore(np.where(lost, 0, y).astype(np.float32), 8000, task="inpaint", missing=lost)
    assert np.array_equal(out[~lost], y[~lost]) and out[lost].any()
    with pytest.raises(InputError, match="missing"):
        restore(y, 8000, missing=lost[:-1])
    with pytest.raises(InputError, match="fills no samples"):
        restore(y, 8000, task="denoise", missing=lost)


@pytest.mark.parametrize("sr", [8000, 44100])
def test_what_is_named_is_filled_in_pieces_as_in_the_whole(asked, sr, monkeypatch):
    y, lost = story(sr, channels=2), np.random.default_rng(2).random((2, 8 * sr)) < 1e-3
    y[lost] = 0
    whole = restore(y, sr, missing=lost)
    monkeypatch.setattr(restoration, "_chunk_seconds", lambda *_: 0.7)
    assert (
        np.abs(restore(y, sr, missing=lost) - whole).max() < 1e-5
        and whole[lost].any()
        and np.array_equal(whole[~lost], y[~lost])
    )


def test_half_a_mix_is_half_of_the_way(asked):
    y = story(8000)[0]
    assert np.allclose(
        restore(y, 8000, task="denoise", mix=0.5), (y + restore(y, 8000, task="denoise")) / 2, atol=1e-6
    )
    with pytest.raises(InputError, match="mix"):
        restore(y, 8000, task="denoise", mix=2)


def test_no_such_task(asked):
    with pytest.raises(InputError, match="denoise, declip"):
        restore(story(8000)[0], 8000, task="clean")


@pytest.mark.parametrize("wrong", [{"task": "clean"}, {"mix": 2}])
def test_what_cannot_be_done_is_said_once_and_not_of_each_file(asked, wrong, tmp_path):
    for name in "ab":
        audio_io.save(tmp_path / "in" / f"{name}.wav", story(8000, 1)[0], 8000)
    with pytest.raises(InputError):
        restore_folder(tmp_path / "in", tmp_path / "out", **wrong)


def test_a_format_that_cannot_hold_it_is_named_before_any_work(asked, tmp_path, monkeypatch):
    monkeypatch.setattr(restoration, "detect_damage", lambda *_: pytest.fail("it was examined"))
    audio_io.save(tmp_path / "a.wav", story(96000, 1)[0], 96000)
    with pytest.raises(InputError, match="b.mp3.*48000"):
        restore_file(tmp_path / "a.wav", tmp_path / "b.mp3")


def test_a_run_that_went_on_is_read_again(tmp_path):
    (tmp_path / "config.json").write_text('{"sr": 8000, "hop_length": 128, "frames": 60}')
    found = []
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        restoration_net.restoration_unet(channels=(4, 4), dim=8, dilations=(1,)).save(
            tmp_path / "generator.keras"
        )
        found.append(restoration.load_restorer(8000, tmp_path))
    y = story(8000)
    assert found[0].receptive_field == 60 * 128 and not np.array_equal(*(r(y, 0.1, denoise=1.0) for r in found))
    assert restoration.load_restorer(8000) is restoration.load_restorer(8000, "restore-8k")


def test_auto_leaves_alone_what_the_network_would_leave(loud, monkeypatch):
    y = story(8000)
    found = detect_damage([y], 8000)
    monkeypatch.setattr(restoration, "estimate_noise", lambda *_: -30.0)
    assert choose_tasks(found, loud) == []
    assert choose_tasks(detect_damage([degrade.hard_clip(y[0], 6)[0][None]], 8000), loud) == [
        "declip"
    ]
    monkeypatch.setattr(restoration, "estimate_noise", lambda *_: -5.0)
    assert choose_tasks(found, loud) == ["denoise"]


def test_a_file_keeps_what_it_was(asked, tmp_path):
    audio_io.save(tmp_path / "a.flac", story(44100, 3, channels=2), 44100, "PCM_24")
    restore_file(tmp_path / "a.flac", tmp_path / "b.flac", task="denoise")
    a, b = (audio_io.load(tmp_path / f"{k}.flac", mono=False) for k in "ab")
    assert a[1] == b[1] and a[0].shape == b[0].shape and not np.array_equal(a[0], b[0])
    with pytest.raises(InputError, match="another name"):
        restore_file(tmp_path / "a.flac", tmp_path / "a.flac")


def test_peaks_cut_off_at_full_scale_get_room(asked, tmp_path):
    y, _ = degrade.hard_clip(story(8000)[0], 9)
    audio_io.save(tmp_path / "a.wav", y / np.abs(y).max(), 8000)
    done = restore_file(tmp_path / "a.wav", tmp_path / "b.wav", task="declip")
    z = audio_io.load(tmp_path / "b.wav")[0]
    assert done.tasks == ("declip",) and done.gain_db < 0
    assert (
        np.count_nonzero(np.abs(z) > 0.999) <= 2
        and abs(audio.amplitude_to_db(np.abs(z).max())) < 0.1
    )


def test_moments_of_silence_are_not_noise(loud):
    y = story(8000)
    found = detect_damage([y], 8000)
    assert (
        estimate_noise(loud, replace(found, excerpts=tuple(0 * m for m in found.excerpts)))
        == -np.inf
        < estimate_noise(loud, found)
    )


@pytest.mark.parametrize("sr", [8000, 11025, 22050, 44100, 176400])
def test_pieces_are_cut_in_steps_that_fit_into_memory(loud, sr):
    for task in ("declip", "inpaint", "denoise"):
        assert build_chain(detect_damage([story(sr, 3)], sr), [task], loud).hop <= 2 * sr


def test_whole_words_cut_anywhere_are_left_alone():
    rng = np.random.default_rng(0)
    words = np.concatenate([audio.trim(y, 8000) for y in datasets.digits("test").audio[:24]])
    words = words + 1e-4 * degrade.coloured_noise(len(words), 8000, rng, -3)
    for at in rng.integers(0, len(words) - 12000, 12):
        y = words[at : at + 12000]
        assert np.array_equal(restore(y, 8000), y)


def test_noise_that_one_noise_to_signal_misses_is_not_there(loud, monkeypatch):
    found = detect_damage([story(8000)], 8000)
    heard = {
        how: restoration._noise_to_signal(loud, found, *how) for how in restoration.TEST_TIME_AUGMENTATIONS
    }
    assert len(set(heard.values())) == 3 and estimate_noise(loud, found) == pytest.approx(
        min(heard.values())
    )
    monkeypatch.setattr(
        restoration, "TEST_TIME_AUGMENTATIONS", tuple(how for how in heard if heard[how] > min(heard.values()))
    )
    assert estimate_noise(loud, found) > min(heard.values())


def test_channels_are_heard_one_by_one(loud):
    y = story(8000, 3)
    one, many = (detect_damage([v], 8000) for v in (y, np.repeat(y, 12, 0)))
    assert estimate_noise(loud, many) == pytest.approx(estimate_noise(loud, one), abs=1e-3)


@pytest.mark.parametrize("task", ["denoise", "auto"])
def test_an_offset_changes_nothing(task):
    "Neither what is done nor, the offset apart, what comes out."
    y, _ = degrade.add_noise(
        datasets.digits("test").audio[:3].reshape(-1),
        degrade.coloured_noise(
            3 * datasets.digits("test").audio.shape[1], 8000, np.random.default_rng(0), -3
        ),
        10.0,
    )
    z, moved = restore(y, 8000, task=task), restore(y + np.float32(0.2), 8000, task=task)
    assert (
        not np.array_equal(z, y) and np.abs(moved - 0.2 - z).max() < 2e-3 * np.abs(z).max() + 1e-4
    )


def test_a_clean_sound_with_an_offset_is_left_alone():
    y = np.concatenate(
        [audio.trim(v, 8000) for v in datasets.digits("test").audio[:4]]
    ) + np.float32(0.1)
    assert np.array_equal(restore(y, 8000), y)


def test_what_holds_no_speech_is_left_alone():
    y = 0.1 * degrade.coloured_noise(24000, 8000, np.random.default_rng(0), 0)
    assert (
        estimate_noise(restoration.load_restorer(8000), detect_damage([y[None]], 8000))
        > restoration.NO_SPEECH_DB
    )
    assert np.array_equal(restore(y, 8000), y) and not np.array_equal(
        restore(y, 8000, task="denoise"), y
    )


@pytest.mark.parametrize(
    "name, task", [("a.flac", "denoise"), ("a.flac", "auto"), ("a.ogg", "denoise")]
)
def test_loud_floats_become_softer_in_a_file_of_whole_numbers(asked, tmp_path, name, task):
    sf.write(tmp_path / "loud.wav", 30 * story(8000)[0], 8000, subtype="FLOAT")
    done = restore_file(tmp_path / "loud.wav", tmp_path / name, task=task)
    assert (
        done.gain_db < 0
        and np.count_nonzero(np.abs(audio_io.load(tmp_path / name)[0]) > 0.999) <= 2
    )
    assert (
        restore_file(tmp_path / "loud.wav", tmp_path / "b.wav", task="denoise").tasks == ("denoise",)
        and np.abs(audio_io.load(tmp_path / "b.wav")[0]).max() > 1
    )


def test_what_a_killed_process_has_left_goes(asked, tmp_path):
    audio_io.save(tmp_path / "a.wav", story(8000)[0], 8000)
    for part in (".part-0123ab-b.wav", ".part-0123ab-c.wav"):
        (tmp_path / part).write_bytes(b"half")
    restore_file(tmp_path / "a.wav", tmp_path / "b.wav", task="denoise")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".part-0123ab-c.wav", "a.wav", "b.wav"]


@pytest.mark.parametrize("mix", [None, "half", np.nan, 2, -1])
def test_mixes_that_are_none(mix):
    with pytest.raises(InputError, match="mix"):
        restore(story(8000)[0], 8000, mix=mix)
