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
    RestoreStatus,
    build_chain,
    choose_tasks,
    estimate_noise,
    restore,
    restore_file,
    restore_folder,
    write_report,
)
from gan_audio_tut.streaming import process_in_chunks


def tiny_network(seed=0):
    keras.utils.set_random_seed(seed)
    return restoration_net.restoration_unet(channels=(4, 4), dim=8, dilations=(1,))


@pytest.fixture(scope="module")
def strong():
    "A small restorer that changes all it may, by a lot."
    net, rng = tiny_network(), np.random.default_rng(0)
    net.set_weights(
        [w if w.ndim < 2 else w + 0.05 * rng.standard_normal(w.shape) for w in net.get_weights()]
    )
    return Restorer(net, 8000)


@pytest.fixture
def default_strong(strong, monkeypatch):
    "`restore` with that one, whatever model is asked for."
    monkeypatch.setattr(restoration, "load_restorer", lambda *_: strong)
    return strong


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    "The folder of a run with a small untrained restorer."
    folder = tmp_path_factory.mktemp("run")
    (folder / "config.json").write_text('{"sr": 8000, "hop_length": 128}')
    tiny_network().save(folder / "generator.keras")
    return folder


def modulated_noise(sr, seconds=8, seed=0, channels=1):
    rng, n = np.random.default_rng(seed), round(seconds * sr)
    knots = np.arange(0, seconds + 1, 0.25)
    gains = rng.uniform(0.05, 1, 4 * int(seconds + 1))
    envelope = np.interp(np.arange(n) / sr, knots, gains)
    noises = [degrade.coloured_noise(n, sr, rng, slope_db=-4) for _ in range(channels)]
    return np.stack([0.1 * noise * envelope for noise in noises]).astype(np.float32)


def in_random_chunks(chain, y, size, n_cuts, rng):
    cuts = np.sort(rng.integers(0, y.shape[1], n_cuts))
    return np.concatenate(list(process_in_chunks(chain, np.split(y, cuts, 1), int(size))), 1)


def spoken_words(n):
    return [audio.trim(y, 8000) for y in datasets.digits("test").audio[:n]]


