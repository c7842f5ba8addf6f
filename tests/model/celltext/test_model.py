import copy

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from lightning.pytorch.callbacks import Callback
from small import WORDS, worded

from couplevi.model import CellText
from couplevi.model.celltext.texts import shares

QUICK = {"max_epochs": 20, "enable_progress_bar": False, "accelerator": "cpu"}
UNSEEN = ["round/motile", "granular/spindly", "striated/ciliated"]


def fit(adata, descriptions=None, *, seed=0, setup=None, train=None, **kwargs):
    CellText.setup_anndata(adata, **{"labels_key": "type", **(setup or {})})
    torch.manual_seed(seed)
    model = CellText(adata, descriptions=descriptions, **{"n_pcs": 10, **kwargs})
    model.train(**QUICK | (train or {}))
    return model


@pytest.fixture(scope="module")
def learned():
    """A model of twelve of fifteen types, all cells, and the texts; not to be changed."""
    adata, texts = worded()
    seen = ~adata.obs["type"].isin(UNSEEN)
    return fit(adata[seen].copy(), texts), adata, texts


def best(frame):
    return frame.columns.to_numpy()[frame.to_numpy().argmax(axis=1)]


def test_types_that_were_never_seen_are_named_by_their_texts(learned):
    model, adata, texts = learned
    new = adata[adata.obs["type"].isin(UNSEEN)].copy()
    truth = new.obs["type"].to_numpy()
    assert (best(model.annotate(new, UNSEEN)) == truth).mean() > 0.95
    exchanged = dict(zip(UNSEEN, [texts[t] for t in UNSEEN[1:] + UNSEEN[:1]], strict=True))
    assert (best(model.annotate(new, UNSEEN, descriptions=exchanged)) == truth).mean() < 0.05
    everything = model.annotate(adata, sorted(texts))
    np.testing.assert_allclose(everything.sum(axis=1), 1, atol=1e-6)
    right = best(everything) == adata.obs["type"].to_numpy()
    kind = adata.obs["type"].isin(UNSEEN).to_numpy()
    assert right[kind].mean() > 0.8 and right[~kind].mean() > 0.9


def test_a_type_with_another_text_than_in_training_was_not_seen(learned):
    model, adata, texts = learned
    seen = adata[adata.obs["type"] == model.labels_[0]].copy()
    one, two = model.labels_[:2]
    plain = model.annotate(seen, [one, two])
    pd.testing.assert_frame_equal(model.annotate(seen, [one, two], descriptions=texts), plain)
    exchanged = model.annotate(seen, [one, two], descriptions={one: texts[two], two: texts[one]})
    assert (best(exchanged) == two).mean() > 0.9


def test_a_cell_is_named_whatever_other_cells_there_are(learned):
    model, adata, texts = learned
    whole = model.annotate(adata, sorted(texts))
    some = model.annotate(adata[::7].copy(), sorted(texts), batch_size=5)
    np.testing.assert_allclose(some, whole.iloc[::7], atol=1e-5)
    assert list(some.index) == list(adata.obs_names[::7])
    shuffled = sorted(texts, reverse=True)
    np.testing.assert_allclose(model.annotate(adata, shuffled)[whole.columns], whole, atol=1e-9)


def test_the_order_of_cells_does_not_matter():
    adata, texts = worded(n=150)
    models = fit(adata, texts), fit(adata[::-1].copy(), texts)
    p = [model.annotate(adata, sorted(texts)) for model in models]
    np.testing.assert_allclose(p[1], p[0], atol=1e-4)
    z = [model.get_latent_representation(adata) for model in models]
    np.testing.assert_allclose(z[1], z[0], atol=1e-3)


def test_cells_of_no_type_of_the_list_are_not_typical(learned):
    model, adata, _ = learned
    four = model.labels_[:4]
    typical = model.get_typicality(adata, four)
    kind = adata.obs["type"].isin(four)
    assert typical[kind].median() > 0.2 and typical[~kind].median() < 0.01
    assert typical.between(0, 1).all()


