"""What tools and figures need of a model, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import pandas as pd
    import scipy.sparse as sp
    from anndata import AnnData
    from mudata import MuData

    from couplevi._types import BoolArray, FloatArray
    from couplevi.gaussians import Gaussian
    from couplevi.nn import Route
    from couplevi.registry import ModalityReader


class Reads(Protocol):
    """Knows modalities and where their values are."""

    modalities_: list[str]
    var_names_: dict[str, Sequence[str]]

    def reader(self, modality: str, name: str = "modality") -> ModalityReader: ...


class Embeds(Reads, Protocol):
    """Places profiles and cells in one space."""

    def get_latent_representation(
        self, adata: AnnData | MuData | None = None, *, modality: str | None = None
    ) -> FloatArray: ...


class KnowsItsPairs(Reads, Protocol):
    """Remembers of which cells it was trained on the pair of profiles."""

    def is_fitted(self, obs_names: pd.Index, a: str, b: str) -> BoolArray: ...


class Imputes(KnowsItsPairs, Protocol):
    """Predicts one modality from another."""

    def impute(
        self,
        *,
        source: str,
        target: str,
        adata: AnnData | MuData | None = None,
        return_sd: bool = False,
        library_size: float | None = None,
    ) -> AnnData: ...

    def has_sd(self, source: str, target: str) -> bool: ...


class Routes(Reads, Protocol):
    """Shows the way from features to what is predicted from them."""

    def route(self, source: str, target: str | None = None, *, features: Sequence[str] | None = None) -> Route: ...


class KnowsItsLinks(KnowsItsPairs, Protocol):
    """Remembers which links it was trained on."""

    adata: Any

    def fitted_links(self, a: str, b: str) -> sp.csr_array: ...

    def get_setup_arg(self, setup_arg: str) -> Any: ...


class Classifies(Reads, Protocol):
    """Puts cells into categories, and knows what they look like along a state."""

    def predict(self, adata: AnnData | MuData | None = None) -> pd.Series: ...

    def predict_probabilities(self, adata: AnnData | MuData | None = None) -> pd.DataFrame: ...

    def traverse_state(
        self, category: str, *, dimension: int, n_steps: int, modality: str | None, arm: int
    ) -> pd.DataFrame: ...


class DescribesStates(Protocol):
    """Knows states of cells, one of them the control, as Gaussians."""

    states_: list[str]
    control_: str

    def gaussian(self, state: str, *, group: str | None = None) -> Gaussian: ...

    def rank_genes(
        self, state: str, *, source: str | None = None, direction: Literal["both", "down", "up"] = "both"
    ) -> pd.DataFrame: ...

    def get_setup_arg(self, setup_arg: str) -> Any: ...


class Annotates(Reads, Protocol):
    """Names cells by texts."""

    def annotate(
        self,
        adata: AnnData | None,
        labels: Sequence[str],
        *,
        descriptions: Mapping[str, str | Sequence[str]] | None = None,
    ) -> pd.DataFrame: ...

    def get_typicality(
        self,
        adata: AnnData | None,
        labels: Sequence[str],
        *,
        descriptions: Mapping[str, str | Sequence[str]] | None = None,
    ) -> pd.Series: ...


class FindsTexts(Protocol):
    """Places cells and texts in one space, in rows of length 1."""

    labels_: list[str]

    def get_latent_representation(self, adata: AnnData | None = None) -> FloatArray: ...

    def encode_text(self, texts: str | Sequence[str]) -> FloatArray: ...


class FindsCells(FindsTexts, Protocol):
    """Finds cells by a text, too."""

    def retrieve_cells(self, text: str, k: int = 50, *, adata: AnnData | None = None) -> pd.DataFrame: ...


class RoutesToTexts(Reads, Protocol):
    """Shows the way from features to how near a cell is to texts."""

    counted_: bool
    cell_encoder_name_: str | None

    def route(self, texts: str | Sequence[str]) -> Route: ...


class EmbedsRoutes(Embeds, Routes, Protocol):
    """Embeds, and shows the way to its latents."""


class Scored(Embeds, Imputes, KnowsItsLinks, Protocol):
    """Has all that is scored."""
