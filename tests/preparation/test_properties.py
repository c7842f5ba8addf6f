"""What holds for any matrix, stored in any way and read in any chunks."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from couplevi._streamed import StreamedMatrix
from couplevi.nn import PreparationBuffers
from couplevi.preparation import FeatureRows, _fit, fingerprints, fit_preparation, prepared_rows, row_chunks

few = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 10**6)
weights = st.sampled_from(["communality", "equal"])
methods = st.sampled_from([4, 4000])
"""Features up to which the covariance is formed."""
FORMATS = {
    "dense": np.asarray,
    "fortran": np.asfortranarray,
    "csr_matrix": sp.csr_matrix,
    "csc_matrix": sp.csc_matrix,
    "csr_array": sp.csr_array,
    "csc_array": sp.csc_array,
    "lil_array": sp.lil_array,
}
COUNTED = ("bool", "uint8", "int32", "int64", "float32", "float64")


@st.composite
def matrices(draw, dtypes=("float64",), least=2):
    """Counts or continuous values, with an offset and features that do not vary, and how many components to find."""
    n, f = draw(st.integers(max(least, 3), 25)), draw(st.integers(2, 12))
    rng, dtype = np.random.default_rng(draw(seeds)), draw(st.sampled_from(dtypes))
    x = (
        rng.poisson(1.0, (n, f))
        if draw(st.booleans()) or dtype not in ("float32", "float64")
        else rng.normal(3, 2, (n, f))
    )
    x = x % 2 if dtype == "bool" else x
    for j in draw(st.lists(st.integers(0, f - 1), max_size=2)):
        x[:, j] = x[0, j]
    n_components = draw(st.none() | st.integers(1, min(n - 1, f)))
    return x.astype(dtype), n_components


def fitted(x, n_components, kind="equal", max_gram=4000, chunk=None):
    with pytest.MonkeyPatch.context() as context:
        context.setattr(_fit, "MAX_GRAM", max_gram)
        if chunk is not None:
            context.setattr("couplevi.preparation._rows.CHUNK_VALUES", chunk)
        return fit_preparation(x, n_components, kind)


def is_determined(x, n_components, kind):
    """Whether neither the components nor those of the pilot end among directions of equal variance."""
    n, f = x.shape
    if n_components is None or n_components == f:
        return True
    sd, scale = x.std(axis=0), fit_preparation(x, n_components, kind).scale
    z = (x - x.mean(axis=0, dtype=float)) / np.where(sd > 0, sd, 1)
    cuts = [(n_components, sd / np.where(scale > 0, scale, 1))]
    if kind == "communality":
        cuts.append((max(1, min(_fit.N_PILOT, f, n // 10)), np.sqrt((x != 0).mean(axis=0))))
    for last, weight in cuts:
        variances = [*np.linalg.svd(z * weight, compute_uv=False) ** 2 / n, *[0.0] * f]
        if 1e-6 < variances[last] > variances[last - 1] - 0.05 * variances[0]:
            return False
    return True


def assert_same(ours, theirs, x, atol=2e-4):
    """Components may turn among those of equal variance, so that distances between profiles are compared."""
    np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.scale, theirs.scale, rtol=2e-3, atol=1e-6)
    assert ours.rms == pytest.approx(theirs.rms, rel=1e-3)
    x = np.asarray(x, dtype=np.float64)
    a, b = (p.transform(x).astype(float) for p in (ours, theirs))
    np.testing.assert_allclose(a @ a.T, b @ b.T, atol=atol * max(1, np.abs(b).max() ** 2) * a.shape[1])


@few
@given(data=matrices(), kind=weights)
def test_there_and_back_is_a_projection(data, kind):
    """Once more changes nothing, and what is in the components comes back."""
    x, n_components = data
    p = fit_preparation(x, n_components, kind)
    h = p.transform(x)
    assert h.shape == (len(x), p.n_prepared)
    once = p.inverse(h)
    np.testing.assert_allclose(p.transform(once), h, atol=1e-3)
    np.testing.assert_allclose(p.inverse(p.transform(once)), once, atol=1e-3)
    np.testing.assert_allclose(once[:, p.scale == 0], np.broadcast_to(p.mean, x.shape)[:, p.scale == 0], rtol=1e-6)
    if p.components is None:
        np.testing.assert_allclose(once, x, atol=1e-4)
        return
    np.testing.assert_allclose(p.components @ p.components.T, np.eye(p.n_prepared), atol=1e-5)
    varies = h.std(axis=0) > 1e-3  # others may lie along constant features
    inside = p.inverse(np.eye(p.n_prepared, dtype=np.float32)[varies])
    np.testing.assert_allclose(p.transform(inside), np.eye(p.n_prepared)[varies], atol=1e-4)


@few
@given(data=matrices())
def test_standardised_features_have_mean_0_and_variance_1_or_are_constant(data):
    x, _ = data
    p = fit_preparation(x)
    h, varies = p.transform(x), np.ptp(x, axis=0) > 0
    np.testing.assert_array_equal(p.scale > 0, varies)
    np.testing.assert_allclose(h.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(h.std(axis=0), varies, atol=1e-4)


@few
@given(seed=seeds, n=st.integers(2, 40), chunk=st.integers(1, 10))
def test_a_constant_is_known_as_one_whatever_its_value_and_the_chunks(seed, n, chunk):
    constant = np.random.default_rng(seed).normal(3, 2, 4)
    assert (fitted(np.tile(constant, (n, 1)), None, chunk=chunk).scale == 0).all()


@few
@given(data=matrices(), kind=weights)
def test_prepared_values_are_centred_uncorrelated_and_of_mean_square_1(data, kind):
    x, n_components = data
    p = fit_preparation(x, n_components, kind)
    h = p.transform(x).astype(float)
    np.testing.assert_allclose(h.mean(axis=0), 0, atol=1e-3)
    if p.components is not None:
        covariance = h.T @ h / len(h)
        np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=2e-3)
        assert (np.diff(np.diag(covariance)) <= 1e-4).all()
        assert np.trace(covariance) == pytest.approx(p.n_prepared if np.abs(h).max() > 0 else 0, abs=1e-2)


@few
@given(data=matrices(COUNTED), kind=weights, stored=st.sampled_from(sorted(FORMATS)), max_gram=methods)
def test_sparse_and_dense_of_any_type_agree(data, kind, stored, max_gram):
    x, n_components = data
    assume(is_determined(x, n_components, kind))
    other = FORMATS[stored](x)
    reference = fitted(x.astype(np.float64), n_components, kind, max_gram)
    assert_same(fitted(other, n_components, kind, max_gram), reference, x)
    h = reference.transform(other)
    assert isinstance(h, np.ndarray)
    assert h.dtype == reference.standardise(other).dtype == np.float32
    np.testing.assert_allclose(h, reference.transform(x.astype(np.float64)), atol=1e-4)
    np.testing.assert_allclose(fingerprints(other), fingerprints(x.astype(np.float64)), rtol=1e-9, atol=1e-9)


@few
@given(data=matrices(), kind=weights, chunk=st.integers(1, 80), sparse=st.booleans(), max_gram=methods)
def test_chunks_do_not_matter(data, kind, chunk, sparse, max_gram):
    x, n_components = data
    x[:, np.ptp(x, axis=0) == 0] = 0  # of other constants see above
    assume(is_determined(x, n_components, kind))
    x = sp.csr_array(x) if sparse else x
    whole, parts = (fitted(x, n_components, kind, max_gram, chunk=c) for c in (None, chunk))
    assert_same(parts, whole, x.toarray() if sparse else x)
    with pytest.MonkeyPatch.context() as context:
        context.setattr("couplevi.preparation._rows.CHUNK_VALUES", chunk)
        pieces = list(row_chunks(x))
        np.testing.assert_array_equal(
            np.concatenate([np.arange(x.shape[0])[rows] for rows, _ in pieces]), np.arange(x.shape[0])
        )
        assert max(piece.shape[0] for _, piece in pieces) <= max(1, chunk // x.shape[1])
        in_parts = fingerprints(x)
    np.testing.assert_allclose(in_parts, fingerprints(x), rtol=1e-9, atol=1e-12)


@few
@given(data=matrices(), kind=weights, seed=seeds, sparse=st.booleans(), max_gram=methods)
def test_the_order_of_cells_does_not_matter(data, kind, seed, sparse, max_gram):
    x, n_components = data
    assume(is_determined(x, n_components, kind))
    order = np.random.default_rng(seed).permutation(len(x))
    store = sp.csr_array if sparse else np.asarray
    assert_same(
        fitted(store(x[order]), n_components, kind, max_gram), fitted(store(x), n_components, kind, max_gram), x
    )
    np.testing.assert_allclose(fingerprints(store(x[order])), fingerprints(store(x))[order], rtol=1e-12, atol=1e-12)


@few
@given(data=matrices(), times=st.integers(2, 3))
def test_cells_that_occur_several_times_do_not_matter(data, times):
    x, n_components = data
    assume(is_determined(x, n_components, "equal"))
    assert_same(
        fit_preparation(np.tile(x, (times, 1)), n_components, "equal"), fit_preparation(x, n_components, "equal"), x
    )


@few
@given(data=matrices(), kind=weights, seed=seeds)
def test_order_and_units_of_features_do_not_matter(data, kind, seed):
    x, n_components = data
    assume(is_determined(x, n_components, kind))
    rng = np.random.default_rng(seed)
    order, unit = rng.permutation(x.shape[1]), 2.0 ** rng.integers(-8, 8, x.shape[1])
    p, other = fit_preparation(x, n_components, kind), fit_preparation((x * unit)[:, order], n_components, kind)
    np.testing.assert_allclose(other.mean, (p.mean * unit)[order], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(other.scale, (p.scale * unit)[order], rtol=2e-3, atol=1e-6)
    h, same = (q.transform(v).astype(float) for q, v in ((p, x), (other, (x * unit)[:, order])))
    np.testing.assert_allclose(same @ same.T, h @ h.T, atol=2e-4 * max(1, np.abs(h).max() ** 2) * h.shape[1])


@few
@given(
    data=matrices(("float32", "float64")), seed=seeds, stored=st.sampled_from(sorted(FORMATS)), chunk=st.integers(1, 80)
)
def test_rows_are_read_as_they_are_transformed_in_any_order(data, seed, stored, chunk):
    x, n_components = data
    rng = np.random.default_rng(seed)
    order, wanted = rng.permutation(len(x)), rng.integers(0, len(x), 7)
    p = fit_preparation(x, n_components)
    for matrix in (FORMATS[stored](x), StreamedMatrix(x, "`X`")):
        with pytest.MonkeyPatch.context() as context:
            context.setattr("couplevi.preparation._rows.CHUNK_VALUES", chunk)
            rows = prepared_rows(matrix, p, order)
        assert len(rows) == len(x)
        assert rows[wanted].dtype == np.float32
        np.testing.assert_allclose(rows[wanted], p.transform(x[order[wanted]]), atol=1e-4)
    features = FeatureRows(FORMATS[stored](x), order)
    assert len(features) == len(x)
    assert features[wanted].dtype == np.float32
    np.testing.assert_array_equal(features[wanted], x[order[wanted]].astype(np.float32))


@few
@given(data=matrices(), kind=weights)
def test_the_buffers_of_a_model_transform_as_the_record_does(data, kind):
    x, n_components = data
    p = fit_preparation(x, n_components, kind)
    buffers = PreparationBuffers(x.shape[1], None if p.components is None else n_components)
    buffers.fill(p)
    x32 = x.astype(np.float32)
    np.testing.assert_allclose(buffers(torch.from_numpy(x32)), p.transform(x32), atol=1e-3)
    h, other = p.transform(x), p.transform(x[::-1])
    error = (np.square(h - other).sum(axis=1) * buffers.error_weight.item()).astype(float)
    features = p.standardise(p.inverse(h)) - p.standardise(p.inverse(other))
    np.testing.assert_allclose(error, np.square(features).mean(axis=1), rtol=1e-2, atol=1e-4)
