import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.sparse as sp
from matplotlib.figure import Figure

import couplevi as cvi


@pytest.fixture(scope="module")
def placed(fitted):
    model, mdata = fitted
    mdata = mdata.copy()
    cvi.tl.impute(mdata, model, source="rna", target="ephys")
    cvi.tl.umap(mdata)
    return mdata


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def offsets(ax):
    return np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections if len(c.get_offsets())])


def test_latent_shows_each_modality_and_both_on_equal_axes(placed):
    axes = cvi.pl.latent(placed, color="cell_type", show=False)
    assert [ax.get_title() for ax in axes] == ["rna", "ephys", "both"]
    for ax, m in zip(axes, ("rna", "ephys"), strict=False):
        np.testing.assert_allclose(offsets(ax), placed[m].obsm["X_jamie_umap"], rtol=1e-6)
    assert len(offsets(axes[2])) == placed["rna"].n_obs + placed["ephys"].n_obs
    assert len({ax.get_xlim() for ax in axes}) == 1


def test_latent_gives_a_category_one_colour_in_all_panels(placed):
    axes = cvi.pl.latent(placed, color="cell_type", show=False)
    colors = []
    for ax, m in zip(axes, ("rna", "ephys"), strict=False):
        points = next(c for c in ax.collections if len(c.get_offsets()) == placed[m].n_obs)
        labels = placed.obs["cell_type"].reindex(placed[m].obs_names)
        colors.append({label: tuple(points.get_facecolor()[i]) for i, label in enumerate(labels)})
    assert colors[0] == colors[1]
    assert len(set(colors[0].values())) == 3


def test_latent_by_number_and_without_colour(placed):
    figure = cvi.pl.latent(placed, color="pseudotime", return_fig=True)
    assert isinstance(figure, Figure)
    assert any(ax.get_ylabel() == "pseudotime" for ax in figure.axes)
    assert cvi.pl.latent(placed, show=False)[0].get_legend() is None


def test_latent_shows_missing_labels_in_grey(placed):
    mdata = placed.copy()
    mdata.obs["label"] = mdata.obs["cell_type"].astype(object).where(mdata.obs["cell_type"] != "A")
    ax = cvi.pl.latent(mdata, color="label", show=False)[0]
    grey = ax.collections[0]
    n_missing = int(mdata.obs["label"].reindex(mdata["rna"].obs_names).isna().sum())
    assert len(grey.get_offsets()) == n_missing > 0


def test_losses_draws_the_history(fitted):
    model, _ = fitted
    axes = cvi.pl.losses(model, terms=["loss", "kl"], show=False)
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), model.history["train_loss"]["train_loss"])
    assert axes[1].get_title() == "kl"
    shown = {ax.get_title() for ax in cvi.pl.losses(model, show=False)}
    assert "alignment" not in shown  # zero throughout
    assert {"loss", "combination", "contrastive"} <= shown


def test_imputation_draws_measured_against_imputed(placed):
    axes = cvi.pl.imputation(placed, source="rna", target="ephys", features=["ephys2", "ephys0"], show=False)
    ephys = placed["ephys"]
    both = ephys.obs_names.isin(placed["rna"].obs_names)
    expected = np.column_stack([ephys[both, "ephys2"].X, ephys[both, "ephys2"].layers["jamie_from_rna"]])
    np.testing.assert_allclose(offsets(axes[0]), expected, rtol=1e-6)
    r = np.corrcoef(expected.T)[0, 1]
    assert axes[0].get_title() == f"ephys2\nr = {r:.2f}"
    assert len(cvi.pl.imputation(placed, source="rna", target="ephys", n_features=3, show=False)) == 3


