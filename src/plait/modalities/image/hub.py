"""`hub:NAME`: the feature map or patch tokens of any image model of the transformers library.

NAME is a model's name on the Hugging Face hub or a local folder in its format (ViT, DINO, CLIP's
and SigLIP's image side, ResNet, ConvNeXt...). The weights' origin and licence are the model's own.
How a photo is read follows the model's image processor; its values are read from its JSON, as the
processor classes themselves need more libraries.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from plait.config.registry import register
from plait.data.images import Fit
from plait.modalities.base import Encoder
from plait.modalities.image.base import Photo, PhotoEncoder, Views
from plait.nn.blocks import freeze, present_tokens
from plait.nn.pretrained import (
    HubName,
    HubTrain,
    build_model,
    load_config,
    load_json,
    probe,
    refuse_missing,
)
from plait.types import State, Tokens

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE = 224  # where neither the processor nor the model names one
VISION_TOWERS = ("vision_model", "vision_tower", "visual")  # of models that also read text


@register("image", "hub")
class HubImage(Photo):
    """Any image model of the Hugging Face hub, or of a local folder in its format."""

    def __init__(
        self,
        *,
        name: HubName,
        train: HubTrain = "frozen",
        size: Annotated[
            int | None, Field(ge=8, le=1024, description="pixels a side; null is the model's own")
        ] = None,
        fit: Annotated[
            Literal["auto", "squash", "crop"],
            Field(description="squash the photo to a square, or crop it; auto is the model's own"),
        ] = "auto",
        views: Views = 1,
    ) -> None:
        super().__init__(size or SIZE, "squash", views)
        self.name, self.trained, self.own_size, self.own_fit = name, train, size, fit

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The model's architecture and how its photos are read, so that a package needs no hub."""
        config = load_config(self.name)
        processor = load_json(self.name, "preprocessor_config.json")
        if processor is None:
            processor = (load_json(self.name, "processor_config.json") or {}).get("image_processor")
        return {"config": config, **self._reading(config, processor or {})}

    def _reading(self, config: State, processor: State) -> State:
        """Size, fit, and mean and deviation in units of the pixels (0 to 255)."""
        size, fit = _size_and_fit(config, processor)
        scale = processor.get("rescale_factor") or 1 / 255
        scale = scale if processor.get("do_rescale", True) else 1.0
        normal = processor.get("do_normalize", True)
        mean = processor.get("image_mean") or IMAGENET_MEAN if normal else 0.0
        std = processor.get("image_std") or IMAGENET_STD if normal else 1.0
        return {
            "size": self.own_size or size,
            "fit": fit if self.own_fit == "auto" else self.own_fit,
            "mean": [value / scale for value in _three(mean)],
            "std": [value / scale for value in _three(std)],
        }

    def shape(self, state: State) -> tuple[int, Fit]:
        """As learned from the model."""
        return state["size"], state["fit"]

    def fingerprint(self, state: State) -> str:
        """As any photo's, with the mean and deviation."""
        return json.dumps([super().fingerprint(state), state["mean"], state["std"]])

    def encoder(self, state: State, pretrained: bool) -> Encoder:
        """The model; its weights come from the hub or the folder only if ``pretrained``."""
        return HubImageEncoder(self.name, self.trained, state, pretrained)


def _size_and_fit(config: State, processor: State) -> tuple[int, Fit]:
    """Pixels a side, and whether the photo is cropped to a square or squashed to it."""
    size = processor.get("size")
    crop = processor.get("crop_size") if processor.get("do_center_crop") else None
    shortest = isinstance(size, Mapping) and "shortest_edge" in size
    # Where "size" is a number, older processors mean the shortest edge if they crop afterwards.
    fit: Fit = "crop" if crop or shortest else "squash"
    vision = config.get("vision_config") or config
    for value in (crop, size, vision.get("image_size")):
        side = _side(value)
        if side:
            return side, fit
    return SIZE, fit


