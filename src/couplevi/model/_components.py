from __future__ import annotations

import logging
from collections.abc import Mapping

from couplevi._constants import SINGLE
from couplevi._validate import check_option, expected

logger = logging.getLogger(__name__)

DEFAULT_N_PCS = 50
MAX_UNREDUCED = 100
"""Features up to which a preset reduces nothing: panels are chosen so that each one counts."""


def choose_components(
    n_pcs: int | Mapping[str, int | None] | None, sizes: Mapping[str, tuple[int | None, int]], *, strict: bool
) -> dict[str, int | None]:
    """Principal components of each modality; None where the features are used as they are.

    Parameters
    ----------
    n_pcs
        What is wanted, of all or of each modality.
    sizes
        Number of profiles, None if it is not known, and of features of each modality.
    strict
        Whether `n_pcs` was given by the user: then too many are refused, where a default is lowered.
    """
    given: Mapping[str, int | None] = n_pcs if isinstance(n_pcs, Mapping) else dict.fromkeys(sizes, n_pcs)
    for m in given:
        check_option(m, list(sizes), "n_pcs")
    components: dict[str, int | None] = {}
    for m, (known_n_obs, n_vars) in sizes.items():
        wanted = given.get(m, DEFAULT_N_PCS)
        n_obs = n_vars + 1 if known_n_obs is None else known_n_obs
        limit = min(n_vars, n_obs - 1)
        explicit = strict and m in given
        if explicit and wanted is not None and wanted > limit:
            raise ValueError(
                expected(
                    f"`n_pcs` of at most {limit} for modality {m!r} ({n_obs} cells x {n_vars} features)",
                    wanted,
                    f"Pass `n_pcs={limit}`."
                    if m == SINGLE
                    else f"Give a number per modality, such as `n_pcs={{{m!r}: {limit}}}`.",
                )
            )
        if wanted is None or wanted >= n_vars or (not explicit and n_vars <= MAX_UNREDUCED):
            components[m] = None
        else:
            components[m] = min(wanted, limit)
        if components[m] not in (None, wanted):
            logger.info("n_pcs of modality %r lowered from %d to %d, all that the data allow", m, wanted, limit)
    return components
