from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.sparse import SparseEfficiencyWarning
from scipy.sparse.csgraph import connected_components
from scipy.stats import chi2, spearmanr
from sklearn.metrics import normalized_mutual_info_score, silhouette_samples
from sklearn.neighbors import NearestNeighbors

from couplevi._labels import label_codes
from couplevi._validate import expected
from couplevi.metrics._alignment import NO_LATENT, as_embedding
from couplevi.metrics._finite import check_finite_rows, check_not_infinite

if TYPE_CHECKING:
    from anndata import AnnData

    from couplevi._types import BoolArray, FloatArray, IntArray

Score: TypeAlias = tuple[float, int]
"""Value, and the number of cells that it is over."""

NONE: Score = (np.nan, 0)
"""A score that cannot be computed."""

FEWEST = 10
"""Cells that a score needs, and a label or a batch to count in one."""

N_NEIGHBORS = 15
RESOLUTIONS = tuple(np.linspace(0.2, 2, 8))
N_LISI = 90
"""Neighbours of iLISI, the cell itself among them; the perplexity is a third of it."""

LISI_TOLERANCE, LISI_STEPS = 1e-5, 50
KBET_LEAST, KBET_MOST, KBET_ALPHA = 10, 70, 0.05


def joint_embedding(
    z: ArrayLike,
    labels: ArrayLike,
    batch: ArrayLike | None = None,
    cell_cycle: ArrayLike | pd.DataFrame | None = None,
    pseudotime: ArrayLike | None = None,
) -> pd.DataFrame:
    """How much of the biology an embedding keeps, and how little of the batches: the scores of scIB.

    All are in [0, 1] and larger is better, so that they can be averaged; a score that cannot be computed is NaN. Distances
    are Euclidean, so the scale of a coordinate matters.

    Parameters
    ----------
    z
        Embedding, shape ``(n, n_latent)``, all values finite.
    labels
        A label per cell, of any type, such as its cell type. Cells without one (None, NaN, NA, ``""``, ``"unknown"``,
        ``"nan"``, ``"Mis"``) do not take part in scores of labels, as if they were not there.
    batch
        A batch per cell; cells without one do not take part in scores of batches. None: these are NaN.
    cell_cycle
        Scores of the S and of the G2M phase of each cell, shape ``(n, 2)``, such as those of
        ``scanpy.tl.score_genes_cell_cycle``; NaN where unknown. None: ``"cell_cycle"`` is NaN.
    pseudotime
        Of each cell, from the measured data, shape ``(n,)``; NaN for cells that are on no trajectory. None:
        ``"trajectory"`` is NaN.

    Returns
    -------
    Frame with columns ``score, value, n``; ``n`` counts the cells that a value is over, in which those without a label
    are not, and is 0 where the value is NaN. No score is over fewer than 10 cells. Rows are

    - ``"nmi"``: normalised mutual information of the labels and the best of 8 Leiden clusterings (resolutions from 0.2
      to 2, graph of 15 neighbours); NaN with fewer than two labels;
    - ``"label_asw"``: mean silhouette of the labels, s, as (s + 1) / 2, which is 0.5 by chance; NaN with fewer than two
      labels, or one per cell;
    - ``"batch_asw"``: 1 - abs(s), where s is the silhouette of the batches within a label, mean over its cells, then
      over the labels that have at least 10 cells and two batches; NaN without such a label;
    - ``"graph_connectivity"``: share of a label's cells in the largest connected part of the graph of 15 neighbours of
      all cells that has these alone, mean over labels. An edge has no direction, as in scIB; scib-metrics wants paths
      both ways, and is lower;
    - ``"cell_cycle"``: share of the variance of the two scores that a linear regression on the embedding explains,
      adjusted for the number of coordinates, at least 0; mean over scores, then over batches (all cells without
      `batch`). NaN if no batch has 10 cells more than coordinates and scores that vary. scIB compares the regression
      with that on the measured data; these are not given here, so that losing the cell cycle lowers the score, and
      inflating it does not;
    - ``"trajectory"``: (r + 1) / 2, where r is Spearman's correlation of `pseudotime` with diffusion pseudotime on the
      graph of 15 neighbours of the cells that have one, from the cell with the smallest (scIB looks for the root along
      the diffusion components). Cells that are not connected with it have diffusion pseudotime 0, as in scIB. NaN if
      either is constant;
    - ``"ilisi"``: median over cells of the inverse Simpson index of the batches among 90 neighbours (all cells, if they
      are fewer), weighted with a perplexity of a third of that, as (index - 1) / (number of batches - 1). It
      is 1 only if batches are equally large. NaN with one batch;
    - ``"kbet"``: share of a label's cells whose neighbours in the label have its composition of batches by a chi-square
      test at 5 %, mean over labels; at best about 0.95. There are as many neighbours as a quarter of the mean batch has
      cells, from 10 to 70, the cell among them, and labels with fewer than three times as many or with one batch are
      left out: their neighbours are all there is. NaN without a label that is left;
    - ``"mean4"``: mean of the first four, NaN if one of them is;
    - ``"mean"``: mean of all eight that are not NaN; compare it only where these are the same.

    Time grows with the square of the number of cells, memory does not: it is some 100 numbers per cell.

    Raises
    ------
    ValueError
        If there is no cell, a cell has NaN or infinite values (leave it out first), lengths differ, scores of the cell
        cycle are not two, or these or the pseudotime are infinite.

    References
    ----------
    Luecken et al., Benchmarking atlas-level data integration in single-cell genomics, Nature Methods 2022. Korsunsky et
    al., Nature Methods 2019 (iLISI); Büttner et al., Nature Methods 2019 (kBET).

    Examples
    --------
    >>> import numpy as np
    >>> import couplevi as cvi
    >>> rng = np.random.default_rng(0)
    >>> labels, batch = np.repeat(["B", "T"], 60), np.tile(["one", "two"], 60)
    >>> z = rng.normal(size=(120, 2)) + 20 * (labels == "T")[:, None]
    >>> frame = cvi.metrics.joint_embedding(z, labels, batch)
    >>> frame.head(4).round(1).values.tolist()
    [['nmi', 1.0, 120], ['label_asw', 1.0, 120], ['batch_asw', 0.9, 120], ['graph_connectivity', 1.0, 120]]
    """
    x = as_embedding(z, "z")
    check_finite_rows(x, "z", NO_LATENT)
    y, b = (_codes(values, len(x), name) for values, name in ((labels, "labels"), (batch, "batch")))
    phases, time = _numbers(cell_cycle, (len(x), 2), "cell_cycle"), _numbers(pseudotime, (len(x), 1), "pseudotime")
    labelled, both = y >= 0, (y >= 0) & (b >= 0)
    nmi, connectivity = _of_graph(x[labelled], y[labelled])
    scores = {
        "nmi": nmi,
        "label_asw": _label_asw(x[labelled], y[labelled]),
        "batch_asw": _batch_asw(x[both], y[both], b[both]),
        "graph_connectivity": connectivity,
        "cell_cycle": _cell_cycle(x, phases, np.zeros(len(x), dtype=int) if batch is None else b),
        "trajectory": _trajectory(x, time[:, 0]),
        "ilisi": _ilisi(x[b >= 0], b[b >= 0]),
        "kbet": _kbet(x[both], y[both], b[both]),
    }
    values = np.array([value for value, _ in scores.values()])
    known = values[~np.isnan(values)]
    for name, mean in (("mean4", values[:4].mean()), ("mean", known.mean() if len(known) else np.nan)):
        scores[name] = (float(mean), 0 if np.isnan(mean) else len(x))
    return pd.DataFrame([(name, *score) for name, score in scores.items()], columns=["score", "value", "n"])


