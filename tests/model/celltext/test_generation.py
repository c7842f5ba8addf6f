import numpy as np
import pytest

from couplevi.model.celltext.generation import drawn_counts, drawn_values, fit_noise, shares
from couplevi.preparation import fit_preparation, log_normalised


def test_counts_that_are_drawn_have_the_means_and_the_dispersion_of_those_seen():
    rng = np.random.default_rng(0)
    share = rng.dirichlet(np.ones(30))
    library = rng.uniform(2000, 4000, 4000)
    dispersion = np.where(np.arange(30) < 15, 0.5, 1e-3)
    mean = library[:, None] * share
    x = rng.poisson(rng.gamma(1 / dispersion, dispersion * mean)).astype(np.float32)
    logs = log_normalised(x)
    preparation = fit_preparation(logs, 1, "variance")
    noise = fit_noise(x, logs, preparation, counted=True)
    middle = np.tile(preparation.inverse(np.zeros((1, 1), dtype=np.float32)), (4000, 1))
    drawn = drawn_counts(middle, noise, None, rng)
    assert drawn.dtype == np.float32 and (drawn == np.round(drawn)).all() and drawn.min() >= 0
    np.testing.assert_allclose(drawn.sum(axis=1).mean(), x.sum(axis=1).mean(), rtol=0.05)
    well = share > 0.01
    assert np.corrcoef(drawn.mean(axis=0), x.mean(axis=0))[0, 1] > 0.97
    found = noise["dispersion"]
    assert np.median(found[:15][well[:15]]) > 0.25 and np.median(found[15:][well[15:]]) < 0.2
    given = drawn_counts(middle, noise, 100.0, rng)
    np.testing.assert_allclose(given.sum(axis=1).mean(), 100, rtol=0.05)


def test_shares_sum_to_one_and_gain_moves_them():
    logs = np.log1p(np.array([[1.0, 3.0]]))
    np.testing.assert_allclose(shares(logs, np.ones(2)), [[0.25, 0.75]])
    np.testing.assert_allclose(shares(logs, np.array([3.0, 1.0])), [[0.5, 0.5]])


@pytest.mark.parametrize(("lowest", "smallest"), [(0.0, 0.0), (-3.0, -1.0)])
def test_values_have_the_noise_that_components_leave_out_and_the_sign_of_those_seen(lowest, smallest):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(2000, 1)) * np.ones(4) + rng.normal(size=(2000, 4)) * [0.1, 0.5, 1, 2]).astype(np.float32)
    preparation = fit_preparation(x, 1, "equal")
    noise = fit_noise(x, x, preparation, counted=False)
    left = x - preparation.inverse(preparation.transform(x))
    np.testing.assert_allclose(noise["residual_sd"], np.sqrt(np.square(left).mean(axis=0)), rtol=1e-4)
    drawn = drawn_values(np.zeros((4000, 4)), noise, lowest, rng)
    assert (drawn.min() >= 0) == (lowest >= 0)
    assert drawn.min() <= smallest
    if lowest < 0:
        np.testing.assert_allclose(drawn.std(axis=0), noise["residual_sd"], rtol=0.1)
