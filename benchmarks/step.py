"""One training step of SpecGAN: `train_step` against two plain tapes, and the machine's peak.

    python benchmarks/step.py        # two minutes on two cores

Both loops start from the same weights and do the same work: D's turn, G's turn, R1 where the
recipe has it, two Adams, the moving average. The plain one makes its fakes anew for each turn, as
most code does. After a few steps both stand at the same weights, which is checked. The contenders
take turns in one process, so that a busy machine disturbs them alike; a ratio is the median of the
rounds' ratios. Both wall and CPU seconds are taken: the share of the peak is a ratio of CPU
seconds, which other people's work on the same cores hardly changes.
"""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from common import write

from gan_audio_tut import datasets, losses, specgan, training

ROUNDS = 25
SIZE = 2048  # side of the square matrices whose product measures the peak


class PlainStep:
    "A whole step written plainly, with its own networks."

    def __init__(self, dataset, config):
        # for the same networks, data and optimisers; not for its loop
        self.state = specgan.build_specgan(dataset, config)
        self.task, self.config = self.state.task, config
        self.generator, self.discriminator = self.task.generator, self.task.discriminator
        self.step = tf.Variable(0, dtype=tf.int64)
        self.ema_generator = keras.models.clone_model(self.generator)
        self.ema_generator.set_weights(self.generator.get_weights())

    def __call__(self):
        return float(self.d_turn()), float(self.g_turn())

    def real_logits(self, real, label):
        "D's logits for the reals, and the weighted R1 penalty."
        if not self.config.r1:
            return self.discriminator([real, label], training=True), 0.0
        with tf.GradientTape() as tape:
            tape.watch(real)
            logits = self.discriminator([real, label], training=True)
        return logits, self.config.r1 * losses.r1_penalty(tape.gradient(logits, real))

    def fake_logits(self, z, label):
        fake = self.generator([z, label], training=True)
        return self.discriminator([fake, label], training=True)

    @tf.function(autograph=False)
    def d_turn(self):
        (z, label), real = self.task.batch(0, self.step)
        weights = self.discriminator.trainable_variables
        with tf.GradientTape() as tape:
            real_logits, penalty = self.real_logits(real, label)
            named = self.task.gan_loss.d_loss(real_logits, self.fake_logits(z, label))
            loss = sum(named.values()) + penalty
        self.state.d_optimizer.apply(tape.gradient(loss, weights), weights)
        return loss

    @tf.function(autograph=False)
    def g_turn(self):
        (z, label), real = self.task.batch(0, self.step)
        weights = self.generator.trainable_variables
        with tf.GradientTape() as tape:
            fake_logits, real_logits = self.fake_logits(z, label), None
            if self.task.gan_loss.g_uses_real:
                real_logits = self.discriminator([real, label], training=True)
            loss = sum(self.task.gan_loss.g_loss(real_logits, fake_logits).values())
        self.state.g_optimizer.apply(tape.gradient(loss, weights), weights)
        self.step.assign_add(1)
        iterations = tf.cast(self.step, tf.float32)
        decay = training.ema_decay_at(iterations, float(self.config.ema_decay))
        pairs = zip(self.ema_generator.variables, self.generator.variables, strict=True)
        for average, weight in pairs:
            average.assign(decay * average + (1 - decay) * weight)
        return loss


def run_operations(graph):
    "The operations of a graph that are run: those which an output or a side effect needs."
    todo, needed = [*(t.op for t in graph.outputs), *graph.control_outputs], set()
    while todo:
        op = todo.pop()
        if op not in needed:
            needed.add(op)
            todo += [*(t.op for t in op.inputs), *op.control_inputs]
    return needed


def size_of(tensor, first=None):
    return np.prod(tensor.shape.as_list()[:first])


def multiply_adds_of(op):
    "Of one convolution or matrix product, from its shapes; padded borders are counted in full."
    if op.type == "MatMul":
        inner = op.inputs[0].shape.as_list()[0 if op.get_attr("transpose_a") else 1]
        return size_of(op.outputs[0]) * inner
    if op.type == "Conv2D":
        return size_of(op.outputs[0]) * size_of(op.inputs[1], 3)
    if op.type == "Conv2DBackpropInput":
        return size_of(op.inputs[2]) * size_of(op.inputs[1], 3)
    if op.type == "Conv2DBackpropFilter":
        return size_of(op.inputs[2]) * size_of(op.outputs[0], 3)
    return 0


def multiply_adds(graph):
    return int(sum(multiply_adds_of(op) for op in run_operations(graph)))


def race(contenders):
    "Wall and CPU seconds of every call, (2, rounds, contenders), after a warm-up."
    for run in contenders:
        run()
        run()
    seconds = np.empty((2, ROUNDS, len(contenders)))
    for i in range(ROUNDS):
        for j, run in enumerate(contenders):
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            seconds[:, i, j] = time.perf_counter() - wall, time.process_time() - cpu
    return seconds


def check_equal(name, state, plain):
    "After the same number of steps both loops must stand at the same weights."
    ours = state.task.generator, state.task.discriminator, state.ema_generator
    theirs = plain.generator, plain.discriminator, plain.ema_generator
    for a, b in zip(ours, theirs, strict=True):
        for v, w in zip(a.trainable_variables, b.trainable_variables, strict=True):
            difference = np.abs(v.numpy() - w.numpy()).max()
            assert difference < 5e-4, f"{name}: the two loops do not do the same: {v.path}"


def measure(name, dataset, config):
    "One recipe's row."
    state, plain = specgan.build_specgan(dataset, config), PlainStep(dataset, config)
    matrix = tf.random.normal((SIZE, SIZE))

    @tf.function
    def product():
        return tf.linalg.matmul(matrix, matrix)[0, 0]

    def ours():
        return [float(v) for v in state.train_function().values()]

    for _ in range(3):
        ours()
        plain()
    check_equal(name, state, plain)
    wall, cpu = race([ours, plain, lambda: float(product())])
    macs = multiply_adds(state.train_function.get_concrete_function().graph)
    row = {
        "steps_per_second": np.median(1 / wall[:, 0]),
        "two_tapes_steps_per_second": np.median(1 / wall[:, 1]),
        "times_two_tapes": np.median(wall[:, 1] / wall[:, 0]),
        "times_two_tapes_cpu": np.median(cpu[:, 1] / cpu[:, 0]),
        "gigaflop_a_step": 2 * macs / 1e9,
        "matmul_gigaflop_a_cpu_second": 2 * SIZE**3 / np.median(cpu[:, 2]) / 1e9,
        "share_of_matmul_peak": np.median(macs / cpu[:, 0] / (SIZE**3 / cpu[:, 2])),
    }
    row = {k: round(float(v), 3) for k, v in row.items()}
    print(name, row)
    return row


def main():
    dataset = datasets.drums(n_per_class=20)
    rows = {name: measure(name, dataset, specgan.RECIPES[name]) for name in ("specgan", "dcgan")}
    what = f"SpecGAN on {dataset}, batch 64, float32, {ROUNDS} rounds"
    write("step", {"what": what, "recipes": rows})


if __name__ == "__main__":
    main()
