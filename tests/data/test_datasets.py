import mudata as md
import pytest
import requests

import couplevi as cvi
from couplevi.data import datasets


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A small file in the place of the published one."""
    path = tmp_path / "source" / "patchseq_motor.h5mu"
    path.parent.mkdir()
    cvi.data.count_clusters(n_obs=20).write(path)
    fetcher = datasets.pooch.create(
        path=tmp_path / "cache",
        base_url="https://localhost/none/",
        registry={path.name: f"sha256:{datasets.pooch.file_hash(str(path))}"},
    )
    monkeypatch.setattr(datasets, "DATASETS", fetcher)
    monkeypatch.delenv(datasets.FOLDER_VARIABLE, raising=False)
    return path


def test_file_of_the_user_is_read_and_checked(small, monkeypatch):
    monkeypatch.setenv(datasets.FOLDER_VARIABLE, str(small.parent))
    assert cvi.data.patchseq_motor().n_obs == 20
    other = cvi.data.count_clusters(n_obs=21)
    other.write(small)
    with pytest.raises(ValueError, match="Expected the published patchseq_motor.h5mu, found another file at"):
        cvi.data.patchseq_motor()


@pytest.mark.skipif(not hasattr(md, "set_options"), reason="mudata 0.4 does not speak of its next version")
def test_reading_is_quiet_whatever_is_set(small, monkeypatch):
    monkeypatch.setenv(datasets.FOLDER_VARIABLE, str(small.parent))
    with md.set_options(pull_on_update=None):  # how mudata 0.3 starts, and warns of 0.4 (warnings are errors here)
        assert cvi.data.patchseq_motor().n_obs == 20


def test_file_is_downloaded_once_and_checked(small, monkeypatch):
    downloads = []

    def download(url, output_file, pooch):
        downloads.append(url)
        with open(output_file, "wb") as out:
            out.write(small.read_bytes())

    monkeypatch.setattr(datasets.pooch.core, "choose_downloader", lambda *args, **kwargs: download)
    for _ in range(2):
        assert cvi.data.patchseq_motor().n_obs == 20
    assert downloads == ["https://localhost/none/patchseq_motor.h5mu"]


def test_without_connection_the_message_says_what_to_do(small, monkeypatch):
    def download(url, output_file, pooch):
        raise requests.ConnectionError("no route")

    monkeypatch.setattr(datasets.pooch.core, "choose_downloader", lambda *args, **kwargs: download)
    with pytest.raises(ConnectionError, match="found no connection .* environment variable COUPLEVI_DATA"):
        cvi.data.patchseq_motor()


def test_the_published_file_is_the_one_at_hand(data_folder, monkeypatch):
    monkeypatch.setenv(datasets.FOLDER_VARIABLE, str(data_folder))
    mdata = cvi.data.patchseq_motor()
    assert isinstance(mdata, md.MuData)
    assert {m: mdata[m].shape for m in mdata.mod} == {"rna": (1208, 1286), "ephys": (1208, 29)}
    assert mdata.obs["cell_type"].nunique() == 9
