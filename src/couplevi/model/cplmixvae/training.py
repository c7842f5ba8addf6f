"""What a mixture is trained on, for how long, and what its user should be told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from couplevi._streamed import StreamedMatrix, loaded
from couplevi._validate import check_counts, listing, stored_values, warn, warn_counts
from couplevi.model._dataset import coupled_dataset, fit_modality
from couplevi.model.cplmixvae.measurement import MAX_PROFILES, MeasuredRows, measured
from couplevi.model.cplmixvae.settings import MixtureSettings
from couplevi.preparation import FeatureRows, log_normalised, prepared_rows

if TYPE_CHECKING:
    from couplevi._streamed import Matrix
    from couplevi._types import IntArray, MemoryMatrix
    from couplevi.dataloaders import CoupledDataset, Rows
    from couplevi.model.cplmixvae.module import CplMixVAEModule
    from couplevi.model.cplmixvae.selection import Round
    from couplevi.registry import ModalityReader, Registered

PROFILES_PER_CATEGORY = 5
UNINFORMATIVE = 0.9
"""Share of its largest entropy above which the category says next to nothing."""


def training_data(
    module: CplMixVAEModule,
    registered: Registered,
    n_components: Mapping[str, int | None] | None,
    settings: MixtureSettings,
    labels: IntArray,
) -> tuple[CoupledDataset, dict[str, IntArray]]:
    """Profiles and links, and their rows in the data; with `n_components` the preparation is fitted first.

    `labels` are the numbers of the labels of all cells, -1 without one.
    """

    def rows_of(m: str, matrix: Matrix, order: IntArray) -> Rows:
        reader, observation = registered.readers[m], module.observation(m)
        if observation.is_count:
            matrix = counts_of(matrix, reader)
        elif not isinstance(matrix, StreamedMatrix):
            remedy = "Name a layer of logarithmic values, or pass `likelihood='nb'`."
            warn_counts(stored_values(matrix), reader.where, remedy)
        told = measured(registered, m, matrix)[order]
        to_prepare = log_normalised(matrix) if observation.is_count else matrix
        if n_components is not None:
            record = fit_modality(to_prepare, reader, n_components[m], settings.feature_weights)
            observation.preparation.fill(record)
        rows: Rows = prepared_rows(to_prepare, observation.preparation.record(), order)
        if n_components is not None:
            chosen = torch.randperm(len(order)).numpy()[:MAX_PROFILES]
            module.measurement(m).fit(rows[chosen], told[chosen])
        known = labels[registered.rows(m)][order]
        return MeasuredRows(FeatureRows(matrix, order) if module.reads_features(m) else rows, told, known)

    return coupled_dataset(registered, rows_of)


def counts_of(matrix: Matrix, reader: ModalityReader) -> MemoryMatrix:
    """Values in memory, checked to be counts."""
    counts = loaded(matrix)
    check_counts(counts, reader.where)
    return counts


def epochs_of_rounds(
    settings: MixtureSettings, first: int | None, later: int | None, steps_per_epoch: int, n_removed: int
) -> list[int]:
    """Number of epochs of the first round, and of those after each removal of a category."""
    first = math.ceil(settings.n_steps / steps_per_epoch) if first is None else first
    later = math.ceil(settings.n_steps_prune / steps_per_epoch) if later is None else later
    return [int(first)] + n_removed * [int(later)]


def warn_about_batches(batch_size: int, n_categories: int) -> None:
    """Warn if batches are small for so many categories."""
    needed = PROFILES_PER_CATEGORY * n_categories
    if batch_size < needed:
        warn(
            f"Batches of {batch_size} cells are small for {n_categories} categories: the coupling "
            f"wants at least {PROFILES_PER_CATEGORY} cells per category. Pass `batch_size={needed}` or more, lower "
            "`n_categories`, or train on more cells.",
        )


def warn_about_result(
    rounds: Sequence[Round],
    selected: int,
    agreed: bool,
    min_consensus: float,
    *,
    n_start: int,
    failed: bool,
    pruned: bool,
    lost: Sequence[str],
) -> None:
    """Say what the numbers mean for the user: collapse, disagreement, too few categories to start from, lost labels."""
    kept = rounds[selected]
    advice = []
    if failed:
        advice.append("The loss became NaN or infinite; the rounds before are kept. Lower `lr`.")
    if kept.n_used < 2 or kept.entropy > UNINFORMATIVE:
        advice.append(
            f"The categories have collapsed: {kept.n_used} of {len(kept.categories)} are used and their "
            f"probabilities have {kept.entropy:.0%} of the largest entropy. Lower `coupling_weight` or `dropout_rate`, "
            "train longer (`n_steps`), or check that the data are transformed and have structure."
        )
    if pruned and not agreed:
        advice.append(
            f"No number of categories reached a consensus of {min_consensus:g}: the highest, "
            f"{kept.consensus:.2f}, is kept. Lower `min_consensus` for more and less certain categories, or raise "
            "`coupling_weight`."
        )
    elif pruned and len(kept.categories) == n_start:
        advice.append(
            f"The number of categories at the start, {len(kept.categories)}, is the one kept: there may be more. "
            "Raise `n_categories`."
        )
    if lost:
        advice.append(
            f"Labels that no cell trained on has: {listing(lost)}. They have no category. Label more of their cells, or "
            "raise `train_size`."
        )
    for text in advice:
        warn(text)
