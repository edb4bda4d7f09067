"""Execute notebooks and store what they show: `python tools/store_outputs.py nbs/03_mel.ipynb ...`.

Set GAN_AUDIO_TUT_FULL=1 to run the long cells too. TensorFlow's start-up lines, progress bars and
cell timings are dropped and temporary folders lose their path, so that a second run changes only
what the code changed. Figures keep 256 colours, which makes those with spectrograms about half as
large.
"""

import base64
import io
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

NOISE = re.compile(
    r"^([EWI]\d{4} .*|WARNING: All log messages before absl.*"
    r"|To enable the following.*|.*oneDNN custom.*)$",
    re.M,
)
TEMPORARY = re.compile(re.escape(tempfile.gettempdir()) + r"/tmp\w+/")


def reduce_colours(png):
    "A PNG in base64 with a palette of 256 colours, on white; itself where that is no smaller."
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA")
    opaque = Image.new("RGBA", image.size, "white")
    opaque.alpha_composite(image)
    buffer = io.BytesIO()
    opaque.convert("RGB").quantize(256).save(buffer, "png", optimize=True)
    reduced = base64.b64encode(buffer.getvalue()).decode()
    return min(png, reduced, key=len)


def tidy(cell):
    "Outputs worth keeping; a bar that overwrote itself keeps its last state."
    kept = []
    for out in cell.get("outputs", []):
        if "application/vnd.jupyter.widget-view+json" in out.get("data", {}):
            continue  # dead without its kernel
        if out.output_type == "execute_result":
            out.execution_count = None
        if "image/png" in out.get("data", {}):
            out.data["image/png"] = reduce_colours(out.data["image/png"])
        if kept and out.output_type == "stream" and kept[-1].get("name") == out.name:
            kept[-1].text += out.text
        else:
            kept.append(out)
    for out in kept:
        if out.output_type != "stream":
            continue
        lines = [re.split(r"[\r\x08]", line)[-1] for line in NOISE.sub("", out.text).split("\n")]
        out.text = TEMPORARY.sub("", re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(lines)).strip("\n"))
    cell.outputs = [o for o in kept if o.get("text", True)]
    cell.execution_count, cell.metadata = None, {}


def run(path):
    "Execute one notebook from its own folder and write it back."
    os.environ["IN_TEST"] = "1"  # explorers draw their strips; sliders cannot be stored
    nb, start = nbformat.read(path, 4), time.time()
    NotebookClient(nb, timeout=3600, resources={"metadata": {"path": str(path.parent)}}).execute()
    for cell in nb.cells:
        if cell.cell_type == "code":
            tidy(cell)
    nb.metadata = {
        "kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}
    }
    nbformat.write(nb, path)
    print(f"{path}: {time.time() - start:.0f} s, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        run(Path(name))
