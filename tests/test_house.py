"""The house rules: modules in step with notebooks, imports that point down, readable cells."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest
from conftest import ROOT
from fastcore.nbio import read_nb
from nbdev.clean import clean_nb
from nbdev.export import nb_export

NOTEBOOKS = sorted((ROOT / "nbs").glob("*.ipynb"))
PACKAGE = ROOT / "gan_audio_tut"
ANYWHERE = {"00", "17", "18", "99"}  # chapters that may use anything


def number(path):
    return path.name.split("_")[0]


def cells(path, kind="code"):
    notebook = json.loads(path.read_text())
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == kind]


def exported(path):
    return [source for source in cells(path) if source.startswith("#| export")]


def module_of(path):
    found = re.search(r"#\| default_exp (\w+)", "\n".join(cells(path)))
    return found and found[1]


MODULES = {module_of(p): number(p) for p in NOTEBOOKS if module_of(p)}


def comparable(path):
    "A module formatted by ruff, with imports and paths as they are written in the package."
    ruff = [Path(sys.executable).parent / "ruff", "format", "--isolated", "--line-length", "100"]
    ruff += ["--stdin-filename", "x.py"]
    done = subprocess.run([*ruff, "-"], input=path.read_bytes(), capture_output=True, check=True)
    text = re.sub(r"\S*nbs/", "nbs/", done.stdout.decode())
    text = text.replace("from gan_audio_tut", "from .").replace("from .. import", "from . import")
    return text.replace("from ..", "from .")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_modules_are_in_step(path, tmp_path):
    module = module_of(path)
    if not module:
        return
    nb_export(path, lib_path=tmp_path)
    fresh, kept = comparable(tmp_path / f"{module}.py"), comparable(PACKAGE / f"{module}.py")
    assert fresh == kept, f"run make export: {module}.py differs from {path.name}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_clean(path):
    nb = read_nb(path)
    before = json.dumps(nb, sort_keys=True)
    clean_nb(nb)
    assert json.dumps(nb, sort_keys=True) == before, f"run nbdev-clean: {path.name}"


def test_no_module_is_left_behind():
    written_by_hand = {"__init__", "__main__", "_modidx"}
    assert {p.stem for p in PACKAGE.glob("*.py")} - written_by_hand == set(MODULES)


def imported_modules(source):
    "Modules of this package that a piece of code imports, at any depth."
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gan_audio_tut"):
            inside = "." in node.module
            yield from [node.module.split(".")[1]] if inside else [a.name for a in node.names]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_imports_point_down(path):
    if number(path)[:2] in ANYWHERE:
        return
    for source in exported(path):
        for name in imported_modules(source):
            assert MODULES[name] < number(path), f"{path.name} imports {name} from {MODULES[name]}"


TRAINING = "losses training specgan wavegan istft_gan discriminators metrics vocoder_training"
INFERENCE = {
    "restore": "gan_audio_tut.restoration.load_restorer(8000)",
    "vocode": "gan_audio_tut.vocoder.load_vocoder('vocoder-8k')",
    "detect": "gan_audio_tut.detection",
}


@pytest.mark.parametrize("name", INFERENCE)
def test_inference_imports_no_training_code(name):
    "Not even once a network is loaded."
    script = f"import sys, gan_audio_tut; {INFERENCE[name]}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    loaded = {m.removeprefix("gan_audio_tut.") for m in done.stdout.split()}
    assert "audio" in loaded, done.stderr
    assert not loaded & {*TRAINING.split(), "restoration_training"}


def parse(source):
    "A cell without IPython's own lines."
    return ast.parse(re.sub(r"^\s*[%!].*$", "", source, flags=re.M))


def count_lines(source):
    "Lines of code in a cell: without blank lines, directives and docstrings."
    lines = {i for i, line in enumerate(source.splitlines(), 1) if line.strip()}
    lines -= {i for i, line in enumerate(source.splitlines(), 1) if line.startswith("#|")}
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            docstring = node.body[0]
            lines -= set(range(docstring.lineno, docstring.end_lineno + 1))
    return len(lines)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_cell_fits_on_a_screen(path):
    for source in cells(path):
        assert count_lines(source) <= 40, source[:200]
        assert max(map(len, source.splitlines()), default=0) <= 100, source[:200]


def draws(node):
    "Whether a statement draws, or shows players."
    names = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
    return bool(names & {"subplots", "imshow", "players", "set_title", "legend"})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_assertion_in_a_plotting_cell(path):
    for source in cells(path):
        tree = parse(source)
        asserts = any(isinstance(node, ast.Assert) for node in tree.body)
        assert not (asserts and any(map(draws, tree.body))), source[:200]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_stored_outputs(path):
    nb = json.loads(path.read_text())
    outputs = [o for c in nb["cells"] for o in c.get("outputs", [])]
    assert outputs, "nothing to see or hear: run tools/store_outputs.py"
    assert not [o for o in outputs if o["output_type"] == "error"]
    assert path.stat().st_size <= 1_000_000
    printed = "".join("".join(o.get("text", "")) for o in outputs)
    paths = re.findall(r"\S*/(?:tmp|home|work|Users)/\S*", printed)
    assert not paths, "a path that means nothing to a reader"


def public_names():
    for module in MODULES:
        for node in ast.parse((PACKAGE / f"{module}.py").read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield module, node


def test_no_function_is_named_like_a_module():
    assert not [f"{m}.{n.name}" for m, n in public_names() if n.name in MODULES]


def test_every_public_name_has_a_docstring():
    public = [(m, n) for m, n in public_names() if n.name[0] != "_"]
    assert not [f"{m}.{n.name}" for m, n in public if not ast.get_docstring(n)]


def test_the_package_lists_its_modules():
    import gan_audio_tut

    assert set(MODULES) <= set(gan_audio_tut.__all__)


def test_metadata_agree():
    import gan_audio_tut

    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini")
    settings = config["DEFAULT"]
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = pyproject["project"]
    assert settings["lib_name"] == project["name"] == "gan_audio_tut"
    assert settings["lib_path"] == pyproject["tool"]["nbdev"]["lib_path"]
    assert "dependencies" in project["dynamic"] and "dependencies" not in project
    assert f"version: {gan_audio_tut.__version__}" in (ROOT / "CITATION.cff").read_text()


SOLUTION = re.compile(r"<details>.*?```python\n(.*?)```.*?</details>", re.S)


def solutions(path):
    return [s for text in cells(path, "markdown") for s in SOLUTION.findall(text)]


@pytest.mark.parametrize("path", [p for p in NOTEBOOKS if solutions(p)], ids=lambda p: p.stem)
def test_folded_solutions_run(path, monkeypatch):
    "Every folded solution runs in the order of the chapter, on top of the chapter's imports."
    monkeypatch.chdir(path.parent)
    names = {"__name__": "solutions"}
    for source in cells(path):
        imports = [n for n in parse(source).body if isinstance(n, ast.Import | ast.ImportFrom)]
        exec(compile(ast.Module(imports, []), path.name, "exec"), names)
    if module_of(path):
        exec(f"from gan_audio_tut.{module_of(path)} import *", names)
    for solution in solutions(path):
        assert "assert" in solution, "a solution proves itself with an assert"
        exec(compile(solution, f"{path.name}, solution", "exec"), names)
