"""Do the limits of chapter 05b, set on toys, hold for the SpecGAN?

Two recipes learn the drums and are diagnosed at five points of their training.

    python benchmarks/diagnostics.py     # about 7 CPU minutes
"""

import numpy as np
from common import write

from gan_audio_tut import datasets, diagnostics, metrics, specgan, training

STEPS = (40, 100, 200, 400, 700)


def measure(state, real, labels):
    "The metrics and the diagnoses of one run at each of `STEPS`."
    history, rows = [], {}
    for step in STEPS:
        history += training.fit(state, step, progress=False)
        fake = specgan.sample(state.ema_generator, labels, seed=1)
        found = diagnostics.compute_metrics(history, fake, real, labels)
        names = [d.name for d in diagnostics.match_failures(found)]
        finite = {k: float(f"{v:.3g}") for k, v in found.items() if np.isfinite(v)}
        rows[step] = {"found": names} | finite
        print(step, rows[step], flush=True)
    return rows


def main():
    dataset = datasets.drums(n_per_class=200)
    mel_config = specgan.infer_mel_config(dataset)
    chosen = metrics.stratified_indices(dataset.labels, 32)
    real = specgan.to_log_mel(dataset.audio, mel_config)[chosen]
    results = {}
    for name in ("specgan", "dcgan"):
        print(name)
        state = specgan.build_specgan(dataset, specgan.RECIPES[name], mel_config)
        results[name] = measure(state, real, dataset.labels[chosen])
    write("diagnostics", {"data": str(dataset), "found": results})


if __name__ == "__main__":
    main()
