import numpy as np
import scipy.sparse as sp
import torch

from couplevi.dataloaders import CellDataset, CoupledDataSplitter, Links


def cells():
    """Cells 0 to 3 have both modalities, 4 and 5 the first alone, 6 the second alone; profiles are in another order."""
    of = {"a": np.array([5, 0, 1, 2, 3, 4]), "b": np.array([6, 3, 2, 1, 0])}
    rows = {"a": of["a"][:, None] + np.array([[0.1, 0.2]]), "b": of["b"][:, None] + 0.5}
    row, col = np.nonzero(of["a"][:, None] == of["b"])
    links = sp.csr_array((np.ones(len(row), np.float32), (row, col)), shape=(6, 5))
    known = {
        m: (places % 3 - 1, np.where(places % 2, np.nan, places)[:, None].astype(np.float32))
        for m, places in of.items()
    }
    batch = {m: np.eye(2, dtype=np.float32)[places // 4] for m, places in of.items()}
    rows = {m: values.astype(np.float32) for m, values in rows.items()}
    return CellDataset(rows, {("a", "b"): Links(links)}, batch, 2, known)


def check(batch):
    """Everything in a row is of one cell; returns the cells."""
    cell = torch.where(batch["measured"]["a"], batch["h"]["a"][:, 0] - 0.1, batch["h"]["b"][:, 0] - 0.5).round()
    torch.testing.assert_close(
        batch["h"]["a"], batch["measured"]["a"][:, None] * (cell[:, None] + torch.tensor([0.1, 0.2]))
    )
    torch.testing.assert_close(batch["h"]["b"], batch["measured"]["b"][:, None] * (cell[:, None] + 0.5))
    assert batch["label"].tolist() == (cell % 3 - 1).tolist()
    odd = cell % 2 == 1
    assert (batch["scores"][:, 0].isnan() == odd).all()
    assert (batch["scores"][~odd, 0] == cell[~odd]).all()
    assert (batch["covariates"].argmax(dim=1) == cell // 4).all()
    return cell.int().tolist()


def test_all_that_is_known_of_a_cell_is_in_its_row():
    dataset = cells()
    assert len(dataset) == 7
    everything = dataset.cells(np.arange(7))
    found = check(everything)
    assert sorted(found) == list(range(7))
    where = {m: {cell for cell, there in zip(found, everything["measured"][m], strict=True) if there} for m in "ab"}
    assert where == {"a": {0, 1, 2, 3, 4, 5}, "b": {0, 1, 2, 3, 6}}


def test_batches_of_the_splitter_have_each_cell_once():
    torch.manual_seed(0)
    splitter = CoupledDataSplitter(cells(), batch_size=3)
    seen = [cell for batch in splitter.train_dataloader() for cell in check(batch)]
    assert sorted(seen) == list(range(7))
