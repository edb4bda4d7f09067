"""The curves at the ends of float32, as values and as slopes, for arrays and tensors of every kind."""

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
POINTS = np.float32(
    [
        -np.inf,
        -LARGEST,
        -200,
        -104,
        -89,
        -88,
        -40,
        -1,
        -1e-6,
        -1e-30,
        0,
        1e-30,
        1e-6,
        1,
        17,
        40,
        88,
        89,
        104,
        200,
        LARGEST,
        np.inf,
    ]
)
# our curve, SciPy's or NumPy's in double precision, its slope in double precision
CURVES = {
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
curve = pytest.mark.parametrize("name", CURVES)


def slope(f, x):
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    return tape.gradient(y, x).numpy()


@curve
def test_values_everywhere(name):
    "Relative to double precision; below 1e-37 float32 has no full precision left."
    ours, exact, _ = CURVES[name]
    np.testing.assert_allclose(
        ours(POINTS), exact(POINTS.astype("float64")).astype("float32"), rtol=4e-7, atol=1e-37
    )


@curve
def test_slopes_everywhere(name):
    ours, _, exact = CURVES[name]
    np.testing.assert_allclose(
        slope(ours, POINTS), exact(POINTS.astype("float64")), rtol=1e-6, atol=1e-37
    )


@curve
def test_slopes_in_a_graph(name):
    ours, _, exact = CURVES[name]
    compiled = tf.function(lambda x: ops.convert_to_tensor(slope_in_graph(ours, x)))
    np.testing.assert_allclose(
        compiled(tf.constant(POINTS)), exact(POINTS.astype("float64")), rtol=1e-6, atol=1e-37
    )


def slope_in_graph(f, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    return tape.gradient(y, x)


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


@pytest.mark.parametrize("d, ours", [(a.sigmoid_grad, a.sigmoid), (a.tanh_grad, a.tanh)])
def test_own_slopes(d, ours):
    np.testing.assert_allclose(d(tf.constant(POINTS)), slope(ours, POINTS), rtol=1e-6, atol=1e-37)
    x, h = np.linspace(-5, 5, 41), 1e-6
    np.testing.assert_allclose(d(x), (ours(x + h) - ours(x - h)) / (2 * h), atol=1e-9)


def test_second_slopes_are_finite():
    "R1 differentiates through a gradient; softplus'' is the slope of the sigmoid."
    x = tf.constant(POINTS)
    np.testing.assert_allclose(
        slope(lambda v: slope_in_graph(a.softplus, v), x),
        a.sigmoid_grad(POINTS),
        rtol=1e-5,
        atol=1e-37,
    )


@curve
def test_nan_stays_nan(name):
    assert np.isnan(CURVES[name][0](np.float32(np.nan)))


@curve
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_arrays_tensors_and_types(name, dtype):
    ours, exact, _ = CURVES[name]
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
    assert (
        a.sigmoid(0.0) == 0.5
        and a.tanh(0.0) == 0
        and a.sigmoid_grad(0.0) == 0.25
        and a.tanh_grad(0.0) == 1
    )
    assert float(a.softplus(0.0)) == pytest.approx(np.log(2)) and float(
        a.leaky_relu(-1.0)
    ) == pytest.approx(-0.2)


@curve
def test_in_a_functional_model(name):
    x = keras.Input((2,))
    model = keras.Model(x, CURVES[name][0](x))
    np.testing.assert_allclose(
        model(np.float32([[-40, 0.5]])),
        CURVES[name][1](np.array([[-40, 0.5]])),
        rtol=1e-6,
        atol=1e-7,
    )


def test_saturation():
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
    for (_, exact, d), values, slopes in zip(CURVES.values(), lines[::2], lines[1::2]):
        np.testing.assert_allclose(values, exact(x), rtol=1e-6, atol=1e-37)
        np.testing.assert_allclose(
            slopes, d(x), rtol=1e-6, atol=1e-34
        )  # JAX's own slope of expm1 rounds to 0 early
