import pickle

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest
import torch

import couplevi as cvi
from couplevi.model import JAMIE
from couplevi.model._files import (
    ATTRIBUTES,
    FORMAT,
    VAR_NAMES,
    WEIGHTS,
    data_paths,
    from_plain,
    model_path,
    read_model_file,
    read_saved_data,
    replace_file,
    to_plain,
    write_model_file,
)


def test_missing_data_are_warned_about(fitted, tmp_path):
    fitted[0].save(tmp_path / "m")
    with pytest.warns(UserWarning, match="the model is loaded without data. Pass `adata=False`"):
        cvi.model.JAMIE.load(tmp_path / "m")


class Bomb:
    """Code that a pickle would run."""

    def __reduce__(self):
        return (eval, ("(_ for _ in ()).throw(AssertionError('the pickle was run'))",))


@pytest.mark.parametrize(
    "write", [lambda p: p.write_bytes(pickle.dumps(Bomb())), lambda p: torch.save({"a": Bomb()}, p)]
)
def test_pickles_are_refused_and_not_run(tmp_path, write):
    write(tmp_path / "model.pt")
    with pytest.raises(ValueError, match="to be a model saved by couplevi, .* It was not opened: pickles can run code"):
        cvi.model.JAMIE.load(tmp_path, adata=False)


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04broken"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(ValueError, match="to be a model saved by couplevi"):
        cvi.model.JAMIE.load(tmp_path, adata=False)


def test_a_harmless_file_that_is_no_model_is_refused(tmp_path):
    torch.save({"weights": torch.zeros(2)}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="found a file without its entries"):
        cvi.model.JAMIE.load(tmp_path, adata=False)


def test_no_file_at_all(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a saved model .* Write one with `model.save\(folder\)`"):
        cvi.model.JAMIE.load(tmp_path)


def test_plain_values_return():
    value = {
        "array": np.arange(3),
        "frame": pd.DataFrame({"a": [1.0, 2.0]}, index=pd.Index([4, 5], name="epoch")),
        "names": np.array(["x", "y"], dtype=object),
        "nested": {("a", "b"): [1, (2.5, None, True)]},
        "scalar": np.float32(1.5),
    }
    again = from_plain(to_plain(value))
    np.testing.assert_array_equal(again["array"], value["array"])
    pd.testing.assert_frame_equal(again["frame"], value["frame"])
    assert again["names"] == ["x", "y"]
    assert again["nested"] == value["nested"]
    assert again["scalar"] == 1.5


def test_damaged_files_are_refused(fitted, tmp_path):
    model, _ = fitted
    model.save(tmp_path / "m")
    path = tmp_path / "m" / "model.pt"
    content = path.read_bytes()
    for length in (1, 100, len(content) // 2, len(content) - 10):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="a model saved by couplevi, found a damaged file"):
            JAMIE.load(tmp_path / "m", adata=False)


def old_state(**setup):
    """What a file of format 0 held, as far as it has another form today."""
    names = ("correspondence_rna_ephys", "match_rna_ephys", "X_rna")
    fields = {name: {"state_registry": {"n_links": 3}, "data_registry": {}} for name in names}
    registry = {"setup_args": {"modalities": ["rna", "ephys"], **setup}, "field_registries": fields}
    weights = {
        "preparations.1.mean": torch.zeros(1),
        "decoders.0.head.mean.weight": torch.ones(1),
        "arms.12.head.zero_logits": torch.ones(2),
        "arms.0.head.variance": torch.ones(3),
        "encoders.0.mean.weight": torch.ones(4),
    }
    return {ATTRIBUTES: {"registry_": registry, "var_names_": {}}, WEIGHTS: weights}


@pytest.mark.parametrize("key", ["links", {("rna", "ephys"): "links"}])
def test_an_old_file_gets_the_names_of_today(tmp_path, key):
    torch.save(old_state(correspondence_key=key), tmp_path / "model.pt")
    state = read_model_file(tmp_path)
    assert list(state[WEIGHTS]) == [
        "observations.1.preparation.mean",
        "decoders.0.output.weight",
        "arms.12.zero_logits",
        "arms.0.head.variance",
        "encoders.0.mean.weight",
    ]
    assert [len(value) for value in state[WEIGHTS].values()] == [1, 1, 2, 3, 4]
    fields = state[ATTRIBUTES]["registry_"]["field_registries"]
    expected = {"n_links": 3, "kind": "correspondence", "modalities": ("rna", "ephys")}
    assert fields["correspondence_rna_ephys"]["state_registry"] == expected
    assert fields["match_rna_ephys"]["state_registry"] == {"n_links": 3}  # was not registered


def test_a_file_of_today_is_left_as_it_is(tmp_path):
    attributes = {"registry_": {}, "var_names_": {"rna": np.array(["a", "b"])}, "x_": np.arange(3)}
    write_model_file(tmp_path / "model.pt", {"preparations.1.mean": torch.zeros(1)}, attributes)
    state = read_model_file(tmp_path)
    assert state["format"] == FORMAT
    assert list(state[WEIGHTS]) == ["preparations.1.mean"]
    assert from_plain(state[ATTRIBUTES])["x_"].tolist() == [0, 1, 2]
    assert state[VAR_NAMES] == {"rna": ["a", "b"]}


def test_names_of_files_have_the_prefix(tmp_path):
    assert model_path(tmp_path, "p_") == tmp_path / "p_model.pt"
    assert model_path(tmp_path, None) == tmp_path / "model.pt"
    assert data_paths(tmp_path, "p_") == {md.MuData: tmp_path / "p_mdata.h5mu", ad.AnnData: tmp_path / "p_adata.h5ad"}


def test_a_file_is_replaced_once_the_new_one_is_complete(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")

    def fails(temporary):
        temporary.write_text("half")
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        replace_file(path, fails)
    assert path.read_text() == "old"
    replace_file(path, lambda temporary: temporary.write_text("new"))
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_saved_data_are_those_of_the_kind_that_is_there(tmp_path, mdata):
    mdata["rna"].write(tmp_path / "p_adata.h5ad")
    assert read_saved_data(tmp_path, "p_").n_obs == mdata["rna"].n_obs
    mdata.write(tmp_path / "p_mdata.h5mu")
    assert set(read_saved_data(tmp_path, "p_").mod) == {"rna", "ephys"}
