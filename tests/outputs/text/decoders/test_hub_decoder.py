"""`hub:NAME` as a decoder: tiny language models made from a config, saved to a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from heads import decode
from language_models import END, SENTENCES, make, save_tokenizer
from safetensors.torch import load_file, save_file
from searching import search

from plait.config import registry
from plait.data.vocabulary import (
    BOS,
    EOS,
    PAD,
    UNK,
    HubVocabulary,
    load_vocabulary,
)
from plait.outputs.text.decoders.hub import HubDecoder
from plait.outputs.text.decoders.networks.hub import HubNetwork
from plait.outputs.text.networks import TextHead
from plait.outputs.text.output import TextOutput, TextTarget
from plait.outputs.text.search import Limits
from plait.types import Fused, PlaitError, State, Tokens, UsageError

transformers = pytest.importorskip("transformers")

WIDTH, PLACES = 16, 5


@pytest.fixture(params=["gpt2", "llama"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "model"
    make(request.param, save_tokenizer(path)).save_pretrained(path)
    return path


@pytest.fixture
def gpt2(tmp_path: Path) -> Path:
    path = tmp_path / "gpt2"
    make("gpt2", save_tokenizer(path)).save_pretrained(path)
    return path


def output(folder: Path, **settings: Any) -> TextOutput:
    return TextOutput(unit="hub", decoder={"kind": f"hub:{folder}", **settings})


def built(folder: Path, **settings: Any) -> tuple[TextHead, State]:
    text = output(folder, **settings)
    state = text.fit(SENTENCES, Path())
    torch.manual_seed(2)
    head = text.with_state(state).head(WIDTH, ["image"], True)
    assert isinstance(head, TextHead)
    return head.eval(), state


def fused(count: int = 3, places: int = PLACES) -> Fused:
    torch.manual_seed(3)
    values = torch.randn(count, places, WIDTH)
    mask = torch.ones(count, places, dtype=torch.bool)
    mask[1:2, 3:] = False  # a record with fewer tokens
    tokens = Tokens(torch.where(mask[..., None], values, torch.zeros(())), mask)
    return Fused(values.mean(1), tokens, {"image": tokens})


def words(head: TextHead, length: int = 7) -> torch.Tensor:
    torch.manual_seed(4)
    ids = torch.randint(UNK + 1, len(head.output.tokenizer), (3, length))
    return torch.cat([torch.full((3, 1), BOS), ids], dim=1)


# The vocabulary -------------------------------------------------------------------------------


def test_the_vocabulary_is_the_models_own(gpt2: Path) -> None:
    vocabulary = HubDecoder(name=str(gpt2)).vocabulary()
    tokenizer = transformers.AutoTokenizer.from_pretrained(gpt2)
    sentence = SENTENCES[1]
    ids = vocabulary.encode(sentence)
    assert [vocabulary.tokens[i - 4] for i in ids] == tokenizer(sentence)["input_ids"]
    assert vocabulary.decode(ids) == sentence
    assert vocabulary.decode([BOS, *ids, EOS, PAD]) == sentence
    assert len(vocabulary.pieces(ids)) == len(ids)
    assert len(vocabulary) == len(tokenizer) - 1 + 4  # all but the special one, and plait's four
    assert vocabulary.encode(END) == [UNK]


def test_the_vocabulary_survives_json(gpt2: Path) -> None:
    vocabulary = HubDecoder(name=str(gpt2)).vocabulary()
    again = load_vocabulary(json.loads(json.dumps(vocabulary.to_state())))
    assert isinstance(again, HubVocabulary)
    assert again.encode(SENTENCES[0]) == vocabulary.encode(SENTENCES[0])
    assert len(again) == len(vocabulary)


def test_unit_and_decoder_go_together() -> None:
    with pytest.raises(ValueError, match="unit 'words' doesn't go with"):
        TextOutput(decoder={"kind": "hub:some/model"})
    with pytest.raises(ValueError, match="unit 'hub' doesn't go with"):
        TextOutput(unit="hub")


# The decoder ----------------------------------------------------------------------------------


def test_a_whole_run_equals_a_stepwise_one(folder: Path) -> None:
    head, _ = built(folder)
    said = words(head)
    with torch.no_grad():
        start = head.decoder.start(fused())
        whole, looks, after = head.decoder(said, start, attend=True)
        state = start
        for step in range(said.shape[1]):
            hidden, look, state = head.decoder(said[:, step : step + 1], state, attend=True)
            torch.testing.assert_close(hidden[:, 0], whole[:, step], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(look[:, 0], looks[:, step], rtol=1e-4, atol=1e-5)
    assert state.past.keys() == after.past.keys()
    for name, value in after.past.items():
        torch.testing.assert_close(state.past[name], value, rtol=1e-4, atol=1e-5)


def test_the_numbers_are_the_models(folder: Path) -> None:
    """With the prefix as embeddings before the words, the model alone gives the same logits."""
    head, _ = built(folder)
    decoder = head.decoder
    assert isinstance(decoder, HubNetwork)
    source, said = fused(1), words(head)[:1]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokens = [tokenizer.bos_token_id, *(head.output.tokenizer.tokens[i - 4] for i in said[0, 1:])]
    with torch.no_grad():
        embedded = model.get_input_embeddings()(torch.tensor([tokens]))
        whole = torch.cat([decoder.project(source.tokens.values), embedded], dim=1)
        expected = model(inputs_embeds=whole).logits[:, PLACES:]
        hidden, _, _ = decoder(said, decoder.start(source))
        found = decoder.logits(hidden)
    assert found.shape[-1] == len(head.output.tokenizer)
    own = expected[..., torch.tensor(head.output.tokenizer.tokens)]
    torch.testing.assert_close(found[..., 4:], own, rtol=1e-4, atol=1e-5)
    end = expected[..., tokenizer.eos_token_id]
    torch.testing.assert_close(found[..., EOS], end, rtol=1e-4, atol=1e-5)


def test_a_record_ignores_the_batch_and_its_padding(folder: Path) -> None:
    head, _ = built(folder)
    source, said = fused(), words(head)
    tokens = source.tokens
    alone = Tokens(tokens.values[1:2, :3], tokens.mask[1:2, :3])
    with torch.no_grad():
        together, _, _ = head.decoder(said, head.decoder.start(source))
        start = head.decoder.start(Fused(source.pooled[1:2], alone, {"image": alone}))
        single, _, _ = head.decoder(said[1:2], start)
    torch.testing.assert_close(together[1:2], single, rtol=1e-4, atol=1e-5)


def test_garbage_under_the_mask_changes_nothing(folder: Path) -> None:
    head, _ = built(folder)
    source, said = fused(), words(head)
    values = source.tokens.values.clone()
    values[1, 3:] = 99.0
    tokens = Tokens(values, source.tokens.mask)
    with torch.no_grad():
        clean, _, _ = head.decoder(said, head.decoder.start(source))
        dirty, _, _ = head.decoder(
            said, head.decoder.start(Fused(source.pooled, tokens, {"image": tokens}))
        )
    torch.testing.assert_close(clean, dirty)


def test_attention_is_over_the_real_places(folder: Path) -> None:
    head, _ = built(folder)
    said = words(head)
    with torch.no_grad():
        _, attention, _ = head.decoder(said, head.decoder.start(fused()), attend=True)
        _, nothing, _ = head.decoder(said, head.decoder.start(fused()))
    assert nothing is None
    assert attention.shape == (3, said.shape[1], PLACES)
    torch.testing.assert_close(attention.sum(-1), torch.ones(3, said.shape[1]))
    assert torch.count_nonzero(attention[1, :, 3:]) == 0


def test_rows_of_the_state_can_be_reordered(folder: Path) -> None:
    head, _ = built(folder)
    said, order = words(head), torch.tensor([2, 0, 1, 1])
    with torch.no_grad():
        whole, _, _ = head.decoder(said, head.decoder.start(fused()))
        _, _, state = head.decoder(said[:, :4], head.decoder.start(fused()))
        rest, _, _ = head.decoder(said[order, 4:], state.select(order))
    torch.testing.assert_close(rest, whole[order, 4:], rtol=1e-4, atol=1e-5)


def test_the_search_ends_and_says_no_specials(folder: Path) -> None:
    head, _ = built(folder)
    with torch.no_grad():
        found = search(head.decoder, head.decoder.start(fused()), 3, 1.0, Limits(1, 6))
    ids = found.token_ids
    assert ids.shape[:2] == (3, 3)
    assert not {PAD, BOS, UNK} & set(ids[ids > EOS].tolist())
    predictions = decode(head.output, head, fused(), beam=2, max_words=6)
    assert all(isinstance(p.value, str) for p in predictions)
    assert predictions[0].details.attention["image"].shape == (
        len(predictions[0].details.words), PLACES
    )  # fmt: skip


@pytest.mark.parametrize("train", ["frozen", "all"])
def test_gradients_reach_every_trained_parameter(folder: Path, train: str) -> None:
    head, _ = built(folder, train=train)
    head.train()
    assert head.decoder.model.training == (train == "all")
    targets = [TextTarget(((*head.output.tokenizer.encode(s), EOS),)) for s in SENTENCES]
    loss = head.loss(fused(), targets)
    assert torch.isfinite(loss)
    loss.backward()
    trained = {n: p for n, p in head.named_parameters() if p.requires_grad}
    assert [n for n, p in trained.items() if p.grad is None] == []
    assert any(".model." in n for n in trained) == (train == "all")


def test_it_learns_a_sentence_a_record(gpt2: Path) -> None:
    head, _ = built(gpt2, train="all")
    source = fused()
    targets = [TextTarget(((*head.output.tokenizer.encode(s), EOS),)) for s in SENTENCES]
    optimizer = torch.optim.Adam([p for p in head.parameters() if p.requires_grad], lr=5e-3)
    for _ in range(120):
        optimizer.zero_grad()
        head.loss(source, targets).backward()
        optimizer.step()
    assert [p.value for p in decode(head.output, head, source, beam=1, max_words=40)] == SENTENCES


def test_a_package_needs_no_hub(folder: Path, tmp_path: Path) -> None:
    head, state = built(folder)
    save_file(head.state_dict(), tmp_path / "weights.safetensors")  # no tensor is there twice
    state = json.loads(json.dumps(state))
    text = output(folder)
    folder.rename(tmp_path / "gone")
    again = text.with_state(state).head(WIDTH, ["image"], False).eval()
    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    options = {"beam": 2, "max_words": 6}
    assert [p.value for p in decode(text.with_state(state), again, fused(), **options)] == [
        p.value for p in decode(head.output, head, fused(), **options)
    ]
    with pytest.raises(PlaitError, match="no model"):  # but never trained from random weights
        text.with_state(state).head(WIDTH, ["image"], True)


def test_a_prefix_that_is_too_long_is_refused(gpt2: Path) -> None:
    head, _ = built(gpt2)
    with pytest.raises(PlaitError, match="reads at most 128 tokens"):
        head.decoder.start(fused(places=70))


def test_a_model_that_is_no_causal_transformer_is_refused(gpt2: Path) -> None:
    size = json.loads((gpt2 / "config.json").read_text())["vocab_size"]
    config = transformers.MambaConfig(
        hidden_size=16, num_hidden_layers=1, vocab_size=size, state_size=4
    )
    torch.manual_seed(0)
    transformers.MambaForCausalLM(config).save_pretrained(gpt2)
    with pytest.raises(PlaitError, match="can't be a decoder"):
        built(gpt2)


def test_scores_that_are_capped_are_refused(gpt2: Path) -> None:
    size = json.loads((gpt2 / "config.json").read_text())["vocab_size"]
    config = transformers.Gemma2Config(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        vocab_size=size,
        final_logit_softcapping=0.1,
    )
    torch.manual_seed(0)
    transformers.Gemma2ForCausalLM(config).save_pretrained(gpt2)
    with pytest.raises(PlaitError, match="no plain projection"):
        built(gpt2)


def test_no_such_model_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(PlaitError, match=r"no model .*nothing") as caught:
        output(tmp_path / "nothing").fit(SENTENCES, Path())
    assert "\n" not in str(caught.value)


def test_it_is_listed_with_its_argument() -> None:
    assert registry.find("decoder", "hub").title == "hub:NAME"


def test_it_is_not_exported(gpt2: Path) -> None:
    with pytest.raises(UsageError, match="the decoder hub can't be exported; expected transformer"):
        output(gpt2).check_exportable()
    TextOutput().check_exportable()
