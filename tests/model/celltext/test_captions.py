import copy

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


class Elsewhere(torch.nn.Module):
    """A language model on a device that holds no values; says the first word whatever it reads, and keeps that."""

    def __init__(self, width):
        super().__init__()
        self.words = torch.nn.Embedding(5, width, device="meta")
        self.read = []

    def get_input_embeddings(self):
        return self.words

    def generate(self, *, inputs_embeds, attention_mask, pad_token_id, **kwargs):
        self.read += [inputs_embeds, attention_mask]
        return torch.zeros(len(inputs_embeds), 1, dtype=torch.long)


def test_prompts_stay_where_they_are_and_their_vectors_go_to_the_language_model(language):
    prompts, elsewhere = SoftPrompts(6, 2, 32), Elsewhere(32)
    told = described(prompts, elsewhere, language[1], cells()[0][:4], batch_size=4)
    assert len(told) == 4
    assert {x.device.type for x in elsewhere.read} == {"meta"}
    assert {x.device.type for x in prompts.parameters()} == {"cpu"}


def test_a_language_model_in_half_precision_is_prompted(language):
    z, text_of = cells()
    model = copy.deepcopy(language[0]).to(torch.bfloat16)
    prompts = SoftPrompts(6, 2, 32)
    options = {"max_epochs": 30, "batch_size": 20, "lr": 1e-2, "tune": False, "shown": False}
    losses = fit_prompts(prompts, model, language[1], z, TEXTS, text_of, **options)
    assert losses[-1] < losses[0]
    assert {x.dtype for x in prompts.parameters()} == {torch.float32}
    assert {x.dtype for x in model.parameters()} == {torch.bfloat16}
    assert len(described(prompts, model, language[1], z[:3], batch_size=2, max_new_tokens=4)) == 3
