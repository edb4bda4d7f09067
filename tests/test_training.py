"""The contract of the loop: unlike tasks through one unchanged `train_step`, checked by numbers."""

import dataclasses
import time
from operator import attrgetter

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from gan_audio_tut import losses, training
from gan_audio_tut.audio import InputError
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

BATCH, SAMPLES = 6, 8
STATISTICS = {"d_grad", "g_grad", "real_logit", "fake_logit", "d_ranking_accuracy"}


def waveform(seed, step, stream):
    return tf.sin(sample_latent(seed, step, BATCH, SAMPLES, stream))


def network(input_sizes, output_sizes, label=False, features=False):
    "A small smooth network: inputs of these sizes (and a label), an output for each size."
    inputs = [keras.Input((n,)) for n in input_sizes]
    parts = list(inputs)
    if label:
        inputs.append(keras.Input((), dtype="int32"))
        parts.append(layers.Embedding(3, 4)(inputs[-1]))
    h = layers.Dense(10, "tanh")(layers.Concatenate()(parts) if len(parts) > 1 else parts[0])
    k = layers.Dense(9, "tanh")(h)
    outputs = [layers.Dense(n)(k) for n in output_sizes] + ([h, k] if features else [])
    return keras.Model(
        inputs if len(inputs) > 1 else inputs[0], outputs if len(outputs) > 1 else outputs[0]
    )


# --- the tasks ------------------------------------------------------------------------------------


def latent_batch(seed, step):
    return (sample_latent(seed, step, BATCH, 3),), waveform(seed, step, 1)


def denoising_batch(seed, step):
    clean = waveform(seed, step, 1)
    return (clean + 0.1 * sample_latent(seed, step, BATCH, SAMPLES),), clean


def l1(inputs, real, fake, features_real, features_fake):
    return tf.reduce_mean(tf.abs(real - fake))


def match_features(inputs, real, fake, features_real, features_fake):
    return losses.feature_matching(features_real, features_fake)


def unconditional():
    "D gives several logits a clip."
    generator, discriminator = network([3], [SAMPLES]), network([SAMPLES], [4])
    return Task(generator, discriminator, latent_batch, loss_weights={"r2": 0.3})


def conditional():
    labels = tf.constant([0, 1, 2, 2, 1])

    def batch(seed, step):
        label = tf.gather(labels, epoch_indices(seed, step, BATCH, 5))
        real = waveform(seed, step, 1) + tf.cast(label, tf.float32)[:, None]
        return (sample_latent(seed, step, BATCH, 3), label), real

    return Task(
        network([3], [SAMPLES], label=True),
        network([SAMPLES], [1], label=True),
        batch,
        losses.relativistic,
        loss_weights={"r1": 0.7, "adversarial": 2.0},
        condition=lambda inputs: inputs[1:],
    )


def paired():
    return Task(
        network([SAMPLES], [SAMPLES]),
        network([SAMPLES, SAMPLES], [2], features=True),
        denoising_batch,
        losses.hinge,
        {"l1": l1, "features": match_features},
        loss_weights={"l1": 10.0, "features": 2.0, "r1": 0.5},
        condition=lambda inputs: inputs,
        matches_features=True,
    )


def two_outputs():
    def batch(seed, step):
        a, b = waveform(seed, step, 1), waveform(seed, step, 2)
        return (a + b,), (a, b)

    def mixture(inputs, real, fake, features_real, features_fake):
        return tf.reduce_mean(tf.square(fake[0] + fake[1] - inputs[0]))

    return Task(
        network([SAMPLES], [SAMPLES, SAMPLES]),
        network([SAMPLES, SAMPLES], [3]),
        batch,
        losses.least_squares,
        {"sum": mixture},
        loss_weights={"r1": 0.2, "r2": 0.1},
    )


def reconstruction():
    "Without a discriminator."
    generator = network([SAMPLES], [SAMPLES])
    return Task(generator, None, denoising_batch, aux_losses={"l1": l1}, loss_weights={"l1": 3.0})


