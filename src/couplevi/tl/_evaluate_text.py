from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from sklearn.neighbors import KNeighborsClassifier

from couplevi._docs import fill_docs
from couplevi._labels import label_texts
from couplevi._validate import check_count, expected, listing
from couplevi.model.celltext import CellText
from couplevi.registry import column_texts, column_values
from couplevi.text import text_encoder as make_text_encoder
from couplevi.tl._fit import seeded

if TYPE_CHECKING:
    from couplevi._types import IntArray

FEWEST_CELLS = 5
"""Cells of a type from which on it is held out, and cells of it are."""
TEST_SIZE = 0.2
N_NEIGHBORS = 15
TFIDF = "tfidf"
SCORES = (
    "unseen_among_unseen",
    "exchanged_texts",
    "unseen_among_all",
    "seen_among_all",
    "harmonic_mean",
    "seen_among_seen",
    "description",
)


@fill_docs
def evaluate_text(
    adata: AnnData,
    *,
    labels_key: str,
    descriptions: Mapping[str, str | Sequence[str]] | None = None,
    layer: str | None = None,
    use_rep: str | None = None,
    text_encoder: str | Callable[[list[str]], Any] = TFIDF,
    cell_encoder: Callable[[AnnData], Any] | None = None,
    batch_key: str | None = None,
    n_unseen: int = 3,
    n_draws: int = 5,
    seed: int = 0,
    train_kwargs: Mapping[str, Any] | None = None,
    **model_kwargs: Any,
) -> pd.DataFrame:
    """How well cells are named by texts, on types that were held out of training, beside what simple means reach.

    In each draw all cells of some types, and a fifth of the others, are held out, and models are trained on the rest.
    Nothing is written.

    Parameters
    ----------
    adata
        Cells of several types.
    labels_key
        Column of ``adata.obs`` with the type of each cell. Types with fewer than 5 cells are left out.
    %(encoders)s
    %(described_values)s
    batch_key
        Column of ``adata.obs``: each batch is held out once, too, without any type.
    n_unseen
        Types that are held out at a time.
    n_draws
        Number of draws.
    seed
        Of the draws and the models.
    train_kwargs
        Arguments of :meth:`~couplevi.model.CellText.train` by name, such as ``{"max_epochs": 50}``.
    **model_kwargs
        Fields of :class:`~couplevi.model.CellTextSettings` that replace those of the preset, such as `n_pcs` (50).

    Returns
    -------
    A row for each draw (``"0"``, ``"1"``, ...; ``"batch a"``) and `method`, and shares of cells that are named rightly,
    in [0, 1], NaN where there is none:

    - `unseen_among_unseen`: cells of held-out types, among these alone; by chance one over their number;
    - `exchanged_texts`: the same where each has the text of another one. What stays high has not read the texts;
    - `unseen_among_all`, `seen_among_all` and their `harmonic_mean`: both kinds of cells, among all types;
    - `seen_among_seen`: held-out cells of types that were seen, among these;
    - `description`: held-out cells of types that were seen, whose retrieved description is that of their type.

    Methods are ``"celltext"``; ``"tfidf"``, the same with words alone, if the encoder is another one; ``"knn"``, the
    most frequent label of 15 neighbours, which names no type that it has not seen; ``"words"``, the label whose text
    shares most words with that of the type which ``"knn"`` finds.

    Raises
    ------
    TypeError
        If `adata` is not an AnnData.
    ValueError
        If a number is not positive, or fewer than two types would be left to learn from.
    KeyError, ImportError, FileNotFoundError
        As :func:`couplevi.tl.celltext`.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.count_clusters(n_obs=200, n_clusters=8)
    >>> adata = mdata["rna"].copy()
    >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
    >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
    >>> scores = cvi.tl.evaluate_text(adata, labels_key="type", n_unseen=2, n_draws=1, train_kwargs=quick)
    >>> scores["method"].tolist()
    ['celltext', 'knn', 'words']
    """
    if not isinstance(adata, AnnData):
        raise TypeError(expected("an AnnData", f"{type(adata).__module__}.{type(adata).__name__}"))
    check_count(n_unseen, "n_unseen")
    check_count(n_draws, "n_draws")
    label = pd.Series(column_texts(adata, labels_key))
    counts = label.value_counts()
    types = sorted(counts.index[counts >= FEWEST_CELLS])
    if len(types) < n_unseen + 2:
        what = f"at least {n_unseen + 2} types with {FEWEST_CELLS} cells, to hold {n_unseen} out"
        raise ValueError(expected(what, listing(types), "Lower `n_unseen`."))
    label = label.where(label.isin(types))
    batches = None if batch_key is None else pd.Series(label_texts(column_values(adata, batch_key)))
    encoders = {"celltext": text_encoder}
    if not (isinstance(text_encoder, str) and text_encoder == TFIDF):
        encoders[TFIDF] = TFIDF
    rows = []
    for split in _splits(label, types, batches, n_unseen, n_draws, seed):
        models = {}
        for name, encoder in encoders.items():
            train = adata[split.train].to_memory()
            with seeded(seed):
                CellText.setup_anndata(train, labels_key=labels_key, layer=layer, use_rep=use_rep)
                models[name] = CellText(
                    train, descriptions=descriptions, text_encoder=encoder, cell_encoder=cell_encoder, **model_kwargs
                )
                models[name].train(**(train_kwargs or {}))
        trial = _Trial(adata, label, types, split)
        scores = {name: trial.of_model(model) for name, model in models.items()}
        scores |= trial.of_neighbors(models["celltext"])
        rows += [{"draw": split.name, "method": name, **values} for name, values in scores.items()]
    return pd.DataFrame(rows, columns=["draw", "method", *SCORES])


