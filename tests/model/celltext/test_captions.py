import numpy as np
import pytest
import torch

from couplevi.model.celltext.captions import IGNORED, SoftPrompts, _loss, described, fit_prompts, word_width

TEXTS = ["a round cell", "a striated muscle cell", "a long neuron"]


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    """A tiny causal language model with random weights, and a tokenizer of whole words."""
    transformers = pytest.importorskip("transformers", reason="comes with the extra `text`")
    tokenizers = pytest.importorskip("tokenizers")
    words = ["<eos>", *sorted({word for text in TEXTS for word in text.split()})]
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<eos>"))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    raw.add_special_tokens(["<eos>"])
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<eos>", pad_token="<eos>")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=len(words), n_positions=32, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    return transformers.GPT2LMHeadModel(config), tokenizer


def cells(n=60, k=6):
    z = np.repeat(np.eye(3, k, dtype=np.float32), n // 3, axis=0)
    return z, np.repeat(np.arange(3), n // 3)


def fit(language, **kwargs):
    torch.manual_seed(0)
    z, text = cells()
    prompts = SoftPrompts(z.shape[1], 2, word_width(language[0]))
    options = {"max_epochs": 40, "batch_size": 20, "lr": 3e-3, "tune": True, "shown": False} | kwargs
    return prompts, fit_prompts(prompts, *language, z, TEXTS, text, **options)


def test_a_language_model_learns_to_say_what_a_cell_is(language):
    prompts, losses = fit(language)
    assert losses[-1] < 0.2 * losses[0]
    z, text = cells()
    told = described(prompts, *language, z, batch_size=25, max_new_tokens=8, do_sample=False)
    assert told == [TEXTS[t] for t in text]


def test_a_model_that_is_not_tuned_stays_as_it_is(language):
    model, _ = language
    model.train()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    _, losses = fit(language, tune=False, max_epochs=5)
    assert losses[-1] < losses[0]
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weight, before[name], rtol=0, atol=0)
    assert all(p.requires_grad for p in model.parameters()) and model.training


def test_padding_is_not_learned(language):
    """The loss of a batch is the mean over the words of each cell by itself."""
    model, tokenizer = language
    model.eval()
    torch.manual_seed(0)
    prompts, z = SoftPrompts(6, 2, 32), torch.from_numpy(cells()[0][[0, 59]])
    words = [tokenizer(text, return_tensors="pt")["input_ids"][0] for text in (TEXTS[0], TEXTS[1])]
    alone = [_loss(prompts, model, z[i : i + 1], [words[i]]).item() for i in range(2)]
    lengths = [len(w) for w in words]
    both = _loss(prompts, model, z, words).item()
    assert IGNORED == -100
    np.testing.assert_allclose(both, np.average(alone, weights=lengths), rtol=1e-5)


def test_what_is_no_language_model_is_refused():
    with pytest.raises(TypeError, match="a causal language model of transformers, found int"):
        word_width(3)