def test_cells_of_the_model_itself_are_as_typical_as_others():
    """Components of few cells fit their noise, so that these lie further out."""
    rng = np.random.default_rng(0)
    adata, texts = worded(n=360)
    noise = rng.normal(size=(360, 400)).astype(np.float32)
    wide = ad.AnnData(np.concatenate([adata.X, noise], axis=1), obs=adata.obs)
    half = wide[:180].copy()
    model = fit(half, texts, n_pcs=40)
    named = sorted(texts)
    shares = {
        "own": (model.get_typicality(None, named) < 0.05).mean(),
        "part": (model.get_typicality(half[::2].copy(), named) < 0.05).mean(),
        "new": (model.get_typicality(wide[180:].copy(), named) < 0.05).mean(),
    }
    assert max(shares.values()) < 0.2
    assert float(model.module.prototypes.record().own_scale) > 1.1


def test_cells_and_texts_find_each_other(learned):
    model, adata, texts = learned
    z = model.get_latent_representation(adata)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-5)
    found = model.retrieve_cells(texts[UNSEEN[0]], 20, adata=adata)
    assert (adata.obs.loc[found.index, "type"] == UNSEEN[0]).mean() > 0.9
    assert found["score"].is_monotonic_decreasing and found["score"].between(0, 1).all()
    known = model.encode_text(model.labels_)
    want = shares(z, model.encode_text(texts[UNSEEN[0]])[0], known)
    np.testing.assert_allclose(found["score"], np.sort(want)[::-1][:20], rtol=1e-4)
    nearest = model.retrieve_texts(adata, list(texts.values()), 2)
    first = nearest[nearest["rank"] == 1].set_index("cell")["text"]
    assert (first == adata.obs["type"].map(texts)).mean() > 0.9
    assert list(nearest.columns) == ["cell", "rank", "text", "score"] and len(nearest) == 2 * adata.n_obs
    groups = model.retrieve_texts(adata, list(texts.values()), 1, groupby="type")
    assert (groups["text"] == groups["group"].map(texts)).mean() > 0.9


def test_descriptions_are_flagged_as_retrieved_and_name_the_type(learned):
    model, adata, texts = learned
    told = model.describe(adata)
    assert set(told["source"]) == {"retrieved"} and set(told["text"]) <= set(texts.values())
    assert (told["text"] == adata.obs["type"].map(texts)).mean() > 0.9
    assert set(model.describe(adata, corpus=["a round cell"])["text"]) == {"a round cell"}


def test_a_text_for_each_cell_is_learned_from_like_labels():
    adata, texts = worded(n=150)
    by_labels = fit(adata.copy(), texts)
    adata.obs["said"] = adata.obs["type"].map(texts)
    by_texts = fit(adata, setup={"labels_key": None, "text_key": "said"})
    np.testing.assert_allclose(by_texts.get_latent_representation(), by_labels.get_latent_representation(), atol=1e-4)


def test_cells_without_a_label_are_placed_and_not_learned_from():
    adata, texts = worded(n=150)
    known = adata.copy()
    rng = np.random.default_rng(0)
    extra = ad.AnnData(rng.normal(2, 3, (40, adata.n_vars)).astype(np.float32), var=adata.var)
    extra.obs["type"] = pd.Series([None, "unknown"] * 20, index=extra.obs_names, dtype=object)
    both = ad.concat([known, extra], index_unique="-")
    model = fit(both, texts, n_pcs=None)
    assert model.labels_ == sorted(texts) and len(model.train_indices) == 150
    assert model.train_indices.max() < 150
    assert np.isfinite(model.get_latent_representation()).all()


def test_counts_are_recognised_and_drawn():
    adata, texts = worded(n=300, counts=True)
    model = fit(adata, texts)
    assert model.counted_
    cells = [model.generate(list(texts), 10, seed=seed) for seed in (0, 0, 1)]
    x = cells[0].X
    assert x.shape == (150, 40) and (x == np.round(x)).all() and x.min() == 0
    np.testing.assert_array_equal(x, cells[1].X)
    assert (x != cells[2].X).mean() > 0.2
    named = best(model.annotate(cells[0], list(texts)))
    assert (named == cells[0].obs["text"].to_numpy()).mean() > 0.6  # by chance 1 / 15
    big = model.generate(model.labels_[0], 30, library_size=5000.0)
    np.testing.assert_allclose(big.X.sum(axis=1).mean(), 5000, rtol=0.05)
    assert (best(model.annotate(adata, list(texts))) == adata.obs["type"].to_numpy()).mean() > 0.9


