"""Do classifiers that had no part in training recognise what `voice-8k` says?

    GAN_AUDIO_TUT_DATA_DIR=... python benchmarks/classifiers.py

Three evaluation classifiers are trained on FSDD's official training recordings: the course's
classifier with two other seeds, each without another tenth of the data, and one of another kind, a
GRU on librosa's MFCCs. They classify the official test, and a thousand digits each from `voice-8k`
and from `specgan-8k` through the vocoder. No classifier was selected.
"""

import keras
import librosa
import numpy as np
from common import write
from keras import layers

from gan_audio_tut import datasets, metrics, specgan, weights
from gan_audio_tut.mel import MelConfig


def mfcc_features(y):
    "(N, samples) -> (N, frames, 40): MFCCs and their deltas of waveforms at equal RMS."
    rms = np.sqrt(np.mean(y**2, axis=1, keepdims=True))
    y = 0.1 * y / (rms + 1e-4)
    mfcc = librosa.feature.mfcc(y=y, sr=8000, n_mfcc=20, n_fft=256, hop_length=100, n_mels=40)
    features = np.concatenate([mfcc, librosa.feature.delta(mfcc)], axis=1)
    return features.transpose(0, 2, 1).astype(np.float32)


def augment(y, rng):
    "Each clip shifted by up to 0.1 s, with white noise between -80 and -46 dB."

    def augment_one(clip):
        shifted = np.roll(clip, rng.integers(-800, 800))
        return shifted + rng.normal(0, 10 ** rng.uniform(-4, -2.3), len(clip))

    return np.stack([augment_one(clip) for clip in y]).astype(np.float32)


def train_gru(clips, seed=7):
    "A GRU on MFCCs; returns a function from waveforms to labels."
    rng = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    augmented = [augment(clips.audio, rng), augment(clips.audio, rng)]
    x = mfcc_features(np.concatenate([clips.audio, *augmented]))
    normalization = layers.Normalization()
    normalization.adapt(x)
    net = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            normalization,
            layers.Dropout(0.2),
            layers.Conv1D(64, 5, 2, activation="relu"),
            layers.Bidirectional(layers.GRU(64, return_sequences=True)),
            layers.GlobalMaxPooling1D(),
            layers.Dropout(0.4),
            layers.Dense(len(clips.classes)),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.Adam(2e-3), loss)
    net.fit(x, np.tile(clips.labels, 3), batch_size=64, epochs=12, verbose=0)
    return lambda y: net.predict(mfcc_features(y), verbose=0).argmax(1)


def train_cnn(clips, seed):
    "The course's classifier; returns a function from waveforms to labels."
    keras.utils.set_random_seed(seed)
    held_out = np.random.default_rng(seed).random(len(clips)) < 0.1
    net = metrics.build_classifier(len(clips.classes), speakers=len(clips.speaker_names))
    metrics.train_classifier(net, clips.select(~held_out), clips.select(held_out), seed=seed)
    return lambda y: metrics.predict_features(net, y)["label"].argmax(1)


def generate(name, labels, vocoder=None):
    generator = weights.load_model(name)
    config = MelConfig(**weights.model_card(name)["mel"])
    return specgan.decode_audio(
        specgan.sample(generator, labels, seed=2026), config, vocoder=vocoder
    )


def main():
    clips, test = datasets.fsdd("train+valid"), datasets.fsdd("test")
    labels = np.repeat(np.arange(10), 100)
    vocoded = generate("specgan-8k", labels, vocoder=weights.load_model("vocoder-8k"))
    speech = {
        "official test": (test.audio, test.labels),
        "voice-8k": (generate("voice-8k", labels), labels),
        "specgan-8k by vocoder-8k": (vocoded, labels),
    }
    trainers = {
        "classifier, seed 11": lambda: train_cnn(clips, 11),
        "classifier, seed 12": lambda: train_cnn(clips, 12),
        "MFCC and GRU": lambda: train_gru(clips),
    }
    accuracy = {}
    for name, train in trainers.items():
        classify = train()
        accuracy[name] = {
            source: round(float(np.mean(classify(y) == asked)), 3)
            for source, (y, asked) in speech.items()
        }
        print(name, accuracy[name], flush=True)
    write("classifiers", {"accuracy": accuracy})


if __name__ == "__main__":
    main()
