from __future__ import annotations

from typing import TYPE_CHECKING

import anndata as ad
import pandas as pd
import scanpy as sc

from couplevi._constants import Key
from couplevi._streamed import StreamedMatrix, loaded
from couplevi._validate import check_modality, check_mudata, looks_like_counts, stored_values, warn
from couplevi.preparation import log_normalised
from couplevi.registry import stored

if TYPE_CHECKING:
    from mudata import MuData

S_GENES = (
    *("MCM5", "PCNA", "TYMS", "FEN1", "MCM2", "MCM4", "RRM1", "UNG", "GINS2", "MCM6", "CDCA7", "DTL", "PRIM1"),
    *("UHRF1", "CENPU", "HELLS", "RFC2", "RPA2", "NASP", "RAD51AP1", "GMNN", "WDR76", "SLBP", "CCNE2", "UBR7"),
    *("POLD3", "MSH2", "ATAD2", "RAD51", "RRM2", "CDC45", "CDC6", "EXO1", "TIPIN", "DSCC1", "BLM", "CASP8AP2"),
    *("USP1", "CLSPN", "POLA1", "CHAF1B", "BRIP1", "E2F8"),
)
G2M_GENES = (
    *("HMGB2", "CDK1", "NUSAP1", "UBE2C", "BIRC5", "TPX2", "TOP2A", "NDC80", "CKS2", "NUF2", "CKS1B", "MKI67"),
    *("TMPO", "CENPF", "TACC3", "PIMREG", "SMC4", "CCNB2", "CKAP2L", "CKAP2", "AURKB", "BUB1", "KIF11", "ANP32E"),
    *("TUBB4B", "GTSE1", "KIF20B", "HJURP", "CDCA3", "JPT1", "CDC20", "TTK", "CDC25C", "KIF2C", "RANGAP1", "NCAPD2"),
    *("DLGAP5", "CDCA2", "CDCA8", "ECT2", "KIF23", "HMMR", "AURKA", "PSRC1", "ANLN", "LBR", "CKAP5", "CENPE"),
    *("CTCF", "NEK2", "G2E3", "GAS2L3", "CBX5", "CENPA"),
)
ALIASES = {"MLF1IP": "CENPU", "FAM64A": "PIMREG", "HN1": "JPT1"}
"""Former symbols of genes of the lists, which data may still use."""
FEWEST_GENES = 10
"""Of a phase, below which a score says too little."""


def score_cell_cycle(mdata: MuData, *, modality: str = "rna", layer: str | None = None) -> tuple[str, str] | None:
    """Score where in the cell cycle each cell is, by the genes of Tirosh and others.

    Symbols are compared regardless of case, which lets mouse genes in, and former symbols are known.

    Parameters
    ----------
    mdata
        MuData with gene expression.
    modality
        Its modality.
    layer
        Layer of logarithmic values, or of counts, which are normalised to 10,000 per cell and logarithmised first; None
        takes ``X``.

    Returns
    -------
    The names of the two columns of scores, for ``cell_cycle_keys``; None, with a warning, if there are fewer than 10
    genes of a phase. Writes ``mdata[modality].obs["S_score"]``, ``["G2M_score"]`` and ``["phase"]``, as
    :func:`scanpy.tl.score_genes_cell_cycle` does.

    Raises
    ------
    TypeError
        If `mdata` is not a MuData.
    KeyError
        If the modality or layer is missing.

    References
    ----------
    Tirosh et al., Dissecting the multicellular ecosystem of metastatic melanoma by single-cell RNA-seq, Science 2016.

    Examples
    --------
    >>> import couplevi as cvi
    >>> from couplevi.pp._cell_cycle import G2M_GENES, S_GENES
    >>> mdata = cvi.data.branching_manifold(n_obs=50, n_features={"rna": 150, "ephys": 5})
    >>> mdata["rna"].var_names = [*S_GENES, *G2M_GENES, *(f"gene{i}" for i in range(53))]
    >>> cvi.pp.score_cell_cycle(mdata)
    ('S_score', 'G2M_score')
    >>> "phase" in mdata["rna"].obs
    True
    """
    check_modality(check_mudata(mdata), modality)
    profiles = mdata[modality]
    names, values = stored(profiles, "X" if layer is None else "layers", layer)
    current = names.str.upper().map(lambda name: ALIASES.get(name, name))
    known = pd.Series(names, index=current)
    known = known[~known.index.duplicated()]
    genes = {phase: known.reindex(listed).dropna().tolist() for phase, listed in (("S", S_GENES), ("G2M", G2M_GENES))}
    if few := {phase: found for phase, found in genes.items() if len(found) < FEWEST_GENES}:
        counted = " and ".join(f"{len(found)} of phase {phase}" for phase, found in few.items())
        warn(f"No scores of the cell cycle: {modality!r} has {counted}, and {FEWEST_GENES} genes are needed.")
        return None
    matrix = loaded(values) if isinstance(values, StreamedMatrix) else values
    if looks_like_counts(stored_values(matrix)):
        matrix = log_normalised(matrix)
    scored = ad.AnnData(matrix.copy(), var=pd.DataFrame(index=names))
    sc.tl.score_genes_cell_cycle(scored, s_genes=genes["S"], g2m_genes=genes["G2M"])
    columns = (Key.obs.S_SCORE, Key.obs.G2M_SCORE, Key.obs.PHASE)
    for column in columns:
        profiles.obs[column] = scored.obs[column].to_numpy()
    return columns[:2]
