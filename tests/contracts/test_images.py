"""What holds for every registered representation of an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from plait import registry
from plait.components import Encoder, Modality
from plait.modalities.image.inception_net import InceptionResNetV2

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "pixels": [{"size": 32, "patch": 8, "width": 16}],
    "cnn": [
        {"size": 64, "train": "frozen"},
        {"size": 64, "train": "last-blocks", "blocks": 2, "layer": "block"},
        {"size": 64, "train": "all", "network": "lite1"},
    ],
    "inception-resnet-v2": [{}],
    "hub": [{"train": "frozen"}, {"train": "all"}],
}
CASES = [(name, i) for name, found in SETTINGS.items() for i in range(len(found))]


def test_every_registered_name_is_here() -> None:
    assert sorted(SETTINGS) == registry.names("image")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Settings that name weights: random ones, written here."""
    import transformers

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    save_file(InceptionResNetV2().state_dict(), folder / "inception.safetensors")
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        image_size=32, patch_size=16,
    )  # fmt: skip
    transformers.ViTModel(config).save_pretrained(folder / "vit")
    return {
        "inception-resnet-v2": {"weights": str(folder / "inception.safetensors")},
        "hub": {"name": str(folder / "vit")},
    }


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def built(
    request: pytest.FixtureRequest, weights: dict[str, dict[str, str]], photos: list[Path]
) -> tuple[Modality, Encoder, dict[str, Any]]:
    name, index = request.param
    settings = SETTINGS[name][index] | weights.get(name, {})
    modality: Modality = registry.build("image", {"kind": name, **settings})
    state = modality.learn(photos, Path())
    torch.manual_seed(0)
    return modality, modality.encoder(state, True).eval(), state


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    paths = []
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 255, (40, 48, 3)).astype(np.uint8)
        paths.append(folder / f"{i}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


Built = tuple[Modality, Encoder, dict[str, Any]]


def prepared(built: Built, photos: list[Path]) -> torch.Tensor:
    modality, encoder, state = built
    rows = encoder.prepare([modality.read(p, Path(), state) for p in photos])
    return torch.stack(rows)


def test_shapes_and_mask(built: Built, photos: list[Path]) -> None:
    _, encoder, _ = built
    lengths = torch.tensor([3, 0, 3])
    tokens = encoder(prepared(built, photos), lengths)
    assert tokens.values.shape == (3, encoder.length, encoder.width)
    assert tokens.mask.tolist() == [[flag] * encoder.length for flag in (lengths > 0).tolist()]
    assert encoder.grid is None or encoder.grid[0] * encoder.grid[1] == encoder.length
    assert bool(torch.isfinite(tokens.values).all())


def test_all_absent_is_finite_and_garbage_does_not_matter(built: Built, photos: list[Path]) -> None:
    _, encoder, _ = built
    batch = prepared(built, photos)
    absent = torch.zeros(3, dtype=torch.int64)
    clean = encoder(batch, absent)
    assert not bool(clean.mask.any())
    dirty = encoder(torch.full_like(batch, float("nan")), absent)
    torch.testing.assert_close(dirty.values, clean.values)
    assert bool(torch.isfinite(clean.values).all())


def test_a_record_ignores_its_batch(built: Built, photos: list[Path]) -> None:
    _, encoder, _ = built
    lengths = torch.ones(3, dtype=torch.int64)
    together = encoder(prepared(built, photos), lengths).values
    alone = encoder(prepared(built, photos[1:2]), lengths[:1]).values
    torch.testing.assert_close(alone[0], together[1], rtol=1e-3, atol=1e-3)


def test_gradients_reach_what_learns_and_nothing_else(built: Built, photos: list[Path]) -> None:
    _, encoder, _ = built
    encoder.train()
    assert not encoder.trunk.training
    values = encoder(prepared(built, photos), torch.ones(3, dtype=torch.int64)).values
    learning = {n: p for n, p in encoder.named_parameters() if p.requires_grad}
    frozen = {id(p) for p in encoder.trunk.parameters()}
    assert not frozen & {id(p) for p in learning.values()}
    if not learning:
        assert not values.requires_grad
        return
    (values * torch.randn_like(values)).sum().backward()
    for name, parameter in learning.items():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.abs().sum() > 0), name


def test_the_example_has_the_shape_of_a_photo(built: Built, photos: list[Path]) -> None:
    modality, _, state = built
    example, photo = modality.example(state), modality.read(photos[0], Path(), state)
    assert example.shape == photo.shape
    assert example.dtype == photo.dtype


def test_views_are_the_same_each_time(built: Built, photos: list[Path]) -> None:
    modality, _, state = built
    photo = modality.read(photos[0], Path(), state)
    assert torch.equal(modality.augment(photo, 0), photo)
    assert torch.equal(modality.augment(photo, 1), photo.flip(1))
    for view in (2, 3):
        again = modality.augment(photo, view)
        assert again.shape == photo.shape
        assert torch.equal(again, modality.augment(photo, view))
        assert not torch.equal(again, photo)


def test_a_package_s_network_has_the_same_shape(built: Built) -> None:
    """Built without pretrained weights, it takes those of the trained one."""
    modality, encoder, state = built
    again = modality.encoder(state, False)
    again.load_state_dict(encoder.state_dict())
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
