import numpy as np
import pandas as pd
import pytest
import shap
import torch

import couplevi as cvi
from couplevi.tl._route import find_route

ROUTE = {"source": "rna", "target": "ephys"}


@pytest.fixture
def data(fitted):
    model, mdata = fitted
    return model, mdata.copy()


@pytest.fixture(scope="module")
def reduced(quick):
    """A model that reads 10 principal components of 150 genes and decodes 12 of 120."""
    mdata = cvi.data.branching_manifold(n_obs=80, n_features={"rna": 150, "ephys": 120}, seed=3)
    layers = {"rna": "log1p"}
    n_pcs = {"rna": 10, "ephys": 12}
    model = cvi.tl.jamie(
        mdata, modalities=("rna", "ephys"), layers=layers, n_pcs=n_pcs, seed=0, train_kwargs=quick | {"max_epochs": 20}
    )
    return model, mdata


def completeness_error(explanation, imputed):
    """Error of the sums relative to the mean difference from the base value."""
    sums = explanation.values.sum(axis=1) + explanation.base_values
    return np.abs(sums - imputed).mean() / np.abs(imputed - explanation.base_values).mean()


def test_agrees_with_shap_gradient_explainer_at_many_samples(reduced):
    model, mdata = reduced
    cells = mdata.obs_names[:1]
    ours = cvi.tl.explain(mdata, model, **ROUTE, targets=["ephys0", "ephys7"], cells=cells)
    route = find_route(mdata, model, "rna", "ephys", ["ephys0", "ephys7"], "jamie")
    x = torch.from_numpy(np.asarray(mdata["rna"].layers["log1p"]))
    theirs = shap.GradientExplainer(route.from_features(), x).shap_values(x[:1], nsamples=20_000, rseed=0)
    r = [np.corrcoef(ours.values[0, :, t], theirs[0, :, t])[0, 1] for t in range(2)]
    assert min(r) > 0.995
    np.testing.assert_allclose(np.abs(ours.values).sum(axis=1), np.abs(theirs).sum(axis=1), rtol=0.05)


def test_values_sum_to_the_imputation_and_more_nodes_bring_it_closer(reduced):
    model, mdata = reduced
    imputed = model.impute(**ROUTE).X
    errors = [
        completeness_error(cvi.tl.explain(mdata, model, **ROUTE, n_nodes=n, progress_bar=False), imputed)
        for n in (1, 3, 8)
    ]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert errors[2] < 0.01


