"""The contract of the loop: four unlike jobs through one unchanged `train_step`, checked by numbers."""

import dataclasses
import time
from operator import attrgetter

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from gan_audio_tut import losses
from gan_audio_tut.training import (
    Task,
    TrainState,
    discriminator_losses,
    discriminator_stats,
    epoch_indices,
    fit,
    fold_in,
    interpolate,
    sample_latent,
    train_step,
)

B, T = 6, 8  # batch, samples of a toy sound
sound = lambda seed, step, stream: tf.sin(sample_latent(seed, step, B, T, stream))


def net(shapes, outputs, label=False, features=False):
    "A small smooth network: inputs of these sizes (and a label), one output a size."
    inputs = [keras.Input((n,)) for n in shapes] + (
        [keras.Input((), dtype="int32")] if label else []
    )
    parts = [*inputs[: len(shapes)], *([layers.Embedding(3, 4)(inputs[-1])] if label else [])]
    h = layers.Dense(10, "tanh")(layers.Concatenate()(parts) if len(parts) > 1 else parts[0])
    k = layers.Dense(9, "tanh")(h)
    made = [layers.Dense(n)(k) for n in outputs] + ([h, k] if features else [])
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], made if len(made) > 1 else made[0])


def unconditional():  # D gives several logits a clip
    batch = lambda seed, step: ((sample_latent(seed, step, B, 3),), sound(seed, step, 1))
    return Task(net([3], [T]), net([T], [4]), batch, loss_weights={"r2": 0.3})


def conditional():
    labels = tf.constant([0, 1, 2, 2, 1])

    def batch(seed, step):
        label = tf.gather(labels, epoch_indices(seed, step, B, 5))
        return (sample_latent(seed, step, B, 3), label), sound(seed, step, 1) + tf.cast(
            label, tf.float32
        )[:, None]

    return Task(
        net([3], [T], label=True),
        net([T], [1], label=True),
        batch,
        losses.relativistic,
        loss_weights={"r1": 0.7, "adversarial": 2.0},
        condition=lambda given: given[1:],
    )


def paired():
    def batch(seed, step):
        clean = sound(seed, step, 1)
        return (clean + 0.1 * sample_latent(seed, step, B, T),), clean

    terms = {
        "l1": lambda given, real, fake, fr, ff: tf.reduce_mean(tf.abs(real - fake)),
        "features": lambda given, real, fake, fr, ff: losses.feature_matching(fr, ff),
    }
    return Task(
        net([T], [T]),
        net([T, T], [2], features=True),
        batch,
        losses.hinge,
        terms,
        loss_weights={"l1": 10.0, "features": 2.0, "r1": 0.5},
        condition=lambda given: given,
    )


def two_outputs():
    def batch(seed, step):
        a, b = sound(seed, step, 1), sound(seed, step, 2)
        return (a + b,), (a, b)

    terms = {
        "sum": lambda given, real, fake, fr, ff: tf.reduce_mean(
            tf.square(fake[0] + fake[1] - given[0])
        )
    }
    return Task(
        net([T], [T, T]),
        net([T, T], [3]),
        batch,
        losses.least_squares,
        terms,
        loss_weights={"r1": 0.2, "r2": 0.1},
    )


def critic():
    return dataclasses.replace(
        unconditional(), adversarial=losses.wasserstein, weights={"gp": 10.0}, n_critic=3
    )


JOBS = {f.__name__: f for f in (unconditional, conditional, paired, two_outputs)}
four_jobs = pytest.mark.parametrize("make", JOBS.values(), ids=JOBS)


class Spy(keras.optimizers.SGD):
    "Plain descent that remembers the gradients it was given."

    def apply(self, grads, variables=None):
        self.grads = [tf.convert_to_tensor(g).numpy() for g in grads]
        super().apply(grads, variables)


