import numpy as np
import pytest

import couplevi as cvi

ROUTE = {"source": "rna", "target": "ephys"}
TYPES = {"labels": "cell_type"}


def test_the_quartiles_are_drawn(imputed, both):
    axes = cvi.pl.feature_by_type(imputed, **ROUTE, **TYPES, features=["ephys3", "ephys0"], show=False)
    assert [ax.get_title().split("\n")[0] for ax in axes] == ["ephys3", "ephys0"]
    assert [t.get_text() for t in axes[0].get_xticklabels()] == ["A", "B", "C"]
    ephys = imputed["ephys"][both, "ephys3"]
    types = imputed.obs.loc[both, "cell_type"].astype(str).to_numpy()
    medians = [np.median(x[types == t]) for x in (ephys.X, ephys.layers["jamie_from_rna"]) for t in "ABC"]
    lines = [line.get_ydata() for line in axes[0].lines if line.get_color() == "black"]
    drawn = [y[0] for y in lines if len(y) == 2 and y[0] == y[1]]
    for median in medians:
        assert np.isclose(drawn, median, rtol=1e-5).any()
    assert [t.get_text() for t in axes[1].get_legend().get_texts()] == ["measured", "imputed"]


def test_types_come_in_their_order_and_cells_are_told(imputed, both):
    mdata = imputed.copy()
    mdata.obs["cell_type"] = mdata.obs["cell_type"].cat.set_categories(["C", "absent", "A", "B"])
    ephys = mdata["ephys"]
    ephys.obs["jamie_from_rna_fitted"] = ephys.obs_names.isin(both[:9])
    ax = cvi.pl.feature_by_type(mdata, **ROUTE, **TYPES, features="ephys0", show=False)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["C", "A", "B"]
    assert ax.get_title().endswith("\n21 cells, held out")


def test_titles_of_few_types_do_not_overlap(imputed, overlapping):
    mdata = imputed.copy()
    mdata.obs["one"] = "A"
    mdata["ephys"].var_names = [f"membrane time constant {name}" for name in mdata["ephys"].var_names]
    features = list(mdata["ephys"].var_names[:3])
    axes = cvi.pl.feature_by_type(mdata, **ROUTE, labels="one", features=features, show=False)
    assert not overlapping(*(ax.title for ax in axes))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": "no", "features": "ephys0"}, "mdata.obs\\['no'\\]"),
        ({**TYPES, "features": "no"}, "unknown ones: \\['no'\\]"),
    ],
)
def test_bad_input(imputed, arguments, message):
    with pytest.raises(KeyError, match=message):
        cvi.pl.feature_by_type(imputed, **ROUTE, **arguments)


def test_features_that_were_not_imputed_are_refused(imputed):
    mdata = imputed.copy()
    mdata["ephys"].layers["jamie_from_rna"][:, 3] = np.nan
    with pytest.raises(ValueError, match="features that were imputed, found others among"):
        cvi.pl.feature_by_type(mdata, **ROUTE, **TYPES, features=["ephys3"])


def test_cells_without_any_label_are_refused(imputed):
    mdata = imputed.copy()
    mdata.obs["none"] = "unknown"
    with pytest.raises(ValueError, match="cells with a label in `mdata.obs\\['none'\\]`"):
        cvi.pl.feature_by_type(mdata, **ROUTE, labels="none", features="ephys0")


def test_of_chromatin_the_means_of_types_are_drawn(opened, both):
    axes = cvi.pl.feature_by_type(opened, **ROUTE, **TYPES, features=["ephys0", "ephys1", "ephys2"], show=False)
    types = opened.obs.loc[both, "cell_type"].astype(str).to_numpy()
    for j, ax in enumerate(axes[:2]):
        ephys = opened["ephys"][both, f"ephys{j}"]
        tables = [np.asarray(x).ravel() for x in (ephys.X, ephys.layers["jamie_from_rna"])]
        heights = [bar.get_height() for bar in ax.patches]
        np.testing.assert_allclose(heights, [x[types == t].mean() for x in tables for t in "ABC"], rtol=1e-4)
        errors = [np.ptp(segment[:, 1]) / 2 for c in ax.collections for segment in c.get_segments()]
        sems = [x[types == t].std(ddof=1) / np.sqrt((types == t).sum()) for x in tables for t in "ABC"]
        np.testing.assert_allclose(errors, sems, rtol=1e-4)
        assert [t.get_text() for t in ax.get_xticklabels()] == ["A", "B", "C"]
        assert ax.get_ylabel() == "mean, with its standard error"
    assert axes[2].get_ylabel() == "value"
    assert [t.get_text() for t in axes[2].get_legend().get_texts()] == ["measured", "imputed"]
    alone = cvi.pl.feature_by_type(opened, **ROUTE, **TYPES, features="ephys1", show=False)
    assert [t.get_text() for t in alone.get_legend().get_texts()] == ["measured", "imputed"]