def _side(value: Any) -> int | None:
    """One side from a number, a pair or the processor's mapping; the longer where they differ."""
    if isinstance(value, Mapping):
        sides = [value[key] for key in ("shortest_edge", "height", "width") if value.get(key)]
        return int(max(sides)) if sides else None
    if isinstance(value, (list, tuple)):
        return int(max(value))
    return int(value) if value else None


def _three(value: float | Iterable[float]) -> list[float]:
    values = [float(value)] if isinstance(value, (int, float)) else [float(v) for v in value]
    return values * 3 if len(values) == 1 else values


class HubImageEncoder(PhotoEncoder):
    """(B, size, size, 3) uint8 -> Tokens (B, T, D), both T and D the model's own."""

    pretrained = True

    def __init__(self, name: str, trained: str, state: State, pretrained: bool) -> None:
        super().__init__()
        self.mean, self.std = state["mean"], state["std"]
        model, missing = build_model("AutoModel", name, state["config"], pretrained)
        features = Features(_vision_part(model), state["config"], state["size"]).eval()
        size = state["size"]
        values, used = probe(
            features,
            torch.zeros(1, 3, size, size),
            what=f"hub:{name} can't read a photo of {size} × {size} pixels",
            expected="an image model with a feature map or patch tokens (last_hidden_state)",
            hint="leave size as null, or name another model",
        )
        refuse_missing(name, model, missing, used)
        self.length, self.width = values.shape[1:]
        self.grid = features.grid
        for p in features.parameters():  # a pooler or a mask token, say, has nothing to learn here
            p.requires_grad_(id(p) in used)
        frozen = trained == "frozen"
        self.trunk: nn.Module = freeze(features) if frozen else nn.Identity()
        self.top: nn.Module = nn.Identity() if frozen else features

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """What `prepare` gave -> Tokens (B, T, D); a feature map goes row by row."""
        return present_tokens(self.top(prepared), lengths > 0)

    def train(self, mode: bool = True) -> HubImageEncoder:
        """As `Encoder.train`; batch norms keep the statistics of their pretraining.

        Batches are too small to learn them, and a run's checkpoint holds parameters only.
        """
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


class Features(nn.Module):
    """(B, 3, size, size) float -> (B, T, D): the model's last feature map or patch tokens."""

    def __init__(self, model: nn.Module, config: State, size: int) -> None:
        super().__init__()
        self.model = model
        self.grid: tuple[int, int] | None = None
        vision = config.get("vision_config") or config
        patch = _side(vision.get("patch_size"))
        self.patches = size // patch if patch else 0  # a side
        takes = inspect.signature(model.forward).parameters
        resized = _side(vision.get("image_size")) not in (None, size)
        self.options: dict[str, Any] = {}
        if resized and "interpolate_pos_encoding" in takes:
            self.options["interpolate_pos_encoding"] = True

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, size, size) -> (B, T, D); sets ``grid``."""
        values: Tensor = self.model(pixel_values=pixels, **self.options).last_hidden_state
        if values.ndim == 4:  # (B, D, H, W)
            self.grid = (values.shape[2], values.shape[3])
            return values.flatten(2).transpose(1, 2)  # (B, H·W, D)
        side, extra = self._layout(values.shape[1])
        self.grid = (side, side) if side else None
        return values[:, extra:]

    def _layout(self, tokens: int) -> tuple[int, int]:
        """Places a side (0: no square) and how many tokens before them belong to no place.

        Those are the class token and, in some models, a distillation token or registers.
        """
        extra = tokens - self.patches**2
        if self.patches and 0 <= extra < self.patches**2:
            return self.patches, extra
        for extra in (0, 1):
            side = math.isqrt(tokens - extra)
            if side and side * side == tokens - extra:
                return side, extra
        return 0, 0


def _vision_part(model: nn.Module) -> nn.Module:
    """The image side of a model that also reads text; else the model itself."""
    for name in VISION_TOWERS:
        part = getattr(model, name, None)
        if isinstance(part, nn.Module):
            return part
    return model
