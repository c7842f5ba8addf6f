import anndata as ad
import mudata as md
import numpy as np
import pytest
import scanpy as sc
import scipy.sparse as sp

import couplevi as cvi
from couplevi.cli._data import label_table, modality_of, normalized, saved_class


@pytest.fixture
def counts():
    """60 cells, in both modalities of which X has counts and no layer."""
    mdata = cvi.data.count_clusters(n_obs=60, n_features={"rna": 40, "atac": 20}, seed=0)
    for adata in mdata.mod.values():
        del adata.layers["log1p"]
    return mdata


def logs(adata):
    """What scanpy makes of counts."""
    other = ad.AnnData(adata.X.astype(np.float32))
    sc.pp.normalize_total(other, target_sum=1e4)
    sc.pp.log1p(other)
    return other.X


def test_normalized_is_what_scanpy_makes_and_counts_stay(counts):
    before, expected = counts["rna"].X.copy(), logs(counts["rna"])
    counts["atac"].layers["raw"] = sp.csr_matrix(counts["atac"].X)
    counts["atac"].X = np.log1p(counts["atac"].X)
    expected_atac = logs(ad.AnnData(counts["atac"].layers["raw"]))
    assert normalized(counts.mod, ["rna", "atac=raw"]) == {"rna": "log1p", "atac": "log1p"}
    np.testing.assert_array_equal(
        sp.csr_array(counts["rna"].layers["log1p"]).toarray(), sp.csr_array(expected).toarray()
    )
    assert abs(counts["atac"].layers["log1p"] - expected_atac).max() == 0
    assert (before != counts["rna"].X).sum() == 0
    assert "log1p" not in counts["rna"].uns


def test_a_model_of_raw_counts_normalised(run, counts, tmp_path):
    counts.write(tmp_path / "in.h5mu")
    expected = logs(counts["rna"])
    given = ("run", tmp_path / "in.h5mu", "--modalities", "rna,atac", "--normalize", "rna,atac", "--max-epochs", 1)
    assert run(*given, "--model", tmp_path / "m", "--out", tmp_path / "o.h5mu") == 0
    assert abs(md.read_h5mu(tmp_path / "o.h5mu")["rna"].layers["log1p"] - expected).max() == 0
    model = cvi.model.JAMIE.load(tmp_path / "m", adata=False)
    assert model.get_setup_arg("layers") == {"rna": "log1p", "atac": "log1p"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--normalize", "rna=half"), "counts in half of 'rna', whole numbers of at least 0, found values from 0.5"),
        (
            ("--normalize", "rna=raw"),
            "counts in raw of 'rna' with `--normalize`, found values in ['X', 'half']. Name one",
        ),
        (("--normalize", "atac"), "no layer 'log1p' of 'atac' with `--normalize`, found one"),
        (("--normalize", "ATAC"), "modalities in `--normalize` among ['rna', 'atac'], found 'ATAC'"),
        (("--normalize", "rna", "--layer", "rna=half"), "found it in both. Write `--normalize rna=half`"),
        (("--normalize", "rna", "--use-rep", "rna=X_pca"), "`--normalize` or `--use-rep`, found it in both"),
        (("--layer", "RNA=half"), "modalities in `--layer` among ['rna', 'atac'], found 'RNA'"),
        (("--use-rep", "RNA=half"), "modalities in `--use-rep` among ['rna', 'atac'], found 'RNA'"),
    ],
)
def test_normalize_is_refused(refuses, counts, tmp_path, given, message):
    counts["rna"].layers["half"] = np.full(counts["rna"].shape, 0.5)
    counts["atac"].layers["log1p"] = counts["atac"].X.copy()
    counts.write(tmp_path / "in.h5mu")
    refuses("run", "in.h5mu", "--modalities", "rna,atac", *given, "--out", "o.h5mu", message=message)


def test_cells_without_values_cannot_be_normalised(counts):
    del counts["rna"].X
    with pytest.raises(KeyError, match=r"counts in X of 'rna' with `--normalize`, found values in \[\]"):
        normalized(counts.mod, ["rna"])
    counts["rna"].X = sp.csr_matrix((60, 40))
    with pytest.raises(ValueError, match="counts in X of 'rna', whole numbers of at least 0, found none"):
        normalized(counts.mod, ["rna"])


def test_a_modality_and_a_column_of_its_cells(mdata):
    assert modality_of(mdata, "rna", "cell_type").obs["cell_type"].notna().all()
    with pytest.raises(ValueError, match=r"`--modality` to be one of \['rna', 'ephys'\], found None"):
        modality_of(mdata, None)
    with pytest.raises(ValueError, match="no `--modality` with an AnnData, found 'rna'"):
        modality_of(mdata["rna"], "rna")


def test_class_of_a_saved_model(jamie, celltext):
    assert saved_class(jamie / "model") is cvi.model.JAMIE
    assert saved_class(celltext / "model") is cvi.model.CellText


def test_a_table_of_labels(mdata):
    mdata.obs["p"], mdata.obs["jae_label_typicality"] = 0.5, 0.25
    assert list(label_table(mdata.obs, ["cell_type", "p"])) == ["label", "confidence"]
    table = label_table(mdata.obs, ["cell_type", "p", "jae_label_typicality"])
    assert (table.index.name, list(table)) == ("cell", ["label", "confidence", "typicality"])
    assert table["label"].tolist() == mdata.obs["cell_type"].tolist()
