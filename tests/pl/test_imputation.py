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
    assert axes[0].get_title() == f"ephys2\nr = {r:.2f}"
    assert len(cvi.pl.imputation(imputed, **ROUTE, n_features=3, show=False)) == 3


def test_the_best_correlated_features_come_first(imputed, both):
    ephys = imputed["ephys"][both]
    r = cvi.metrics.pearson_per_feature(ephys.X, ephys.layers["jamie_from_rna"])
    axes = cvi.pl.imputation(imputed, **ROUTE, n_features=3, show=False)
    assert [ax.get_title().split("\n")[0] for ax in axes] == [f"ephys{j}" for j in np.argsort(-r)[:3]]


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
