"""What every model promises, whatever it models."""

import copy
import gc
import re
import warnings
import weakref
from pathlib import Path

import mudata as md
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from lightning.pytorch.callbacks import Callback
from model_table import BOTH, LAYERS, MODELS, QUICK, Row, assert_same, build, fit, fresh, gives

import couplevi as cvi


class Fail(Callback):
    """An error or an interruption at the end of a batch of an epoch."""

    def __init__(self, error, epoch=0):
        self.error, self.epoch = error, epoch

    def on_train_batch_end(self, trainer, *args):
        if trainer.current_epoch == self.epoch:
            raise self.error


@pytest.fixture(scope="module", params=MODELS)
def trained(request):
    """A trained model, its name and its data; not to be changed."""
    mdata = fresh()
    return request.param, fit(request.param, mdata), mdata


def test_loaded_model_says_the_same(trained, tmp_path):
    _, model, mdata = trained
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model", adata=mdata, accelerator="cpu")
    assert_same(gives(loaded), gives(model))
    without = type(model).load(tmp_path / "model", adata=False, accelerator="cpu")
    assert_same(gives(without, mdata), gives(model), atol=1e-6)


def test_file_of_a_model_holds_no_objects_and_no_cell_names(trained, tmp_path):
    _, model, mdata = trained
    model.save(tmp_path / "model")
    torch.load(tmp_path / "model" / "model.pt", weights_only=True)
    content = (tmp_path / "model" / "model.pt").read_bytes()
    assert mdata.obs_names[0].encode() not in content


@pytest.mark.parametrize("name", MODELS)
def test_seed_decides(name):
    results = [gives(fit(name, fresh(), seed=seed)) for seed in (0, 0, 1)]
    assert_same(results[0], results[1])
    assert not any(np.allclose(results[0][key], results[2][key], equal_nan=True) for key in results[0])


@pytest.mark.parametrize("name", MODELS)
def test_order_of_cells_and_modalities_and_sparsity_do_not_matter(name):
    plain = fresh()
    other = md.MuData({m: plain[m][::-1].copy() for m in BOTH[::-1]})
    other.obs["cell_type"] = plain.obs["cell_type"].reindex(other.obs_names)
    for m in BOTH:
        values = plain[m].layers["log1p"]
        plain[m].layers["log1p"] = values.toarray() if sp.issparse(values) else values
        other[m].layers["log1p"] = sp.csr_matrix(other[m].layers["log1p"])
    models = fit(name, plain), fit(name, other, modalities=BOTH[::-1])
    for m in BOTH:
        assert_same(gives(models[0], plain[m], m), gives(models[1], plain[m], m), atol=1e-4)
    place = other.obs_names.get_indexer(plain.obs_names)
    a, b = (gives(model) for model in models)
    for key in a:
        if np.ndim(a[key]) and len(a[key]) == plain.n_obs:
            np.testing.assert_allclose(a[key], b[key][place], atol=1e-4, err_msg=key)


def test_query_of_one_modality_needs_neither_the_other_nor_the_order_of_features(trained):
    _, model, mdata = trained
    query = mdata["rna"][5:15, ::-1].copy()
    result = gives(model, query, "rna")
    assert_same(result, gives(model, mdata["rna"][5:15].copy(), "rna"), atol=1e-5)
    assert set(query.uns) == set(mdata["rna"].uns)


def test_deep_copy_is_independent(trained):
    _, model, _ = trained
    before = gives(model)
    other = copy.deepcopy(model)
    assert_same(gives(other), before)
    with torch.no_grad():
        for p in other.module.parameters():
            p.zero_()
    assert_same(gives(model), before)


@pytest.mark.parametrize("name", MODELS)
def test_another_set_up_of_the_same_data_leaves_a_model_alone(name):
    mdata = fresh()
    model = fit(name, mdata)
    before = gives(model)
    other = "CplMixVAE" if name == "JAMIE" else "JAMIE"
    fit(other, mdata)
    mdata["atac"].layers["other"] = mdata["atac"].layers["log1p"] / 2
    layers = {"rna": "log1p", "atac": "other"}
    MODELS[name].cls.setup_mudata(mdata, modalities=BOTH[::-1], layers=layers, **MODELS[name].setup)
    assert_same(gives(model), before)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no space left on the device")])
