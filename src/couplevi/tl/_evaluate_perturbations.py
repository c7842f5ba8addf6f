from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from couplevi._arrays import dense
from couplevi._constants import SINGLE
from couplevi._docs import fill_docs
from couplevi._validate import check_number, expected
from couplevi.model.otgm import OTGM
from couplevi.registry import column_texts

if TYPE_CHECKING:
    from anndata import AnnData


SIGNIFICANT = 0.05
FEWEST_SIGNIFICANT = 5
"""Features that have to change significantly in a state for its direction to be scored."""


class Score(NamedTuple):
    """A row of the table."""

    task: str
    method: str
    metric: str
    value: float
    n: int
    """Number of states, or of cells, that it is a mean over."""


@fill_docs
def evaluate_perturbations(
    adata: AnnData,
    *,
    state_key: str,
    control: str,
    layer: str | None = None,
    group_key: str | None = None,
    batch_key: str | None = None,
    held_out: float = 0.5,
    separator: str = "+",
    seed: int = 0,
    **model_kwargs: Any,
) -> pd.DataFrame:
    """Score :class:`~couplevi.model.OTGM` beside simple methods.

    A share of the cells of each state is held out. All methods learn from the others, and are judged by those held out,
    except for the rank of the perturbed feature, whose truth is known. Nothing is written.

    Parameters
    ----------
    adata
        Cells of a control and of one or more other states.
    %(perturbed_cells)s
    held_out
        Share of the cells, in (0, 1), that is held out.
    separator
        What is between the names of two perturbations of the same cells, as in ``"A+B"``.
    seed
        Of the split.
    **model_kwargs
        Arguments of :class:`~couplevi.model.OTGM`: `preset`, and fields of :class:`~couplevi.model.OTGMSettings` that
        replace its own, such as `n_pcs` (50).

    Returns
    -------
    Frame with columns ``task``, ``method``, ``metric``, ``value``, ``n``; higher is better. Tasks, where the data have
    what they take:

    - ``own gene``: reciprocal rank of the perturbed feature, mean over states that are called like one, beside Welch's
      and the Mann-Whitney test, and the difference of the means, which know of no groups or batches;
    - ``direction``: share of features that change significantly in the cells held out (Welch, q < 0.05) whose shift has
      the right sign, beside the difference of the means, which it is the same as without groups, batches or settings of
      your own;
    - ``state``: share of the cells held out whose state is told right, beside linear discriminant analysis and logistic
      regression on the same scores;
    - ``response``: correlation, over all other features, of the shift that goes with the measured one of the perturbed
      feature in the control's covariance, with the shift of the cells held out; beside the mean shift of all other
      states;
    - ``combination``: correlation of the sum of the shifts of A and B with the shift of A+B held out, beside the larger
      of the two shifts alone, and the mean shift of all single states.

    Raises
    ------
    TypeError, KeyError, ValueError
        As :meth:`~couplevi.model.OTGM.setup_anndata` and :class:`~couplevi.model.OTGM`, or if `held_out` is out of
        range.

    Examples
    --------
    >>> import couplevi as cvi
    >>> adata = cvi.data.perturbation_screen(n_obs=200)
    >>> frame = cvi.tl.evaluate_perturbations(
    ...     adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10
    ... )
    >>> sorted(set(frame["task"]))
    ['direction', 'own gene', 'response', 'state']
    """
    check_number(held_out, "held_out", 0.0, 1.0)
    if held_out in (0, 1):
        raise ValueError(expected("`held_out` in (0, 1)", held_out))
    setup: dict[str, Any] = {"state_key": state_key, "control": control, "layer": layer}
    setup |= {"group_key": group_key, "batch_key": batch_key}
    labels = pd.Series(column_texts(adata, state_key))
    order = np.random.default_rng(seed).permutation(adata.n_obs)
    place = labels.iloc[order].groupby(labels.iloc[order].to_numpy(), dropna=False).cumcount().to_numpy()
    size = labels.iloc[order].map(labels.value_counts()).fillna(1).to_numpy()
    unseen = np.empty(adata.n_obs, dtype=bool)
    unseen[order] = place >= np.ceil((1 - held_out) * size)
    models = []
    for cells in (adata[~unseen].to_memory(), adata[unseen].to_memory()):
        OTGM.setup_anndata(cells, **setup)
        model = OTGM(cells, **model_kwargs)
        model.train()
        models.append(model)
    learned, other = models
    rows = [
        *_own_gene(learned),
        *_direction(learned, other),
        *_state(learned, other.adata),
        *_shifts(learned, other, separator),
    ]
    return pd.DataFrame(rows, columns=list(Score._fields))


def _perturbed(model: OTGM) -> list[str]:
    """States that are called like a feature."""
    return [s for s in model.states_ if s in set(model.var_names_[SINGLE]) and s != model.control_]


