from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Self

import rich.pretty  # noqa: F401  scvi-tools 1.4.2 uses it in view_anndata_setup without importing it
from scvi.data import AnnDataManager, AnnDataManagerValidationCheck
from scvi.model.base import BaseModelClass

from couplevi._validate import check_mudata, expected
from couplevi.data import MuDataObspField
from couplevi.model._components import choose_components
from couplevi.model._inference import CoupledInferenceMixin
from couplevi.model._reader import registered_readers
from couplevi.model._save_load import SaveLoadMixin
from couplevi.model._settings import Settings, make_settings
from couplevi.model._setup import Keys, check_setup, link_keys, value_fields, warn_about_links
from couplevi.model._training import CoupledTrainingMixin
from couplevi.module import TERMS, JAMIEModule

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData
    from scvi.data.fields import BaseAnnDataField

    from couplevi._types import IntArray, PresetName


class JAMIE(SaveLoadMixin, CoupledTrainingMixin, CoupledInferenceMixin, BaseModelClass):
    """Joint variational autoencoders for cells measured in several modalities, or in some of them only.

    Each modality has an encoder and a decoder. The latents of linked profiles are averaged by confidence before they
    are decoded, and are drawn together, so that any profile can be placed in the common space and decoded into any
    modality.

    Parameters
    ----------
    mdata
        MuData set up with :meth:`setup_mudata`.
    preset
        ``"default"``: one setting for 100 to 100,000 cells. ``"integration"``: without dropout, for reproducing the
        given pairs closely. ``"paper"``: the published model and its schedule, which takes hours. Or
        :class:`~couplevi.model.Settings` of your own.
    registry
        Registry of the data, for a model without data; :meth:`load` uses it.
    **overrides
        Fields of :class:`~couplevi.model.Settings` that replace those of the preset, such as `n_latent` (32) and
        `n_pcs` (50).

    Raises
    ------
    ValueError
        If the data are not set up, or a setting is out of range; for one, `n_pcs` above what a modality allows (a
        preset's value is lowered instead).
    TypeError
        If `mdata` is not a MuData, or for an unknown setting.
    NotImplementedError
        For likelihoods other than the Gaussian.

    References
    ----------
    Cohen Kalafut, Huang and Wang, Joint variational autoencoders for multimodal imputation and embedding,
    Nature Machine Intelligence 2023.

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.branching_manifold(n_obs=100, paired=0.5)
    >>> cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"})
    >>> model = cvi.model.JAMIE(mdata, n_latent=8)
    >>> model.train(max_epochs=2, enable_progress_bar=False)
    >>> model.get_latent_representation().shape
    (100, 8)
    >>> model.impute(source="rna", target="ephys").shape
    (75, 40)
    """

    _module_cls = JAMIEModule
    module: JAMIEModule

    def __init__(
        self,
        mdata: MuData | None = None,
        preset: PresetName | Settings = "default",
        *,
        registry: dict[str, Any] | None = None,
        **overrides: Any,
    ) -> None:
        settings = make_settings(preset, overrides)
        if registry is None and self._get_most_recent_anndata_manager(check_mudata(mdata)) is None:
            raise ValueError(
                expected(
                    "a MuData that is set up",
                    "one that is not",
                    "Call `JAMIE.setup_mudata(mdata, modalities=..., layers=...)` first.",
                )
            )
        super().__init__(mdata, registry)
        self.settings_ = settings
        self.modalities_ = sorted(self.registry_["setup_args"]["modalities"])
        self.var_names_ = {
            m: reader.var_names for m, reader in registered_readers(self.registry_, self.modalities_).items()
        }
        self.n_components_ = self._components(strict="n_pcs" in overrides)
        self.fitted_links_: dict[str, IntArray] = {}
        self.module = self._build_module()
        self.init_params_ = self._get_init_params(locals())

    @classmethod
    def setup_mudata(
        cls,
        mdata: MuData,
        *,
        modalities: Sequence[str],
        layers: Mapping[str, str | None] | None = None,
        use_rep: Mapping[str, str] | None = None,
        correspondence_key: Keys = None,
        match_key: Keys = None,
        batch_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Register modalities and their links. Only scvi-tools' two identifiers are written, to ``mdata.uns``.

        Parameters
        ----------
        mdata
            MuData whose rows of the same name are the same cell; cells may lack modalities.
        modalities
            Names of two or more modalities. With links, rows of their matrix are the first and columns the second.
        layers
            Layer of each modality to model; ``X`` where it is not named.
        use_rep
            Representation in ``.obsm`` of each modality to model in place of a layer.
        correspondence_key
            Links in ``mdata.obsp``, as written by :func:`couplevi.pp.link`; only what is in the matrix is linked.
            None links every cell measured in two modalities to itself. For more than two modalities, a mapping from
            (rows, columns) to key; what it leaves out is linked by name.
        match_key
            Inferred links in ``mdata.obsp``, used by the alignment term; given like `correspondence_key`. None
            switches the term off.
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
        >>> mdata = cvi.data.branching_manifold(n_obs=100)
        >>> cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"})
        """
        setup_method_args = cls._get_setup_method_args(**locals())
        if batch_key is not None:
            make_settings("default", {"batch_key": batch_key})
        names = check_setup(mdata, modalities)
        fields: list[BaseAnnDataField] = value_fields(mdata, names, layers, use_rep)
        correspondence = link_keys(names, correspondence_key, "correspondence_key")
        match = link_keys(names, match_key, "match_key")
        fields += [MuDataObspField("correspondence", key, pair) for pair, key in correspondence.items()]
        fields += [MuDataObspField("match", key, pair) for pair, key in match.items()]
        manager = AnnDataManager(
            fields=fields,
            setup_method_args=setup_method_args,
            validation_checks=AnnDataManagerValidationCheck(check_fully_paired_mudata=False),
        )
        manager.register_fields(mdata, **kwargs)
        if "source_registry" not in kwargs:
            warn_about_links(mdata, names, correspondence, match)
        cls.register_manager(manager)

    @classmethod
    def setup_anndata(cls, adata: AnnData, *args: Any, **kwargs: Any) -> NoReturn:
        """Not available: the model needs two modalities, see :meth:`setup_mudata`."""
        check_mudata(adata)
        raise TypeError(expected("`setup_mudata` for a MuData", "`setup_anndata`"))

    def __repr__(self) -> str:
        sizes = [
            f"{m}: {len(self.var_names_[m])} features" + (f" in {n} PCs" if (n := self.n_components_[m]) else "")
            for m in self.modalities_
        ]
        state = "trained" if self.is_trained_ else "not trained"
        return f"JAMIE model, {state}, n_latent: {self.settings_.n_latent}, {', '.join(sizes)}"

    # construction

    @classmethod
    def _from_attributes(cls, mdata: MuData | None, registry: dict[str, Any], attributes: dict[str, Any]) -> Self:
        settings = Settings(**attributes.pop("settings_"))
        model = cls(mdata, settings, registry=registry if mdata is None else None)
        for name, value in attributes.items():
            setattr(model, name, value)
        model.module = model._build_module()  # its sizes are those of the saved model, not of the data at hand
        return model

    def _components(self, *, strict: bool) -> dict[str, int | None]:
        sizes = {
            m: (None if self.adata is None else self.adata[m].n_obs, len(self.var_names_[m])) for m in self.modalities_
        }
        return choose_components(self.settings_.n_pcs, sizes, strict=strict)

    def _build_module(self) -> JAMIEModule:
        s = self.settings_
        sizes = {m: (len(self.var_names_[m]), self.n_components_[m]) for m in self.modalities_}
        return self._module_cls(
            sizes,
            s.n_latent,
            widths={m: s.widths(n_components or n_vars) for m, (n_vars, n_components) in sizes.items()},
            weights={name: getattr(s, f"{name}_weight") for name in TERMS},
            input_dropout_rate=s.input_dropout_rate,
            hidden={name: getattr(s, name) for name in ("normalization", "activation", "dropout_rate")},
            unknown_negative_weight=s.unknown_negative_weight,
            normalize_block=s.normalize_block,
            match_weight=s.match_weight,
        )
