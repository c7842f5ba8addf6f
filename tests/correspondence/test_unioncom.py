import numpy as np
import scipy.sparse as sp
import torch

from couplevi.correspondence import UnionCom
from couplevi.correspondence._unioncom import distortion_gradient


def test_gradient_of_unioncom_agrees_with_autograd():
    rng = np.random.default_rng(0)
    kx, ky = (m + m.T for m in (rng.random((7, 7)), rng.random((9, 9))))
    f = torch.tensor(rng.random((7, 9)), requires_grad=True)
    (1.3 * torch.tensor(kx) - f @ torch.tensor(ky) @ f.T).square().sum().backward()
    np.testing.assert_allclose(distortion_gradient(f.detach().numpy(), kx, ky, 1.3), f.grad.numpy(), rtol=1e-10)


def test_unioncom_meets_its_constraints(rotated_copy):
    x, y, _ = rotated_copy(100, 3)
    result = UnionCom().solve(x, y)
    assert result.converged
    assert result.matrix.sum(axis=1).min() > 0.98


def test_unioncom_that_still_moves_has_not_converged(rotated_copy):
    """After 100 iterations all masses are met by less than the limit, and the objective halves between reports."""
    x, y, truth = rotated_copy(120, 3)
    known = sp.csr_array((np.ones(30), (np.arange(30), truth[:30])), shape=(120, 120))[:, :90]
    result = UnionCom(max_iter=100).solve(x, y[:90], known)
    history = result.blocks[0].history
    assert abs(history[-1] - history[-2]) > 0.5 * history[-1]
    assert not result.converged
    assert not UnionCom(max_iter=50).solve(x, y[:90], known).converged
