"""The report: each illness by its signs alone, and the cases that must not be mistaken for one."""

import numpy as np
import pytest

from gan_audio_tut import diagnostics

STEPS = 100


def history(n=STEPS, **columns):
    "Rows of a healthy run; a column is a number, or a function of the run's progress from 0 to 1."
    columns = {
        "d_loss": 0.6,
        "g_loss": 1.1,
        "real_logit": 0.5,
        "fake_logit": -0.3,
        "d_ranking_accuracy": 0.9,
        "g_grad": 0.7,
    } | columns
    value = lambda v, k: float(v(k / n) if callable(v) else v)
    return [{"step": k + 1, **{name: value(v, k) for name, v in columns.items()}} for k in range(n)]


def tones(n=120, seed=0, size=256):
    "Tones of many pitches and phases: (n, size)."
    rng = np.random.default_rng(seed)
    return 0.3 * np.sin(rng.uniform(0.1, 2, (n, 1)) * np.arange(size) + rng.uniform(0, 6, (n, 1)))


def names(*args, **options):
    return [f.name for f in diagnostics.diagnose(*args, **options)]


def test_health():
    (found,) = diagnostics.diagnose(history(), tones(), tones(seed=1))
    assert found.name == "healthy"
    for number in ("told apart 0.90", "logit gap 0.80", "level -13 dB", "spread 1.0"):
        assert number in found.evidence
    assert "nan" not in found.evidence


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_silences_the_rest(bad):
    rows = history(g_loss=lambda t: bad if t > 0.9 else 1e6)
    assert names(rows, 0 * tones(), tones()) == ["not finite"]
    assert (
        "10 numbers"
        in diagnostics.diagnose(history(g_loss=lambda t: bad if t >= 0.9 else 1))[0].evidence
    )
    sounds = tones()
    sounds[3, 4] = bad
    assert names(history(), sounds, tones()) == ["not finite"]


@pytest.mark.parametrize("name", ["d_loss", "g_loss"])
def test_exploding(name):
    assert names(history(**{name: lambda t: 10 ** (4 * t)})) == ["exploding"]
    assert names(history(**{name: lambda t: -(10 ** (4 * t))})) == ["exploding"]
    assert names(history(**{name: lambda t: 400 * (1 - t) ** 4 + 1})) == ["healthy"], (
        "it came back by itself"
    )


def test_a_discriminator_that_has_won():
    wide = dict(
        d_ranking_accuracy=1,
        real_logit=6,
        fake_logit=lambda t: -2 - 4 * t,
        g_loss=lambda t: 8 + 4 * t,
    )
    assert names(history(**wide)) == ["discriminator too strong"]
    assert names(history(d_ranking_accuracy=1, g_grad=lambda t: 10 ** (-5 * t))) == [
        "discriminator too strong"
    ], "no slope is left"
    assert names(history(d_ranking_accuracy=0.9, g_grad=1e-9)) == ["healthy"], (
        "small units are no illness by themselves"
    )
    assert names(history(d_ranking_accuracy=1, real_logit=2, fake_logit=-1)) == ["healthy"], (
        "always right, by a small margin"
    )
    assert names(
        history(d_ranking_accuracy=1, real_logit=lambda t: 60 * (1 - t), fake_logit=0)
    ) == ["healthy"], "the margin closes"
    assert names(history(d_ranking_accuracy=0.8, real_logit=9, fake_logit=0)) == ["healthy"], (
        "wide on average, not always right"
    )


def test_a_discriminator_that_gave_up():
    assert names(history(real_logit=0.01, fake_logit=0, d_ranking_accuracy=0.5)) == [
        "discriminator uninformative"
    ]
    assert names(history(real_logit=0, fake_logit=0.5, d_ranking_accuracy=0.1)) == [
        "discriminator uninformative"
    ], "fooled from the start"
    ends_equal = history(
        real_logit=lambda t: 1 - t, fake_logit=0, d_ranking_accuracy=lambda t: 0.9 - 0.4 * t
    )
    assert names(ends_equal) == ["healthy"], "a finished game ends in a draw"


