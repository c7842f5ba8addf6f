import numpy as np
import torch

from couplevi.model.otgm.module import OTGMModule


def test_component_is_that_of_its_state_and_group():
    module = OTGMModule(5, 2, n_states=3, n_groups=2, n_batches=1)
    mean, covariance = np.arange(30.0).reshape(6, 5), np.stack([np.eye(2) * (k + 1) for k in range(6)])
    module.fill(
        mean=mean, covariance=covariance, pooled=np.eye(2) * 10, basis=np.eye(5)[:, :2], noise=np.ones(5),
        scale=np.arange(6.0), pooled_share=0.25, telling_share=1.0,
    )  # fmt: skip
    k = module.place(2, 1)
    assert k == 5
    gaussian = module.gaussian(k)
    np.testing.assert_array_equal(gaussian.mean, mean[5])
    np.testing.assert_allclose(gaussian.covariance, np.eye(2) * (0.75 * 6 + 0.25 * 10))
    assert gaussian.scale == 5
    np.testing.assert_allclose(module.covariances()[5], gaussian.covariance)
    np.testing.assert_allclose(module.covariances("telling_share"), np.stack([np.eye(2) * 10] * 6))
    assert module.device == torch.device("cpu")


def test_state_holds_all_that_was_learned():
    module, other = (OTGMModule(4, 2, n_states=2, n_groups=1, n_batches=2) for _ in range(2))
    rng = np.random.default_rng(0)
    module.fill(**{name: rng.normal(size=tuple(value.shape)) for name, value in module.state_dict().items()})
    other.load_state_dict(module.state_dict())
    for name in module.state_dict():
        np.testing.assert_array_equal(module.array(name), other.array(name))
