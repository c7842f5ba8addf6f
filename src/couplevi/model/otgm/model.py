from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import anndata as ad
import numpy as np
import pandas as pd
from scipy import stats
from scipy.spatial.distance import pdist, squareform
from scipy.special import softmax

from couplevi._arrays import dense
from couplevi._constants import SINGLE
from couplevi._docs import fill_docs
from couplevi._labels import label_texts
from couplevi._streamed import StreamedMatrix
from couplevi._validate import (
    check_count,
    check_different,
    check_number,
    check_option,
    expected,
    listing,
    nearest_first,
    stored_values,
    warn,
    warn_counts,
)
from couplevi.gaussians import Transport, conditional_shift, pairwise_distances2, sample_level_set, transport
from couplevi.model._base import Model
from couplevi.model.otgm.fit import FEWEST_CELLS, fitted, log_densities, predictive, scores_of
from couplevi.model.otgm.module import OTGMModule
from couplevi.model.otgm.settings import OTGMSettings, make_otgm_settings
from couplevi.model.otgm.shifts import Shift, common_groups, shift_between
from couplevi.registry import column_texts, registered_column, registered_design, registered_readers, single_manager

if TYPE_CHECKING:
    from anndata import AnnData

    from couplevi._types import FloatArray, IntArray
    from couplevi.gaussians import Gaussian

REMEDY = "Name a layer of logarithmic values, for example `layer='log1p'`."
ALL = "all"
"""Name of the one group of a model without `group_key`."""