def critic():
    return dataclasses.replace(
        unconditional(), gan_loss=losses.wasserstein, loss_weights={"gp": 10.0}, n_critic=3
    )


TASKS = {f.__name__: f for f in (unconditional, conditional, paired, two_outputs)}
four_tasks = pytest.mark.parametrize("make", TASKS.values(), ids=TASKS)


class RecordingSGD(keras.optimizers.SGD):
    "Plain descent that remembers the gradients it was given."

    def apply(self, grads, variables=None):
        self.grads = [tf.convert_to_tensor(g).numpy() for g in grads]
        super().apply(grads, variables)


def adam():
    return keras.optimizers.Adam(1e-2, 0.5, 0.9)


def sgd():
    return RecordingSGD(0.1)


def still():
    return RecordingSGD(0.0)


def start(make, seed=0, optimizer=adam, ema_decay=0.9, **changes):
    keras.utils.set_random_seed(seed)
    task = dataclasses.replace(make(), **changes)
    d_optimizer = None if task.discriminator is None else optimizer()
    return TrainState(task, optimizer(), d_optimizer, ema_decay, seed=0)


def values(variables):
    return [v.numpy() if hasattr(v, "numpy") else v for v in variables]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(values(a), values(b), strict=True))


def copy_variables(source, target):
    for old, new in zip(source.variables, target.variables, strict=True):
        new.assign(old)


def one_step(state, **options):
    inputs, real = state.task.batch(0, 0)
    return {k: float(v) for k, v in train_step(state, inputs, real, **options).items()}


# --- the step against a textbook's ----------------------------------------------------------------


def as_list(x):
    return list(x) if isinstance(x, (list, tuple)) else [x]


def bare(x):
    return x if len(x) > 1 else x[0]


class PlainStep:
    "The same step as a textbook writes it: two tapes, and each turn makes its own fakes."

    def __init__(self, task):
        self.task = task
        self.inputs, self.real = task.batch(0, 0)

    def weight(self, name, default=0):
        return self.task.loss_weights.get(name, default)

    def generate(self):
        return self.task.generator(bare(self.inputs), training=True)

    def discriminate(self, x):
        d_inputs = [*as_list(x), *self.task.condition(self.inputs)]
        logits, *features = as_list(self.task.discriminator(bare(d_inputs), training=True))
        return logits, features

    def half_squared_gradient(self, x):
        x = [tf.convert_to_tensor(part) for part in as_list(x)]
        with tf.GradientTape() as tape:
            tape.watch(x)
            score = tf.reduce_sum(self.discriminate(x)[0])
        gradient = tf.concat(tape.gradient(score, x), 1)
        return tf.reduce_mean(tf.reduce_sum(tf.square(gradient), 1)) / 2

    def d_turn(self, optimizer):
        weights = self.task.discriminator.trainable_variables
        with tf.GradientTape() as tape:
            fake = self.generate()
            real_logits, fake_logits = self.discriminate(self.real)[0], self.discriminate(fake)[0]
            game = sum(self.task.gan_loss.d_loss(real_logits, fake_logits).values())
            loss = self.weight("adversarial", 1) * game
            for name, x in (("r1", self.real), ("r2", fake)):
                if self.weight(name):
                    loss += self.weight(name) * self.half_squared_gradient(x)
        optimizer.apply(tape.gradient(loss, weights), weights)

    def g_turn(self, optimizer):
        weights = self.task.generator.trainable_variables
        with tf.GradientTape() as tape:
            fake = self.generate()
            real_logits, features_real = self.discriminate(self.real)
            fake_logits, features_fake = self.discriminate(fake)
            game = sum(self.task.gan_loss.g_loss(real_logits, fake_logits).values())
            loss = self.weight("adversarial", 1) * game
            for name, aux_loss in self.task.aux_losses.items():
                value = aux_loss(self.inputs, self.real, fake, features_real, features_fake)
                loss += self.weight(name, 1) * value
        optimizer.apply(tape.gradient(loss, weights), weights)


