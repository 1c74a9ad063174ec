"""`hub:NAME` as a representation of texts: tiny models made from a config, saved to a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from samples import save_bert
from tensors import as_row, pad_rows, reader

from plait.config import registry
from plait.modalities.text.hub import HubText
from plait.types import PlaitError, Tokens

transformers = pytest.importorskip("transformers", reason="needs the extra plait[hub]")

TEXTS = ["a dog runs", "two dogs run, and a cat sits", "xyz"]
WORDS = ["a", "dog", "run", "runs", "two", "and", "cat", "sits"]


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "model"
    save_bert(path, WORDS, getattr(request, "param", "Bert"))
    return path


def fitted(modality: HubText) -> HubText:
    return modality.with_state(modality.fit(TEXTS, Path()))


def tokens(modality: HubText, encoder: Any) -> Tokens:
    items = [torch.from_numpy(modality.read(text, Path())) for text in TEXTS]
    rows = [as_row(features) for features in encoder.prepare(items)]
    found = encoder(*pad_rows(rows, rows[0]))
    assert isinstance(found, Tokens)
    return found


@pytest.mark.parametrize("folder", ["Bert", "Roberta"], indirect=True)
@pytest.mark.parametrize("train", ["frozen", "all"])
@pytest.mark.parametrize("what", ["pieces", "text"])
def test_the_numbers_are_the_models_own(folder: Path, train: str, what: str) -> None:
    settings = {"kind": f"hub:{folder}", "train": train, "tokens": what, "max_length": 20}
    modality = fitted(registry.build("text", settings))
    encoder = modality.encoder(True).eval()
    found = tokens(modality, encoder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for row, mask, text in zip(found.values, found.mask, TEXTS, strict=True):
        with torch.no_grad():
            theirs = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected = theirs.mean(dim=0, keepdim=True) if what == "text" else theirs
        torch.testing.assert_close(row[mask], expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("kind", ["T5", "CLIP", "GPT2"])
def test_other_families(folder: Path, kind: str) -> None:
    """A translator's encoder, the text side of a model that sees, a model that reads forwards."""
    small = {"vocab_size": 16, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
             "num_attention_heads": 2}  # fmt: skip
    sizes: dict[str, dict[str, Any]] = {
        "T5": {"vocab_size": 16, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1,
               "num_heads": 2},
        "CLIP": {"text_config": small, "vision_config": {**small, "image_size": 8, "patch_size": 8},
                 "projection_dim": 8},
        "GPT2": {"vocab_size": 16, "n_embd": 16, "n_layer": 1, "n_head": 2},
    }  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(**sizes[kind])
    getattr(transformers, f"{kind}Model")(config).save_pretrained(folder)
    modality = fitted(HubText(name=str(folder), train="all", max_length=12))
    encoder = modality.encoder(True)
    found = tokens(modality, encoder)
    assert found.values.shape == (3, 11, 16)
    assert found.mask.sum(dim=1).tolist() == [5, 11, 3]
    (found.values * torch.randn(16)).sum().backward()
    assert [n for n, p in encoder.named_parameters() if p.requires_grad and p.grad is None] == []


def test_each_way_of_reading_has_its_own_cache(folder: Path) -> None:
    settings: list[dict[str, Any]] = [
        {"tokens": tokens, "max_length": length} for tokens in ("pieces", "text")
        for length in (12, 18)
    ]  # fmt: skip
    texts = [fitted(HubText(name=str(folder), **setting)) for setting in settings]
    assert len({reader("text", text, folder).space().folder for text in texts}) == 4


def test_a_package_needs_no_hub(folder: Path, tmp_path: Path) -> None:
    modality = HubText(name=str(folder), max_length=20)
    state = json.loads(json.dumps(modality.fit(TEXTS, Path())))  # as a package keeps it
    assert str(tmp_path) not in json.dumps(state)
    modality = modality.with_state(state)
    encoder = modality.encoder(True)
    folder.rename(tmp_path / "gone")
    again = modality.encoder(False)
    again.load_state_dict(encoder.state_dict())
    ours, theirs = tokens(modality, again), tokens(modality, encoder)
    assert torch.equal(ours.values, theirs.values)
    with pytest.raises(PlaitError, match="no model"):  # but never trained from random weights
        modality.encoder(True)


def test_a_text_that_spells_a_special_token_is_text(folder: Path) -> None:
    modality = fitted(HubText(name=str(folder), max_length=20))
    ids = modality.read("a [SEP] dog", Path()).tolist()
    assert (ids[0], ids[-1]) == (2, 3)  # [CLS] and [SEP]
    assert 3 not in ids[1:-1]


def test_long_texts_are_cut_and_keep_their_end(folder: Path) -> None:
    modality = fitted(HubText(name=str(folder), max_length=6, views=3))
    item = modality.read("a dog " * 100, Path())
    assert (len(item), int(item[-1])) == (6, 3)
    for view in (1, 2):
        less = modality.augment(item, view, 7)
        assert len(less) < 6
        assert (int(less[0]), int(less[-1])) == (2, 3)


def test_more_pieces_than_the_model_reads_are_refused(folder: Path) -> None:
    modality = fitted(HubText(name=str(folder), max_length=100))
    with pytest.raises(
        PlaitError, match=r"can't read a text of 100 pieces.*lower max_length"
    ) as caught:
        modality.encoder(True)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_that_lacks_weights_is_refused(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = load_file(path)
    weights.pop("encoder.layer.0.output.dense.weight")
    save_file(weights, path, {"format": "pt"})
    modality = fitted(HubText(name=str(folder), max_length=20))
    with pytest.raises(PlaitError, match="lack 1 parameters"):
        modality.encoder(True)


def test_no_such_model_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(PlaitError, match=r"no model .*nothing") as caught:
        HubText(name=str(tmp_path / "nothing")).fit(TEXTS, Path())
    assert "\n" not in str(caught.value)
