import torch

from couplevi.model.celltext.projectors import QFormer, residual


def test_a_residual_is_zero_until_it_is_trained():
    torch.manual_seed(0)
    layers = residual(4, 8, 4, 0.1)
    assert not layers(torch.randn(5, 4)).any()
    assert layers[-1].weight.requires_grad


def trained_qformer():
    torch.manual_seed(0)
    former = QFormer(3, 8, 2, 5, 0.0).eval()
    torch.nn.init.normal_(former.leave.weight)
    return former


def test_tokens_that_a_cell_lacks_do_not_count():
    former, tokens = trained_qformer(), torch.randn(4, 6)
    with_two = former(tokens)
    padded = torch.cat([tokens, torch.full((4, 9), torch.nan)], dim=1)
    torch.testing.assert_close(former(padded), with_two)
    assert with_two.shape == (4, 5) and with_two.isfinite().all()


def test_the_order_of_tokens_does_not_count_but_what_they_are_does():
    former, tokens = trained_qformer(), torch.randn(4, 6)
    swapped = tokens.view(4, 2, 3).flip(1).reshape(4, 6)
    torch.testing.assert_close(former(swapped), former(tokens))
    assert not torch.allclose(former(tokens + 1), former(tokens))


def test_any_width_is_taken():
    assert not QFormer(3, 7, 2, 5, 0.0)(torch.randn(2, 3)).any()