def test_base_values_are_the_mean_imputation_of_the_background(reduced):
    model, mdata = reduced
    names = mdata.obs_names[20:60]
    e = cvi.tl.explain(mdata, model, **ROUTE, cells=mdata.obs_names[:2], background=names)
    imputed = model.impute(**ROUTE, adata=mdata["rna"][names].copy()).X
    np.testing.assert_allclose(e.base_values, np.tile(imputed.mean(axis=0), (2, 1)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(e.data, mdata["rna"].layers["log1p"][:2], rtol=1e-6)


def test_many_targets_through_the_mix_are_few_targets_without_it(reduced):
    """120 targets go through 12 components, 5 targets are decoded one by one."""
    model, mdata = reduced
    cells, names = mdata.obs_names[:2], [f"ephys{j}" for j in (3, 100, 7, 8, 9)]
    everything = cvi.tl.explain(mdata, model, **ROUTE, cells=cells)
    some = cvi.tl.explain(mdata, model, **ROUTE, cells=cells, targets=names)
    np.testing.assert_allclose(some.values, everything.values[:, :, [3, 100, 7, 8, 9]], atol=1e-3, rtol=1e-3)
    assert some.output_names == names


def test_shap_plots_take_a_slice(reduced):
    import matplotlib.pyplot as plt

    model, mdata = reduced
    e = cvi.tl.explain(mdata, model, **ROUTE, targets=["ephys4", "ephys5"], cells=mdata.obs_names[:4])
    one = e[1, :, "ephys5"]
    np.testing.assert_array_equal(one.values, e.values[1, :, 1])
    assert one.base_values == e.base_values[1, 1]
    assert one.feature_names[:2] == ["rna0", "rna1"]
    shap.plots.waterfall(one, show=False)
    assert any("rna" in label.get_text() for label in plt.gca().get_yticklabels())
    shap.plots.beeswarm(e[:, :, "ephys4"], show=False)
    shap.plots.bar(e[:, :, 0], show=False)
    plt.close("all")


def test_mean_absolute_values_are_those_of_all_values_and_are_written(reduced):
    model, mdata = reduced
    mdata = mdata.copy()
    cells, names = mdata.obs_names[5:15], ["ephys9", "ephys2"]
    e = cvi.tl.explain(mdata, model, **ROUTE, cells=cells, targets=names)
    slot = mdata["ephys"].varm["jamie_shap_from_rna"]
    assert slot.shape == (120, 150)
    np.testing.assert_allclose(slot[[9, 2]], np.abs(e.values).mean(axis=0).T, rtol=1e-5)
    assert np.isnan(np.delete(slot, [9, 2], axis=0)).all()
    table = cvi.tl.explain(mdata, model, **ROUTE, cells=cells, targets=names, aggregate="mean_abs", key_added="other")
    np.testing.assert_allclose(table.values.T, slot[[9, 2]], rtol=1e-5)
    np.testing.assert_array_equal(mdata["ephys"].varm["other_shap_from_rna"], slot)
    assert table[:, "ephys2"].feature_names[0] == "rna0"


@pytest.mark.parametrize("target", ["ephys", "latent"])
def test_the_direction_is_the_correlation_of_features_with_their_values(reduced, target):
    model, mdata = reduced
    mdata = mdata.copy()
    cells = mdata.obs_names[3:23]
    route = {"source": "rna", "target": target, "cells": cells, "progress_bar": False}
    e = cvi.tl.explain(mdata, model, **route)
    place, slot = ("ephys", "direction_from_rna") if target == "ephys" else ("rna", "direction_to_latent")
    found = mdata[place].varm[f"jamie_shap_{slot}"]
    found = found.T if target == "ephys" else found
    x = e.data
    with np.errstate(invalid="ignore"):
        r = [[np.corrcoef(x[:, j], e.values[:, j, t])[0, 1] for t in range(found.shape[1])] for j in range(150)]
    varies = np.ptp(x, axis=0) > 0
    np.testing.assert_allclose(found[varies], np.array(r)[varies], atol=1e-3)
    assert np.isnan(found[~varies]).all()
    assert (found[varies] < -0.5).any()
    assert (found[varies] > 0.5).any()
    cvi.tl.explain(mdata, model, **route, aggregate="mean_abs", key_added="other")
    np.testing.assert_allclose(mdata[place].varm[f"other_shap_{slot}"], mdata[place].varm[f"jamie_shap_{slot}"])


def test_a_single_cell_has_no_direction(data):
    model, mdata = data
    cvi.tl.explain(mdata, model, **ROUTE, cells=mdata["rna"].obs_names[:1], progress_bar=False)
    assert np.isnan(mdata["ephys"].varm["jamie_shap_direction_from_rna"]).all()


def test_a_cell_does_not_depend_on_the_others_explained_or_their_order(reduced):
    model, mdata = reduced
    names = mdata.obs_names[[7, 3, 11]]
    e = cvi.tl.explain(mdata, model, **ROUTE, cells=names, targets=["ephys0"])
    alone = cvi.tl.explain(mdata, model, **ROUTE, cells=[names[1]], targets=["ephys0"])
    np.testing.assert_array_equal(e.values[1], alone.values[0])


def test_sparse_data_and_features_in_another_order(data):
    import scipy.sparse as sp

    model, mdata = data
    cells = mdata["rna"].obs_names[:3]
    e = cvi.tl.explain(mdata, model, **ROUTE, cells=cells)
    other = mdata.copy()
    other["rna"].layers["log1p"] = sp.csr_matrix(other["rna"].layers["log1p"])
    np.testing.assert_allclose(cvi.tl.explain(other, model, **ROUTE, cells=cells).values, e.values, atol=1e-4)
    import mudata as md

    flipped = md.MuData({"rna": mdata["rna"][:, ::-1].copy(), "ephys": mdata["ephys"][:, ::-1].copy()})
    again = cvi.tl.explain(flipped, model, **ROUTE, cells=cells)
    np.testing.assert_allclose(again.values, e.values, atol=1e-4)  # in the order of the model
    np.testing.assert_allclose(
        flipped["ephys"].varm["jamie_shap_from_rna"][::-1], mdata["ephys"].varm["jamie_shap_from_rna"], rtol=1e-3
    )


def test_permutation_sums_exactly_and_leaves_the_random_state_alone(data):
    model, mdata = data
    cells = mdata["rna"].obs_names[:3]
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    e = cvi.tl.explain(mdata, model, **ROUTE, cells=cells, method="permutation", targets=["ephys1", "ephys6"])
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    imputed = model.impute(**ROUTE, adata=mdata["rna"][cells].copy()).X[:, [1, 6]]
    assert completeness_error(e, imputed) < 1e-3
    again = cvi.tl.explain(mdata, model, **ROUTE, cells=cells[1:], method="permutation", targets=["ephys1"])
    np.testing.assert_array_equal(again.values[:, :, 0], e.values[1:, :, 0])
    gradient = cvi.tl.explain(mdata, model, **ROUTE, cells=cells, targets=["ephys1", "ephys6"])
    orders = [
        cvi.tl.explain(
            mdata, model, **ROUTE, cells=cells, method="permutation", targets=["ephys1", "ephys6"], seed=seed
        ).values
        for seed in range(4)
    ]
    assert np.corrcoef(gradient.values.ravel(), np.mean(orders, axis=0).ravel())[0, 1] > 0.95


@pytest.mark.parametrize("n_pcs", [None, 6])
def test_deep_sums_for_a_model_without_layer_normalisation(mdata, quick, n_pcs):
    kwargs = {"normalization": "batch", "activation": "leaky_relu", "n_pcs": {"rna": n_pcs}}
    model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), seed=0, train_kwargs=quick, **kwargs)
    cells = mdata["rna"].obs_names[:4]
    e = cvi.tl.explain(mdata, model, **ROUTE, cells=cells, method="deep")
    assert completeness_error(e, model.impute(**ROUTE, adata=mdata["rna"][cells].copy()).X) < 1e-3


