import torch

from couplevi.train import HistoryLogger


def test_history_is_a_frame_per_metric_by_epoch():
    logger = HistoryLogger()
    logger.log_metrics({"a": 1.0, "epoch": 0}, step=10)
    logger.log_metrics({"a": torch.tensor(2.0), "b": 5.0, "epoch": 1}, step=20)
    assert logger.history["a"]["a"].tolist() == [1.0, 2.0]
    assert logger.history["b"].index.tolist() == [1]
    assert logger.history["b"].index.name == "epoch"
