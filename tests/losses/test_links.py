import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from couplevi.losses import alignment, combination, contrastive_alignment

ALL_KNOWN = torch.ones(5, dtype=torch.bool)


@pytest.fixture
def latents():
    return torch.randn(5, 3), torch.randn(5, 3)


def test_combination_by_hand():
    z, aggregated = torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(combination(z, aggregated), torch.tensor([(1.0 + 4.0) / 2]))


def test_alignment_with_the_identity_is_the_squared_distance(latents):
    a, b = latents
    torch.testing.assert_close(alignment(a, b, torch.eye(5)), (a - b).square().mean(dim=1))


def test_alignment_ignores_the_scale_of_a_row_and_skips_empty_ones(latents):
    a, b = latents
    match = torch.rand(5, 5)
    match[2] = 0
    value = alignment(a, b, match)
    torch.testing.assert_close(alignment(a, b, 0.1 * match), value)
    assert value[2] == 0
    torch.testing.assert_close(value[0], (a[0] - match[0] @ b / match[0].sum()).square().mean())


def test_alignment_is_not_symmetric_in_its_matrix(latents):
    a, b = latents
    match = torch.triu(torch.ones(5, 5))
    assert not torch.allclose(alignment(a, b, match), alignment(a, b, match.T))


def test_contrastive_with_pairs_is_cross_entropy(latents):
    a, b = latents
    logits = -torch.cdist(a, b).square() / (3 * 0.7)
    expected = cross_entropy(logits, torch.arange(5), reduction="none")
    actual = contrastive_alignment(a, b, torch.eye(5), torch.tensor(0.7), ALL_KNOWN, 0.3)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


def test_contrastive_spreads_its_target_over_soft_links(latents):
    a, b = latents
    links = torch.zeros(5, 5)
    links[0, 1], links[0, 2] = 0.2, 0.6
    logits = -torch.cdist(a, b).square() / 3
    log_p = logits.log_softmax(dim=1)
    actual = contrastive_alignment(a, b, links, torch.tensor(1.0), ALL_KNOWN, 0.3)
    torch.testing.assert_close(actual[0], -(0.25 * log_p[0, 1] + 0.75 * log_p[0, 2]), atol=1e-4, rtol=1e-4)
    assert actual[1:].eq(0).all()


def test_contrastive_counts_unknown_profiles_as_weaker_negatives(latents):
    a, b = latents
    known = torch.tensor([True, True, True, True, False])
    similarity = torch.exp(-torch.cdist(a, b).square() / 3)
    weighted = similarity * torch.tensor([1, 1, 1, 1, 0.3])
    expected = -(similarity.diagonal() / weighted.sum(dim=1)).log()[:4]
    actual = contrastive_alignment(a, b, torch.eye(5), torch.tensor(1.0), known, 0.3)[:4]
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


def test_contrastive_falls_when_partners_come_closer():
    far, near = torch.eye(4) * 3, torch.eye(4) * 3 + 0.1
    scattered = near[[1, 2, 3, 0]]
    temperature, known = torch.tensor(1.0), torch.ones(4, dtype=torch.bool)
    good = contrastive_alignment(far, near, torch.eye(4), temperature, known, 1.0)
    bad = contrastive_alignment(far, scattered, torch.eye(4), temperature, known, 1.0)
    assert (good < math.log(4)).all()
    assert (bad > good).all()


def test_profiles_of_other_batches_are_no_negatives(latents):
    """Each batch by itself gives the same; a link across batches still counts."""
    a, b = latents
    temperature, batch = torch.tensor(0.7), torch.tensor([0, 0, 0, 1, 1])
    same = batch[:, None] == batch
    actual = contrastive_alignment(a, b, torch.eye(5), temperature, ALL_KNOWN, 0.3, same)
    for code in (0, 1):
        own = batch == code
        alone = contrastive_alignment(a[own], b[own], torch.eye(int(own.sum())), temperature, ALL_KNOWN[own], 0.3)
        torch.testing.assert_close(actual[own], alone)
    across = torch.zeros(5, 5)
    across[0, 4] = 1
    found = contrastive_alignment(a.requires_grad_(), b, across, temperature, ALL_KNOWN, 0.3, same)
    seen = torch.tensor([0, 1, 2, 4])
    torch.testing.assert_close(
        found[0], contrastive_alignment(a[:1], b[seen], torch.eye(4)[3:], temperature, ALL_KNOWN[seen], 0.3)[0]
    )
    found.sum().backward()
    assert torch.isfinite(a.grad).all()


def test_a_profile_without_any_to_compare_with_is_left_out():
    a, b = torch.randn(2, 3, requires_grad=True), torch.randn(2, 3)
    comparable = torch.tensor([[True, True], [False, False]])
    value = contrastive_alignment(a, b, torch.zeros(2, 2), torch.tensor(1.0), ALL_KNOWN[:2], 0.3, comparable)
    assert value.tolist() == [0, 0]
    value.sum().backward()
    assert a.grad.abs().sum() == 0
