import numpy as np
import pytest
import scipy.sparse as sp

import couplevi as cvi


def test_knock_downs_lower_their_gene_and_add_up():
    adata = cvi.data.perturbation_screen(n_obs=2_000, n_perturbations=3, doubles=True, seed=1)
    state, x = adata.obs["perturbation"].astype(str).to_numpy(), adata.layers["log1p"]
    assert set(state) == {"control", "gene0", "gene1", "gene2", "gene0+gene1", "gene0+gene2", "gene1+gene2"}
    shift = {s: x[state == s].mean(axis=0) - x[state == "control"].mean(axis=0) for s in set(state)}
    for name in ("gene0", "gene1", "gene2"):
        assert adata.var_names[shift[name].argmin()] == name
    both = shift["gene0"] + shift["gene1"]
    assert np.corrcoef(both, shift["gene0+gene1"])[0, 1] > 0.8
    assert (adata.X == adata.X.round()).all()
    totals = np.asarray(adata.X.sum(axis=1))
    assert 0.9 < totals.mean() / 3_000 < 1.2
    np.testing.assert_allclose(np.expm1(x).sum(axis=1), 1e4, rtol=1e-3)


def test_seed_and_sparsity():
    plain, again, other, sparse = (
        cvi.data.perturbation_screen(n_obs=100, **kwargs) for kwargs in ({}, {}, {"seed": 1}, {"sparse": True})
    )
    np.testing.assert_array_equal(plain.X, again.X)
    assert not np.array_equal(plain.X, other.X)
    assert sp.issparse(sparse.X)
    np.testing.assert_array_equal(sparse.X.toarray(), plain.X)
    np.testing.assert_allclose(sparse.layers["log1p"].toarray(), plain.layers["log1p"])


@pytest.mark.parametrize(
    "kwargs", [{"n_obs": 20}, {"n_features": 10}, {"n_perturbations": 0}, {"n_perturbations": 301}]
)
def test_numbers_out_of_range(kwargs):
    with pytest.raises(ValueError, match=next(iter(kwargs))):
        cvi.data.perturbation_screen(**kwargs)
