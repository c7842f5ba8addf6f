from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from couplevi._constants import Key
from couplevi._docs import fill_docs
from couplevi._validate import check_slot
from couplevi.model.celltext import CellText
from couplevi.tl._fit import seeded, versions

if TYPE_CHECKING:
    from anndata import AnnData

    from couplevi._protocols import Annotates, FindsCells
    from couplevi.model.celltext import CellTextSettings


@fill_docs
def celltext(
    adata: AnnData,
    *,
    labels_key: str | None = None,
    text_key: str | None = None,
    descriptions: Mapping[str, str | Sequence[str]] | None = None,
    layer: str | None = None,
    use_rep: str | None = None,
    text_encoder: str | Callable[[list[str]], Any] = "tfidf",
    cell_encoder: Callable[[AnnData], Any] | None = None,
    preset: Literal["default"] | CellTextSettings = "default",
    key_added: str = "celltext",
    seed: int | None = None,
    train_kwargs: Mapping[str, Any] | None = None,
    **model_kwargs: Any,
) -> CellText:
    """Set up, train and apply :class:`~couplevi.model.CellText` in one call: cells and words in one space.

    Parameters
    ----------
    adata
        Cells of two or more types.
    labels_key
        Column of ``adata.obs`` with the type of each cell; cells without one (missing, ``"unknown"``) are placed, not
        learned from.
    %(text_key)s
    %(described_values)s
    %(encoders)s
    preset
        ``"default"``, or :class:`~couplevi.model.CellTextSettings` of your own.
    key_added
        Name of all slots that are written.
    %(seed)s
    train_kwargs
        Arguments of :meth:`~couplevi.model.CellText.train` by name, such as ``{"max_epochs": 50}``.
    **model_kwargs
        Fields of :class:`~couplevi.model.CellTextSettings` that replace those of the preset, such as `n_pcs` (50).

    Returns
    -------
    The fitted model, for :func:`couplevi.tl.annotate` and its own methods. Also writes

    - ``adata.obsm["X_celltext"]``: cells in the space that they share with texts, rows of length 1, shape
      ``(n_obs, n_dimensions)``, float32;
    - ``adata.uns["celltext"]``: settings, versions, losses, types and their texts, and what encodes them.

    Raises
    ------
    TypeError, KeyError, ValueError, ImportError, FileNotFoundError
        As :meth:`~couplevi.model.CellText.setup_anndata` and :class:`~couplevi.model.CellText`; nothing is written then.

    References
    ----------
    Shi et al., Multimodal language modeling for high-accuracy single cell transcriptomics analysis and generation,
    arXiv 2503.09427 (the tasks; the method is another one, see the guide).

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.count_clusters(n_obs=200)
    >>> adata = mdata["rna"].copy()
    >>> adata.obs["type"] = mdata.obs["cell_type"].astype(str)
    >>> texts = {"type0": "large and round cells", "type1": "small and round cells", "type2": "long cells"}
    >>> quick = {"max_epochs": 5, "enable_progress_bar": False}
    >>> model = cvi.tl.celltext(adata, labels_key="type", descriptions=texts, seed=0, train_kwargs=quick)
    >>> adata.obsm["X_celltext"].shape
    (200, 50)
    >>> model.retrieve_cells("round cells", k=2).shape
    (2, 1)
    """
    check_slot(key_added, "key_added")
    with seeded(seed):
        CellText.setup_anndata(adata, labels_key=labels_key, text_key=text_key, layer=layer, use_rep=use_rep)
        model = CellText(
            adata,
            preset,
            descriptions=descriptions,
            text_encoder=text_encoder,
            cell_encoder=cell_encoder,
            **model_kwargs,
        )
        model.train(**(train_kwargs or {}))
    z = model.get_latent_representation()
    adata.obsm[Key.obsm.latent(key_added)] = z
    adata.uns[key_added] = {
        Key.uns.LABELS: model.labels_,
        Key.uns.TEXTS: [" ".join(model.descriptions_[label]) for label in model.labels_],
        "encoders": {
            name: value
            for name, value in (("text", model.text_encoder_name_), ("cell", model.cell_encoder_name_))
            if value is not None
        },
        "settings": {name: value for name, value in asdict(model.settings_).items() if value is not None},
        "losses": {name: frame.iloc[:, 0].to_numpy() for name, frame in model.history.items()},
        "versions": versions(),
    }
    return model


if TYPE_CHECKING:

    def _is_all_that_tools_need(model: CellText) -> tuple[Annotates, FindsCells]:
        return model, model
