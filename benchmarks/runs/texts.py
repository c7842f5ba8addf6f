"""CellText on types that it has not seen, beside what names cells without a model of texts.

    python -m benchmarks.runs.texts --data DIR --encoder FOLDER

Prints a table, mean over draws of three types that are held out, and their standard deviation. A draw trains a model
with the encoder, and one with words alone.
"""

from __future__ import annotations

import time
from pathlib import Path

import couplevi as cvi
from benchmarks.runs._common import make_parser, markdown, settle
from benchmarks.tasks.described import DESCRIBED, load_described


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real data")
    parser.add_argument("--encoder", default="tfidf", help="folder of a sentence-transformers model, or tfidf")
    parser.add_argument("--sets", nargs="+", default=list(DESCRIBED), choices=DESCRIBED)
    parser.add_argument("--draws", type=int, default=10, help="number of draws")
    options = parser.parse_args()
    settle()
    for name in options.sets:
        adata, texts = load_described(name, options.data)
        start = time.perf_counter()
        frame = cvi.tl.evaluate_text(
            adata,
            labels_key="cell_type",
            descriptions=texts,
            layer="log1p",
            text_encoder=options.encoder,
            n_draws=options.draws,
            train_kwargs={"enable_progress_bar": False},
        )
        seconds = time.perf_counter() - start
        scores = frame.drop(columns="draw").groupby("method", sort=False).agg(["mean", "std"])
        shown = {
            score: [f"{m:.3f} ± {s:.3f}" if m == m else "" for m, s in scores[score].to_numpy()]
            for score in scores.columns.unique(0)
        }
        print(f"{name}, {adata.n_obs} cells of {len(texts)} types, {seconds:.0f} s\n")
        rows = zip(scores.index, *shown.values(), strict=True)
        print("\n".join(markdown(["method", *shown], rows)), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
