import gc
import resource
import weakref

import pytest

import couplevi as cvi

SETTINGS = {"JAMIE": {"n_latent": 4}, "CplMixVAE": {"n_categories": 2, "batch_size": 40}}
TRAIN = {"JAMIE": {}, "CplMixVAE": {"prune": False}}
CYCLES = 60
WARM_UP = 20
"""Cycles in which caches fill."""


def peak_of_memory():
    """In MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.filterwarnings("ignore:No number of categories reached", "ignore:.*say next to nothing")
@pytest.mark.parametrize("name", SETTINGS)
def test_memory_does_not_grow_from_cycle_to_cycle(name, paired):
    """A model that is dropped takes its data with it, once scvi-tools is told to forget them."""
    cls = getattr(cvi.model, name)
    alive = []
    for cycle in range(CYCLES):
        mdata = paired.copy()
        cls.setup_mudata(mdata, modalities=("rna", "ephys"), layers={"rna": "log1p"})
        model = cls(mdata, **SETTINGS[name])
        model.train(max_epochs=1, enable_progress_bar=False, accelerator="cpu", **TRAIN[name])
        model.get_latent_representation()
        model.deregister_manager(mdata)
        alive += [weakref.ref(mdata), weakref.ref(model), weakref.ref(model.module)]
        del mdata, model
        if cycle % 10 == 9:
            gc.collect()  # models and trainers hold each other
        if cycle < WARM_UP:
            before = peak_of_memory()
    assert [reference for reference in alive if reference() is not None] == []
    assert peak_of_memory() - before < 5
