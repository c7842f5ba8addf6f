from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import rich.pretty  # noqa: F401  scvi-tools 1.4.2 uses it in view_anndata_setup without importing it
from mudata import MuData
from scvi.data import AnnDataManager, AnnDataManagerValidationCheck
from scvi.data.fields import LayerField, ObsmField
from scvi.model.base import BaseModelClass

from couplevi._constants import Registry
from couplevi._validate import check_option, expected
from couplevi.data import MuDataObspField, value_places
from couplevi.model._components import choose_components
from couplevi.model._mixture_inference import SINGLE, MixtureInferenceMixin
from couplevi.model._mixture_settings import MixtureSettings, make_mixture_settings
from couplevi.model._mixture_training import MixtureTrainingMixin
from couplevi.model._reader import registered_readers
from couplevi.model._save_load import SaveLoadMixin
from couplevi.model._settings import make_settings
from couplevi.model._setup import (
    Keys,
    check_anndata_setup,
    check_setup,
    link_keys,
    value_fields,
    warn_about_links,
)
from couplevi.module import CplMixVAEModule, Modality

if TYPE_CHECKING:
    from anndata import AnnData


class CplMixVAE(SaveLoadMixin, MixtureTrainingMixin, MixtureInferenceMixin, BaseModelClass):
    """Coupled mixture variational autoencoders: cell types, and continuous states within them.

    Several autoencoders (arms) see the same cells, each with a category and, given it, a continuous state. Their
    categories are pulled together, their states are not. Categories that the arms do not agree on are removed. On a
    MuData, each modality has arms of its own, and all share the categories.

    Parameters
    ----------
    adata
        AnnData or MuData set up with :meth:`setup_anndata` or :meth:`setup_mudata`.
    n_categories
        Number of categories to start from, at least 2: more than are expected, as training removes some.
    registry
        Registry of the data, for a model without data; :meth:`load` uses it.
    **settings
        Further fields of :class:`~couplevi.model.MixtureSettings`, such as `n_arms` (2), `n_state` (3) and
        `likelihood` (``"gaussian"``, ``"nb"`` or ``"zinb"``).

    Raises
    ------
    ValueError
        If the data are not set up, or a setting is out of range.
    TypeError
        For an unknown setting, or without `n_categories`.

    References
    ----------
    Marghi, Gala and Sumbul, Mixture representation learning with coupled autoencoders, arXiv 2007.09880;
    Marghi et al., Joint inference of discrete cell types and continuous type-specific variability in single-cell
    datasets with MMIDAS, Nature Computational Science 2024.

    Examples
    --------
    >>> import couplevi as cvi
    >>> adata = cvi.data.count_clusters(n_obs=200)["rna"]
    >>> cvi.model.CplMixVAE.setup_anndata(adata, layer="log1p")
    >>> model = cvi.model.CplMixVAE(adata, n_categories=6)
    >>> model.train(max_epochs=20, prune=False, enable_progress_bar=False)
    >>> model.predict().head(2).shape, model.get_latent_representation().shape
    ((2,), (200, 3))
    """

    _module_cls = CplMixVAEModule
    module: CplMixVAEModule

    def __init__(
        self,
        adata: AnnData | MuData | None = None,
        n_categories: int | None = None,
        *,
        registry: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        if n_categories is None:
            remedy = "Start above the number of types that you expect; training removes what is not needed."
            raise TypeError(expected("`n_categories`", "none", remedy))
        self.settings_ = make_mixture_settings({"n_categories": n_categories, **settings})
        if registry is None and (adata is None or self._get_most_recent_anndata_manager(adata) is None):
            raise ValueError(
                expected(
                    "an AnnData or MuData that is set up",
                    "one that is not",
                    "Call `CplMixVAE.setup_anndata(adata, ...)` or `setup_mudata(mdata, ...)` first.",
                )
            )
        super().__init__(adata, registry)
        self.modalities_ = sorted(self.registry_["setup_args"].get("modalities", [SINGLE]))
        likelihood = self.settings_.likelihood
        for m in likelihood if isinstance(likelihood, Mapping) else ():
            check_option(m, self.modalities_, "likelihood")
        self.var_names_ = {m: r.var_names for m, r in registered_readers(self.registry_, self.modalities_).items()}
        self.n_components_ = self._components(strict="n_pcs" in settings)
        self.categories_ = np.arange(n_categories)
        self.pruning_ = pd.DataFrame()
        self.module = self._build_module()
        self.init_params_ = self._get_init_params(locals())

    @classmethod
    def setup_anndata(
        cls,
        adata: AnnData,
        *,
        layer: str | None = None,
        use_rep: str | None = None,
        batch_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Register the values of an AnnData. Only scvi-tools' two identifiers are written, to ``adata.uns``.

        Parameters
        ----------
        adata
            Cells of a single modality.
        layer
            Layer to model; None takes ``X``. Logarithmic values, or raw counts for the likelihoods ``"nb"`` and
            ``"zinb"``.
        use_rep
            Representation in ``adata.obsm`` to model in place of a layer.
        batch_key
            Not supported yet.
        **kwargs
            Used by scvi-tools when a set-up is repeated for other data.

        Raises
        ------
        TypeError
            If `adata` is not an AnnData.
        KeyError
            If the layer or representation is missing.
        ValueError
            If names are not unique or values are not finite.
        NotImplementedError
            For batch covariates.

        Examples
        --------
        >>> import couplevi as cvi
        >>> adata = cvi.data.count_clusters(n_obs=100)["rna"]
        >>> cvi.model.CplMixVAE.setup_anndata(adata, layer="log1p")
        """
        setup_method_args = cls._get_setup_method_args(**locals())
        if batch_key is not None:
            make_settings("default", {"batch_key": batch_key})
        check_anndata_setup(adata)
        layers, reps = {SINGLE: layer}, {} if use_rep is None else {SINGLE: use_rep}
        [(attribute, key)] = value_places({SINGLE: adata}, [SINGLE], layers, reps).values()
        options = {"is_count_data": False, "correct_data_format": False}
        field = ObsmField if attribute == "obsm" else LayerField
        fields = [field(Registry.values(SINGLE), key, **options)]
        manager = AnnDataManager(fields=fields, setup_method_args=setup_method_args)
        manager.register_fields(adata, **kwargs)
        cls.register_manager(manager)

    @classmethod
    def setup_mudata(
        cls,
        mdata: MuData,
        *,
        modalities: Sequence[str],
        layers: Mapping[str, str | None] | None = None,
        use_rep: Mapping[str, str] | None = None,
        correspondence_key: Keys = None,
        batch_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Register modalities, whose arms share their categories over linked cells.

        Parameters
        ----------
        mdata
            MuData whose rows of the same name are the same cell; cells may lack modalities.
        modalities
            Names of two or more modalities.
        layers, use_rep
            Layer of each modality to model (``X`` where it is not named), or representation in its ``obsm``.
        correspondence_key
            Links in ``mdata.obsp``, see :meth:`~couplevi.model.JAMIE.setup_mudata`; None links by name.
        batch_key
            Not supported yet.
        **kwargs
            Used by scvi-tools when a set-up is repeated for other data.

        Raises
        ------
        TypeError
            If `mdata` is not a MuData.
        KeyError
            If a modality, layer, representation or matrix is missing.
        ValueError
            If names are not unique, values are not finite, or links are not as described in
            :func:`couplevi.pp.link`.
        NotImplementedError
            For batch covariates.

        Examples
        --------
        >>> import couplevi as cvi
        >>> mdata = cvi.data.count_clusters(n_obs=100)
        >>> layers = {"rna": "log1p", "atac": "log1p"}
        >>> cvi.model.CplMixVAE.setup_mudata(mdata, modalities=("rna", "atac"), layers=layers)
        """
        setup_method_args = cls._get_setup_method_args(**locals())
        if batch_key is not None:
            make_settings("default", {"batch_key": batch_key})
        names = check_setup(mdata, modalities)
        correspondence = link_keys(names, correspondence_key, "correspondence_key")
        fields = value_fields(mdata, names, layers, use_rep)
        fields += [MuDataObspField("correspondence", key, pair) for pair, key in correspondence.items()]
        manager = AnnDataManager(
            fields=fields,
            setup_method_args=setup_method_args,
            validation_checks=AnnDataManagerValidationCheck(check_fully_paired_mudata=False),
        )
        manager.register_fields(mdata, **kwargs)
        if "source_registry" not in kwargs:
            warn_about_links(mdata, names, correspondence, {})
        cls.register_manager(manager)

    def __repr__(self) -> str:
        state = f"{len(self.categories_)} categories" if self.is_trained_ else "not trained"
        sizes = [f"{m}: {len(self.var_names_[m])} features" for m in self.modalities_]
        return f"CplMixVAE model, {state}, n_arms: {self.settings_.n_arms}, {', '.join(sizes)}"

    # construction

    @classmethod
    def _from_attributes(
        cls, adata: AnnData | MuData | None, registry: dict[str, Any], attributes: dict[str, Any]
    ) -> Self:
        settings = MixtureSettings(**attributes.pop("settings_"))
        model = cls(adata, settings.n_categories, registry=registry if adata is None else None)
        model.settings_ = settings
        for name, value in attributes.items():
            setattr(model, name, value)
        model.module = model._build_module()
        return model

    def _components(self, *, strict: bool) -> dict[str, int | None]:
        data = self.adata
        sizes = {
            m: (None if data is None else _part(data, m).n_obs, len(names)) for m, names in self.var_names_.items()
        }
        return choose_components(self.settings_.n_pcs, sizes, strict=strict)

    def _build_module(self) -> CplMixVAEModule:
        s = self.settings_
        return self._module_cls(
            {m: Modality(len(self.var_names_[m]), self.n_components_[m], s.likelihood_of(m)) for m in self.modalities_},
            n_arms=s.n_arms,
            n_categories=s.n_categories,
            n_state=s.n_state,
            n_hidden=s.n_hidden,
            coupling=s.coupling,
            coupling_weight=s.weight_of_coupling,
            state_kl_weight=s.state_kl_weight,
            augmentation_rate=s.augmentation_rate,
            dropout_rate=s.dropout_rate,
            input_dropout_rate=s.input_dropout_rate,
        )


def _part(data: AnnData | MuData, modality: str) -> AnnData:
    return data[modality] if isinstance(data, MuData) else data
