"""API pages of the book: one for each module, written before the build and not kept in git."""

import inspect
import json
import re

from fastcore.docments import docments

PAGE = """# {module}

From chapter [{title}](../../nbs/{notebook}).

```{{eval-rst}}
.. automodule:: gan_audio_tut.{module}
   :members:
   :show-inheritance:
```
"""


def write_pages(folder, notebooks):
    "A page for each notebook that exports a module."
    folder.mkdir(exist_ok=True)
    for path in sorted(notebooks.glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells]
        module = re.search(r"#\| default_exp (\w+)", "\n".join(sources))
        if not module:
            continue
        title = sources[0].splitlines()[0].removeprefix("# ")
        page = PAGE.format(module=module[1], title=title, notebook=path.name)
        (folder / f"{module[1]}.md").write_text(page, encoding="utf-8")


def add_docments(app, what, name, obj, options, lines):
    "Comments beside the parameters of a lesson's function become a list under its docstring."
    has_sections = any(line.startswith((":param", "Parameters")) for line in lines)
    if not inspect.isfunction(obj) or has_sections:
        return
    lines[:] = [_escape(line) for line in lines]
    comments = docments(obj, full=False, returns=True)
    found = {k: v for k, v in comments.items() if v}
    if found:
        lines.append("")
    for parameter, comment in found.items():
        field = ":returns:" if parameter == "return" else f":param {parameter}:"
        lines.append(f"{field} {_escape(' '.join(comment.split()))}")


def _escape(text):
    "Stars and bars have a meaning in reStructuredText, and another one in formulas."
    return re.sub(r"([*|])", r"\\\1", text)
