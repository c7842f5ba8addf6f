import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.metrics import adjusted_rand_score
from small import QUICK, planted, two_modalities

from couplevi.model import CplMixVAE


def test_more_categories_than_cells():
    few = planted(20)
    CplMixVAE.setup_anndata(few)
    with pytest.raises(ValueError, match="at least 30 cells to find as many categories, found 16"), pytest.warns():
        CplMixVAE(few, 30).train(**QUICK)


def linked(share, confidence=1.0, n=400):
    """Two modalities of the same cells under names of their own; a share of the pairs is linked."""
    mdata = two_modalities(n, share=1.0)
    a, b = (mdata[m].copy() for m in ("a", "b"))
    names = np.array([f"b_{name}" for name in b.obs_names])
    pairs = pd.DataFrame({"a": a.obs_names, "b": names, "confidence": confidence})
    b.obs_names = names
    result = md.MuData({"a": a, "b": b})
    result.obs["type"] = np.concatenate([mdata.obs["type"]] * 2)
    keep = pairs.sample(frac=share, random_state=0)
    matrix = sp.lil_matrix((result.n_obs, result.n_obs), dtype=np.float32)
    row, column = (result.obs_names.get_indexer(keep[m]) for m in ("a", "b"))
    matrix[row, column] = confidence
    result.obsp["links"] = matrix.tocsr()
    result.uns["links"] = {"modalities": ["a", "b"]}
    return result


@pytest.mark.parametrize(("share", "confidence"), [(0.06, 1.0), (1.0, 0.5)])
def test_few_or_uncertain_links_number_the_types_of_both_modalities_alike(share, confidence):
    torch.manual_seed(0)
    mdata = linked(share, confidence)
    CplMixVAE.setup_mudata(mdata, modalities=("a", "b"), correspondence_key="links")
    model = CplMixVAE(mdata, 3, batch_size=128)
    model.train(**{**QUICK, "max_epochs": 30})
    assert adjusted_rand_score(mdata.obs["type"], model.predict()) > 0.9


def test_three_modalities_linked_in_a_chain():
    torch.manual_seed(0)
    mdata = two_modalities(240, share=1.0)
    a, b = mdata["a"].copy(), mdata["b"].copy()
    c = ad.AnnData(b.X @ np.random.default_rng(0).normal(size=(12, 9)).astype(np.float32))
    c.obs_names, c.var_names = b.obs_names, [f"c{j}" for j in range(9)]
    three = md.MuData({"a": a[:160].copy(), "b": b, "c": c[80:].copy()})
    CplMixVAE.setup_mudata(three, modalities=("a", "b", "c"))
    model = CplMixVAE(three, 3, batch_size=128)
    model.train(**{**QUICK, "max_epochs": 30})
    assert adjusted_rand_score(mdata.obs["type"].loc[three.obs_names], model.predict()) > 0.9
