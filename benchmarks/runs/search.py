"""Search for the default preset with Ray Tune, by cross-validation inside the training cells of several data sets.

    pip install "couplevi[search]"
    python -m benchmarks.runs.search --data DIR --trials 20 --out search.csv

The held-out 20 % of each set is never read. What was tried, and every scoring of the held-out cells, is listed in
``benchmarks/search_log.md``. The score that is maximised is a mean over the sets of held-out label transfer accuracy
and correlation of imputations, less twice FOSCTTM.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.runs._common import make_parser, settle
from benchmarks.runs._validation import cross_validate

SPACE: dict[str, list[object]] = {
    "dropout_rate": [0.4, 0.5, 0.6, 0.7],
    "input_dropout_rate": [0.1, 0.2, 0.3],
    "encoder_widths": [(128,), (256,), (384,), (256, 256)],
    "n_pcs": [30, 50, 100],
    "contrastive_weight": [0.3, 1.0, 3.0, 10.0],
    "combination_weight": [0.1, 0.3, 1.0, 3.0],
    "cross_reconstruction_weight": [0.5, 1.0, 2.0],
    "kl_weight": [1e-4, 1e-3, 1e-2],
    "mixup_alpha": [0.0, 0.2, 1.0, 4.0],
    "lr": [1e-3, 3e-3],
    "weight_decay": [1e-2, 1e-1],
    "n_steps": [800, 1200, 1600],
}
"""Settings that are drawn at random, each by itself."""


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real data")
    parser.add_argument("--sets", nargs="+", default=["patchseq_motor", "cite_pbmc_inhouse"], help="data sets")
    parser.add_argument("--folds", type=int, default=2, help="folds of five that are run")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="csv file with all trials")
    arguments = parser.parse_args()
    folder = arguments.data.resolve()
    from ray import tune  # an extra: everything else here works without it

    def trial(settings: dict[str, object]) -> dict[str, float]:
        settle(n_threads=1)  # each trial has a process of its own
        scores = [cross_validate(name, folder, arguments.folds, **settings) for name in arguments.sets]
        means = {key: float(np.mean([s[key] for s in scores])) for key in scores[0]}
        return {**means, "score": means["lta"] + means["r_forward"] - 2 * means["foscttm"]}

    np.random.seed(arguments.seed)
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": 1}),
        param_space={name: tune.choice(values) for name, values in SPACE.items()},
        tune_config=tune.TuneConfig(metric="score", mode="max", num_samples=arguments.trials, max_concurrent_trials=2),
        run_config=tune.RunConfig(verbose=0),
    )
    results = tuner.fit()
    results.get_dataframe().sort_values("score", ascending=False).to_csv(arguments.out, index=False)
    best = results.get_best_result()
    print({name: best.metrics[name] for name in ("score", "foscttm", "lta", "r_forward")}, best.config)


if __name__ == "__main__":
    main()
