"""Sparse data without structure, for time and memory."""

from __future__ import annotations

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import scipy.sparse as sp

N_FEATURES = {"rna": 2_000, "protein": 500}
ROWS = 10_000
"""Rows that are made at a time, so that making the data takes no more memory than the data."""


def random_counts(n: int, paired: float) -> md.MuData:
    """Counts from 1 to 9 at a tenth of the places; a share `paired` of the cells in both modalities, the others in one."""
    rng = np.random.default_rng(0)
    names = np.array([f"cell{i}" for i in range(n)])
    alone = round((1 - paired) * n / 2)
    cells = {"rna": names[: n - alone], "protein": names[alone:]}
    modalities = {}
    for m, n_vars in N_FEATURES.items():
        n_filled, n_cells = n_vars // 10, len(cells[m])
        places = [
            rng.integers(0, n_vars, size=(min(ROWS, n_cells - start), n_filled)).astype(np.int32)
            for start in range(0, n_cells, ROWS)
        ]
        indices = np.concatenate(places).ravel()
        values = rng.integers(1, 10, len(indices)).astype(np.float32)
        x = sp.csr_matrix((values, indices, np.arange(0, len(indices) + 1, n_filled)), shape=(n_cells, n_vars))
        x.sum_duplicates()
        modalities[m] = ad.AnnData(x, obs=pd.DataFrame(index=cells[m]))
        modalities[m].var_names = [f"{m}{j}" for j in range(n_vars)]
    return md.MuData(modalities)