@four_tasks
def test_gradients_are_those_of_two_plain_tapes(make):
    ours, theirs = start(make, optimizer=sgd), start(make, optimizer=sgd)
    one_step(ours)
    plain = PlainStep(theirs.task)
    plain.d_turn(theirs.d_optimizer)
    plain.g_turn(theirs.g_optimizer)
    for a, b in ((ours.d_optimizer, theirs.d_optimizer), (ours.g_optimizer, theirs.g_optimizer)):
        assert max(np.abs(g).max() for g in a.grads) > 1e-3, "nothing was learned"
        for x, y in zip(a.grads, b.grads, strict=True):
            np.testing.assert_allclose(x, y, rtol=0, atol=1e-6)


@four_tasks
def test_the_graph_does_what_the_eager_step_does(make):
    eager, graph = start(make), start(make)
    for _ in range(3):
        a, b = eager.eager_train_function(), graph.train_function()
    assert set(a) == set(b)
    for k in a:
        np.testing.assert_allclose(a[k], b[k], rtol=1e-4, atol=1e-5, err_msg=k)


@four_tasks
def test_each_network_learns_from_its_own_loss_only(make):
    both, d_only = start(make), start(make)
    g_before = values(both.task.generator.variables)
    d_before = values(both.task.discriminator.variables)
    one_step(both)
    row = one_step(d_only, generator_turn=False)
    assert same(d_only.task.generator.variables, g_before) and "g_loss" not in row
    assert not same(both.task.generator.variables, g_before)
    assert not same(both.task.discriminator.variables, d_before)
    assert same(both.task.discriminator.variables, d_only.task.discriminator.variables), (
        "G's turn moved D"
    )


def test_no_weight_crosses_over():
    "G's losses leave D's update alone; D's penalty leaves G's gradient alone while D stands still."
    weights = paired().loss_weights
    a = start(paired)
    b = start(paired, loss_weights=weights | {"l1": 99.0, "features": 7.0})
    one_step(a)
    one_step(b)
    assert same(a.task.discriminator.variables, b.task.discriminator.variables)
    c = start(paired, optimizer=still)
    d = start(paired, optimizer=still, loss_weights=weights | {"r1": 50.0})
    one_step(c)
    one_step(d)
    assert same(c.g_optimizer.grads, d.g_optimizer.grads)
    assert not same(c.d_optimizer.grads, d.d_optimizer.grads)


@four_tasks
def test_losses_are_the_weighted_sums_of_their_parts(make):
    state = start(make)
    row = one_step(state)
    weights = {"adversarial": 1.0} | state.task.loss_weights
    reported = STATISTICS | {"d_loss", "g_loss"}
    assert reported < set(row) and all(np.isfinite(list(row.values())))
    other_losses = {"d": {"r1", "r2", "gp"}, "g": set(state.task.aux_losses)}
    for side in "dg":
        game = sum(v for k, v in row.items() if k.startswith(f"{side}_") and k not in reported)
        extra = sum(weights.get(k, 1.0) * row[k] for k in other_losses[side] & set(row))
        expected = weights["adversarial"] * game + extra
        assert row[f"{side}_loss"] == pytest.approx(expected, rel=1e-5)


def test_a_doubled_weight_doubles_the_gradient_of_its_loss():
    gradients = []
    for weight in (0.0, 1.0, 2.0):
        state = start(paired, optimizer=still, loss_weights={"l1": weight, "features": 0.0})
        one_step(state)
        gradients.append(state.g_optimizer.grads)
    for none, once, twice in zip(*gradients, strict=True):
        np.testing.assert_allclose(twice - none, 2 * (once - none), atol=1e-6)


# --- which passes are needed ----------------------------------------------------------------------


class CallCounter(layers.Layer):
    "Hands its input on and counts how often."

    calls = 0

    def call(self, x):
        CallCounter.calls += 1
        return x


def test_one_forward_pass_of_the_generator_serves_both_turns():
    z = keras.Input((3,))
    generator = keras.Model(z, CallCounter()(layers.Dense(SAMPLES)(z)))
    state = start(unconditional, generator=generator)
    CallCounter.calls = 0
    one_step(state)
    assert CallCounter.calls == 1


