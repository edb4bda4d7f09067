from . import (
    activations,
    audio,
    audio_io,
    baselines,
    cli,
    convnext,
    datasets,
    degrade,
    demo,
    detection,
    diagnostics,
    discriminators,
    explore,
    fidelity,
    graphs,
    istft_gan,
    losses,
    mel,
    metrics,
    plots,
    restoration,
    restoration_net,
    restoration_training,
    runs,
    speak,
    specgan,
    streaming,
    training,
    vocoder,
    vocoder_training,
    wavegan,
    weights,
)
from .audio import InputError as InputError
from .audio_io import load as load
from .audio_io import save as save
from .restoration import restore as restore
from .speak import generate as generate
