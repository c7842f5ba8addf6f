"""What each part of the default preset is worth, by cross-validation inside the training cells.

    python -m benchmarks.runs.ablation --data DIR

prints a table in Markdown. Every line switches one part off, all else as in the default.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.runs._common import make_parser, markdown, settle
from benchmarks.runs._validation import COLUMNS, cross_validate

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
    "no feature weights from the other modality": {"feature_weights": "communality"},
    "equal feature weights": {"feature_weights": "equal"},
    "paper's objective (combination, reconstruction, divergence)": {
        "contrastive_weight": 0.0,
        "cross_reconstruction_weight": 0.0,
        "mixup_alpha": 0.0,
    },
}


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real data")
    parser.add_argument("--set", default="patchseq_motor", help="data set")
    parser.add_argument("--folds", type=int, default=5, help="folds of five that are run")
    arguments = parser.parse_args()
    settle(n_threads=1)

    def rows() -> Iterator[list[str]]:
        for name, settings in ABLATIONS.items():
            scores = cross_validate(arguments.set, arguments.data, arguments.folds, **settings)
            yield [name, *(f"{scores[column]:.4f}" for column in COLUMNS)]

    for line in markdown(["", *COLUMNS], rows()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
