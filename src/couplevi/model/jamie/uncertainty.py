from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from scipy.optimize import minimize_scalar
from scipy.stats import nbinom, norm

from couplevi._arrays import dense
from couplevi.losses import overdispersion
from couplevi.metrics import foscttm
from couplevi.model.jamie.linear import fit_linear_paths, weigh_linear_paths
from couplevi.preparation import presence

if TYPE_CHECKING:
    import lightning.pytorch as pl
    from torch.distributions import Normal

    from couplevi._types import BoolArray, FloatArray, IntArray
    from couplevi.dataloaders import CoupledDataset
    from couplevi.model.jamie.module import JAMIEModule
    from couplevi.registry import Registered

MIN_CALIBRATION, MAX_CALIBRATION = 20, 2_000
"""Fewest and most pairs that are held back."""
FEWEST_PAIRS = 4 * MIN_CALIBRATION
"""Pairs that data need to have, so that some are held back."""
WEIGHED_AT = (0.1, 0.25, 0.5, 1.0)
"""Shares of the epochs before release after which pairs of modalities are weighed."""
POWER = 4
"""Of how well profiles find each other in the weight of their links."""
LEVEL = 0.9
Z = float(norm.ppf((1 + LEVEL) / 2))
"""A Gaussian stays within so many standard deviations with that probability."""
LOG_FACTORS = (-2.0, 3.0)
"""Range of the logarithm of the factor by which counts never seen are more dispersed than those trained on."""
N_SAMPLES = 16
"""Samples of the posterior that the variance of an imputation is taken over."""


