from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import scipy.sparse as sp
from sklearn.utils.extmath import row_norms

from couplevi._arrays import dense
from couplevi._constants import MATCH, Key
from couplevi._labels import check_classes
from couplevi._streamed import loaded
from couplevi._validate import check_modalities, check_mudata, check_obs_names, check_option, check_slot, expected, warn
from couplevi.correspondence import Anchored, GromovWasserstein, UnionCom
from couplevi.correspondence import Correspondence as Inferred
from couplevi.preparation import fit_preparation
from couplevi.registry import links_between, links_by_name, rows_in_obs, stored, value_places, written_links

if TYPE_CHECKING:
    from mudata import MuData

    from couplevi._types import FloatArray, MemoryMatrix
    from couplevi.correspondence import Solver

BY_NAME = "by_name"
SOLVERS: Mapping[str, type[Solver]] = {solver.name: solver for solver in (Anchored, GromovWasserstein, UnionCom)}
N_COMPONENTS = 50
FEWEST_ANCHORS = 10


def match(
    mdata: MuData,
    *,
    modalities: Sequence[str],
    layers: Mapping[str, str | None] | None = None,
    use_rep: Mapping[str, str] | None = None,
    method: Literal["auto", "anchored", "gw", "unioncom"] = "auto",
    known: str | None = None,
    group_key: str | None = None,
    key_added: str = MATCH,
    **solver_kwargs: Any,
) -> None:
    """Infer which profiles of two modalities belong together: the correspondence F.

    Parameters
    ----------
    mdata
        MuData with both modalities; their cells may be the same, overlap, or have nothing in common.
    modalities
        Modality of the rows and modality of the columns.
    layers
        Layer of each modality; ``X`` for those left out. Features are standardised and, above 50 of them, reduced to
        50 principal components as in :class:`~couplevi.model.JAMIE`. If all cells of a modality have the same
        Euclidean norm, it is taken for an embedding whose directions matter and used as it is.
    use_rep
        Key in ``.obsm`` of each modality, used as it is.
    method
        ``"anchored"`` learns from known links and is linear in the number of cells; ``"gw"`` matches the shapes of the
        modalities alone and uses known links as fixed parts; ``"unioncom"`` is the solver of the JAMIE paper, for
        comparison. ``"auto"`` takes ``"anchored"`` if 10 or more links are known, else ``"gw"``, and
        ``mdata.uns[key_added]["method"]`` says which it was.
    known
        Links that are known: None for none, ``"by_name"`` for cells of the same name, or a key in ``mdata.obsp``. They
        come out unchanged, or divided by the sum of their row or column where it exceeds 1.
    group_key
        Column of ``mdata.obs``, or of the ``obs`` of both modalities: only cells with the same label are matched.
    key_added
        Name of the slots that are written.
    **solver_kwargs
        Settings of the solver, see :class:`~couplevi.correspondence.Anchored`,
        :class:`~couplevi.correspondence.GromovWasserstein` and :class:`~couplevi.correspondence.UnionCom`: for example
        ``effective_matches`` (sharpness), ``n_entries`` (sparsity) and ``seed``.

    Returns
    -------
    Nothing; writes ``mdata.obsp[key_added]``, F as CSR float32 of shape ``(n_obs, n_obs)`` with rows that sum to at
    most 1, and ``mdata.uns[key_added]``: ``modalities``, ``method``, the solver's ``settings``, ``objective``,
    ``converged``, ``restarts`` (objectives of all starts: several that are close say that the data do not tell the
    matches apart) and mean ``effective_matches``. Pass the key to ``setup_mudata`` as ``match_key``.

    Raises
    ------
    TypeError
        If `mdata` is not a MuData, or for an unknown setting.
    KeyError
        If a modality, layer, representation, group column or matrix of links is missing.
    ValueError
        For an unknown method, values that are not finite, more cells than the solver can take, or too few known links
        for ``"anchored"``; nothing is written then.

    References
    ----------
    Cohen Kalafut, Huang and Wang (JAMIE), Nature Machine Intelligence 2023, for the role of F; those of
    each solver are with its class in :mod:`couplevi.correspondence`.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=150)
    >>> cvi.pp.link(mdata, modalities=("rna", "ephys"), hide=0.8)
    >>> cvi.tl.match(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"}, known="correspondence")
    >>> mdata.uns["match"]["method"]
    'anchored'
    """
    check_mudata(mdata)
    check_slot(key_added, "key_added")
    names = check_modalities(mdata, modalities)
    if len(names) != 2:
        raise ValueError(expected("two `modalities`, rows and columns", list(names), "Call it once for each pair."))
    check_obs_names(mdata, names)
    check_option(method, ["auto", *SOLVERS], "method")
    a, b = names
    links = _known(mdata, a, b, known)
    places = value_places(mdata, names, layers, use_rep)
    groups = None if group_key is None else (_groups(mdata, a, group_key), _groups(mdata, b, group_key))
    n_known = 0 if links is None else links.nnz
    chosen = method if method != "auto" else Anchored.name if n_known >= FEWEST_ANCHORS else GromovWasserstein.name
    solver = _solver(chosen, solver_kwargs)
    values = (loaded(stored(mdata[m], *places[m])[1]) for m in names)
    x, y = (_coordinates(x, is_embedding=places[m][0] == "obsm") for m, x in zip(names, values, strict=True))
    for m, coordinates in zip(names, (x, y), strict=True):
        if (coordinates == coordinates[0]).all():
            warn(f"All {len(coordinates)} cells of modality {m!r} have the same values: their matches are a guess.")
    inferred = solver.solve(x, y, links, groups)
    entries = inferred.matrix.tocoo()
    where = tuple(rows_in_obs(mdata, m)[index] for m, index in zip(names, entries.coords, strict=True))
    mdata.obsp[key_added] = sp.csr_matrix((entries.data, where), shape=(mdata.n_obs, mdata.n_obs))
    mdata.uns[key_added] = _summary(inferred, solver, names, n_known)


