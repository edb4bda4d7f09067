"""Graphs for each setting: the same function, traced seldom, and out of the way where it must be."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from gan_audio_tut.graphs import graph_cached

NOISE = np.random.default_rng(0).uniform(-1, 1, (3, 1000)).astype(np.float32)


def overdrive(y, gain=2.0):
    return ops.tanh(gain * y)


def scaled(counter):
    "A graph-cached function that notes the setting of each trace in `counter`."

    @graph_cached
    def scale(y, factor=2.0):
        counter.append(factor)
        return y * factor

    return scale


def test_it_is_the_same_function():
    cached = graph_cached(overdrive)
    assert cached.__wrapped__ is overdrive and cached.__name__ == "overdrive"
    np.testing.assert_allclose(cached(NOISE), overdrive(NOISE), rtol=1e-6)
    np.testing.assert_allclose(cached(y=NOISE, gain=3.0), overdrive(NOISE, 3.0), rtol=1e-6)


def test_one_trace_for_each_setting_and_then_for_any_shape():
    traces = []
    scale = scaled(traces)
    for n in range(1, 12):
        for samples in (10, 20 + n):
            assert np.array_equal(scale(np.ones((n, samples))), np.full((n, samples), 2.0))
    assert len(traces) <= 4
    assert np.array_equal(scale(np.ones((1, 3)), factor=5.0), [[5, 5, 5]])
    assert traces.count(5.0) == 1


def test_a_setting_may_be_given_in_any_way():
    traces = []
    scale = scaled(traces)
    for result in (scale(NOISE), scale(NOISE, 2.0), scale(NOISE, factor=2.0), scale(y=NOISE)):
        assert np.array_equal(result, 2 * NOISE)
    assert traces == [2.0]


def test_it_steps_aside_inside_a_graph_and_in_a_dataset():
    cached, expected = graph_cached(overdrive), overdrive(NOISE)
    np.testing.assert_allclose(tf.function(cached)(tf.constant(NOISE)), expected, rtol=1e-6)
    mapped = tf.data.Dataset.from_tensors(NOISE).map(cached)
    np.testing.assert_allclose(next(iter(mapped)), expected, rtol=1e-6)


def test_it_steps_aside_in_a_model_under_construction():
    inputs = keras.Input((1000,))
    model = keras.Model(inputs, graph_cached(overdrive)(inputs))
    np.testing.assert_allclose(model(NOISE), overdrive(NOISE), rtol=1e-6)


@pytest.mark.parametrize("backend", ["jax", "torch", "numpy"])
def test_other_backends_get_the_function_itself(monkeypatch, backend):
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    assert graph_cached(overdrive) is overdrive


def test_several_tensors_may_be_given_as_a_tuple():
    @graph_cached
    def mix(tensors, share=0.5):
        a, b = tensors
        return share * a + (1 - share) * b

    np.testing.assert_allclose(mix((NOISE, 0 * NOISE), 0.25), 0.25 * NOISE)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32"])
def test_inputs_become_float32(dtype):
    y = graph_cached(overdrive)(np.ones((2, 4), dtype))
    assert y.dtype == "float32"


def test_gradients_pass_through():
    y = tf.constant(NOISE)
    with tf.GradientTape() as tape:
        tape.watch(y)
        loss = tf.reduce_sum(graph_cached(overdrive)(y))
    np.testing.assert_allclose(tape.gradient(loss, y), 2 / np.cosh(2 * NOISE) ** 2, rtol=1e-4)


def test_variables_of_any_batch_keep_their_own_shape():
    "A graph for all shapes must not keep the handle, and with it the shape, of the first variable."
    square = graph_cached(ops.square)
    for batch in (2, 4, 1, 5, 3):
        y = tf.Variable(np.resize(NOISE, (batch, 1000)))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(square(y))
        np.testing.assert_allclose(tape.gradient(loss, y), 2 * y.numpy())


def test_a_setting_that_cannot_be_hashed_is_an_error():
    with pytest.raises(TypeError, match="unhashable"):
        graph_cached(overdrive)(NOISE, gain=[1.0])
