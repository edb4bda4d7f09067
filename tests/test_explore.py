"""Explorers in a real kernel, as a reader has one, and in plain Python, as a script has it."""

import importlib.util
import subprocess
import sys

import nbformat
import pytest
from conftest import ROOT
from nbclient import NotebookClient

from gan_audio_tut import explore
from gan_audio_tut.audio import InputError

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
CALL_EXPLORER = """
from gan_audio_tut.audio import tone
from gan_audio_tut.explore import explorer


def draw(ax, freq):
    drawn.append(freq)
    ax.plot([0, freq])


def sound(freq):
    return tone(freq, 0.05, 8000)


drawn = []
explorer(draw, [{"freq": 200}, {"freq": 400}], sound, 8000, freq=(100, 1000, 100))
"""
MOVE_SLIDER = """
from ipywidgets.widgets.widget import _instances
slider = next(w for w in _instances.values() if type(w).__name__ == "IntSlider")
slider.value = 700
print(drawn)
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


def executed_notebook(monkeypatch, tmp_path, in_test):
    "A notebook that calls the explorer and, where sliders are expected, moves one."
    if in_test:
        monkeypatch.setenv("IN_TEST", "1")
        sources = (CALL_EXPLORER,)
    else:
        monkeypatch.delenv("IN_TEST", raising=False)
        sources = (CALL_EXPLORER, MOVE_SLIDER)
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nb = nbformat.v4.new_notebook(cells=cells)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(nb, timeout=120, kernel_name="python3", resources=resources).execute()
    return nb


def output_types(cell):
    "The richest type of each displayed output."
    displayed = [o for o in cell.outputs if o.output_type == "display_data"]
    return [next(iter({"image/png", "text/html", WIDGET_VIEW} & o.data.keys())) for o in displayed]


def test_live_kernel_shows_presets_and_sliders(monkeypatch, tmp_path, store):
    nb = executed_notebook(monkeypatch, tmp_path, in_test=False)
    assert output_types(nb.cells[0]) == ["image/png", "text/html", WIDGET_VIEW]
    # two presets, the first panel, the moved slider
    assert nb.cells[1].outputs[0].text == "[200, 400, 200, 700]\n"

    widgets = nb.metadata.widgets[WIDGET_STATE]["state"].values()
    panel = next(w["state"]["outputs"] for w in widgets if w["model_name"] == "OutputModel")
    # plot and player; no error
    assert [o["output_type"] for o in panel] == ["display_data"] * 2 and "700" in str(panel)

    store.clean_cell(nb.cells[0])
    assert output_types(nb.cells[0]) == ["image/png", "text/html"]


def test_a_tested_notebook_shows_presets_alone(monkeypatch, tmp_path):
    nb = executed_notebook(monkeypatch, tmp_path, in_test=True)
    assert output_types(nb.cells[0]) == ["image/png", "text/html"]


def test_plain_python_draws_presets_alone():
    run = subprocess.run(
        [sys.executable, "-c", CALL_EXPLORER + "print(drawn)"],
        capture_output=True,
        text=True,
        env={"MPLBACKEND": "Agg", "PATH": "", "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == 0 and run.stdout.endswith("[200, 400]\n"), run.stderr


@pytest.mark.parametrize(
    "value, choices, fits",
    [
        (5, (0, 200, 10), False),
        (30, (0, 200, 10), True),
        (0.3, (0.1, 16.0, 0.1), True),
        (0.35, (0.1, 16.0, 0.1), False),
        (16.0, (0.1, 16.0, 0.1), True),
        (16.1, (0.1, 16.0, 0.1), False),
        ("a", ["a"], True),
        ("b", ["a"], False),
    ],
)
def test_a_value_fits_if_the_control_can_show_it(value, choices, fits):
    assert explore._fits(value, choices) == fits


@pytest.mark.parametrize("preset", [{"gain": 20.0}, {"gain": 0.35}, {"bias": 1.0}, {}], ids=str)
def test_presets_that_the_controls_cannot_show_are_refused_in_one_line(preset):
    with pytest.raises(InputError, match=r"^[^\n]*; [^\n]*$"):
        explore.explorer(None, [preset], gain=(0.1, 16.0, 0.1))