def start(
    make, seed=0, optimizer=lambda: keras.optimizers.Adam(1e-2, 0.5, 0.9), ema=0.9, **changes
):
    keras.utils.set_random_seed(seed)
    return TrainState(dataclasses.replace(make(), **changes), optimizer(), optimizer(), ema, seed=0)


def values(variables):
    return [v.numpy() if hasattr(v, "numpy") else v for v in variables]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(values(a), values(b), strict=True))


def one_step(state, **kw):
    return {k: float(v) for k, v in train_step(state, *state.task.batch(0, 0), **kw).items()}


def as_list(x):
    return list(x) if isinstance(x, (list, tuple)) else [x]


def plain_step(job, g_optimizer, d_optimizer):
    "The same step as a textbook writes it: two tapes, and each turn makes its own fakes."
    (given, real), G, D, weigh = (
        job.batch(0, 0),
        job.generator,
        job.discriminator,
        job.loss_weights.get,
    )
    one = lambda x: x if len(x) > 1 else x[0]

    def look(x):
        logits, *features = as_list(D(one([*as_list(x), *job.condition(given)]), training=True))
        return logits, features

    def half_squared_slope(x):
        x = [tf.convert_to_tensor(part) for part in as_list(x)]
        with tf.GradientTape() as tape:
            tape.watch(x)
            score = tf.reduce_sum(look(x)[0])
        return (
            tf.reduce_mean(tf.reduce_sum(tf.square(tf.concat(tape.gradient(score, x), 1)), 1)) / 2
        )

    with tf.GradientTape() as tape:
        fake = G(one(given), training=True)
        loss = weigh("adversarial", 1) * sum(
            job.gan_loss.d_loss(look(real)[0], look(fake)[0]).values()
        )
        if weigh("r1"):
            loss += weigh("r1") * half_squared_slope(real)
        if weigh("r2"):
            loss += weigh("r2") * half_squared_slope(fake)
    d_optimizer.apply(tape.gradient(loss, D.trainable_variables), D.trainable_variables)
    with tf.GradientTape() as tape:
        fake = G(one(given), training=True)
        (real_logits, real_features), (fake_logits, fake_features) = look(real), look(fake)
        loss = weigh("adversarial", 1) * sum(job.gan_loss.g_loss(real_logits, fake_logits).values())
        for name, f in job.aux_losses.items():
            loss += weigh(name, 1) * f(given, real, fake, real_features, fake_features)
    g_optimizer.apply(tape.gradient(loss, G.trainable_variables), G.trainable_variables)


@four_jobs
def test_gradients_are_those_of_two_plain_tapes(make):
    sgd = lambda: Spy(0.1)
    ours, theirs = start(make, optimizer=sgd), start(make, optimizer=sgd)
    one_step(ours)
    plain_step(theirs.task, theirs.g_optimizer, theirs.d_optimizer)
    for a, b in ((ours.d_optimizer, theirs.d_optimizer), (ours.g_optimizer, theirs.g_optimizer)):
        assert max(np.abs(g).max() for g in a.grads) > 1e-3, "nothing was learned"
        for x, y in zip(a.grads, b.grads, strict=True):
            np.testing.assert_allclose(x, y, rtol=0, atol=1e-6)


@four_jobs
def test_the_graph_does_what_the_eager_step_does(make):
    eager, graph = start(make), start(make)
    for _ in range(3):
        a, b = eager.run_eagerly(), graph.run()
    assert set(a) == set(b)
    for k in a:
        np.testing.assert_allclose(a[k], b[k], rtol=1e-4, atol=1e-5, err_msg=k)


@four_jobs
def test_each_network_learns_from_its_own_loss_only(make):
    whole, d_only = start(make), start(make)
    before = values(whole.task.generator.variables), values(whole.task.discriminator.variables)
    one_step(whole)
    row = one_step(d_only, generator_turn=False)
    assert same(d_only.task.generator.variables, before[0]) and "g_loss" not in row
    assert not same(whole.task.generator.variables, before[0]) and not same(
        whole.task.discriminator.variables, before[1]
    )
    assert same(whole.task.discriminator.variables, d_only.task.discriminator.variables), (
        "G's turn moved D"
    )