def _codes(values: ArrayLike | None, n: int, name: str) -> IntArray:
    """Numbers of labels, -1 where there is none."""
    if values is None:
        return np.full(n, -1)
    [codes], _ = label_codes(values)
    if len(codes) != n:
        raise ValueError(expected(f"one value of `{name}` per row", f"{len(codes)} for {n} rows"))
    return codes


def _numbers(values: ArrayLike | pd.DataFrame | None, shape: tuple[int, int], name: str) -> FloatArray:
    """A matrix of numbers, NaN where there is none."""
    if values is None:
        return np.full(shape, np.nan)
    table = values if isinstance(values, pd.DataFrame) else pd.DataFrame(np.asarray(values))
    numbers = table.to_numpy(dtype=np.float64, na_value=np.nan)
    if numbers.shape != shape:
        raise ValueError(expected(f"`{name}` with {shape[0]} rows and {shape[1]} columns", f"shape {numbers.shape}"))
    check_not_infinite(numbers, name)
    return numbers


def _graph(x: FloatArray) -> AnnData:
    """Cells with their graph of neighbours, as scanpy weighs it."""
    import scanpy as sc  # takes seconds, and nothing else here needs it
    from anndata import AnnData

    adata = AnnData(x)
    with warnings.catch_warnings():
        # scanpy writes the distances of cells at one place, which are 0, into a sparse matrix
        warnings.simplefilter("ignore", SparseEfficiencyWarning)
        n_neighbors = min(N_NEIGHBORS, len(x))
        # exact, as scanpy is below 8,192 cells
        sc.pp.neighbors(adata, n_neighbors, use_rep="X", transformer="sklearn", random_state=0)
    return adata