def test_cells_of_a_text_that_was_never_seen_look_like_it(learned):
    model, adata, texts = learned
    cells = model.generate([texts[t] for t in UNSEEN], 30)
    mean = {t: np.asarray(adata[adata.obs["type"] == t].X).mean(axis=0) for t in adata.obs["type"].unique()}
    for name in UNSEEN:
        own = cells[cells.obs["text"] == texts[name]].X.mean(axis=0)
        distance = {t: np.square(own - m).sum() for t, m in mean.items()}
        assert min(distance, key=distance.get) == name
    assert "counts" not in cells.layers
    counted = model.generate(UNSEEN[0], 5, library_size=1000.0)
    np.testing.assert_allclose(counted.layers["counts"].sum(axis=1), 1000, rtol=0.2)


def test_latents_of_another_model_are_read_and_decoded():
    adata, texts = worded(n=150)
    adata.obsm["X_other"] = np.asarray(adata.X)[:, :12].copy()
    cells = ad.AnnData(obs=adata.obs, obsm={"X_other": adata.obsm["X_other"]})
    model = fit(cells, texts, setup={"use_rep": "X_other"})
    assert (best(model.annotate(cells, model.labels_)) == cells.obs["type"].to_numpy()).mean() > 0.9
    made = model.generate(model.labels_[0], 5)
    assert made.obsm["X_other"].shape == (5, 12)
    decoded = model.generate(model.labels_[0], 5, decoder=lambda z: ad.AnnData(z[:, :3] * 2))
    np.testing.assert_allclose(decoded.X, decoded.obsm["X_other"][:, :3] * 2)
    assert decoded.obs["text"].tolist() == [model.labels_[0]] * 5


@pytest.mark.parametrize("projector", ["mlp", "qformer"])
def test_a_function_of_the_user_reads_cells(projector, tmp_path):
    adata, texts = worded(n=150)

    def tokens(data):
        x = np.asarray(data.X, dtype=np.float32)[:, :24].reshape(-1, 3, 8).copy()
        x[data.obs_names.get_indexer(["cell3"]), 2] = np.nan
        return x

    model = fit(adata, texts, cell_encoder=tokens, projector=projector, n_hidden=16, n_pcs=None)
    z = model.get_latent_representation()
    assert np.isfinite(z).all() and z.shape == (150, 8)
    model.save(tmp_path / "m")
    loaded = CellText.load(tmp_path / "m", adata=adata, cell_encoder=tokens, accelerator="cpu")
    np.testing.assert_array_equal(loaded.get_latent_representation(), z)
    without = CellText.load(tmp_path / "m", adata=adata, accelerator="cpu")
    with pytest.raises(RuntimeError, match=r"the cell encoder .*tokens' that the model was made with, found none"):
        without.get_latent_representation()
    made = model.generate(model.labels_[0], 4)
    assert made.obsm["representation"].shape == (4, 8)
    if projector == "qformer":
        with pytest.raises(ValueError, match="a model that reads features"):
            model.route("round")


def test_sparse_dense_and_backed_data_give_the_same(tmp_path):
    adata, texts = worded(n=150, counts=True)
    sparse = adata.copy()
    sparse.X = sp.csr_matrix(sparse.X)
    sparse.write_h5ad(tmp_path / "a.h5ad")
    models = [fit(data, texts) for data in (adata, sparse, ad.read_h5ad(tmp_path / "a.h5ad", backed="r"))]
    z = [model.get_latent_representation() for model in models]
    np.testing.assert_allclose(z[1], z[0], atol=1e-3)
    np.testing.assert_allclose(z[2], z[0], atol=1e-3)


def test_features_that_new_cells_lack_have_their_mean_and_too_many_are_refused(learned):
    model, adata, texts = learned
    with pytest.warns(UserWarning, match="8 of the 40 features"):
        p = model.annotate(adata[:, 8:].copy(), sorted(texts))
    assert (best(p) == adata.obs["type"].to_numpy()).mean() > 0.5
    with pytest.raises(ValueError, match="missing"):
        model.annotate(adata[:, 10:].copy(), sorted(texts))


# files


