"""The book: every chapter as stored, and an API page for each module. No cell is executed."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import api  # noqa: E402 - found beside this file

project = "gan_audio_tut"
author = "The gan_audio_tut authors"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = ["docs/*.md", "docs/api/*.md", "nbs/*.ipynb"]
nb_custom_formats = {".ipynb": ["nbdev_reader.read", {}]}
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "amsmath"]
suppress_warnings = ["myst.header", "misc.highlighting_failure"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the NumPy-style docstrings say it
napoleon_google_docstring = False
html_theme = "sphinx_book_theme"
html_title = "GANs for audio"


def setup(app):
    api.write_pages(HERE / "api", HERE.parent / "nbs")
    app.connect("autodoc-process-docstring", api.add_docments)
