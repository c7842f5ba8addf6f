import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Ellipse
from scipy import stats

import couplevi as cvi

STATES = ["gene0", "gene0+gene1", "gene1"]


def of(adata, state):
    return adata.obsm["X_otgm"][(adata.obs["perturbation"] == state).to_numpy()].astype(float)


def ellipses(ax):
    return [patch for patch in ax.patches if isinstance(patch, Ellipse)]


def arrows(ax):
    return [text for text in ax.texts if not text.get_text() and text.arrow_patch.get_mutation_scale() == 9]


def named(ax):
    return [text for text in ax.texts if text.get_text()]


@pytest.fixture(scope="module")
def grouped():
    adata = cvi.data.perturbation_screen(n_obs=240, n_perturbations=2)
    adata.obs["type"] = np.where(np.arange(240) // 2 % 2, "T", "B")
    adata = adata[~((adata.obs["type"] == "B") & (adata.obs["perturbation"] == "gene1"))].copy()
    setup = {"state_key": "perturbation", "control": "control", "layer": "log1p", "group_key": "type"}
    return cvi.tl.otgm(adata, **setup, n_pcs=8), adata


def test_cells_of_the_control_and_of_the_states_are_shown(screened):
    model, adata = screened
    ax = cvi.pl.states(adata, model, states=["gene1"], components=(2, 1), show=False)
    control, own = (np.asarray(c.get_offsets()) for c in ax.collections)
    np.testing.assert_allclose(control, of(adata, "control")[:, [2, 1]], rtol=1e-5)
    np.testing.assert_allclose(np.sort(own, axis=0), np.sort(of(adata, "gene1")[:, [2, 1]], axis=0), rtol=1e-5)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("principal component 3", "principal component 2")
    assert ax.collections[0].get_sizes()[0] < ax.collections[1].get_sizes()[0]


def test_arrows_lead_from_the_mean_of_the_control_to_that_of_each_state(screened):
    model, adata = screened
    ax = cvi.pl.states(adata, model, show=False)
    assert len(arrows(ax)) == 3
    for state, arrow in zip(STATES, arrows(ax), strict=True):
        np.testing.assert_allclose(arrow.xyann, of(adata, "control")[:, :2].mean(axis=0), atol=1e-4)
        np.testing.assert_allclose(arrow.xy, of(adata, state)[:, :2].mean(axis=0), atol=1e-4)


@pytest.mark.parametrize(("level", "components"), [(0.5, (0, 1)), (0.9, (3, 0))])
def test_ellipses_hold_the_share_of_each_gaussian(screened, level, components):
    model, adata = screened
    ax = cvi.pl.states(adata, model, level=level, components=components, show=False)
    assert len(ellipses(ax)) == 4
    for state, ellipse in zip(["control", *STATES], ellipses(ax), strict=True):
        covariance = model.gaussian(state).covariance[np.ix_(components, components)]
        values = np.linalg.eigvalsh(covariance)
        axes = sorted([ellipse.width / 2, ellipse.height / 2])
        np.testing.assert_allclose(np.square(axes), values * -2 * np.log(1 - level), rtol=1e-6)
        np.testing.assert_allclose(ellipse.center, of(adata, state)[:, components].mean(axis=0), atol=1e-4)
        outline = ellipse.get_patch_transform().transform(Ellipse((0, 0), 1, 1).get_path().vertices)
        away = outline - ellipse.center  # on the outline, the distance by the covariance is the same everywhere
        distance = np.einsum("ij,jk,ik->i", away, np.linalg.inv(covariance), away)
        corners = np.isclose(distance, stats.chi2.ppf(level, 2), rtol=1e-3)
        assert corners.sum() >= 4


def test_names_have_the_colour_of_their_state_darker_and_do_not_overlap(screened, overlapping):
    model, adata = screened
    ax = cvi.pl.states(adata, model, show=False)
    assert [text.get_text() for text in named(ax)] == ["control", *STATES]
    assert not overlapping(*named(ax))
    for text, ellipse in zip(named(ax), ellipses(ax), strict=True):
        np.testing.assert_allclose(text.get_color(), 0.75 * np.array(to_rgb(ellipse.get_edgecolor())))
    own = {tuple(np.round(color[:3], 4)) for color in ax.collections[1].get_facecolors()}
    assert own == {tuple(np.round(to_rgb(e.get_edgecolor()), 4)) for e in ellipses(ax)[1:]}


@pytest.fixture(scope="module")
def many():
    adata = cvi.data.perturbation_screen(n_obs=400, n_perturbations=20)
    return cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=8), adata


def test_of_many_states_those_furthest_away_are_shown(many, overlapping):
    model, adata = many
    ax = cvi.pl.states(adata, model, show=False)
    origin = of(adata, "control")[:, :2].mean(axis=0)
    away = {s: np.linalg.norm(of(adata, s)[:, :2].mean(axis=0) - origin) for s in model.states_}
    assert {text.get_text() for text in named(ax)} == {"control", *sorted(away, key=away.get)[-6:]}
    assert not overlapping(*named(ax))


