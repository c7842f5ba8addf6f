import numpy as np
import pytest
from small import worded

import couplevi as cvi


def test_the_route_gives_the_cosine_of_cells_and_texts():
    adata, texts = worded(n=90)
    quick = {"max_epochs": 3, "enable_progress_bar": False, "accelerator": "cpu"}
    model = cvi.tl.celltext(adata, labels_key="type", descriptions=texts, n_pcs=8, train_kwargs=quick, seed=0)
    named = ["a round cell", model.labels_[0]]
    route = model.route(named)
    assert route.names == named
    found = route.predict(route.preparation.transform(np.asarray(adata.X)))
    expected = model.get_latent_representation() @ model.encode_text(named).T
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not any(p.requires_grad for p in route.network.parameters())
    assert all(p.requires_grad for p in model.module.cell_residual.parameters())
    model.is_trained_ = False
    with pytest.raises(RuntimeError):
        model.route("x")
