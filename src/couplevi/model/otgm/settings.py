from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from couplevi._validate import check_count, check_known, check_number, check_option, expected
from couplevi.model._components import DEFAULT_N_PCS


@dataclass(frozen=True, kw_only=True)
class OTGMSettings:
    """How states are described by an OTGM model.

    Attributes
    ----------
    n_pcs
        Number of principal components that covariances are full in; the rest of the variance is that of independent
        genes. Lowered where the data have fewer.
    pooled_share
        Share, in [0, 1], of the covariance within all states in that of each. None chooses it by how probable cells
        that were left out are in their state; and another one, for telling states, by how probable their state is.
    em_iterations
        Number of steps of expectation maximisation, for labels with errors: in each, a cell of a state counts for it
        by the probability that it is not one of the control, and for the control by the rest. 0 takes labels as they
        are. What is left of a state are the cells that differ most from the control, so shifts grow with each step, also
        where nothing happened.
    shifts
        ``"genes"``: shifts of genes are what was measured. ``"components"``: the part of them that lies in the
        principal components, as published.

    Examples
    --------
    >>> import couplevi as cvi
    >>> settings = cvi.model.OTGMSettings(n_pcs=8, shifts="components")
    >>> adata = cvi.data.perturbation_screen(n_obs=200)
    >>> cvi.model.OTGM.setup_anndata(adata, state_key="perturbation", control="control", layer="log1p")
    >>> model = cvi.model.OTGM(adata, settings)
    >>> model.train()
    >>> model.get_latent_representation().shape
    (200, 8)
    """

    n_pcs: int = DEFAULT_N_PCS
    pooled_share: float | None = None
    em_iterations: int = 0
    shifts: Literal["genes", "components"] = "genes"

    def __post_init__(self) -> None:
        check_count(self.n_pcs, "n_pcs")
        if self.pooled_share is not None:
            check_number(self.pooled_share, "pooled_share", 0.0, 1.0)
        check_count(self.em_iterations, "em_iterations", minimum=0)
        check_option(self.shifts, ("genes", "components"), "shifts")


OTGM_PRESETS: Mapping[str, OTGMSettings] = {
    "default": OTGMSettings(),
    "paper": OTGMSettings(pooled_share=0.0, em_iterations=1, shifts="components"),
}


def make_otgm_settings(preset: str | OTGMSettings, given: Mapping[str, Any]) -> OTGMSettings:
    """Settings of a preset, some of them replaced; raise TypeError for an unknown one."""
    check_known(given, [field.name for field in fields(OTGMSettings)])
    if not isinstance(preset, OTGMSettings):
        if preset not in OTGM_PRESETS:
            raise ValueError(expected(f"`preset` to be one of {list(OTGM_PRESETS)}, or settings", repr(preset)))
        preset = OTGM_PRESETS[preset]
    return replace(preset, **given)