def test_no_weight_crosses_over():
    "G's terms leave D's update alone; D's penalty leaves G's gradient alone while D stands still."
    weights = paired().weights
    a, b = start(paired), start(paired, weights=weights | {"l1": 99.0, "features": 7.0})
    one_step(a), one_step(b)
    assert same(a.task.discriminator.variables, b.task.discriminator.variables)
    still = lambda: Spy(0.0)
    c, d = (
        start(paired, optimizer=still),
        start(paired, optimizer=still, weights=weights | {"r1": 50.0}),
    )
    one_step(c), one_step(d)
    assert same(c.g_optimizer.grads, d.g_optimizer.grads) and not same(
        c.d_optimizer.grads, d.d_optimizer.grads
    )


@four_jobs
def test_losses_are_the_weighted_sums_of_their_terms(make):
    state = start(make)
    row, weights = one_step(state), {"adversarial": 1.0} | state.task.loss_weights
    watched = {
        "d_loss",
        "g_loss",
        "d_grad",
        "g_grad",
        "real_logit",
        "fake_logit",
        "d_ranking_accuracy",
    }
    assert watched < set(row) and all(np.isfinite(list(row.values())))
    for side in "dg":
        game = sum(v for k, v in row.items() if k.startswith(f"{side}_") and k not in watched)
        extra = {"d": {"r1", "r2", "gp"}, "g": set(state.task.aux_losses)}[side]
        expected = weights["adversarial"] * game + sum(
            weights.get(k, 1.0) * row[k] for k in extra & set(row)
        )
        assert row[f"{side}_loss"] == pytest.approx(expected, rel=1e-5)


def test_a_doubled_weight_doubles_the_gradient_of_its_term():
    spies = []
    for l1 in (0.0, 1.0, 2.0):
        state = start(paired, optimizer=lambda: Spy(0.0), weights={"l1": l1, "features": 0.0})
        one_step(state)
        spies.append(state.g_optimizer.grads)
    for none, once, twice in zip(*spies):
        np.testing.assert_allclose(twice - none, 2 * (once - none), atol=1e-6)


@pytest.mark.parametrize("logits", [1, 3])
@pytest.mark.parametrize("parts", [1, 2])
def test_penalties_of_a_linear_discriminator(logits, parts):
    "D(x) = Wx + b: every slope is the sum of W's columns, wherever it is taken."
    inputs = [keras.Input((T,)) for _ in range(parts)]
    x = layers.Concatenate()(inputs) if parts > 1 else inputs[0]
    D = keras.Model(inputs if parts > 1 else inputs[0], layers.Dense(logits)(x))
    w = D.get_weights()[0].sum(1)  # (parts * T,)
    job = Task(
        net([3], [T] * parts),
        D,
        None,
        losses.wasserstein,
        loss_weights={"r1": 1.0, "r2": 1.0, "gp": 1.0},
    )
    seen = [[sample_latent(0, s, B, T, stream) for stream in range(parts)] for s in range(2)]
    terms, _ = discriminator_losses(start(lambda: job), (), *seen)
    for name in ("r1", "r2"):
        assert float(terms[name]) == pytest.approx(np.sum(w**2) / 2, rel=1e-5)
    assert float(terms["gp"]) == pytest.approx((np.sqrt(np.sum(w**2)) - 1) ** 2, rel=1e-4)


def test_between_keeps_one_fraction_for_all_parts():
    real, fake = [tf.zeros((B, T)), tf.zeros((B, 2, 3))], [tf.ones((B, T)), tf.ones((B, 2, 3))]
    a, b = (p.numpy().reshape(B, -1) for p in interpolate(real, fake, 0, 5))
    assert (a == a[:, :1]).all() and (b == a[:, :1]).all() and 0 <= a.min() < a.max() <= 1
    assert len(set(a[:, 0])) == B and not np.array_equal(a, interpolate(real, fake, 0, 6)[0])