def _solver(name: str, settings: Mapping[str, Any]) -> Solver:
    names = [field.name for field in fields(SOLVERS[name])]
    for setting in settings:
        if setting not in names:
            raise TypeError(expected(f"a setting of {name!r}", f"`{setting}`", f"It has {names}; see also `method=`."))
    return SOLVERS[name](**settings)


def _known(mdata: MuData, a: str, b: str, known: str | None) -> sp.csr_array | None:
    if known is None:
        return None
    if not isinstance(known, str):
        remedy = "Write a matrix or a table with `cvi.pp.link` first."
        raise TypeError(
            expected("`known` to be None, 'by_name' or a key in `mdata.obsp`", type(known).__name__, remedy)
        )
    if known == BY_NAME and known not in mdata.obsp:
        return links_by_name(mdata, a, b)
    recorded = mdata.uns.get(known, {}).get(Key.uns.MODALITIES)
    if recorded is not None and list(recorded) == [b, a]:
        return links_between({(b, a): written_links(mdata, known, b, a)}, a, b)
    return written_links(mdata, known, a, b)


def _groups(mdata: MuData, modality: str, key: str) -> list[object]:
    cells = mdata[modality].obs_names
    holder = next((data for data in (mdata, mdata[modality]) if key in data.obs), None)
    if holder is None:
        raise KeyError(
            expected(
                f"column {key!r} in `mdata.obs` or `mdata[{modality!r}].obs`",
                f"columns {list(mdata.obs.columns)} and {list(mdata[modality].obs.columns)}",
            )
        )
    check_classes(holder.obs[key], key)
    return list(holder.obs.loc[cells, key])


def _coordinates(values: MemoryMatrix, *, is_embedding: bool) -> FloatArray:
    """Profiles in coordinates whose Euclidean distances mean something."""
    n_obs, n_vars = values.shape
    if is_embedding or _has_equal_norms(values):
        return np.asarray(dense(values), dtype=np.float64)
    n_components = min(N_COMPONENTS, n_obs - 1) if n_vars > N_COMPONENTS else None
    return fit_preparation(values, n_components).transform(values).astype(np.float64)


def _has_equal_norms(values: MemoryMatrix) -> bool:
    if np.asarray(values[:1].data if sp.issparse(values) else values).dtype.kind != "f":
        return False  # counts and flags are no embedding
    norms = row_norms(values)
    return bool(norms.max() > 0 and np.ptp(norms) <= 1e-3 * norms.max())


def _summary(inferred: Inferred, solver: Solver, modalities: tuple[str, ...], n_known: int) -> dict[str, Any]:
    """What was done, in types that h5mu can hold."""
    matches = inferred.effective_matches
    return {
        Key.uns.MODALITIES: list(modalities),
        "method": inferred.solver,
        "settings": {name: value for name, value in asdict(solver).items() if value is not None},
        "n_known": n_known,
        "n_unmatched": int((matches == 0).sum()),
        "effective_matches": float(matches[matches > 0].mean()) if matches.any() else 0.0,
        "objective": inferred.objective,
        "converged": inferred.converged,
        "restarts": np.array([objective for block in inferred.blocks for objective in block.restarts]),
    }
