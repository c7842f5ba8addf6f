"""Measures of alignment and imputation, and simple baselines: arrays in, numbers or arrays out."""

from collections.abc import Mapping
from types import MappingProxyType

from couplevi.metrics._alignment import FOSCTTM, LABEL_TRANSFER_ACCURACY, foscttm, label_transfer_accuracy
from couplevi.metrics._baselines import knn_imputation, ridge_imputation
from couplevi.metrics._finite import scored_cells_per_feature
from couplevi.metrics._imputation import (
    AUROC,
    BINOMIAL,
    JENSEN_SHANNON,
    PEARSON,
    RELATIVE_RMSE,
    auroc_per_feature,
    binomial_comparison,
    jensen_shannon_distance,
    pearson_per_feature,
    relative_rmse_per_feature,
)
from couplevi.metrics._intervals import COVERAGE, INTERVAL_SCORE, interval_coverage, interval_score
from couplevi.metrics._joint_embedding import joint_embedding
from couplevi.metrics._record import Metric

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        record.name: record
        for record in (
            FOSCTTM,
            LABEL_TRANSFER_ACCURACY,
            PEARSON,
            AUROC,
            RELATIVE_RMSE,
            JENSEN_SHANNON,
            COVERAGE,
            INTERVAL_SCORE,
            BINOMIAL,
        )
    }
)
"""Record of each metric, by its name in the frames of :func:`couplevi.tl.evaluate`."""

__all__ = [
    "METRICS",
    "Metric",
    "auroc_per_feature",
    "binomial_comparison",
    "foscttm",
    "interval_coverage",
    "interval_score",
    "jensen_shannon_distance",
    "joint_embedding",
    "knn_imputation",
    "label_transfer_accuracy",
    "pearson_per_feature",
    "relative_rmse_per_feature",
    "ridge_imputation",
    "scored_cells_per_feature",
]