def test_a_penalty_of_weight_zero_only_watches():
    a, b = start(unconditional, weights={}), start(unconditional, weights={"r1": 0.0})
    row = one_step(b)
    one_step(a)
    assert row["r1"] > 0
    for x, y in zip(values(a.variables), values(b.variables)):
        np.testing.assert_allclose(x, y, atol=1e-6)


def test_critic_steps():
    state, G, averages = start(critic), [], []

    def look(state, scalars):
        (
            G.append(values(state.task.generator.variables)),
            averages.append(values(state.ema_generator.variables)),
        )

    before = values(state.task.generator.variables)
    rows = fit(state, steps=7, callbacks=[look], progress=False)
    assert [r["step"] for r in rows if "g_loss" in r] == [3, 6] and all("d_loss" in r for r in rows)
    for steps in (G, averages):
        assert (
            same(steps[0], before)
            and same(steps[1], before)
            and same(steps[2], steps[4])
            and same(steps[5], steps[6])
        )
        assert not same(steps[2], before) and not same(steps[5], steps[2])


def test_the_moving_average():
    state = start(unconditional, ema=0.3)
    expected = values(state.ema_generator.variables)
    assert same(expected, state.task.generator.variables)
    for t in range(1, 6):
        state.run()
        keep = min(0.3, (1 + t) / (10 + t))
        expected = [
            keep * a + (1 - keep) * w
            for a, w in zip(expected, values(state.task.generator.variables))
        ]
    assert keep == 0.3, "the test should reach the long memory"
    for a, e in zip(values(state.ema_generator.variables), expected):
        np.testing.assert_allclose(a, e, atol=1e-6)
    off = start(unconditional, ema=0.0)
    fit(off, 3, progress=False)
    assert same(off.ema_generator.variables, off.task.generator.variables)


@pytest.mark.parametrize("make", [*JOBS.values(), critic], ids=[*JOBS, "critic"])
def test_resuming_changes_nothing(make):
    whole, half, resumed = start(make), start(make), start(make, seed=99)
    rows = fit(whole, 5, progress=False)
    fit(half, 2, progress=False)
    assert not same(half.variables[1:], resumed.variables[1:])
    for old, new in zip(half.variables, resumed.variables, strict=True):
        new.assign(old)
    later = fit(resumed, 5, progress=False)
    assert later == rows[2:], "not the same run, to the last bit"
    for part in (
        "job.generator",
        "job.discriminator",
        "ema",
        "g_optimizer",
        "d_optimizer",
    ):  # not by `variables`, which is on trial
        assert same(attrgetter(part)(resumed).variables, attrgetter(part)(whole).variables), part


def test_the_picture_gan_resumes_to_the_last_bit():
    "Convolutions and label tables, on all cores."
    from gan_audio_tut import datasets, specgan

    clips, recipe = (
        datasets.drums(n_per_class=2),
        specgan.TrainConfig(base_channels=4, batch_size=8),
    )
    whole, half = specgan.build_specgan(clips, recipe), specgan.build_specgan(clips, recipe)
    fit(whole, 4, progress=False)
    fit(half, 2, progress=False)
    resumed = specgan.build_specgan(clips, recipe, seed=0)
    for old, new in zip(half.variables, resumed.variables, strict=True):
        new.assign(old)
    fit(resumed, 4, progress=False)
    assert same(resumed.variables, whole.variables)


@four_jobs
def test_batches_are_pure(make):
    job = make()
    flat = lambda seed, step: [t.numpy() for t in tf.nest.flatten(job.batch(seed, step))]
    again = lambda seed, step: [
        t.numpy() for t in tf.nest.flatten(tf.function(job.batch)(seed, tf.constant(step)))
    ]
    assert same(flat(3, 7), flat(3, 7))
    for x, y in zip(flat(3, 7), again(3, 7)):
        np.testing.assert_allclose(x, y, atol=1e-6)
    assert not same(flat(3, 7), flat(3, 8)) and not same(flat(3, 7), flat(4, 7))


