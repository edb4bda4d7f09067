"""Is the voice that ships understood by listeners that had no part in making it?

    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/listeners.py

Three of them, all taught with FSDD's official training recordings: the course's recogniser from two other seeds, each
without another tenth of the data, and one of another kind, which reads MFCCs of librosa with a GRU. They hear the
official test, and a thousand digits each from `voice-8k`, and from `specgan-8k` by the vocoder. No listener was chosen.
"""

import keras
import librosa
import numpy as np
from common import write
from keras import layers

from gan_audio_tut import datasets, metrics, specgan, weights
from gan_audio_tut.mel import MelConfig


def mfcc(y):
    "(N, samples) -> (N, frames, 40): cepstra and their slopes, at one level."
    y = 0.1 * y / (np.sqrt(np.mean(y**2, 1, keepdims=True)) + 1e-4)
    c = librosa.feature.mfcc(y=y, sr=8000, n_mfcc=20, n_fft=256, hop_length=100, n_mels=40)
    return (
        np.concatenate([c, librosa.feature.delta(c)], axis=1).transpose(0, 2, 1).astype(np.float32)
    )


def moved(y, rng):
    "Each clip up to 0.1 s elsewhere, with a noise of its own."
    return np.stack(
        [
            np.roll(v, rng.integers(-800, 800)) + rng.normal(0, 10 ** rng.uniform(-4, -2.3), len(v))
            for v in y
        ]
    ).astype(np.float32)


def of_another_kind(clips, seed=7):
    rng = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    x = mfcc(np.concatenate([clips.audio, moved(clips.audio, rng), moved(clips.audio, rng)]))
    scale = layers.Normalization()
    scale.adapt(x)
    net = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            scale,
            layers.Dropout(0.2),
            layers.Conv1D(64, 5, 2, activation="relu"),
            layers.Bidirectional(layers.GRU(64, return_sequences=True)),
            layers.GlobalMaxPooling1D(),
            layers.Dropout(0.4),
            layers.Dense(len(clips.classes)),
        ]
    )
    net.compile(
        keras.optimizers.Adam(2e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    net.fit(x, np.tile(clips.labels, 3), batch_size=64, epochs=12, verbose=0)
    return lambda y: net.predict(mfcc(y), verbose=0).argmax(1)


def of_our_kind(clips, seed):
    keras.utils.set_random_seed(seed)
    held = np.random.default_rng(seed).random(len(clips)) < 0.1
    net = metrics.build_classifier(len(clips.classes), len(clips.speaker_names))
    metrics.train_classifier(net, clips.select(~held), clips.select(held), seed=seed)
    return lambda y: metrics.predict_features(net, y)["label"].argmax(1)


def main():
    clips, test, labels = (
        datasets.fsdd("train+valid"),
        datasets.fsdd("test"),
        np.repeat(np.arange(10), 100),
    )

    def said_by(name, vocoder=None):
        made = specgan.sample(weights.load_model(name), labels, seed=2026)
        return specgan.decode_audio(
            made, MelConfig(**weights.model_card(name)["mel"]), vocoder=vocoder
        )

    said = {
        "official test": (test.audio, test.labels),
        "voice-8k": (said_by("voice-8k"), labels),
        "specgan-8k by vocoder-8k": (
            said_by("specgan-8k", weights.load_model("vocoder-8k")),
            labels,
        ),
    }
    listeners = {
        "classifier, seed 11": lambda: of_our_kind(clips, 11),
        "classifier, seed 12": lambda: of_our_kind(clips, 12),
        "MFCC and GRU": lambda: of_another_kind(clips),
    }
    right = {}
    for name, taught in listeners.items():
        listen = taught()
        right[name] = {
            k: round(float(np.mean(listen(y) == asked)), 3) for k, (y, asked) in said.items()
        }
        print(name, right[name], flush=True)
    write("listeners", {"accuracy": right})


if __name__ == "__main__":
    main()
