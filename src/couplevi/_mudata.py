from __future__ import annotations

from typing import TYPE_CHECKING

import mudata

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def without_pulling() -> AbstractContextManager[object]:
    """Columns of modalities are not copied into ``mdata.obs`` and ``mdata.var``: the default from mudata 0.4 on."""
    option = mudata.set_options if hasattr(mudata, "set_options") else mudata.settings.override
    return option(pull_on_update=False)
