"""The report: each failure mode by its metrics alone, and what must not be mistaken for one."""

import numpy as np
import pytest

from gan_audio_tut import diagnostics

STEPS = 100
HEALTHY = {
    "d_loss": 0.6,
    "g_loss": 1.1,
    "real_logit": 0.5,
    "fake_logit": -0.3,
    "d_ranking_accuracy": 0.9,
    "g_grad": 0.7,
}


def history(n=STEPS, **columns):
    "Rows of a healthy run; a column is a number, or a function of the run's progress from 0 to 1."
    columns = HEALTHY | columns

    def value(column, k):
        return float(column(k / n) if callable(column) else column)

    return [{"step": k + 1, **{name: value(v, k) for name, v in columns.items()}} for k in range(n)]


def tones(n=120, seed=0, size=256):
    "Tones of many pitches and phases: (n, size)."
    rng = np.random.default_rng(seed)
    return 0.3 * np.sin(rng.uniform(0.1, 2, (n, 1)) * np.arange(size) + rng.uniform(0, 6, (n, 1)))


def names(*args, **options):
    return [f.name for f in diagnostics.diagnose(*args, **options)]


def test_healthy():
    (found,) = diagnostics.diagnose(history(), tones(), tones(seed=1))
    assert found.name == "healthy"
    for number in ("ranking accuracy 0.90", "logit gap 0.80", "level -13 dB", "diversity 1.0"):
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


def test_a_discriminator_that_is_too_strong():
    wide = dict(
        d_ranking_accuracy=1,
        real_logit=6,
        fake_logit=lambda t: -2 - 4 * t,
        g_loss=lambda t: 8 + 4 * t,
    )
    assert names(history(**wide)) == ["discriminator too strong"]
    assert names(history(d_ranking_accuracy=1, g_grad=lambda t: 10 ** (-5 * t))) == [
        "discriminator too strong"
    ], "no gradient is left"
    assert names(history(d_ranking_accuracy=0.9, g_grad=1e-9)) == ["healthy"], (
        "small units are no failure by themselves"
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


@pytest.mark.parametrize("scale", [1, 1e-3, 1e3])
def test_the_scale_of_the_logits_does_not_matter(scale):
    "An absolute limit on the gap raised a false alarm: R1 shrinks all logits."
    logits = {"real_logit": 0.02 * scale, "fake_logit": -0.01 * scale}
    assert names(history(d_ranking_accuracy=0.92, **logits)) == ["healthy"]
    assert names(history(d_ranking_accuracy=0.5, **logits)) == ["discriminator uninformative"]


def test_an_uninformative_discriminator():
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
        and found.evidence.startswith("level" if fake.ndim == 2 else "99th percentile")
        and "nan" not in found.evidence
    )


def test_quiet_is_not_silent():
    assert names(fake=0.01 * tones(), real=tones(seed=1)) == ["healthy"]  # -53 dB
    dark = np.full((50, 16, 16), -1.0)
    dark[:, :4, :4] = np.random.default_rng(0).uniform(
        -1, 0.5, (50, 4, 4)
    )  # most of a spectrogram is floor
    assert names(fake=dark) == ["healthy"]


def test_one_output():
    one = np.repeat(tones(1), 80, 0)
    assert names(fake=one) == names(fake=one, real=tones()) == ["latent ignored"]
    any_phase = 0.3 * np.sin(
        2 * np.pi * 32 / 256 * np.arange(256) + np.random.default_rng(0).uniform(0, 6, (80, 1))
    )
    assert names(fake=any_phase) == ["latent ignored"], "a tone at any phase is one tone"
    assert names(fake=np.full((50, 16, 16), 0.2)) == ["latent ignored"]


def test_collapse():
    near = tones(1) + 0.01 * np.random.default_rng(0).standard_normal((80, 256))
    assert names(fake=near, real=tones()) == ["mode collapse"]
    few = tones(4)[np.arange(80) % 4] + 1e-4 * np.random.default_rng(0).standard_normal((80, 256))
    assert diagnostics.output_diagnostics(few, tones())["relative_diversity"] > 0.5, (
        "this one only the nearest neighbours give away"
    )
    assert names(fake=few, real=tones()) == ["mode collapse"]
    assert names(fake=10 * near, real=tones()) == ["mode collapse"], "loud is not diverse"
    assert names(fake=near) == ["healthy"], "without real sounds there is nothing to compare with"


def test_collapse_within_classes():
    rng, label = np.random.default_rng(0), np.arange(80) % 8
    centre = rng.standard_normal((8, 16, 16))[label]
    real, fake = (
        centre + 0.5 * rng.standard_normal((80, 16, 16)),
        centre + 0.05 * rng.standard_normal((80, 16, 16)),
    )
    assert names(fake=fake, real=real, labels=label) == ["mode collapse"]
    assert diagnostics.output_diagnostics(fake, real, label)["relative_diversity"] == pytest.approx(
        0.1, rel=0.2
    )
    assert names(fake=real[::-1], real=real, labels=label[::-1]) == ["healthy"]


def test_networks_and_outputs_are_both_reported():
    wide = dict(d_ranking_accuracy=1, real_logit=9, fake_logit=-9, g_loss=9)
    assert names(history(**wide), np.zeros((9, 99))) == ["discriminator too strong", "silence"]


