"""Training plan, callbacks and logger."""

from couplevi.train._callbacks import BestWeights, Calibration
from couplevi.train._logger import HistoryLogger
from couplevi.train._plan import CoupledTrainingPlan

__all__ = ["BestWeights", "Calibration", "CoupledTrainingPlan", "HistoryLogger"]