class Uncertainty:
    """Standard deviations of imputations: what the latents leave unexplained, plus the spread of the posterior.

    The former is kept with the weights of the module, as a variance for each feature; NaN before it is measured.

    Parameters
    ----------
    module
        Module that imputes.
    """

    def __init__(self, module: JAMIEModule) -> None:
        self.module = module

    def is_known(self, source: str, target: str) -> bool:
        """Whether it was measured."""
        return not self.module.residual_variance(source, target).isnan().any()

    def sd(
        self,
        source: str,
        target: str,
        h: torch.Tensor,
        q: Normal,
        covariates: torch.Tensor,
        batches: Sequence[int],
        library: torch.Tensor | None,
        mean: FloatArray,
    ) -> FloatArray:
        """Standard deviations of what is predicted from the mean of posteriors, shape ``(n, n_vars)``."""
        spread = self._spread(source, target, h, q, covariates, batches, library, mean)
        inflation = np.nan_to_num(self._inflation(source, target, covariates), nan=1.0)
        variance = self._variance(source, target, h, covariates, mean)
        return np.sqrt(spread + np.square(inflation) * variance)

    def _spread(
        self,
        source: str,
        target: str,
        h: torch.Tensor,
        q: Normal,
        covariates: torch.Tensor,
        batches: Sequence[int],
        library: torch.Tensor | None,
        mean: FloatArray,
    ) -> FloatArray:
        """Variance of what is predicted over samples of the posteriors, of the shape of `mean`."""
        spread, observation = np.zeros_like(mean), self.module.observation(target)
        for z in self.module.latent_samples(q, N_SAMPLES):
            drawn = self.module.predict(source, target, h, z, covariates, batches, library)
            spread += np.square(observation.features(drawn) - mean)
        return spread / N_SAMPLES

    def _variance(
        self, source: str, target: str, read: torch.Tensor, covariates: torch.Tensor, mean: FloatArray
    ) -> FloatArray:
        """Variance of measured values around what is imputed, of the shape of `mean`."""
        residual = self.module.residual_variance(source, target).cpu().numpy()
        observation = self.module.observation(target)
        if not observation.is_count:
            return residual * np.square(self.module.width(source, target)(read, covariates, mean))
        if observation.is_binary:
            return mean * (1 - mean)
        return mean + residual * np.square(mean)

    def uncalibrated(self, source: str, target: str, covariates: FloatArray) -> IntArray:
        """Batches of these profiles of the source in which too few pairs were held back to measure intervals."""
        unknown = np.isnan(self._inflation(source, target, torch.from_numpy(covariates)))[:, 0]
        return np.unique(covariates[unknown, : self.module.n_batches].argmax(axis=1)) if unknown.any() else np.array([])

    def _inflation(self, source: str, target: str, covariates: torch.Tensor) -> FloatArray:
        """Factor of the residual standard deviation of each profile, shape ``(n, 1)``."""
        n_batches = self.module.n_batches
        if not n_batches:
            return np.ones((len(covariates), 1), dtype=np.float32)
        factors = self.module.inflation(source, target).cpu().numpy()
        return factors[covariates[:, :n_batches].argmax(dim=1).cpu().numpy()][:, None]

    @torch.inference_mode()
    def measure(
        self,
        registered: Registered,
        dataset: CoupledDataset,
        order: Mapping[str, IntArray],
        held_back: IntArray,
        trained_on: IntArray,
    ) -> None:
        """Weight of the linear path, and residual variance, of each modality predicted from each other.

        The residuals of the pairs trained on, of which there are many, give each feature's share; those of the pairs
        held back, by how much all are too small. Both are measured by what 90 % of the absolute residuals stay below,
        so that outliers do not widen the intervals of all, each relative to its width. Of counts, the overdispersion of
        each feature is measured on the former, and the factor of all is the likeliest for the latter.

        Parameters
        ----------
        registered, dataset, order
            Data, what is trained on of them, and the row of each of its profiles.
        held_back, trained_on
            Units of the dataset.
        """
        self.module.eval()
        fit_linear_paths(self.module, dataset, trained_on)
        weigh_linear_paths(self.module, dataset, held_back)
        some = np.random.default_rng(0).permutation(trained_on)[:MAX_CALIBRATION]
        for source, target in self.module.pairs:
            fitted, unseen = (
                self._predicted(registered, dataset, order, units, source, target) for units in (some, held_back)
            )
            if len(unseen.batch) < MIN_CALIBRATION or len(fitted.batch) < MIN_CALIBRATION:
                continue
            if self.module.observation(target).is_count:
                variance = _overdispersion(fitted, unseen)
            else:
                width = self.module.width(source, target)
                width.fit(fitted.read, fitted.covariates, fitted.mean, fitted.error)
                of_fitted, of_unseen = (width(p.read, p.covariates, p.mean) for p in (fitted, unseen))
                variance = np.square(np.quantile(fitted.error / of_fitted, LEVEL, axis=0) / Z)
                variance *= unseen.inflation(variance * np.square(of_unseen))
            self.module.residual_variance(source, target).copy_(torch.from_numpy(variance))
            self._measure_batches(source, target, unseen)

    @torch.inference_mode()
    def measure_batches(
        self,
        registered: Registered,
        dataset: CoupledDataset,
        order: Mapping[str, IntArray],
        held_back: IntArray,
        trained_on: IntArray,
    ) -> None:
        """By how much the intervals of each batch are too narrow, where enough of its pairs were held back.

        Parameters
        ----------
        registered, dataset, order, held_back, trained_on
            See :meth:`measure`.
        """
        self.module.eval()
        for source, target in self.module.pairs:
            if self.is_known(source, target):
                unseen = self._predicted(registered, dataset, order, held_back, source, target)
                self._measure_batches(source, target, unseen)

    def _measure_batches(self, source: str, target: str, unseen: Predicted) -> None:
        variance = self._variance(source, target, unseen.read, unseen.covariates, unseen.mean)
        names, sizes = np.unique(unseen.batch, return_counts=True)
        for b in names[sizes >= MIN_CALIBRATION] if self.module.n_batches and (variance > 0).any() else ():
            factor = unseen.inflation(variance, (unseen.batch == b)[:, None])
            self.module.inflation(source, target)[b] = math.sqrt(factor)

    def _predicted(
        self,
        registered: Registered,
        dataset: CoupledDataset,
        order: Mapping[str, IntArray],
        units: IntArray,
        source: str,
        target: str,
    ) -> Predicted:
        """What is predicted of the units measured in both modalities, in the units of the target."""
        module = self.module
        table = dict(zip(dataset.modalities, dataset.units[units].T, strict=True))
        both = (table[source] >= 0) & (table[target] >= 0)
        places = table[source][both]
        h, covariates = (
            torch.from_numpy(np.asarray(rows[source][places])).to(module.device)
            for rows in (dataset.rows, dataset.covariates)
        )
        q, observation = module.encode(source, h, covariates), module.observation(target)
        mean = observation.features(module.predict(source, target, h, module.shared(q.loc), covariates, ()))
        measured = dense(
            registered.readers[target].read(registered.profiles(target)[order[target][table[target][both]]])
        )
        if observation.is_binary:
            measured = presence(measured)
        batch = covariates[:, : module.n_batches].cpu().numpy()
        batch = batch.argmax(axis=1) if batch.shape[1] else np.zeros(len(batch), int)
        if observation.is_count:
            spread = np.zeros_like(mean)
        else:
            spread = self._spread(source, target, h, q, covariates, (), None, mean)
        return Predicted(measured, mean, batch, h, covariates, spread)


