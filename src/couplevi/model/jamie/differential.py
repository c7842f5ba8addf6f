"""Groups of cells compared by the mean of what a modality measures in them, in the way of scvi-tools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import torch
from mudata import MuData
from scipy.stats import false_discovery_control, norm
from scvi.model.base._de_core import _de_core

from couplevi._arrays import dense
from couplevi._validate import check_rows, expected, listing
from couplevi.model._dataset import CHUNK, chunks
from couplevi.model.jamie.inference import imputed, posteriors
from couplevi.model.jamie.module import of_batch
from couplevi.model.jamie.uncertainty import Uncertainty
from couplevi.preparation import COUNTS_PER_CELL, library_size

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from couplevi._types import BoolArray, FloatArray, IntArray
    from couplevi.model.jamie.module import JAMIEModule
    from couplevi.registry import ModalityReader, Registered

FEWEST_CELLS = 2
"""Of a group."""


class GroupMeans:
    """Samples of the mean of groups of cells: shares of the library of counts, probabilities, or features as they are.

    Their centre is the mean of what is decoded from the posteriors of the cells' latents. Their spread is that of a mean
    of as many measured values: posteriors of latents alone would make it far too small, as they do not know how well the
    decoder knows a feature.

    Parameters
    ----------
    module
        Module that decodes.
    reader
        Reader of the modality that is read.
    profiles, covariates
        Its profiles, and their covariates, shape ``(n, n_covariates)``.
    target
        Modality that is decoded: the one that is read, or another.
    batch_size
        Profiles read at a time; None is 4,096.
    """

    def __init__(
        self,
        module: JAMIEModule,
        reader: ModalityReader,
        profiles: AnnData,
        covariates: FloatArray,
        target: str,
        batch_size: int | None,
    ) -> None:
        self.module, self.reader, self.target = module, reader, target
        self.profiles, self.covariates, self.batch_size = profiles, covariates, batch_size
        self.observation = module.observation(target)
        self.rng, self.generator = np.random.default_rng(0), torch.Generator().manual_seed(0)

    def __call__(
        self, adata: AnnData, *, indices: IntArray, transform_batch: str | None, n_samples_overall: int
    ) -> FloatArray:
        """Samples for one group, shape ``(n_samples_overall, n_vars)``, as scvi-tools asks for them."""
        n = len(indices)
        if n < FEWEST_CELLS:
            remedy = "Name groups that are there, and leave small ones out."
            raise ValueError(expected(f"at least {FEWEST_CELLS} cells in each group", n, remedy))
        if self.reader.modality == self.target:
            moments = self._denoised(indices, transform_batch, n_samples_overall // n + 1)
        else:
            moments = self._imputed(indices, transform_batch)
        total, first, second = 0, np.zeros(()), np.zeros(())
        for mean, square in moments:
            total, first, second = total + len(mean), first + mean.sum(axis=0), second + square.sum(axis=0)
        mean, size = first / total, (n_samples_overall, len(first))
        variance = np.maximum(second / total - np.square(mean), 0) / n
        if self.observation.is_count:  # positive, with this mean and variance
            return self.rng.gamma(np.square(mean) / variance, variance / mean, size).astype(np.float32)
        return self.rng.normal(mean, np.sqrt(variance), size).astype(np.float32)

    @torch.inference_mode()
    def _denoised(self, cells: IntArray, batch: str | None, n_draws: int) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Mean and mean square of measured values of cells, given draws from the posteriors of their latents."""
        module, design, profiles = self.module, self.reader.design, self.profiles[cells]
        batches = [] if batch is None else design.batch_columns(batch, self.target)
        matrix, covariates = self.reader.read(profiles), self.covariates[cells]
        for rows, _, c, q in posteriors(module, self.reader, profiles, covariates, self.batch_size):
            told = of_batch(c, module.n_batches, batches[0]) if batches else c
            library: torch.Tensor | None = None
            size: FloatArray = np.ones((len(c), 1))
            if self.module.has_library(self.target):
                size = library_size(matrix[rows])[:, None]
                library = torch.from_numpy(size).to(c)
            for _ in range(n_draws):
                z = q.loc + q.scale * torch.randn(q.loc.shape, generator=self.generator).to(q.loc)
                px = module.decode(self.target, module.shared(z), told, module.private(z), library)
                mean = self.observation.features(px.mean).astype(np.float64)
                if self.observation.is_count:
                    yield mean / size, (px.variance.cpu().numpy() + np.square(mean)) / size**2
                else:
                    yield mean, np.square(dense(matrix[rows]) - mean) + np.square(mean)

    def _imputed(self, cells: IntArray, batch: str | None) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Mean and mean square of what would be measured of cells."""
        batches, uncertainty = self.reader.design.batch_columns(batch, self.target), Uncertainty(self.module)
        cells_of = (self.profiles[cells], self.covariates[cells])
        is_share = self.module.has_library(self.target)
        for _, mean, sd in imputed(
            self.module, self.reader, *cells_of, self.target, batches, None, uncertainty, self.batch_size
        ):
            assert sd is not None
            size = mean.sum(axis=1, keepdims=True, dtype=np.float64) if is_share else 1.0
            yield mean / size, np.square(mean / size) + np.square(sd / size)

    def statistics(self, manager: Any, idx1: BoolArray, idx2: BoolArray) -> dict[str, FloatArray]:
        """Means of measured values in two groups and how many are not 0, by the names of scvi-tools."""
        found: dict[str, FloatArray] = {}
        for group, mask in enumerate((idx1, idx2), start=1):
            cells = np.flatnonzero(mask)
            raw = seen = scaled = np.zeros(())
            for _, x in chunks(self.reader.read(self.profiles[cells]), None, self.batch_size or CHUNK):
                raw, seen = raw + x.sum(axis=0, dtype=np.float64), seen + (x != 0).sum(axis=0)
                scaled = scaled + (x / library_size(x)[:, None]).sum(axis=0)
            found |= {f"raw_mean{group}": raw / len(cells), f"non_zeros_proportion{group}": seen / len(cells)}
            if self.observation.is_count:
                found[f"raw_normalized_mean{group}"] = COUNTS_PER_CELL * scaled / len(cells)
        return found


def compare_groups(
    module: JAMIEModule,
    registered: Registered,
    source: str,
    target: str,
    *,
    groupby: str | None,
    groups: tuple[Any, Any],
    cells: tuple[Any, Any],
    batches: tuple[Sequence[str] | None, Sequence[str] | None],
    all_stats: bool,
    batch_size: int | None,
    **options: Any,
) -> pd.DataFrame:
    """Compare groups of profiles of a source by what is expected of a target, see ``JAMIE.differential_expression``."""
    reader, profiles, covariates = (
        registered.readers[source],
        registered.profiles(source),
        registered.covariates(source),
    )
    obs = _columns(registered, profiles)
    if cells[0] is None:
        if groupby is None:
            raise ValueError(expected("`groupby` or `idx1`, which say what is compared", "neither"))
        if groupby not in obs:
            raise KeyError(expected(f"column {groupby!r} in `obs`", f"columns {listing(obs)}"))
        known = obs[groupby].notna().to_numpy()
        profiles, covariates, obs = profiles[known], covariates[known], obs[known]
    measured = [reader.design.batches[b] for b in reader.design.batches_of(target)]
    if options["batch_correction"] and not measured:
        raise ValueError(expected("a model with `batch_key` for `batch_correction`", "one without", "Leave it out."))
    means = GroupMeans(module, reader, profiles, covariates, target, batch_size)
    is_count = module.observation(target).is_count
    table = _de_core(
        SimpleNamespace(
            adata=ad.AnnData(obs=obs), get_state_registry=lambda key: SimpleNamespace(categorical_mapping=measured)
        ),
        means,
        None,
        groupby,
        *groups,
        *(i if i is None or isinstance(i, str) else check_rows(i, len(obs), f"cells of {source!r}") for i in cells),
        all_stats and source == target,
        means.statistics,
        registered.readers[target].var_names,
        batchid1=batches[0],
        batchid2=batches[1],
        **({} if is_count else {"change_fn": difference}) | options,
    )
    if options["mode"] == "change":
        found = _discoveries(table, len(registered.readers[target].var_names), options["fdr"])
        table[f"is_de_fdr_{options['fdr']}"] = found
    return table if is_count else table.rename(columns=lambda name: name.replace("lfc_", "effect_"))


def _columns(registered: Registered, profiles: AnnData) -> pd.DataFrame:
    """Columns of ``mdata.obs`` and those that the modality alone has, for its profiles."""
    if not isinstance(registered.data, MuData):
        return profiles.obs.copy()
    shared = registered.data.obs.loc[profiles.obs_names]
    return shared.join(profiles.obs[profiles.obs.columns.difference(shared.columns)])


def difference(x: FloatArray, y: FloatArray, pseudocounts: float) -> FloatArray:
    """Change of what has no ratio."""
    return x - y


def _discoveries(table: pd.DataFrame, n_vars: int, fdr: float) -> BoolArray:
    """Features more likely changed than not, that Benjamini and Hochberg's procedure finds in each comparison.

    scvi-tools adds up posterior probabilities, which have a flat prior for each feature: too low a rate if few differ.
    """
    p = 2 * norm.sf(np.abs(table["lfc_mean"]) / np.maximum(table["lfc_std"], np.finfo(np.float32).tiny))
    q = [false_discovery_control(part) for part in p.reshape(-1, n_vars)]
    return (np.concatenate(q) <= fdr) & (table["proba_de"].to_numpy() > 0.5)
