from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from couplevi._constants import TERM_COLUMNS, TERM_SEPARATOR
from couplevi._validate import expected, listing, warn

if TYPE_CHECKING:
    import pandas as pd


def describe_labels(
    labels: Iterable[str], ontology: pd.DataFrame, *, terms: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """Texts that describe labels, from an ontology: their definitions, and those of the kinds that they belong to.

    Parameters
    ----------
    labels
        Cell types, such as the categories of a column of ``adata.obs``.
    ontology
        Terms by identifier, with columns `label`, `definition`, `synonyms` and `parents`, as
        :func:`couplevi.data.read_ontology` reads them.
    terms
        Identifier (``"CL:0000084"``), name or synonym of the term of some labels, for those that are not spelled as in
        the ontology. Case, plurals and what is no letter, figure or plus do not matter.

    Returns
    -------
    For each label with a term ``["{name}. {definition}", "{name}, a kind of {parent}."]``, the second text if it has
    parents; for others, which are named in a warning with the nearest names, the label alone. For the `descriptions`
    of :func:`couplevi.tl.celltext` and :func:`couplevi.tl.annotate`.

    Raises
    ------
    KeyError
        If the ontology lacks a column, or a term that was asked for.

    Examples
    --------
    >>> import couplevi as cvi, pandas as pd
    >>> columns = ["label", "definition", "synonyms", "parents"]
    >>> rows = [["T cell", "A lymphocyte matured in the thymus.", "T lymphocyte", "CL:2"], ["lymphocyte", "", "", ""]]
    >>> ontology = pd.DataFrame(rows, index=["CL:1", "CL:2"], columns=columns)
    >>> cvi.pp.describe_labels(["T cells"], ontology)
    {'T cells': ['T cell. A lymphocyte matured in the thymus.', 'T cell, a kind of lymphocyte.']}
    """
    if missing := sorted(set(TERM_COLUMNS) - set(ontology)):
        remedy = "Read it with `cvi.data.read_ontology`."
        raise KeyError(expected(f"columns {list(TERM_COLUMNS)} of the ontology", f"none of {missing}", remedy))
    ids = _identifiers(ontology)
    found: dict[str, list[str]] = {}
    unknown: list[str] = []
    for label in map(str, labels):
        asked = None if terms is None else terms.get(label)
        identifier = ids.get(_key(label if asked is None else asked))
        if identifier is None and asked is not None:
            raise KeyError(expected(f"a term of the ontology for {label!r}", repr(asked)))
        if identifier is None:
            unknown.append(label)
        found[label] = [label] if identifier is None else _texts(ontology, identifier)
    if unknown:
        near = {label: difflib.get_close_matches(label, list(ontology["label"]), n=1) for label in unknown}
        hints = [f"{label} ({names[0]}?)" if names else label for label, names in near.items()]
        warn(
            f"Labels without a term of the ontology have no text but themselves; name theirs in `terms`: {listing(hints)}."
        )
    return found


def _key(name: str) -> str:
    """A name without what spellings differ in."""
    words = re.findall(r"(?:[^\W_]|\+)+", name.lower())
    return " ".join(word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words)


def _identifiers(ontology: pd.DataFrame) -> dict[str, str]:
    """Identifiers of terms by all that they are called; names come before synonyms."""
    found: dict[str, str] = {}
    names = [(str(i), str(i)) for i in ontology.index]
    names += list(zip(ontology["label"], ontology.index, strict=True))
    names += [(s, str(i)) for i, joined in ontology["synonyms"].items() for s in str(joined).split(TERM_SEPARATOR) if s]
    for name, identifier in names:
        found.setdefault(_key(name), identifier)
    return found


def _texts(ontology: pd.DataFrame, identifier: str) -> list[str]:
    """The definition of a term, and what it is a kind of."""
    names = ontology["label"].astype(str).to_dict()
    term = ontology.loc[identifier]
    parents = [names[p] for p in str(term["parents"]).split(TERM_SEPARATOR) if p in names]
    texts = [f"{term['label']}. {term['definition']}".rstrip()]
    if parents:
        texts.append(f"{term['label']}, a kind of {' and of '.join(parents)}.")
    return texts
