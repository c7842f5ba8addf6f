import pytest
import torch

from couplevi.losses import annealing, one_cycle


@pytest.mark.parametrize("shape", ["linear", "sigmoid"])
def test_annealing_rises_from_zero_to_one_over_the_warmup(shape):
    values = [annealing(p / 100, 0.5, shape) for p in range(101)]
    assert values[0] == pytest.approx(0)
    assert values[25] == pytest.approx(0.5)
    assert values[50:] == [1.0] * 51
    assert all(a < b for a, b in zip(values[:50], values[1:51], strict=True))


def test_annealing_shapes_differ_and_no_warmup_is_full_weight():
    assert annealing(0.1, 0.5, "sigmoid") < annealing(0.1, 0.5, "linear")
    assert annealing(0.0, 0.0) == 1.0


def test_one_cycle_follows_that_of_torch():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    n = 200
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=n + 1, cycle_momentum=False)
    for step in range(n):
        # torch counts the last step of the rise within it, so the curves are shifted by a step at most
        assert one_cycle(step / n) == pytest.approx(optimizer.param_groups[0]["lr"], abs=0.03)
        optimizer.step()
        scheduler.step()
    assert one_cycle(1.0) == pytest.approx(0)
    assert max(one_cycle(p / 1000) for p in range(1001)) == pytest.approx(1)
