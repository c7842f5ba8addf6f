from importlib.metadata import version as _version

project = "couplevi"
author = "The couplevi developers"
copyright = "2026, The couplevi developers"
release = _version("couplevi")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinxcontrib.bibtex",
]
html_theme = "sphinx_book_theme"
html_title = "couplevi"
html_static_path = ["_static"]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]

bibtex_bibfiles = ["references.bib"]

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_google_docstring = False
napoleon_use_rtype = True
myst_enable_extensions = ["dollarmath", "amsmath"]
nb_execution_mode = "off"


def setup(app):
    """Let the sections "Returns" be prose, as in scanpy; napoleon takes their first words for a type."""
    from sphinx.ext.napoleon import NumpyDocstring

    def parse_returns(self, section):
        lines = self._dedent(self._consume_to_next_section())
        return [*self._format_block(":returns: ", lines), ""] if lines else []

    NumpyDocstring._parse_returns_section = parse_returns
