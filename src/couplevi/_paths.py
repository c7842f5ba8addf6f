from __future__ import annotations

import os
from pathlib import Path


def user_path(path: str | os.PathLike[str]) -> Path:
    """Path of a file or folder; ``~`` is the user's own folder, as in a shell."""
    return Path(os.path.expanduser(path))
