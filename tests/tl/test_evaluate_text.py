import anndata as ad
import numpy as np
import pytest
from small import WORDS, worded

import couplevi as cvi
from couplevi.tl._evaluate_text import _splits

QUICK = {"max_epochs": 20, "enable_progress_bar": False, "accelerator": "cpu"}


def words(texts):
    return np.array([[w in t for w in WORDS] for t in texts], dtype=float) + 0.01


@pytest.fixture(scope="module")
def scores():
    adata, texts = worded()
    adata.obs["batch"] = np.where(np.arange(adata.n_obs) // 15 % 2, "a", "b")
    before = adata.copy()
    found = cvi.tl.evaluate_text(
        adata,
        labels_key="type",
        descriptions=texts,
        text_encoder=words,
        batch_key="batch",
        n_draws=2,
        n_pcs=10,
        train_kwargs=QUICK,
    )
    assert not adata.uns and adata.obs.equals(before.obs) and not adata.obsm
    return found


def test_a_model_that_reads_texts_names_types_that_were_held_out(scores):
    ours = scores[(scores["method"] == "celltext") & scores["draw"].isin(["0", "1"])]
    assert ours["unseen_among_unseen"].min() > 0.9 and ours["exchanged_texts"].max() < 0.1
    assert ours["seen_among_seen"].min() > 0.9 and ours["description"].min() > 0.9
    u, s = ours["unseen_among_all"], ours["seen_among_all"]
    np.testing.assert_allclose(ours["harmonic_mean"], 2 * u * s / (u + s))
    assert ours["harmonic_mean"].min() > 0.7


def test_simple_means_stand_beside_it(scores):
    assert scores.groupby("draw")["method"].apply(list).to_dict() == {
        draw: ["celltext", "tfidf", "knn", "words"] for draw in ("0", "1", "batch a", "batch b")
    }
    knn = scores[scores["method"] == "knn"]
    assert knn["seen_among_seen"].min() > 0.9
    assert (knn.loc[knn["draw"].isin(["0", "1"]), ["unseen_among_all", "harmonic_mean"]] == 0).all(axis=None)
    by_words = scores.loc[scores["method"] == "words", "unseen_among_unseen"].dropna()
    assert len(by_words) == 2 and by_words.between(0, 1).all()


def test_a_batch_is_held_out_without_a_type(scores):
    batch = scores[(scores["draw"] == "batch a") & (scores["method"] == "celltext")].iloc[0]
    assert np.isnan(batch["unseen_among_unseen"]) and batch["seen_among_seen"] > 0.9


def test_texts_that_are_exchanged_among_types_of_training_teach_nothing():
    adata, texts = worded()
    names = sorted(texts)
    wrong = dict(zip(names, np.random.default_rng(0).permutation([texts[n] for n in names]), strict=True))
    found = cvi.tl.evaluate_text(
        adata, labels_key="type", descriptions=wrong, text_encoder=words, n_draws=4, n_pcs=10, train_kwargs=QUICK
    )
    assert found.loc[found["method"] == "celltext", "unseen_among_unseen"].mean() < 0.6


def test_what_cannot_be_held_out_is_refused():
    adata, texts = worded(n=90)
    with pytest.raises(TypeError, match="Expected an AnnData"):
        cvi.tl.evaluate_text(adata.X, labels_key="type")
    for name in ("n_unseen", "n_draws"):
        with pytest.raises(ValueError, match=f"`{name}` to be a whole number"):
            cvi.tl.evaluate_text(adata, labels_key="type", **{name: 0})
    with pytest.raises(ValueError, match=r"at least 16 types with 5 cells, to hold 14 out.*Lower `n_unseen`"):
        cvi.tl.evaluate_text(adata, labels_key="type", n_unseen=14)


def test_backed_data_are_read(tmp_path):
    adata, texts = worded()
    adata.write_h5ad(tmp_path / "a.h5ad")
    options = {"labels_key": "type", "descriptions": texts, "n_draws": 1, "n_pcs": 10}
    options["train_kwargs"] = QUICK | {"max_epochs": 1}
    found = cvi.tl.evaluate_text(ad.read_h5ad(tmp_path / "a.h5ad", backed="r"), **options)
    expected = cvi.tl.evaluate_text(adata, **options)
    np.testing.assert_allclose(found.iloc[:, 2:].astype(float), expected.iloc[:, 2:].astype(float))


def test_a_type_whose_cells_are_all_held_out_by_chance_is_not_asked_for():
    adata, texts = worded(n=75)  # five cells of each
    label = adata.obs["type"].astype(str).reset_index(drop=True)
    for seed in range(200):
        [split] = _splits(label, sorted(texts), None, 3, 1, seed)
        assert set(label[split.old]) <= set(label[split.train])
