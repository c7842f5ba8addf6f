"""What each part of the default preset is worth, by cross-validation inside the training cells.

    python -m benchmarks.ablation --data DIR

prints a table in Markdown. Every line switches one part off, all else as in the default.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import mudata as md

from benchmarks._validation import cross_validate

ABLATIONS: dict[str, dict[str, object]] = {
    "default": {},
    "no contrastive term": {"contrastive_weight": 0.0},
    "no combination term": {"combination_weight": 0.0},
    "no cross reconstruction": {"cross_reconstruction_weight": 0.0},
    "no reconstruction": {"reconstruction_weight": 0.0},
    "no divergence": {"kl_weight": 0.0},
    "no mixing": {"mixup_alpha": 0.0},
    "no dropout": {"dropout_rate": 0.0},
    "no input dropout": {"input_dropout_rate": 0.0},
    "equal feature weights": {"feature_weights": "equal"},
    "paper's objective (combination, reconstruction, divergence)": {
        "contrastive_weight": 0.0,
        "cross_reconstruction_weight": 0.0,
        "mixup_alpha": 0.0,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real data")
    parser.add_argument("--set", default="patchseq_motor", help="data set")
    parser.add_argument("--folds", type=int, default=5, help="folds of five that are run")
    arguments = parser.parse_args()
    if hasattr(md, "set_options"):  # mudata before 0.4
        md.set_options(pull_on_update=False)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for i, (name, settings) in enumerate(ABLATIONS.items()):
        scores = cross_validate(arguments.set, arguments.data, arguments.folds, **settings)
        if not i:
            print("|", " | ".join(["", *scores]), "|")
            print("|", " | ".join(["---"] * (len(scores) + 1)), "|")
        print("|", " | ".join([name, *(f"{value:.4f}" for value in scores.values())]), "|", flush=True)


if __name__ == "__main__":
    main()
