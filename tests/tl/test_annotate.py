import numpy as np
import pandas as pd
import pytest
from small import worded

import couplevi as cvi

UNSEEN = ["round/motile", "granular/spindly", "striated/ciliated"]
QUICK = {"max_epochs": 2, "enable_progress_bar": False, "accelerator": "cpu"}


@pytest.fixture(scope="module")
def learned():
    adata, texts = worded()
    seen = adata[~adata.obs["type"].isin(UNSEEN)].copy()
    return cvi.tl.celltext(seen, labels_key="type", descriptions=texts, n_pcs=10, seed=0, train_kwargs=QUICK)


def test_labels_probabilities_and_typicality_are_written(learned, tmp_path):
    adata, texts = worded()
    p = cvi.tl.annotate(adata, learned, labels=sorted(texts), unknown_below=0)
    pd.testing.assert_frame_equal(p, learned.annotate(adata, sorted(texts)))
    np.testing.assert_allclose(adata.obsm["celltext_scores"], p, atol=1e-6)
    assert adata.uns["celltext"]["candidates"] == sorted(texts)
    assert (adata.obs["celltext_label"].astype(str) == p.idxmax(axis=1)).all()
    np.testing.assert_allclose(adata.obs["celltext_confidence"], p.max(axis=1))
    np.testing.assert_allclose(adata.obs["celltext_typicality"], learned.get_typicality(adata, sorted(texts)))
    assert (adata.obs["celltext_label"].astype(str) == adata.obs["type"]).mean() > 0.8
    adata.write_h5ad(tmp_path / "a.h5ad")


def test_cells_of_no_type_of_the_list_are_unknown(learned):
    adata, texts = worded()
    listed = learned.labels_[:6]
    cvi.tl.annotate(adata, learned, labels=listed)
    unknown = (adata.obs["celltext_label"] == "unknown").to_numpy()
    kind = adata.obs["type"].isin(listed).to_numpy()
    assert unknown[~kind].mean() > 0.9 and unknown[kind].mean() < 0.2
    np.testing.assert_array_equal(unknown, adata.obs["celltext_typicality"] < 0.05)
    assert (adata.obs["celltext_label"].astype(str) == adata.obs["type"].astype(str))[kind & ~unknown].mean() > 0.9


def test_another_key_and_what_is_there_is_kept(learned):
    adata, _ = worded(n=60)
    adata.uns["x"] = {"note": 1}
    cvi.tl.annotate(adata, learned, labels=["a cell", "motile"], descriptions={"a cell": "round"}, key_added="x")
    assert adata.uns["x"]["note"] == 1 and adata.uns["x"]["candidates"] == ["a cell", "motile"]
    assert {"x_label", "x_confidence", "x_typicality"} <= set(adata.obs) and "x_scores" in adata.obsm


def test_nothing_is_written_on_failure(learned):
    adata, _ = worded(n=60)
    with pytest.raises(TypeError, match="Expected an AnnData"):
        cvi.tl.annotate(adata.X, learned, labels=["a"])
    for given in ({"labels": []}, {"labels": ["a"], "unknown_below": 2}, {"labels": ["a"], "key_added": "a/b"}):
        with pytest.raises(ValueError, match="Expected"):
            cvi.tl.annotate(adata, learned, **given)
    assert list(adata.obs) == ["type"] and not adata.obsm and not adata.uns


def test_unknown_may_be_one_of_the_labels(learned):
    adata, texts = worded()
    other = {"unknown": "Neither round nor motile."}
    cvi.tl.annotate(adata, learned, labels=iter([*texts, "unknown"]), descriptions=other, unknown_below=0.5)
    unknown = adata.obs["celltext_typicality"] < 0.5
    assert unknown.any() and (adata.obs["celltext_label"][unknown] == "unknown").all()
    assert list(adata.obs["celltext_label"].cat.categories) == [*texts, "unknown"]
