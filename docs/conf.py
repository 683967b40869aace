"""Settings of Sphinx: ``make docs`` builds the pages, runs every example and fails on a warning."""

import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

from docutils import nodes

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS)]

import written_pages

import recjax

project = "recjax"
author = copyright = "the recjax authors"
release = recjax.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "_written", "_templates", "_ipython"]
templates_path = ["_templates"]

html_theme = "sphinx_book_theme"
html_title = "recjax"
html_static_path = ["_static"]
html_css_files = ["recjax.css"]
html_theme_options = {
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navbar_start": [],
    "navbar_center": [],
    "navbar_end": [],
    "navbar_persistent": [],
}
html_copy_source = False
html_show_sourcelink = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# The signature of a class is that of its fields, and a member without a docstring of its own is a
# hook of the searches inside, or documented where the contract is: `Coder`, `Distribution`, `Pair`.
autosummary_generate = True
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
default_role = "py:obj"
toc_object_entries = False

# Examples are run again when their page changes, or anything that they were run with.
_ground = hashlib.sha256()
_FOLDERS = ROOT / "recjax", ROOT / "experiments" / "examples", DOCS / "_ipython"
for path in sorted(path for folder in _FOLDERS for path in folder.rglob("*")):
    if path.suffix in (".py", ".safetensors"):
        _ground.update(path.read_bytes())
nb_execution_mode = "cache"
nb_execution_cache_path = str(DOCS / "_build" / "examples" / _ground.hexdigest()[:16])
nb_execution_in_temp = True
nb_execution_show_tb = True
nb_execution_timeout = 300
nb_merge_streams = True

# The kernels of the examples inherit the environment: the command `recjax` of this Python, shell
# cells, one device, and one compilation cache for all pages.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
os.environ["IPYTHONDIR"] = str(DOCS / "_build" / "ipython")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(DOCS / "_build" / "compiled"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")


def show_shell_cells_as_shell(app, doctree) -> None:
    """Cells that Jupyter hands to bash are shown without the line that says so."""
    for block in doctree.findall(nodes.literal_block):
        magic, _, script = block.astext().partition("\n")
        if magic.startswith("%%bash"):
            block.rawsource, block["language"] = script, "bash"
            block.children = [nodes.Text(script)]


def escape_shapes(app, what, name, thing, options, lines) -> None:
    """The star of a shape such as [*event, 3] does not begin emphasis."""
    lines[:] = [re.sub(r"(?<=[\[ ])\*(?=\w+[,\]])", r"\\*", line) for line in lines]


def shorten_types(app, what, name, thing, options, arguments, returns):
    """Annotations say Array and not where JAX has it."""
    return tuple(
        text and text.replace("jaxlib._jax.Array", "Array") for text in (arguments, returns)
    )


def setup(app) -> None:
    shutil.rmtree(DOCS / "api" / "names", ignore_errors=True)  # a name may be gone
    shutil.copytree(DOCS / "_ipython", os.environ["IPYTHONDIR"], dirs_exist_ok=True)
    written_pages.write(DOCS / "_written")
    app.connect("autodoc-process-signature", shorten_types)
    app.connect("autodoc-process-docstring", escape_shapes)
    app.connect("doctree-read", show_shell_cells_as_shell)