def test_files_hold_no_encoder_and_refuse_another_one(learned, tmp_path):
    model, adata, texts = learned
    model.save(tmp_path / "m")
    torch.load(tmp_path / "m" / "model.pt", weights_only=True)
    loaded = CellText.load(tmp_path / "m", adata=False, accelerator="cpu")
    pd.testing.assert_frame_equal(loaded.annotate(adata, sorted(texts)), model.annotate(adata, sorted(texts)))
    np.testing.assert_allclose(loaded.encode_text("a new text"), model.encode_text("a new text"), atol=1e-6)
    with pytest.raises(ValueError, match=r"the text encoder 'tfidf', found .*, whose vectors differ"):
        CellText.load(tmp_path / "m", adata=False, text_encoder=lambda texts: np.ones((len(texts), 3)))


def test_a_function_for_texts_has_to_be_given_again_and_known_types_need_none(tmp_path):
    adata, texts = worded(n=150)

    def words(texts):
        return np.array([[w in t for w in WORDS] for t in texts], dtype=float)

    model = fit(adata, texts, text_encoder=words)
    model.save(tmp_path / "m")
    loaded = CellText.load(tmp_path / "m", adata=False, accelerator="cpu")
    pd.testing.assert_frame_equal(loaded.annotate(adata, model.labels_), model.annotate(adata, model.labels_))
    with pytest.raises(RuntimeError, match=r"the function .*words' that the model was made with, found none"):
        loaded.encode_text("round")
    given = CellText.load(tmp_path / "m", adata=False, text_encoder=words, accelerator="cpu")
    np.testing.assert_allclose(given.encode_text("round"), model.encode_text("round"), atol=1e-6)


def test_a_copy_shares_encoders_and_not_weights(learned):
    model, adata, _ = learned
    other = copy.deepcopy(model)
    assert other.text_encoder is model.text_encoder
    other.train(max_epochs=2, enable_progress_bar=False, accelerator="cpu")
    assert not np.allclose(other.get_latent_representation(adata), model.get_latent_representation(adata), atol=1e-6)


# descriptions by a language model


def test_a_language_model_describes_cells(learned, tmp_path):
    transformers = pytest.importorskip("transformers", reason="comes with the extra `text`")
    tokenizers = pytest.importorskip("tokenizers")
    model, adata, texts = learned
    model = copy.deepcopy(model)
    words = ["<eos>", ".", *sorted({w.strip(".") for text in texts.values() for w in text.split()})]
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<eos>"))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<eos>", pad_token="<eos>")
    torch.manual_seed(0)
    config = {
        "vocab_size": len(words),
        "n_positions": 32,
        "n_layer": 1,
        "n_head": 2,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    language_model = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=32, **config))
    with pytest.raises(RuntimeError, match=r"has learned to prompt a language model, found one that has not"):
        model.describe(adata, language_model=language_model, tokenizer=tokenizer)
    options = {
        "n_prompts": 2,
        "max_epochs": 25,
        "lr": 5e-3,
        "batch_size": 16,
        "tune_language_model": True,
        "progress_bar": False,
    }
    losses = model.fit_descriptions(language_model, tokenizer, **options)
    assert losses[-1] < 0.3 * losses[0]
    some = adata[~adata.obs["type"].isin(UNSEEN)][::10].copy()
    told = model.describe(some, language_model=language_model, tokenizer=tokenizer, max_new_tokens=16)
    assert set(told["source"]) == {"generated"}
    pairs = some.obs["type"].str.split("/")
    assert np.mean([all(word in text for word in pair) for text, pair in zip(told["text"], pairs, strict=True)]) > 0.6
    model.save(tmp_path / "m")
    loaded = CellText.load(tmp_path / "m", adata=False, accelerator="cpu")
    again = loaded.describe(some, language_model=language_model, tokenizer=tokenizer, max_new_tokens=16)
    pd.testing.assert_frame_equal(again, told, atol=1e-5)
    other = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=16, **config))
    with pytest.raises(ValueError, match="with words of size 32, found one of size 16"):
        model.describe(adata, language_model=other, tokenizer=tokenizer)


# refusals


@pytest.mark.parametrize(
    ("setup", "message"),
    [
        ({"labels_key": None}, "one of `labels_key` and `text_key`, found None and None"),
        ({"text_key": "type"}, "one of `labels_key` and `text_key`"),
        ({"labels_key": "depth"}, "labels"),
    ],
)
def test_set_up_is_checked(setup, message):
    adata, _ = worded(n=60)
    adata.obs["depth"] = np.random.default_rng(0).normal(size=60)
    with pytest.raises((ValueError, TypeError), match=message):
        CellText.setup_anndata(adata, **{"labels_key": "type", **setup})


