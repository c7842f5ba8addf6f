from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp

from couplevi import metrics
from couplevi._arrays import dense
from couplevi._labels import check_classes, column_of, labels_of
from couplevi._progress import progress
from couplevi._streamed import loaded
from couplevi._validate import (
    check_cells,
    check_count,
    check_different,
    check_modality,
    check_option,
    expected,
    find_names,
)
from couplevi.tl._route import LATENT, find_route
from couplevi.tl._windows import Group, check_windows, positions, window_groups

if TYPE_CHECKING:
    from mudata import MuData

    from couplevi._protocols import EmbedsRoutes
    from couplevi._types import FloatArray, IntArray, MemoryMatrix
    from couplevi.nn import Route

COLUMNS = ("group", "n_features", "target", "intact", "ablated", "change", "z_score", "shift")
FEWEST_CELLS = 3
"""Cells from which a correlation says anything."""

Score = Callable[["FloatArray", "IntArray"], "FloatArray"]
"""From what is predicted for some targets, and their numbers, to a score of each."""


def ablate(
    mdata: MuData,
    model: EmbedsRoutes,
    *,
    source: str,
    target: str,
    groups: Mapping[str, Sequence[str]] | None = None,
    windows: Sequence[int | Literal["chromosome", "genome"]] | None = None,
    targets: Sequence[str] | None = None,
    metric: Literal["correlation", "lta"] = "correlation",
    labels: str | None = None,
    cells: Sequence[str] | None = None,
    background: Sequence[str] | None = None,
    n_seeds: int = 10,
    n_neighbors: int = 5,
    seed: int = 0,
    progress_bar: bool = True,
) -> pd.DataFrame:
    """How much worse a prediction gets without a feature, or a group of them.

    Ablated features are replaced by their mean over the background; nothing is trained again. Nothing is written.

    Parameters
    ----------
    mdata
        MuData with both modalities.
    model
        Fitted model.
    source, target
        Modality whose features are ablated, and the one that is predicted from it.
    groups
        Names of groups and their features, each ablated together. None, without `windows`, ablates each feature of
        the source by itself.
    windows
        In place of groups: for each target feature all source features within so many base pairs of it, or on its
        ``"chromosome"``, or all (``"genome"``). Positions are read, for both modalities, from columns ``chromosome``,
        ``start`` and ``end`` (or ``chrom``, ``chr``, ...) or ``interval`` of ``var``, or from names such as
        ``"chr1:100-200"``. Targets without a position are left out.
    targets
        Target features to score; None takes all.
    metric
        ``"correlation"`` of measured and imputed values of each target feature over the cells measured in both
        modalities. ``"lta"``: label transfer accuracy, labels of the target's latents read off by those of the source.
    labels
        Column of ``mdata.obs``, for ``"lta"``.
    cells
        Names of cells measured in both modalities to score on; None takes all. Those whose pairs the model was not
        trained on tell more: ``names[~model.is_fitted(names, source, target)]``.
    background
        Names of at least 2 cells of the source; None takes all.
    n_seeds
        Random halves of the cells, for ``"lta"``: labels go from one half to the other, so that no cell meets itself.
    n_neighbors
        Neighbours of the label transfer.
    seed
        Reproduces the halves.
    progress_bar
        Show progress over groups.

    Returns
    -------
    Tidy frame, a row per group and target (``target`` is the column of labels for ``"lta"``): ``n_features`` in the
    group; score ``intact`` and ``ablated``; ``change``, their difference, negative where the group helps;
    ``z_score`` of the change among all groups of the same target, or, with windows, among all targets of the same
    window (NaN for fewer than 3); ``shift``, root mean square change of the imputed value in the target's units, or of
    the latent for ``"lta"``.

    Raises
    ------
    TypeError
        If `mdata` is not a MuData, or `groups` not a mapping.
    KeyError
        If `mdata` lacks a modality, or a feature, cell or column is unknown.
    ValueError
        If the model lacks a modality, an argument is of the other metric, a group is empty, no window holds a feature, positions are missing, groups and windows are both given,
        fewer than 3 cells can be scored, the background has fewer than 2 cells, or an option is out of range.
    RuntimeError
        If the model is not trained.

    References
    ----------
    Cohen Kalafut, Huang and Wang, Joint variational autoencoders for multimodal imputation and embedding,
    Nature Machine Intelligence 2023, sections 2.5 and 4.12.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100)
    >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
    >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
    >>> halves = {"first": mdata["rna"].var_names[:200], "all": mdata["rna"].var_names}
    >>> frame = cvi.tl.ablate(mdata, model, source="rna", target="ephys", groups=halves, targets=["ephys0"])
    >>> frame[["group", "n_features", "target"]].values.tolist()
    [['first', 200, 'ephys0'], ['all', 400, 'ephys0']]
    """
    check_cells(mdata, model.modalities_)
    check_option(metric, ["correlation", "lta"], "metric")
    check_count(n_seeds, "n_seeds")
    check_count(n_neighbors, "n_neighbors")
    model.reader(source, "source")
    model.reader(target, "target")
    check_modality(mdata, source, "source")
    check_modality(mdata, target, "target")
    check_different(source, target)
    if groups is not None and windows is not None:
        raise ValueError(expected("`groups` or `windows`", "both"))
    _check_arguments_of(metric, {"lta": {"targets": targets, "windows": windows}, "correlation": {"labels": labels}})
    around = None if windows is None else check_windows(windows)
    both = mdata[source].obs_names.intersection(mdata[target].obs_names)
    names = both if cells is None else both[find_names(both, cells, f"cells measured in {source!r} and {target!r}")]
    shown: Sequence[str | None]
    if metric == "lta":
        check_classes(column_of(mdata, labels), labels)
        y = labels_of(mdata, labels, names)
        names = names[y.notna()]
        route = find_route(mdata, model, source, LATENT, None, "")
        z = model.get_latent_representation(model.reader(target).cells(mdata, names), modality=target)
        halves = _halves(len(names), n_seeds, n_neighbors, seed)
        score, shown = _transfer(z, y.dropna().to_numpy(), halves, n_neighbors), [labels]
    else:
        route = find_route(mdata, model, source, target, targets, "")
        measured = model.reader(target).measured(mdata[target][names])
        score, shown = _correlation(dense(measured)[:, route.columns]), route.names
    if len(names) < FEWEST_CELLS:
        raise ValueError(expected(f"at least {FEWEST_CELLS} cells to score on", len(names)))
    reader = model.reader(source)
    x = loaded(route.read(reader.read(mdata), reader.where))
    todo = _groups(mdata, model, source, target, groups, around, route, len(shown))
    cell_names = mdata[source].obs_names
    reference = x if background is None else x[find_names(cell_names, background, f"cells of {source!r}")]
    if reference.shape[0] < 2:
        raise ValueError(expected("a `background` of at least 2 cells", reference.shape[0]))
    measured_rows = cell_names.get_indexer(names)
    covariates = reader.covariates(mdata)[measured_rows]
    ablated = _Ablation(route, x[measured_rows], reference)

    def predict(prepared: FloatArray, read: IntArray | slice = slice(None)) -> FloatArray:
        return route.predict(np.hstack([prepared, covariates]), read)

    intact = predict(ablated.prepared)
    score_intact = score(intact, np.arange(len(shown)))
    rows = []
    for group in progress(todo, "ablated group", shown=progress_bar):
        read = slice(None) if metric == "lta" else group.targets
        outputs = predict(ablated.without(group.features), read)
        squares = np.square(outputs - intact[:, read]).mean(axis=0)
        shift = np.sqrt(squares.sum(keepdims=True) if metric == "lta" else squares)
        for t, new, moved in zip(group.targets, score(outputs, group.targets), shift, strict=True):
            old = score_intact[t]
            rows.append((group.name, len(group.features), shown[t], old, new, new - old, np.nan, moved))
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame["z_score"] = frame.groupby("group" if windows else "target", sort=False)["change"].transform(_z_score)
    return frame


