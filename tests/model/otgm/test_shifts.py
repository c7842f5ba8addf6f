import numpy as np
import pytest
from scipy import stats

from couplevi.model.otgm.module import OTGMModule
from couplevi.model.otgm.shifts import common_groups, shift_between

G = 6


def module_of(cells):
    """Module whose moments are those of cells, by state and group."""
    found = OTGMModule(G, 2, n_states=2, n_groups=2, n_batches=1)
    flat = [group for state in cells for group in state]
    found.fill(
        count=np.array([len(x) for x in flat]),
        mean=np.stack([x.mean(axis=0) if len(x) else np.zeros(G) for x in flat]),
        variance=np.stack([x.var(axis=0, ddof=1) if len(x) > 1 else np.zeros(G) for x in flat]),
    )
    return found


def test_one_group_is_welchs_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (40, G)), rng.normal(0.5, 2, (30, G))
    nothing = np.empty((0, G))
    shift = shift_between(module_of([[a, nothing], [b, nothing]]), 0, 1)
    test = stats.ttest_ind(b, a, equal_var=False)
    np.testing.assert_allclose(shift.p_value, test.pvalue)
    np.testing.assert_allclose(shift.delta / shift.standard_error, test.statistic)


def test_groups_are_weighted_by_the_cells_of_the_source():
    rng = np.random.default_rng(0)
    a, b = ([rng.normal(m, 1, (n, G)) for m, n in sizes] for sizes in (((0, 90), (5, 30)), ((1, 35), (7, 40))))
    module = module_of([a, b])
    groups, weights = common_groups(module, 0, 1)
    assert (groups.tolist(), weights.tolist()) == ([0, 1], [0.75, 0.25])
    shift = shift_between(module, 0, 1)
    expected = 0.75 * (b[0].mean(0) - a[0].mean(0)) + 0.25 * (b[1].mean(0) - a[1].mean(0))
    np.testing.assert_allclose(shift.delta, expected)
    parts = [
        w * w * x.var(axis=0, ddof=1) / len(x) for w, pair in ((0.75, (a[0], b[0])), (0.25, (a[1], b[1]))) for x in pair
    ]
    np.testing.assert_allclose(np.square(shift.standard_error), sum(parts))
    sizes = [90, 35, 30, 40]
    df = np.square(sum(parts)) / sum(np.square(p) / (n - 1) for p, n in zip(parts, sizes, strict=True))
    np.testing.assert_allclose(shift.p_value, 2 * stats.t.sf(np.abs(shift.delta) / shift.standard_error, df))


def test_a_group_that_one_state_lacks_does_not_count():
    rng = np.random.default_rng(0)
    a = [rng.normal(size=(10, G)), rng.normal(9, 1, (10, G))]
    b = [rng.normal(size=(10, G)), rng.normal(size=(1, G))]
    shift = shift_between(module_of([a, b]), 0, 1)
    np.testing.assert_allclose(shift.delta, b[0].mean(0) - a[0].mean(0))


def test_features_that_do_not_vary():
    a, b = np.ones((5, G)), np.ones((5, G))
    b[:, 0] = 2.0
    nothing = np.empty((0, G))
    shift = shift_between(module_of([[a, nothing], [b, nothing]]), 0, 1)
    assert shift.p_value.tolist() == [0.0] + [1.0] * (G - 1)
    assert shift.z.tolist() == [0.0] * G  # no error to measure it by


def test_constants_do_not_shift_by_rounding():
    rng = np.random.default_rng(0)
    constant = 0.1 * np.arange(G) + 0.013
    a, b = constant + np.zeros((70, G)), constant + np.zeros((33, G))
    a[:, 0], b[:, 0] = rng.normal(size=70), rng.normal(size=33)
    nothing = np.empty((0, G))
    module = module_of([[a, nothing], [b, nothing]])
    variance = module.array("variance")
    variance[:, 1:] = 0
    module.fill(variance=variance, mean=module.array("mean") * (1 + 1e-15 * rng.normal(size=(4, G))))
    assert shift_between(module, 0, 1).p_value[1:].tolist() == [1.0] * (G - 1)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 29])
def test_few_cells_that_do_not_vary_by_chance_prove_nothing(n):
    rng = np.random.default_rng(n)
    genes = 2_000
    a, b = (np.log1p(rng.poisson(0.2, (size, genes))) for size in (300, n))
    module = OTGMModule(genes, 2, n_states=2, n_groups=1, n_batches=1)
    module.fill(
        count=np.array([300, n]),
        mean=np.stack([a.mean(axis=0), b.mean(axis=0)]),
        variance=np.stack([a.var(axis=0, ddof=1), b.var(axis=0, ddof=1)]),
    )
    q = stats.false_discovery_control(shift_between(module, 0, 1).p_value)
    assert (q < 0.05).mean() <= 0.01


def test_silent_genes_do_not_change_the_z_of_others():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(50, G)), rng.normal(0.5, 1, (50, G))
    nothing = np.empty((0, G))
    z = shift_between(module_of([[a, nothing], [b, nothing]]), 0, 1).z
    silent = np.zeros((50, 10))
    wide = OTGMModule(G + 10, 2, n_states=2, n_groups=1, n_batches=1)
    both = [np.hstack([x, silent]) for x in (a, b)]
    wide.fill(count=np.full(2, 50), mean=[x.mean(0) for x in both], variance=[x.var(0, ddof=1) for x in both])
    np.testing.assert_allclose(shift_between(wide, 0, 1).z[:G], z)


def test_small_errors_do_not_make_large_z():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(40, G)), rng.normal(0.3, 1, (40, G))
    a[:, 0], b[:, 0] = 0.0, 0.0
    b[0, 0] = 1e-3
    nothing = np.empty((0, G))
    shift = shift_between(module_of([[a, nothing], [b, nothing]]), 0, 1)
    assert abs(shift.z[0]) == pytest.approx(2.5e-5 / (2.5e-5 + np.median(shift.standard_error)), rel=1e-3)