def test_a_model_needs_data_and_types_and_tokens():
    adata, _ = worded(n=60)
    with pytest.raises(ValueError, match=r"Call `CellText.setup_anndata\(adata, labels_key=...\)` first"):
        CellText(adata)
    CellText.setup_anndata(adata, labels_key="type")
    with pytest.raises(ValueError, match="Expected data, found none"):
        CellText(registry=CellText(adata, n_pcs=5).registry_)
    with pytest.raises(ValueError, match="a `cell_encoder` for the projector 'qformer'"):
        CellText(adata, projector="qformer")
    with pytest.raises(ValueError, match=r"tokens \(n, n_tokens, size\) from the cell encoder for 'qformer'"):
        CellText(adata, projector="qformer", cell_encoder=lambda data: np.asarray(data.X))
    with pytest.raises(ValueError, match="an empty one"):
        CellText(adata, descriptions={"round/motile": ""})
    adata.obs["one"] = "same"
    CellText.setup_anndata(adata, labels_key="one")
    with pytest.raises(ValueError, match=r"two or more types in `adata.obs\['one'\]`"):
        CellText(adata)


def test_few_types_are_warned_about():
    adata, texts = worded(n=150)
    few = adata[adata.obs["type"].isin(sorted(texts)[:3])].copy()
    with pytest.warns(UserWarning, match="With 3 types none can be held out"):
        fit(few, texts)


def test_questions_are_checked(learned):
    model, adata, texts = learned
    with pytest.raises(ValueError, match="at least one text for 'labels', found none"):
        model.annotate(adata, [])
    with pytest.raises(ValueError, match="each of `labels` once"):
        model.annotate(adata, ["round", "round"])
    with pytest.raises(ValueError, match="at least one cell, found none"):
        model.annotate(adata[:0].copy(), ["round", "motile"])
    for call in (model.retrieve_cells, lambda text, k: model.retrieve_texts(adata, [text], k)):
        with pytest.raises(ValueError, match="`k` to be a whole number"):
            call("round", 0)
    with pytest.raises(KeyError, match="'cluster'"):
        model.retrieve_texts(adata, groupby="cluster")
    with pytest.raises(TypeError, match="one text as `text`, found"):
        model.retrieve_cells(["round", "motile"], adata=adata)
    odd = adata[:6].copy()
    odd.obs["none"], odd.obs["depth"] = None, np.linspace(0, 1, 6)
    with pytest.raises(ValueError, match="groups in column 'none', found none"):
        model.retrieve_texts(odd, groupby="none")
    with pytest.raises((TypeError, ValueError), match="depth"):
        model.retrieve_texts(odd, groupby="depth")
    assert len(model.retrieve_texts(odd, ["a round cell", "a round cell"])) == 6
    with pytest.raises(TypeError, match="`language_model` with its arguments"):
        model.describe(adata, max_new_tokens=3)
    with pytest.raises(ValueError, match="`n_cells` to be a whole number"):
        model.generate("round", 0)
    with pytest.raises(ValueError, match="`library_size` to be a number"):
        model.generate("round", 3, library_size=0)
    with pytest.raises(ValueError, match="a `decoder` for a model of a representation"):
        model.generate("round", 3, decoder=lambda z: z)
    with pytest.raises(ValueError, match="`max_epochs` to be a whole number"):
        model.fit_descriptions(None, None, max_epochs=0)
    with pytest.raises(ValueError, match="`batch_size` to be a whole number"):
        model.get_latent_representation(adata, batch_size=0)


def test_a_training_that_fails_changes_nothing(learned):
    model, adata, _ = learned
    model = copy.deepcopy(model)
    before = model.get_latent_representation(adata)

    class Spoil(Callback):
        def __init__(self, epoch):
            self.epoch = epoch

        def on_train_epoch_start(self, trainer, plan):
            if trainer.current_epoch == self.epoch:
                plan.module.log_scale.data.fill_(torch.nan)

    with pytest.raises(RuntimeError, match="a finite loss, found NaN or infinity in the first epoch"):
        model.train(max_epochs=3, callbacks=[Spoil(0)], enable_progress_bar=False, accelerator="cpu")
    np.testing.assert_array_equal(model.get_latent_representation(adata), before)
    with pytest.warns(UserWarning, match="Training stopped; the model has its best weights so far"):
        model.train(max_epochs=5, callbacks=[Spoil(2)], enable_progress_bar=False, accelerator="cpu")
    assert np.isfinite(model.get_latent_representation(adata)).all()


