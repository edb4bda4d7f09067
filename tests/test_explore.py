"""Explorers in a real kernel, as a reader has one, and in plain Python, as a script has it."""

import importlib.util
import subprocess
import sys

import nbformat
import pytest
from conftest import ROOT
from nbclient import NotebookClient

from gan_audio_tut import explore

VIEW = "application/vnd.jupyter.widget-view+json"
CALL = """
from gan_audio_tut.audio import tone
from gan_audio_tut.explore import explorer
asked = []
def draw(ax, freq): asked.append(freq); ax.plot([0, freq])
explorer(draw, [dict(freq=200), dict(freq=400)], lambda freq: tone(freq, 0.05, 8000), 8000, freq=(100, 1000, 100))
"""
MOVE = """
from ipywidgets.widgets.widget import _instances
slider = next(w for w in _instances.values() if type(w).__name__ == "IntSlider")
slider.value = 700
print(asked)
"""


@pytest.fixture
def store():
    "tools/store_outputs.py as a module."
    spec = importlib.util.spec_from_file_location(
        "store_outputs", ROOT / "tools" / "store_outputs.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def notebook(monkeypatch, tmp_path, in_test):
    "The two cells, executed."
    if in_test:
        monkeypatch.setenv("IN_TEST", "1")
    else:
        monkeypatch.delenv("IN_TEST", raising=False)
    nb = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(c) for c in ((CALL,) if in_test else (CALL, MOVE))]
    )
    NotebookClient(
        nb, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    return nb


def kinds(cell):
    return [
        next(iter({"image/png", "text/html", VIEW} & o.data.keys()))
        for o in cell.outputs
        if o.output_type == "display_data"
    ]


def test_live_face(monkeypatch, tmp_path, store):
    nb = notebook(monkeypatch, tmp_path, in_test=False)
    assert kinds(nb.cells[0]) == ["image/png", "text/html", VIEW]
    assert (
        nb.cells[1].outputs[0].text == "[200, 400, 200, 700]\n"
    )  # the strip, the first panel, the moved slider
    widgets = nb.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
    panel = next(w["state"]["outputs"] for w in widgets if w["model_name"] == "OutputModel")
    assert [o["output_type"] for o in panel] == ["display_data"] * 2 and "700" in str(
        panel
    )  # picture and player; no error
    store.tidy(nb.cells[0])
    assert kinds(nb.cells[0]) == ["image/png", "text/html"]


def test_static_face(monkeypatch, tmp_path):
    assert kinds(notebook(monkeypatch, tmp_path, in_test=True).cells[0]) == [
        "image/png",
        "text/html",
    ]


def test_plain_python():
    run = subprocess.run(
        [sys.executable, "-c", CALL + "print(asked)"],
        capture_output=True,
        text=True,
        env={"MPLBACKEND": "Agg", "PATH": ""},
    )
    assert run.returncode == 0 and run.stdout.endswith("[200, 400]\n"), run.stderr


def test_a_setting_between_two_steps_is_refused():
    for value, choices, fits in (
        (5, (0, 200, 10), False),
        (30, (0, 200, 10), True),
        (0.3, (0.1, 16.0, 0.1), True),
        (0.35, (0.1, 16.0, 0.1), False),
        (16.0, (0.1, 16.0, 0.1), True),
        (16.1, (0.1, 16.0, 0.1), False),
        ("a", ["a"], True),
        ("b", ["a"], False),
    ):
        assert explore._fits(value, choices) == fits, (value, choices)
