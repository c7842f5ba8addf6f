"""What must not matter: the order and names of cells and modalities, and whether a hidden pair is one row or two."""

import mudata as md
import numpy as np
import pytest

import couplevi as cvi

BOTH = ("rna", "ephys")


def latents(mdata, quick, modalities=BOTH, **kwargs):
    model = cvi.tl.jamie(mdata, modalities=modalities, seed=0, train_kwargs={**quick, "batch_size": 16}, **kwargs)
    return model, {m: mdata[m].obsm["X_jamie"] for m in modalities}


@pytest.fixture
def linked(paired):
    cvi.pp.link(paired, modalities=BOTH, hide=0.4, seed=0)
    return paired


def test_training_on_permuted_cells(linked, quick):
    model, z = latents(linked, quick, correspondence_key="correspondence")
    rng = np.random.default_rng(0)
    shuffled = {m: linked[m][rng.permutation(40)].copy() for m in BOTH}
    other = md.MuData(shuffled)
    cvi.pp.link(other, modalities=BOTH, hide=0.4, seed=0)
    _, z_other = latents(other, quick, correspondence_key="correspondence")
    for m in BOTH:
        rows = other[m].obs_names.get_indexer(linked[m].obs_names)
        np.testing.assert_allclose(z_other[m][rows], z[m], atol=1e-4)
    cells = other.obs_names.get_indexer(linked.obs_names)
    np.testing.assert_allclose(other.obsm["X_jamie"][cells], linked.obsm["X_jamie"], atol=1e-4)
    # and the trained model sees the other order as its own
    found = model.get_latent_representation(other, part="joint")
    np.testing.assert_allclose(found[cells], linked.obsm["X_jamie"], atol=1e-5)


def test_order_of_modalities(paired, quick):
    other = md.MuData({m: paired[m].copy() for m in BOTH[::-1]})
    model, z = latents(paired, quick)
    _, z_other = latents(other, quick, BOTH[::-1])
    for m in BOTH:
        np.testing.assert_allclose(z_other[m], z[m], atol=1e-5)
    np.testing.assert_allclose(model.get_latent_representation(other), model.get_latent_representation(), atol=1e-5)


def test_orientation_of_links(paired, quick):
    """The same links, as rows of rna or as rows of ephys."""
    matrix = np.zeros((40, 40), dtype=np.float32)
    matrix[np.arange(39), np.arange(1, 40)] = 0.8
    results = []
    for names, p in ((BOTH, matrix), (BOTH[::-1], matrix.T)):
        mdata = paired.copy()
        cvi.pp.link(mdata, modalities=names, pairs=p)
        results.append(latents(mdata, quick, names, correspondence_key="correspondence")[1])
    for m in BOTH:
        np.testing.assert_allclose(results[0][m], results[1][m], atol=1e-5)


@pytest.mark.parametrize("rename", ["{}_b", "a_{}", "zz{}"])
def test_hidden_pair_as_two_rows(linked, quick, rename):
    """Splitting the cells whose pair is hidden into two rows of obs changes nothing."""
    hidden = linked.obs_names[linked.obsp["correspondence"].diagonal() == 0]
    ephys = linked["ephys"].copy()
    ephys.obs_names = [rename.format(n) if n in hidden else n for n in ephys.obs_names]
    split = md.MuData({"rna": linked["rna"].copy(), "ephys": ephys})
    assert split.n_obs == 40 + len(hidden) == 56
    cvi.pp.link(split, modalities=BOTH)
    _, z = latents(linked, quick, correspondence_key="correspondence")
    _, z_split = latents(split, quick, correspondence_key="correspondence")
    for m in BOTH:
        np.testing.assert_allclose(z_split[m], z[m], atol=1e-6)


def test_pair_as_two_linked_rows(paired, quick):
    """A cell in two rows that are linked with certainty is drawn and trained on as one."""
    ephys = paired["ephys"].copy()
    ephys.obs_names = [f"{n}_b" for n in ephys.obs_names]
    split = md.MuData({"rna": paired["rna"].copy(), "ephys": ephys})
    cvi.pp.link(split, modalities=BOTH, pairs=np.eye(40))
    _, z = latents(paired, quick)
    _, z_split = latents(split, quick, correspondence_key="correspondence")
    for m in BOTH:
        np.testing.assert_allclose(z_split[m], z[m], atol=1e-6)
