"""Files that earlier versions saved load, and give what they gave then."""

from pathlib import Path

import numpy as np
import pytest
import torch
from model_table import MODELS, SINGLE, assert_same, fit, fresh, gives, query

from couplevi.model import JAMIE, OTGM, CellText
from couplevi.model._files import FORMAT, UPGRADES

FOLDER = Path(__file__).parents[1] / "golden"
ROUNDING = {"rtol": 1e-5, "atol": 1e-5}
"""What another processor may round differently: 4e-6 of values up to 9 were seen."""
GOLDEN = [(name, golden, data) for name, row in MODELS.items() for golden, (_, data) in row.golden.items()]


@pytest.mark.parametrize(("name", "golden", "data"), GOLDEN, ids=[golden for _, golden, _ in GOLDEN])
@pytest.mark.parametrize("with_data", [False, True])
def test_golden_model_gives_what_it_gave(name, golden, data, with_data):
    own = data()
    model = MODELS[name].cls.load(FOLDER / golden, adata=own if with_data else False, accelerator="cpu")
    assert_same(gives(model, query(own)), dict(np.load(FOLDER / golden / "outputs.npz")), **ROUNDING)


@pytest.mark.parametrize("golden", SINGLE)
@pytest.mark.parametrize("with_data", [False, True])
def test_golden_model_of_an_anndata_gives_what_it_gave(golden, with_data):
    _, data, gives_single = SINGLE[golden]
    own = data()
    cls = {"otgm": OTGM, "celltext": CellText}[golden]
    model = cls.load(FOLDER / golden, adata=own if with_data else False, accelerator="cpu")
    found, expected = gives_single(model, own[:12].copy()), dict(np.load(FOLDER / golden / "outputs.npz"))
    assert_same(found, expected, **ROUNDING)


@pytest.mark.parametrize(("name", "golden", "data"), GOLDEN, ids=[golden for _, golden, _ in GOLDEN])
def test_golden_model_is_saved_again_in_the_format_of_today(name, golden, data, tmp_path):
    model = MODELS[name].cls.load(FOLDER / golden, adata=False, accelerator="cpu")
    model.save(tmp_path / "again")
    assert torch.load(tmp_path / "again" / "model.pt", weights_only=True)["format"] == FORMAT
    again = MODELS[name].cls.load(tmp_path / "again", adata=False, accelerator="cpu")
    assert_same(gives(again, query(data())), gives(model, query(data())))


def test_models_that_were_made_for_so_many_steps_keep_them():
    settings = JAMIE.load(FOLDER / "jamie", adata=False, accelerator="cpu").settings_
    assert (settings.n_steps, settings.max_epochs) == (1600, None)  # the default of today follows from the units


def test_golden_models_stay_small_and_every_model_has_one():
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) < 300_000
    assert all(row.golden for row in MODELS.values())
    assert {folder.name for folder in FOLDER.iterdir() if folder.is_dir() and folder.name != "__pycache__"} == {
        *(golden for _, golden, _ in GOLDEN),
        *SINGLE,
    }


def test_there_is_an_upgrade_from_each_format_and_later_ones_are_refused(tmp_path):
    assert len(UPGRADES) == FORMAT
    model = fit("JAMIE", fresh(), epochs=1)
    model.save(tmp_path / "m")
    state = torch.load(tmp_path / "m" / "model.pt", weights_only=True)
    torch.save({**state, "format": FORMAT + 1}, tmp_path / "m" / "model.pt")
    with pytest.raises(ValueError, match=f"format {FORMAT} or lower, found {FORMAT + 1}. Update couplevi"):
        type(model).load(tmp_path / "m", adata=False)


def test_what_is_saved_is_named(tmp_path):
    for name, row in MODELS.items():
        model = fit(name, fresh(), epochs=1)
        model.notes_ = "not of the model"
        model.save(tmp_path / name)
        saved = torch.load(tmp_path / name / "model.pt", weights_only=True)["attr_dict"]
        assert saved.keys() == {"registry_", *row.cls.saved}
