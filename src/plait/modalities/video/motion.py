"""`motion`: small grey frames and how they differ, through a network learned from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from plait.config.registry import register
from plait.data.images import Fit
from plait.modalities.base import Classical, Encoder
from plait.modalities.video.base import Clip, Flip, Views
from plait.nn.blocks import length_mask
from plait.types import State, Tokens

GREY = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)
TIME_STRIDES = (1, 2, 1, 1)  # of the blocks; a token is two frames
SCALE = 4.0  # brings the differences to about 1
PLACES = 16  # a side, of the small pictures that make its vector
LAYERS = len(TIME_STRIDES)


@register("video", "motion")
class Motion(Clip, Classical):
    """Small grey frames and their differences through a (2+1)-D convolutional network."""

    def __init__(
        self,
        *,
        frames: Annotated[
            int, Field(ge=2, le=256, description="frames, spread evenly over the clip")
        ] = 24,
        size: Annotated[int, Field(ge=16, le=256, description="pixels a side")] = 64,
        fit: Annotated[Fit, Field(description="squash the frame to a square, or crop it")] = (
            "squash"
        ),
        channels: Annotated[int, Field(ge=8, le=512, description="of the last layer")] = 96,
        width: Annotated[int, Field(ge=8, le=2048, description="width of a token")] = 128,
        dropout: Annotated[float, Field(ge=0, lt=1, description="dropout")] = 0.3,
        flip: Flip = False,
        views: Views = 1,
    ) -> None:
        super().__init__(frames, flip, views)
        self.size, self.resize = size, fit
        self.channels, self.width, self.dropout = channels, width, dropout

    def shape(self, state: State) -> tuple[int, Fit]:
        """As they are set."""
        return self.size, self.resize

    def vectors(self, rows: Sequence[NDArray[Any]], state: State) -> NDArray[np.float32]:
        """(N, 2 · PLACES²): where a clip is how bright, and where it moves how much, on average
        over its frames (motion energy; Bobick and Davis 2001, IEEE TPAMI 23)."""
        return np.stack([_energy(row.astype(np.float32)) for row in rows])

    def encoder(self, state: State, pretrained: bool) -> Encoder:
        """The network; it has no pretrained weights."""
        return MotionEncoder(self)


def _energy(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """(F, S, S) -> (2 · PLACES²)."""
    change = np.abs(np.diff(grey, axis=0)).mean(axis=0) if len(grey) > 1 else np.zeros_like(grey[0])
    pictures = [grey.mean(axis=0), change * SCALE]
    small = [cv2.resize(p, (PLACES, PLACES), interpolation=cv2.INTER_AREA) for p in pictures]
    return np.stack(small).reshape(-1)


class MotionEncoder(Encoder):
    """(F, S, S, 3) uint8 -> Tokens (B, F / 2, width)."""

    def __init__(self, clip: Motion) -> None:
        super().__init__()
        self.trunk = nn.Identity()
        widths = [2, *(max(4, clip.channels >> LAYERS - 1 - n) for n in range(LAYERS))]
        self.blocks = nn.ModuleList(
            SpaceTime(ins, outs, stride)
            for ins, outs, stride in zip(widths, widths[1:], TIME_STRIDES, strict=False)
        )
        side, frames = clip.size, clip.frames
        for stride in TIME_STRIDES:
            side, frames = -(-side // 2), -(-frames // stride)
        self.length, self.width = frames, clip.width
        self.drop = nn.Dropout(clip.dropout)
        self.project = nn.Linear(widths[-1] * side * side, clip.width)

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """(F, S, S, 3) uint8 each -> (F, S, S) grey each, 0 to 1."""
        return [item.float() @ item.new_tensor(GREY, dtype=torch.float32) / 255 for item in items]

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, F, S, S) -> Tokens (B, F / 2, width)."""
        mask = length_mask(lengths, prepared.shape[1])
        x = moving(torch.where(mask[..., None, None], prepared, 0.0), lengths)
        for block in self.blocks:
            x, lengths = block(x, lengths)
        mask = length_mask(lengths, x.shape[1])
        values = self.project(self.drop(x.flatten(2)))
        return Tokens(torch.where(mask[..., None], values, 0.0), mask)


def moving(grey: Tensor, lengths: Tensor) -> Tensor:
    """(B, F, S, S) and (B,) -> (B, F, 2, S, S): how each frame differs from the mean of its clip,
    and from the frame before it. What stands still is nothing."""
    mean = grey.sum(dim=1, keepdim=True) / lengths.clamp(min=1)[:, None, None, None]
    change = torch.zeros_like(grey)
    change[:, 1:] = grey[:, 1:] - grey[:, :-1]
    return torch.stack([grey - mean, change], dim=2) * SCALE


class SpaceTime(nn.Module):
    """A 3×3 convolution over space, stride 2, then one over three frames: "(2+1)-D" (Tran et al.
    2018, arXiv:1711.11248).

    No norms: they would make the noise of what stands still as loud as what moves. The weights
    begin as He et al. 2015 (arXiv:1502.01852) draw them, so that signals keep their size.
    """

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.space = nn.Conv2d(ins, outs, 3, 2, padding=1)
        self.time = nn.Conv2d(outs, outs, (3, 1), (stride, 1), padding=(1, 0))
        for layer in (self.space, self.time):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, F, C, H, W) and (B,) -> (B, F / stride, C', H / 2, W / 2) and how long each is."""
        frames = x.shape[1]
        x = torch.relu(self.space(x.flatten(0, 1)))  # (B·F, C', H', W')
        x = x.view(-1, frames, *x.shape[1:])  # (B, F, C', H', W')
        x = _only_real(x, lengths)
        y = self.time(x.flatten(3).transpose(1, 2))  # (B, C', F', H'·W')
        y = torch.relu(y).transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:])
        lengths = -(-lengths // self.stride)
        return _only_real(x + y if self.stride == 1 else y, lengths), lengths


def _only_real(x: Tensor, lengths: Tensor) -> Tensor:
    """Zeros behind each record, so that its end looks the same in any batch."""
    return torch.where(length_mask(lengths, x.shape[1])[..., None, None, None], x, 0.0)