@pytest.mark.parametrize(
    "fake",
    [
        np.zeros((50, 256)),
        9e-4 * tones(),
        np.full((50, 16, 16), -1.0),
        np.full((50, 16, 16), -0.95),
    ],
    ids=["zeros", "-74 dB", "floor", "near the floor"],
)
def test_silence(fake):
    (found,) = diagnostics.diagnose(fake=fake)
    assert (
        found.name == "silence"
        and found.evidence.startswith("level" if fake.ndim == 2 else "peak_log_mel")
        and "nan" not in found.evidence
    )


def test_quiet_is_not_silent():
    assert names(fake=0.01 * tones(), real=tones(seed=1)) == ["healthy"]  # -53 dB
    dark = np.full((50, 16, 16), -1.0)
    dark[:, :4, :4] = np.random.default_rng(0).uniform(
        -1, 0.5, (50, 4, 4)
    )  # most of a picture is floor
    assert names(fake=dark) == ["healthy"]


def test_one_sound():
    one = np.repeat(tones(1), 80, 0)
    assert names(fake=one) == names(fake=one, real=tones()) == ["latent ignored"]
    turned = 0.3 * np.sin(
        2 * np.pi * 32 / 256 * np.arange(256) + np.random.default_rng(0).uniform(0, 6, (80, 1))
    )
    assert names(fake=turned) == ["latent ignored"], "a tone at any phase is one tone"
    assert names(fake=np.full((50, 16, 16), 0.2)) == ["latent ignored"]


def test_collapse():
    near = tones(1) + 0.01 * np.random.default_rng(0).standard_normal((80, 256))
    assert names(fake=near, real=tones()) == ["collapse"]
    few = tones(4)[np.arange(80) % 4] + 1e-4 * np.random.default_rng(0).standard_normal((80, 256))
    assert diagnostics.output_diagnostics(few, tones())["relative_diversity"] > 0.5, (
        "this one only the nearest neighbours give away"
    )
    assert names(fake=few, real=tones()) == ["collapse"]
    assert names(fake=10 * near, real=tones()) == ["collapse"], "loud is not varied"
    assert names(fake=near) == ["healthy"], "without real sounds there is nothing to compare with"


def test_collapse_within_classes():
    rng, label = np.random.default_rng(0), np.arange(80) % 8
    centre = rng.standard_normal((8, 16, 16))[label]
    real, fake = (
        centre + 0.5 * rng.standard_normal((80, 16, 16)),
        centre + 0.05 * rng.standard_normal((80, 16, 16)),
    )
    assert names(fake=fake, real=real, labels=label) == ["collapse"]
    assert diagnostics.output_diagnostics(fake, real, label)["relative_diversity"] == pytest.approx(
        0.1, rel=0.2
    )
    assert names(fake=real[::-1], real=real, labels=label[::-1]) == ["healthy"]


def test_game_and_sound_are_both_reported():
    wide = dict(d_ranking_accuracy=1, real_logit=9, fake_logit=-9, g_loss=9)
    assert names(history(**wide), np.zeros((9, 99))) == ["discriminator too strong", "silence"]


def test_what_is_missing_is_not_found():
    assert names([]) == names(history(19, d_loss=1e9)) == ["healthy"]
    assert "nothing was measured" in diagnostics.diagnose([])[0].evidence
    late = [
        row | ({"g_loss": 1.0} if row["step"] % 5 == 0 else {})
        for row in [{k: v for k, v in r.items() if k != "g_loss"} for r in history()]
    ]
    assert names(late) == ["healthy"], "critic_steps = 5 leaves g_loss out of most rows"
    assert names([{"step": k, "loss": 0.1} for k in range(50)]) == ["healthy"], "other columns"


@pytest.mark.filterwarnings("error")
def test_few_sounds():
    few = tones(3)
    assert names(fake=few, real=tones(3, seed=1), labels=np.arange(3)) == ["healthy"], (
        "one of each class"
    )
    assert names(fake=few[:1]) == ["healthy"] and names(fake=0 * few[:1]) == ["silence"]
    assert names(history(), few, tones(3, seed=1), np.array([0, 0, 1])) == ["healthy"]


def test_a_table_on_disk_is_a_history(tmp_path):
    from gan_audio_tut import runs

    runs.write_csv(tmp_path / "metrics.csv", history(real_logit=0, fake_logit=0))
    assert names(runs.read_csv(tmp_path / "metrics.csv")) == ["discriminator uninformative"]