def test_deep_sums_far_from_zero(mdata, quick):
    mdata["rna"].X = mdata["rna"].X + 1000
    model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), seed=0, train_kwargs=quick, normalization="batch")
    cells = mdata["rna"].obs_names[:4]
    e = cvi.tl.explain(mdata, model, **ROUTE, cells=cells, method="deep")
    assert completeness_error(e, model.impute(**ROUTE, adata=mdata["rna"][cells].copy()).X) < 0.01


def test_deep_refuses_layer_normalisation(data):
    model, mdata = data
    with pytest.raises(ValueError, match='found layer normalisation. Use `method="gradient"`'):
        cvi.tl.explain(mdata, model, **ROUTE, method="deep")


def test_latent_is_explained_beside_the_source(data):
    model, mdata = data
    e = cvi.tl.explain(mdata, model, source="rna", target="latent", targets=["0", "31"])
    z = model.get_latent_representation(modality="rna")[:, [0, 31]]
    assert completeness_error(e, z) < 0.02
    slot = mdata["rna"].varm["jamie_shap_to_latent"]
    np.testing.assert_allclose(slot[:, [0, 31]], np.abs(e.values).mean(axis=0), rtol=1e-5)
    assert np.isnan(slot[:, 1:31]).all()


def test_label_probabilities_are_explained(data):
    model, mdata = data
    cvi.tl.predict_labels(mdata, model, labels="cell_type")
    e = cvi.tl.explain(mdata, model, source="rna", target="cell_type", n_nodes=24)
    assert e.output_names == ["A", "B", "C"]
    sums = e.values.sum(axis=1) + e.base_values
    np.testing.assert_allclose(sums.sum(axis=1), 1, atol=1e-4)
    only = mdata["rna"].obs_names.difference(mdata["ephys"].obs_names)  # their latent is that of the rna alone
    probability = pd.DataFrame(mdata.obsm["jamie_cell_type"], mdata.obs_names).loc[only]
    rows = mdata["rna"].obs_names.get_indexer(only)
    np.testing.assert_allclose(sums[rows], probability, atol=0.02)
    assert mdata["rna"].varm["jamie_shap_to_cell_type"].shape == (30, 3)


def test_two_labels_have_opposite_values(data):
    model, mdata = data
    mdata.obs["is_a"] = mdata.obs["cell_type"].astype(str).where(mdata.obs["cell_type"] == "A", "other")
    cvi.tl.predict_labels(mdata, model, labels="is_a")
    e = cvi.tl.explain(mdata, model, source="ephys", target="is_a")
    np.testing.assert_allclose(e.values[:, :, 0], -e.values[:, :, 1], atol=1e-5)


def test_a_representation_has_no_slot(mdata, quick):
    mdata["ephys"].obsm["X_pca"] = mdata["ephys"].X[:, :3].copy()
    model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), use_rep={"ephys": "X_pca"}, train_kwargs=quick)
    e = cvi.tl.explain(mdata, model, **ROUTE)
    assert e.output_names == ["X_pca_0", "X_pca_1", "X_pca_2"]
    assert not mdata["ephys"].varm


def test_large_data_have_a_drawn_background(data, monkeypatch):
    model, mdata = data
    monkeypatch.setattr("couplevi.tl._explain.MAX_FULL_BACKGROUND", 10)
    monkeypatch.setattr("couplevi.tl._explain.N_BACKGROUND", {"gradient": 5})
    drawn = mdata["rna"].obs_names[np.sort(np.random.default_rng(3).choice(mdata["rna"].n_obs, 5, replace=False))]
    e = cvi.tl.explain(mdata, model, **ROUTE, cells=mdata["rna"].obs_names[:2], seed=3)
    named = cvi.tl.explain(mdata, model, **ROUTE, cells=mdata["rna"].obs_names[:2], background=drawn)
    np.testing.assert_array_equal(e.values, named.values)


