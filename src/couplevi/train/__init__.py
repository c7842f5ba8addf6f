"""Training plans, runner, callbacks and logger."""

from couplevi.train._callbacks import BestWeights, Calibration, Checkpoint
from couplevi.train._logger import HistoryLogger
from couplevi.train._plan import CoupledTrainingPlan
from couplevi.train._rounds import Rounds, RoundsTrainingPlan
from couplevi.train._runner import CoupledTrainRunner

__all__ = [
    "BestWeights",
    "Calibration",
    "Checkpoint",
    "CoupledTrainRunner",
    "CoupledTrainingPlan",
    "HistoryLogger",
    "Rounds",
    "RoundsTrainingPlan",
]
