"""`pixels`: the matrix itself, cut into patches that the model learns to look at."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from plait.config.registry import register
from plait.modalities.base import Encoder
from plait.modalities.image.base import Fitted, Photo, PhotoEncoder, Views
from plait.nn.blocks import present_tokens
from plait.types import State, Tokens, UsageError

MEAN, STD = (127.5,) * 3, (127.5,) * 3


@register("image", "pixels")
class Pixels(Photo):
    """The pixels, nothing pretrained: patches through one learned projection."""

    def __init__(
        self,
        *,
        patch: Annotated[int, Field(ge=1, le=64, description="pixels a side of a patch")] = 16,
        width: Annotated[int, Field(ge=8, le=2048, description="width of a token")] = 128,
        size: Annotated[int, Field(ge=8, le=512, description="pixels a side")] = 128,
        fit: Fitted = "squash",
        views: Views = 1,
    ) -> None:
        if size < patch:
            raise UsageError(f"a photo of {size} px holds no patch of {patch} px",
                             hint="lower patch, or raise size")  # fmt: skip
        super().__init__(size, fit, views)
        self.patch, self.width = patch, width

    def encoder(self, state: State, pretrained: bool) -> Encoder:
        """The patch projection; it has no pretrained weights."""
        return PixelsEncoder(self.size, self.patch, self.width)


class PixelsEncoder(PhotoEncoder):
    """(B, size, size, 3) uint8 -> Tokens (B, (size/patch)², width)."""

    mean, std = MEAN, STD

    def __init__(self, size: int, patch: int, width: int) -> None:
        super().__init__()
        side = size // patch
        self.trunk = nn.Identity()
        self.grid, self.length, self.width = (side, side), side * side, width
        self.project = nn.Conv2d(3, width, patch, patch)

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, 3, size, size) -> Tokens."""
        x = self.project(prepared)  # (B, width, side, side)
        return present_tokens(torch.relu(x).flatten(2).transpose(1, 2), lengths > 0)
