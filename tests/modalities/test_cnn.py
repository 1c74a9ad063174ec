"""`cnn`: which layers learn does not change what they are; a photo's classes are its tags."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
import torch
from pydantic import ValidationError
from skimage import data

import plait
from plait.modalities.image.base import Cnn, Train
from plait.modalities.image.networks import CnnEncoder, _runs_fused
from plait.types import Tokens


def test_weights_keep_their_names_wherever_the_frozen_layers_end() -> None:
    """So that training can start from a model of which other layers were frozen."""

    def shapes(train: Train, blocks: int = 5) -> dict[str, tuple[int, ...]]:
        encoder = Cnn(train=train, blocks=blocks, size=64).encoder(pretrained=False)
        return {name: tuple(value.shape) for name, value in encoder.state_dict().items()}

    frozen = shapes("frozen")
    assert len(frozen) > 90
    assert frozen == shapes("last-blocks") == shapes("last-blocks", 2) == shapes("all")


CAT = cv2.imencode(".png", data.chelsea()[..., ::-1])[1].tobytes()


def encoded(cnn: Cnn, encoder: CnnEncoder, length: int = 1) -> Tokens:
    item = torch.from_numpy(cnn.read(CAT, Path()))
    return encoder(torch.stack(encoder.prepare([item])), torch.tensor([length]))


def test_each_class_has_a_word() -> None:
    names = Cnn(classes=3).tag_names
    assert len(names) == 1000
    assert (names[0], names[285], names[508], names[963]) == ("fish", "cat", "keyboard", "pizza")
    assert not Cnn().tag_names


def test_a_photo_is_tagged_with_what_it_shows() -> None:
    cnn = Cnn(classes=4)
    encoder = CnnEncoder(cnn, pretrained=True).eval()
    tags = encoded(cnn, encoder).tags
    assert tags is not None
    assert tags.ids.shape == tags.weights.shape == (1, 4)
    assert [cnn.tag_names[i] for i in tags.ids[0].tolist()].count("cat") >= 3
    assert tags.weights[0, 0] > 0.5
    assert torch.equal(tags.weights[0], tags.weights[0].sort(descending=True).values)


def test_a_missing_photo_has_no_tags() -> None:
    cnn = Cnn(classes=4, size=64)
    encoder = CnnEncoder(cnn, pretrained=False).eval()
    tags = encoded(cnn, encoder, length=0).tags
    assert tags is not None
    assert not tags.weights.any()


def test_training_is_held_to_the_classes_that_it_began_with() -> None:
    cnn = Cnn(classes=4, size=64, train="last-blocks", blocks=1, retention=2.0)
    encoder = CnnEncoder(cnn, pretrained=True)
    assert encoded(cnn, encoder).loss is None  # nothing to compare with yet
    encoder.begin()
    encoder.train()
    same = encoded(cnn, encoder).loss
    assert same is not None
    assert same.item() == pytest.approx(0.0, abs=1e-5)
    with torch.no_grad():
        encoder.layers[-1].conv.weight.mul_(0.7)
    moved = encoded(cnn, encoder).loss
    assert moved is not None
    assert moved.item() > 0.01
    moved.backward()
    assert encoder.layers[-1].conv.weight.grad.abs().sum() > 0
    assert encoder.classifier.weight.grad is None
    assert not any("original" in name for name in encoder.state_dict())
    with torch.no_grad():
        assert encoded(cnn, encoder).loss is None
    encoder.end()
    assert encoded(cnn, encoder).loss is None
    assert encoder._original is None


def test_the_copy_that_training_compares_with_is_gone_after_it(
    squares: Path, small: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[bool] = []

    def begin(self: CnnEncoder) -> None:
        keep(self)
        begun.append(self._original is not None)

    keep = CnnEncoder.begin
    monkeypatch.setattr(CnnEncoder, "begin", begin)
    cnn = "{kind: cnn, size: 64, train: last-blocks, blocks: 1, classes: 2, retention: 1.0}"
    overrides = [*small, f"inputs.image.representation={cnn}", "training.epochs=1"]
    model = plait.train("captioning", squares, tmp_path / "model", overrides=overrides)
    encoder = model.network.encoder("image")
    assert isinstance(encoder, CnnEncoder)
    assert begun == [True]
    assert encoder._original is None


def test_classes_are_made_of_the_head() -> None:
    with pytest.raises(ValidationError, match="expected layer: head"):
        Cnn(classes=4, layer="block")


def test_fused_operations_give_the_same_map() -> None:
    """Without gradients oneDNN convolves and clamps in one step; with them torch does in two."""
    layers = Cnn(size=64, train="all").encoder(pretrained=True).layers
    photo = 10 * torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    photo = photo.to(memory_format=torch.channels_last)
    with torch.no_grad():
        assert _runs_fused(photo)
        fused, clamped = layers(photo), layers[0](photo)
    apart = layers(photo)
    assert apart.requires_grad
    assert not _runs_fused(photo)
    assert (clamped == 6).any()
    torch.testing.assert_close(clamped, layers[0](photo).detach())
    torch.testing.assert_close(fused, apart.detach(), rtol=1e-4, atol=1e-4)
