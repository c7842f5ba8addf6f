from importlib.metadata import metadata as _metadata
from pathlib import Path

project = "couplevi"
author = "The couplevi developers"
copyright = "2026, The couplevi developers"
release = _metadata("couplevi")["Version"]
_repository = dict(url.split(", ") for url in _metadata("couplevi").get_all("Project-URL"))["Source"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx-mathjax-offline",  # MathJax in the site, which loads nothing from other hosts
    "sphinx_copybutton",
    "sphinxcontrib.bibtex",
]
html_theme = "sphinx_book_theme"
html_theme_options = {
    "logo": {"text": "couplevi"},
    "navbar_persistent": [],  # the search box is in the sidebar
    "repository_url": _repository,
    "use_repository_button": True,
}
html_title = "couplevi"
html_logo = html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
templates_path = ["_templates"]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]

bibtex_bibfiles = ["references.bib"]

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = False
napoleon_use_rtype = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_disable_syntax = ["myst_line_comment"]  # lines that begin with "% of the cells" are text
nb_execution_mode = "off"


WIDE = 640
"""Width of a figure in pixels from which a phone shows it larger than its screen."""


def setup(app):
    app.connect("doctree-read", link_figures)
    app.connect("html-page-context", add_notebook_button, priority=900)  # after the theme's own buttons
    let_returns_be_prose()


def link_figures(app, doctree):
    """Say how wide each figure is: Sphinx then links it to the whole file, and the style sheet knows the wide ones."""
    from docutils import nodes
    from sphinx.util.images import get_image_size

    for image in doctree.findall(nodes.image):
        size = get_image_size(Path(app.srcdir, image["uri"]))
        if size and "width" not in image:
            image["width"] = f"{size[0]}px"
            image["classes"] += ["wide"] * (size[0] >= WIDE)


def add_notebook_button(app, pagename, templatename, context, doctree):
    """Lead from the page of a tutorial to its notebook in the repository, where it can be run from."""
    if context.get("page_source_suffix") == ".ipynb":
        button = {"type": "link", "icon": "fas fa-book-open", "text": "Open notebook", "label": "notebook-button"}
        context["header_buttons"].append(
            {**button, "tooltip": "Notebook in the repository", "url": f"{_repository}/blob/main/{pagename}.ipynb"}
        )


def let_returns_be_prose():
    """Let the sections "Returns" be prose, as in scanpy; napoleon takes their first words for a type."""
    from sphinx.ext.napoleon import NumpyDocstring

    def parse_returns(self, section):
        lines = self._dedent(self._consume_to_next_section())
        return [*self._format_block(":returns: ", lines), ""] if lines else []

    NumpyDocstring._parse_returns_section = parse_returns