class _Ablation:
    """Prepared features of profiles in which some features are replaced by their mean over a background."""

    def __init__(self, route: Route, x: MemoryMatrix, background: MemoryMatrix) -> None:
        self.prepared = route.preparation.transform(x)
        self.x = sp.csc_array(x) if sp.issparse(x) else np.asarray(x)
        self.mean = np.asarray(background.mean(axis=0, dtype=np.float64)).ravel()
        loadings = route.preparation.loadings
        self.loadings = sp.csr_array(loadings) if sp.issparse(loadings) else loadings
        self.centre = self._mapped(route.preparation.mean[None], slice(None))

    def without(self, features: IntArray) -> FloatArray:
        mean = self._mapped(self.mean[None], features)
        if 2 * len(features) <= self.x.shape[1]:
            return (self.prepared - self._mapped(self.x, features) + mean).astype(np.float32)
        rest = np.setdiff1d(np.arange(self.x.shape[1]), features)  # so that without all, all profiles are the same
        return (self._mapped(self.x, rest) + (mean - self.centre)).astype(np.float32)

    def _mapped(self, x: MemoryMatrix, features: IntArray | slice) -> FloatArray:
        """Contribution of some features to the prepared ones, not centred."""
        return dense(x[:, features] @ self.loadings[features])


