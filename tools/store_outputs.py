"""Execute notebooks and store what they show: `python tools/store_outputs.py nbs/03_mel.ipynb ...`.

Set GAN_AUDIO_TUT_FULL=1 to run the long cells too. TensorFlow's start-up lines, progress bars and
cell timings are dropped and temporary folders lose their path, so that a second run changes only
what the code changed. Figures keep 256 colours, which makes those with spectrograms a third as
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

# start-up lines of TensorFlow
START_UP = re.compile(
    r"^([EWI]\d{4} .*"
    r"|WARNING: All log messages before absl.*"
    r"|To enable the following.*"
    r"|.*oneDNN custom.*)$",
    re.MULTILINE,
)
TERMINAL_COLOR = re.compile(r"\x1b\[[0-9;]*m")
TEMPORARY = re.compile(re.escape(tempfile.gettempdir()) + r"/tmp\w+/")


def clean_text(text):
    "What a terminal shows at the end, without colours, start-up lines and temporary paths."
    lines = START_UP.sub("", text).split("\n")
    # a line that overwrote itself keeps its last state
    text = "\n".join(re.split(r"[\r\x08]", line)[-1] for line in lines)
    return TEMPORARY.sub("", TERMINAL_COLOR.sub("", text).strip("\n"))


def is_widget(output):
    "Widgets are dead without their kernel."
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})


def merge_streams(outputs):
    "Consecutive pieces of one stream become one output."
    merged = []
    for output in outputs:
        is_stream = output.output_type == "stream"
        if is_stream and merged and merged[-1].get("name") == output.name:
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def reduce_colours(png):
    "A PNG in base64 with a palette of 256 colours, on white; itself where that is no smaller."
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA")
    opaque = Image.new("RGBA", image.size, "white")
    opaque.alpha_composite(image)
    reduced = opaque.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
    buffer = io.BytesIO()
    reduced.save(buffer, "png", optimize=True)
    return min(png, base64.b64encode(buffer.getvalue()).decode(), key=len)


def clean_cell(cell):
    "Keep what is worth storing of a cell's outputs."
    outputs = merge_streams([o for o in cell.get("outputs", []) if not is_widget(o)])
    for output in outputs:
        if output.output_type == "execute_result":
            output.execution_count = None
        if output.output_type == "stream":
            output.text = clean_text(output.text)
        if "image/png" in output.get("data", {}):
            output.data["image/png"] = reduce_colours(output.data["image/png"])
    cell.outputs = [output for output in outputs if output.get("text", True)]
    cell.execution_count, cell.metadata = None, {}


def run(path):
    "Execute one notebook from its own folder and write it back."
    # explorers draw their presets, since sliders cannot be stored
    os.environ["IN_TEST"] = "1"
    nb, start = nbformat.read(path, 4), time.time()
    NotebookClient(nb, timeout=3600, resources={"metadata": {"path": str(path.parent)}}).execute()
    for cell in nb.cells:
        if cell.cell_type == "code":
            clean_cell(cell)
    nb.metadata = {
        "kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}
    }
    nbformat.write(nb, path)
    print(f"{path}: {time.time() - start:.0f} s, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        run(Path(name))