class Predicted(NamedTuple):
    """Measured and predicted values of the same profiles, shape ``(n, n_vars)``.

    Beside them their batches, ``(n,)``, the prepared features of the source, their covariates, and the variance of what is
    predicted over samples of the posterior, ``(n, n_vars)``; of counts not measured, and 0.
    """

    measured: FloatArray
    mean: FloatArray
    batch: IntArray
    read: torch.Tensor
    covariates: torch.Tensor
    spread: FloatArray

    @property
    def error(self) -> FloatArray:
        """Absolute error."""
        return np.abs(self.measured - self.mean)

    def inflation(self, variance: FloatArray, among: BoolArray | Literal[True] = True) -> float:
        """Factor of a variance, where it is not 0, with which intervals hold their share of the measured values.

        The spread is added to it, and must not be taken for it: where most values are 0 and imputed alike, a little width
        more includes them all.
        """
        known = (variance > 0) & among
        excess = (np.square(self.error[known] / Z) - self.spread[known]) / variance[known]
        return max(float(np.quantile(excess, LEVEL)), 0.0) if known.any() else 1.0


def _overdispersion(fitted: Predicted, unseen: Predicted) -> FloatArray:
    found = overdispersion(*(torch.from_numpy(np.asarray(x, np.float64)) for x in (fitted.measured, fitted.mean)))
    of_each = found.numpy()

    def surprise(log_factor: float) -> float:
        shape = 1 / (of_each * math.exp(log_factor))
        return -float(nbinom.logpmf(unseen.measured, shape, shape / (shape + unseen.mean)).mean())

    return of_each * math.exp(minimize_scalar(surprise, bounds=LOG_FACTORS, method="bounded").x)


def n_calibration(dataset: CoupledDataset, share: float, release_epoch: int, fewest_pairs: int = FEWEST_PAIRS) -> int:
    """Number of pairs to hold back; 0 where these would be too few, or there is no epoch before they are released."""
    n_pairs = int(((dataset.units >= 0).sum(axis=1) > 1).sum())
    if not share or not release_epoch or n_pairs < fewest_pairs:
        return 0
    return min(max(round(share * n_pairs), MIN_CALIBRATION), MAX_CALIBRATION)


@torch.inference_mode()
def weigh_pairs(module: JAMIEModule, dataset: CoupledDataset, units: IntArray) -> None:
    """Let the links of two modalities count by how well profiles of units not trained on find each other.

    The weight is ``1 - 2 FOSCTTM``, at least 0 and relative to the largest of all pairs: of two modalities it is 1, and
    one that says nothing of the others costs them nothing.
    """
    module.eval()
    gain = torch.full_like(module.pair_weights, math.nan)
    for a, b in combinations(dataset.modalities, 2):
        z = []
        both = (dataset.units[units][:, [module.index[a], module.index[b]]] >= 0).all(axis=1)
        for m in (a, b):
            places = dataset.units[units][both, module.index[m]]
            h, covariates = (
                torch.from_numpy(np.asarray(rows[m][places])).to(module.device)
                for rows in (dataset.rows, dataset.covariates)
            )
            z.append(module.shared(module.encode(m, h, covariates).loc).cpu().numpy())
        if both.sum() >= MIN_CALIBRATION:
            i, j = module.index[a], module.index[b]
            gain[i, j] = gain[j, i] = max(0.0, 1 - 2 * foscttm(*z)) ** POWER
    largest = gain.nan_to_num(0).max()
    if largest > 0:
        module.pair_weights.copy_((gain / largest).nan_to_num(1.0))


class Calibration(Callback):
    """Measures, on units that are held back so far, how far predictions are off; they are trained on from then on.

    Parameters
    ----------
    measure
        Called once with these units and those trained on so far, rows of ``dataset.units``.
    weigh
        Called with these units in some epochs before; None never.
    """

    def __init__(self, measure: Callable[[IntArray, IntArray], None], weigh: Callable[[IntArray], None] | None) -> None:
        self.measure = measure
        self.weigh = weigh

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Measure in the epoch in which the units are released."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        shares = {round(share * data.release_epoch) for share in WEIGHED_AT}
        if self.weigh and trainer.current_epoch in shares - {0} and len(data.calibration_idx):
            self.weigh(data.calibration_idx)
            pl_module.train()
        if trainer.current_epoch == data.release_epoch and len(data.calibration_idx):
            self.measure(data.calibration_idx, np.setdiff1d(data.train_idx, data.calibration_idx))
            pl_module.train()
