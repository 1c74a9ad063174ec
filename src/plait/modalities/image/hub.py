"""`hub:NAME`: the feature map or patch tokens of any image model of the transformers library.

NAME is a model's name on the Hugging Face Hub or a local folder in its format (ViT, DINO, CLIP's
and SigLIP's image side, ResNet, ConvNeXt...). The weights' origin and licence are the model's own.
How a photo is read follows the model's image processor; its values are read from its JSON, as the
processor classes themselves need more libraries.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from plait.config.registry import register
from plait.data.images import Fit
from plait.modalities.image.base import Photo, imagenet_words
from plait.nn.hub import HubName, HubTrain, load_config, load_json
from plait.types import PlaitError, State

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE = 224  # where neither the processor nor the model names one


@register("image", "hub")
class HubImage(Photo):
    """Any image model of the Hugging Face Hub, or of a local folder in its format."""

    encoder_class = "plait.modalities.image.networks.HubImageEncoder"

    name: HubName
    train: HubTrain = "frozen"
    size: int | None = Field(
        None, ge=8, le=1024, description="pixels per side; null: as pretrained"
    )
    resize: Literal["auto", "squash", "crop"] = Field(
        "auto", description="squash the photo to a square, or crop it; auto: as the model does"
    )
    classes: int = Field(
        0,
        ge=0,
        le=64,
        description="how many of the likeliest classes of the model's own classifier are given to "
        "the outputs, each as a word; 0: none",
    )

    @model_validator(mode="after")
    def _classes_stay(self) -> HubImage:
        if self.classes and self.train != "frozen":
            raise ValueError(
                "the classes of a model that is trained would be forgotten; expected train: frozen"
            )
        return self

    @property
    def tag_names(self) -> Sequence[str]:
        """A word for each class that the model names."""
        return class_words(self.state["config"]) if self.classes else ()

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The model's architecture and how its photos are read, so that a package needs no hub:
        size, fit, and mean and deviation in units of the pixels (0 to 255).

        Raises:
            PlaitError: the model has no classes, though some are asked for.
        """
        config = load_config(self.name)
        processor = load_json(self.name, "preprocessor_config.json")
        if processor is None:
            processor = (load_json(self.name, "processor_config.json") or {}).get("image_processor")
        processor = processor or {}
        size, fit = _size_and_fit(config, processor)
        if self.classes:
            class_words(config)
        scale = processor.get("rescale_factor") or 1 / 255
        scale = scale if processor.get("do_rescale", True) else 1.0
        mean: Any = 0.0
        std: Any = 1.0
        if processor.get("do_normalize", True):
            mean = processor.get("image_mean") or IMAGENET_MEAN
            std = processor.get("image_std") or IMAGENET_STD
        return {
            "config": config,
            "size": self.size or size,
            "fit": fit if self.resize == "auto" else self.resize,
            "mean": (np.broadcast_to(mean, 3) / scale).tolist(),
            "std": (np.broadcast_to(std, 3) / scale).tolist(),
        }

    @property
    def shape(self) -> tuple[int, Fit]:
        """As learned from the model."""
        return self.state["size"], self.state["fit"]

    def fingerprint(self) -> str:
        """As any photo's, with the mean and deviation."""
        return json.dumps([super().fingerprint(), self.state["mean"], self.state["std"]])


def class_words(config: State) -> list[str]:
    """A word for each class of an image classifier: ImageNet's everyday words where it has these
    classes, else the last word of a class's first name.

    Raises:
        PlaitError: it isn't a classifier, or a class has no name.
    """
    names = {int(number): str(name) for number, name in (config.get("id2label") or {}).items()}
    whole = any("ForImageClassification" in name for name in config.get("architectures") or ())
    problem = None
    if not whole or all(name == f"LABEL_{number}" for number, name in names.items()):
        problem = "the model has no classes with names"
    firsts = [names.get(number, "").partition(",")[0] for number in range(len(names))]
    spoken = [first.replace("_", " ").lower().split() for first in firsts]
    if problem is None and [] in spoken:  # classes are numbered from 0, without gaps
        problem = f"the model's class {spoken.index([])} has no name"
    if problem:
        raise PlaitError(
            problem,
            expected="an image classifier, such as hub:google/vit-base-patch16-224",
            hint="set the representation's classes to 0",
        )
    words = imagenet_words()
    if len(names) == len(words) and names[0].startswith("tench"):
        return words
    return [name[-1] for name in spoken]


def _size_and_fit(config: State, processor: State) -> tuple[int, Fit]:
    """Pixels a side, and whether the photo is cropped to a square or squashed to it."""
    size = processor.get("size")
    crop = processor.get("crop_size") if processor.get("do_center_crop") else None
    shortest = isinstance(size, Mapping) and "shortest_edge" in size
    # Where "size" is a number, older processors mean the shortest edge if they crop afterwards.
    fit: Fit = "crop" if crop or shortest else "squash"
    vision = config.get("vision_config") or config
    sides = (one_side(value) for value in (crop, size, vision.get("image_size")))
    return next((side for side in sides if side), SIZE), fit


def one_side(value: Any) -> int | None:
    """One side from a number, a pair or the processor's mapping; the longer where they differ."""
    if isinstance(value, Mapping):
        sides = [value[key] for key in ("shortest_edge", "height", "width") if value.get(key)]
        return int(max(sides)) if sides else None
    if isinstance(value, (list, tuple)):
        return int(max(value))
    return int(value) if value else None