class _Split(NamedTuple):
    name: str
    train: IntArray
    unseen: list[str]
    new: IntArray
    """Cells of types that are held out."""
    old: IntArray
    """Cells of others that are."""


def _splits(
    label: pd.Series, types: list[str], batches: pd.Series | None, n_unseen: int, n_draws: int, seed: int
) -> Iterator[_Split]:
    """What is held out in each draw."""
    known = label.notna().to_numpy()
    for draw in range(n_draws):
        rng = np.random.default_rng((seed, draw))
        unseen = [str(name) for name in rng.permutation(types)[:n_unseen]]
        out = label.isin(unseen).to_numpy()
        rest = rng.permutation(np.flatnonzero(known & ~out))
        old, train = np.split(rest, [round(TEST_SIZE * len(rest))])
        old = old[label[old].isin(label[train])]
        yield _Split(str(draw), np.sort(train), unseen, np.flatnonzero(out), np.sort(old))
    for batch in [] if batches is None else sorted(batches.dropna().unique()):
        here = (batches == batch).to_numpy()
        train = np.flatnonzero(known & ~here)
        if label[train].nunique() < 2:
            continue
        old = np.flatnonzero(known & here & label.isin(label[train]).to_numpy())
        yield _Split(f"batch {batch}", train, [], np.empty(0, dtype=np.int64), old)


class _Trial:
    """Scores of methods in one draw."""

    def __init__(self, adata: AnnData, label: pd.Series, types: list[str], split: _Split) -> None:
        self.split, self.label = split, label.to_numpy(dtype=object)
        self.types = types
        self.seen = sorted(set(self.label[split.train]))
        self.new, self.old = (adata[rows].to_memory() for rows in (split.new, split.old))

    def of_model(self, model: CellText) -> dict[str, float]:
        """Scores of a model."""

        def named(cells: AnnData, names: list[str], texts: Mapping[str, Sequence[str]] | None = None) -> np.ndarray:
            found = model.annotate(cells, names, descriptions=texts)
            return found.columns.to_numpy()[found.to_numpy().argmax(axis=1)]

        unseen, new, old = self.split.unseen, self.label[self.split.new], self.label[self.split.old]
        scores = dict.fromkeys(SCORES, np.nan)
        if len(new):
            texts = [model.descriptions_.get(name, [name]) for name in unseen]
            exchanged = dict(zip(unseen, texts[1:] + texts[:1], strict=True))
            scores["unseen_among_unseen"] = float((named(self.new, unseen) == new).mean())
            if len(unseen) > 1:
                scores["exchanged_texts"] = float((named(self.new, unseen, exchanged) == new).mean())
            u = float((named(self.new, self.types) == new).mean())
            s = float((named(self.old, self.types) == old).mean()) if len(old) else np.nan
            scores |= {
                "unseen_among_all": u,
                "seen_among_all": s,
                "harmonic_mean": 2 * u * s / (u + s) if u + s else 0.0,
            }
        if len(old):
            scores["seen_among_seen"] = float((named(self.old, self.seen) == old).mean())
            told = model.describe(self.old, corpus=[model.descriptions_[name][0] for name in self.seen])["text"]
            right = [text == model.descriptions_[name][0] for text, name in zip(told, old, strict=True)]
            scores["description"] = float(np.mean(right))
        return scores

    def of_neighbors(self, model: CellText) -> dict[str, dict[str, float]]:
        """Scores of the labels of neighbours in the space of a model, and of labels that share words with these."""
        nearest = KNeighborsClassifier(min(N_NEIGHBORS, len(self.split.train)))
        nearest.fit(model.get_latent_representation(), self.label[self.split.train].astype(str))
        unseen, new, old = self.split.unseen, self.label[self.split.new], self.label[self.split.old]
        knn, words = (dict.fromkeys(SCORES, np.nan) for _ in range(2))
        if len(old):
            right = float((nearest.predict(model.get_latent_representation(self.old)) == old).mean())
            knn |= {"seen_among_seen": right} | ({"seen_among_all": right} if len(new) else {})
        if len(new):
            knn |= {"unseen_among_all": 0.0, "harmonic_mean": 0.0}
            texts = {name: model.descriptions_.get(name, [name])[0] for name in self.types}
            encoder = make_text_encoder(TFIDF, list(texts.values()))
            vectors = dict(zip(texts, encoder(list(texts.values())), strict=True))
            found = nearest.predict(model.get_latent_representation(self.new))
            candidates = np.stack([vectors[name] for name in unseen])
            best = np.stack([vectors[name] for name in found]) @ candidates.T
            words["unseen_among_unseen"] = float((np.asarray(unseen)[best.argmax(axis=1)] == new).mean())
        return {"knn": knn, "words": words}