@fill_docs
class OTGM(Model):
    """Perturbations as optimal transport between Gaussians: states, ranked genes, responses and synthetic cells.

    Each state, such as a perturbed gene, is a Gaussian of all features, whose covariance is full in the principal
    components and independent outside of them. A perturbation is the transport from the control to the state. Nothing
    is iterated but expectation maximisation, if it is asked for.

    Parameters
    ----------
    adata
        AnnData set up with :meth:`setup_anndata`.
    %(otgm_preset)s
    %(registry)s
    **overrides
        Fields of :class:`~couplevi.model.OTGMSettings` that replace those of the preset, such as `n_pcs` (50).

    Raises
    ------
    ValueError
        If the data are not set up, the control or all other states have fewer than two cells, a batch has no cells of
        the control, or a setting is out of range.
    TypeError
        For an unknown setting.

    References
    ----------
    Demir and others, sc-OTGM: single-cell perturbation modeling by solving optimal mass transport on the manifold of
    Gaussian mixtures, arXiv 2405.03726. Tusher, Tibshirani and Chu, PNAS 2001 (the shrunken z).

    Examples
    --------
    >>> import couplevi as cvi
    >>> adata = cvi.data.perturbation_screen(n_obs=200)
    >>> cvi.model.OTGM.setup_anndata(adata, state_key="perturbation", control="control", layer="log1p")
    >>> model = cvi.model.OTGM(adata, n_pcs=10)
    >>> model.train()
    >>> model.rank_genes("gene1").columns.tolist()
    ['gene', 'delta', 'delta_sd', 'z', 'p_value', 'q_value', 'direction']
    """

    saved = (*Model.saved, "states_", "groups_", "control_")
    settings_class = OTGMSettings
    module: OTGMModule
    settings_: OTGMSettings

    def __init__(
        self,
        adata: AnnData | None = None,
        preset: Literal["default", "paper"] | OTGMSettings = "default",
        *,
        registry: dict[str, Any] | None = None,
        **overrides: Any,
    ) -> None:
        settings = make_otgm_settings(preset, overrides)
        if registry is None and (adata is None or self._get_most_recent_anndata_manager(adata) is None):
            remedy = "Call `OTGM.setup_anndata(adata, state_key=..., control=...)` first."
            raise ValueError(expected("an AnnData that is set up", "one that is not", remedy))
        if adata is None:
            raise ValueError(expected("data", "none", "States are those of the data: pass `adata`, or call `load`."))
        super().__init__(adata, registry, settings, strict="n_pcs" in overrides)
        setup = self.registry_["setup_args"]
        self.control_: str = label_texts([setup["control"]])[0]
        self.groups_: list[str] = [ALL]
        if (group_key := registered_column(self.registry_, "group")) is not None:
            self.groups_ = sorted(set(pd.Series(column_texts(adata, group_key)).dropna()))
        self.states_: list[str] = self._usable_states(adata)
        self.history_: dict[str, pd.DataFrame] = {}
        self.module = self._build_module()

    @classmethod
    @fill_docs
    def setup_anndata(
        cls,
        adata: AnnData,
        *,
        state_key: str,
        control: str,
        layer: str | None = None,
        group_key: str | None = None,
        batch_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Register values and states of an AnnData. Only scvi-tools' two identifiers are written, to ``adata.uns``.

        Parameters
        ----------
        adata
            Cells of a control and of one or more other states.
        %(perturbed_cells)s
        %(setup_kwargs)s

        Raises
        ------
        TypeError
            If `adata` is not an AnnData.
        KeyError
            If the layer or a column is missing.
        ValueError
            If no cell is of the control, names are not unique, or values are not finite.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.perturbation_screen(n_obs=200)
        >>> cvi.model.OTGM.setup_anndata(adata, state_key="perturbation", control="control", layer="log1p")
        """
        setup_method_args = cls._get_setup_method_args(**locals())
        columns = {"state": state_key, "group": group_key}
        manager = single_manager(
            adata, setup_method_args, layer=layer, use_rep=None, batch_key=batch_key, columns=columns, **kwargs
        )
        if "source_registry" not in kwargs:
            states = pd.Series(column_texts(adata, state_key)).dropna()
            if label_texts([control])[0] not in set(states):
                found = listing(nearest_first(str(control), set(states)))
                raise ValueError(expected(f"cells of the control {control!r} in `adata.obs[{state_key!r}]`", found))
            values = next(iter(registered_readers(manager.registry, [SINGLE]).values())).read(adata)
            if not isinstance(values, StreamedMatrix):
                warn_counts(stored_values(values), "`X`" if layer is None else f"`layers[{layer!r}]`", REMEDY)
        cls.register_manager(manager)

    def __repr__(self) -> str:
        state = "trained" if self.is_trained_ else "not trained"
        sizes = f"{len(self.states_)} states (control: {self.control_!r})"
        grouped = "" if self.groups_ == [ALL] else f" in {len(self.groups_)} groups"
        return f"OTGM model, {state}, {sizes}{grouped}, {len(self.var_names_[SINGLE])} features"

    def _stand_in(self, modality: str) -> FloatArray | None:
        return self.module.array("centre")

    def _build_module(self) -> OTGMModule:
        n_vars = len(self.var_names_[SINGLE])
        return OTGMModule(
            n_vars,
            self.n_components_[SINGLE] or n_vars,
            n_states=len(self.states_),
            n_groups=len(self.groups_),
            n_batches=max(len(registered_design(self.registry_).batches), 1),
        )

    def _usable_states(self, adata: AnnData) -> list[str]:
        """States with enough cells, in alphabetical order; the others are named in a warning."""
        states = pd.Series(column_texts(adata, self._column("state")))
        groups = pd.Series(self._group_names(adata))
        per_group = states.groupby([states, groups]).size()
        largest = per_group.groupby(level=0).max()
        kept, small = (sorted(largest.index[chosen]) for chosen in (largest >= FEWEST_CELLS, largest < FEWEST_CELLS))
        if small:
            warn(f"States with fewer than {FEWEST_CELLS} cells are left out: {listing(small)}.")
        if self.control_ not in kept or len(kept) < 2:
            what = f"at least {FEWEST_CELLS} cells of the control {self.control_!r} and of another state"
            raise ValueError(expected(what, f"states {listing(kept)}"))
        if len(self.groups_) > 1:
            table = per_group.unstack(fill_value=0) >= FEWEST_CELLS
            if apart := [s for s in kept if not (table.loc[s] & table.loc[self.control_]).any()]:
                what = f"states with at least {FEWEST_CELLS} cells in a group that has as many of the control"
                raise ValueError(expected(what, f"none of {listing(apart)}", "Leave out `group_key`, or these cells."))
        return kept

    # fit

    def train(self) -> None:
        """Fit principal components and the moments of all states; there are no epochs.

        Raises
        ------
        ValueError
            If the model has no data, or a batch has no cells of the control.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.perturbation_screen(n_obs=200)
        >>> cvi.model.OTGM.setup_anndata(adata, state_key="perturbation", control="control", layer="log1p")
        >>> model = cvi.model.OTGM(adata, n_pcs=10)
        >>> model.train()
        >>> model
        OTGM model, trained, 5 states (control: 'control'), 300 features
        """
        adata = self._registered().data
        matrix = self.reader(SINGLE).read(adata)
        states = pd.Index(self.states_).get_indexer(pd.Index(column_texts(adata, self._column("state")), dtype=object))
        batch = self._batches(adata)
        control = list(self.states_).index(self.control_)
        design = self.reader(SINGLE).design
        if without := [b for i, b in enumerate(design.batches) if not ((states == control) & (batch == i)).any()]:
            remedy = "What belongs to a batch is learned from its control; leave out `batch_key`, or these cells."
            raise ValueError(expected("cells of the control in each batch", f"none in {listing(without)}", remedy))
        buffers, emptied = fitted(
            matrix,
            states,
            self._groups(adata),
            batch,
            sizes=(len(self.states_), len(self.groups_), self.module.array("offsets").shape[0]),
            control=control,
            n_components=self.n_components_[SINGLE],
            settings=self.settings_,
        )
        if emptied:
            names = sorted({self.states_[component // len(self.groups_)] for component in emptied})
            warn(
                f"All cells of states {listing(names)} look like those of the control: their labels were taken as they "
                "are, without expectation maximisation."
            )
        self.module.fill(**buffers)
        self.is_trained_ = True

    def _column(self, role: str) -> str:
        return registered_column(self.registry_, role) or ""

    def _group_names(self, adata: AnnData) -> np.ndarray:
        key = registered_column(self.registry_, "group")
        if key is None:
            return np.full(adata.n_obs, ALL, dtype=object)
        names = column_texts(adata, key)
        if missing := int(pd.isna(names).sum()):
            remedy = "Give these cells a type, such as 'other', or leave them out."
            raise ValueError(expected(f"a type for each cell in column {key!r}", f"{missing} missing", remedy))
        return names

    def _groups(self, adata: AnnData) -> IntArray:
        names = self._group_names(adata)
        codes = pd.Index(self.groups_).get_indexer(pd.Index(names, dtype=object))
        if (codes < 0).any():
            found = listing(sorted(set(names[codes < 0])))
            raise ValueError(expected(f"cells of the types {listing(self.groups_)}", f"also {found}"))
        return codes

    def _batches(self, adata: AnnData) -> IntArray:
        covariates = self.reader(SINGLE).covariates(adata)
        return covariates.argmax(axis=1) if covariates.shape[1] else np.zeros(adata.n_obs, dtype=np.int64)

    # inference

    @property
    def n_cells(self) -> pd.Series:
        """Number of cells of each state that were learned from.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.perturbation_screen(n_obs=200, n_perturbations=2)
        >>> model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
        >>> model.n_cells.astype(int).to_dict()
        {'control': 66, 'gene0': 67, 'gene1': 67}
        """
        count = self.module.array("count").reshape(len(self.states_), -1).sum(axis=1)
        return pd.Series(count, index=self.states_, name="n_cells")

    def means(self) -> pd.DataFrame:
        """Mean of each feature in each state, states by features, what belongs to batches removed.

        Raises
        ------
        RuntimeError
            If the model is not trained.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.perturbation_screen(n_obs=200)
        >>> model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
        >>> means = model.means()
        >>> means.shape, means["gene1"].idxmin()
        ((5, 300), 'gene1')
        """
        self._check_if_trained(warn=False)
        count = self.module.array("count")[:, None]
        shape = (len(self.states_), len(self.groups_), -1)
        total = (count * self.module.array("mean")).reshape(shape).sum(axis=1)
        values = total / count.reshape(shape).sum(axis=1)
        return pd.DataFrame(values, index=self.states_, columns=pd.Index(self.var_names_[SINGLE]))

    @fill_docs
    def get_latent_representation(self, adata: AnnData | None = None) -> FloatArray:
        """Scores of cells in the principal components, what belongs to their batch removed.

        Parameters
        ----------
        %(modelled)s

        Returns
        -------
        Shape ``(n_obs, n_components)``, float32.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        KeyError, ValueError
            If data lack the layer, the batch, or more than a fifth of the features.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.perturbation_screen(n_obs=200)
        >>> model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
        >>> model.get_latent_representation(adata[:20]).shape
        (20, 10)
        """
        return self._scores(adata)[1].astype(np.float32)

    def _scores(self, adata: AnnData | None) -> tuple[AnnData, FloatArray]:
        self._check_if_trained(warn=False)
        data = self._registered(adata).data
        matrix = self.reader(SINGLE).read(data)
        basis, centre, offsets = (self.module.array(name) for name in ("basis", "centre", "offsets"))
        return data, scores_of(matrix, basis, centre, self._batches(data), offsets)

    @fill_docs
    def predict_state(self, adata: AnnData | None = None, *, soft: bool = False) -> pd.Series | pd.DataFrame:
        """State of each cell by its scores: the most probable Gaussian, or the probability of each.

        Means of states of few cells are uncertain. They are shrunk towards the mean of all, along the discriminant
        directions as far as they vary by chance (empirical Bayes), and their uncertainty is added to the covariance.

        Parameters
        ----------
        %(modelled)s With `group_key`, of cells that have a type, only the states within it count.
        soft
            Probabilities of all states in place of the most probable one.

        Returns
        -------
        Series of names, categorical; or frame of probabilities, cells by states, rows summing to 1. Missing, with a
        warning, for cells of a type in which no state has two cells.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        KeyError, ValueError
            If data lack the layer, the batch or type, or more than a fifth of the features.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.perturbation_screen(n_obs=200)
        >>> model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
        >>> model.predict_state().cat.categories.tolist()
        ['control', 'gene0', 'gene1', 'gene2', 'gene3']
        >>> model.predict_state(adata[:20], soft=True).shape
        (20, 5)
        """
        data, scores = self._scores(adata)
        count = self.module.array("count")
        there = np.flatnonzero(count >= FEWEST_CELLS)
        logits = np.full((len(scores), len(count)), -np.inf)
        logits[:, there] = log_densities(scores, *predictive(self.module, there)) + np.log(count[there])
        shape = (len(scores), len(self.states_), len(self.groups_))
        own = logits.reshape(shape)[np.arange(len(scores)), :, self._groups(data)]
        possible = np.isfinite(own).any(axis=1)
        if not possible.all():
            names = sorted(set(self._group_names(data)[~possible]))
            warn(
                f"{(~possible).sum()} cells are of types in which no state has {FEWEST_CELLS} cells: {listing(names)}."
            )
        probability = np.full(own.shape, np.nan)
        probability[possible] = softmax(own[possible], axis=1)
        if soft:
            return pd.DataFrame(probability.astype(np.float32), index=data.obs_names, columns=self.states_)
        best = np.where(possible, np.nan_to_num(probability).argmax(axis=1), -1)
        codes = pd.Categorical.from_codes(best, categories=pd.Index(self.states_))
        return pd.Series(codes, index=data.obs_names, name="state")

    def rank_genes(
        self,
        state: str,
        *,
        source: str | None = None,
        score: Literal["z", "delta"] = "z",
        direction: Literal["both", "down", "up"] = "both",
    ) -> pd.DataFrame:
        """Features by how clearly they shift from one state to another.

        Parameters
        ----------
        state
            State that is looked at.
        source
            State it is compared with; None is the control.
        score
            What features are ranked by: ``"z"``, the shift over its standard error plus the median standard error of
            all features; or ``"delta"``, the shift.
        direction
            ``"down"``: features that are lower in the state, as the target of a knock-down; ``"up"``: higher ones.

        Returns
        -------
        Frame with a row per feature, best first: ``gene``; ``delta``, the shift of its mean, in the units of the values
        (with groups the mean of those within them, weighted by the cells of the source); ``delta_sd``, how much the
        shift varies between cells under the optimal transport; ``z``; ``p_value`` of Welch's test and ``q_value``, by
        Benjamini and Hochberg, of all features; ``direction``, ``"down"`` or ``"up"``.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ValueError
            If a state is unknown, both are the same, or they have no group in common.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.perturbation_screen(n_obs=200)
        >>> model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
        >>> model.rank_genes("gene1", direction="down")["gene"][0]
        'gene1'
        """
        check_option(score, ("z", "delta"), "score")
        check_option(direction, ("both", "down", "up"), "direction")
        source = self.control_ if source is None else source
        shift = self._shift(source, state)
        frame = pd.DataFrame(
            {
                "gene": list(self.var_names_[SINGLE]),
                "delta": shift.delta,
                "delta_sd": self._delta_sd(source, state),
                "z": shift.z,
                "p_value": shift.p_value,
                "q_value": stats.false_discovery_control(shift.p_value),
                "direction": np.where(shift.delta < 0, "down", "up"),
            }
        )
        sign = {"both": 0, "down": -1, "up": 1}[direction]
        values = frame[score].abs() if sign == 0 else sign * frame[score]
        ranked = frame.loc[values.sort_values(ascending=False, kind="stable").index]
        return (ranked if sign == 0 else ranked[sign * ranked["delta"] > 0]).reset_index(drop=True)

    def _shift(self, source: str, target: str) -> Shift:
        shift = shift_between(self.module, *self._pair(source, target))
        if self.settings_.shifts == "components":
            basis = self.module.array("basis")
            inside = shift.source_mean + basis @ (basis.T @ shift.delta)
            shift = Shift(shift.source_mean, inside, shift.standard_error, shift.p_value)
        return shift

    def common_means(self, source: str, target: str) -> tuple[pd.Series, pd.Series]:
        """Mean of each feature in two states, over the same groups of cells with the same weights.

        Parameters
        ----------
        source, target
            States; cells of groups that only one of them has do not count, and groups by the cells of the source.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ValueError
            If a state is unknown, both are the same, or they have no group in common.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.perturbation_screen(n_obs=200)
        >>> model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
        >>> control, knock_down = model.common_means("control", "gene1")
        >>> (knock_down - control).idxmin()
        'gene1'
        """
        shift, names = self._shift(source, target), pd.Index(self.var_names_[SINGLE])
        return pd.Series(shift.source_mean, names), pd.Series(shift.target_mean, names)

    def _check_state(self, state: str, name: str) -> None:
        """Raise ValueError unless the model has a state; it may have hundreds, so those of a similar name come first."""
        if state not in self.states_:
            raise ValueError(
                expected(f"`{name}` to be one of {listing(nearest_first(state, self.states_))}", repr(state))
            )

    def _pair(self, source: str, target: str) -> tuple[int, int]:
        self._check_if_trained(warn=False)
        for name, state in (("source", source), ("state", target)):
            self._check_state(state, name)
        check_different(source, target)
        pair = self.states_.index(source), self.states_.index(target)
        if not len(common_groups(self.module, *pair)[0]):
            what = f"a group with at least {FEWEST_CELLS} cells of {source!r} and of {target!r}"
            raise ValueError(expected(what, "none"))
        return pair

    def _delta_sd(self, source: str, target: str) -> FloatArray:
        groups, weights = common_groups(self.module, *self._pair(source, target))
        variance = sum(
            w * np.square(self.transport(source, target, group=self.groups_[g]).delta_sd)
            for g, w in zip(groups, weights, strict=True)
        )
        return np.sqrt(variance)

    def gaussian(self, state: str, *, group: str | None = None) -> Gaussian:
        """The Gaussian of a state.

        Parameters
        ----------
        state
            Its name.
        group
            Type of the cells; needed with `group_key`.

        Returns
        -------
        :class:`~couplevi.gaussians.Gaussian` of all features.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ValueError
            If the state is unknown or has no cells in the group, or the group is not named.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.perturbation_screen(n_obs=200)
        >>> model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
        >>> gaussian = model.gaussian("gene1")
        >>> gaussian.mean.shape, gaussian.covariance.shape
        ((300,), (10, 10))
        """
        self._check_if_trained(warn=False)
        self._check_state(state, "state")
        if group is None and len(self.groups_) > 1:
            raise ValueError(expected(f"`group` to be one of {listing(self.groups_)}", "None"))
        group = self.groups_[0] if group is None else group
        check_option(group, self.groups_, "group")
        component = self.module.place(self.states_.index(state), self.groups_.index(group))
        if self.module.array("count")[component] < FEWEST_CELLS:
            raise ValueError(expected(f"at least {FEWEST_CELLS} cells of {state!r} in group {group!r}", "fewer"))
        return self.module.gaussian(component)

    def transport(
        self,
        source: str,
        target: str,
        method: Literal["bures", "independent", "hit_and_run"] = "bures",
        *,
        group: str | None = None,
        seed: int = 0,
    ) -> Transport:
        """Transport from one state to another.

        Parameters
        ----------
        source, target
            States.
        method
            ``"bures"``: the optimal one, in closed form. ``"independent"``: none is tied to another, the most a shift
            can vary. ``"hit_and_run"``: the optimal one by a Markov chain in the space of couplings, as the paper has
            it in mind; slow, and for looking at couplings only.
        group
            Type of the cells; needed with `group_key`.
        seed
            Of the Markov chain.

        Returns
        -------
        :class:`~couplevi.gaussians.Transport`: map, cost, and mean and covariance of the shift.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ValueError
            If a state, group or method is unknown, or source and target are the same.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.perturbation_screen(n_obs=200)
        >>> model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
        >>> plan = model.transport("control", "gene1")
        >>> plan.linear.shape, adata.var_names[plan.delta_mean.argmin()]
        ((10, 10), 'gene1')
        """
        check_option(method, ("bures", "independent", "hit_and_run"), "method")
        check_different(source, target)
        pair = (self.gaussian(state, group=group) for state in (source, target))
        return transport(*pair, method=method, rng=np.random.default_rng(seed))

    @fill_docs
    def perturb(
        self,
        adata: AnnData | None,
        target: str,
        *,
        source: str | None = None,
        amount: float = 1.0,
        stochastic: bool = False,
        seed: int = 0,
    ) -> AnnData:
        """Cells as if they were of another state: each moved by the optimal transport.

        Parameters
        ----------
        adata
            Cells of the source, such as those of the control; None takes those of the model that are of the source.
        target
            State to move them to.
        source
            State that they are of; None is the control.
        amount
            How far, 0 leaves them where they are and 1 is all the way; between, along the geodesic, beyond, further in
            the same direction.
        stochastic
            Draw the noise of features outside of the principal components anew in place of scaling it.
        seed
            Of this noise.

        Returns
        -------
        AnnData of the same cells, with their ``obs``, by the features of the model; ``X`` in the units of the values,
        dense float32. Where values are low, some come out below 0: the map is linear.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        KeyError, ValueError
            If a state is unknown, or has no cells in a group of these cells; or data lack the layer, the batch or type,
            or more than a fifth of the features.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.perturbation_screen(n_obs=200)
        >>> model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
        >>> control = adata[adata.obs["perturbation"] == "control"]
        >>> moved = model.perturb(control, "gene1")
        >>> moved.shape, adata.var_names[(moved.X - control.layers["log1p"]).mean(axis=0).argmin()]
        ((66, 300), 'gene1')
        """
        source = self.control_ if source is None else source
        check_number(amount, "amount", -np.inf)
        self._pair(source, target)
        data = self._registered(adata).data
        if adata is None:
            data = data[column_texts(data, self._column("state")) == source]
            data = data.to_memory() if data.isbacked else data.copy()
        offsets = self.module.array("offsets")[self._batches(data)]
        x = dense(self.reader(SINGLE).read(data)).astype(np.float64) - offsets
        groups, rng = self._groups(data), np.random.default_rng(seed)
        for g in np.unique(groups):
            own = groups == g
            plan = self.transport(source, target, group=self.groups_[g])
            moved = plan.apply(x[own], amount)
            if stochastic:
                there, here = plan.target, plan.source
                mean = (1 - amount) * here.mean + amount * there.mean
                scale = np.square((1 - amount) * np.sqrt(here.scale) + amount * np.sqrt(there.scale))
                moved = replace(there, mean=mean, scale=scale).with_noise((moved - mean) @ there.basis, rng)
            x[own] = moved
        obs = data.obs.copy()
        return ad.AnnData((x + offsets).astype(np.float32), obs=obs, var=self._var())

    def _var(self) -> pd.DataFrame:
        return pd.DataFrame(index=pd.Index(self.var_names_[SINGLE]))

    def sample(
        self,
        state: str,
        n: int,
        *,
        group: str | None = None,
        level: float | None = None,
        library_size: float | None = None,
        seed: int = 0,
    ) -> AnnData:
        """Synthetic cells of a state.

        Parameters
        ----------
        state
            State that they are of.
        n
            Number of cells.
        group
            Type of the cells; None draws types as often as the state has them.
        level
            Draw scores within the ellipsoid that holds this share of them, in (0, 1), by Hit-and-Run; None everywhere.
        library_size
            Total counts of a cell in these features: adds ``layers["counts"]``, Poisson counts in the proportions that
            the values are the logarithms (plus 1) of. None adds none.
        seed
            Reproduces the cells.

        Returns
        -------
        AnnData with ``X`` in the units of the values, at least 0, float32, and ``obs["state"]``. Zeros that come from
        not detecting a transcript are not reproduced in ``X``.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ValueError
            If the state or group is unknown, or a number out of range.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.perturbation_screen(n_obs=200)
        >>> model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
        >>> cells = model.sample("gene1", 50, library_size=3000)
        >>> cells.shape, cells.layers["counts"].shape
        ((50, 300), (50, 300))
        """
        self._check_if_trained(warn=False)
        self._check_state(state, "state")
        check_count(n, "n")
        if level is not None and not 0 < level < 1:
            raise ValueError(expected("`level` in (0, 1)", level))
        if library_size is not None:
            check_number(library_size, "library_size", 1.0)
        rng = np.random.default_rng(seed)
        first = self.module.place(self.states_.index(state), 0)
        count = self.module.array("count")[first : first + len(self.groups_)]
        count = np.where(count >= FEWEST_CELLS, count, 0)
        drawn = np.full(n, group, dtype=object) if group else rng.choice(self.groups_, n, p=count / count.sum())
        x = np.empty((n, len(self.var_names_[SINGLE])))
        for g in pd.unique(drawn):
            own, gaussian = drawn == g, self.gaussian(state, group=str(g))
            if level is None:
                x[own] = gaussian.sample(int(own.sum()), rng)
            else:
                zero = np.zeros(len(gaussian.covariance))
                z = sample_level_set(zero, gaussian.covariance, level, int(own.sum()), rng)
                x[own] = gaussian.with_noise(z, rng)
        x = np.maximum(x, 0).astype(np.float32)
        obs = pd.DataFrame({"state": state}, index=[f"{state}_{i}" for i in range(n)])
        if len(self.groups_) > 1:
            obs["group"] = drawn
        cells = ad.AnnData(x, obs=obs, var=self._var())
        if library_size is not None:
            share = np.expm1(x.astype(np.float64))
            share /= np.maximum(share.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
            cells.layers["counts"] = rng.poisson(library_size * share).astype(np.float32)
        return cells

    def distances(self, *, subtract_noise: bool = True) -> pd.DataFrame:
        """Distance between any two states: the Bures-Wasserstein distance of their Gaussians.

        Means of few cells are apart by chance: two samples of n cells of one state by about the root of twice its
        variance, summed over the scores, divided by n. So much is subtracted from the square of the distance, which is
        then 0 or small between states that do not differ, whatever their numbers of cells.

        Parameters
        ----------
        subtract_noise
            Whether to subtract what the means are apart by chance; else the distance is that of the fitted Gaussians,
            the root of the `cost` of :meth:`transport`.

        Returns
        -------
        Frame, states by states, in the units of the values, at least 0, symmetric; with groups the root of the mean
        square within those that both have, weighted by their cells, NaN where there is none.

        Raises
        ------
        RuntimeError
            If the model is not trained.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.perturbation_screen(n_obs=200, n_perturbations=2)
        >>> model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
        >>> from_control = model.distances()["control"]
        >>> from_control.index.tolist(), (from_control > 0).tolist()
        (['control', 'gene0', 'gene1'], [False, True, True])
        """
        self._check_if_trained(warn=False)
        n = len(self.states_)
        total, weight = np.zeros((n, n)), np.zeros((n, n))
        for g in range(len(self.groups_)):
            count, mean, scale = (
                self.module.array(name)[g :: len(self.groups_)] for name in ("count", "mean", "scale")
            )
            there = np.flatnonzero(count >= FEWEST_CELLS)
            if not len(there):
                continue
            noise = self.module.gaussian(self.module.place(there[0], g)).noise_total
            covariances = self.module.covariances()[g :: len(self.groups_)][there]
            cost = (
                squareform(pdist(mean[there], "sqeuclidean"))
                + pairwise_distances2(covariances)
                + noise * np.square(np.sqrt(scale[there])[:, None] - np.sqrt(scale[there]))
            )
            if subtract_noise:
                by_chance = np.trace(covariances, axis1=1, axis2=2) / count[there]
                cost -= by_chance[:, None] + by_chance
            pair = np.ix_(there, there)
            cells = count[there][:, None] + count[there]
            total[pair] += cells * cost
            weight[pair] += cells
        found = np.divide(total, weight, out=np.full((n, n), np.nan), where=weight > 0)
        found = np.sqrt(np.maximum(found, 0.0))
        np.fill_diagonal(found, np.where(np.isnan(found.diagonal()), np.nan, 0.0))
        return pd.DataFrame(found, index=self.states_, columns=self.states_)

    def predict_response(self, genes: Mapping[str, float], *, state: str | None = None) -> pd.Series:
        """Shift of all features that goes with a change of some, as cells of a state vary by themselves.

        The conditional expectation of a Gaussian: what natural variation says of a perturbation that was not made. It
        says little; see the guide.

        Parameters
        ----------
        genes
            Change of each of some features, in the units of the values.
        state
            State whose covariance is used; None is the control.

        Returns
        -------
        Series of shifts, with those given, by feature.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        KeyError
            If a feature is unknown.
        ValueError
            If no feature is given, or the state is unknown.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.perturbation_screen(n_obs=200)
        >>> model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
        >>> response = model.predict_response({"gene1": -1.0})
        >>> response.shape, response.idxmin()
        ((300,), 'gene1')
        """
        self._check_if_trained(warn=False)
        state = self.control_ if state is None else state
        self._check_state(state, "state")
        if not genes:
            raise ValueError(expected("at least one of `genes`", "none"))
        names = pd.Index(self.var_names_[SINGLE])
        columns = names.get_indexer(pd.Index([str(g) for g in genes]))
        if (columns < 0).any():
            unknown = [g for g, c in zip(genes, columns, strict=True) if c < 0]
            raise KeyError(expected("features of the model", f"also {listing(unknown)}"))
        i = self.states_.index(state)
        groups, weights = common_groups(self.module, i, i)
        values = np.array([float(value) for value in genes.values()])
        shifts = [
            weight * conditional_shift(self.gaussian(state, group=self.groups_[g]), columns, values)
            for g, weight in zip(groups, weights, strict=True)
        ]
        return pd.Series(np.sum(shifts, axis=0), index=names, name="delta")

    def predict_combination(self, states: Sequence[str]) -> pd.Series:
        """Shift against the control of several perturbations at once: the sum of their shifts.

        Parameters
        ----------
        states
            Two or more states.

        Returns
        -------
        Series of shifts by feature, in the units of the values.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ValueError
            If fewer than two states are named, or one is unknown or the control.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.perturbation_screen(n_obs=200, n_perturbations=2, doubles=True)
        >>> model = cvi.tl.otgm(adata, state_key="perturbation", control="control", layer="log1p", n_pcs=10)
        >>> predicted = model.predict_combination(["gene0", "gene1"])
        >>> measured = model.means().loc["gene0+gene1"] - model.means().loc["control"]
        >>> predicted.shape, bool(predicted.corr(measured) > 0.5)
        ((300,), True)
        """
        if isinstance(states, str) or len(states) < 2:
            raise ValueError(expected("two or more `states`", repr(states)))
        for state in states:
            self._check_state(state, "states")
            if state == self.control_:
                raise ValueError(expected("`states` other than the control", repr(list(states))))
        total = sum(self._shift(self.control_, state).delta for state in states)
        return pd.Series(total, index=pd.Index(self.var_names_[SINGLE]), name="delta")