def test_a_refused_argument_of_training_changes_nothing(learned):
    model, adata, _ = learned
    before = model.get_latent_representation(adata)
    with pytest.raises(TypeError, match="max_epoch"):
        model.train(max_epoch=3)
    with pytest.raises(ValueError, match="validation units for early stopping"):
        model.train(early_stopping=True)
    np.testing.assert_array_equal(model.get_latent_representation(adata), before)


def test_repr_says_what_it_is(learned):
    model, _, _ = learned
    assert repr(model) == "CellText model, trained, 12 types, texts by 'tfidf', cells by their values"


def test_labels_are_given_as_columns_hold_them(learned):
    model, adata, texts = learned
    some = adata[:20].copy()
    expected = model.annotate(some, sorted(texts))
    pd.testing.assert_frame_equal(model.annotate(some, (t for t in sorted(texts))), expected)
    assert list(model.annotate(some, "round/motile")) == ["round/motile"]
    assert len(model.get_typicality(some, (t for t in sorted(texts)))) == 20
    numbered = adata.copy()
    numbered.obs["type"] = adata.obs["type"].astype("category").cat.codes.to_numpy()
    own = fit(numbered, {3: "third", 4.0: "fourth"}, train={"max_epochs": 1})
    assert own.descriptions_["3"] == ["third"] and own.descriptions_["4"] == ["fourth"]
    p = own.annotate(some, numbered.obs["type"].unique(), descriptions={3: "third"})
    assert list(p) == [str(i) for i in numbered.obs["type"].unique()]
    assert (best(p) == numbered.obs["type"].astype(str)[:20]).mean() > 0.9
    with pytest.raises(TypeError, match="texts for 'labels', found nan"):
        own.annotate(some, [1, np.nan])


def test_descriptions_are_a_mapping_to_texts(learned):
    model, adata, texts = learned
    some = adata[:20].copy()
    as_series = model.annotate(some, ["x"], descriptions=pd.Series({"x": "round"}))
    pd.testing.assert_frame_equal(as_series, model.annotate(some, ["x"], descriptions={"x": "round"}))
    with pytest.raises(TypeError, match="a mapping of labels to texts as `descriptions`, found list"):
        model.annotate(some, ["x"], descriptions=["round"])
    with pytest.raises(TypeError, match="texts for 'x', found nan"):
        model.annotate(some, ["x"], descriptions={"x": np.nan})
    with pytest.raises(TypeError, match="one text as `text`"):
        model.retrieve_cells(["round", "motile"])


def test_a_model_that_was_not_trained_needs_its_types_and_its_encoder(tmp_path):
    adata, texts = worded(n=90)
    CellText.setup_anndata(adata, labels_key="type")
    CellText(adata, descriptions=texts).save(tmp_path / "model")
    CellText(adata, descriptions=texts, cell_encoder=lambda cells: cells.X[:, :7]).save(tmp_path / "of function")
    with pytest.raises(ValueError, match="cells of all types of the model .* none of .*'striated/spindly'"):
        CellText.load(tmp_path / "model", adata[adata.obs["type"] != "striated/spindly"].copy()).train(**QUICK)
    nameless = adata.copy()
    nameless.obs["type"] = "unknown"
    with pytest.raises(ValueError, match="cells of types of the model in .*, found none"):
        CellText.load(tmp_path / "model", nameless).train(**QUICK)
    with pytest.raises(RuntimeError, match="Pass it: `CellText.load"):
        CellText.load(tmp_path / "of function", adata).train(**QUICK)


def test_each_cell_may_have_a_text_of_its_own():
    adata, texts = worded(n=60)
    adata.obs["text"] = [f"Cell number {i}: {texts[t]}" for i, t in enumerate(adata.obs["type"])]
    model = fit(adata, setup={"labels_key": None, "text_key": "text"}, train={"max_epochs": 2})
    assert (best(model.annotate(adata, model.labels_)) == adata.obs["text"]).all()
