"""Public data sets, downloaded once and checked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import mudata
import pooch

from couplevi._mudata import without_pulling
from couplevi._paths import user_path
from couplevi._validate import expected

if TYPE_CHECKING:
    from mudata import MuData

FOLDER_VARIABLE = "COUPLEVI_DATA"

DATASETS = pooch.create(
    path=pooch.os_cache("couplevi"),
    base_url="https://github.com/couplevi/couplevi/releases/download/data-1/",
    registry={"patchseq_motor.h5mu": "sha256:c21fbc81c2bc92127741b472c36943a317ba2c68d705d43e0ea96ca71448cae3"},
)


def patchseq_motor() -> MuData:
    """Patch-seq of the mouse motor cortex: 1,208 neurons, each measured in both modalities.

    Downloaded to the user's cache once, and checked by its SHA-256. If the environment variable ``COUPLEVI_DATA`` names
    a folder that holds ``patchseq_motor.h5mu``, that file is read and checked instead.

    Returns
    -------
    MuData of `rna`, raw counts of 1,286 genes, and `ephys`, 29 electrophysiological features in their own units;
    ``obs["cell_type"]`` has 9 families.

    Raises
    ------
    ConnectionError
        If the file is neither there nor to be downloaded.
    ValueError
        If the file is not the one that is expected.

    References
    ----------
    Scala et al., Phenotypic variation of transcriptomic cell types in mouse motor cortex, Nature 2021. Genes selected
    by the authors of scMNC (Huang et al. 2021).

    Examples
    --------
    >>> import couplevi as cvi
    >>> mdata = cvi.data.patchseq_motor()  # doctest: +SKIP
    """
    with without_pulling():
        return mudata.read_h5mu(_fetched("patchseq_motor.h5mu"))


def _fetched(name: str) -> Path:
    """Path of a checked file: in the user's own folder, in the cache, or downloaded into it."""
    folder = os.environ.get(FOLDER_VARIABLE)
    local = user_path(folder) / name if folder else None
    if local is not None and local.is_file():
        kind, _, wanted = DATASETS.registry[name].partition(":")
        if pooch.file_hash(str(local), alg=kind) != wanted:
            remedy = f"Remove it, or unset {FOLDER_VARIABLE} to download it again."
            raise ValueError(expected(f"the published {name}", f"another file at {str(local)!r}", remedy))
        return local
    try:
        return Path(DATASETS.fetch(name))
    except OSError as error:  # requests' errors are, too
        raise ConnectionError(
            expected(
                f"{DATASETS.get_url(name)} to be downloaded",
                f"no connection ({type(error).__name__})",
                f"Download it elsewhere, and name its folder in the environment variable {FOLDER_VARIABLE}.",
            )
        ) from error
