from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from couplevi import metrics
from couplevi._arrays import dense
from couplevi._labels import check_classes, column_of, labels_of
from couplevi._validate import check_cells, check_count, check_option, expected
from couplevi.tl._baselines import BASELINES, baseline_imputation

if TYPE_CHECKING:
    from mudata import MuData

    from couplevi._protocols import Scored
    from couplevi._types import BoolArray, FloatArray

logger = logging.getLogger(__name__)

HELD_OUT, IN_SAMPLE, UNPAIRED = "held_out", "in_sample", "unpaired"
COLUMNS = ("metric", "source", "target", "method", "split", "n", "value")


class _Cells(NamedTuple):
    """Cells measured in two modalities, in one split."""

    split: str
    names: pd.Index
    labels: pd.Series | None

    @property
    def labelled(self) -> BoolArray:
        """Which cells have a label; none without labels."""
        return np.zeros(len(self.names), dtype=bool) if self.labels is None else self.labels.notna().to_numpy()


def evaluate(
    mdata: MuData,
    model: Scored,
    *,
    labels: str | None = None,
    baselines: Sequence[str] | str = (),
    in_sample: bool = False,
    n_neighbors: int = 5,
) -> pd.DataFrame:
    """Score alignment and imputation; :func:`couplevi.tl.summary` makes a small table of the frame.

    Most scores need cells measured in two modalities, and the model knows which pairs it was trained on. Alignment is
    scored separately on those (split ``"in_sample"``) and on the others (``"held_out"``: new cells, hidden pairs,
    validation cells). Imputation and baselines are scored on the others alone unless `in_sample` asks for more. Label
    transfer needs no pairs, and is also scored between the cells measured in one of two modalities alone and those
    measured in the other (``"unpaired"``).

    Parameters
    ----------
    mdata
        Training data or other data with the modalities of the model.
    model
        Fitted model.
    labels
        Column of ``mdata.obs``, or of the ``obs`` of the modalities, with cell types. Cells without one (missing,
        ``"unknown"``, ``"nan"``, ``"Mis"``) are left out where labels are needed, and counted in rows
        ``"cells_without_label"``.
    baselines
        Of ``"knn"`` and ``"ridge"``: fitted on exactly the links that the model was trained on, weighted by
        confidence, on standardised features. Needs the model to have its data. Above 2,000 source features they read
        50 principal components.
    in_sample
        Score imputation on fitted pairs, too, in rows labelled so.
    n_neighbors
        Neighbours of the label transfer and of the ``"knn"`` baseline.

    Returns
    -------
    Tidy frame with columns ``metric, source, target, method, split, n, value``; ``n`` counts the cells that are
    scored. It is empty if nothing can be scored, and a warning says why. Metrics, whose directions and ranges
    ``cvi.metrics.METRICS`` has, are

    - ``"foscttm"`` (smaller is better) and, with labels, ``"lta"``: labels transferred from target to source;
    - ``"pearson"`` and ``"auroc"`` (means over features, larger is better), ``"pearson_median"``,
      ``"relative_rmse"`` (error relative to predicting each feature's mean over these cells, smaller is better) and,
      with labels, ``"jensen_shannon"`` (mean over features and types, smaller is better);
    - ``"coverage_90"`` (mean over features of the share of measured values inside 90 % intervals) and
      ``"interval_score_90"`` (in standard deviations of the feature, smaller is better), if the model gives standard
      deviations;
    - with baselines ``"features_won_against_knn"`` by correlation, and ``"p_value_against_knn"`` of that.

    Raises
    ------
    TypeError
        If `mdata` is not a MuData.
    KeyError
        If labels are missing.
    RuntimeError
        If the model is not trained.
    ValueError
        For an unknown baseline, or baselines of a model whose data hold none of the links that it was trained on.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100)
    >>> cvi.pp.link(mdata, modalities=("rna", "ephys"), hide=0.2)
    >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
    >>> model = cvi.tl.jamie(
    ...     mdata, modalities=("rna", "ephys"), correspondence_key="correspondence", train_kwargs=quick
    ... )
    >>> frame = cvi.tl.evaluate(mdata, model, labels="cell_type", baselines=("knn",))
    >>> frame.query("metric == 'foscttm'")[["split", "n"]].values.tolist()
    [['in_sample', 80], ['held_out', 20]]
    """
    check_cells(mdata, model.modalities_)
    check_count(n_neighbors, "n_neighbors")
    baselines = [baselines] if isinstance(baselines, str) else baselines
    for baseline in baselines:
        check_option(baseline, list(BASELINES), "baselines")
    if labels is not None:
        check_classes(column_of(mdata, labels), labels)
    if baselines and model.adata is None:
        raise ValueError(
            expected("a model with its training data to fit baselines", "one without", "Load it with `adata=mdata`.")
        )
    present = [m for m in model.get_setup_arg("modalities") if m in mdata.mod]
    rows: list[tuple] = []
    scored = twice = False
    for a, b in combinations(present, 2):
        for cells in _splits(mdata, model, a, b, labels):
            twice = True
            rows += _alignment(mdata, model, a, b, cells, n_neighbors)
            if cells.split == HELD_OUT or in_sample:
                scored = True
                for source, target in ((a, b), (b, a)):
                    rows += _imputation(mdata, model, source, target, cells, baselines, n_neighbors)
        if labels is not None:
            rows += _unpaired(mdata, model, a, b, labels, n_neighbors)
    if not twice:
        logger.warning(
            "%s was scored: no cell was measured in two modalities of the model, which imputation and FOSCTTM need. "
            "Label transfer needs `labels` of at least %d cells of each modality.",
            "Label transfer alone" if rows else "Nothing",
            n_neighbors,
        )
    elif not scored:
        logger.warning(
            "Imputation was not scored: the model was trained on the pairs of all cells measured twice. Hide some "
            "with `cvi.pp.link(..., hide=0.2)`, keep cells back, or pass `in_sample=True`."
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def _splits(mdata: MuData, model: Scored, a: str, b: str, labels: str | None) -> Iterator[_Cells]:
    names = mdata[a].obs_names.intersection(mdata[b].obs_names)
    fitted = model.is_fitted(names, a, b)
    for split, chosen in ((IN_SAMPLE, names[fitted]), (HELD_OUT, names[~fitted])):
        if len(chosen):
            yield _Cells(split, chosen, None if labels is None else labels_of(mdata, labels, chosen))


def _alignment(mdata: MuData, model: Scored, a: str, b: str, cells: _Cells, n_neighbors: int) -> list[tuple]:
    z = {m: model.get_latent_representation(model.reader(m).cells(mdata, cells.names), modality=m) for m in (a, b)}
    method, n = type(model).__name__, len(cells.names)
    rows = [("foscttm", a, b, method, cells.split, n, metrics.foscttm(z[a], z[b]))]
    if cells.labels is None:
        return rows
    known = cells.labelled
    y = cells.labels[known]
    rows.append(("cells_without_label", a, b, method, cells.split, n, float((~known).sum())))
    for source, target in ((a, b), (b, a)) if known.sum() >= n_neighbors else ():
        accuracy = metrics.label_transfer_accuracy(z[target][known], y, z[source][known], y, n_neighbors)
        rows.append(("lta", source, target, method, cells.split, int(known.sum()), accuracy))
    return rows


def _unpaired(mdata: MuData, model: Scored, a: str, b: str, labels: str, n_neighbors: int) -> list[tuple]:
    """Label transfer between the cells measured in `a` and not in `b`, and those measured in `b` and not in `a`."""
    alone = {m: mdata[m].obs_names.difference(mdata[other].obs_names, sort=False) for m, other in ((a, b), (b, a))}
    y = {m: labels_of(mdata, labels, names) for m, names in alone.items()}
    known = {m: column.dropna() for m, column in y.items()}
    if min(map(len, known.values())) < n_neighbors:
        return []
    cells = {m: model.reader(m).cells(mdata, column.index) for m, column in known.items()}
    z = {m: model.get_latent_representation(profiles, modality=m) for m, profiles in cells.items()}
    method, n = type(model).__name__, sum(map(len, y.values()))
    missing = float(n - sum(map(len, known.values())))
    rows = [("cells_without_label", a, b, method, UNPAIRED, n, missing)]
    for source, target in ((a, b), (b, a)):
        accuracy = metrics.label_transfer_accuracy(z[target], known[target], z[source], known[source], n_neighbors)
        rows.append(("lta", source, target, method, UNPAIRED, len(known[source]), accuracy))
    return rows


def _imputation(
    mdata: MuData,
    model: Scored,
    source: str,
    target: str,
    cells: _Cells,
    baselines: Sequence[str],
    n_neighbors: int,
) -> list[tuple]:
    query = model.reader(source).cells(mdata, cells.names)
    measured = dense(model.reader(target).measured(mdata[target][cells.names]))
    predicted = model.impute(source=source, target=target, adata=query, return_sd=model.has_sd(source, target))
    imputed = {type(model).__name__: predicted.X}
    for baseline in baselines:
        options = {"n_neighbors": n_neighbors} if baseline == "knn" else {}
        imputed[baseline] = baseline_imputation(model, source, target, query, BASELINES[baseline], options)
    known = cells.labelled
    correlation = {method: metrics.pearson_per_feature(measured, values) for method, values in imputed.items()}
    rows = []
    for method, values in imputed.items():
        scores: dict[str, Any] = {
            "pearson": _over_features(np.mean, correlation[method]),
            "pearson_median": _over_features(np.median, correlation[method]),
            "auroc": _over_features(np.mean, metrics.auroc_per_feature(measured, values)),
            "relative_rmse": _over_features(np.mean, metrics.relative_rmse_per_feature(measured, values)),
        }
        if cells.labels is not None and known.any():
            distance = metrics.jensen_shannon_distance(measured[known], values[known], cells.labels[known])
            scores["jensen_shannon"] = distance.mean()
        if method not in baselines and "sd" in predicted.layers:
            scores |= _interval_scores(measured, values, predicted.layers["sd"])
        for baseline in baselines if method not in baselines else ():
            comparison = metrics.binomial_comparison(correlation[method], correlation[baseline])
            scores[f"features_won_against_{baseline}"] = comparison.wins
            scores[f"p_value_against_{baseline}"] = comparison.p_value
        n = len(cells.names)
        rows += [(name, source, target, method, cells.split, n, float(value)) for name, value in scores.items()]
    return rows


def _interval_scores(measured: FloatArray, imputed: FloatArray, sd: FloatArray) -> dict[str, float]:
    spread = measured.std(axis=0)
    varies = spread > 0
    score = metrics.interval_score(measured, imputed, sd)[varies] / spread[varies]
    coverage = metrics.interval_coverage(measured, imputed, sd)[varies]
    return {"coverage_90": _over_features(np.mean, coverage), "interval_score_90": _over_features(np.mean, score)}


def _over_features(summarise: Callable[..., Any], scores: FloatArray) -> float:
    """Mean or median over the features that have a score; NaN if none has."""
    scores = scores[~np.isnan(scores)]
    return float(summarise(scores)) if len(scores) else np.nan
