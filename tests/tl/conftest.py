import pytest

import couplevi as cvi

BOTH = ("rna", "ephys")


@pytest.fixture(scope="module")
def hidden(quick):
    """A model that does not know the pairs of 20 of 80 cells."""
    mdata = cvi.data.branching_manifold(80, n_features={"rna": 30, "ephys": 8}, noise=0.3, seed=1)
    cvi.pp.link(mdata, modalities=BOTH, hide=0.25)
    model = cvi.tl.jamie(
        mdata, modalities=BOTH, correspondence_key="correspondence", seed=0, train_kwargs={**quick, "max_epochs": 40}
    )
    return model, mdata, mdata.obsp["correspondence"].diagonal() > 0
