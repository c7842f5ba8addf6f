import numpy as np
import pytest
from small import worded

import couplevi as cvi

QUICK = {"max_epochs": 5, "enable_progress_bar": False, "accelerator": "cpu"}


def test_what_is_written_is_what_the_model_says(tmp_path):
    adata, texts = worded(n=150)
    model = cvi.tl.celltext(adata, labels_key="type", descriptions=texts, n_pcs=10, seed=0, train_kwargs=QUICK)
    np.testing.assert_array_equal(adata.obsm["X_celltext"], model.get_latent_representation())
    told = adata.uns["celltext"]
    assert told["labels"] == sorted(texts) and told["texts"] == [texts[t] for t in sorted(texts)]
    assert told["encoders"] == {"text": "tfidf"} and told["settings"]["n_pcs"] == 10
    assert len(told["losses"]["train_loss"]) == 5
    adata.write_h5ad(tmp_path / "a.h5ad")


def test_the_seed_decides():
    results = []
    for seed in (0, 0, 1):
        adata, texts = worded(n=90)
        cvi.tl.celltext(adata, labels_key="type", descriptions=texts, n_pcs=5, seed=seed, train_kwargs=QUICK)
        results.append(adata.obsm["X_celltext"])
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.allclose(results[0], results[2])


@pytest.mark.parametrize(("given", "error"), [({"key_added": "a/b"}, ValueError), ({"n_pc": 3}, TypeError)])
def test_nothing_is_written_on_failure(given, error):
    adata, texts = worded(n=90)
    with pytest.raises(error):
        cvi.tl.celltext(adata, labels_key="type", descriptions=texts, train_kwargs=QUICK, **given)
    assert not adata.obsm and "celltext" not in adata.uns
