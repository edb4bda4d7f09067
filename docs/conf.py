"""The book: every chapter as stored, rendered by Sphinx and MyST-NB. Nothing is executed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "gan_audio_tut"
author = "The gan_audio_tut authors"
extensions = ["myst_nb"]
root_doc = "docs/index"
include_patterns = ["docs/index.md", "nbs/*.ipynb"]
nb_custom_formats = {".ipynb": ["nbdev_reader.read", {}]}
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "amsmath"]
suppress_warnings = ["myst.header", "misc.highlighting_failure"]
html_theme = "sphinx_book_theme"
html_title = "GANs for sound"
