"""How Sphinx makes the pages out of this directory: ci/docs calls it."""

import sys
from pathlib import Path

from amx.version import __version__

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

project = "linux-amx"
author = "The linux-amx developers"
copyright = author
version = release = __version__

extensions = ["sphinx.ext.autodoc", "myst_parser", "commands", "complete", "docstrings", "outside"]
exclude_patterns = ["extensions", "records/*.json"]
nitpicky = True
# Types of other libraries, and those that annotations name and nobody needs to.
nitpick_ignore_regex = [("py:.*", r"(?!amx\.[A-Za-z_.]*$).*"), ("py:.*", r"(.*\.)?_.*")]

myst_heading_anchors = 6  # as GitHub has them
myst_enable_extensions = ["colon_fence"]

autodoc_mock_imports = ["torch"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 90

html_theme = "furo"
html_title = "linux-amx"
html_copy_source = False
html_show_sphinx = False
pygments_style = "default"
pygments_dark_style = "github-dark"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options = {"top_of_page_buttons": []}

linkcheck_anchors = False  # which pages make by scripts
linkcheck_timeout = 20
linkcheck_retries = 2
