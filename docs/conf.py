"""The documentation site: the repository's own pages, so that links work there and on the site alike.

The source folder is the repository, see `make docs`: data/, experiments/ and the model cards are pages where
they are, and nothing is copied.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from hdrlab import __version__

project = "hdrlab"
author = "the hdrlab contributors"
copyright = "the hdrlab contributors, MIT licence"  # Sphinx's name
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_parser",
    "site_pages",
]
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "data/*.md",
    "experiments/**.md",
    "hdrlab/weights/shipped/**/card.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = [
    ".*",
    "build",
    "dist",
    "runs",
    "outputs",
    "wandb",
    "tests",
    "data/cache",
    "**/.ipynb_checkpoints",
]

nitpicky = True
# Types of other packages, and words in single backticks that are no names of ours, stay plain text.
# The last are types of our own that nobody needs to name.
nitpick_ignore_regex = [
    ("py:.*", r"(?!hdrlab).*"),
    ("py:(obj|meth|attr)", ".*"),
    ("py:class", r"hdrlab\.(datasets\.splits|io\.exif|io\.jpeg_segments|ops\.colour)\..*"),
]
default_role = "py:obj"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# READMEs that begin below the first level; blocks of no language that are no command lines
suppress_warnings = ["myst.header", "misc.highlighting_failure"]

autodoc_member_order = "bysource"
autodoc_default_options = {"special-members": "__call__"}  # what Reconstructor and ToneMapper are for
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

highlight_language = "bash"  # of blocks that name none
html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"hdrlab {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
templates_path: list[str] = []