@pytest.mark.parametrize(
    "gan_loss, features, aux_losses, expected",
    [
        (losses.non_saturating, False, {}, 3),  # D's turn: real and fake; G's turn: fake
        (losses.wasserstein, False, {"l1": l1}, 3),
        (losses.non_saturating, True, {}, 3),
        (losses.non_saturating, True, {"l1": l1}, 3),
        (losses.non_saturating, True, {"features": match_features}, 4),
        (losses.relativistic, False, {}, 4),
    ],
)
def test_reals_pass_d_in_the_generators_turn_only_where_needed(
    gan_loss, features, aux_losses, expected
):
    x = keras.Input((SAMPLES,))
    h = layers.Dense(9, "tanh")(CallCounter()(x))
    logits = layers.Dense(1)(h)
    discriminator = keras.Model(x, [logits, h] if features else logits)
    state = start(
        unconditional,
        discriminator=discriminator,
        gan_loss=gan_loss,
        aux_losses=aux_losses,
        loss_weights={},
        matches_features="features" in aux_losses,
    )
    CallCounter.calls = 0
    one_step(state)
    assert CallCounter.calls == expected


def test_batch_norm_of_d_is_updated_once_for_each_pass_that_is_needed():
    discriminator = keras.Sequential(
        [keras.Input((SAMPLES,)), layers.BatchNormalization(momentum=0.5), layers.Dense(1)]
    )
    state = start(unconditional, discriminator=discriminator, loss_weights={}, optimizer=still)
    inputs, real = state.task.batch(0, 0)
    fake = state.task.generator(inputs[0])
    expected = np.zeros(SAMPLES)
    for x in (real, fake, fake):
        expected = 0.5 * expected + 0.5 * np.mean(x, axis=0)
    state.eager_train_function()
    np.testing.assert_allclose(discriminator.layers[0].moving_mean, expected, atol=1e-6)


# --- without a discriminator ----------------------------------------------------------------------


def test_without_a_discriminator_only_the_generator_learns():
    state = start(reconstruction)
    rows = fit(state, 30, progress=False)
    assert set(rows[0]) == {"step", "g_loss", "l1", "g_grad"}
    assert rows[0]["g_loss"] == pytest.approx(3 * rows[0]["l1"])
    assert rows[-1]["l1"] < rows[0]["l1"]
    generators = state.task.generator, state.ema_generator
    n_networks = sum(len(g.variables) for g in generators)
    assert len(state.variables) == 1 + n_networks + len(state.g_optimizer.variables)


def test_no_discriminator_equals_one_of_weight_zero():
    "Bit for bit: the generator, its average and its optimiser."
    without = start(reconstruction)
    dummy = network([SAMPLES], [1])
    beside = start(reconstruction, loss_weights={"l1": 3.0, "adversarial": 0.0})
    task = dataclasses.replace(beside.task, discriminator=dummy)
    beside = TrainState(task, adam(), adam(), beside.ema_decay)
    a, b = fit(without, 5, progress=False), fit(beside, 5, progress=False)
    for part in ("task.generator", "ema_generator", "g_optimizer"):
        assert same(attrgetter(part)(without).variables, attrgetter(part)(beside).variables), part
    assert [r["g_loss"] for r in a] == [r["g_loss"] for r in b]
    assert [r["g_grad"] for r in a] == [r["g_grad"] for r in b]