def test_seed_pairs_never_meet():
    pairs = {
        tuple(fold_in(seed, step, stream).numpy())
        for seed in range(3)
        for step in range(20)
        for stream in range(16)
    }
    assert len(pairs) == 3 * 20 * 16
    with pytest.raises(ValueError, match="stream 16"):
        fold_in(0, 0, 16)


@pytest.mark.parametrize(
    "n, batch_size", [(1, 3), (2, 1), (7, 3), (10, 4), (13, 32), (64, 64), (1000, 96)]
)
def test_every_epoch_visits_every_example_once(n, batch_size):
    epochs, steps = 3, -(-3 * n // batch_size)
    order = np.concatenate([epoch_indices(5, step, batch_size, n) for step in range(steps)])[
        : epochs * n
    ].reshape(epochs, n)
    assert (np.sort(order, 1) == np.arange(n)).all()
    if n > 6:
        other = np.concatenate([epoch_indices(6, step, batch_size, n) for step in range(steps)])[:n]
        for a, b in (
            (order[0], order[1]),
            (order[1], order[2]),
            (order[0], np.arange(n)),
            (order[0], other),
        ):
            assert (a != b).any()


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_a_shuffle_has_no_favourites(seed):
    "Each of 8 comes first in one epoch of eight (chi-squared, 7 degrees of freedom, p > 1e-4), whatever the seed."
    first = [int(epoch_indices(seed, epoch, 8, 8)[0]) for epoch in range(800)]
    counts = np.bincount(first, minlength=8)
    assert ((counts - 100) ** 2 / 100).sum() < 29.9, counts


@pytest.mark.parametrize("n", [64, 1000, 2700])
def test_a_shuffle_is_one(n):
    "One example in its place, one neighbour still next, one place as in the epoch before: on average, each Poisson(1)."
    epochs = np.array([epoch_indices(0, epoch, n, n) for epoch in range(150)])
    stayed = (epochs == np.arange(n)).sum(1).mean()
    neighbours = (np.diff(epochs, axis=1) == 1).sum(1).mean()
    repeated = (epochs[1:] == epochs[:-1]).sum(1).mean()
    for mean in (stayed, neighbours, repeated):
        assert abs(mean - 1) < 4 / 149**0.5, (stayed, neighbours, repeated)


def test_one_forward_pass_of_the_generator_serves_both_turns():
    calls = []

    class Counted(layers.Layer):
        def call(self, x):
            calls.append(1)
            return x

    z = keras.Input((3,))
    G = keras.Model(z, Counted()(layers.Dense(T)(z)))
    state = start(lambda: dataclasses.replace(unconditional(), generator=G))
    calls.clear()
    one_step(state)
    assert len(calls) == 1


def test_d_ranking_accuracy():
    rows = [
        discriminator_stats(tf.constant(a), tf.constant(b))
        for a, b in (
            ([[2.0], [1.0]], [[1.0], [3.0]]),
            ([[0.0]], [[0.0]]),
            ([[1.0, 5.0]], [[0.0, 1.0]]),
        )
    ]
    assert [float(r["d_ranking_accuracy"]) for r in rows] == [0.5, 0.5, 1.0]
    assert float(rows[0]["real_logit"]) == 1.5 and float(rows[0]["fake_logit"]) == 2.0


def with_nan_at(step_of_nan, activation):
    "A job whose data break at one step."
    D = keras.Sequential([keras.Input((T,)), layers.Dense(9, activation), layers.Dense(1)])
    batch = lambda seed, step: (
        (sample_latent(seed, step, B, 3),),
        sound(seed, step, 1) + tf.where(step == step_of_nan - 1, np.nan, 0.0),
    )
    return lambda: Task(net([3], [T]), D, batch)


@pytest.mark.parametrize(
    "activation", ["tanh", "relu"]
)  # a fused relu turns NaN into 0 and a dead D looks balanced
def test_nan_stops_the_run_and_says_where(activation):
    state, seen = start(with_nan_at(4, activation)), []
    with pytest.raises(FloatingPointError, match=r"^step 4: not finite: .*d_grad.*learning rates"):
        fit(
            state,
            10,
            callbacks=[lambda state, scalars: seen.append(int(state.step))],
            progress=False,
        )
    assert seen == [1, 2, 3], "a callback (a checkpoint) saw the broken step"


def test_fit_keeps_its_budget():
    state = start(unconditional)
    assert len(fit(state, seconds=5, clock=lambda: float(state.step), progress=False)) == 5
    assert (
        len(fit(state, steps=8, seconds=1e9, progress=False)) == 3
        and fit(state, steps=8, progress=False) == []
    )
    assert fit(state, steps=0, progress=False) == [] and fit(state, seconds=0, progress=False) == []
    with pytest.raises(ValueError, match="steps, seconds or both"):
        fit(state)
    begin = time.process_time()
    rows = fit(state, seconds=0.3, clock=time.process_time, progress=False)
    assert rows and 0.3 <= time.process_time() - begin < 0.6


def test_history_callbacks_and_bar(capsys):
    state, seen = start(unconditional), []
    rows = fit(state, 3, progress=False) + fit(
        state, 5, callbacks=[lambda s, scalars: seen.append((int(s.step), scalars))]
    )
    assert [list(r)[0] for r in rows] == ["step"] * 5 and [r["step"] for r in rows] == [
        1,
        2,
        3,
        4,
        5,
    ]
    assert [{"step": step, **scalars} for step, scalars in seen] == rows[3:]
    bar = capsys.readouterr().out
    assert "2/2" in bar and "g_loss" in bar and bar.endswith("\n"), (
        "counts the steps of this call and closes its line"
    )


def test_wrong_calls_are_refused():
    adam, job = keras.optimizers.Adam(), unconditional()
    with pytest.raises(ValueError, match="one optimiser for two"):
        TrainState(job, adam, adam)
    with pytest.raises(ValueError, match="r_1: no such term"):
        dataclasses.replace(job, weights={"r_1": 1.0})
    with pytest.raises(ValueError, match="g_fake: the loop uses that name"):
        dataclasses.replace(job, terms={"g_fake": lambda *_: 0.0})
    with pytest.raises(ValueError, match="scales no loss"):
        TrainState(job, keras.optimizers.LossScaleOptimizer(adam), keras.optimizers.Adam())


def test_an_interrupt_loses_no_row():
    state, rows = start(unconditional), []

    def stop(state, scalars):
        if int(state.step) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(state, 9, callbacks=[stop], progress=False, history=rows)
    assert [r["step"] for r in rows] == [1, 2, 3]
    assert fit(state, 5, progress=False, history=rows) is rows and [r["step"] for r in rows] == [
        1,
        2,
        3,
        4,
        5,
    ]


@pytest.mark.parametrize("sizes", [(64, 64), (64, 80)])
def test_two_data_sets_come_in_unrelated_orders(sizes):
    a, b = (
        np.argsort(epoch_indices(0, 0, n, n, stream=stream))[:64]
        for n, stream in zip(sizes, (13, 12))
    )
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.45  # 3.5 standard errors


def test_the_average_counts_the_generators_turns():
    state = start(unconditional, ema=0.999, critic_steps=4)
    before = state.ema_generator.get_weights()[0].copy()
    fit(state, 4, progress=False)
    moved = state.task.generator.get_weights()[0]
    assert np.allclose(
        state.ema_generator.get_weights()[0], before * 2 / 11 + moved * 9 / 11, atol=1e-6
    )  # its first turn, not its fourth


@pytest.mark.parametrize("seconds", [float("nan"), -1])
def test_a_budget_that_is_none(seconds):
    with pytest.raises(ValueError, match="give 0 or more"):
        fit(start(unconditional), seconds=seconds, progress=False)
