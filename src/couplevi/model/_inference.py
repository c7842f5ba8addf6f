from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import torch
from mudata import MuData

from couplevi._validate import (
    check_count,
    check_different,
    check_modality,
    check_mudata,
    check_obs_names,
    check_option,
    expected,
)
from couplevi.data import rows_in_obs
from couplevi.dataloaders import Links
from couplevi.model._reader import ModalityReader, registered_readers
from couplevi.model._setup import link_keys, links_between
from couplevi.model._store import imputation_store

if TYPE_CHECKING:
    import scipy.sparse as sp
    from anndata import AnnData
    from torch.distributions import Normal

    from couplevi._types import FloatArray, ModalityPair
    from couplevi.model._settings import Settings
    from couplevi.module import JAMIEModule

CHUNK = 4096
"""Profiles encoded or decoded at a time unless `batch_size` says otherwise."""


class CoupledInferenceMixin:
    """Places profiles and cells in the common space, and decodes them into other modalities."""

    # of the model
    module: JAMIEModule
    adata: Any
    settings_: Settings
    modalities_: list[str]
    registry_: dict[str, Any]
    var_names_: dict[str, Sequence[str]]
    device: torch.device
    _check_if_trained: Callable[..., None]
    _decoded: Callable[[str, torch.Tensor], FloatArray]
    _posterior_variance: Callable[[str, Normal, FloatArray], FloatArray]

    def get_latent_representation(
        self,
        adata: AnnData | MuData | None = None,
        *,
        modality: str | None = None,
        indices: Sequence[int] | None = None,
        give_mean: bool = True,
        batch_size: int | None = None,
    ) -> FloatArray:
        """Place profiles, or cells, in the common space.

        Parameters
        ----------
        adata
            New data: a MuData, or an AnnData of the `modality` alone, with the features of the training data by name.
            None takes the data of the model.
        modality
            Modality whose profiles are placed, each by itself. None places the cells of a MuData: the mean over the
            modalities measured in a cell, weighted by the learned weight of each, of latents averaged over all links.
        indices
            Rows to place, of the modality or of ``mdata.obs``; None places all.
        give_mean
            Mean of the posterior; False draws a sample from it.
        batch_size
            Profiles encoded at a time; None is 4,096. The result does not depend on it.

        Returns
        -------
        Shape ``(n_profiles, n_latent)`` in the order of the modality's ``obs_names``, or ``(n_obs, n_latent)`` in
        that of ``mdata.obs_names``; float32.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        KeyError
            If the modality, its layer or representation is missing.
        ValueError
            If features are missing, or neither data nor modality determine what to place.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.branching_manifold(n_obs=100)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
        >>> model.get_latent_representation(mdata["rna"][:10], modality="rna").shape
        (10, 32)
        """
        self._check_if_trained(warn=False)
        data = self._data(adata)
        if modality is None:
            if not isinstance(data, MuData):
                remedy = f"It is one of {self.modalities_}."
                raise ValueError(expected("`modality` to say what the AnnData holds", "None", remedy))
            z = self._latent_of_cells(data, give_mean, batch_size)
            return z if indices is None else z[np.asarray(indices)]
        profiles = self.reader(modality).profiles(data)
        if indices is not None:
            profiles = profiles[np.asarray(indices)]
        return self._latent_of_profiles(profiles, modality, give_mean, batch_size)

    @torch.inference_mode()
    def impute(
        self,
        *,
        source: str,
        target: str,
        adata: AnnData | MuData | None = None,
        return_sd: bool = False,
        batch_size: int | None = None,
    ) -> AnnData:
        """Predict one modality from another: the target's decoder applied to the mean latent of the source.

        Parameters
        ----------
        source, target
            Modality that was measured, and the one to predict.
        adata
            New data: a MuData with the source, or an AnnData of the source alone. None takes the model's data.
        return_sd
            Add predictive standard deviations: what the latents leave unexplained, measured per feature on pairs that
            were held back in the first half of training, plus the spread of the posterior, propagated by sampling.
            Approximate, for cells never seen; ``X +- 1.645 sd`` holds about 90 % of the measured values.
        batch_size
            Profiles imputed at a time; None is 4,096. The result does not depend on it.

        Returns
        -------
        AnnData of all cells of the source (with their ``obs``) by the features of the target, ``X`` in the units of
        the target's registered values, float32; with `return_sd` also ``layers["sd"]``, at least 0, in the same
        units.

        Raises
        ------
        RuntimeError
            If the model is not trained, or `return_sd` is asked of one that could not hold back enough pairs.
        KeyError
            If a modality, its layer or representation is missing.
        ValueError
            If source and target are the same, or features are missing.
        """
        profiles = self._imputable(source, target, adata, return_sd)
        imputed = np.empty((profiles.n_obs, len(self.var_names_[target])), dtype=np.float32)
        layers = {"sd": np.empty_like(imputed)} if return_sd else {}
        for rows, mean, sd in self._imputed(profiles, source, target, return_sd, batch_size):
            imputed[rows] = mean
            if sd is not None:
                layers["sd"][rows] = sd
        var = pd.DataFrame(index=pd.Index(self.var_names_[target]))
        return ad.AnnData(imputed, obs=profiles.obs.copy(), var=var, layers=layers)

    @torch.inference_mode()
    def impute_to_store(
        self,
        path: str | os.PathLike[str],
        *,
        source: str,
        target: str,
        adata: AnnData | MuData | None = None,
        return_sd: bool = False,
        batch_size: int | None = None,
    ) -> None:
        """Like :meth:`impute`, into a zarr store chunk by chunk, for more values than fit into memory.

        Parameters
        ----------
        path
            Folder of the store, which must not exist; ``anndata.read_zarr(path)`` reads it. It appears when it is
            complete.
        source, target, adata, return_sd, batch_size
            See :meth:`impute`; a chunk of the store holds `batch_size` cells.

        Raises
        ------
        FileExistsError
            If there is something at `path`.
        KeyError, RuntimeError, ValueError
            As :meth:`impute`.

        Examples
        --------
        >>> import tempfile
        >>> import anndata
        >>> import couplevi as cvi
        >>> mdata = cvi.data.branching_manifold(n_obs=100)
        >>> quick = {"max_epochs": 2, "enable_progress_bar": False}
        >>> model = cvi.tl.jamie(mdata, modalities=("rna", "ephys"), train_kwargs=quick)
        >>> path = tempfile.mkdtemp() + "/ephys.zarr"
        >>> model.impute_to_store(path, source="rna", target="ephys")
        >>> anndata.read_zarr(path).shape
        (100, 40)
        """
        profiles = self._imputable(source, target, adata, return_sd)
        var = pd.DataFrame(index=pd.Index(self.var_names_[target]))
        with imputation_store(Path(path), profiles.obs, var, batch_size or CHUNK, return_sd) as (values, deviations):
            for rows, mean, sd in self._imputed(profiles, source, target, return_sd, batch_size):
                values[rows] = mean
                if sd is not None:
                    deviations[rows] = sd

    def has_sd(self, source: str, target: str) -> bool:
        """Whether :meth:`impute` can give standard deviations.

        Parameters
        ----------
        source, target
            Modality that was measured, and the one to predict.

        Returns
        -------
        True if enough pairs were held back in training.
        """
        return not self.module.residual_variance(source, target).isnan().any()

    def get_reconstruction_error(
        self, adata: MuData | None = None, *, batch_size: int | None = None
    ) -> dict[str, float]:
        """Mean squared error of each modality decoded from its own mean latent, relative to the features' variances.

        Parameters
        ----------
        adata
            MuData with the modalities of the model; None takes the model's data.
        batch_size
            Profiles decoded at a time; None is 4,096.

        Returns
        -------
        For each modality a mean over profiles and features, at least 0. Only what the principal components hold is
        counted.
        """
        return {m: float(error.mean()) for m, (error, _) in self._errors(adata, batch_size).items()}

    def get_elbo(self, adata: MuData | None = None, *, batch_size: int | None = None) -> float:
        """Negative evidence lower bound up to constants, in the units of the objective; lower is better.

        Parameters
        ----------
        adata
            MuData with the modalities of the model; None takes the model's data.
        batch_size
            Profiles decoded at a time; None is 4,096.

        Returns
        -------
        Reconstruction error plus weighted divergence, mean over the profiles of all modalities.
        """
        weight = self.module.weights["kl"]
        return float(
            np.concatenate([error + weight * kl for error, kl in self._errors(adata, batch_size).values()]).mean()
        )

    # data

    def _data(self, adata: AnnData | MuData | None) -> AnnData | MuData:
        if adata is None:
            adata = self.adata
        if not isinstance(adata, ad.AnnData | MuData):
            found = "a model without data" if adata is None else type(adata).__name__
            raise ValueError(expected("an AnnData or a MuData", found, "Pass `adata=`, or load the model with it."))
        if isinstance(adata, MuData):
            check_obs_names(adata, [m for m in self.modalities_ if m in adata.mod])
        return adata

    def reader(self, modality: str, name: str = "modality") -> ModalityReader:
        """Reader of the registered values of a modality from any data, features as the model was trained on.

        Parameters
        ----------
        modality
            Modality of the model.
        name
            What it is called in the message if there is none.

        Returns
        -------
        An object whose ``read(data)`` gives the values, cells by features.

        Raises
        ------
        ValueError
            If the model has no such modality.
        """
        check_option(modality, self.modalities_, name)
        return self._readers()[modality]

    def _readers(self) -> dict[str, ModalityReader]:
        """Readers of the registered values, features as the model was trained on."""
        return {
            m: replace(r, var_names=tuple(self.var_names_[m]))
            for m, r in registered_readers(self.registry_, self.modalities_).items()
        }

    def _links(self, mdata: MuData, kind: str) -> dict[ModalityPair, sp.csr_array]:
        """Links of one kind, ``"correspondence"`` or ``"match"``, between the modalities that `mdata` has."""
        setup = self.registry_["setup_args"]
        keys = link_keys(setup["modalities"], setup[f"{kind}_key"], f"{kind}_key")
        present = [m for m in self.modalities_ if m in mdata.mod]
        return links_between(mdata, present, keys, by_name=kind == "correspondence")

    # inference

    def _imputable(self, source: str, target: str, adata: AnnData | MuData | None, return_sd: bool) -> AnnData:
        """Profiles to impute from; raise unless the model can."""
        self._check_if_trained(warn=False)
        data = self._data(adata)
        profiles = self.reader(source, "source").profiles(data)
        self.reader(target, "target")
        check_different(source, target)
        if return_sd and not self.has_sd(source, target):
            remedy = (
                "It takes 80 pairs, 2 epochs and `calibration_size` above 0. Leave `return_sd` out, or train again."
            )
            raise RuntimeError(expected("a model with calibrated standard deviations", "one without", remedy))
        return profiles

    def _imputed(
        self, profiles: AnnData, source: str, target: str, return_sd: bool, batch_size: int | None
    ) -> Iterator[tuple[slice, FloatArray, FloatArray | None]]:
        """Rows, imputed values and their standard deviations, in chunks."""
        residual = self.module.residual_variance(source, target).cpu().numpy()
        for rows, _, q in self._posteriors(profiles, source, batch_size):
            mean = self._decoded(target, q.loc)
            variance = self._posterior_variance(target, q, mean) + residual if return_sd else None
            yield rows, mean, None if variance is None else np.sqrt(variance)

    @torch.inference_mode()
    def _posteriors(
        self, profiles: AnnData, modality: str, batch_size: int | None
    ) -> Iterator[tuple[slice, torch.Tensor, Normal]]:
        """Rows, prepared features and posterior of the profiles of one modality, in chunks."""
        matrix = self.reader(modality).read(profiles)
        preparation = self.module.preparation(modality).record()
        self.module.eval()
        step = CHUNK if batch_size is None else batch_size
        check_count(step, "batch_size")
        for start in range(0, matrix.shape[0], step):
            rows = slice(start, start + step)
            h = torch.from_numpy(preparation.transform(matrix[rows])).to(self.device)
            yield rows, h, self.module.encode(modality, h)

    def _latent_of_profiles(
        self, profiles: AnnData, modality: str, give_mean: bool, batch_size: int | None
    ) -> FloatArray:
        z = np.empty((profiles.n_obs, self.settings_.n_latent), dtype=np.float32)
        for rows, _, q in self._posteriors(profiles, modality, batch_size):
            z[rows] = (q.loc if give_mean else q.sample()).cpu().numpy()
        return z

    @torch.inference_mode()
    def _latent_of_cells(self, mdata: MuData, give_mean: bool, batch_size: int | None) -> FloatArray:
        """Mean over the modalities of a cell; NaN for a cell with none of them."""
        present = [m for m in self.modalities_ if m in mdata.mod]
        z = {m: torch.from_numpy(self._latent_of_profiles(mdata[m], m, give_mean, batch_size)) for m in present}
        links, matches = (
            {pair: Links(matrix).all() for pair, matrix in self._links(mdata, kind).items()}
            for kind in ("correspondence", "match")
        )
        weights = self.module.aggregation_weights()
        total = np.zeros((mdata.n_obs, self.settings_.n_latent))
        weight = np.zeros((mdata.n_obs, 1))
        for m, aggregated in self.module.aggregate(z, links, matches).items():
            rows = rows_in_obs(mdata, m)
            total[rows] += weights[m].item() * aggregated.cpu().numpy()
            weight[rows] += weights[m].item()
        return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0).astype(np.float32)

    @torch.inference_mode()
    def _errors(self, adata: MuData | None, batch_size: int | None) -> dict[str, tuple[FloatArray, FloatArray]]:
        """Reconstruction error and divergence of each profile, by modality."""
        self._check_if_trained(warn=False)
        mdata = check_mudata(self._data(adata))
        errors = {}
        for m in self.modalities_:
            check_modality(mdata, m)
            parts = [self.module.profile_errors(m, h, q) for _, h, q in self._posteriors(mdata[m], m, batch_size)]
            error, kl = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
            errors[m] = error, kl
        return errors
