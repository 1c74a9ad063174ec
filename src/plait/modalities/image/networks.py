"""The networks of the image representations.

Shapes: B photos, S pixels a side, C channels, H × W places of a feature map, T tokens, D width.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from plait.modalities.image.cnn import Cnn
from plait.modalities.image.hub import HubImage, one_side
from plait.modalities.image.inception_resnet_v2 import InceptionResNetV2
from plait.modalities.image.patterns import Pyramid
from plait.modalities.image.pixels import Pixels
from plait.modalities.image.visual_words import VisualWords
from plait.nn import efficientnet_lite as lite
from plait.nn import inception_resnet_v2 as inception
from plait.nn.base import Encoder
from plait.nn.blocks import freeze, present_tokens
from plait.nn.pretrained import build_features
from plait.types import PlaitError, State, Tokens

HALF = (127.5,) * 3  # mean and deviation that bring 0..255 to -1..1
STRIDE = 32  # pixels a token of a `Cnn`, each way
VISION_TOWERS = ("vision_model", "vision_tower", "visual")  # of models that also read text


class PhotoEncoder(Encoder):
    """Photos of one size through the frozen ``trunk``; ``mean`` and ``std`` as it was trained."""

    mean: Sequence[float]
    std: Sequence[float]

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """(S, S, 3) uint8 each -> (C, H, W) or (T, D) float each."""
        return list(self.prepare_batch(torch.stack(list(items))))

    def prepare_batch(self, batch: Tensor) -> Tensor:
        """(B, S, S, 3) uint8 -> (B, C, H, W) or (B, T, D) float."""
        with torch.no_grad():
            x: Tensor = self.trunk(to_channels(batch, self.mean, self.std))
        return x


def to_channels(batch: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float, (x - mean) / std, laid out channels-last.

    Channels-last is the order the pixels have already, and the one in which the processor's
    convolutions are fastest.
    """
    x = batch.to(torch.float32)
    x = (x - x.new_tensor(mean)) / x.new_tensor(std)
    return x.permute(0, 3, 1, 2)  # (B, 3, H, W), strides still those of (B, H, W, 3)


class PixelsEncoder(PhotoEncoder):
    """(B, S, S, 3) uint8 -> Tokens (B, (S / patch)², width)."""

    mean, std = HALF, HALF

    def __init__(self, photo: Pixels, pretrained: bool) -> None:
        super().__init__()
        side = photo.size // photo.patch
        self.trunk = nn.Identity()
        self.grid, self.length, self.width = (side, side), side * side, photo.width
        self.project = nn.Conv2d(3, photo.width, photo.patch, photo.patch)

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, 3, S, S) -> Tokens."""
        x = self.project(prepared)  # (B, width, side, side)
        return present_tokens(torch.relu(x).flatten(2).transpose(1, 2), lengths > 0)


class CnnEncoder(PhotoEncoder):
    """(B, S, S, 3) uint8 -> Tokens (B, (S / 32)², width)."""

    pretrained = True
    mean, std = lite.MEAN, lite.STD

    def __init__(self, cnn: Cnn, pretrained: bool) -> None:
        super().__init__()
        layers = lite.layers(cnn.network)
        if pretrained:
            lite.load_imagenet(layers, cnn.network)
        # Frozen statistics in all layers: batches are too small and too alike to learn them.
        layers = lite.fold(layers)
        if cnn.layer == "block":
            del layers[-1]
        learning = {"frozen": 0, "last-blocks": cnn.blocks + (cnn.layer == "head"),
                    "all": len(layers)}[cnn.train]  # fmt: skip
        # One row of layers, wherever the frozen ones end: weights keep their names.
        self.layers, self.frozen = layers.requires_grad_(True), len(layers) - learning
        freeze(self.trunk)
        side = -(-cnn.shape[0] // STRIDE)
        self.grid, self.length = (side, side), side * side
        last_block = lite.VARIANTS[cnn.network].stages()[-1][3]
        self.width = lite.HEAD_WIDTH if cnn.layer == "head" else last_block

    @property
    def trunk(self) -> nn.Module:  # type: ignore[override]  # a view, not a module of its own
        """The first layers, which stay as they are."""
        return self.layers[: self.frozen].eval()

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, C, H, W) -> Tokens (B, H'·W', D), row by row from the top left."""
        x: Tensor = self.layers[self.frozen :](prepared)  # (B, D, H', W')
        return present_tokens(x.flatten(2).transpose(1, 2), lengths > 0)