@pytest.mark.parametrize(("n", "n_names"), [(10, 11), (11, 0), (20, 0)])
def test_more_than_ten_states_are_named_in_a_legend(many, n, n_names, overlapping):
    model, adata = many
    states = [s for s in model.states_ if s != "control"][:n]
    ax = cvi.pl.states(adata, model, states=states, show=False)
    assert len(named(ax)) == n_names
    assert not overlapping(*named(ax)) if n_names else True
    colors = [tuple(np.round(to_rgb(e.get_edgecolor()), 4)) for e in ellipses(ax)]
    assert len(set(colors)) == n + 1
    assert all(len(set(color)) > 1 for color in colors[1:])  # grey is the control alone
    if not n_names:
        texts = ax.get_legend().get_texts()
        assert [text.get_text() for text in texts] == ["control", *states]
        lines = [tuple(np.round(to_rgb(line.get_color()), 4)) for line in ax.get_legend().get_lines()]
        assert lines == colors
        assert not overlapping(*texts)


def test_cells_without_a_state_are_not_shown(screened):
    model, adata = screened
    adata = adata.copy()
    adata.obs["perturbation"] = adata.obs["perturbation"].astype(object)
    adata.obs.iloc[:10, 0] = np.nan
    n = (adata.obs["perturbation"] == "control").sum()
    ax = cvi.pl.states(adata, model, show=False)
    assert [len(c.get_offsets()) for c in ax.collections] == [n, 230 - n]


def test_only_cells_of_the_group_are_shown(grouped):
    model, adata = grouped
    for group, states in (("B", ["gene0"]), ("T", ["gene0", "gene1"])):
        ax = cvi.pl.states(adata, model, group=group, show=False)
        assert [text.get_text() for text in named(ax)] == ["control", *states]
        assert ax.get_title() == group
        here = (adata.obs["type"] == group) & (adata.obs["perturbation"] == "control")
        scores = adata.obsm["X_otgm"][here.to_numpy()][:, :2]
        np.testing.assert_allclose(ax.collections[0].get_offsets(), scores, rtol=1e-5)
        at = adata.obsm["X_otgm"][((adata.obs["type"] == group) & (adata.obs["perturbation"] == "gene0")).to_numpy()]
        np.testing.assert_allclose(arrows(ax)[0].xy, at[:, :2].mean(axis=0), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "`group` to be one of"),
        ({"group": "no"}, "`group` to be one of"),
        ({"group": "B", "states": ["gene1"]}, "at least 2 cells of 'gene1' in group 'B'"),
    ],
)
def test_groups_are_refused_as_the_model_does(grouped, options, message):
    model, adata = grouped
    with pytest.raises(ValueError, match=message):
        cvi.pl.states(adata, model, **options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"key": "no"}, KeyError, r"obsm\['X_no'\].*Run `cvi.tl.otgm\(adata, ..., key_added='no'\)`"),
        ({"states": ["control"]}, KeyError, "states of the model besides the control"),
        ({"states": []}, ValueError, "at least one of states"),
        ({"components": (0, 0)}, ValueError, "two different ones from 0 to 7"),
        ({"components": (0, 8)}, ValueError, "two different ones from 0 to 7"),
        ({"components": (0, 1, 2)}, ValueError, "two different ones from 0 to 7"),
        ({"level": 1}, ValueError, "`level`"),
        ({"group": "B"}, ValueError, "`group`"),
    ],
)
def test_bad_input(screened, options, error, message):
    model, adata = screened
    with pytest.raises(error, match=message):
        cvi.pl.states(adata, model, **options)


def test_data_that_are_not_of_the_model(screened):
    model, adata = screened
    is_control = adata.obs["perturbation"] == "control"
    with pytest.raises(ValueError, match="cells of the control 'control', found none"):
        cvi.pl.states(adata[~is_control], model)
    with pytest.raises(ValueError, match="cells of a state besides the control"):
        cvi.pl.states(adata[is_control], model)
    other = adata.copy()
    other.obsm["X_otgm"] = other.obsm["X_otgm"][:, :5]
    with pytest.raises(ValueError, match="8 components of the model, found 5 columns"):
        cvi.pl.states(other, model)
    del other.obs["perturbation"]
    other.obsm["X_otgm"] = adata.obsm["X_otgm"]
    with pytest.raises(KeyError, match="column 'perturbation'"):
        cvi.pl.states(other, model)


def test_states_have_the_colours_of_scanpy(screened):
    model, adata = screened
    adata = adata.copy()
    adata.obs["perturbation"] = adata.obs["perturbation"].astype("category")
    names = list(adata.obs["perturbation"].cat.categories)
    adata.uns["perturbation_colors"] = ["#111111", "#ff0000", "#00ff00", "#0000ff"][: len(names)]
    ax = cvi.pl.states(adata, model, states=names[1:3], show=False)
    assert [to_hex(e.get_edgecolor()) for e in ellipses(ax)[1:]] == ["#ff0000", "#00ff00"]
