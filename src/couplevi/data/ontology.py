"""Ontologies of cell types, from the user's own files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from couplevi._constants import TERM_COLUMNS, TERM_SEPARATOR
from couplevi._paths import user_path
from couplevi._validate import expected

QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


def read_ontology(path: str | os.PathLike[str]) -> pd.DataFrame:
    r"""Read the terms of an ontology in the OBO format, such as the Cell Ontology's ``cl.obo``.

    Parameters
    ----------
    path
        File in the OBO format, version 1.2 or 1.4; or a table of tab-separated columns `id`, `label`, `definition`,
        `synonyms` and `parents` (the latter two separated by ``|``), whose name ends in ``.tsv`` or ``.tsv.gz``.

    Returns
    -------
    A row for each term that has a name and is not obsolete, by its identifier, such as ``"CL:0000084"``; columns
    `label`, `definition`, `synonyms` and `parents` (the terms that it is a kind of), texts, ``""`` where there is none.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds no terms.

    References
    ----------
    Osumi-Sutherland et al., Cell type ontologies of the Human Cell Atlas, Nature Cell Biology 2021 (the Cell Ontology).

    Examples
    --------
    >>> import couplevi as cvi, pathlib, tempfile
    >>> term = '[Term]\nid: CL:0000084\nname: T cell\ndef: "A lymphocyte matured in the thymus." []\n'
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "small.obo"
    >>> _ = path.write_text(term)
    >>> cvi.data.read_ontology(path).loc["CL:0000084", "label"]
    'T cell'
    """
    file = user_path(path)
    if not file.is_file():
        raise FileNotFoundError(expected("a file with an ontology", f"nothing at {str(file)!r}"))
    if file.name.endswith((".tsv", ".tsv.gz")):
        terms = pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False)
        if missing := sorted({"id", *TERM_COLUMNS} - set(terms)):
            raise ValueError(expected(f"columns {['id', *TERM_COLUMNS]}", f"none of {missing}"))
        terms = terms.set_index("id")[list(TERM_COLUMNS)]
    else:
        records = {stanza["id"][0]: _term(stanza) for stanza in _stanzas(file) if _is_term(stanza)}
        terms = pd.DataFrame.from_dict(records, orient="index", columns=list(TERM_COLUMNS))
    if terms.empty:
        remedy = "Name a file in the OBO format, such as the Cell Ontology's cl.obo."
        raise ValueError(expected(f"terms in {file.name!r}", "none", remedy))
    return terms.rename_axis("id")


def _stanzas(file: Path) -> Iterator[dict[str, list[str]]]:
    """Values of each tag of each term."""
    stanza: dict[str, list[str]] | None = None
    with file.open(encoding="utf-8") as lines:
        for line in map(str.strip, lines):
            if line.startswith("["):
                if stanza is not None:
                    yield stanza
                stanza = {} if line == "[Term]" else None
            elif stanza is not None and ":" in line and not line.startswith("!"):
                tag, value = line.split(":", maxsplit=1)
                stanza.setdefault(tag, []).append(value.strip())
    if stanza is not None:
        yield stanza


def _is_term(stanza: dict[str, list[str]]) -> bool:
    return "id" in stanza and "name" in stanza and stanza.get("is_obsolete") != ["true"]


def _term(stanza: dict[str, list[str]]) -> list[str]:
    """The columns of a term."""
    parents = [value.split("!")[0].split("{")[0].strip() for value in stanza.get("is_a", [])]
    synonyms = [_quoted(value) for value in stanza.get("synonym", [])]
    definition = _quoted(stanza.get("def", ['""'])[0])
    return [stanza["name"][0], definition, TERM_SEPARATOR.join(synonyms), TERM_SEPARATOR.join(parents)]


def _quoted(value: str) -> str:
    """What stands in quotation marks."""
    found = QUOTED.search(value)
    return "" if found is None else re.sub(r"\\(.)", r"\1", found[1])
