import torch

from couplevi.train import HistoryLogger


def test_history_is_a_frame_per_metric_by_epoch():
    logger = HistoryLogger()
    logger.log_metrics({"a": 1.0, "epoch": 0}, step=10)
    logger.log_metrics({"a": torch.tensor(2.0), "b": 5.0, "epoch": 1}, step=20)
    assert logger.history["a"]["a"].tolist() == [1.0, 2.0]
    assert logger.history["b"].index.tolist() == [1]
    assert logger.history["b"].index.name == "epoch"


def test_state_holds_each_metric_of_an_epoch_once():
    """Those that were logged, and those that will be, which callbacks know already."""
    logger = HistoryLogger()
    logger.log_metrics({"a": 1.0, "b": 3.0, "epoch": 0})
    logger.log_metrics({"a": 2.0, "epoch": 1})
    state = logger.state(1, {"a": torch.tensor(2.0), "b": torch.tensor(5.0), "c": torch.tensor(7.0)})
    assert state["values"] == {"a": [1.0, 2.0], "b": [3.0, 5.0], "c": [7.0]}
    assert state["epochs"] == {"a": [0, 1], "b": [0, 1], "c": [1]}
    assert logger.history["a"]["a"].tolist() == [1.0, 2.0]
    assert "c" not in logger.history
