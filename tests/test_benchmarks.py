"""Commands that the Makefile, the README and the chapters give: their scripts know every word."""

import json
import re
import shlex

import pytest
from conftest import ROOT

SCRIPT = r"(?:benchmarks|tools)/\w+\.py"
QUOTED = re.compile(rf"`(?:[A-Z]\w*=\S+ )*(?:python )?({SCRIPT}[^`\n]*)`|({SCRIPT})")


def bench_commands():
    "What `make bench` runs."
    recipe = re.search(r"^bench:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)[1]
    loop = re.search(r"for b in (.*?); do \$\(BIN\)/python benchmarks/\$\$b", recipe, re.S)[1]
    yield from re.findall(rf"^\t\$\(BIN\)/python ({SCRIPT}.*)$", recipe, re.M)
    yield from (f"benchmarks/{command}" for command in shlex.split(loop.replace("\\\n", " ")))


def quoted_commands():
    "What the README and the chapters name, with its arguments where it stands between backticks."
    texts = [(ROOT / "README.md").read_text()]
    for path in sorted((ROOT / "nbs").glob("*.ipynb")):
        texts += ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]]
    return sorted({a or b for text in texts for a, b in QUOTED.findall(text)})


def source_of(script):
    "The script's own code and that of the scripts beside it which it imports."
    source = script.read_text()
    imported = re.findall(r"^(?:import|from) (\w+)", source, re.M)
    beside = [script.with_name(f"{name}.py") for name in imported]
    return "\n".join([source, *(path.read_text() for path in beside if path.exists())])


def unknown_words(command):
    "Arguments that the script does not name: options and choices as strings, rates as numbers."
    name, *arguments = shlex.split(command)
    script = ROOT / name
    if not script.exists():
        return [name]
    source = source_of(script)
    unknown, previous = [], ""
    for word in arguments:
        is_number = re.fullmatch(r"[\d.]+", word)
        is_value = is_number and previous.startswith("--")
        pattern = rf"\b{re.escape(word)}\b" if is_number else rf'"{re.escape(word)}"'
        if not is_value and "/" not in word and not re.search(pattern, source):
            unknown.append(word)
        previous = word
    return unknown


@pytest.mark.parametrize("command", sorted({*bench_commands(), *quoted_commands()}))
def test_commands_name_scripts_and_choices_that_exist(command):
    assert not unknown_words(command)


def test_no_list_is_empty():
    assert len(list(bench_commands())) > 20 and len(quoted_commands()) > 15


def test_unknown_words_are_found():
    assert unknown_words("benchmarks/health.py") == ["benchmarks/health.py"]
    command = "benchmarks/vocoder.py judge 8000 --on valid --lean 0.1"
    assert unknown_words(command) == ["judge", "--lean"]
    assert unknown_words("benchmarks/restoration.py evaluate 44100") == ["44100"]
