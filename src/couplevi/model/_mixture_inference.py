from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import torch
from mudata import MuData

from couplevi._arrays import dense
from couplevi._validate import check_count, check_obs_names, check_option, expected, listing
from couplevi.model._mixture_training import CHUNK, votes_between, votes_within
from couplevi.model._reader import ModalityReader, registered_readers
from couplevi.model._selection import consensus
from couplevi.model._setup import link_keys, links_between
from couplevi.module import COUNTS_PER_CELL

if TYPE_CHECKING:
    import scipy.sparse as sp
    from anndata import AnnData

    from couplevi._types import FloatArray, IntArray, Matrix, ModalityPair
    from couplevi.model._mixture_settings import MixtureSettings
    from couplevi.module import CplMixVAEModule

SINGLE = "adata"
"""Name that stands for the modality of an AnnData."""
TRAVERSED = (0.05, 0.95)
"""Quantiles of the states of a category between which a traversal goes."""


class MixtureInferenceMixin:
    """Says of cells which category they are of, how far the arms agree on it, and what their state is."""

    # of the model
    module: CplMixVAEModule
    adata: Any
    settings_: MixtureSettings
    modalities_: list[str]
    registry_: dict[str, Any]
    var_names_: dict[str, Sequence[str]]
    categories_: IntArray
    pruning_: pd.DataFrame
    device: torch.device
    _check_if_trained: Callable[..., None]
    _values: Callable[[ModalityReader, AnnData], Matrix]

    def predict_probabilities(
        self, adata: AnnData | MuData | None = None, *, modality: str | None = None, arm: int | None = None
    ) -> pd.DataFrame:
        """Probability of each category for each cell, mean over arms, and over the modalities measured in a cell.

        Parameters
        ----------
        adata
            New data: as at set-up, or for a model of several modalities an AnnData of one `modality`. None takes the
            data of the model.
        modality
            Modality whose arms are asked; None asks all.
        arm
            The one arm of each modality that is asked, counted from 0; None asks all.

        Returns
        -------
        Shape ``(n_cells, n_categories)``, rows that sum to 1, NaN for cells with none of the modalities. Columns are
        the categories, ``"0"`` being the largest.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        KeyError
            If a layer or representation is missing.
        ValueError
            If features are missing, or the modality or arm does not exist.
        """
        probabilities, names = self._probabilities(self._data(adata), self._of(adata, modality), arm)
        return pd.DataFrame(probabilities, index=names, columns=self._category_names())

    def predict(
        self, adata: AnnData | MuData | None = None, *, modality: str | None = None, arm: int | None = None
    ) -> pd.Series:
        """Most probable category of each cell, see :meth:`predict_probabilities`.

        Parameters
        ----------
        adata, modality, arm
            See :meth:`predict_probabilities`.

        Returns
        -------
        Categorical of strings, ``"0"`` being the largest category; missing for cells with none of the modalities.

        Raises
        ------
        RuntimeError, KeyError, ValueError
            As :meth:`predict_probabilities`.
        """
        probabilities = self.predict_probabilities(adata, modality=modality, arm=arm)
        best = np.where(probabilities.isna().any(axis=1), -1, probabilities.fillna(0).to_numpy().argmax(axis=1))
        labels = pd.Categorical.from_codes(best.tolist(), probabilities.columns)
        return pd.Series(labels, index=probabilities.index, name="category")

    @torch.inference_mode()
    def get_latent_representation(
        self, adata: AnnData | MuData | None = None, *, modality: str | None = None, arm: int = 0
    ) -> FloatArray:
        """Continuous state of each cell within its category, by one arm: the mean given the predicted category.

        States of different arms are not aligned, nor are those of different categories.

        Parameters
        ----------
        adata
            New data, as for :meth:`predict`; None takes the data of the model.
        modality
            Modality whose states are meant; None puts those of all modalities of a MuData side by side, by name. The category
            is that of :meth:`predict` for the data either way.
        arm
            Arm, counted from 0.

        Returns
        -------
        Shape ``(n_profiles, n_state)``, or ``(n_obs, n_modalities * n_state)`` for the cells of a MuData, NaN where a
        modality was not measured; float32, about standard normal.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ValueError
            If features are missing, or the modality or arm does not exist.
        """
        data, chosen = self._data(adata), self._of(adata, modality)
        deciding = self._of(adata, None) if isinstance(data, MuData) else chosen
        probabilities, names = self._probabilities(data, deciding, None)
        self._check_arm(-1 if arm is None else arm)
        most_probable = pd.Series(self.categories_[np.nan_to_num(probabilities).argmax(axis=1)], index=names)
        states = []
        for m in chosen:
            profiles = self._readers()[m].profiles(data)
            category = torch.tensor(most_probable.loc[profiles.obs_names].to_numpy())
            state = np.full((profiles.n_obs, self.settings_.n_state), np.nan, dtype=np.float32)
            for rows, x in self._profiles(profiles, m):
                state[rows] = self.module.state(m, arm, x, category[rows].to(self.device)).loc.cpu().numpy()
            states.append(pd.DataFrame(state, index=profiles.obs_names))
        if modality is not None:
            return states[0].to_numpy()
        return np.concatenate([s.reindex(names).to_numpy() for s in states], axis=1)

    @torch.inference_mode()
    def get_elbo(self, adata: AnnData | MuData | None = None) -> float:
        """Evidence lower bound in nats, mean over arms and profiles; higher is better.

        Parameters
        ----------
        adata
            New data, as at set-up; None takes the data of the model.

        Returns
        -------
        Of several modalities, the mean over the profiles of all. With the Gaussian likelihood, the density is that of
        the prepared features.
        """
        self._check_if_trained(warn=False)
        data = self._data(adata)
        bounds = [
            self.module.elbo(m, arm, x).cpu().numpy()
            for m in self._of(adata, None)
            for _, x in self._profiles(self._readers()[m].profiles(data), m)
            for arm in range(self.settings_.n_arms)
        ]
        return float(np.concatenate(bounds).mean())

    @torch.inference_mode()
    def consensus_matrix(
        self, adata: AnnData | MuData | None = None, *, between: tuple[str, str] | None = None
    ) -> pd.DataFrame:
        """How far the arms agree, category by category: ``N_kl / max(N_k., N_.l)``, mean over pairs of arms.

        ``N_kl`` counts cells that one arm puts into category k and the other into l; rows are the first of the two.

        Parameters
        ----------
        adata
            New data, as at set-up; None takes the data of the model.
        between
            Two modalities, whose arms alone are compared with each other's; None takes all pairs of arms.

        Returns
        -------
        Shape ``(n_categories, n_categories)``, in [0, 1]; the mean of the diagonal is the consensus. NaN where
        neither category has a cell.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ValueError
            If no two arms see the same cells, or `between` are not two modalities of the model.
        """
        self._check_if_trained(warn=False)
        data, n_arms = self._data(adata), self.settings_.n_arms
        chosen = self._of(adata, None)
        labels = {}
        for m in chosen:
            profiles = self._readers()[m].profiles(data)
            labels[m] = [np.empty(profiles.n_obs, dtype=np.int64) for _ in range(n_arms)]
            for rows, x in self._profiles(profiles, m):
                for arm, own in enumerate(labels[m]):
                    own[rows] = self.module.log_probabilities(m, arm, x).argmax(dim=1).cpu().numpy()
        inside = {m: np.ones(len(arms[0]), dtype=bool) for m, arms in labels.items()}
        links = self._links(data)
        if between is None:
            votes = [*votes_within(labels, inside), *votes_between(labels, inside, links)]
        else:
            if not isinstance(between, Sequence) or len(between) != 2 or len(set(between) & set(chosen)) != 2:
                raise ValueError(expected(f"`between` to be two of {chosen}", repr(between)))
            first, second = between
            matrix = links[first, second] if (first, second) in links else links[second, first].T.tocsr()
            votes = list(votes_between(labels, inside, {(first, second): matrix}))
        if not votes:
            remedy = "Build the model with `n_arms=2`, or link the modalities."
            raise ValueError(expected("arms that saw the same cells", "none", remedy))
        shares = consensus(votes, self.settings_.n_categories)[np.ix_(self.categories_, self.categories_)]
        return pd.DataFrame(shares, index=self._category_names(), columns=self._category_names())

    @property
    def pruning_history(self) -> pd.DataFrame:
        """One row per round of training.

        Columns: number of active categories and of those in use; consensus on held-out cells and smallest agreement on
        those trained on; held-out evidence lower bound in nats, how much it is below the best one's and the standard
        error of that; and whether the round was kept.
        """
        return self.pruning_.copy()

    @torch.inference_mode()
    def traverse_state(
        self,
        category: str,
        *,
        dimension: int = 0,
        n_steps: int = 9,
        modality: str | None = None,
        arm: int = 0,
    ) -> pd.DataFrame:
        """What cells of a category look like along one dimension of their state, the others at their median.

        Parameters
        ----------
        category
            Name of a category, as :meth:`predict` gives it.
        dimension
            Dimension of the state, counted from 0.
        n_steps
            Number of steps, at least 2, from the 5 % to the 95 % quantile of the states of the cells of the category.
        modality
            Modality to decode; needed for a model of several.
        arm
            Arm, counted from 0.

        Returns
        -------
        Steps by features, indexed by the value of the state, in the units of the registered values; for counts, the
        expected counts per 10,000.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ValueError
            If the model has no data, no cell is of the category, or there is no such category, dimension, modality or
            arm.
        """
        check_count(n_steps, "n_steps", minimum=2)
        if modality is None and len(self.modalities_) > 1:
            raise ValueError(expected(f"`modality` to be one of {self.modalities_}", "None"))
        m = modality or self.modalities_[0]
        check_option(m, self.modalities_, "modality")
        names = self._category_names()
        check_option(category, names, "category")
        check_count(dimension, "dimension", minimum=0)
        check_option(dimension, range(self.settings_.n_state), "dimension")
        data = self._data(None)
        profiles = self._readers()[m].profiles(data)
        own = (self.predict() == category).loc[profiles.obs_names].to_numpy()
        if not own.any():
            raise ValueError(expected(f"cells of category {category!r} that were measured in {m!r}", "none"))
        state = self.get_latent_representation(modality=m, arm=arm)
        low, high = np.quantile(state[own, dimension], TRAVERSED)
        path = np.tile(np.median(state[own], axis=0), (n_steps, 1))
        path[:, dimension] = np.linspace(low, high, n_steps)
        index = torch.full((n_steps,), int(self.categories_[names.index(category)]), device=self.device)
        library = torch.full((n_steps, 1), COUNTS_PER_CELL, device=self.device)
        decoded = self.module.decode(m, arm, index, torch.from_numpy(path).to(self.device), library).cpu().numpy()
        if self.settings_.likelihood_of(m) == "gaussian":
            decoded = self.module.preparation(m).record().inverse(decoded)
        steps = pd.Index(path[:, dimension], name=f"state {dimension}")
        return pd.DataFrame(decoded, index=steps, columns=list(self.var_names_[m]))

    # data

    def _data(self, adata: AnnData | MuData | None) -> AnnData | MuData:
        if adata is None:
            adata = self.adata
        if not isinstance(adata, ad.AnnData | MuData):
            found = "a model without data" if adata is None else type(adata).__name__
            raise ValueError(expected("an AnnData or a MuData", found, "Pass `adata=`, or load the model with it."))
        if adata.n_obs == 0:
            raise ValueError(expected("at least one cell", "none"))
        if isinstance(adata, MuData):
            if self.modalities_ == [SINGLE]:
                found = f"a MuData with {list(adata.mod)}"
                raise ValueError(
                    expected("an AnnData, as at set-up", found, "Pass one of its modalities: `mdata[name]`.")
                )
            check_obs_names(adata, [m for m in self.modalities_ if m in adata.mod])
        elif not adata.obs_names.is_unique:
            double = listing(adata.obs_names[adata.obs_names.duplicated()].unique(), 3)
            raise ValueError(expected("each cell once", f"{double} more than once", "`adata.obs_names_make_unique()`"))
        return adata

    def _of(self, adata: AnnData | MuData | None, modality: str | None) -> list[str]:
        """Modalities that are asked for and present."""
        if modality is not None:
            check_option(modality, self.modalities_, "modality")
            return [modality]
        data = self._data(adata)
        if not isinstance(data, MuData):
            if len(self.modalities_) > 1:
                found = "an AnnData and no `modality`"
                remedy = f"Where there is an argument `modality`, it is one of {self.modalities_}."
                raise ValueError(expected("a MuData, or an AnnData of one modality", found, remedy))
            return list(self.modalities_)
        present = [m for m in self.modalities_ if m in data.mod]
        if not present:
            raise ValueError(expected(f"one of the modalities {self.modalities_}", f"modalities {list(data.mod)}"))
        return present

    def _readers(self) -> dict[str, ModalityReader]:
        """Readers of the registered values, features as the model was trained on."""
        readers = registered_readers(self.registry_, self.modalities_)
        return {m: replace(r, var_names=tuple(self.var_names_[m])) for m, r in readers.items()}

    def _links(self, data: AnnData | MuData) -> dict[ModalityPair, sp.csr_array]:
        """Links between the modalities that the data have."""
        if not isinstance(data, MuData):
            return {}
        setup = self.registry_["setup_args"]
        keys = link_keys(setup["modalities"], setup["correspondence_key"], "correspondence_key")
        return links_between(data, [m for m in self.modalities_ if m in data.mod], keys)

    # inference

    def _category_names(self) -> list[str]:
        return [str(k) for k in range(len(self.categories_))]

    def _check_arm(self, arm: int | None) -> None:
        if arm is not None:
            check_count(arm, "arm", minimum=0)
            check_option(arm, range(self.settings_.n_arms), "arm")

    def _profiles(self, profiles: AnnData, modality: str) -> Iterator[tuple[slice, torch.Tensor]]:
        """Rows of one modality and what the module reads of them, in chunks."""
        matrix = self._values(self._readers()[modality], profiles)
        preparation = self.module.preparation(modality).record()
        self.module.eval()
        for start in range(0, matrix.shape[0], CHUNK):
            rows = slice(start, min(start + CHUNK, matrix.shape[0]))
            if self.module.reads_features(modality):
                x = np.asarray(dense(matrix[rows]), dtype=np.float32)
            else:
                x = preparation.transform(matrix[rows])
            yield rows, torch.from_numpy(x).to(self.device)

    @torch.inference_mode()
    def _probabilities(
        self, data: AnnData | MuData, modalities: Sequence[str], arm: int | None
    ) -> tuple[FloatArray, pd.Index]:
        """Probabilities of the categories, mean over arms and then over the modalities of a cell, and its name."""
        self._check_if_trained(warn=False)
        self._check_arm(arm)
        arms = range(self.settings_.n_arms) if arm is None else [arm]
        names = data.obs_names
        total = np.zeros((len(names), len(self.categories_)), dtype=np.float64)
        n_measured = np.zeros(len(names))
        for m in modalities:
            profiles = self._readers()[m].profiles(data)
            place = names.get_indexer(profiles.obs_names)
            for rows, x in self._profiles(profiles, m):
                q = torch.stack([self.module.log_probabilities(m, a, x).exp() for a in arms]).mean(dim=0)
                total[place[rows]] += q[:, self.categories_].cpu().numpy()
            n_measured[place] += 1
        mean = np.divide(total, n_measured[:, None], out=np.full_like(total, np.nan), where=n_measured[:, None] > 0)
        return mean.astype(np.float32), names