def test_failed_training_leaves_the_model_as_it_was(name, error):
    mdata = fresh()
    model = build(name, mdata)
    weights = {key: value.numpy().copy() for key, value in model.module.state_dict().items()}
    arguments = {**QUICK, **MODELS[name].train, "max_epochs": 3}
    with pytest.raises(type(error)):
        model.train(**arguments, callbacks=[Fail(error)])
    assert not model.is_trained_
    assert model.history is None
    assert model.train_indices is None
    assert not hasattr(model, "trainer")
    assert_same({key: value.numpy() for key, value in model.module.state_dict().items()}, weights)

    model.train(**arguments)
    before, history = gives(model), {key: frame.copy() for key, frame in model.history.items()}
    indices, trainer = model.train_indices, model.trainer
    with pytest.raises(type(error)):
        model.train(**arguments, callbacks=[Fail(error, epoch=1)])
    assert_same(gives(model), before)
    assert model.train_indices is indices
    assert model.trainer is trainer
    assert history.keys() == model.history.keys()
    assert all(frame.equals(model.history[key]) for key, frame in history.items())
    assert not model.module.training


def test_evidence_is_higher_for_the_data_than_for_noise(trained):
    name, model, mdata = trained
    noise = mdata.copy()
    rng = np.random.default_rng(0)
    for m in BOTH:
        values = np.asarray(noise[m].layers["log1p"])
        noise[m].layers["log1p"] = 3 * rng.permuted(values, axis=0) + rng.normal(0, 3, values.shape).astype(np.float32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Values of .* go from")
        if name == "JAE":
            own, other = (model.get_reconstruction_error(data) for data in (mdata, noise))
            assert all(own[m] < other[m] for m in BOTH)
        else:
            assert model.get_elbo(mdata) > model.get_elbo(noise)


def test_all_slots_survive_a_file(tmp_path):
    mdata = fresh()
    quick = {"max_epochs": 2, **QUICK}
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
    assert_same(gives(fit("JAMIE", back)), gives(fit("JAMIE", mdata)))


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
    model = build(name, fresh())
    with pytest.raises(RuntimeError, match="untrained"):
        gives(model)


@pytest.mark.parametrize("name", MODELS)
def test_full_disk_leaves_the_old_file(name, tmp_path, monkeypatch):
    mdata = fresh()
    model = fit(name, mdata, epochs=1)
    model.save(tmp_path / "model")
    old = (tmp_path / "model" / "model.pt").read_bytes()
    before = gives(model)

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
    assert_same(gives(loaded), before)


def test_scvi_tools_views_work(trained, capsys):
    _, model, _ = trained
    model.view_anndata_setup()
    assert "rna" in capsys.readouterr().out


# a model that is written as the documentation says

PAGE = Path(__file__).parents[2] / "docs" / "contributing.md"


@pytest.fixture
def linear(monkeypatch):
    """Name of the model of the page, in the table of models."""
    if not PAGE.is_file():
        pytest.skip("the tests are not in a clone")
    [code] = re.findall(r"```python\n(.*?class Linear\(Model\).*?)```", PAGE.read_text(), re.DOTALL)
    names = {"__name__": "linear"}
    exec(compile(code, PAGE.name, "exec"), names)

    def gives(model, data=None, modality=None):
        modalities = model.modalities_ if modality is None else [modality]
        return {m: model.get_latent_representation(data, modality=m) for m in modalities}

    monkeypatch.setitem(MODELS, "Linear", Row(names["Linear"], {"n_latent": 2}, {}, gives, {}))
    return "Linear"


def test_it_is_saved_and_loaded(linear, tmp_path):
    mdata = fresh()
    trained = linear, fit(linear, mdata), mdata
    test_loaded_model_says_the_same(trained, tmp_path / "a")
    test_file_of_a_model_holds_no_objects_and_no_cell_names(trained, tmp_path / "b")
    test_deep_copy_is_independent(trained)
    test_query_of_one_modality_needs_neither_the_other_nor_the_order_of_features(trained)


def test_its_seed_decides_and_the_order_of_cells_does_not(linear):
    test_seed_decides(linear)
    test_order_of_cells_and_modalities_and_sparsity_do_not_matter(linear)


def test_it_is_left_alone_by_failures(linear, tmp_path, monkeypatch):
    test_failed_training_leaves_the_model_as_it_was(linear, ValueError("stop"))
    test_full_disk_leaves_the_old_file(linear, tmp_path, monkeypatch)
    test_untrained_model_gives_nothing(linear)


def test_it_leaves_others_alone_and_is_freed(linear):
    test_another_set_up_of_the_same_data_leaves_a_model_alone(linear)
    test_model_is_freed_with_its_last_reference()
