"""The house rules: modules in step with notebooks, imports that point down, cells that fit a head."""

import ast
import json
import re
import statistics
import tomllib
from configparser import ConfigParser

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
    return [
        "".join(c["source"])
        for c in json.loads(path.read_text())["cells"]
        if c["cell_type"] == kind
    ]


def exported(path):
    return [s for s in cells(path) if s.startswith("#| export")]


def module_of(path):
    found = re.search(r"#\| default_exp (\w+)", "\n".join(cells(path)))
    return found and found[1]


MODULES = {module_of(p): number(p) for p in NOTEBOOKS if module_of(p)}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_modules_are_in_step(path, tmp_path):
    if not module_of(path):
        return
    nb_export(path, lib_path=tmp_path)
    fresh, kept = tmp_path / f"{module_of(path)}.py", PACKAGE / f"{module_of(path)}.py"
    plain = lambda p: (
        re.sub(r"\S*nbs/", "nbs/", p.read_text())
        .replace("from gan_audio_tut", "from .")
        .replace("from .. import", "from . import")
        .replace("from ..", "from .")
    )
    assert plain(fresh) == plain(kept), f"run nbdev-export: {kept.name} differs from {path.name}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_clean(path):
    nb = read_nb(path)
    before = json.dumps(nb, sort_keys=True)
    clean_nb(nb)
    assert json.dumps(nb, sort_keys=True) == before, f"run nbdev-clean: {path.name}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_imports_point_down(path):
    if number(path)[:2] in ANYWHERE:
        return
    for source in exported(path):
        for node in ast.walk(ast.parse(source)):
            names = []
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gan_audio_tut"):
                names = (
                    [node.module.split(".")[1]]
                    if "." in node.module
                    else [a.name for a in node.names]
                )
            for name in names:
                assert MODULES[name] < number(path), (
                    f"{path.name} imports {name} from {MODULES[name]}"
                )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_cells_fit_a_head(path):
    lengths = [
        sum(bool(l.strip()) and not l.startswith("#|") for l in s.splitlines()) for s in cells(path)
    ]
    lengths = sorted(n for n in lengths if n)
    assert lengths[-1] <= 30, f"longest cell: {lengths[-1]} lines"
    assert lengths[int(0.9 * (len(lengths) - 1))] <= 15, lengths
    assert statistics.median(lengths) <= 5, lengths


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_stored_outputs(path):
    nb = json.loads(path.read_text())
    outputs = [o for c in nb["cells"] for o in c.get("outputs", [])]
    assert outputs, "nothing to see or hear: run tools/store_outputs.py"
    assert not [o for o in outputs if o["output_type"] == "error"]
    assert path.stat().st_size <= 1_000_000
    said = "".join("".join(o.get("text", "")) for o in outputs)
    assert not re.findall(r"\S*/(?:tmp|home|work|Users)/\S*", said), (
        "a path that means nothing to a reader"
    )


def public_names():
    for module in MODULES:
        for node in ast.parse((PACKAGE / f"{module}.py").read_text()).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                yield module, node


def test_no_function_is_named_like_a_module():
    assert not [f"{m}.{n.name}" for m, n in public_names() if n.name in MODULES]


def test_every_public_name_has_a_docstring():
    assert not [
        f"{m}.{n.name}" for m, n in public_names() if n.name[0] != "_" and not ast.get_docstring(n)
    ]


def test_the_package_lists_its_modules():
    import gan_audio_tut

    assert set(MODULES) <= set(gan_audio_tut.__all__)


def test_metadata_agree():
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    import gan_audio_tut

    assert config["DEFAULT"]["lib_name"] == project["project"]["name"] == "gan_audio_tut"
    assert config["DEFAULT"]["lib_path"] == project["tool"]["nbdev"]["lib_path"]
    assert (
        "dependencies" in project["project"]["dynamic"] and "dependencies" not in project["project"]
    )
    assert f"version: {gan_audio_tut.__version__}" in (ROOT / "CITATION.cff").read_text()


SOLUTION = re.compile(r"<details>.*?```python\n(.*?)```.*?</details>", re.S)


@pytest.mark.parametrize(
    "path",
    [p for p in NOTEBOOKS if any(SOLUTION.search(s) for s in cells(p, "markdown"))],
    ids=lambda p: p.stem,
)
def test_folded_solutions_run(path, monkeypatch):
    "Every folded solution runs in the order of the chapter, on top of the names the chapter imports."
    monkeypatch.chdir(path.parent)
    names = {"__name__": "solutions"}
    for source in cells(path):
        imports = [
            n
            for n in ast.parse(re.sub(r"^\s*[%!].*$", "", source, flags=re.M)).body
            if isinstance(n, (ast.Import, ast.ImportFrom))
        ]
        exec(compile(ast.Module(imports, []), path.name, "exec"), names)
    if module_of(path):
        exec(f"from gan_audio_tut.{module_of(path)} import *", names)
    solutions = [s for text in cells(path, "markdown") for s in SOLUTION.findall(text)]
    for s in solutions:
        assert "assert" in s, "a solution proves itself with an assert"
        exec(compile(s, f"{path.name}, solution", "exec"), names)
