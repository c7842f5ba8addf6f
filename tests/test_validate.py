import numpy as np
import pytest
import scipy.sparse as sp

from couplevi._validate import check_confidences, check_finite, expected, listing, nearest_first


def test_one_voice():
    assert expected("a", "b", "Do c.") == "Expected a, found b. Do c."
    assert expected("a", 3) == "Expected a, found 3."


def test_names_that_are_spelled_alike_come_first():
    names = [*(f"gene{i}" for i in range(30)), "control"]
    assert nearest_first("ctrl", names)[:3] == ["control", "gene0", "gene1"]
    assert sorted(nearest_first("gene", names)) == sorted(names)


def test_listing_is_short():
    assert listing("abc", 2) == "['a', 'b'] and 1 more"
    assert listing("ab") == "['a', 'b']"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix, sp.csc_array, sp.lil_matrix])
def test_non_finite_values_are_counted(bad, kind):
    x = np.eye(4)
    x[1, 1] = bad
    with pytest.raises(ValueError, match="finite values in here, found 1 that are NaN or infinite"):
        check_finite(kind(x), "here")
    check_finite(kind(np.eye(4)), "here")


def test_large_finite_values_pass():
    check_finite(np.full((2, 2), 3e38, dtype=np.float32), "here")
    check_finite(np.array([[1e308, 1e308, 1e308]]), "here")


def test_only_numbers_pass():
    with pytest.raises(TypeError, match="numbers in here"):
        check_finite(np.array([["a"]]), "here")


@pytest.mark.parametrize("dtype", [np.float64, np.float32, int, bool])
def test_confidences_become_sorted_single_precision(dtype):
    csr = check_confidences(sp.coo_matrix(np.array([[0, 1], [1, 0]], dtype=dtype)), "p")
    assert csr.dtype == np.float32
    assert csr.has_sorted_indices
    assert csr.nnz == 2


def test_explicit_zeros_are_no_links_and_duplicates_add_up():
    given = sp.coo_matrix(([0.0, 0.25, 0.5], ([0, 1, 1], [0, 1, 1])), shape=(2, 2))
    csr = check_confidences(given, "p")
    np.testing.assert_array_equal(csr.toarray(), [[0, 0], [0, 0.75]])
    assert csr.nnz == 1
    assert given.nnz == 3
