"""The reference program's recipe, from COCO's captions JSON to captions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from samples import captions, draw

import plait
from plait.nn.inception_resnet_v2 import InceptionResNetV2

pytestmark = pytest.mark.slow


def coco(folder: Path, count: int) -> Path:
    """Photos in train2017/ and their captions in annotations/, as COCO publishes them."""
    (folder / "train2017").mkdir()
    (folder / "annotations").mkdir()
    images, annotations = [], []
    for number in range(count):
        name = f"{number:012d}.jpg"
        draw("red" if number % 2 else "blue", "left", number).save(folder / "train2017" / name)
        images.append({"id": number, "file_name": name})
        for text in captions("red" if number % 2 else "blue", "left"):
            annotations.append({"id": len(annotations), "image_id": number, "caption": text})
    path = folder / "annotations" / "captions_train2017.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def test_it_trains_on_coco(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(InceptionResNetV2().state_dict(), tmp_path / "inception.safetensors")
    weights = f"inputs.image.representation.weights={tmp_path / 'inception.safetensors'}"
    table = coco(tmp_path, 10)
    model = plait.train(
        "captioning-reference", table, tmp_path / "model",
        overrides=[weights, "outputs.caption.settings.decoder.units=32", "fusion.width=32"],
    )  # fmt: skip
    assert model.recipe.outputs["caption"].settings["vocabulary"] == 20_000
    assert model.recipe.training.batch == 32
    (tmp_path / "inception.safetensors").unlink()  # the package has its own
    again = plait.load(tmp_path / "model")
    photo = tmp_path / "train2017" / f"{0:012d}.jpg"
    found = again.predict(photo)
    assert found.value == model.predict(photo).value
    assert found.details.attention["image"].shape[1] == 64