@pytest.mark.parametrize("sr", [8000, 11025, 16000, 44100])
@pytest.mark.parametrize(
    "tasks", [["denoise"], ["bandwidth"], ["declip"], ["inpaint"], ["declip", "inpaint", "denoise"]]
)
def test_chunks_equal_the_whole(strong, sr, tasks):
    rng, y = np.random.default_rng(1), modulated_noise(sr, channels=2)
    y = np.stack([degrade.hard_clip(channel, clip_db=6)[0] for channel in y])
    y[:, sr : sr + 300] = 0
    narrow = degrade.band_limit(y[0], sr, cutoff=2000)[None]
    report = detect_damage([narrow if tasks == ["bandwidth"] else y], sr)
    chain = build_chain(report, tasks, strong)
    whole = chain.fn(y)
    for size in rng.integers(sr // 2, 5 * sr, 3):
        assert np.abs(in_random_chunks(chain, y, size, 20, rng) - whole).max() < 1e-6


@pytest.mark.parametrize("sr", [16000, 22050])
def test_chunks_equal_the_whole_at_16_khz(sr):
    "The pretrained one, whose hop is half a window."
    restorer, y = restoration.load_restorer(16000), modulated_noise(sr, 6)
    assert (restorer.sr, restorer.hop_length) == (16000, 256)
    chain = build_chain(detect_damage([y], sr), ["denoise"], restorer)
    chunked = in_random_chunks(chain, y, sr, 9, np.random.default_rng(0))
    assert np.abs(chunked - chain.fn(y)).max() < 1e-6  # resampled at 20 bits: 1e-5


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


def test_one_trace_for_every_shape(run):
    restorer = restoration.load_restorer(8000, run)
    for shape in ((1, 20000), (2, 17000), (1, 30000), (3, 100)):
        y = 0.1 * np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        restorer(y, 0.1, denoise=1.0)
    assert restorer._run.experimental_get_tracing_count() == 1


def test_a_folder_loads_and_traces_its_model_once(run, tmp_path, monkeypatch):
    for k in range(10):
        y = modulated_noise(8000, 2, seed=k)[0, : 8000 + 800 * k]
        audio_io.save(tmp_path / "in" / f"{k}.wav", y, 8000)
    loads = []
    load_model = restoration.weights.load_model
    monkeypatch.setattr(
        restoration.weights, "load_model", lambda name: loads.append(name) or load_model(name)
    )
    restoration._load_cached.cache_clear()
    results = restore_folder(tmp_path / "in", tmp_path / "out", task="denoise", model=run)
    assert [r.status for r in results] == 10 * [RestoreStatus.RESTORED]
    assert len(loads) == 1
    restorer = restoration.load_restorer(8000, run)
    assert restorer._run.experimental_get_tracing_count() == 1 and len(loads) == 1


@pytest.mark.parametrize("db", [-10, -20, -30])
def test_the_output_follows_the_level(default_strong, db):
    y = modulated_noise(8000)[0]
    a = restore(y, 8000, task="denoise")
    b = restore(y * audio.db_to_amplitude(db), 8000, task="denoise")
    assert abs(audio.amplitude_to_db(audio.rms(b) / audio.rms(a)) - db) < 0.01


@pytest.mark.parametrize("shape", [(1,), (100,), (12, 5000), (1, 3000)])
@pytest.mark.parametrize("task", restoration.TASKS)
def test_any_shape(default_strong, shape, task):
    y = (0.1 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)
    out = restore(y, 8000, task=task)
    assert out.shape == y.shape and out.dtype == np.float32 and np.isfinite(out).all()


def test_silence_stays(default_strong):
    for task in restoration.TASKS:
        assert not restore(np.zeros(9000, np.float32), 8000, task=task).any()
    missing = np.arange(9000) % 100 == 0
    assert not restore(np.zeros(9000, np.float32), 8000, missing=missing).any()


def test_only_missing_samples_are_filled(default_strong):
    y = modulated_noise(8000)[0]
    missing = np.zeros(len(y), bool)
    missing[9000:9200] = True
    gapped = np.where(missing, 0, y).astype(np.float32)
    out = restore(gapped, 8000, task="inpaint", missing=missing)
    assert np.array_equal(out[~missing], y[~missing]) and out[missing].any()
    with pytest.raises(InputError, match="missing"):
        restore(y, 8000, missing=missing[:-1])
    with pytest.raises(InputError, match="fills no samples"):
        restore(y, 8000, task="denoise", missing=missing)


@pytest.mark.parametrize("sr", [8000, 44100])
def test_missing_samples_are_filled_in_chunks_as_in_the_whole(default_strong, sr, monkeypatch):
    y = modulated_noise(sr, channels=2)
    missing = np.random.default_rng(2).random((2, 8 * sr)) < 1e-3
    y[missing] = 0
    whole = restore(y, sr, missing=missing)
    monkeypatch.setattr(restoration, "_chunk_seconds", lambda *_: 0.7)
    chunked = restore(y, sr, missing=missing)
    assert np.abs(chunked - whole).max() < 1e-5
    assert whole[missing].any() and np.array_equal(whole[~missing], y[~missing])


def test_half_a_mix_is_half_of_the_way(default_strong):
    y = modulated_noise(8000)[0]
    half = restore(y, 8000, task="denoise", mix=0.5)
    assert np.allclose(half, (y + restore(y, 8000, task="denoise")) / 2, atol=1e-6)
    with pytest.raises(InputError, match="mix"):
        restore(y, 8000, task="denoise", mix=2)


def test_no_such_task(default_strong):
    with pytest.raises(InputError, match="denoise, declip"):
        restore(modulated_noise(8000)[0], 8000, task="clean")


def test_options_are_keyword_only():
    with pytest.raises(TypeError):
        restore(modulated_noise(8000)[0], 8000, "denoise")


@pytest.mark.parametrize("wrong", [{"task": "clean"}, {"mix": 2}])
def test_a_wrong_option_is_reported_once_and_not_for_each_file(default_strong, wrong, tmp_path):
    for name in "ab":
        audio_io.save(tmp_path / "in" / f"{name}.wav", modulated_noise(8000, 1)[0], 8000)
    with pytest.raises(InputError):
        restore_folder(tmp_path / "in", tmp_path / "out", **wrong)


def test_a_format_that_cannot_hold_it_is_named_before_any_work(
    default_strong, tmp_path, monkeypatch
):
    monkeypatch.setattr(restoration, "detect_damage", lambda *_: pytest.fail("it was examined"))
    audio_io.save(tmp_path / "a.wav", modulated_noise(96000, 1)[0], 96000)
    with pytest.raises(InputError, match=r"b\.mp3.*48000"):
        restore_file(tmp_path / "a.wav", tmp_path / "b.mp3")


def test_a_run_that_went_on_is_loaded_again(tmp_path):
    (tmp_path / "config.json").write_text('{"sr": 8000, "hop_length": 128, "frames": 60}')
    restorers = []
    for seed in (0, 1):
        tiny_network(seed).save(tmp_path / "generator.keras")
        restorers.append(restoration.load_restorer(8000, tmp_path))
    y = modulated_noise(8000)
    assert restorers[0].receptive_field == 60 * 128
    assert not np.array_equal(*(restorer(y, 0.1, denoise=1.0) for restorer in restorers))
    assert restoration.load_restorer(8000, tmp_path) is restorers[1]
    assert restoration.load_restorer(8000) is restoration.load_restorer(8000, "restore-8k")


def test_auto_leaves_alone_what_the_network_would_leave(strong, monkeypatch):
    y = modulated_noise(8000)
    report = detect_damage([y], 8000)
    clipped, _ = degrade.hard_clip(y[0], clip_db=6)
    monkeypatch.setattr(restoration, "estimate_noise", lambda *_: -30.0)
    assert choose_tasks(report, strong) == []
    assert choose_tasks(detect_damage([clipped[None]], 8000), strong) == ["declip"]
    monkeypatch.setattr(restoration, "estimate_noise", lambda *_: -5.0)
    assert choose_tasks(report, strong) == ["denoise"]


def test_a_file_keeps_its_format(default_strong, tmp_path):
    source = tmp_path / "a.flac"
    audio_io.save(source, modulated_noise(44100, 3, channels=2), 44100, subtype="PCM_24")
    restore_file(source, tmp_path / "b.flac", task="denoise")
    a, b = (audio_io.load(tmp_path / f"{k}.flac", mono=False) for k in "ab")
    assert a[1] == b[1] and a[0].shape == b[0].shape and not np.array_equal(a[0], b[0])
    with pytest.raises(InputError, match="another name"):
        restore_file(source, source)


def test_peaks_clipped_at_full_scale_get_headroom(default_strong, tmp_path):
    y, _ = degrade.hard_clip(modulated_noise(8000)[0], clip_db=9)
    audio_io.save(tmp_path / "a.wav", y / np.abs(y).max(), 8000)
    result = restore_file(tmp_path / "a.wav", tmp_path / "b.wav", task="declip")
    z = audio_io.load(tmp_path / "b.wav")[0]
    assert result.tasks == ("declip",) and result.gain_db < 0
    assert np.count_nonzero(np.abs(z) > 0.999) <= 2
    assert abs(audio.amplitude_to_db(np.abs(z).max())) < 0.1


def test_headroom_takes_one_pass(default_strong, tmp_path, monkeypatch):
    "The whole file used to be restored once more, to find its peak."
    y, _ = degrade.hard_clip(modulated_noise(8000, 4)[0], clip_db=9)
    audio_io.save(tmp_path / "a.wav", y / np.abs(y).max(), 8000)
    samples = []
    network = Restorer.__call__

    def counting(self, y, *args, **options):
        samples.append(y.shape[1])
        return network(self, y, *args, **options)

    monkeypatch.setattr(Restorer, "__call__", counting)
    result = restore_file(tmp_path / "a.wav", tmp_path / "b.wav", task="declip")
    assert result.gain_db < 0 and samples == [len(y)]


def test_silent_excerpts_are_not_noise(strong):
    report = detect_damage([modulated_noise(8000)], 8000)
    silent = replace(report, excerpts=tuple(0 * y for y in report.excerpts))
    assert estimate_noise(strong, silent) == -np.inf < estimate_noise(strong, report)


@pytest.mark.parametrize("sr", [8000, 11025, 22050, 44100, 176400])
def test_chunks_fit_into_memory(strong, sr):
    report = detect_damage([modulated_noise(sr, 3)], sr)
    for task in ("declip", "inpaint", "denoise"):
        assert build_chain(report, [task], strong).hop <= 2 * sr


def test_clean_words_cut_anywhere_are_left_alone():
    rng = np.random.default_rng(0)
    words = np.concatenate(spoken_words(24))
    words = words + 1e-4 * degrade.coloured_noise(len(words), 8000, rng, slope_db=-3)
    for start in rng.integers(0, len(words) - 12000, 12):
        y = words[start : start + 12000]
        assert np.array_equal(restore(y, 8000), y)


def test_the_lowest_noise_estimate_counts(strong, monkeypatch):
    report = detect_damage([modulated_noise(8000)], 8000)
    estimates = {
        way: restoration._noise_to_signal(strong, report, *way)
        for way in restoration.TEST_TIME_AUGMENTATIONS
    }
    lowest = min(estimates.values())
    assert len(set(estimates.values())) == 3
    assert estimate_noise(strong, report) == pytest.approx(lowest)
    others = tuple(way for way, estimate in estimates.items() if estimate > lowest)
    monkeypatch.setattr(restoration, "TEST_TIME_AUGMENTATIONS", others)
    assert estimate_noise(strong, report) > lowest


def test_batched_excerpts_give_the_same_estimate(strong, monkeypatch):
    sr = 8000
    report = detect_damage([modulated_noise(sr, 40, channels=2)], sr)
    assert len(report.excerpts) > 2 and sum(map(np.size, report.excerpts)) < 2 * report.samples
    batched = estimate_noise(strong, report)
    monkeypatch.setattr(restoration, "_BATCH_SECONDS", 0.0)
    assert estimate_noise(strong, report) == pytest.approx(batched, abs=1e-4)


def test_channels_are_judged_one_by_one(strong):
    y = modulated_noise(8000, 3)
    one, many = (detect_damage([v], 8000) for v in (y, np.repeat(y, 12, 0)))
    assert estimate_noise(strong, many) == pytest.approx(estimate_noise(strong, one), abs=1e-3)


@pytest.mark.parametrize("task", ["denoise", "auto"])
def test_an_offset_changes_nothing(task):
    "Neither what is done nor, the offset apart, what comes out."
    words = datasets.digits("test").audio[:3].reshape(-1)
    noise = degrade.coloured_noise(len(words), 8000, np.random.default_rng(0), slope_db=-3)
    y, _ = degrade.add_noise(words, noise, snr_db=10.0)
    z, shifted = restore(y, 8000, task=task), restore(y + np.float32(0.2), 8000, task=task)
    assert not np.array_equal(z, y)
    assert np.abs(shifted - 0.2 - z).max() < 2e-3 * np.abs(z).max() + 1e-4


def test_a_clean_sound_with_an_offset_is_left_alone():
    y = np.concatenate(spoken_words(4)) + np.float32(0.1)
    assert np.array_equal(restore(y, 8000), y)


def test_noise_without_speech_is_left_alone():
    y = 0.1 * degrade.coloured_noise(24000, 8000, np.random.default_rng(0))
    report = detect_damage([y[None]], 8000)
    noise = estimate_noise(restoration.load_restorer(8000), report)
    assert noise > restoration.NO_SPEECH_DB
    assert np.array_equal(restore(y, 8000), y)
    assert not np.array_equal(restore(y, 8000, task="denoise"), y)


@pytest.mark.parametrize(
    "name, task", [("a.flac", "denoise"), ("a.flac", "auto"), ("a.ogg", "denoise")]
)
def test_loud_floats_are_scaled_down_for_integers(default_strong, tmp_path, name, task):
    source = tmp_path / "loud.wav"
    sf.write(source, 30 * modulated_noise(8000)[0], 8000, subtype="FLOAT")
    result = restore_file(source, tmp_path / name, task=task)
    assert result.gain_db < 0
    assert np.count_nonzero(np.abs(audio_io.load(tmp_path / name)[0]) > 0.999) <= 2
    as_floats = restore_file(source, tmp_path / "b.wav", task="denoise")
    assert as_floats.tasks == ("denoise",) and as_floats.gain_db == 0
    assert np.abs(audio_io.load(tmp_path / "b.wav")[0]).max() > 1


def test_what_a_killed_process_has_left_goes(default_strong, tmp_path):
    audio_io.save(tmp_path / "a.wav", modulated_noise(8000)[0], 8000)
    for part in (".part-0123ab-b.wav", ".part-0123ab-c.wav"):
        (tmp_path / part).write_bytes(b"half")
    restore_file(tmp_path / "a.wav", tmp_path / "b.wav", task="denoise")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".part-0123ab-c.wav", "a.wav", "b.wav"]


