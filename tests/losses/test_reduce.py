import torch

from couplevi.losses import weighted_mean


def test_weighted_mean_of_nothing_is_zero_with_a_gradient():
    values = torch.ones(3, requires_grad=True)
    mean = weighted_mean(values, torch.zeros(3))
    mean.backward()
    assert mean == 0
    assert values.grad.eq(0).all()
    torch.testing.assert_close(weighted_mean(torch.tensor([1.0, 4.0]), torch.tensor([3.0, 1.0])), torch.tensor(1.75))


def test_values_count_by_their_weight_whatever_its_scale():
    values = torch.tensor([1.0, 2.0, 30.0])
    torch.testing.assert_close(weighted_mean(values, torch.tensor([0.5, 0.5, 0.0])), torch.tensor(1.5))
    torch.testing.assert_close(weighted_mean(values, torch.tensor([5.0, 5.0, 0.0])), torch.tensor(1.5))
    torch.testing.assert_close(weighted_mean(values, torch.ones(3)), values.mean())
    assert weighted_mean(values[:0], values[:0]) == 0