@pytest.mark.parametrize("method", ["gradient", "permutation"])
def test_the_number_of_cells_drawn_for_the_background(data, method):
    model, mdata = data
    n_obs, options = mdata["rna"].n_obs, {"cells": mdata["rna"].obs_names[:2], "targets": ["ephys1"], "method": method}
    drawn = mdata["rna"].obs_names[np.sort(np.random.default_rng(3).choice(n_obs, 6, replace=False))]
    e = cvi.tl.explain(mdata, model, **ROUTE, **options, n_background=6, seed=3)
    named = cvi.tl.explain(mdata, model, **ROUTE, **options, background=drawn, seed=3)
    np.testing.assert_array_equal(e.values, named.values)
    other = cvi.tl.explain(mdata, model, **ROUTE, **options, n_background=6, seed=4)
    assert np.abs(other.base_values - e.base_values).min() > 0
    everything = cvi.tl.explain(mdata, model, **ROUTE, **options, n_background=n_obs + 1, seed=3)
    default = cvi.tl.explain(mdata, model, **ROUTE, **options, seed=3)
    np.testing.assert_array_equal(everything.values, default.values)


def test_no_gradient_and_no_hook_is_left_in_the_model(data):
    model, mdata = data
    gradients = [None if p.grad is None else p.grad.clone() for p in model.module.parameters()]
    before = {name: p.clone() for name, p in model.module.state_dict().items()}
    cvi.tl.explain(mdata, model, **ROUTE, cells=mdata["rna"].obs_names[:2])
    for p, gradient in zip(model.module.parameters(), gradients, strict=True):
        assert p.requires_grad
        assert (p.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(p.grad, gradient)
    assert not any(part._forward_hooks for part in model.module.modules())
    for name, value in model.module.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"source": "rna", "target": "rna"}, ValueError, "`target` to differ from `source`, found 'rna'"),
        ({"source": "nope", "target": "rna"}, ValueError, "`source` to be one of"),
        ({"source": "rna", "target": "nope"}, KeyError, "\\['ephys', 'latent'\\], found 'nope'.*predict_labels"),
        ({"targets": ["ephys0", "nope"]}, KeyError, "outputs of 'ephys', such as .* unknown ones: \\['nope'\\]"),
        ({"targets": ["ephys0", "ephys0"]}, ValueError, "outputs of 'ephys' once, found \\['ephys0'\\] more than once"),
        ({"cells": [True, False]}, KeyError, "Pass names, not positions or a mask"),
        ({"targets": []}, ValueError, "at least one of the outputs of 'ephys', found none"),
        ({"cells": ["nope"]}, KeyError, "cells of 'rna'.*\\['nope'\\]"),
        ({"background": ["nope"]}, KeyError, "cells of 'rna'.*\\['nope'\\]"),
        ({"method": "lime"}, ValueError, "`method` to be one of"),
        ({"aggregate": "sum"}, ValueError, "`aggregate` to be one of"),
        ({"n_nodes": 0}, ValueError, "`n_nodes` to be a whole number of at least 1"),
        ({"n_background": 1}, ValueError, "`n_background` to be a whole number of at least 2, found 1"),
        ({"n_background": 2.0}, ValueError, "`n_background` to be a whole number of at least 2, found 2.0"),
        (
            {"n_background": 2, "background": ["cell0"]},
            ValueError,
            "one of `background` and `n_background`, found both.*leave out one",
        ),
    ],
)
def test_bad_input(data, arguments, error, message):
    model, mdata = data
    with pytest.raises(error, match=message):
        cvi.tl.explain(mdata, model, **(ROUTE | arguments))


def test_a_background_of_one_cell_is_refused(data):
    model, mdata = data
    with pytest.raises(ValueError, match="a `background` of at least 2 cells, found 1"):
        cvi.tl.explain(mdata, model, **ROUTE, background=[mdata["rna"].obs_names[0]])


def test_more_than_fits_is_refused_with_the_remedy(data, monkeypatch):
    model, mdata = data
    monkeypatch.setattr("couplevi.tl._explain.MAX_ARRAY_BYTES", 1000)
    with pytest.raises(ValueError, match='found 45 cells x 30 features x 8 targets. Pass `aggregate="mean_abs"`'):
        cvi.tl.explain(mdata, model, **ROUTE)


def test_a_model_must_be_trained(mdata):
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"))
    with pytest.raises(RuntimeError, match="trained"):
        cvi.tl.explain(mdata, cvi.model.JAMIE(mdata), **ROUTE)


def test_nothing_but_a_mudata(fitted):
    with pytest.raises(TypeError, match="a MuData"):
        cvi.tl.explain(fitted[1]["rna"], fitted[0], **ROUTE)
