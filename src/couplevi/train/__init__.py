"""Training from start to end: checks of arguments, plan, runner, callbacks and logger."""

from couplevi.train._arguments import check_arguments
from couplevi.train._callbacks import BestWeights, Checkpoint
from couplevi.train._logger import HistoryLogger
from couplevi.train._plan import CoupledTrainingPlan
from couplevi.train._run import TrainingRun
from couplevi.train._runner import CoupledTrainRunner

__all__ = [
    "BestWeights",
    "Checkpoint",
    "CoupledTrainRunner",
    "CoupledTrainingPlan",
    "HistoryLogger",
    "TrainingRun",
    "check_arguments",
]
