"""Cells of a donor that the model was not trained on."""

import mudata as md
import numpy as np
import pytest
import torch

import couplevi as cvi
from couplevi.model._mapping import design_of
from couplevi.model.jae.mapping import frozen_in_mapping
from couplevi.model.jae.training import fit_new_batches

BOTH = ("rna", "atac")
QUICK = {"enable_progress_bar": False, "accelerator": "cpu"}


def donors(n=240):
    """Cells of donors a and b, and, the last third, of c, which has more of some genes."""
    mdata = cvi.data.count_clusters(n_obs=n, n_clusters=3, n_features={"rna": 40, "atac": 30}, seed=2)
    third = np.arange(n) >= 2 * n // 3
    counts = np.asarray(mdata["rna"].X.todense() if hasattr(mdata["rna"].X, "todense") else mdata["rna"].X).copy()
    counts[np.ix_(third, np.arange(8))] *= 2
    mdata["rna"].X = counts.astype(np.float32)
    mdata.obs["donor"] = np.where(third, "c", np.where(np.arange(n) % 2, "a", "b"))
    mdata.obs["dose"] = np.random.default_rng(0).normal(size=n)
    return mdata


def fitted(**kwargs):
    mdata = donors()[:160].copy()
    keys = {"batch_key": "donor", "labels_key": "cell_type", "continuous_covariate_keys": ["dose"]}
    model = cvi.tl.jae(mdata, modalities=BOTH, **keys, seed=0, train_kwargs={"max_epochs": 60, **QUICK}, **kwargs)
    return model, mdata


@pytest.fixture(scope="module")
def reference():
    return fitted()


@pytest.fixture
def query():
    return donors()[160:].copy()


def test_cells_are_placed_and_named_as_by_the_reference(reference, query):
    model, mdata = reference
    mapped = cvi.model.JAE.load_query_data(query, model)
    np.testing.assert_array_equal(mapped.get_latent_representation(mdata), model.get_latent_representation(mdata))
    assert (mapped.predict_labels() == query.obs["cell_type"].astype(str)).mean() > 0.9
    assert not model.mapped_


def test_training_fits_how_the_decoder_reads_the_new_donor_and_nothing_else(reference, query):
    model, mdata = reference
    mapped = cvi.model.JAE.load_query_data(query, model)
    weight = mapped.module.decoder_linear.weight
    a, b, c, _ = weight[:, -4:].T.detach().clone()
    torch.testing.assert_close(c, (a + b) / 2)
    before = mapped.get_reconstruction_error()
    own, places = model.get_reconstruction_error(mdata), model.get_latent_representation(mdata)
    state = {name: value.clone() for name, value in mapped.module.state_dict().items()}
    mapped.train(max_epochs=100, plan_kwargs={"lr": 1e-2}, **QUICK)
    assert mapped.get_reconstruction_error()["rna"] < 0.95 * before["rna"]
    assert mapped.get_reconstruction_error(mdata) == pytest.approx(own, abs=1e-6)
    np.testing.assert_array_equal(mapped.get_latent_representation(mdata), places)
    changed = [name for name, value in mapped.module.state_dict().items() if not torch.equal(value, state[name])]
    assert sorted(changed) == ["decoder.0.weight", "decoder_linear.weight", "shift"]
    assert torch.equal(mapped.module.shift[:2], state["shift"][:2])
    assert not any(map(frozen_in_mapping(mapped.module), changed))
    moved = (mapped.module.decoder_linear.weight - state["decoder_linear.weight"]).abs().amax(dim=0) > 0
    assert moved.tolist() == [False] * (len(moved) - 2) + [True, False]


def test_what_is_fitted_to_a_new_donor_belongs_to_the_places_that_the_reference_gives(reference, query):
    model, _ = reference
    mapped = cvi.model.JAE.load_query_data(query, model)
    mapped.train(max_epochs=40, **QUICK)
    fitted = mapped.module.shift.clone()
    dataset, _ = mapped._training_data(mapped._registered(), fit=False)
    fit_new_batches(mapped.module, dataset, design_of(mapped).added)
    torch.testing.assert_close(mapped.module.shift, fitted)
    assert fitted[2].norm() > 0.1


def test_a_donor_of_one_modality_is_placed_and_fitted(reference, query):
    model, mdata = reference
    alone = md.MuData({"rna": query["rna"].copy()})
    alone.obs = query.obs.loc[alone.obs_names, ["donor", "dose"]]
    mapped = cvi.model.JAE.load_query_data(alone, model)
    before = mapped.get_reconstruction_error()
    mapped.train(max_epochs=60, plan_kwargs={"lr": 1e-2}, **QUICK)
    assert list(before) == ["rna"]
    assert mapped.get_reconstruction_error()["rna"] < before["rna"]
    z = mapped.get_latent_representation()
    np.testing.assert_allclose(mapped.get_latent_representation(query, modality="rna"), z, atol=1e-5)
    mapped.finetune(max_epochs=1, **QUICK)


def test_a_mapped_model_is_saved_loaded_and_mapped_further(reference, query, tmp_path):
    model, _ = reference
    model.save(tmp_path / "reference")
    mapped = cvi.model.JAE.load_query_data(query, tmp_path / "reference")
    mapped.save(tmp_path / "mapped")
    loaded = cvi.model.JAE.load(tmp_path / "mapped", adata=query, accelerator="cpu")
    np.testing.assert_array_equal(loaded.get_latent_representation(), mapped.get_latent_representation())
    further = query.copy()
    further.obs["donor"] = "d"
    again = cvi.model.JAE.load_query_data(further, loaded)
    assert again.reader("rna").design.batches == ("a", "b", "c", "d")


def test_published_blocks_keep_their_size(query):
    model, mdata = fitted(preset="paper", encoder_widths=(16,))
    mapped = cvi.model.JAE.load_query_data(query, model)
    np.testing.assert_array_equal(mapped.get_latent_representation(mdata), model.get_latent_representation(mdata))
    with pytest.raises(ValueError, match="a batch that the reference does not know"):
        mapped.train(max_epochs=1, **QUICK)
    query.obs["donor"] = "d"
    again = cvi.model.JAE.load_query_data(query, mapped)
    np.testing.assert_array_equal(again.get_latent_representation(mdata), model.get_latent_representation(mdata))


def test_without_new_donors_there_is_nothing_to_fit(reference):
    model, mdata = reference
    mapped = cvi.model.JAE.load_query_data(mdata[:50].copy(), model)
    with pytest.raises(ValueError, match=r"a batch that the reference does not know, found batches"):
        mapped.train(max_epochs=1, **QUICK)


def test_finetuning_explains_new_cells_better_and_leaves_what_is_known_of_the_old(reference, query):
    model, _ = reference
    mapped = cvi.model.JAE.load_query_data(query, model)
    before = mapped.get_reconstruction_error()["rna"]
    gain = mapped.module.gain.clone()
    mapped.finetune(max_epochs=20, lr=1e-3, **QUICK)
    assert mapped.get_reconstruction_error()["rna"] < before
    assert torch.equal(mapped.module.gain, gain)
    assert (mapped.predict_labels() == query.obs["cell_type"].astype(str)).mean() > 0.9
    with pytest.raises(ValueError, match=r"categories of column 'donor' .* also .*c.* maps JAMIE and JAE to new ones"):
        model.finetune(query, **QUICK)


def test_finetuning_on_other_data_remembers_what_was_trained_on(reference):
    model, mdata = fitted()
    indices = model.train_indices
    model.finetune(mdata[:60].copy(), **QUICK)
    assert model.train_indices is indices
