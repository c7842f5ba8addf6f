import numpy as np
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from couplevi.dataloaders import Links, make_units


def links_of(rows, cols, shape, confidence=1.0):
    data = np.full(len(rows), confidence, dtype=np.float32)
    return Links(sp.csr_array((data, (rows, cols)), shape=shape))


def as_set(units):
    return {tuple(u) for u in units.tolist()}


def test_pairs_are_units_and_others_are_single():
    units = make_units({"a": 3, "b": 2}, {("a", "b"): links_of([0, 2], [1, 0], (3, 2))})
    assert as_set(units) == {(0, 1), (2, 0), (1, -1)}


def test_uncertain_links_make_no_units():
    units = make_units({"a": 2, "b": 2}, {("a", "b"): links_of([0, 1], [0, 1], (2, 2), 0.99)})
    assert as_set(units) == {(0, -1), (1, -1), (-1, 0), (-1, 1)}


def test_no_links_at_all():
    assert as_set(make_units({"a": 1, "b": 2}, {})) == {(0, -1), (-1, 0), (-1, 1)}


def test_three_modalities_join_into_one_unit():
    eye = links_of([0, 1], [0, 1], (2, 2))
    units = make_units({"a": 2, "b": 2, "c": 2}, {("a", "b"): eye, ("a", "c"): eye})
    assert as_set(units) == {(0, 0, 0), (1, 1, 1)}


def test_chain_back_to_another_profile_is_drawn_singly():
    # a0 = b0 = c0 = a1 cannot be one cell
    links = {
        ("a", "b"): links_of([0], [0], (2, 1)),
        ("a", "c"): links_of([1], [0], (2, 1)),
        ("b", "c"): links_of([0], [0], (1, 1)),
    }
    units = make_units({"a": 2, "b": 1, "c": 1}, links)
    assert as_set(units) == {(0, -1, -1), (1, -1, -1), (-1, 0, -1), (-1, -1, 0)}


@given(n_a=st.integers(1, 12), n_b=st.integers(1, 12), seed=st.integers(0, 1000))
def test_every_profile_is_in_one_unit(n_a, n_b, seed):
    rng = np.random.default_rng(seed)
    matrix = sp.csr_array((rng.random((n_a, n_b)) < 0.2).astype(np.float32))
    units = make_units({"a": n_a, "b": n_b}, {("a", "b"): Links(matrix)})
    for column, n in zip(units.T, (n_a, n_b), strict=True):
        np.testing.assert_array_equal(np.sort(column[column >= 0]), np.arange(n))
    assert (units >= 0).any(axis=1).all()