def _of_graph(x: FloatArray, y: IntArray) -> tuple[Score, Score]:
    """Normalised mutual information of labels and the best clustering, and how connected labels are."""
    if len(x) < FEWEST:
        return NONE, NONE
    adata = _graph(x)
    parts = [_connected(adata, y == label) for label in np.unique(y)]
    connectivity = float(np.mean(parts)), len(x)
    if len(parts) < 2:
        return NONE, connectivity
    nmi = max(normalized_mutual_info_score(y, clusters) for clusters in _clusterings(adata))
    return (min(float(nmi), 1.0), len(x)), connectivity  # rounding may pass 1


def _connected(adata: AnnData, chosen: BoolArray) -> float:
    """Share of cells in the largest connected part of the graph of these cells."""
    _, part = connected_components(adata.obsp["connectivities"][chosen][:, chosen], directed=False)
    return float(np.bincount(part).max() / len(part))


def _clusterings(adata: AnnData) -> Iterator[pd.Series]:
    import scanpy as sc

    for resolution in RESOLUTIONS:
        sc.tl.leiden(adata, resolution=resolution, flavor="igraph", n_iterations=2, directed=False, random_state=0)
        yield adata.obs["leiden"]


def _label_asw(x: FloatArray, y: IntArray) -> Score:
    if len(x) < FEWEST or not 1 < len(np.unique(y)) < len(x):
        return NONE
    return float((silhouette_samples(x, y).mean() + 1) / 2), len(x)


def _mixed_labels(y: IntArray, b: IntArray, fewest: int) -> Iterator[IntArray]:
    """Cells of each label that has enough of them, in two batches or more."""
    for label in np.unique(y):
        cells = np.flatnonzero(y == label)
        if len(cells) >= fewest and len(np.unique(b[cells])) > 1:
            yield cells


def _batch_asw(x: FloatArray, y: IntArray, b: IntArray) -> Score:
    scores = [
        1 - np.abs(silhouette_samples(x[cells], b[cells]))
        for cells in _mixed_labels(y, b, FEWEST)
        if len(np.unique(b[cells])) < len(cells)
    ]
    return _mean_of_means(scores)


def _mean_of_means(scores: list[np.ndarray]) -> Score:
    """Mean over groups of the mean over their cells, and the number of these."""
    return (float(np.mean([score.mean() for score in scores])), sum(map(len, scores))) if scores else NONE


def _cell_cycle(x: FloatArray, phases: FloatArray, b: IntArray) -> Score:
    known = ~np.isnan(phases).any(axis=1)
    explained, n = [], 0
    for batch in np.unique(b[b >= 0]):
        cells = known & (b == batch)
        share = _explained(x[cells], phases[cells])
        if not np.isnan(share).all():
            explained.append(np.nanmean(share))
            n += int(cells.sum())
    return (float(np.mean(explained)), n) if explained else NONE


def _explained(x: FloatArray, targets: FloatArray) -> FloatArray:
    """Adjusted share of the variance of each target that is linear in `x`; NaN for a constant, or too few cells."""
    n = len(x)
    if n < x.shape[1] + FEWEST:
        return np.full(targets.shape[1], np.nan)
    basis, size, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    basis = basis[:, size > size[0] * n * np.finfo(np.float64).eps]
    varies = np.ptp(targets, axis=0) > 0
    centred = targets - targets.mean(axis=0)
    total = np.where(varies, (centred**2).sum(axis=0), np.nan)
    left = 1 - ((basis.T @ centred) ** 2).sum(axis=0) / total
    # without it, noise in d coordinates would explain d / (n - 1)
    adjusted = 1 - left * (n - 1) / (n - 1 - basis.shape[1])
    return np.clip(adjusted, 0, 1)


