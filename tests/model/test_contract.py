"""What every model promises, whatever it models."""

import copy
import gc
import weakref

import mudata as md
import numpy as np
import pytest
import scipy.sparse as sp
import torch

import couplevi as cvi

BOTH = ("rna", "atac")
LAYERS = {"rna": "log1p", "atac": "log1p"}
SETTINGS = {"JAMIE": {"n_latent": 4}, "CplMixVAE": {"n_categories": 3, "batch_size": 64}}
TRAIN = {"JAMIE": {}, "CplMixVAE": {"prune": False}}
MODELS = list(SETTINGS)


def fresh(n=80):
    """Cells of which a quarter was measured in each modality alone."""
    mdata = cvi.data.count_clusters(n_obs=n, n_features={"rna": 60, "atac": 40}, seed=1)
    parts = {"rna": mdata["rna"][: 3 * n // 4], "atac": mdata["atac"][n // 4 :]}
    varies = {
        m: np.asarray(part.X.todense() if sp.issparse(part.X) else part.X).std(axis=0) > 0 for m, part in parts.items()
    }
    return md.MuData({m: part[:, varies[m]].copy() for m, part in parts.items()})


def fit(name, mdata, modalities=BOTH, seed=0, epochs=2):
    cls = getattr(cvi.model, name)
    cls.setup_mudata(mdata, modalities=modalities, layers=LAYERS)
    torch.manual_seed(seed)
    model = cls(mdata, **SETTINGS[name])
    model.train(max_epochs=epochs, enable_progress_bar=False, accelerator="cpu", **TRAIN[name])
    return model


def output(model, data=None, modality=None):
    """What a model says of cells: latents, or categories and states."""
    z = model.get_latent_representation(data, modality=modality)
    if isinstance(model, cvi.model.JAMIE):
        return z
    return np.hstack([model.predict_probabilities(data, modality=modality), z])


@pytest.fixture(scope="module", params=MODELS)
def trained(request):
    """A trained model, its name and its data; not to be changed."""
    mdata = fresh()
    return request.param, fit(request.param, mdata), mdata


def test_loaded_model_says_the_same(trained, tmp_path):
    _, model, mdata = trained
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model", adata=mdata, accelerator="cpu")
    np.testing.assert_array_equal(output(loaded), output(model))
    without = type(model).load(tmp_path / "model", adata=False, accelerator="cpu")
    np.testing.assert_allclose(output(without, mdata), output(model), atol=1e-6)


def test_file_of_a_model_holds_no_objects_and_no_cell_names(trained, tmp_path):
    _, model, mdata = trained
    model.save(tmp_path / "model")
    torch.load(tmp_path / "model" / "model.pt", weights_only=True)
    content = (tmp_path / "model" / "model.pt").read_bytes()
    assert mdata.obs_names[0].encode() not in content


@pytest.mark.parametrize("name", MODELS)
def test_seed_decides(name):
    results = [output(fit(name, fresh(), seed=seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.allclose(results[0], results[2], equal_nan=True)


@pytest.mark.parametrize("name", MODELS)
def test_order_of_cells_and_modalities_and_sparsity_do_not_matter(name):
    plain = fresh()
    other = md.MuData({m: plain[m][::-1].copy() for m in BOTH[::-1]})
    for m in BOTH:
        values = plain[m].layers["log1p"]
        plain[m].layers["log1p"] = values.toarray() if sp.issparse(values) else values
        other[m].layers["log1p"] = sp.csr_matrix(other[m].layers["log1p"])
    a, b = output(fit(name, plain)), output(fit(name, other, modalities=BOTH[::-1]))
    np.testing.assert_allclose(a, b[other.obs_names.get_indexer(plain.obs_names)], atol=1e-4)


def test_query_of_one_modality_needs_neither_the_other_nor_the_order_of_features(trained):
    _, model, mdata = trained
    query = mdata["rna"][5:15, ::-1].copy()
    result = output(model, query, "rna")
    np.testing.assert_allclose(result, output(model, mdata["rna"][5:15].copy(), "rna"), atol=1e-5)
    assert set(query.uns) == set(mdata["rna"].uns)


def test_deep_copy_is_independent(trained):
    _, model, _ = trained
    before = output(model)
    other = copy.deepcopy(model)
    np.testing.assert_array_equal(output(other), before)
    with torch.no_grad():
        for p in other.module.parameters():
            p.zero_()
    np.testing.assert_array_equal(output(model), before)


@pytest.mark.parametrize("name", MODELS)
def test_another_set_up_of_the_same_data_leaves_a_model_alone(name):
    mdata = fresh()
    model = fit(name, mdata)
    before = output(model)
    other = "CplMixVAE" if name == "JAMIE" else "JAMIE"
    fit(other, mdata)
    getattr(cvi.model, name).setup_mudata(mdata, modalities=BOTH[::-1], layers={"rna": "log1p"})
    np.testing.assert_array_equal(output(model), before)


def test_all_slots_survive_a_file(tmp_path):
    mdata = fresh()
    quick = {"max_epochs": 2, "enable_progress_bar": False, "accelerator": "cpu"}
    jamie = cvi.tl.jamie(mdata, modalities=BOTH, layers=LAYERS, n_latent=4, train_kwargs=quick)
    cvi.tl.cplmixvae(
        mdata, n_categories=3, modalities=BOTH, layers=LAYERS, batch_size=64, train_kwargs={**quick, "prune": False}
    )
    cvi.tl.impute(mdata, jamie, source="rna", target="atac")
    cvi.tl.match(mdata, modalities=BOTH, layers=LAYERS, known="by_name")
    mdata.write(tmp_path / "all.h5mu")
    back = md.read_h5mu(tmp_path / "all.h5mu")
    for key in mdata.obsm:
        if key.startswith("X_"):
            np.testing.assert_array_equal(back.obsm[key], mdata.obsm[key])
    np.testing.assert_array_equal(back["atac"].layers["jamie_from_rna"], mdata["atac"].layers["jamie_from_rna"])
    assert (back.obsp["match"] != mdata.obsp["match"]).nnz == 0
    assert set(back.uns) == set(mdata.uns)
    np.testing.assert_array_equal(output(fit("JAMIE", back)), output(fit("JAMIE", mdata)))


def test_model_is_freed_with_its_last_reference():
    mdata = fresh()
    for name in MODELS:
        model = fit(name, mdata, epochs=1)
        alive = weakref.ref(model.module)
        del model
        gc.collect()
        assert alive() is None, name


@pytest.mark.parametrize("name", MODELS)
def test_untrained_model_gives_nothing(name):
    mdata = fresh()
    cls = getattr(cvi.model, name)
    cls.setup_mudata(mdata, modalities=BOTH, layers=LAYERS)
    with pytest.raises(RuntimeError, match="untrained"):
        output(cls(mdata, **SETTINGS[name]))


@pytest.mark.parametrize("name", MODELS)
def test_full_disk_leaves_the_old_file(name, tmp_path, monkeypatch):
    mdata = fresh()
    model = fit(name, mdata, epochs=1)
    model.save(tmp_path / "model")
    old = (tmp_path / "model" / "model.pt").read_bytes()
    before = output(model)

    def full(state, path):
        path.write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(OSError, match="No space left"):
            fit(name, mdata, seed=1, epochs=1).save(tmp_path / "model", overwrite=True)
    assert (tmp_path / "model" / "model.pt").read_bytes() == old
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["model.pt"]
    loaded = type(model).load(tmp_path / "model", adata=mdata, accelerator="cpu")
    np.testing.assert_array_equal(output(loaded), before)


def test_scvi_tools_views_work(trained, capsys):
    _, model, _ = trained
    model.view_anndata_setup()
    assert "rna" in capsys.readouterr().out