def test_a_checkpoint_without_a_discriminator(tmp_path):
    from gan_audio_tut import runs

    straight, stopped, resumed = (start(reconstruction, seed) for seed in (0, 0, 9))
    rows = fit(straight, 6, progress=False)
    fit(stopped, 3, progress=False)
    runs.save_checkpoint(tmp_path / "0000003.npz", stopped)
    runs.load_checkpoint(tmp_path / "0000003.npz", resumed)
    assert fit(resumed, 6, progress=False) == rows[3:]
    assert same(resumed.variables, straight.variables)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"loss_weights": {"adversarial": 0.5}}, "adversarial: needs a discriminator"),
        ({"loss_weights": {"r1": 1.0}}, "r1: needs a discriminator"),
        ({"aux_losses": {}, "loss_weights": {}}, "no discriminator and no aux_losses"),
        ({"n_critic": 2}, "no discriminator to train"),
    ],
)
def test_what_needs_a_discriminator_is_refused_without(changes, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(reconstruction(), **changes)


def test_an_optimiser_for_each_network():
    with pytest.raises(InputError, match="leave it out"):
        TrainState(reconstruction(), adam(), adam())
    with pytest.raises(InputError, match="give a d_optimizer"):
        TrainState(unconditional(), adam())


# --- penalties and statistics ---------------------------------------------------------------------


@pytest.mark.parametrize("n_logits", [1, 3])
@pytest.mark.parametrize("parts", [1, 2])
def test_penalties_of_a_linear_discriminator(n_logits, parts):
    "D(x) = Wx + b: every gradient is the sum of W's columns, wherever it is taken."
    inputs = [keras.Input((SAMPLES,)) for _ in range(parts)]
    x = layers.Concatenate()(inputs) if parts > 1 else inputs[0]
    discriminator = keras.Model(inputs if parts > 1 else inputs[0], layers.Dense(n_logits)(x))
    w = discriminator.get_weights()[0].sum(1)  # (parts * SAMPLES,)
    task = Task(
        network([3], [SAMPLES] * parts),
        discriminator,
        None,
        losses.wasserstein,
        loss_weights={"r1": 1.0, "r2": 1.0, "gp": 1.0},
    )
    d_real, d_fake = (
        [sample_latent(0, step, BATCH, SAMPLES, stream) for stream in range(parts)]
        for step in range(2)
    )
    found, _ = discriminator_losses(start(lambda: task), (), d_real, d_fake)
    for name in ("r1", "r2"):
        assert float(found[name]) == pytest.approx(np.sum(w**2) / 2, rel=1e-5)
    assert float(found["gp"]) == pytest.approx((np.sqrt(np.sum(w**2)) - 1) ** 2, rel=1e-4)


def test_interpolate_keeps_one_fraction_for_all_parts():
    real = [tf.zeros((BATCH, SAMPLES)), tf.zeros((BATCH, 2, 3))]
    fake = [tf.ones((BATCH, SAMPLES)), tf.ones((BATCH, 2, 3))]
    a, b = (part.numpy().reshape(BATCH, -1) for part in interpolate(real, fake, 0, 5))
    assert (a == a[:, :1]).all() and (b == a[:, :1]).all() and 0 <= a.min() < a.max() <= 1
    assert len(set(a[:, 0])) == BATCH
    assert not np.array_equal(a, interpolate(real, fake, 0, 6)[0])


def test_a_penalty_of_weight_zero_is_only_reported():
    a = start(unconditional, loss_weights={})
    b = start(unconditional, loss_weights={"r1": 0.0})
    row = one_step(b)
    one_step(a)
    assert row["r1"] > 0
    for x, y in zip(values(a.variables), values(b.variables), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)


@pytest.mark.parametrize(
    "real, fake, expected",
    [
        ([[2.0], [1.0]], [[1.0], [3.0]], 0.5),
        ([[0.0]], [[0.0]], 0.5),
        ([[1.0, 5.0]], [[0.0, 1.0]], 1.0),
    ],
)
def test_discriminator_stats(real, fake, expected):
    row = discriminator_stats(tf.constant(real), tf.constant(fake))
    assert float(row["d_ranking_accuracy"]) == expected
    assert float(row["real_logit"]) == np.mean(real)
    assert float(row["fake_logit"]) == np.mean(fake)


def test_n_critic():
    state, generator, averages = start(critic), [], []

    def record(state, scalars):
        generator.append(values(state.task.generator.variables))
        averages.append(values(state.ema_generator.variables))

    before = values(state.task.generator.variables)
    rows = fit(state, steps=7, callbacks=[record], progress=False)
    assert [r["step"] for r in rows if "g_loss" in r] == [3, 6]
    assert all("d_loss" in r for r in rows)
    for steps in (generator, averages):
        assert same(steps[0], before) and same(steps[1], before)
        assert same(steps[2], steps[4]) and same(steps[5], steps[6])
        assert not same(steps[2], before) and not same(steps[5], steps[2])


# --- the moving average ---------------------------------------------------------------------------


def test_the_moving_average():
    state = start(unconditional, ema_decay=0.3)
    expected = values(state.ema_generator.variables)
    assert same(expected, state.task.generator.variables)
    for t in range(1, 6):
        state.train_function()
        decay = min(0.3, (1 + t) / (10 + t))
        weights = values(state.task.generator.variables)
        expected = [decay * a + (1 - decay) * w for a, w in zip(expected, weights, strict=True)]
    assert decay == 0.3, "the test should reach the long memory"
    for a, e in zip(values(state.ema_generator.variables), expected, strict=True):
        np.testing.assert_allclose(a, e, atol=1e-6)
    off = start(unconditional, ema_decay=0.0)
    fit(off, 3, progress=False)
    assert same(off.ema_generator.variables, off.task.generator.variables)


def test_the_average_counts_the_generators_turns():
    state = start(unconditional, ema_decay=0.999, n_critic=4)
    before = state.ema_generator.get_weights()[0].copy()
    fit(state, 4, progress=False)
    after = state.task.generator.get_weights()[0]
    expected = before * 2 / 11 + after * 9 / 11  # its first turn, not its fourth
    assert np.allclose(state.ema_generator.get_weights()[0], expected, atol=1e-6)


def test_ema_decay_at():
    found = [float(training.ema_decay_at(float(t), 0.999)) for t in (1, 90, 8990, 10**6)]
    np.testing.assert_allclose(found, [2 / 11, 0.91, 8991 / 9000, 0.999], rtol=1e-6)


# --- resuming -------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [*TASKS.values(), critic], ids=[*TASKS, "critic"])
def test_resuming_changes_nothing(make):
    straight, stopped, resumed = start(make), start(make), start(make, seed=99)
    rows = fit(straight, 5, progress=False)
    fit(stopped, 2, progress=False)
    assert not same(stopped.variables[1:], resumed.variables[1:])
    copy_variables(stopped, resumed)
    assert fit(resumed, 5, progress=False) == rows[2:], "not the same run, to the last bit"
    parts = ("task.generator", "task.discriminator", "ema_generator", "g_optimizer", "d_optimizer")
    for part in parts:  # not by `variables`, which is on trial
        a, b = attrgetter(part)(resumed), attrgetter(part)(straight)
        assert same(a.variables, b.variables), part


def test_specgan_resumes_to_the_last_bit():
    "Convolutions and label tables, on all cores."
    from gan_audio_tut import datasets, specgan

    dataset = datasets.drums(n_per_class=2)
    config = specgan.TrainConfig(base_channels=4, batch_size=8)
    straight, stopped, resumed = (specgan.build_specgan(dataset, config, seed=0) for _ in range(3))
    fit(straight, 4, progress=False)
    fit(stopped, 2, progress=False)
    copy_variables(stopped, resumed)
    fit(resumed, 4, progress=False)
    assert same(resumed.variables, straight.variables)


# --- random draws ---------------------------------------------------------------------------------


@four_tasks
def test_batches_are_pure(make):
    task = make()
    graph_batch = tf.function(task.batch)

    def flat(batch):
        return [t.numpy() for t in tf.nest.flatten(batch)]

    assert same(flat(task.batch(3, 7)), flat(task.batch(3, 7)))
    in_graph = flat(graph_batch(3, tf.constant(7)))
    for x, y in zip(flat(task.batch(3, 7)), in_graph, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)
    assert not same(flat(task.batch(3, 7)), flat(task.batch(3, 8)))
    assert not same(flat(task.batch(3, 7)), flat(task.batch(4, 7)))


def test_seeds_never_meet():
    seeds = np.array(
        [
            [[fold_in(seed, step, stream) for stream in range(16)] for step in range(20)]
            for seed in range(3)
        ]
    )
    assert len(np.unique(seeds.reshape(-1, 2), axis=0)) == 3 * 20 * 16
    with pytest.raises(InputError, match="stream 16"):
        fold_in(0, 0, 16)


def first_epochs(seed, batch_size, n, epochs):
    "The orders of the first epochs, (epochs, n)."
    steps = -(-epochs * n // batch_size)
    indices = tf.function(epoch_indices, autograph=False)
    order = [indices(seed, tf.constant(step), batch_size, n) for step in range(steps)]
    return np.concatenate(order)[: epochs * n].reshape(epochs, n)


@pytest.mark.parametrize(
    "n, batch_size",
    [(1, 3), (2, 1), (7, 3), (10, 4), (13, 32), (64, 64), (1000, 96), (4097, 100), (5000, 12000)],
)
def test_every_epoch_visits_every_example_once(n, batch_size):
    order = first_epochs(5, batch_size, n, epochs=3)
    assert (np.sort(order, 1) == np.arange(n)).all()
    if n > 6:
        other = first_epochs(6, batch_size, n, epochs=1)
        pairs = [order[:2], order[1:], (order[0], np.arange(n)), (order[0], other[0])]
        assert all((a != b).any() for a, b in pairs)


@pytest.mark.parametrize("n", [2, 3, 10, 37, 101, 4096, 4097])
def test_the_cipher_is_a_permutation_of_any_size(n):
    index = tf.range(n, dtype=tf.int64)
    keys = tf.random.stateless_uniform((6,), [n, 0], None, None, tf.uint64)
    order = training._permute(index, tf.repeat(keys[None], n, axis=0), n).numpy()
    assert (np.sort(order) == np.arange(n)).all()


def test_the_order_of_a_small_data_set_is_as_released():
    "Seeded runs depend on it; these are version 0.1.0's indices."
    assert epoch_indices(0, 0, 10, 10).numpy().tolist() == [6, 8, 7, 9, 5, 4, 3, 1, 2, 0]
    assert epoch_indices(3, 5, 6, 4096, stream=12).numpy().tolist() == [
        3487,
        3030,
        2359,
        534,
        3145,
        2505,
    ]


def test_an_index_of_a_large_data_set_costs_no_sort():
    "One step's indices took 37 ms at 200 000 examples; now their number does not matter."
    indices = tf.function(epoch_indices, autograph=False)
    spent = []
    for step in range(20):
        begin = time.process_time()
        indices(0, tf.constant(step), 64, 2_000_000).numpy()
        spent.append(time.process_time() - begin)
    assert min(spent) < 0.01, spent


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_a_shuffle_has_no_favourites(seed):
    "Each of 8 comes first in one epoch of eight (chi-squared, 7 degrees of freedom, p > 1e-4)."
    first = first_epochs(seed, 8, 8, epochs=800)[:, 0]
    counts = np.bincount(first, minlength=8)
    assert ((counts - 100) ** 2 / 100).sum() < 29.9, counts


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_a_large_shuffle_has_no_favourites(seed):
    "The first of 8000 falls into each eighth alike, in 800 epochs; the same chi-squared."
    indices = tf.function(epoch_indices, autograph=False)
    first = [int(indices(seed, tf.constant(8000 * epoch), 1, 8000)[0]) for epoch in range(800)]
    counts = np.bincount(np.array(first) // 1000, minlength=8)
    assert ((counts - 100) ** 2 / 100).sum() < 29.9, counts


@pytest.mark.parametrize("n", [64, 1000, 2700, 5000])
def test_a_shuffle_is_one(n):
    "Means of Poisson(1): examples in place, neighbours still next, places as the epoch before."
    epochs = first_epochs(0, n, n, epochs=150)
    stayed = (epochs == np.arange(n)).sum(1).mean()
    neighbours = (np.diff(epochs, axis=1) == 1).sum(1).mean()
    repeated = (epochs[1:] == epochs[:-1]).sum(1).mean()
    for mean in (stayed, neighbours, repeated):
        assert abs(mean - 1) < 4 / 149**0.5, (stayed, neighbours, repeated)


@pytest.mark.parametrize("sizes", [(64, 64), (64, 80), (5000, 5000), (5000, 6000)])
def test_two_data_sets_come_in_unrelated_orders(sizes):
    a, b = (
        np.argsort(epoch_indices(0, 0, n, n, stream=stream))[:64]
        for n, stream in zip(sizes, (13, 12), strict=True)
    )
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.45  # 3.5 standard errors


# --- fit ------------------------------------------------------------------------------------------


@pytest.fixture
def state():
    return start(unconditional)


def task_with_nan_at(bad_step, activation):
    "A task whose data break at one step."
    discriminator = keras.Sequential(
        [keras.Input((SAMPLES,)), layers.Dense(9, activation), layers.Dense(1)]
    )

    def batch(seed, step):
        inputs, real = latent_batch(seed, step)
        return inputs, real + tf.where(step == bad_step - 1, np.nan, 0.0)

    return Task(network([3], [SAMPLES]), discriminator, batch)


@pytest.mark.parametrize(
    "activation", ["tanh", "relu"]
)  # a fused relu turns NaN into 0 and a dead D looks balanced
def test_nan_stops_the_run_and_says_where(activation):
    state, steps = start(lambda: task_with_nan_at(4, activation)), []

    def record(state, scalars):
        steps.append(int(state.step))

    with pytest.raises(FloatingPointError, match=r"^step 4: not finite: .*d_grad.*learning rates"):
        fit(state, 10, callbacks=[record], progress=False)
    assert steps == [1, 2, 3], "a callback (a checkpoint) saw the broken step"


def test_fit_keeps_its_budget(state):
    assert len(fit(state, seconds=5, clock=lambda: float(state.step), progress=False)) == 5
    assert len(fit(state, steps=8, seconds=1e9, progress=False)) == 3
    assert fit(state, steps=8, progress=False) == []
    assert fit(state, steps=0, progress=False) == [] and fit(state, seconds=0, progress=False) == []
    with pytest.raises(InputError, match="steps, seconds or both"):
        fit(state)
    begin = time.process_time()
    rows = fit(state, seconds=0.3, clock=time.process_time, progress=False)
    assert rows and 0.3 <= time.process_time() - begin < 0.6


@pytest.mark.parametrize("seconds", [float("nan"), -1])
def test_a_budget_that_is_none(state, seconds):
    with pytest.raises(InputError, match="give 0 or more"):
        fit(state, seconds=seconds, progress=False)


def test_history_callbacks_and_bar(state, capsys):
    called = []

    def record(state, scalars):
        called.append({"step": int(state.step), **scalars})

    rows = fit(state, 3, progress=False) + fit(state, 5, callbacks=[record])
    assert [next(iter(r)) for r in rows] == ["step"] * 5
    assert [r["step"] for r in rows] == [1, 2, 3, 4, 5]
    assert called == rows[3:]
    bar = capsys.readouterr().out
    assert "2/2" in bar and "g_loss" in bar and bar.endswith("\n"), (
        "counts the steps of this call and closes its line"
    )


def test_an_interrupt_loses_no_row(state):
    rows = []

    def stop(state, scalars):
        if int(state.step) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(state, 9, callbacks=[stop], progress=False, history=rows)
    assert [r["step"] for r in rows] == [1, 2, 3]
    assert fit(state, 5, progress=False, history=rows) is rows
    assert [r["step"] for r in rows] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"loss_weights": {"r_1": 1.0}}, "r_1: no such loss"),
        ({"aux_losses": {"g_fake": l1}}, "g_fake: the loop uses that name"),
        ({"n_critic": 0}, "n_critic 0: give 1 or more"),
    ],
)
def test_wrong_tasks_are_refused(changes, message):
    with pytest.raises(InputError, match=message) as caught:
        dataclasses.replace(unconditional(), **changes)
    assert "\n" not in str(caught.value)


def test_wrong_optimizers_are_refused():
    shared, task = keras.optimizers.Adam(), unconditional()
    with pytest.raises(InputError, match="one optimiser for two"):
        TrainState(task, shared, shared)
    with pytest.raises(InputError, match="scales no loss"):
        TrainState(task, keras.optimizers.LossScaleOptimizer(shared), keras.optimizers.Adam())
