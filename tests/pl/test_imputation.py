import numpy as np
import pytest

import couplevi as cvi

ROUTE = {"source": "rna", "target": "ephys"}


def test_measured_values_are_drawn_against_imputed_ones(imputed, both):
    axes = cvi.pl.imputation(imputed, **ROUTE, features=["ephys2", "ephys0"], show=False)
    ephys = imputed["ephys"][both]
    expected = np.column_stack([ephys[:, "ephys2"].X, ephys[:, "ephys2"].layers["jamie_from_rna"]])
    [points] = axes[0].collections
    np.testing.assert_allclose(points.get_offsets(), expected, rtol=1e-6)
    r = np.corrcoef(expected.T)[0, 1]
    assert axes[0].get_title() == f"ephys2\nr = {r:.2f}\n30 cells, trained on"
    assert len(cvi.pl.imputation(imputed, **ROUTE, n_features=3, show=False)) == 3


@pytest.mark.parametrize(
    ("n_features", "ranks"), [(1, [5]), (2, [3, 7]), (3, [2, 5, 7]), (20, [1, 2, 3, 4, 5, 6, 7, 8])]
)
def test_features_are_of_the_whole_ranking_and_say_of_where(imputed, both, n_features, ranks):
    ephys = imputed["ephys"][both]
    r = cvi.metrics.pearson_per_feature(ephys.X, ephys.layers["jamie_from_rna"])
    order = np.argsort(-r)
    axes = np.atleast_1d(cvi.pl.imputation(imputed, **ROUTE, n_features=n_features, show=False))
    titles = [ax.get_title().split("\n")[:2] for ax in axes]
    assert titles == [[f"ephys{j}", f"r = {r[j]:.2f}, rank {rank} of 8"] for rank in ranks for j in [order[rank - 1]]]


@pytest.fixture
def half_fitted(imputed, both):
    """Of the 30 pairs, the last 12 were not trained on; ephys7 is 0 but in two cells, where it is imputed well."""
    mdata = imputed.copy()
    ephys = mdata["ephys"]
    ephys.obs["jamie_from_rna_fitted"] = ephys.obs_names.isin(both[:18])
    for x in (ephys.X, ephys.layers["jamie_from_rna"]):
        x[ephys.obs_names.get_indexer(both), 7] = 0
        x[ephys.obs_names.get_indexer(both[-2:]), 7] = 1
    return mdata


def test_held_out_cells_are_shown_if_there_are_some(half_fitted, both):
    ax = cvi.pl.imputation(half_fitted, **ROUTE, features="ephys2", show=False)
    held_out = half_fitted["ephys"][both[18:], "ephys2"]
    expected = np.column_stack([held_out.X, held_out.layers["jamie_from_rna"]])
    np.testing.assert_allclose(ax.collections[0].get_offsets(), expected, rtol=1e-6)
    assert ax.get_title() == f"ephys2\nr = {np.corrcoef(expected.T)[0, 1]:.2f}\n12 cells, held out"
    some = cvi.pl.imputation(half_fitted, **ROUTE, features="ephys2", cells=both[10:20], show=False)
    assert some.get_title().endswith("10 cells, 8 trained on")
    assert len(some.collections[0].get_offsets()) == 10


def test_a_feature_that_differs_in_two_cells_is_not_chosen(half_fitted, both):
    axes = cvi.pl.imputation(half_fitted, **ROUTE, n_features=20, show=False)
    assert "ephys7" not in {ax.get_title().split("\n")[0] for ax in axes}
    assert len(axes) == 7
    asked = cvi.pl.imputation(half_fitted, **ROUTE, features="ephys7", show=False)
    assert asked.get_title().startswith("ephys7\nr = 1.00\nAUROC 1.00\n")
    with pytest.raises(
        ValueError, match="a feature that differs from its median in 3 cells, found none over the 2 cells"
    ):
        cvi.pl.imputation(half_fitted, **ROUTE, cells=both[:2])


def test_what_was_trained_on_is_said_to_be_unknown_if_it_is(imputed):
    mdata = imputed.copy()
    del mdata["ephys"].obs["jamie_from_rna_fitted"]
    ax = cvi.pl.imputation(mdata, **ROUTE, features="ephys1", show=False)
    assert ax.get_title().endswith("\n30 cells, perhaps trained on")


def test_titles_do_not_overlap(half_fitted, both, overlapping):
    axes = cvi.pl.imputation(half_fitted, **ROUTE, n_features=6, cells=both, show=False)
    assert not overlapping(*(ax.title for ax in axes))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"source": "ephys", "target": "rna"}, KeyError, "Run `cvi.tl.impute"),
        ({**ROUTE, "layer": "no"}, KeyError, "layers\\['no'\\]"),
        ({**ROUTE, "features": ["no"]}, KeyError, "unknown ones"),
        ({**ROUTE, "n_features": 0}, ValueError, "`n_features` to be a whole number of at least 1"),
    ],
)
def test_bad_input(imputed, arguments, error, message):
    with pytest.raises(error, match=message):
        cvi.pl.imputation(imputed, **arguments)


def test_cells_measured_in_both_are_needed(imputed):
    mdata = imputed.copy()
    mdata["ephys"].layers["jamie_from_rna"][:] = np.nan
    with pytest.raises(ValueError, match="cells measured in 'rna' and 'ephys'"):
        cvi.pl.imputation(mdata, **ROUTE)


def test_one_name_is_enough(imputed):
    axes = cvi.pl.imputation(imputed, **ROUTE, features="ephys1", show=False)
    assert axes.get_title().startswith("ephys1")


def test_open_and_closed_cells_are_apart(opened, both, overlapping):
    axes = cvi.pl.imputation(opened, **ROUTE, features=["ephys0", "ephys1", "ephys2"], show=False)
    ephys = opened["ephys"][both]
    for j, ax in enumerate(axes[:2]):
        is_open, values = ephys.X[:, j] > 0, ephys.layers["jamie_from_rna"][:, j]
        closed, others = (np.asarray(c.get_offsets()) for c in ax.collections)
        np.testing.assert_allclose(closed[:, 1], values[~is_open], rtol=1e-6)
        np.testing.assert_allclose(others[:, 1], values[is_open], rtol=1e-6)
        assert closed[:, 0].max() < 0.5 < others[:, 0].min()
        assert len(np.unique(closed[:, 0])) == len(closed)  # not on top of each other
        lines = [np.asarray(line.get_ydata()).ravel() for line in ax.lines if line.get_color() == "black"]
        flat = [y[0] for y in lines if len(y) == 2 and y[0] == y[1]]
        for part in (values[is_open], values[~is_open]):
            assert np.isclose(flat, np.median(part), rtol=1e-5).any()
        ticks = [label.get_text() for label in ax.get_xticklabels()]
        assert ticks == [f"0\n{(~is_open).sum()} cells", f"above 0\n{is_open.sum()} cells"]
        better = (values[is_open][:, None] > values[~is_open]).mean()
        assert f"\nAUROC {better:.2f}\n" in ax.get_title()
        assert not overlapping(ax.title, ax.xaxis.label, *ax.get_xticklabels())
    assert len(axes[2].collections) == 1
    assert "AUROC" not in axes[2].get_title()


def test_a_feature_that_is_open_everywhere_is_no_split(opened):
    opened["ephys"].X[:, 0] = 1
    ax = cvi.pl.imputation(opened, **ROUTE, features="ephys0", show=False)
    assert len(ax.collections) == 1