def _check_arguments_of(metric: str, others: Mapping[str, Mapping[str, object]]) -> None:
    """Refuse arguments that only the other metric reads."""
    for name, value in others[metric].items():
        if value is not None:
            raise ValueError(expected(f"no `{name}` with `metric={metric!r}`", repr(value), "It would not be read."))


def _groups(
    mdata: MuData,
    model: EmbedsRoutes,
    source: str,
    target: str,
    groups: Mapping[str, Sequence[str]] | None,
    windows: Sequence[int | str] | None,
    route: Route,
    n_targets: int,
) -> list[Group]:
    """Everything that is ablated, one after the other; targets are counted among those of the route."""
    names, everything = model.var_names_[source], np.arange(n_targets)
    if windows is not None:
        place = {m: positions(_var(mdata, model, m), f"modality {m!r}") for m in (source, target)}
        found = list(window_groups(place[source], place[target].iloc[route.columns], windows))
        if not any(len(group.features) for group in found):
            remedy = "Do both modalities name chromosomes, and count base pairs, alike?"
            raise ValueError(expected(f"features of {source!r} in the windows of {target!r}", "none", remedy))
        return found
    if groups is None:
        return [Group(name, np.array([j]), everything) for j, name in enumerate(names)]
    if not isinstance(groups, Mapping):
        remedy = 'For example {"interneuron": ["Pvalb", "Sst"]}.'
        raise TypeError(expected("`groups` to map names to features", type(groups).__name__, remedy))
    if not groups or len({str(name) for name in groups}) < len(groups):
        raise ValueError(expected("one or more `groups` of different names", list(groups)))
    return [
        Group(str(name), find_names(names, members, f"the features of {source!r} in group {name!r}"), everything)
        for name, members in groups.items()
    ]


def _var(mdata: MuData, model: EmbedsRoutes, modality: str) -> pd.DataFrame:
    """Annotation of the features of the model, in its order."""
    if model.reader(modality).attribute == "obsm":
        raise ValueError(expected(f"features of modality {modality!r} in `var`", "columns of a representation"))
    return mdata[modality].var.loc[list(model.var_names_[modality])]


def _correlation(measured: FloatArray) -> Score:
    def score(outputs: FloatArray, targets: IntArray) -> FloatArray:
        return metrics.pearson_per_feature(measured[:, targets], outputs)

    return score


def _transfer(z: FloatArray, y: np.ndarray, halves: list[tuple[IntArray, IntArray]], n_neighbors: int) -> Score:
    """Accuracy of labels transferred from latents `z` of one half to those of the other, mean over the draws."""

    def score(latents: FloatArray, _: IntArray) -> FloatArray:
        accuracy = [
            metrics.label_transfer_accuracy(z[known], y[known], latents[new], y[new], n_neighbors)
            for known, new in halves
        ]
        return np.array([np.mean(accuracy)])

    return score


def _halves(n: int, n_seeds: int, n_neighbors: int, seed: int) -> list[tuple[IntArray, IntArray]]:
    if n < 2 * n_neighbors:
        raise ValueError(expected(f"at least {2 * n_neighbors} cells with labels, in both modalities", n))
    draws = [np.random.default_rng([seed, i]).permutation(n) for i in range(n_seeds)]
    return [(order[: n // 2], order[n // 2 :]) for order in draws]


def _z_score(change: pd.Series) -> pd.Series:
    """Standard deviations from the mean; NaN where there are too few to tell, or all are the same."""
    spread = change.std(ddof=0)
    return (change - change.mean()) / spread if change.notna().sum() >= 3 and spread > 0 else change * np.nan
