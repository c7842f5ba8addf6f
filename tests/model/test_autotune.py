"""Hyper-parameter search through scvi-tools."""

import numpy as np
import pytest

import couplevi as cvi

for package in ("ray", "hyperopt", "scib_metrics"):
    pytest.importorskip(package, reason="the extra `search` is not installed")


@pytest.mark.filterwarnings("ignore")  # of Ray, about itself
def test_ray_tune_searches_settings_of_a_mudata_model(tmp_path):
    import ray
    from ray import tune
    from scvi import autotune

    mdata = cvi.data.branching_manifold(n_obs=100, n_features={"rna": 30, "ephys": 8}, seed=1)
    cvi.model.JAMIE.setup_mudata(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"})
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    try:
        experiment = autotune.run_autotune(
            cvi.model.JAMIE,
            mdata,
            metrics="validation_loss",
            mode="min",
            search_space={
                "model_params": {"n_latent": tune.choice([2, 4])},
                "train_params": {"max_epochs": 2, "train_size": 0.8},
            },
            num_samples=2,
            seed=0,
            logging_dir=str(tmp_path),
            resources={"cpu": 1},
            ignore_reinit_error=True,
        )
    finally:
        ray.shutdown()
    assert len(experiment.result_grid) == 2
    for result in experiment.result_grid:
        assert result.config["model_params"]["n_latent"] in (2, 4)
    assert all(np.isfinite(result.metrics["validation_loss"]) for result in experiment.result_grid)
