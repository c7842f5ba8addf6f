import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import couplevi as cvi


@pytest.fixture
def data(fitted):
    model, mdata = fitted
    return model, mdata.copy()


def test_probabilities_are_those_of_logistic_regression_on_all_profiles(data):
    model, mdata = data
    cvi.tl.predict_labels(mdata, model, labels="cell_type")
    z = {m: model.get_latent_representation(modality=m) for m in ("rna", "ephys")}
    y = {m: mdata.obs.loc[mdata[m].obs_names, "cell_type"].astype(str) for m in z}
    fit = LogisticRegression(max_iter=10_000)
    fit.fit(np.concatenate([z["ephys"], z["rna"]]), np.concatenate([y["ephys"], y["rna"]]))
    expected = fit.predict_proba(model.get_latent_representation())
    np.testing.assert_allclose(mdata.obsm["jamie_cell_type"], expected, atol=1e-5)
    assert (mdata.obs["jamie_cell_type"] == fit.classes_[expected.argmax(axis=1)]).all()
    np.testing.assert_allclose(mdata.obs["jamie_cell_type_confidence"], expected.max(axis=1), atol=1e-5)


@pytest.mark.parametrize("labels", ["cell_type", "is_a"])
def test_stored_weights_give_the_probabilities(data, labels):
    model, mdata = data
    mdata.obs["is_a"] = mdata.obs["cell_type"].astype(str).where(mdata.obs["cell_type"] == "A", "other")
    cvi.tl.predict_labels(mdata, model, labels=labels)
    stored = mdata.uns["jamie"]["classifiers"][labels]
    logits = model.get_latent_representation() @ stored["coefficients"] + stored["intercept"]
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(mdata.obsm[f"jamie_{labels}"], probability, atol=1e-5)


def test_cells_without_a_label_are_predicted_and_not_learned_from(data):
    model, mdata = data
    learned = mdata.obs_names[:40]
    cvi.tl.predict_labels(mdata, model, labels="cell_type", cells=learned)
    expected = mdata.obsm["jamie_cell_type"].copy()
    hidden = mdata.obs["cell_type"].astype(object)
    hidden.iloc[40:50], hidden.iloc[50:] = "unknown", None
    mdata.obs["partly"] = hidden
    cvi.tl.predict_labels(mdata, model, labels="partly")
    np.testing.assert_allclose(mdata.obsm["jamie_partly"], expected, atol=1e-5)
    assert list(mdata.obs["jamie_partly"].cat.categories) == ["A", "B", "C"]


def test_labels_of_the_modalities_are_learned_from(data):
    model, mdata = data
    cvi.tl.predict_labels(mdata, model, labels="cell_type")
    expected = mdata.obs["jamie_cell_type"].copy()
    types = mdata.obs.pop("cell_type")
    for m in ("rna", "ephys"):
        mdata[m].obs["cell_type"] = types.reindex(mdata[m].obs_names)
    cvi.tl.predict_labels(mdata, model, labels="cell_type")
    pd.testing.assert_series_equal(mdata.obs["jamie_cell_type"], expected)


def test_a_cell_without_a_latent_has_no_prediction(data):
    import mudata as md

    model, mdata = data
    other = mdata["ephys"][:3].copy()
    other.obs_names, other.var_names = ["new1", "new2", "new3"], [f"other{j}" for j in range(8)]
    more = md.MuData({"rna": mdata["rna"].copy(), "ephys": mdata["ephys"].copy(), "other": other})
    more.obs["cell_type"] = mdata.obs["cell_type"].astype(str).reindex(more.obs_names)
    cvi.tl.predict_labels(more, model, labels="cell_type")
    new = more.obs_names.isin(other.obs_names)
    assert more.obs["jamie_cell_type"].isna().to_numpy().tolist() == new.tolist()
    assert np.isnan(more.obsm["jamie_cell_type"][new]).all()


def test_slots_survive_a_file(data, tmp_path):
    import mudata as md

    model, mdata = data
    cvi.tl.predict_labels(mdata, model, labels="cell_type")
    mdata.write(tmp_path / "x.h5mu")
    again = md.read_h5mu(tmp_path / "x.h5mu")
    e = cvi.tl.explain(again, model, source="rna", target="cell_type", cells=again["rna"].obs_names[:2])
    assert e.output_names == ["A", "B", "C"]


def test_bad_input(data):
    model, mdata = data
    with pytest.raises(KeyError, match="mdata.obs\\['nope'\\]"):
        cvi.tl.predict_labels(mdata, model, labels="nope")
    with pytest.raises(KeyError, match="cells, such as"):
        cvi.tl.predict_labels(mdata, model, labels="cell_type", cells=["nope"])
    mdata.obs["one"] = "a"
    with pytest.raises(ValueError, match="at least two labels in `mdata.obs\\['one'\\]` to learn, found \\['a'\\]"):
        cvi.tl.predict_labels(mdata, model, labels="one")
    mdata.obs["latent"] = mdata.obs["cell_type"]
    with pytest.raises(ValueError, match="`labels` other than"):
        cvi.tl.predict_labels(mdata, model, labels="latent")
    mdata.obs["time"] = np.linspace(0, 1, mdata.n_obs)
    with pytest.raises(ValueError, match="found numbers that are not whole. Cut it into classes"):
        cvi.tl.predict_labels(mdata, model, labels="time")
    with pytest.raises(ValueError, match="each of cells once"):
        cvi.tl.predict_labels(mdata, model, labels="cell_type", cells=["cell0", "cell0"])
    assert "classifiers" not in mdata.uns["jamie"]
    assert not [column for column in mdata.obs if column.startswith("jamie")]
    with pytest.raises(TypeError, match="a MuData"):
        cvi.tl.predict_labels(mdata["rna"], model, labels="cell_type")
