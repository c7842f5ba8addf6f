"""Measures of alignment and imputation, and simple baselines: arrays in, numbers or arrays out."""

from couplevi.metrics._alignment import foscttm, label_transfer_accuracy
from couplevi.metrics._baselines import knn_imputation, ridge_imputation
from couplevi.metrics._imputation import (
    auroc_per_feature,
    binomial_comparison,
    jensen_shannon_distance,
    pearson_per_feature,
)
from couplevi.metrics._intervals import interval_coverage, interval_score

__all__ = [
    "auroc_per_feature",
    "binomial_comparison",
    "foscttm",
    "interval_coverage",
    "interval_score",
    "jensen_shannon_distance",
    "knn_imputation",
    "label_transfer_accuracy",
    "pearson_per_feature",
    "ridge_imputation",
]
