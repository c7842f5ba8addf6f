import numpy as np
import pandas as pd
import pytest

import couplevi as cvi


def pair(n=100, seed=0):
    rng = np.random.default_rng(seed)
    x = pd.Series(rng.normal(size=n), [f"g{i}" for i in range(n)])
    return x, 0.5 * x + rng.normal(size=n)


def named(ax):
    return [text for text in ax.texts if text.get_text()]


def test_features_are_matched_by_name():
    x, y = pair()
    y["only measured"], x["missing"], y["missing"], x["infinite"], y["infinite"] = 9.0, np.nan, 1.0, 9.0, np.inf
    ax = cvi.pl.shift(x, y.sample(frac=1, random_state=0), n_labels=0, show=False)
    shown = np.asarray(ax.collections[0].get_offsets())
    np.testing.assert_allclose(shown, np.column_stack([x.iloc[:100], y.iloc[:100]]))
    assert ax.get_title() == f"r = {np.corrcoef(x.iloc[:100], y.iloc[:100])[0, 1]:.3f}, 100 features"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted shift", "measured shift")
    assert not named(ax)


def test_the_line_is_that_of_equality():
    ax = cvi.pl.shift(*pair(), names=("sum of both", "A+B"), show=False)
    [line] = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert (line.get_slope(), tuple(line.get_xy1())) == (1, (0, 0))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("sum of both shift", "A+B shift")


def test_those_furthest_from_zero_in_either_are_named(overlapping):
    x, y = pair()
    x["g3"], y["g4"], x["g5"], y["g6"] = 10.0, -11.0, -12.0, 13.0
    ax = cvi.pl.shift(x, y, n_labels=4, show=False)
    assert [text.get_text() for text in named(ax)] == ["g6", "g5", "g4", "g3"]
    np.testing.assert_allclose([text.xy for text in named(ax)], [(x[g], y[g]) for g in ("g6", "g5", "g4", "g3")])
    assert not overlapping(*named(ax))


def test_names_in_a_crowd_do_not_overlap(overlapping):
    x, y = (s.rename(lambda g: f"{g} with a long name") for s in pair(300))
    ax = cvi.pl.shift(x / 100 + (x.index == "g0 with a long name"), y / 100, n_labels=20, show=False)
    assert len(named(ax)) > 8
    assert not overlapping(*named(ax))


def test_what_does_not_vary_has_no_correlation():
    x, y = pair(10)
    assert cvi.pl.shift(x * 0, y, show=False).get_title() == "r undefined, 10 features"


def test_a_prediction_of_the_model(screened):
    model, _ = screened
    predicted = model.predict_combination(["gene0", "gene1"])
    measured = model.rank_genes("gene0+gene1").set_index("gene")["delta"]
    ax = cvi.pl.shift(predicted, measured, show=False)
    r = np.corrcoef(predicted, measured[predicted.index])[0, 1]
    assert r > 0.5
    assert ax.get_title() == f"r = {r:.3f}, 300 features"


@pytest.mark.parametrize(
    ("predicted", "measured", "options", "error", "message"),
    [
        (pair()[0].to_numpy(), pair()[1], {}, TypeError, "`predicted` to be a Series by feature, found ndarray"),
        (pair()[0], pair()[1].to_frame(), {}, TypeError, "`measured` to be a Series"),
        (pair()[0], pair()[1].rename({"g1": "g0"}), {}, ValueError, r"each feature of `measured` once, found \['g0'\]"),
        (pair()[0], pair()[1][:2], {}, ValueError, "at least 3 features with both shifts, found 2"),
        (*pair(), {"n_labels": -1}, ValueError, "`n_labels`"),
    ],
)
def test_bad_input(predicted, measured, options, error, message):
    with pytest.raises(error, match=message):
        cvi.pl.shift(predicted, measured, **options)
