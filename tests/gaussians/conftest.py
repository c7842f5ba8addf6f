import numpy as np
import pytest

from couplevi.gaussians import Gaussian


@pytest.fixture
def random_covariance():
    """Covariance of a given size and rank."""

    def make(d, rng, rank=None):
        factor = rng.normal(size=(d, rank or d + 2))
        return factor @ factor.T

    return make


@pytest.fixture
def states(random_covariance):
    """States that share basis and noise."""

    def make(n_states, n_vars=7, n_components=3, seed=0, noise=1.0, spread=1.0, rank=None):
        rng = np.random.default_rng(seed)
        basis = np.linalg.qr(rng.normal(size=(n_vars, n_components)))[0]
        variances = noise * rng.uniform(0.2, 2.0, size=n_vars)
        return [
            Gaussian(
                rng.normal(size=n_vars),
                basis,
                spread * random_covariance(n_components, rng, rank),
                variances,
                float(rng.uniform(0.5, 3.0)),
            )
            for _ in range(n_states)
        ]

    return make


@pytest.fixture
def full():
    """Covariance of all variables, as the definition spells it."""

    def make(gaussian):
        b = gaussian.basis
        rest = np.eye(len(b)) - b @ b.T
        return b @ gaussian.covariance @ b.T + gaussian.scale * rest @ np.diag(gaussian.noise) @ rest

    return make
