import mudata as md
import numpy as np
import pandas as pd
import pytest
import torch

import couplevi as cvi
from couplevi.model import JAMIE
from couplevi.model._base import device_of


def outputs(model, mdata):
    return [
        model.get_latent_representation(mdata["rna"], modality="rna"),
        model.get_latent_representation(mdata["ephys"], modality="ephys"),
        model.impute(source="rna", target="ephys", adata=mdata["rna"]).X,
        model.impute(source="ephys", target="rna", adata=mdata["ephys"]).X,
    ]


def assert_same(model, other, mdata):
    for x, y in zip(outputs(model, mdata), outputs(other, mdata), strict=True):
        np.testing.assert_array_equal(x, y)


def test_loaded_with_data_is_the_same_bit_for_bit(fitted, tmp_path):
    model, mdata = fitted
    model.save(tmp_path / "m")
    loaded = cvi.model.JAMIE.load(tmp_path / "m", adata=mdata.copy())
    assert_same(model, loaded, mdata)
    np.testing.assert_array_equal(model.get_latent_representation(), loaded.get_latent_representation())
    assert loaded.is_trained
    assert loaded.settings_ == model.settings_
    np.testing.assert_array_equal(loaded.train_indices, model.train_indices)
    for name, frame in model.history.items():
        pd.testing.assert_frame_equal(loaded.history[name], frame)
    assert repr(loaded) == repr(model)
    loaded.view_anndata_setup()


def test_loaded_without_data_imputes_new_cells(fitted, tmp_path):
    model, mdata = fitted
    model.save(tmp_path / "m")
    loaded = cvi.model.JAMIE.load(tmp_path / "m", adata=False)
    assert loaded.adata is None
    assert_same(model, loaded, mdata)
    np.testing.assert_array_equal(model.get_latent_representation(), loaded.get_latent_representation(mdata))
    with pytest.raises(ValueError, match="found a model without data. Pass `adata=`"):
        loaded.get_latent_representation()
    with pytest.raises(ValueError, match="found a model without data"):
        loaded.train()


def test_data_are_saved_beside_the_model(fitted, tmp_path):
    model, mdata = fitted
    model.save(tmp_path / "m", prefix="p_", save_anndata=True)
    assert (tmp_path / "m" / "p_mdata.h5mu").is_file()
    loaded = cvi.model.JAMIE.load(tmp_path / "m", prefix="p_")
    assert loaded.adata.n_obs == mdata.n_obs
    assert_same(model, loaded, mdata)


def test_loaded_for_fewer_cells_keeps_its_sizes(fitted, tmp_path):
    model, mdata = fitted
    model.save(tmp_path / "m")
    few = mdata[mdata.obs_names[:20]].copy()
    loaded = cvi.model.JAMIE.load(tmp_path / "m", adata=few)
    assert_same(model, loaded, mdata)


def test_loaded_model_can_be_trained_on(fitted, tmp_path, quick):
    model, mdata = fitted
    model.save(tmp_path / "m")
    loaded = cvi.model.JAMIE.load(tmp_path / "m", adata=mdata.copy())
    preparation = loaded.module.observation("rna").preparation.record()
    loaded.train(**quick)
    assert len(loaded.history["train_loss"]) == 6
    np.testing.assert_array_equal(loaded.module.observation("rna").preparation.record().mean, preparation.mean)


def test_overwriting_must_be_asked_for_and_is_atomic(fitted, tmp_path, monkeypatch):
    model, mdata = fitted
    model.save(tmp_path / "m")
    with pytest.raises(ValueError, match="which exists. Pass `overwrite=True`"):
        model.save(tmp_path / "m")
    before = (tmp_path / "m" / "model.pt").read_bytes()

    def full_disk(state, path):
        path.write_bytes(b"half a mod")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full_disk)
        with pytest.raises(OSError, match="No space left"):
            model.save(tmp_path / "m", overwrite=True)
    assert (tmp_path / "m" / "model.pt").read_bytes() == before
    assert [p.name for p in (tmp_path / "m").iterdir()] == ["model.pt"]
    model.save(tmp_path / "m", overwrite=True)


def test_model_of_another_class_is_refused(fitted, tmp_path):
    fitted[0].save(tmp_path / "m")

    class Other(cvi.model.JAMIE):
        pass

    with pytest.raises(ValueError, match="a Other model, found a JAMIE model"):
        Other.load(tmp_path / "m", adata=False)


def test_data_that_lack_many_features_are_refused(fitted, tmp_path):
    model, mdata = fitted
    model.save(tmp_path / "m")
    fewer = md.MuData({"rna": mdata["rna"][:, :20].copy(), "ephys": mdata["ephys"].copy()})
    with pytest.raises(ValueError, match="all 30 features .* found 10 missing"):
        cvi.model.JAMIE.load(tmp_path / "m", adata=fewer)


def test_registry_is_read_safely(fitted, tmp_path, capsys):
    fitted[0].save(tmp_path / "m")
    registry = cvi.model.JAMIE.load_registry(tmp_path / "m")
    assert registry["setup_args"]["layers"] == {"rna": "log1p"}
    cvi.model.JAMIE.view_setup_args(tmp_path / "m")
    assert "log1p" in capsys.readouterr().out


def test_data_of_another_model_do_not_stay_behind(fitted, tmp_path):
    model, mdata = fitted
    model.save(tmp_path / "m", save_anndata=True)
    model.save(tmp_path / "m", overwrite=True)
    with pytest.warns(UserWarning, match="No data were saved"):
        assert JAMIE.load(tmp_path / "m").adata is None


def test_readers_are_of_the_modalities_of_the_model(fitted):
    model, mdata = fitted
    np.testing.assert_array_equal(model.reader("rna").read(mdata), mdata["rna"].layers["log1p"])
    with pytest.raises(ValueError, match=r"`source` to be one of \['ephys', 'rna'\], found 'atac'"):
        model.reader("atac", "source")


def test_modalities_are_in_the_order_of_the_alphabet_however_they_are_named(mdata):
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"))
    assert cvi.model.JAMIE(mdata).modalities_ == ["ephys", "rna"]
    cvi.model.CplMixVAE.setup_anndata(mdata["rna"])
    assert len(cvi.model.CplMixVAE(mdata["rna"], 3).modalities_) == 1


def test_a_saved_model_leaves_nothing_of_the_data_of_another_with_the_same_prefix(fitted, tmp_path):
    model, _ = fitted
    for prefix in ("a_", "b_"):
        model.save(tmp_path / "m", prefix=prefix, overwrite=True, save_anndata=True)
    model.save(tmp_path / "m", prefix="a_", overwrite=True)
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["a_model.pt", "b_mdata.h5mu", "b_model.pt"]


@pytest.mark.parametrize("device", [1, "1"])
def test_a_gpu_is_told_by_its_index(device, monkeypatch):
    def parsed(accelerator, devices, **kwargs):
        index = devices[0] if isinstance(devices, list) else 0  # a number is how many
        return accelerator, devices, torch.device("cuda", index)

    monkeypatch.setattr("couplevi.model._base.parse_device_args", parsed)
    assert device_of("auto", device) == torch.device("cuda", 1)
    assert device_of("gpu", "auto") == torch.device("cuda", 0)


def test_the_processor_has_no_index():
    assert device_of("cpu", "auto") == device_of("cpu", 1) == torch.device("cpu")
    with pytest.raises(
        ValueError, match=r"hardware of this machine, found .*`device=0`: .*accelerator\. Leave both out"
    ):
        device_of("cpu", 0)
