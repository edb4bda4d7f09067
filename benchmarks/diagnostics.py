"""Do the limits of chapter 05b, set on toys, hold for the picture GAN? Both recipes learn the drums and are diagnosed on the way.

python benchmarks/health.py     # about 7 CPU minutes
"""

import numpy as np
from common import write

from gan_audio_tut import datasets, diagnostics, metrics, specgan, training

POINTS = (40, 100, 200, 400, 700)  # steps


def main():
    clips = datasets.drums(n_per_class=200)
    config = specgan.infer_mel_config(clips)
    chosen = metrics.stratified_indices(clips.labels, 32)
    real, labels = specgan.to_log_mel(clips.audio, config)[chosen], clips.labels[chosen]
    results = {}
    for name in ("specgan", "dcgan"):
        state, rows, results[name] = (
            specgan.build_specgan(clips, specgan.RECIPES[name], config),
            [],
            {},
        )
        for step in POINTS:
            rows += training.fit(state, step, progress=False)
            fake = specgan.sample(state.ema_generator, labels, seed=1)
            signs = diagnostics.compute_metrics(rows, fake, real, labels)
            found = [f.name for f in diagnostics.match_failures(signs)]
            results[name][step] = {"found": found} | {
                k: float(f"{v:.3g}") for k, v in signs.items() if np.isfinite(v)
            }
            print(name, step, results[name][step], flush=True)
    write("health", {"data": str(clips), "found": results})


if __name__ == "__main__":
    main()
