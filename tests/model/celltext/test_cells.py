import anndata as ad
import numpy as np
import pytest

from couplevi.model.celltext.cells import flat_tokens, pooled, represented
from couplevi.preparation import fit_preparation

ADATA = ad.AnnData(np.zeros((3, 2), dtype=np.float32))
TOKENS = np.array([[[1.0, 2], [3, 4]], [[5, 6], [np.nan, np.nan]], [[0, 0], [2, 2]]])


def test_tokens_are_pooled_over_those_that_there_are():
    values = represented(lambda adata: TOKENS, ADATA)
    np.testing.assert_allclose(pooled(values), [[2, 3], [5, 6], [1, 1]])
    vectors = represented(lambda adata: TOKENS[:, 0], ADATA, 2, tokens=False)
    np.testing.assert_allclose(pooled(vectors), TOKENS[:, 0])


def test_tokens_lie_side_by_side_up_to_the_number_of_training():
    preparation = fit_preparation(np.array([[0.0, 0], [4, 8]], dtype=np.float32))
    flat = flat_tokens(TOKENS.astype(np.float32), preparation, 3)
    assert flat.shape == (3, 6)
    np.testing.assert_allclose(flat[0, :2], (np.array([1, 2]) - [2, 4]) / preparation.scale)
    assert np.isnan(flat[:, 4:]).all() and np.isnan(flat[1, 2:4]).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(3), r"vectors \(3, size\) or tokens \(3, n_tokens, size\).* found shape \(3,\)"),
        (np.zeros((2, 4)), r"found shape \(2, 4\)"),
        (np.zeros((3, 4)), r"vectors of size 2, as in training, found shape \(3, 4\)"),
        (TOKENS, "vectors of size 2, as in training"),
        (np.array([[1.0, np.nan]] * 3), "finite vectors, or a token of each cell"),
    ],
)
def test_what_is_not_of_the_right_shape_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        represented(lambda adata: values, ADATA, 2, tokens=False)


def test_a_cell_without_tokens_is_refused():
    with pytest.raises(ValueError, match="leave out cells that have none"):
        represented(lambda adata: np.where(np.arange(3)[:, None, None] == 1, np.nan, TOKENS), ADATA)
