import numpy as np
import pytest
import torch

import couplevi as cvi
from couplevi.model.jamie.embedding import PRIVATE_SHARE, Embedding

torch.manual_seed(0)


def spread(z):
    return ((z - z.mean(dim=0)) ** 2).sum(dim=1).mean().sqrt()


@pytest.fixture
def fitted_embedding():
    """Two modalities; only the first two of four shared dimensions matter to decoders, private ones follow them."""
    torch.manual_seed(0)
    latents = {m: torch.randn(500, 6) for m in ("a", "b")}
    latents["a"][:, 4:] = 2 * latents["a"][:, :2] + 1
    matter = torch.diag(torch.tensor([4.0, 1.0, 0.0, 0.0, 1.0, 1.0]))
    embedding = Embedding(["a", "b"], 4, 2)
    embedding.fit(latents, {"a": matter, "b": matter})
    return embedding, latents


def test_dimensions_count_by_what_they_change_in_what_is_decoded(fitted_embedding):
    embedding, latents = fitted_embedding
    z = latents["a"][:, :4]
    placed = embedding(z, {"a": latents["a"][:, 4:]})
    assert placed.shape == (500, 6)
    sd = placed.std(dim=0)
    torch.testing.assert_close(sd[0] / z[:, 0].std(), 2 * sd[1] / z[:, 1].std())
    torch.testing.assert_close(placed[:, 2:4], torch.zeros(500, 2), atol=1e-5, rtol=0)


def test_private_parts_have_their_share_of_the_spread(fitted_embedding):
    embedding, latents = fitted_embedding
    z = torch.cat([part[:, :4] for part in latents.values()])
    torch.testing.assert_close(spread(embedding(z, {})), spread(z))
    for m, part in latents.items():
        own = embedding(part[:, :4], {m: part[:, 4:]})[:, 4:]
        torch.testing.assert_close(spread(own), PRIVATE_SHARE * spread(z))


def test_what_is_expected_of_a_private_part_is_its_regression_on_the_shared_one(fitted_embedding):
    embedding, latents = fitted_embedding
    z = latents["a"][:, :4]
    torch.testing.assert_close(embedding.expected_private("a", z), latents["a"][:, 4:], atol=0.05, rtol=0)
    assert embedding.expected_private("b", z).abs().max() < 0.5  # independent: their mean


def test_nothing_private_leaves_the_shared_part():
    embedding = Embedding(["a"], 3, 0)
    z = torch.randn(10, 3)
    torch.testing.assert_close(embedding(z, {"a": torch.zeros(10, 0)}), z)
    embedding.fit({"a": z}, {"a": torch.eye(3)})
    torch.testing.assert_close(embedding(z, {"a": torch.zeros(10, 0)}), z)


def test_groups_that_one_modality_alone_separates_are_apart_in_the_cells():
    """Five groups, of which the first modality knows three: the cells know five, the first modality still three."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 5, 500)
    coarse = np.array([0, 1, 2, 2, 2])[group]
    x, y = 4 * np.eye(5)[group], 4 * np.eye(3)[coarse]
    values = {"all": x @ rng.normal(size=(5, 30)), "some": y @ rng.normal(size=(3, 20))}
    import anndata as ad
    import mudata as md
    from sklearn.model_selection import cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    parts = {}
    for m, value in values.items():
        noisy = (value + rng.normal(size=value.shape)).astype(np.float32)
        parts[m] = ad.AnnData(noisy)
        parts[m].obs_names = [f"cell{i}" for i in range(500)]
        parts[m].var_names = [f"{m}{j}" for j in range(noisy.shape[1])]
    mdata = md.MuData(parts)
    model = cvi.tl.jamie(
        mdata, modalities=("all", "some"), seed=0, n_steps=400, train_kwargs={"enable_progress_bar": False}
    )

    def found(z, labels):
        return cross_val_score(KNeighborsClassifier(15), z, labels, cv=5).mean()

    assert found(mdata.obsm["X_jamie"], group) >= 0.98
    shared = model.get_latent_representation(modality="some")
    assert found(shared, coarse) >= 0.98
    within = coarse == 2
    assert found(shared[within], group[within]) < 0.45  # three groups, chance 0.33: no false separation
