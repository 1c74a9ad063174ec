"""`hub:NAME` as an image representation: tiny models made from a config, saved to a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from vision_models import save_vision_model

from plait.config import registry
from plait.config.recipe import check_recipe
from plait.modalities.image.base import imagenet_words
from plait.modalities.image.hub import HubImage, class_words
from plait.nn.base import Encoder
from plait.types import PlaitError, UsageError

transformers = pytest.importorskip("transformers")
huggingface_hub = pytest.importorskip("huggingface_hub")


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "model"
    save_vision_model(getattr(request, "param", "vit"), path)
    return path


def learned(folder: Path, **settings: Any) -> HubImage:
    modality = HubImage(name=str(folder), **settings)
    return modality.with_state(modality.fit([], Path()))


def prepared(encoder: Encoder, batch: torch.Tensor) -> torch.Tensor:
    return torch.stack(encoder.prepare(list(batch)))


def photos(modality: HubImage, count: int = 2) -> torch.Tensor:
    torch.manual_seed(1)
    shape = modality.example().shape
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("folder", "size", "grid", "width"),
    [
        ("vit", 32, (4, 4), 32),
        ("vit", 48, (6, 6), 32),  # another size than the pretraining's: positions interpolated
        ("registers", 32, (4, 4), 32),
        ("clip", 32, (4, 4), 32),
        ("siglip", 32, (4, 4), 32),
        ("resnet", 64, (8, 8), 16),
    ],
    indirect=["folder"],
)
@pytest.mark.parametrize("train", ["frozen", "all"])
def test_tokens_have_the_grid(
    folder: Path, size: int, grid: tuple[int, int], width: int, train: str
) -> None:
    modality = learned(folder, size=size, train=train)
    encoder = modality.encoder(True)
    tokens = encoder(prepared(encoder, photos(modality)), torch.tensor([3, 0]))
    assert encoder.grid == grid
    assert tokens.values.shape == (2, grid[0] * grid[1], width)
    assert (encoder.length, encoder.width) == tokens.values.shape[1:]
    assert tokens.present.tolist() == [True, False]
    assert torch.count_nonzero(tokens.values[1]) == 0


def test_the_class_token_is_dropped_and_the_numbers_are_the_models(folder: Path) -> None:
    modality = learned(folder)
    encoder = modality.encoder(True).eval()
    batch = photos(modality)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = ((batch / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = transformers.ViTModel.from_pretrained(folder)(pixels).last_hidden_state[:, 1:]
    torch.testing.assert_close(prepared(encoder, batch), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("folder", "model"),
    [("classifier", "ViTForImageClassification"),
     ("classifier-resnet", "ResNetForImageClassification")],
    indirect=["folder"],
)  # fmt: skip
def test_a_classifier_names_what_it_sees(folder: Path, model: str) -> None:
    """Its tokens are those of the model without its classifier."""
    modality = learned(folder, classes=2)
    assert modality.tag_names == ["tabby", "retriever", "car", "tench"]
    encoder = modality.encoder(True).eval()
    batch = photos(modality, 3)
    features = prepared(encoder, batch)
    tokens = encoder(features, torch.tensor([1, 1, 0]))
    plain = learned(folder).encoder(True).eval()
    expected = plain(prepared(plain, batch), torch.tensor([1, 1, 0]))
    torch.testing.assert_close(tokens.values, expected.values)
    assert (encoder.length, encoder.grid) == (plain.length, plain.grid)
    whole = getattr(transformers, model).from_pretrained(folder).eval()
    mean, std = (torch.tensor(modality.state[key]) for key in ("mean", "std"))
    with torch.no_grad():
        logits = whole(((batch - mean) / std).permute(0, 3, 1, 2)).logits
    weights, ids = logits.softmax(1).topk(2)
    assert tokens.tags is not None
    assert torch.equal(tokens.tags.ids[:2], ids[:2])
    torch.testing.assert_close(tokens.tags.weights[:2], weights[:2], atol=1e-3, rtol=0)
    assert not tokens.tags.weights[2].any()


def test_classes_without_names_are_refused(folder: Path) -> None:
    with pytest.raises(PlaitError, match="no classes with names"):
        learned(folder, classes=2)
    with pytest.raises(ValueError, match="train: frozen"):
        HubImage(name=str(folder), classes=2, train="all")


def test_imagenets_classes_have_everyday_words() -> None:
    names = {str(n): f"class {n}" for n in range(1000)} | {"0": "tench, Tinca tinca"}
    config = {"id2label": names, "architectures": ["ViTForImageClassification"]}
    assert class_words(config) == imagenet_words()
    assert imagenet_words()[285] == "cat"  # Egyptian cat


@pytest.mark.parametrize(
    ("names", "nameless"),
    [
        ({str(n): f"class {n}" for n in range(1, 1001)}, 0),  # as many as ImageNet has, from 1
        ({"0": "cat", "1": "dog", "3": "fox"}, 2),
        ({"0": "cat", "1": ""}, 1),
        ({"0": "cat", "1": "_, a"}, 1),
    ],
)
def test_a_class_without_a_name_is_refused(names: dict[str, str], nameless: int) -> None:
    config = {"id2label": names, "architectures": ["ViTForImageClassification"]}
    with pytest.raises(PlaitError, match=f"class {nameless} has no name"):
        class_words(config)


@pytest.mark.parametrize("folder", ["resnet"], indirect=True)
def test_a_feature_map_goes_row_by_row(folder: Path) -> None:
    modality = learned(folder, size=64)
    encoder = modality.encoder(True)
    batch = photos(modality)
    pixels = (batch / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
        [0.229, 0.224, 0.225]
    )
    with torch.no_grad():
        model = transformers.ResNetModel.from_pretrained(folder).eval()
        found = model(pixels.permute(0, 3, 1, 2)).last_hidden_state  # (B, D, 8, 8)
    tokens = prepared(encoder, batch).reshape(2, 8, 8, 16)
    torch.testing.assert_close(tokens[:, 2, 5], found[:, :, 2, 5], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        (
            {"size": {"height": 40, "width": 40}, "image_mean": 0.5, "image_std": 0.5},
            {"size": 40, "fit": "squash", "mean": [127.5] * 3, "std": [127.5] * 3},
        ),
        (
            {"size": {"shortest_edge": 48}, "crop_size": 40, "do_center_crop": True,
             "rescale_factor": 1 / 127.5, "do_normalize": False},
            {"size": 40, "fit": "crop", "mean": [0.0] * 3, "std": [127.5] * 3},
        ),
        (
            {"size": 24, "do_rescale": False, "image_mean": [1, 2, 3], "image_std": [4, 5, 6]},
            {"size": 24, "fit": "squash", "mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0]},
        ),
    ],
)  # fmt: skip
def test_photos_are_read_as_the_processor_says(
    folder: Path, processor: dict[str, Any], expected: dict[str, Any]
) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    state = learned(folder).state
    for key, value in expected.items():
        assert state[key] == pytest.approx(value), key


def test_without_a_processor_the_size_is_the_models(folder: Path) -> None:
    state = learned(folder).state
    assert state["size"] == 32
    assert state["mean"] == pytest.approx([123.675, 116.28, 103.53])


def test_a_photo_is_read_at_the_learned_size(folder: Path, tmp_path: Path) -> None:
    modality = learned(folder, views=3)
    pixels = np.random.default_rng(0).integers(0, 255, (50, 70, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    item = modality.read("photo.png", tmp_path)
    assert item.shape == (32, 32, 3) == modality.example().shape
    assert modality.augment(item, 2, 7).shape == item.shape
    assert np.array_equal(modality.augment(item, 1, 7), item[:, ::-1])


def test_a_package_needs_no_hub(folder: Path, tmp_path: Path) -> None:
    modality = learned(folder)
    state = json.loads(json.dumps(modality.state))  # as a package keeps it
    assert str(tmp_path) not in json.dumps(state)
    modality = modality.with_state(state)
    encoder = modality.encoder(True)
    batch = photos(modality)
    gone = folder.rename(tmp_path / "gone")
    again = modality.encoder(False)
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(prepared(again.eval(), batch), prepared(encoder.eval(), batch))
    with pytest.raises(PlaitError, match="no model"):  # but never trained from random weights
        modality.encoder(True)
    assert gone.is_dir()


@pytest.mark.parametrize("folder", ["vit", "resnet", "clip"], indirect=True)
def test_gradients_reach_every_trained_parameter(folder: Path) -> None:
    modality = learned(folder, train="all")
    encoder = modality.encoder(True).train()
    norms = [m for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert not any(m.training for m in norms)
    tokens = encoder(prepared(encoder, photos(modality)), torch.tensor([3, 3]))
    tokens.values.square().sum().backward()
    trained = {n: p for n, p in encoder.named_parameters() if p.requires_grad}
    assert trained
    assert [n for n, p in trained.items() if p.grad is None] == []


def test_frozen_means_frozen(folder: Path) -> None:
    modality = learned(folder)
    assert not any(p.requires_grad for p in modality.encoder(True).parameters())


def test_a_checkpoint_that_lacks_weights_is_refused(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = load_file(path)
    dropped = next(name for name in weights if "layernorm_before.weight" in name)
    save_file({k: v for k, v in weights.items() if k != dropped}, path, {"format": "pt"})
    modality = learned(folder)
    with pytest.raises(PlaitError, match="lack 1 parameters"):
        modality.encoder(True)


def test_no_such_model_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(PlaitError, match=r"no model .*nothing") as caught:
        HubImage(name=str(tmp_path / "nothing")).fit([], Path())
    assert "\n" not in str(caught.value)


def test_an_unreachable_hub_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("Name or service not known\nCheck your internet connection")

    def tried(*_: Any, **__: Any) -> None:
        raise AssertionError("the library would try for half a minute")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", fail)
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", tried)
    with pytest.raises(PlaitError, match="'some/model' could be loaded: Name or serv") as caught:
        HubImage(name="some/model").fit([], Path())
    assert "\n" not in str(caught.value)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(PlaitError, match=r"pip install 'plait\[hub\]'"):
        HubImage(name="some/model").fit([], Path())


def test_a_size_that_the_model_cannot_read_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "text"
    config = transformers.GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=60)
    transformers.GPT2Model(config).save_pretrained(folder)
    modality = learned(folder)
    with pytest.raises(PlaitError, match="can't read a photo"):
        modality.encoder(True)


# The recipe -----------------------------------------------------------------------------------


def recipe(representation: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "test",
        "inputs": {"image": {"modality": "image", "representation": representation}},
        "outputs": {"caption": {"kind": "text"}},
    }


def test_a_recipe_names_the_model_after_the_colon() -> None:
    checked = check_recipe(recipe({"kind": "hub:some/model", "train": "all"}))
    found = checked.inputs["image"].representation
    assert (found["kind"], found["name"], found["train"]) == ("hub", "some/model", "all")
    assert check_recipe(checked.model_dump(mode="json")) == checked
    built = registry.build("image", {"kind": "hub:some/model"})
    assert built.name == "some/model"
    assert registry.build("image", found).name == "some/model"
    assert registry.find("image", "hub").title == "hub:NAME"


@pytest.mark.parametrize(
    ("representation", "message"),
    [
        ({"kind": "hub"}, r"representation\.name: missing"),
        ({"kind": "hub:"}, "name"),
        ({"kind": "hub:a", "name": "b"}, "as well"),
        ({"kind": "cnn:a"}, "takes no argument"),
        ({"kind": "hub:a", "train": "last-blocks"}, "'frozen' or 'all'"),
    ],
)
def test_a_wrong_name_is_told(representation: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_recipe(recipe(representation))