class InceptionEncoder(PhotoEncoder):
    """(B, 299, 299, 3) uint8 -> Tokens (B, 64, 1536)."""

    trunk: inception.InceptionResNetV2
    mean, std = HALF, HALF

    def __init__(self, photo: InceptionResNetV2, pretrained: bool) -> None:
        super().__init__()
        self.trunk = inception.InceptionResNetV2()
        if pretrained:
            if not photo.weights:
                raise PlaitError(
                    "inception-resnet-v2 has no weights",
                    expected=f"Keras' file {inception.KERAS_FILE}, or a .safetensors file",
                    hint="name it with --set inputs.NAME.representation.weights=FILE",
                )
            inception.load_weights(self.trunk, photo.weights)
        freeze(self.trunk)
        side = inception.GRID
        self.grid, self.length, self.width = (side, side), side * side, inception.CHANNELS

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, 1536, 8, 8) -> Tokens (B, 64, 1536), row by row from the top left."""
        return present_tokens(prepared.flatten(2).transpose(1, 2), lengths > 0)


class HubImageEncoder(PhotoEncoder):
    """(B, S, S, 3) uint8 -> Tokens (B, T, D), both T and D the model's own."""

    pretrained = True

    def __init__(self, image: HubImage, pretrained: bool) -> None:
        super().__init__()
        state, (size, _) = image.state, image.shape
        self.mean, self.std = state["mean"], state["std"]
        features, values = build_features(
            image.name,
            state["config"],
            pretrained,
            lambda model: Features(_vision_part(model), state["config"], size),
            (torch.zeros(1, 3, size, size),),
            what=f"hub:{image.name} can't read a photo of {size} × {size} pixels",
            expected="an image model with a feature map or patch tokens (last_hidden_state)",
            hint="leave size as null, or name another model",
        )
        self.length, self.width = values.shape[1:]
        self.grid = features.grid
        frozen = image.train == "frozen"
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
    """(B, 3, S, S) float -> (B, T, D): the model's last feature map or patch tokens."""

    def __init__(self, model: nn.Module, config: State, size: int) -> None:
        super().__init__()
        self.model = model
        self.grid: tuple[int, int] | None = None
        vision = config.get("vision_config") or config
        patch = one_side(vision.get("patch_size"))
        self.patches = size // patch if patch else 0  # a side
        takes = inspect.signature(model.forward).parameters
        resized = one_side(vision.get("image_size")) not in (None, size)
        self.options: dict[str, Any] = {}
        if resized and "interpolate_pos_encoding" in takes:
            self.options["interpolate_pos_encoding"] = True

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, T, D); sets ``grid``."""
        values: Tensor = self.model(pixel_values=pixels, **self.options).last_hidden_state
        if values.ndim == 4:  # (B, D, H, W)
            self.grid = (values.shape[2], values.shape[3])
            return values.flatten(2).transpose(1, 2)  # (B, H·W, D)
        side, extra = self._arrangement(values.shape[1])
        self.grid = (side, side) if side else None
        return values[:, extra:]

    def _arrangement(self, tokens: int) -> tuple[int, int]:
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
    parts = (getattr(model, name, None) for name in VISION_TOWERS)
    return next((part for part in parts if isinstance(part, nn.Module)), model)


class Histograms(nn.Module):
    """The frozen part of `visual-words`: a photo to its histograms, which is numpy's work."""

    centres: Tensor

    def __init__(self, pyramid: Pyramid) -> None:
        super().__init__()
        self.pyramid = pyramid
        # (V, 128) uint8; here for the cache's key, of which they are a part as any weights.
        self.register_buffer("centres", torch.from_numpy(pyramid.centres))

    def extra_repr(self) -> str:
        """All that the result depends on beside the centres."""
        return f"{self.pyramid.finder}, levels={self.pyramid.levels}, soft={self.pyramid.soft}"

    def forward(self, photo: Tensor) -> Tensor:
        """(H, W, 3) uint8 -> (C, V)."""
        return torch.from_numpy(self.pyramid(photo.cpu().numpy()))


class VisualWordsEncoder(Encoder):
    """(S, S, 3) uint8 -> Tokens (B, side², width), one for each cell of the finest level.

    A token adds up what its cell shows and what the larger cells around it show, by a layer for
    each level. With one level it is the classical bag of visual words. Here V are the visual
    words, and C the cells of all levels.
    """

    trunk: Histograms

    def __init__(self, photo: VisualWords, pretrained: bool) -> None:
        super().__init__()
        pyramid, width = photo.pyramid, photo.width
        self.trunk, self.width = Histograms(pyramid), width
        self.sides = [2**level for level in range(pyramid.levels)]
        finest = self.sides[-1]
        self.grid, self.length = (finest, finest), finest**2
        shape = (pyramid.levels, len(pyramid.centres), width)
        self.weight = nn.Parameter(torch.randn(shape) * width**-0.5)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, C, V) -> Tokens, cells row by row from the top left."""
        levels = torch.split(prepared, [side**2 for side in self.sides], dim=1)
        spread = [self._spread(*of) for of in zip(levels, self.weight, self.sides, strict=True)]
        return present_tokens(torch.stack(spread).sum(dim=0) + self.bias, lengths > 0)

    def _spread(self, level: Tensor, weight: Tensor, side: int) -> Tensor:
        """(B, side², V) -> (B, finest side², width); a cell's share of a photo is small, and is
        brought to the size of the whole photo's."""
        values = side * level @ weight
        at = torch.arange(self.sides[-1], device=level.device) * side // self.sides[-1]
        return values[:, (at[:, None] * side + at).flatten()]