def test_figures_are_saved_and_take_axes(placed, tmp_path):
    cvi.pl.latent(placed, save=tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000
    _, ax = plt.subplots()
    assert cvi.pl.imputation(placed, source="rna", target="ephys", features=["ephys0"], ax=ax, show=False) is ax
    before = len(plt.get_fignums())
    cvi.pl.losses(None or _history(), terms=["loss"], ax=ax, show=False)
    assert len(plt.get_fignums()) == before


def _history():
    import pandas as pd

    class Model:
        history = {"train_loss": pd.DataFrame({"train_loss": [1.0]})}

    return Model()


def test_nothing_is_shown_without_a_window(placed):
    assert cvi.pl.latent(placed) is None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: cvi.pl.latent(m, color="nope"), KeyError, "mdata.obs\\['nope'\\]"),
        (lambda m: cvi.pl.latent(m, modalities=["nope"]), KeyError, "one of \\['rna', 'ephys'\\]"),
        (lambda m: cvi.pl.latent(m, key="other"), KeyError, "Run `cvi.tl.umap"),
        (lambda m: cvi.pl.latent(m, ax=plt.subplots()[1]), ValueError, "3 axes in `ax`"),
        (lambda m: cvi.pl.imputation(m, source="ephys", target="rna"), KeyError, "Run `cvi.tl.impute"),
        (lambda m: cvi.pl.imputation(m, source="rna", target="ephys", layer="no"), KeyError, "layers\\['no'\\]"),
        (lambda m: cvi.pl.imputation(m, source="rna", target="ephys", features=["no"]), KeyError, "unknown ones"),
    ],
)
def test_bad_input(placed, call, error, message):
    with pytest.raises(error, match=message):
        call(placed)


def test_imputation_needs_cells_measured_in_both(placed):
    mdata = placed.copy()
    mdata["ephys"].layers["jamie_from_rna"][:] = np.nan
    with pytest.raises(ValueError, match="cells measured in 'rna' and 'ephys'"):
        cvi.pl.imputation(mdata, source="rna", target="ephys")


def test_losses_needs_a_known_term_of_a_trained_model(fitted, mdata):
    with pytest.raises(KeyError, match="a term in `model.history`"):
        cvi.pl.losses(fitted[0], terms=["nope"])
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"))
    with pytest.raises(RuntimeError, match="Call `model.train"):
        cvi.pl.losses(cvi.model.JAMIE(mdata))


def test_nothing_to_show_is_refused_and_one_name_is_enough(placed, fitted):
    with pytest.raises(ValueError, match="something to show, found an empty list"):
        cvi.pl.losses(fitted[0], terms=[], show=False)
    with pytest.raises(ValueError, match="`n_features` to be a whole number of at least 1"):
        cvi.pl.imputation(placed, source="rna", target="ephys", n_features=0)
    assert cvi.pl.losses(fitted[0], terms="combination", show=False).get_title() == "combination"
    axes = cvi.pl.imputation(placed, source="rna", target="ephys", features="ephys1", show=False)
    assert axes.get_title().startswith("ephys1")


def test_no_label_at_all_needs_no_legend(placed):
    mdata = placed.copy()
    mdata.obs["empty"] = None
    assert cvi.pl.latent(mdata, color="empty", show=False)[0].get_legend() is None


@pytest.fixture(scope="module")
def matched():
    mdata = cvi.data.branching_manifold(n_obs=60, n_features={"rna": 30, "ephys": 8}, seed=1)
    n = mdata.n_obs
    f = np.eye(n) * 0.5 + np.eye(n)[np.arange(n) ^ 1] * 0.5
    mdata.obsp["match"] = sp.csr_matrix(f.astype(np.float32))
    mdata.uns["match"] = {"modalities": ["rna", "ephys"]}
    return mdata


def test_match_shows_effective_matches_and_agreement_of_labels(matched):
    axes = cvi.pl.match(matched, labels="cell_type", show=False)
    assert "median 2 of 60" in axes[0].get_title()
    assert sum(bar.get_height() for bar in axes[0].patches) == 60
    labels = matched.obs["cell_type"].astype(str).to_numpy()
    agreement = 0.5 + 0.5 * (labels == labels[np.arange(60) ^ 1]).mean()
    assert axes[1].get_title() == f"{agreement:.1%} within labels"
    share = axes[1].images[0].get_array()
    np.testing.assert_allclose(share.sum(axis=1), 1)
    assert len(np.atleast_1d(cvi.pl.match(matched, show=False))) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"key": "absent"}, KeyError, "cvi.tl.match"),
        ({"labels": "absent"}, KeyError, "column 'absent'"),
    ],
)
def test_match_names_what_is_missing(matched, arguments, error, message):
    with pytest.raises(error, match=message):
        cvi.pl.match(matched, **arguments)


def test_match_without_matches_or_labels_is_refused(matched):
    mdata = matched.copy()
    mdata.obs["none"] = "unknown"
    with pytest.raises(ValueError, match="between labelled cells"):
        cvi.pl.match(mdata, labels="none")
    mdata.obsp["match"] = sp.csr_matrix((60, 60), dtype=np.float32)
    with pytest.raises(ValueError, match="matches in"):
        cvi.pl.match(mdata)