def _own_gene(model: OTGM) -> Iterator[Score]:
    names, states = pd.Index(model.var_names_[SINGLE]), _perturbed(model)
    if not states:
        return
    reader = model.reader(SINGLE)
    labels = column_texts(model.adata, model.registry_["setup_args"]["state_key"])
    control = dense(reader.read(model.adata[labels == model.control_].copy()))
    found: dict[str, list[float]] = {"OTGM": [], "Welch": [], "Mann-Whitney": [], "mean difference": []}
    for state in states:
        x, own = dense(reader.read(model.adata[labels == state].copy())), names.get_loc(state)
        with np.errstate(invalid="ignore", divide="ignore"):
            varies = (x.std(axis=0) > 0) | (control.std(axis=0) > 0)
            welch = np.ones(len(names))
            welch[varies] = stats.ttest_ind(x[:, varies], control[:, varies], equal_var=False).pvalue
            ranks = stats.mannwhitneyu(x, control).pvalue
        scores = {
            "Welch": np.nan_to_num(welch, nan=1.0),
            "Mann-Whitney": np.nan_to_num(ranks, nan=1.0),
            "mean difference": -np.abs(x.mean(axis=0) - control.mean(axis=0)),
        }
        found["OTGM"].append(1 / (model.rank_genes(state)["gene"].tolist().index(state) + 1))
        for method, values in scores.items():
            found[method].append(1 / (np.argsort(values, kind="stable").tolist().index(own) + 1))
    for method, ranks in found.items():
        yield Score("own gene", method, "reciprocal rank", float(np.mean(ranks)), len(ranks))


def _direction(learned: OTGM, other: OTGM) -> Iterator[Score]:
    found: dict[str, list[float]] = {"OTGM": [], "mean difference": []}
    values = dense(learned.reader(SINGLE).read(learned.adata))
    labels = column_texts(learned.adata, learned.registry_["setup_args"]["state_key"])
    for state in learned.states_:
        if state == learned.control_ or state not in other.states_:
            continue
        seen, unseen = (m.rank_genes(state).set_index("gene").loc[list(m.var_names_[SINGLE])] for m in (learned, other))
        changed = unseen["q_value"] < SIGNIFICANT
        if changed.sum() >= FEWEST_SIGNIFICANT:
            plain = values[labels == state].mean(axis=0) - values[labels == learned.control_].mean(axis=0)
            for method, delta in zip(found, (seen["delta"], plain), strict=True):
                found[method].append(float((np.sign(delta) == np.sign(unseen["delta"]))[changed].mean()))
    for method, right in found.items():
        if right:
            yield Score("direction", method, "share right", float(np.mean(right)), len(right))


def _state(learned: OTGM, cells: AnnData) -> Iterator[Score]:
    key = learned.registry_["setup_args"]["state_key"]
    train, test = column_texts(learned.adata, key).astype(str), column_texts(cells, key).astype(str)
    known, asked = np.isin(train, learned.states_), np.isin(test, learned.states_)
    scores, unseen = learned.get_latent_representation()[known], learned.get_latent_representation(cells)[asked]
    rivals = {
        "LDA": LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        "logistic regression": LogisticRegression(max_iter=2_000, C=0.01),
    }
    predicted = {"OTGM": learned.predict_state(cells).astype(str).to_numpy()[asked]}
    predicted |= {name: rival.fit(scores, train[known]).predict(unseen) for name, rival in rivals.items()}
    for method, states in predicted.items():
        yield Score("state", method, "accuracy", float((states == test[asked]).mean()), int(asked.sum()))


def _shifts(learned: OTGM, other: OTGM, separator: str) -> Iterator[Score]:
    common = [s for s in learned.states_ if s != learned.control_ and s in other.states_]
    seen, measured = ({s: _delta(m, s) for s in common} for m in (learned, other))
    singles = [s for s in common if separator not in s]
    response: dict[str, list[float]] = {"OTGM": [], "mean of other states": []}
    for state in _perturbed(learned):
        rest = [s for s in singles if s != state]
        if state in common and rest:
            expectation = learned.predict_response({state: seen[state][state]})
            mean = pd.concat([seen[s] for s in rest], axis=1).mean(axis=1)
            for method, shift in zip(response, (expectation, mean), strict=True):
                response[method].append(_correlation(shift.drop(state), measured[state].drop(state)))
    combination: dict[str, list[float]] = {"OTGM": [], "larger single shift": [], "mean of single states": []}
    for state in common:
        parts = state.split(separator)
        if len(parts) > 1 and set(parts) <= set(singles):
            mean = pd.concat([seen[s] for s in singles], axis=1).mean(axis=1)
            larger = max((seen[part] for part in parts), key=np.linalg.norm)
            shifts = (learned.predict_combination(parts), larger, mean)
            for method, shift in zip(combination, shifts, strict=True):
                combination[method].append(_correlation(shift, measured[state]))
    for task, found in (("response", response), ("combination", combination)):
        for method, values in found.items():
            if values:
                yield Score(task, method, "Pearson r", float(np.nanmean(values)), len(values))


def _delta(model: OTGM, state: str) -> pd.Series:
    return model.rank_genes(state).set_index("gene")["delta"].loc[list(model.var_names_[SINGLE])]


def _correlation(a: pd.Series, b: pd.Series) -> float:
    x, y = (np.asarray(v, dtype=np.float64) for v in (a, b))
    return float(np.corrcoef(x, y)[0, 1]) if x.std() > 0 and y.std() > 0 else np.nan
