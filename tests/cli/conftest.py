import numpy as np
import pytest

import couplevi as cvi
from couplevi.cli import main


@pytest.fixture(scope="session")
def run():
    """The command line, in this process."""
    return lambda *arguments: main([str(a) for a in arguments])


@pytest.fixture
def refuses(run, tmp_path, capsys, monkeypatch):
    """Check that arguments are refused in one line that has this text, and that nothing is written."""

    def check(*arguments, message):
        monkeypatch.chdir(tmp_path)
        before = sorted(tmp_path.rglob("*"))
        assert run(*arguments) == 2
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert line.startswith("couplevi: ")
        assert "Expected " in line
        assert ", found " in line
        assert message in line
        assert sorted(tmp_path.rglob("*")) == before

    return check


@pytest.fixture
def h5mu(mdata, tmp_path):
    path = tmp_path / "in.h5mu"
    mdata.write(path)
    return path


@pytest.fixture
def cells():
    """Counts in two modalities, with labels of one donor; in a layer, as X is not what is asked for."""
    mdata = cvi.data.count_clusters(n_obs=90, n_clusters=3, n_features={"rna": 120, "atac": 40}, seed=2)
    mdata.obs["donor"] = np.where(np.arange(90) % 3, "d1", "d2")
    mdata.obs["known"] = mdata.obs["cell_type"].astype(str).where(mdata.obs["donor"] == "d1", "unknown")
    for adata in mdata.mod.values():
        adata.layers["raw"] = adata.X.copy()
        adata.X = adata.X[::-1].copy()
    return mdata


@pytest.fixture
def cells_h5mu(cells, tmp_path):
    path = tmp_path / "in.h5mu"
    cells.write(path)
    return path


@pytest.fixture
def typed(cells):
    """Counts of three types, of which one has no name."""
    adata = cells["rna"].copy()
    adata.obs["type"] = cells.obs["cell_type"].astype(str).where(cells.obs["cell_type"] != "type2", "unknown")
    return adata


@pytest.fixture
def typed_h5ad(typed, tmp_path):
    path = tmp_path / "in.h5ad"
    typed.write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def jamie(run, tmp_path_factory):
    """Folder with the data and model of one donor, and other cells of two."""
    folder = tmp_path_factory.mktemp("jamie")
    mdata = cvi.data.branching_manifold(n_obs=90, n_features={"rna": 30, "ephys": 8}, seed=1)
    mdata.obs["donor"] = np.where(np.arange(90) < 60, "d1", "d2")
    mdata.write(folder / "all.h5mu")
    mdata[:60].copy().write(folder / "in.h5mu")
    mdata[60:].copy().write(folder / "new.h5mu")
    given = ("--modalities", "rna,ephys", "--layer", "rna=log1p", "--batch-key", "donor", "--n-latent", 4)
    labels = ("--labels-key", "cell_type", "--max-epochs", 2, "--model", folder / "model", "--out", folder / "out.h5mu")
    assert run("run", folder / "in.h5mu", *given, *labels) == 0
    return folder


@pytest.fixture(scope="module")
def celltext(run, tmp_path_factory):
    """Folder with cells and a CellText of them."""
    folder = tmp_path_factory.mktemp("celltext")
    mdata = cvi.data.count_clusters(n_obs=60, n_clusters=3, n_features={"rna": 50, "atac": 10}, seed=2)
    mdata["rna"].obs["type"] = mdata.obs["cell_type"].astype(str)
    mdata["rna"].write_h5ad(folder / "in.h5ad")
    mdata.write(folder / "in.h5mu")
    given = ("annotate", folder / "in.h5ad", "--labels-key", "type", "--max-epochs", 2, "--out", folder / "out.h5ad")
    with pytest.warns(UserWarning, match="With 3 types none can be held out"):
        assert run(*given, "--model", folder / "model") == 0
    return folder


@pytest.fixture(scope="module")
def screen_model(run, tmp_path_factory):
    """Folder with a screen, whose X has counts, and an OTGM of their logarithms."""
    folder = tmp_path_factory.mktemp("otgm")
    adata = cvi.data.perturbation_screen(n_obs=120, n_perturbations=2, n_features=60)
    del adata.layers["log1p"]
    adata.write_h5ad(folder / "in.h5ad")
    given = ("--state-key", "perturbation", "--control", "control", "--normalize", "X", "--model", folder / "model")
    assert run("perturb", folder / "in.h5ad", *given, "--csv", folder / "told.csv", "--out", folder / "out.h5ad") == 0
    return folder