def test_what_is_missing_is_not_found():
    assert names([]) == names(history(19, d_loss=1e9)) == ["healthy"]
    assert "nothing was measured" in diagnostics.diagnose([])[0].evidence
    late = history()
    for row in late:
        if row["step"] % 5:
            del row["g_loss"]
    assert names(late) == ["healthy"], "n_critic = 5 leaves g_loss out of most rows"
    assert names([{"step": k, "loss": 0.1} for k in range(50)]) == ["healthy"], "other columns"


@pytest.mark.filterwarnings("error")
def test_few_outputs():
    few = tones(3)
    assert names(fake=few, real=tones(3, seed=1), labels=np.arange(3)) == ["healthy"], (
        "one of each class"
    )
    assert names(fake=few[:1]) == ["healthy"] and names(fake=0 * few[:1]) == ["silence"]
    assert names(history(), few, tones(3, seed=1), np.array([0, 0, 1])) == ["healthy"]


def test_a_table_on_disk_is_a_history(tmp_path):
    from gan_audio_tut import runs

    rows = history(real_logit=0, fake_logit=0, d_ranking_accuracy=0.5)
    runs.write_csv(tmp_path / "metrics.csv", rows)
    assert names(runs.read_csv(tmp_path / "metrics.csv")) == ["discriminator uninformative"]


def test_distance_statistics_against_scipy():
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


def test_failure_modes_are_complete():
    failures = [
        diagnostics.not_finite,
        *diagnostics.GAN_FAILURES,
        *diagnostics.OUTPUT_FAILURES,
    ]
    assert len({f.name for f in failures}) == len(failures) == 8
    for f in failures:
        assert f.evidence and set(f.evidence) <= set(diagnostics.METRIC_FORMATS)
        assert f.meaning and f.remedy


def dense_network(size, out, activation=None):
    import keras
    from keras import layers

    x = keras.Input((size,))
    h = layers.Dense(64, activation="leaky_relu")(x)
    h = layers.Dense(64, activation="leaky_relu")(h)
    return keras.Model(x, layers.Dense(out, activation=activation)(h))


def plucks(n=512, samples=64):
    "Decaying sines at eight pitches."
    rng, t = np.random.default_rng(0), np.arange(samples) / samples
    gain, cycles = rng.uniform(0.4, 0.6, (n, 1)), rng.integers(2, 10, (n, 1))
    return (gain * np.exp(-2 * t) * np.sin(2 * np.pi * cycles * t)).astype("float32")


@pytest.fixture(scope="module")
def tiny():
    "A GAN of dense networks, trained on plucks, on request the wrong way."
    import keras
    import tensorflow as tf

    from gan_audio_tut import losses, training

    real = tf.constant(plucks())

    def batch(seed, step):
        chosen = training.epoch_indices(seed, step, 32, 512)
        return (training.sample_latent(seed, step, 32, 8),), tf.gather(real, chosen)

    def trained(steps=150, g_lr=2e-3, d_lr=2e-3, r1=0.1, loss=losses.relativistic, seed=3):
        keras.utils.set_random_seed(seed)
        generator, discriminator = dense_network(8, 64, "tanh"), dense_network(64, 1)
        task = training.Task(generator, discriminator, batch, loss, loss_weights={"r1": r1})
        g_optimizer, d_optimizer = (keras.optimizers.Adam(lr, 0.5, 0.9) for lr in (g_lr, d_lr))
        state = training.TrainState(task, g_optimizer, d_optimizer, seed=seed)
        rows = []
        for step in range(steps):
            scalars = {k: float(v) for k, v in state.train_function(True).items()}
            rows.append({"step": step + 1, **scalars})
        return rows, generator(training.sample_latent(9, 0, 120, 8)).numpy(), real.numpy()[:120]

    return trained


def test_on_real_runs(tiny):
    from gan_audio_tut import losses

    assert names(*tiny()) == ["healthy"]
    strong = tiny(d_lr=0.2, r1=0, loss=losses.minimax)
    assert names(*strong)[0] == "discriminator too strong"
    assert names(*tiny(g_lr=1e6, d_lr=1e6, steps=20)) == ["not finite"]
    assert names(*tiny(r1=1e5))[0] == "discriminator uninformative"


def test_much_r1_is_not_called_uninformative(tiny):
    "The false alarm: R1 = 10, D ranks nine pairs of ten right, and the outputs are diverse."
    rows, fake, real = tiny(steps=300, r1=10)
    found = diagnostics.compute_metrics(rows, fake, real)
    assert found["max_logit_gap"] < 0.1, "the old limit"
    assert found["d_ranking_accuracy"] > 0.85 and found["relative_diversity"] > 0.5
    assert names(rows, fake, real) == ["healthy"]


def test_one_output_of_each_class_is_no_collapse():
    fake = np.random.default_rng(0).uniform(-1, 1, (3, 16, 16))
    (found,) = diagnostics.diagnose(fake=fake, real=fake, labels=np.arange(3))
    assert found.name == "healthy" and "mean_pairwise_distance" not in found.evidence


def test_a_discriminator_that_is_too_weak():
    overtaken = history(
        d_ranking_accuracy=lambda t: max(0.02, 0.9 - 2 * t), real_logit=lambda t: 1 - 4 * t
    )
    assert names(overtaken) == ["discriminator too weak"]
    assert names(history(d_ranking_accuracy=lambda t: 0.9 - 0.6 * t)) == ["healthy"], (
        "a generator that is a little ahead for a while is no failure"
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [1, 2, 4, 5, 7])
def test_a_column_with_few_values_still_counts(n):
    rows = [{k: v for k, v in row.items() if k != "g_loss"} for row in history(20)]
    for row in rows[:n]:
        row["g_loss"] = 500.0
    assert names(rows) == ["exploding"]
