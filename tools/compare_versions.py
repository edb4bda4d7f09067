"""Do two checkouts compute the same? `python tools/compare_versions.py OLD_CHECKOUT [--quick]`.

Every shipped network gets the same fixed inputs in both checkouts, and the command line the same
calls; arrays and files are compared bit for bit. Where a network, an option or a recipe was
renamed, `RENAMED` says so. Each checkout runs in processes of its own.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

NEW = Path(__file__).resolve().parent.parent
RENAMED = {"pictures-8k": "specgan-8k", "recogniser-8k": "classifier-8k"}  # old name -> new name

NETWORKS = """
import sys
import numpy as np
from gan_audio_tut import weights

for name in sys.argv[2:]:
    net = weights.load_model(name)
    rng, n, inputs = np.random.default_rng(0), 16384, []
    for x in net.inputs:
        shape = [2, *(n if size is None else size for size in x.shape[1:])]
        if len(x.shape) == 3:
            shape[1] = 70  # frames
        if "int" in x.dtype:
            inputs.append(np.arange(2, dtype=np.int32))
        elif x.shape[-1] == 2:
            inputs.append(np.float32([[1, 1], [0, 0.5]]))
        else:
            inputs.append(np.abs(0.1 * rng.standard_normal(shape)).astype(np.float32))
    outputs = net(inputs if len(inputs) > 1 else inputs[0], training=False)
    outputs = list(outputs.values()) if isinstance(outputs, dict) else [outputs]
    np.savez(f"{sys.argv[1]}/{name}.npz", *[np.asarray(v) for v in outputs])
"""


def make_inputs(folder):
    "Sounds that need each of the repairs: noise, clipping, a gap, a lost band; and a clean one."
    import soundfile as sf
    from scipy.signal import butter, sosfiltfilt

    sr, rng = 16000, np.random.default_rng(0)
    t = np.arange(3 * sr) / sr
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / sr
    voiced = sum(np.sin(k * phase) / k for k in range(1, 30))
    clean = 0.1 * voiced * np.clip(np.sin(2 * np.pi * 1.5 * t), 0, 1)
    noisy = clean + 0.03 * rng.standard_normal(len(t))
    gap = clean.copy()
    gap[20000:20800] = 0
    narrow = sosfiltfilt(butter(12, 3000, fs=sr, output="sos"), clean + 1e-3 * noisy)
    limit = 0.4 * np.abs(clean).max()
    sounds = {"clean": clean, "noisy": noisy, "gap": gap, "narrow": narrow}
    sounds["clipped"] = np.clip(clean, -limit, limit)
    for name, y in sounds.items():
        sf.write(folder / f"{name}.wav", y, sr)
    stereo = np.stack([noisy, 0.5 * noisy], 1)
    sf.write(folder / "stereo.flac", np.repeat(stereo, 3, axis=0)[:132300], 44100)


def calls(inputs):
    "Command lines, without the output, and the name of the file or folder that each writes."
    restore = ["restore"]
    return [
        (["generate", "--label", "2026"], "year.wav"),
        (["generate", "--label", "7", "--seed", "3", "--model", "pictures-8k"], "seven.wav"),
        (["generate", "--label", "snare", "--model", "drums-16k"], "snare.flac"),
        ([*restore, inputs / "noisy.wav"], "auto.wav"),
        ([*restore, inputs / "clean.wav"], "left.wav"),
        ([*restore, inputs / "clipped.wav", "--task", "declip"], "declipped.wav"),
        ([*restore, inputs / "gap.wav", "--task", "inpaint"], "filled.wav"),
        ([*restore, inputs / "narrow.wav", "--task", "bandwidth"], "wide.wav"),
        ([*restore, inputs / "stereo.flac", "--task", "denoise", "--mix", "0.8"], "mixed.flac"),
        ([*restore, inputs / "noisy.wav", "--model", "restore-8k"], "by-8k.wav"),
        (["train", "drums", "--steps", "4", "--sample-every", "4"], "run"),
    ]


def run(checkout, argv):
    "Python in a checkout, whose package comes first."
    argv = [sys.executable, *map(str, argv)]
    done = subprocess.run(argv, cwd=checkout, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{checkout}: {' '.join(argv[1:4])} ...\n{done.stderr[-2000:]}")


def shipped(checkout):
    assets = checkout / "gan_audio_tut" / "assets"
    return sorted(p.stem for p in assets.glob("*.keras"))


def compare_networks(old, folder):
    "Name -> whether all outputs are the same, bit for bit."
    names = shipped(old)
    run(old, ["-c", NETWORKS, folder / "old", *names])
    run(NEW, ["-c", NETWORKS, folder / "new", *(RENAMED.get(name, name) for name in names)])
    same = {}
    for name in names:
        a = np.load(folder / "old" / f"{name}.npz")
        b = np.load(folder / "new" / f"{RENAMED.get(name, name)}.npz")
        same[name] = all(np.array_equal(a[k], b[k]) for k in a.files)
    return same


def digest(path):
    "One hash of a file, or of the sounds in a run's folder."
    files = sorted(path.glob("samples/*.wav")) if path.is_dir() else [path]
    return hashlib.sha256(b"".join(p.read_bytes() for p in files)).hexdigest()


def compare_commands(old, folder):
    "Call -> whether it wrote the same bytes."
    make_inputs(folder)
    same = {}
    for argv, name in calls(folder):
        for checkout, side in ((old, "old"), (NEW, "new")):
            renamed = [RENAMED.get(a, a) if side == "new" else a for a in argv]
            out = folder / side / name
            option = [out] if argv[0] == "restore" else ["--out", out]
            run(checkout, ["-m", "gan_audio_tut", *renamed, *option])
        words = [a.name if isinstance(a, Path) else a for a in argv]
        same[" ".join(words)] = digest(folder / "old" / name) == digest(folder / "new" / name)
    return same


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("old", type=Path, help="another checkout of this repository")
    parser.add_argument("--quick", action="store_true", help="the networks alone")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for side in ("old", "new"):
            (folder / side).mkdir()
        same = compare_networks(args.old.resolve(), folder)
        if not args.quick:
            same |= compare_commands(args.old.resolve(), folder)
    print(json.dumps(same, indent=1))
    sys.exit(not all(same.values()))


if __name__ == "__main__":
    main()
