"""The ConvNeXt block: its receptive field."""

import keras
import numpy as np
import pytest

from gan_audio_tut.convnext import convnext_block


@pytest.mark.parametrize("dilation_rate, ends", [(1, (17, 23)), (4, (14, 26))])
def test_the_receptive_field_of_two_blocks(dilation_rate, ends):
    inputs = keras.Input((40, 4))
    x = convnext_block(inputs, kernel_size=5)
    x = convnext_block(x, kernel_size=3, dilation_rate=dilation_rate)
    network = keras.Model(inputs, x)
    x = np.random.default_rng(0).standard_normal((1, 40, 4)).astype(np.float32)
    touched = x.copy()
    touched[0, 20] += 1
    difference = np.abs(network(x) - network(touched)).max((0, 2))
    changed = np.flatnonzero(difference > 1e-7)
    assert (changed[0], changed[-1]) == ends
