"""A simulated screen, whose perturbed genes and their effects are known."""

from __future__ import annotations

from itertools import combinations

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from couplevi._constants import Key
from couplevi._validate import check_count, expected

CONTROL = "control"
N_PROGRAMMES, N_DOWNSTREAM = 5, 20


def perturbation_screen(
    n_obs: int = 600,
    *,
    n_perturbations: int = 4,
    n_features: int = 300,
    depth: float = 3_000,
    doubles: bool = False,
    sparse: bool = False,
    seed: int = 0,
) -> ad.AnnData:
    """Counts of a CRISPR interference screen: a control, and cells in which a gene was knocked down.

    Genes vary together in five programmes. A knock-down lowers its gene to an eighth, moves one programme and changes
    20 further genes by a factor of two either way; of two at once the effects multiply.

    Parameters
    ----------
    n_obs
        Number of cells, at least 10 for each state; a third of them are of the control.
    n_perturbations
        Number of genes that are knocked down, from 1 to `n_features`.
    n_features
        Number of genes, at least 50.
    depth
        Mean total count of a cell.
    doubles
        Add cells with each pair of knock-downs, called ``"gene0+gene1"``.
    sparse
        Store the counts as CSR.
    seed
        Reproduces all values and names.

    Returns
    -------
    AnnData with integer counts (float32) in ``X``, log1p of counts per 10,000 in ``layers["log1p"]``, and the gene that
    was knocked down, or ``"control"``, in ``obs["perturbation"]``.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> import couplevi as cvi
    >>> adata = cvi.data.perturbation_screen(n_obs=200, n_perturbations=2)
    >>> sorted(adata.obs["perturbation"].unique())
    ['control', 'gene0', 'gene1']
    """
    check_count(n_features, "n_features", minimum=50)
    check_count(n_perturbations, "n_perturbations")
    if n_perturbations > n_features:
        raise ValueError(expected(f"at most {n_features} `n_perturbations`, one per gene", n_perturbations))
    rng = np.random.default_rng(seed)
    genes = [f"gene{j}" for j in range(n_features)]
    targets: list[tuple[int, ...]] = [(p,) for p in range(n_perturbations)]
    if doubles:
        targets += list(combinations(range(n_perturbations), 2))
    check_count(n_obs, "n_obs", minimum=10 * (len(targets) + 1))

    loadings = rng.normal(0, 0.35, (N_PROGRAMMES, n_features))
    effects = np.zeros((n_perturbations, n_features))
    for p, effect in enumerate(effects):
        effect += rng.normal(0, 1, N_PROGRAMMES) @ loadings * 0.5
        effect[rng.permutation(n_features)[:N_DOWNSTREAM]] += np.log(2) * rng.choice([-1, 1], N_DOWNSTREAM)
        effect[p] = -np.log(8)
    n_control = n_obs // 3
    state = np.concatenate([np.full(n_control, -1), np.arange(n_obs - n_control) % len(targets)])
    shift = np.array([effects[list(target)].sum(axis=0) for target in targets] + [np.zeros(n_features)])[state]
    abundance = rng.normal(0, 0.8, n_features)
    abundance[:n_perturbations] = np.abs(abundance[:n_perturbations])  # what is knocked down was there
    log_rate = abundance + rng.normal(size=(n_obs, N_PROGRAMMES)) @ loadings + shift
    rate = np.exp(log_rate)
    rate *= depth * rng.lognormal(0, 0.3, (n_obs, 1)) / rate.sum(axis=1, keepdims=True)
    counts = rng.poisson(rate * rng.gamma(4, 1 / 4, rate.shape)).astype(np.float32)

    names = np.array(["+".join(genes[p] for p in target) for target in targets] + [CONTROL])
    obs = pd.DataFrame({"perturbation": pd.Categorical(names[state])}, index=[f"cell{i}" for i in range(n_obs)])
    adata = ad.AnnData(sp.csr_matrix(counts) if sparse else counts, obs=obs, var=pd.DataFrame(index=genes))
    scaled = counts * (1e4 / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    adata.layers[Key.layers.LOG1P] = sp.csr_matrix(np.log1p(scaled)) if sparse else np.log1p(scaled)
    return adata
