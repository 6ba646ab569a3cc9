"""How Sphinx builds the site; the command stands in `contributing.md`.

The build never uses the network: no intersphinx, no web fonts, and the examples run on the sample
dataset with `CONFUSIUS_OFFLINE=1`.
"""

import os
from importlib.metadata import version as installed_version
from pathlib import Path

project = "confusius-datasets"
author = "The confusius-datasets developers"
copyright = author
release = version = installed_version("confusius-datasets")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["**/.*", "generated/gallery/**/*.ipynb", "generated/gallery/**/*.py"]
templates_path = ["_templates"]
language = "en"

# Markdown: links to headings, and the same anchors as a code host makes.
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]

# API pages: one for each public name, made from its docstring.
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings have the types, in words
autodoc_preserve_defaults = True
numpydoc_show_class_members = False  # the class template lists the members itself
numpydoc_class_members_toctree = False

# Gallery: what starts with `sample_` runs on the sample dataset; the others need a network.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "generated/gallery",
    "filename_pattern": r"/sample_",
    "download_all_examples": False,
    "plot_gallery": True,
    "abort_on_example_error": True,
    "show_signature": False,
    "remove_config_comments": True,
    "within_subsection_order": "ExampleTitleSortKey",
    "min_reported_time": 10,
    "write_computation_times": False,
}
os.environ["CONFUSIUS_OFFLINE"] = "1"

html_theme = "furo"
html_title = f"confusius-datasets {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
copybutton_exclude = ".linenos, .gp, .go"


def setup(app):
    """Let the examples keep the sample dataset beside the built site."""
    os.environ["CONFUSIUS_DATA"] = str(Path(app.outdir).with_name("docs-data"))