def test_the_part_of_a_live_process_stays(default_strong, tmp_path):
    audio_io.save(tmp_path / "a.wav", modulated_noise(8000)[0], 8000)
    with audio_io.atomic_write(tmp_path / "b.wav") as rival:
        rival.write_bytes(b"half")
        restore_file(tmp_path / "a.wav", tmp_path / "b.wav", task="denoise")
        assert rival.exists()


def test_results_of_a_folder(default_strong, tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    for name in ("a.wav", "deep/b.wav"):
        audio_io.save(source / name, modulated_noise(8000, 1)[0], 8000)
    (source / "z.wav").write_text("no sound")
    audio_io.save(target / "a.wav", modulated_noise(8000, 1)[0], 8000)
    seen = []
    results = restore_folder(source, target, task="denoise", on_result=seen.append)
    assert results == seen
    assert [(r.path.name, r.status.value, r.seconds) for r in results] == [
        ("z.wav", "skipped", 0.0),
        ("a.wav", "exists", 1.0),
        ("b.wav", "restored", 1.0),
    ]
    assert "not readable" in results[0].message and results[2].target == target / "deep" / "b.wav"
    page = write_report(results, tmp_path / "page.html", max_files=1).read_text()
    assert page.count("<audio") == 2 and "1 of 2 files" in page


@pytest.mark.parametrize("mix", [None, "half", np.nan, 2, -1])
def test_bad_mixes(mix):
    with pytest.raises(InputError, match="mix"):
        restore(modulated_noise(8000)[0], 8000, mix=mix)


def test_a_chain_refuses_tasks_it_does_not_know(strong):
    report = detect_damage([modulated_noise(8000)], 8000)
    for task in ("auto", "denoize"):
        with pytest.raises(InputError, match="choose from denoise"):
            build_chain(report, [task], strong)
