import numpy as np
import pytest
import scanpy as sc

import couplevi as cvi
from couplevi.pp._cell_cycle import ALIASES, G2M_GENES, S_GENES


def cycling(names=(*S_GENES, *G2M_GENES), seed=0):
    """90 cells, a third of them with more of the genes of S, and a third with more of those of G2 and M."""
    mdata = cvi.data.count_clusters(n_obs=90, n_features={"rna": 300, "atac": 20}, seed=seed)
    rng = np.random.default_rng(seed)
    counts = rng.poisson(3, (90, 300)).astype(np.float32)
    former = {new: old for old, new in ALIASES.items()}
    listed = list(names)
    for group, genes in ((1, S_GENES), (2, G2M_GENES)):
        columns = [
            i
            for i, name in enumerate(listed)
            if former.get(name.upper(), name.upper()) in genes or name.upper() in genes
        ]
        counts[np.ix_(np.arange(90) % 3 == group, columns)] += 6
    mdata["rna"].X = counts
    mdata["rna"].var_names = [*listed, *(f"gene{i}" for i in range(300 - len(listed)))]
    return mdata


def test_phases_are_found_and_are_those_of_scanpy():
    mdata = cycling()
    keys = cvi.pp.score_cell_cycle(mdata)
    assert keys == ("S_score", "G2M_score")
    truth = np.array(["G1", "S", "G2M"])[np.arange(90) % 3]
    cycles = truth != "G1"
    assert (mdata["rna"].obs["phase"] == truth)[cycles].mean() > 0.95
    assert (mdata["rna"].obs.loc[~cycles, [*keys]].mean() < mdata["rna"].obs.loc[cycles, [*keys]].mean()).all()
    plain = mdata["rna"].copy()
    sc.pp.normalize_total(plain, target_sum=1e4)
    sc.pp.log1p(plain)
    sc.tl.score_genes_cell_cycle(plain, s_genes=list(S_GENES), g2m_genes=list(G2M_GENES))
    for key in keys:
        np.testing.assert_allclose(mdata["rna"].obs[key], plain.obs[key], atol=1e-5)


def test_mouse_genes_and_former_symbols_are_known():
    plain = cycling()
    cvi.pp.score_cell_cycle(plain)
    former = {new: old for old, new in ALIASES.items()}
    other = cycling()
    other["rna"].var_names = [former.get(name, name).capitalize() for name in other["rna"].var_names]
    cvi.pp.score_cell_cycle(other)
    np.testing.assert_array_equal(other["rna"].obs["S_score"], plain["rna"].obs["S_score"])
    assert set(ALIASES.values()) <= {*S_GENES, *G2M_GENES}
    assert (len(S_GENES), len(G2M_GENES)) == (43, 54)


def test_logarithms_are_taken_as_they_are():
    mdata = cycling()
    cvi.pp.score_cell_cycle(mdata)
    before = mdata["rna"].obs["G2M_score"].copy()
    sc.pp.normalize_total(mdata["rna"], target_sum=1e4)
    sc.pp.log1p(mdata["rna"])
    mdata["rna"].layers["log"] = mdata["rna"].X
    mdata["rna"].X = np.zeros_like(mdata["rna"].X)
    cvi.pp.score_cell_cycle(mdata, layer="log")
    np.testing.assert_allclose(mdata["rna"].obs["G2M_score"], before, atol=1e-5)


def test_few_genes_are_said_and_nothing_is_written():
    mdata = cycling([*S_GENES[:9], *G2M_GENES])
    columns = list(mdata["rna"].obs)
    with pytest.warns(UserWarning, match="9 of phase S, and 10 genes are needed"):
        assert cvi.pp.score_cell_cycle(mdata) is None
    assert list(mdata["rna"].obs) == columns


def test_what_is_missing_is_named():
    mdata = cycling()
    with pytest.raises(TypeError, match="a MuData"):
        cvi.pp.score_cell_cycle(mdata["rna"])
    with pytest.raises(KeyError, match="`modality` to be one of"):
        cvi.pp.score_cell_cycle(mdata, modality="gex")
    with pytest.raises(KeyError, match="nolayer"):
        cvi.pp.score_cell_cycle(mdata, layer="nolayer")
