"""One training step of the picture GAN: `train_step` against two plain tapes, and against the machine's peak.

    python benchmarks/step.py        # two minutes on two cores

Both loops start from the same weights and do the same work: D's turn, G's turn, R1 where the recipe has it, two
Adams, the moving average. The plain one makes its fakes anew for each turn, as most code does; after a few steps
both stand at the same weights, which is checked. The contenders take turns in one process, so that a busy machine
disturbs them alike; a ratio is the median of the rounds' ratios. Both wall and CPU seconds are taken: the share of
the peak is a ratio of CPU seconds, which other people's work on the same cores hardly changes.
"""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from common import write

from gan_audio_tut import datasets, losses, specgan

ROUNDS, SIZE = (
    25,
    2048,
)  # rounds of the race; side of the square matrices whose product measures the peak
clips = datasets.drums(n_per_class=20)


def two_tapes(clips, recipe):
    "A whole step written plainly, with its own networks; returns the step as a function, and the networks."
    state = specgan.build_specgan(
        clips, recipe
    )  # for the same networks, data and optimisers; not for its loop
    G, D, job, step = (
        state.task.generator,
        state.task.discriminator,
        state.task,
        tf.Variable(0, dtype=tf.int64),
    )
    ema = keras.models.clone_model(G)
    ema.set_weights(G.get_weights())

    @tf.function(autograph=False)
    def d_turn():
        (z, label), real = job.batch(0, step)
        with tf.GradientTape() as tape:
            if recipe.r1:
                with tf.GradientTape() as inner:
                    inner.watch(real)
                    logits_real = D([real, label], training=True)
                penalty = recipe.r1 * losses.r1_penalty(inner.gradient(logits_real, real))
            else:
                logits_real, penalty = D([real, label], training=True), 0.0
            logits_fake = D([G([z, label], training=True), label], training=True)
            loss = sum(job.gan_loss.d_loss(logits_real, logits_fake).values()) + penalty
        state.d_optimizer.apply(tape.gradient(loss, D.trainable_variables), D.trainable_variables)
        return loss

    @tf.function(autograph=False)
    def g_turn():
        (z, label), real = job.batch(0, step)
        with tf.GradientTape() as tape:
            logits_fake = D([G([z, label], training=True), label], training=True)
            logits_real = D([real, label], training=True) if recipe.loss == "relativistic" else None
            loss = sum(job.gan_loss.g_loss(logits_real, logits_fake).values())
        state.g_optimizer.apply(tape.gradient(loss, G.trainable_variables), G.trainable_variables)
        step.assign_add(1)
        t = tf.cast(step, tf.float32)
        keep = tf.minimum(float(recipe.ema_decay), (1 + t) / (10 + t))
        for a, w in zip(ema.variables, G.variables):
            a.assign(keep * a + (1 - keep) * w)
        return loss

    return lambda: (float(d_turn()), float(g_turn())), (G, D, ema)


def run_operations(graph):
    "The operations of a graph that are run: those which an output or a side effect needs."
    todo, seen = [*(t.op for t in graph.outputs), *graph.control_outputs], set()
    while todo:
        op = todo.pop()
        if op not in seen:
            seen.add(op)
            todo += [*(t.op for t in op.inputs), *op.control_inputs]
    return seen


def multiply_adds(graph):
    "Of all convolutions and matrix products that a graph runs, from their shapes; padded borders counted in full."
    shape, total = lambda t: np.array(t.shape.as_list()), 0
    for op in run_operations(graph):
        if op.type == "MatMul":
            total += (
                shape(op.outputs[0]).prod()
                * shape(op.inputs[0])[0 if op.get_attr("transpose_a") else 1]
            )
        if op.type == "Conv2D":
            total += shape(op.outputs[0]).prod() * shape(op.inputs[1])[:3].prod()
        if op.type == "Conv2DBackpropInput":
            total += shape(op.inputs[2]).prod() * shape(op.inputs[1])[:3].prod()
        if op.type == "Conv2DBackpropFilter":
            total += shape(op.inputs[2]).prod() * shape(op.outputs[0])[:3].prod()
    return int(total)


def race(contenders):
    "Wall and CPU seconds of every call, (2, rounds, contenders), after a warm-up."
    for f in contenders:
        f(), f()
    seconds = np.empty((2, ROUNDS, len(contenders)))
    for i in range(ROUNDS):
        for j, f in enumerate(contenders):
            start = time.perf_counter(), time.process_time()
            f()
            seconds[:, i, j] = time.perf_counter() - start[0], time.process_time() - start[1]
    return seconds


def measure(name, recipe):
    "One recipe's row."
    state, (plain, nets) = specgan.build_specgan(clips, recipe), two_tapes(clips, recipe)
    ours = lambda: [float(v) for v in state.train_function().values()]
    matrix = tf.random.normal((SIZE, SIZE))
    product = tf.function(lambda: tf.linalg.matmul(matrix, matrix)[0, 0])
    for _ in range(3):
        ours(), plain()
    for a, b in zip(
        (state.task.generator, state.task.discriminator, state.ema_generator), nets, strict=True
    ):
        for v, w in zip(a.trainable_variables, b.trainable_variables, strict=True):
            assert np.abs(v.numpy() - w.numpy()).max() < 5e-4, (
                f"{name}: the two loops do not do the same: {v.path}"
            )
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
    print(
        f"{name}: {row['steps_per_second']:.2f} steps a second, {row['times_two_tapes']:.2f} times two plain tapes ({row['times_two_tapes_cpu']:.2f} "
        f"in CPU seconds); {row['gigaflop_a_step']:.1f} GFLOP a step at {row['share_of_matmul_peak']:.0%} of the speed of a matrix product"
    )
    return row


if __name__ == "__main__":
    rows = {
        name: measure(name, recipe)
        for name, recipe in specgan.RECIPES.items()
        if name in ("specgan", "dcgan")
    }
    write(
        "step",
        {"what": f"picture GAN on {clips}, batch 64, float32, {ROUNDS} rounds", "recipes": rows},
    )
