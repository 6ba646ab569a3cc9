"""How Sphinx builds the site; the command stands in `contributing.md`.

The build never uses the network: no intersphinx, no web fonts, and the examples run on the sample
dataset.
"""

import contextlib
import os
import shutil
import tempfile
from importlib.metadata import version as installed_version
from pathlib import Path

from confusius_datasets import BIDSDataset

# The keywords that sessions complete are not arguments of their own: pages show what is written,
# and Sphinx looks for the defaults of each argument in the source.
for method in vars(BIDSDataset).values():
    with contextlib.suppress(TypeError):
        vars(method).pop("__signature__", None)

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
default_role = "py:obj"  # `name` in a docstring is a link where it is one of ours, else code

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

# An example that asks a host fails. CONFUSIUS_OFFLINE would change what the others show: with it,
# a fetcher leaves out the files that describe the dataset.
os.environ["http_proxy"] = os.environ["https_proxy"] = "http://127.0.0.1:9"


def empty_data_folder(gallery_conf, script):
    """Let an example begin with nothing on disk, so that it shows the same in any order."""
    shutil.rmtree(DATA, ignore_errors=True)


DATA = os.environ["CONFUSIUS_DATA"] = str(Path(tempfile.gettempdir()) / f"fusi-data-{os.getpid()}")

# Gallery: what starts with `sample_` runs on the sample dataset; the quick start needs a network.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "generated/gallery",
    "filename_pattern": r"/sample_",
    "ignore_pattern": r"quickstart",
    "download_all_examples": False,
    "reset_modules": (empty_data_folder, "matplotlib"),
    "reset_modules_order": "both",
    "abort_on_example_error": True,
    "show_signature": False,
    "remove_config_comments": True,
    "within_subsection_order": "ExampleTitleSortKey",
    "min_reported_time": 10,
    "write_computation_times": False,
}
suppress_warnings = ["config.cache"]  # a function in the gallery's settings is not pickled

html_theme = "furo"
html_title = f"confusius-datasets {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
copybutton_exclude = ".linenos, .gp, .go"