def test_variety_against_scipy():
    from scipy.spatial.distance import pdist, squareform

    x = np.random.default_rng(0).standard_normal((40, 6, 7))
    d = squareform(pdist(x.reshape(40, -1))) + np.diag([np.inf] * 40)
    size = np.sqrt(np.mean(np.sum(x**2, axis=(1, 2))))
    assert np.allclose(
        diagnostics.distance_statistics(x),
        [d[np.isfinite(d)].mean() / size, np.median(d.min(1)) / size],
    )


def test_report_says_everything(capsys):
    found = diagnostics.diagnose(history(d_loss=1e4), np.zeros((9, 99)))
    diagnostics.print_report(found)
    said = capsys.readouterr().out
    for f in found:
        for part in (f.name.upper(), f.meaning, f.evidence, f.remedy):
            assert part in said


def test_illnesses_are_complete():
    ill = [diagnostics.not_finite, *diagnostics.GAN_FAILURES, *diagnostics.OUTPUT_FAILURES]
    assert len({i.name for i in ill}) == len(ill) == 8
    for i in ill:
        assert (
            i.shows and set(i.shows) <= set(diagnostics.METRIC_FORMATS) and i.meaning and i.remedy
        )


@pytest.fixture(scope="module")
def tiny():
    "A GAN of dense networks, trained on plucks of eight pitches, on request the wrong way."
    import keras
    from keras import layers

    from gan_audio_tut import losses, training

    def net(size, out, activation=None):
        x = keras.Input((size,))
        h = layers.Dense(64, activation="leaky_relu")(layers.Dense(64, activation="leaky_relu")(x))
        return keras.Model(x, layers.Dense(out, activation=activation)(h))

    def trained(steps=150, rates=(2e-3, 2e-3), r1=0.1, loss=losses.relativistic, seed=3):
        import tensorflow as tf

        keras.utils.set_random_seed(seed)
        rng, t = np.random.default_rng(0), np.arange(64) / 64
        real = (
            rng.uniform(0.4, 0.6, (512, 1))
            * np.exp(-2 * t)
            * np.sin(2 * np.pi * rng.integers(2, 10, (512, 1)) * t)
        )
        real = tf.constant(real, tf.float32)
        batch = lambda seed, step: (
            (training.sample_latent(seed, step, 32, 8),),
            tf.gather(real, training.epoch_indices(seed, step, 32, 512)),
        )
        job = training.Task(net(8, 64, "tanh"), net(64, 1), batch, loss, loss_weights={"r1": r1})
        g, d = (keras.optimizers.Adam(rate, 0.5, 0.9) for rate in rates)
        state = training.TrainState(job, g, d, seed=seed)
        rows = [
            {"step": k + 1, **{n: float(v) for n, v in state.run(True).items()}}
            for k in range(steps)
        ]
        return rows, job.generator(training.sample_latent(9, 0, 120, 8)).numpy(), real.numpy()[:120]

    return trained


def test_on_real_runs(tiny):
    from gan_audio_tut import losses

    assert names(*tiny()) == ["healthy"]
    assert (
        names(*tiny(rates=(2e-3, 0.2), r1=0, loss=losses.minimax))[0] == "discriminator too strong"
    )
    assert names(*tiny(rates=(1e6, 1e6), steps=20)) == ["not finite"]
    assert names(*tiny(rates=(2e-4, 2e-3), r1=1e5))[0] == "discriminator uninformative"


def test_one_sound_of_each_class_is_no_collapse():
    fake = np.random.default_rng(0).uniform(-1, 1, (3, 16, 16))
    (found,) = diagnostics.diagnose(fake=fake, real=fake, labels=np.arange(3))
    assert found.name == "healthy" and "mean_pairwise_distance" not in found.evidence


def test_outrun():
    assert names(history(d_ranking_accuracy=0.02, real_logit=lambda t: 1 - 4 * t)) == [
        "discriminator too weak"
    ]
    assert names(history(d_ranking_accuracy=0.3)) == ["healthy"], (
        "a generator that is a little ahead for a while is no illness"
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [1, 2, 4, 5, 7])
def test_a_column_with_few_values_still_counts(n):
    rows = [{k: v for k, v in row.items() if k != "g_loss"} for row in history(20)]
    for row in rows[:n]:
        row["g_loss"] = 500.0
    assert names(rows) == ["exploding"]
