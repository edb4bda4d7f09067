"""A chapter as a reader should meet it: nbdev's directives become captions or vanish."""

import re

import nbformat


def read(text):
    "Called by MyST-NB with the text of a notebook."
    nb = nbformat.reads(text, 4)
    module = re.search(r"#\| default_exp (\w+)", text)
    kept = []
    for cell in nb.cells:
        if cell.cell_type == "code":
            lines = cell.source.splitlines()
            if any(re.match(r"#\|\s*(hide|default_exp)", line) for line in lines):
                continue
            exported = any(re.match(r"#\|\s*export", line) for line in lines)
            source = "\n".join(line for line in lines if not line.startswith("#|"))
            cell.source = (
                f"# exported to gan_audio_tut.{module[1]}\n" if exported and module else ""
            ) + source
        kept.append(cell)
    nb.cells = kept
    return nb
