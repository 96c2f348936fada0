"""Sphinx configuration. Builds offline; DENSCONF_INTERSPHINX=1 adds links to other projects."""

import os
import re
from typing import Any

import latex2mathml.converter
from docutils.nodes import SkipNode

import sklearn_densconf

project = "sklearn_densconf"
copyright = "2026, the sklearn_densconf developers"  # noqa: A001 - Sphinx's name
release = sklearn_densconf.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
if os.environ.get("DENSCONF_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "sklearn": ("https://scikit-learn.org/stable", None),
        "torch": ("https://pytorch.org/docs/stable", None),
    }

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "examples"]
html_extra_path = ["llms.txt"]
templates_path = ["_templates"]
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "abort_on_example_error": True,
    "plot_gallery": True,
    "download_all_examples": False,
    "show_memory": False,
    "within_subsection_order": "ExampleTitleSortKey",
    "write_computation_times": False,  # its page takes scripts from other hosts
}

add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = "sklearn_densconf"
html_show_sourcelink = False
html_static_path = ["_css"]
html_favicon = "_css/favicon.svg"  # else browsers ask for one, and log that there is none
html_css_files = ["site.css"]
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
html_math_renderer = "mathml"  # browsers draw it themselves: no script from another host
html_sidebars = {
    page: []
    for page in [
        "installation",
        "user_guide",
        "reproduction",
        "comparison",
        "benchmarks",
        "scaling",
        "networks",
        "reliability",
        "traps",
        "registries",
        "versions",
        "architecture",
        "design_notes",
    ]
}
html_theme_options = {
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],  # the field's text is not in its accessible name
    "use_edit_page_button": False,
}


def _mathml(display: str) -> tuple[Any, None]:
    def visit(translator: Any, node: Any) -> None:
        translator.body.append(latex2mathml.converter.convert(node.astext(), display=display))
        raise SkipNode

    return visit, None


def _name_thumbnails(_app: Any, _page: str, _template: str, context: Any, _tree: Any) -> None:
    """Say in words what a recipe's picture and the link over it are; sphinx-gallery does not."""
    context["body"] = re.sub(
        r'<img alt="" (.*_thumb\S* />)\n<p><a (.*><span class="doc">(.*)</span>)',
        r'<img alt="\3" \1\n<p><a aria-label="\3" \2',
        context.get("body", ""),
    )


def setup(app: Any) -> None:
    """Register the renderer of formulas, and the names of the thumbnails."""
    app.connect("html-page-context", _name_thumbnails)
    app.add_html_math_renderer("mathml", _mathml("inline"), _mathml("block"))
