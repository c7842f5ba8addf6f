"""Text that repeats in docstrings."""

import inspect
import textwrap
import typing
from collections import Counter
from pathlib import Path

import pytest

import couplevi as cvi
from couplevi import _docs
from couplevi._docs import PLACEHOLDER, TEXTS, fill_docs


@pytest.fixture
def texts(monkeypatch):
    """Two texts: one of a parameter, one to be put into a line."""
    found = {"ax": "ax\n    First line,\n\n    third line.", "paper": "Somebody,\nsomewhere"}
    monkeypatch.setattr(_docs, "TEXTS", found)
    return found


def test_lines_are_indented_like_the_placeholder(texts):
    @fill_docs
    def figure(ax=None):
        """Draw.

        Parameters
        ----------
        %(ax)s

            %(ax)s
        """

    assert figure.__doc__.split("\n") == [
        "Draw.",
        "",
        "Parameters",
        "----------",
        "ax",
        "    First line,",
        "",
        "    third line.",
        "",
        "    ax",
        "        First line,",
        "",
        "        third line.",
    ]


def test_text_within_a_line_and_on_the_first(texts):
    @fill_docs
    def figure():
        """See %(paper)s.

        - %(paper)s, figure 1, {braces}, 5 %, "%s" % x and (%(paper)s)
        """

    text = 'See Somebody,\nsomewhere.\n\n- Somebody,\nsomewhere, figure 1, {braces}, 5 %, "%s" % x and (Somebody,\nsomewhere)'
    assert figure.__doc__ == text


def test_signature_and_types_stay():
    def figure(data: int, *, ax: str | None = None) -> float:
        """Draw.

        %(ax)s
        """
        return data + 0.5

    signature, hints = inspect.signature(figure), typing.get_type_hints(figure)
    assert fill_docs(figure) is figure
    assert inspect.signature(figure) == signature
    assert typing.get_type_hints(figure) == hints == {"data": int, "ax": str | None, "return": float}
    assert figure(1) == 1.5


def test_classes_and_all_kinds_of_methods(texts):
    @fill_docs
    class Model:
        """Of %(paper)s."""

        @fill_docs
        def method(self):
            """%(paper)s, method."""

        @classmethod
        @fill_docs
        def of_class(cls):
            """%(paper)s, class."""
            return cls

        @property
        @fill_docs
        def value(self):
            """%(paper)s, property."""

    assert isinstance(Model, type)
    assert Model.of_class() is Model
    found = [inspect.getdoc(x) for x in (Model, Model.method, Model.of_class, Model.value)]
    assert found == [text.replace("@", texts["paper"]) for text in ("Of @.", "@, method.", "@, class.", "@, property.")]


def test_a_docstring_that_python_removed_stays_removed():
    def figure():
        pass

    assert fill_docs(figure).__doc__ is None


def test_an_unknown_placeholder_is_refused(texts):
    def figure():
        """%(paper)s and %(axes)s."""

    with pytest.raises(
        KeyError, match="figure.* to be among \\['ax', 'paper'\\], found \\['axes'\\]. Write the text once"
    ):
        fill_docs(figure)


def test_every_text_is_dedented_and_used_more_than_once():
    source = "\n".join(
        path.read_text() for path in Path(_docs.__file__).parent.rglob("*.py") if path.name != "_docs.py"
    )
    used = Counter(PLACEHOLDER.findall(source))
    assert {name: used[name] for name in TEXTS if used[name] < 2} == {}
    assert {name for name, text in TEXTS.items() if text != textwrap.dedent(text).strip()} == set()


def public_items():
    """Every public function and class of the package with the methods of the classes, also those of their bases."""
    for namespace in cvi.__all__:
        for name in getattr(getattr(cvi, namespace), "__all__", ()):
            item = getattr(getattr(cvi, namespace), name)
            yield f"{namespace}.{name}", item
            if inspect.isclass(item):
                for method, member in inspect.getmembers(item):
                    if not method.startswith("_"):
                        yield f"{namespace}.{name}.{method}", member


def unfilled(items):
    return {name: left for name, item in items if (left := PLACEHOLDER.findall(getattr(item, "__doc__", None) or ""))}


def test_no_public_docstring_has_an_unfilled_placeholder():
    items = dict(public_items())
    assert {"pl.latent", "model.JAMIE", "model.JAMIE.train", "model.CplMixVAE.train"} <= items.keys()
    assert unfilled(items.items()) == {}


def test_an_unfilled_placeholder_is_found():
    class Model:
        """%(adata)s."""

        def method(self):
            """Text of %(batch_size)s."""

    members = [("Model", Model), ("Model.method", Model.method), ("None", None)]
    assert unfilled(members) == {"Model": ["adata"], "Model.method": ["batch_size"]}
