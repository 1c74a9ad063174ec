"""The networks of the video representations.

Shapes: B clips, F frames, S pixels a side, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from plait.modalities.video.frames import Frames
from plait.modalities.video.motion import SCALE, Motion
from plait.nn.base import Encoder, VectorEncoder
from plait.nn.blocks import (
    count_parameters,
    encode_sequence,
    length_mask,
    make_sequence_encoder,
    masked_mean,
    real_tokens,
    strided,
    strided_count,
    zero_after,
)
from plait.types import Tokens

GREY = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)
PLACES = 16  # a side, of the small pictures that make a clip's plain vector
TIME_STRIDES = (1, 2, 1, 1)  # of a `Motion`'s blocks; a token is two frames
LAYERS = len(TIME_STRIDES)


class FramesEncoder(Encoder):
    """(F, S, S, 3) uint8 -> Tokens (B, F, width), or (B, 1, width) of their mean."""

    def __init__(self, clip: Frames, pretrained: bool) -> None:
        super().__init__()
        # It says itself whether it is pretrained; what reads over time is not.
        self.image = image = clip.photo.encoder(pretrained)
        self.learns = count_parameters(image, trainable=True) > 0
        mean = clip.sequence_encoder == "mean"
        self.length, self.width = 1 if mean else clip.frames, clip.width
        self.project = nn.Sequential(
            nn.Linear(image.width, clip.width), nn.LayerNorm(clip.width), nn.Dropout(clip.dropout)
        )
        self.sequence = make_sequence_encoder(clip, clip.frames)

    @property
    def trunk(self) -> nn.Module:  # type: ignore[override]  # a view, not a module of its own
        """The frozen part of the image representation."""
        return self.image.trunk

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """(F, S, S, 3) uint8 each -> (F, D) each, a vector for each frame, where the image
        representation learns nothing; else what its frozen part makes of each frame, (F, ...)."""
        with torch.no_grad():
            prepared = [self.image.prepare_batch(item) for item in items]
            return prepared if self.learns else [self._vectors(frames) for frames in prepared]

    def _vectors(self, frames: Tensor) -> Tensor:
        """(N, L, ...) -> (N, D): the mean of each frame's tokens."""
        lengths = torch.full(frames.shape[:1], frames.shape[1], device=frames.device)
        tokens = self.image(frames, lengths)
        return masked_mean(tokens.values, tokens.mask)

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, F, ...) -> Tokens (B, F, width), or (B, 1, width)."""
        x = zero_after(prepared, lengths)
        if self.learns:
            x = self._vectors(x.flatten(0, 1)).view(*x.shape[:2], -1)  # (B, F, D)
        return encode_sequence(self.sequence, self.project(x), lengths)


class MotionEncoder(Encoder):
    """(F, S, S, 3) uint8 -> Tokens (B, F / 2, width)."""

    def __init__(self, clip: Motion, pretrained: bool) -> None:
        super().__init__()
        self.trunk = nn.Identity()
        widths = [2, *(max(4, clip.channels >> LAYERS - 1 - n) for n in range(LAYERS))]
        self.blocks = nn.ModuleList(
            SpaceTime(ins, outs, stride)
            for ins, outs, stride in zip(widths, widths[1:], TIME_STRIDES, strict=False)
        )
        self.length, self.width = strided_count(clip.frames, TIME_STRIDES), clip.width
        side = strided_count(clip.size, [2] * LAYERS)
        self.drop = nn.Dropout(clip.dropout)
        self.project = nn.Linear(widths[-1] * side * side, clip.width)

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """(F, S, S, 3) uint8 each -> (F, S, S) grey each, 0 to 1."""
        return [item.float() @ item.new_tensor(GREY, dtype=torch.float32) / 255 for item in items]

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, F, S, S) -> Tokens (B, F / 2, width)."""
        x = moving(zero_after(prepared, lengths), lengths)
        for block in self.blocks:
            x, lengths = block(x, lengths)
        return real_tokens(self.project(self.drop(x.flatten(2))), lengths)


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
        x = zero_after(x, lengths)
        y = self.time(x.flatten(3).transpose(1, 2))  # (B, C', F', H'·W')
        y = torch.relu(y).transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:])
        lengths = strided(lengths, self.stride)
        return zero_after(x + y if self.stride == 1 else y, lengths), lengths


class MotionVectors(VectorEncoder):
    """(F, S, S, 3) uint8 -> Tokens (B, 1, 2 · PLACES²): where a clip is how bright, and where it
    moves how much, on average over its frames (motion energy; Bobick and Davis 2001, IEEE TPAMI
    23)."""

    width = 2 * PLACES**2

    def vectors(self, prepared: Tensor, lengths: Tensor) -> Tensor:
        """(B, F, S, S) -> (B, 2 · PLACES²)."""
        frames = lengths[:, None, None].clamp(min=1)
        there = length_mask(lengths, prepared.shape[1])[:, 1:, None, None]
        change = (prepared.diff(dim=1).abs() * there).sum(dim=1) / (frames - 1).clamp(min=1)
        pictures = torch.stack([prepared.sum(dim=1) / frames, change * SCALE], dim=1)
        return nn.functional.adaptive_avg_pool2d(pictures, PLACES).flatten(1)