def _trajectory(x: FloatArray, time: FloatArray) -> Score:
    known = ~np.isnan(time)
    x, time = x[known], time[known]
    if len(x) < FEWEST or np.ptp(time) == 0 or not np.ptp(x, axis=0).any():
        return NONE
    again = _diffusion_pseudotime(x, _first(x, time))
    if np.ptp(again) == 0:
        return NONE
    return float((spearmanr(time, again).statistic + 1) / 2), len(x)


def _first(x: FloatArray, time: FloatArray) -> int:
    """The cell with the smallest pseudotime; of several, the one in their middle."""
    cells = np.flatnonzero(time == time.min())
    return int(cells[np.square(x[cells] - x[cells].mean(axis=0)).sum(axis=1).argmin()])


def _diffusion_pseudotime(x: FloatArray, root: int) -> FloatArray:
    import scanpy as sc

    adata = _graph(x)
    n_components = min(15, len(x) - 1)
    with np.printoptions():  # scanpy sets the precision for good
        sc.tl.diffmap(adata, n_comps=n_components)
        adata.uns["iroot"] = root
        sc.tl.dpt(adata, n_dcs=min(10, n_components))
    time = adata.obs["dpt_pseudotime"].to_numpy(dtype=np.float64)
    return np.where(np.isfinite(time), time, 0)


def _neighbors(x: FloatArray, k: int) -> tuple[FloatArray, IntArray]:
    """Distances and positions of the k nearest other cells, shapes ``(n, k)``."""
    return NearestNeighbors(n_neighbors=k).fit(x).kneighbors()


def _ilisi(x: FloatArray, b: IntArray) -> Score:
    batches, b = np.unique(b, return_inverse=True)
    if len(x) < FEWEST or len(batches) < 2:
        return NONE
    k = min(N_LISI, len(x))
    distance, neighbor = _neighbors(x, k - 1)
    weights = _weights(distance, k // 3)
    shares = np.stack([(weights * (b[neighbor] == batch)).sum(axis=1) for batch in range(len(batches))])
    index = np.median(1 / (shares**2).sum(axis=0))
    return float(np.clip((index - 1) / (len(batches) - 1), 0, 1)), len(x)


def _weights(distance: FloatArray, perplexity: float) -> FloatArray:
    """Weights of neighbours that fall exponentially with distance and have a given perplexity; rows sum to 1."""
    distance = distance - distance[:, :1]  # weights stay as they are, and cannot all vanish
    beta, low, high = (np.full((len(distance), 1), value) for value in (1.0, 0.0, np.inf))
    for _ in range(LISI_STEPS):
        weights, entropy = _exponential(distance, beta)
        excess = entropy - np.log(perplexity)
        open_ = np.abs(excess) >= LISI_TOLERANCE
        if not open_.any():
            break
        wide = excess > 0
        low, high = np.where(open_ & wide, beta, low), np.where(open_ & ~wide, beta, high)
        middle = np.where(np.isinf(high), 2 * beta, (low + np.where(np.isinf(high), 0, high)) / 2)
        beta = np.where(open_, middle, beta)
    return weights


def _exponential(distance: FloatArray, beta: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weights, and their entropy in nats."""
    weights = np.exp(-distance * beta)
    total = weights.sum(axis=1, keepdims=True)
    weights /= total
    return weights, np.log(total) + beta * (distance * weights).sum(axis=1, keepdims=True)


def _kbet(x: FloatArray, y: IntArray, b: IntArray) -> Score:
    accepted = []
    for cells in _mixed_labels(y, b, 3 * KBET_LEAST):
        size = np.unique(b[cells], return_counts=True)[1].mean()
        k = int(np.clip(size // 4, KBET_LEAST, KBET_MOST))
        accepted.append(_accepted(x[cells], b[cells], k))
    return _mean_of_means(accepted)


def _accepted(x: FloatArray, b: IntArray, k: int) -> BoolArray:
    """Whether the batches of each cell and its k - 1 neighbours are as those of all."""
    batches, b = np.unique(b, return_inverse=True)
    near = np.column_stack([np.arange(len(x)), _neighbors(x, k - 1)[1]])
    observed = np.stack([(b[near] == batch).sum(axis=1) for batch in range(len(batches))])
    awaited = (np.bincount(b) / len(b) * k)[:, None]
    statistic = ((observed - awaited) ** 2 / awaited).sum(axis=0)
    return chi2.sf(statistic, len(batches) - 1) >= KBET_ALPHA
