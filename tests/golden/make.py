"""Writes the golden models: what a version of couplevi saved, and what it then gave.

Run it for a new format or a new model, from the version that saves it: ``python tests/golden/make.py``. Files that are
there are never written again: they stand for what users have on their disks.
"""

import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

from model_table import MODELS, SINGLE, gives, query  # noqa: E402


def main():
    """Write those that are not there."""
    for name, (make, data) in {n: g for row in MODELS.values() for n, g in row.golden.items()}.items():
        if not (FOLDER / name).exists():
            model = make()
            model.save(FOLDER / name)
            np.savez_compressed(FOLDER / name / "outputs.npz", **gives(model, query(data())))
    for name, (make, data, gives_single) in SINGLE.items():
        if not (FOLDER / name).exists():
            model = make()
            model.save(FOLDER / name)
            np.savez_compressed(FOLDER / name / "outputs.npz", **gives_single(model, data()[:12].copy()))


if __name__ == "__main__":
    main()
