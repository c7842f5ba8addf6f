"""What models share that are mapped to data of other batches; what each adds is in its own folder."""

import numpy as np
import pytest
import torch
from torch import nn

import couplevi as cvi
from couplevi.model._mapping import check_added, mapped_model, only_added, with_added
from couplevi.registry import Covariate, Design


def test_columns_of_added_categories_are_the_sums_that_are_asked_for():
    weight = torch.arange(12.0).reshape(2, 6)
    sums = np.array([[1, 0], [0, 1], [0.5, 0.5]], dtype=np.float32)
    found = with_added(weight, sums)
    torch.testing.assert_close(found[:, :6], weight)
    torch.testing.assert_close(found[:, 6], weight[:, 4:].mean(dim=1))


def test_only_columns_that_were_added_are_trained_and_only_inside_the_block():
    layer = nn.Linear(4, 2)
    before = layer.weight.detach().clone()
    with only_added(layer, ["weight"], np.array([False, True])):
        layer(torch.ones(3, 4)).sum().backward()
    assert layer.weight.grad.ne(0).any(dim=0).tolist() == [False, False, False, True]
    layer.weight.grad = None
    layer(torch.ones(3, 4)).sum().backward()
    assert layer.weight.grad.ne(0).all()
    torch.testing.assert_close(layer.weight.detach(), before)


def test_there_has_to_be_something_to_fit():
    design = Design((Covariate("batch", "donor", ("a", "b"), ("b",), {"rna": ("a", "b")}),))
    check_added(design.added, design)
    with pytest.raises(ValueError, match=r"a batch that the reference does not know, found batches .*only"):
        check_added(np.array([False]), design)
    with pytest.raises(ValueError, match="a reference without covariates"):
        check_added(np.array([], dtype=bool), Design())


def test_a_reference_is_a_trained_model_of_the_class(tmp_path):
    mdata = cvi.data.count_clusters(n_obs=60)
    cvi.model.JAE.setup_mudata(mdata, modalities=("rna", "atac"))
    model = cvi.model.JAE(mdata)
    with pytest.raises(RuntimeError, match="a trained reference"):
        mapped_model(cvi.model.JAE, mdata, model, "cpu", 1, lambda *_: {})
    with pytest.raises(TypeError, match=r"a JAMIE model, or the folder of one, found couplevi.model.jae.model.JAE"):
        mapped_model(cvi.model.JAMIE, mdata, model, "cpu", 1, lambda *_: {})
    with pytest.raises(FileNotFoundError):
        mapped_model(cvi.model.JAE, mdata, tmp_path / "none", "cpu", 1, lambda *_: {})
