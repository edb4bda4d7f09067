"""Activations at the ends of float32: values and derivatives of arrays and tensors of all kinds."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from scipy import special

from gan_audio_tut import activations as a

LARGEST = np.finfo("float32").max
MAGNITUDES = np.array([1e-30, 1e-6, 1, 40, 88, 89, 104, 200, LARGEST, np.inf])
POINTS = np.float32([*-MAGNITUDES[::-1], 0, *MAGNITUDES, 17])
# ours, SciPy's or NumPy's in double precision, its derivative in double precision
FUNCTIONS = {
    "sigmoid": (a.sigmoid, special.expit, lambda x: special.expit(x) * special.expit(-x)),
    "tanh": (a.tanh, np.tanh, lambda x: 4 * special.expit(2 * x) * special.expit(-2 * x)),
    "softplus": (a.softplus, lambda x: -special.log_expit(-x), special.expit),
    "log_sigmoid": (a.log_sigmoid, special.log_expit, lambda x: special.expit(-x)),
    "leaky_relu": (
        a.leaky_relu,
        lambda x: np.where(x > 0, x, 0.2 * x),
        lambda x: np.where(x > 0, 1, 0.2),
    ),
}
each_function = pytest.mark.parametrize("name", FUNCTIONS)


def slope_in_graph(fn, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = fn(x)
    return tape.gradient(y, x)


def slope(fn, x):
    return slope_in_graph(fn, tf.convert_to_tensor(x)).numpy()


@each_function
def test_values_everywhere(name):
    "Relative to double precision; below 1e-37 float32 has no full precision left."
    ours, exact, _ = FUNCTIONS[name]
    np.testing.assert_allclose(
        ours(POINTS), exact(POINTS.astype("float64")).astype("float32"), rtol=4e-7, atol=1e-37
    )


@each_function
def test_slopes_everywhere(name):
    ours, _, exact = FUNCTIONS[name]
    np.testing.assert_allclose(
        slope(ours, POINTS), exact(POINTS.astype("float64")), rtol=1e-6, atol=1e-37
    )


@each_function
def test_slopes_in_a_graph(name):
    ours, _, exact = FUNCTIONS[name]
    graph = tf.function(lambda x: ops.convert_to_tensor(slope_in_graph(ours, x)))
    np.testing.assert_allclose(
        graph(tf.constant(POINTS)), exact(POINTS.astype("float64")), rtol=1e-6, atol=1e-37
    )


@pytest.mark.parametrize(
    "ours, x, value",
    [
        (a.sigmoid, 0, 1 / 4),
        (a.sigmoid, 40, np.exp(-40)),
        (a.sigmoid, -40, np.exp(-40)),
        (a.tanh, 0, 1),
        (a.tanh, 40, 4 * np.exp(-80)),
        (a.tanh, -40, 4 * np.exp(-80)),
        (a.softplus, 0, 1 / 2),
        (a.softplus, 40, 1),
        (a.softplus, -40, np.exp(-40)),
        (a.log_sigmoid, 0, 1 / 2),
        (a.log_sigmoid, 40, np.exp(-40)),
        (a.log_sigmoid, -40, 1),
    ],
)
def test_slopes_by_hand(ours, x, value):
    assert slope(ours, np.float32(x)) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("grad, ours", [(a.sigmoid_grad, a.sigmoid), (a.tanh_grad, a.tanh)])
def test_own_derivatives(grad, ours):
    expected = slope(ours, POINTS)
    np.testing.assert_allclose(grad(tf.constant(POINTS)), expected, rtol=1e-6, atol=1e-37)
    x, h = np.linspace(-5, 5, 41), 1e-6
    difference = (ours(x + h) - ours(x - h)) / (2 * h)
    np.testing.assert_allclose(grad(x), difference, atol=1e-9)


def test_second_slopes_are_finite():
    "R1 differentiates through a gradient; softplus'' is the slope of the sigmoid."
    x = tf.constant(POINTS)
    np.testing.assert_allclose(
        slope(lambda v: slope_in_graph(a.softplus, v), x),
        a.sigmoid_grad(POINTS),
        rtol=1e-5,
        atol=1e-37,
    )


@each_function
def test_nan_stays_nan(name):
    assert np.isnan(FUNCTIONS[name][0](np.float32(np.nan)))


@each_function
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_arrays_tensors_and_types(name, dtype):
    ours, exact, _ = FUNCTIONS[name]
    x = np.linspace(-8, 8, 33).reshape(3, 11)
    tensor = ops.cast(x, dtype)
    y = ours(tensor)
    assert keras.backend.standardize_dtype(y.dtype) == dtype and y.shape == (3, 11)
    np.testing.assert_allclose(
        ops.cast(y, "float64"), exact(x), atol={"float16": 5e-3, "bfloat16": 5e-2}.get(dtype, 1e-6)
    )
    if dtype in ("float32", "float64"):
        assert np.array_equal(ours(x.astype(dtype)), y)


def test_plain_numbers():
    assert a.sigmoid(0.0) == 0.5
    assert a.tanh(0.0) == 0
    assert a.sigmoid_grad(0.0) == 0.25
    assert a.tanh_grad(0.0) == 1
    assert float(a.softplus(0.0)) == pytest.approx(np.log(2))
    assert float(a.leaky_relu(-1.0)) == pytest.approx(-0.2)
    assert float(a.leaky_relu(-1.0, negative_slope=0.3)) == pytest.approx(-0.3)


@each_function
def test_in_a_functional_model(name):
    x = keras.Input((2,))
    ours, exact, _ = FUNCTIONS[name]
    model = keras.Model(x, ours(x))
    inputs = np.array([[-40, 0.5]])
    np.testing.assert_allclose(model(inputs.astype("f")), exact(inputs), rtol=1e-6, atol=1e-7)


def test_saturation_rate():
    assert a.saturation_rate(np.float32([-1, -0.98, -0.97, 0, 0.96, 0.98, 1, 1])) == 0.625
    assert a.saturation_rate(tf.constant([0.5, -0.5]), limit=0.4) == 1


JAX = """
import jax, numpy as np
from gan_audio_tut import activations as a
x = np.float32([-3e38, -200, -40, -1, 0, 1, 40, 200, 3e38])
for f in (a.sigmoid, a.tanh, a.softplus, a.log_sigmoid, a.leaky_relu):
    print(*np.asarray(f(x)))
    print(*np.asarray(jax.vmap(jax.grad(f))(x)))
"""


def test_on_jax():
    "Values and slopes with Keras on JAX."
    pytest.importorskip("jax")
    run = subprocess.run(
        [sys.executable, "-c", JAX],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    assert run.returncode == 0, run.stderr
    lines = np.array([line.split() for line in run.stdout.splitlines()], float)
    x = np.array([-3e38, -200, -40, -1, 0, 1, 40, 200, 3e38])
    for (_, exact, grad), values, slopes in zip(
        FUNCTIONS.values(), lines[::2], lines[1::2], strict=True
    ):
        np.testing.assert_allclose(values, exact(x), rtol=1e-6, atol=1e-37)
        # JAX's own derivative of expm1 rounds to 0 early
        np.testing.assert_allclose(slopes, grad(x), rtol=1e-6, atol=1e-34)
