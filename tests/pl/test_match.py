import numpy as np
import pytest
import scipy.sparse as sp

import couplevi as cvi


@pytest.fixture(scope="module")
def matched():
    mdata = cvi.data.branching_manifold(n_obs=60, n_features={"rna": 30, "ephys": 8}, seed=1)
    n = mdata.n_obs
    f = np.eye(n) * 0.5 + np.eye(n)[np.arange(n) ^ 1] * 0.5
    mdata.obsp["match"] = sp.csr_matrix(f.astype(np.float32))
    mdata.uns["match"] = {"modalities": ["rna", "ephys"]}
    return mdata


def test_effective_matches_and_agreement_of_labels_are_shown(matched):
    axes = cvi.pl.match(matched, labels="cell_type", show=False)
    assert "median 2 of 60" in axes[0].get_title()
    assert sum(bar.get_height() for bar in axes[0].patches) == 60
    labels = matched.obs["cell_type"].astype(str).to_numpy()
    agreement = 0.5 + 0.5 * (labels == labels[np.arange(60) ^ 1]).mean()
    assert axes[1].get_title() == f"{agreement:.1%} within labels"
    share = axes[1].images[0].get_array()
    np.testing.assert_allclose(share.sum(axis=1), 1)
    assert len(np.atleast_1d(cvi.pl.match(matched, show=False))) == 1


def test_rows_are_labels_that_send_and_columns_labels_that_receive(matched):
    mdata = matched.copy()
    first = np.flatnonzero(mdata.obs["cell_type"] == "B")[0]
    f = np.zeros((60, 60), dtype=np.float32)
    f[:, first] = np.linspace(0.1, 1, 60)  # every cell to one of type B, and counts once whatever its confidence
    mdata.obsp["match"] = sp.csr_matrix(f)
    axes = cvi.pl.match(mdata, labels="cell_type", show=False)
    np.testing.assert_allclose(axes[1].images[0].get_array(), [[0, 1, 0]] * 3)
    assert axes[1].get_ylabel() == "label in rna"
    assert axes[1].get_title() == f"{(mdata.obs['cell_type'] == 'B').mean():.1%} within labels"


def test_labels_of_disjoint_cells_are_those_of_their_modalities():
    mdata = cvi.data.branching_manifold(n_obs=60, n_features={"rna": 30, "ephys": 8}, paired=0, seed=1)
    types = mdata.obs.pop("cell_type")
    for m in ("rna", "ephys"):
        mdata[m].obs["cell_type"] = types.reindex(mdata[m].obs_names).cat.set_categories(["C", "A", "B"])
    f = np.zeros((60, 60), dtype=np.float32)
    rna, ephys = (mdata.obs_names.get_indexer(mdata[m].obs_names) for m in ("rna", "ephys"))
    for i in rna:
        same = ephys[(types.iloc[ephys] == types.iloc[i]).to_numpy()]
        f[i, same] = 1 / len(same)
    mdata.obsp["match"] = sp.csr_matrix(f)
    mdata.uns["match"] = {"modalities": ["rna", "ephys"], "n_known": 7}
    axes = cvi.pl.match(mdata, labels="cell_type", show=False)
    assert axes[1].get_title() == "100.0% within labels, 7 links known"
    np.testing.assert_allclose(axes[1].images[0].get_array(), np.eye(3))
    assert [t.get_text() for t in axes[1].get_yticklabels()] == ["C", "A", "B"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"key": "absent"}, KeyError, "cvi.tl.match"),
        ({"labels": "absent"}, KeyError, "column 'absent'"),
    ],
)
def test_what_is_missing_is_named(matched, arguments, error, message):
    with pytest.raises(error, match=message):
        cvi.pl.match(matched, **arguments)


def test_no_matches_or_no_labels_are_refused(matched):
    mdata = matched.copy()
    mdata.obs["none"] = "unknown"
    with pytest.raises(ValueError, match="between labelled cells"):
        cvi.pl.match(mdata, labels="none")
    mdata.obsp["match"] = sp.csr_matrix((60, 60), dtype=np.float32)
    with pytest.raises(ValueError, match="matches in"):
        cvi.pl.match(mdata)
