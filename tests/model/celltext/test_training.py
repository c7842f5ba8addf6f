import numpy as np

from couplevi.model.celltext.training import refit, training_data
from couplevi.preparation import fit_preparation


def test_cells_without_a_text_are_left_out_and_the_order_of_the_others_does_not_matter():
    rng = np.random.default_rng(0)
    h, text = rng.normal(size=(20, 3)).astype(np.float32), np.arange(20) % 4 - 1
    dataset, order = training_data(h, text)
    assert len(dataset) == 15 and (text[order] >= 0).all()
    batch = dataset.cells(np.arange(15))
    np.testing.assert_array_equal(batch["h"]["adata"].numpy(), h[order])
    np.testing.assert_array_equal(batch["label"].numpy(), text[order])
    other, _ = training_data(h[::-1].copy(), text[::-1].copy())
    np.testing.assert_array_equal(other.cells(np.arange(15))["h"]["adata"].numpy(), h[order])


def test_absent_tokens_stay_absent():
    h = np.array([[1, np.nan], [0, 2]], dtype=np.float32)
    dataset, order = training_data(h, np.zeros(2, dtype=np.int64))
    np.testing.assert_array_equal(dataset.cells(np.arange(2))["h"]["adata"].numpy(), h[order])


def test_cells_that_are_held_out_are_prepared_by_the_others():
    x = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)
    train, rest = np.arange(20), np.arange(20, 30)
    transform = refit(x, 3)(train)
    np.testing.assert_array_equal(transform(rest), fit_preparation(x[:20], 3, "variance").transform(x[20:]))
    changed = x.copy()
    changed[20:] = 0
    np.testing.assert_array_equal(refit(changed, 3)(train)(train), transform(train))
    assert refit(x, 10)(np.arange(4))(rest).shape == (10, 3)  # no more components than cells allow
