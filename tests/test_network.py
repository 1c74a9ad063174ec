"""Where the parts meet: missing inputs, left-out tokens, mixed records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from untrained import make_model

from plait.config.recipe import check_recipe
from plait.fusion.networks import Adapter
from plait.network import Network, build_network, load_weights, mix
from plait.pipeline.engine import Batch, build_parts
from plait.tasks.summary import made_up_batch
from plait.types import Fused, Tokens, UsageError


def tokens() -> Tokens:
    mask = torch.ones(200, 8, dtype=torch.bool)
    mask[0] = False  # missing
    mask[1:, 6:] = False  # padding
    mask[1, 1:] = False  # a record of one token
    return Tokens(torch.randn(200, 8, 4), mask)


def test_tokens_are_left_out_at_random_while_learning_only() -> None:
    adapter, given = Adapter(4, 16, 8, dropout=0.5), tokens()
    used = adapter.eval()(given).mask
    assert torch.equal(used[1:], given.mask[1:])
    assert used[0].tolist() == [True] + [False] * 7  # its "missing" token
    torch.manual_seed(0)
    left = adapter.train()(given).mask
    assert not (left & ~used).any()
    assert 0.4 < left[2:, :6].float().mean() < 0.6
    assert left.any(dim=1).all()  # something is always left
    assert torch.equal(left[:2], used[:2])


def test_without_dropout_all_tokens_stay_while_learning() -> None:
    adapter, given = Adapter(4, 16, 8, dropout=0.0), tokens()
    assert torch.equal(adapter.train()(given).mask, adapter.eval()(given).mask)


def a_fused(pooled: torch.Tensor, **more: Any) -> Fused:
    nothing = Tokens(torch.zeros(len(pooled), 1, 2), torch.ones(len(pooled), 1, dtype=torch.bool))
    return Fused(pooled, nothing, {}, **more)


def test_a_record_is_mixed_with_another() -> None:
    pooled = torch.tensor([[0.0, 4.0], [8.0, 0.0], [4.0, 4.0]])
    weights = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    given = a_fused(pooled, branches={"one": a_fused(2 * pooled)}, weights=weights)
    found = mix(given, [1, 0, 2], own=0.75)
    wanted = torch.tensor([[2.0, 3.0], [6.0, 1.0], [4.0, 4.0]])
    assert torch.equal(found.pooled, wanted)
    assert torch.equal(found.branches["one"].pooled, 2 * wanted)
    assert found.weights is not None
    assert found.weights.tolist() == [[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]]
    assert found.tokens is given.tokens


def a_network(fusion: str, mixup: float, output: str = "category") -> tuple[Network, Batch]:
    text = {"kind": "bag-of-words", "min_count": 1, "dropout": 0.0, "width": 8}
    recipe = check_recipe({
        "name": "mixed",
        "inputs": {n: {"modality": "text", "representation": text} for n in ("one", "other")},
        "fusion": {"kind": fusion},
        "outputs": {"y": {"kind": output, "settings": {"dropout": 0.0}}},
        "training": {"mixup": mixup},
    })  # fmt: skip
    parts = build_parts(recipe)
    states = {f"inputs.{n}": m.fit(["a b", "c d"], Path()) for n, m in parts.modalities.items()}
    states |= {"outputs.y": parts.outputs["y"].fit(parts.outputs["y"].samples(), Path())}
    parts = parts.with_states(states)
    network = build_network(recipe, parts)
    return network, made_up_batch(parts, network)


@pytest.mark.parametrize("fusion", ["early", "late", "hybrid"])
@pytest.mark.parametrize("own", [1.0, 0.0, 0.3])
@torch.no_grad()
def test_mixup_mixes_the_losses_with_the_records(
    fusion: str, own: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, blank = a_network(fusion, 0.4)
    lengths = {**blank.lengths, "other": np.array([1, 0])}
    batch = Batch(blank.prepared, lengths, {"y": [0, 1]})
    fused = network.eval().fuse(batch)
    assert (fused.pooled[0] - fused.pooled[1]).abs().max() > 0.01
    plain, mixed = network(batch), mix(fused, [1, 0], own)
    wanted = own * network._loss(mixed, {"y": [0, 1]})
    wanted += (1 - own) * network._loss(mixed, {"y": [1, 0]})
    monkeypatch.setattr(torch, "randperm", lambda count: torch.arange(count).flip(0))
    monkeypatch.setattr(torch.distributions.Beta, "sample", lambda self: torch.tensor(own))
    network.train().fusion.eval()  # without the fusion's dropout
    torch.testing.assert_close(network(batch), wanted)
    # All of one record is that record with its own target.
    assert (own in (0.0, 1.0)) == torch.allclose(wanted, plain)


def test_sentences_are_not_mixed() -> None:
    with pytest.raises(UsageError, match=r"training.mixup: the targets of outputs\.y can't be"):
        check_recipe({
            "name": "mixed",
            "inputs": {"x": {"modality": "image", "representation": {"kind": "pixels"}}},
            "outputs": {"y": {"kind": "text"}},
            "training": {"mixup": 0.2},
        })  # fmt: skip


def test_weights_by_their_old_names_are_found(tmp_path: Path) -> None:
    # An input may be called as the module was, and its own name must not change.
    words = {"modality": "text", "representation": {"kind": "word-sequence", "min_count": 1}}
    sound = {"modality": "audio", "representation": {"kind": "whisper", "depth": 1}}
    model = make_model(
        {"reader": words, "sound": sound}, {"y": {"kind": "category"}},
        {"reader": ["a b", "b"], "sound": [], "y": ["one", "two"]}, {"kind": "early"},
    )  # fmt: skip
    new = model.network.state_dict()
    old = {
        name.replace(".sequence.", ".reader.").replace(".positions", ".places"): tensor
        for name, tensor in new.items()
    }
    assert {"encoders.reader.reader.out.bias", "encoders.sound.trunk.places"} <= set(old)
    assert not set(old) & {name for name in new if ".sequence." in name}
    save_file(old, tmp_path / "weights.safetensors")
    loaded = build_network(model.recipe, model.parts, pretrained=False)
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.zero_()
    load_weights(loaded, tmp_path)
    assert all(torch.equal(tensor, new[name]) for name, tensor in loaded.state_dict().items())
