"""`frames`: some frames of a clip through an image representation, then read in order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import torch
from pydantic import Field
from torch import Tensor, nn

from plait.config import registry
from plait.config.component import Nested
from plait.config.registry import register
from plait.data.images import Fit
from plait.data.video import open_frames
from plait.modalities.base import Encoder
from plait.modalities.image.base import Photo
from plait.modalities.video.base import Clip, Flip, Views
from plait.nn.blocks import Reader, count_parameters, length_mask, make_reader, masked_mean
from plait.types import BadCell, State, Tokens, UsageError

PHOTO_SIZE = 256  # pixels a side of the frames that an image representation learns from


@register("video", "frames")
class Frames(Clip):
    """Some frames through an image representation each, then over time by a GRU or attention."""

    def __init__(
        self,
        *,
        image: Annotated[
            dict[str, Any],
            Field(description="how a frame is represented: an image representation's settings"),
            Nested("image"),
        ] = {"kind": "cnn"},  # noqa: B006 - never changed
        frames: Annotated[
            int, Field(ge=1, le=256, description="frames, spread evenly over the clip")
        ] = 16,
        reader: Annotated[
            Literal["mean"] | Reader, Field(description="what reads the frames in order")
        ] = "gru",
        layers: Annotated[int, Field(ge=1, le=12, description="layers of the reader")] = 1,
        width: Annotated[int, Field(ge=8, le=2048, description="width of a token")] = 128,
        dropout: Annotated[float, Field(ge=0, lt=1, description="dropout")] = 0.2,
        flip: Flip = False,
        views: Views = 1,
    ) -> None:
        super().__init__(frames, flip, views)
        if image.get("views", 1) != 1:
            raise UsageError("image.views of a video must be 1", hint="set the video's own views")
        self.image: Photo = registry.build("image", image)
        # Frames that numpy prepares would be prepared within a graph.
        self.exported = self.image.exported and not self.image.reads_prepared
        self.fits_on_files = self.image.fits_on_files
        self.reader, self.layers, self.width, self.dropout = reader, layers, width, dropout

    def shape(self, state: State) -> tuple[int, Fit]:
        """As the image representation reads a photo."""
        return self.image.shape(state["image"])

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """What the image representation learns of one frame of each clip."""
        return {"image": self.image.fit(self._photos(cells, root), root)}

    def _photos(self, cells: Iterable[Any], root: Path) -> Iterator[bytes]:
        """The frame in the middle of each clip, as a PNG file; clips that can't be used are left
        out here, and named when they are read."""
        for cell in cells:
            try:
                frame = open_frames(cell, root, 1, PHOTO_SIZE, "squash")[0]
            except BadCell:
                continue
            yield cv2.imencode(".png", frame[:, :, ::-1])[1].tobytes()

    def fingerprint(self, state: State) -> str:
        """As any clip's, with how a frame is read."""
        return json.dumps([super().fingerprint(state), self.image.fingerprint(state["image"])])

    def encoder(self, state: State, pretrained: bool) -> Encoder:
        """The image representation's network and what reads over time."""
        return FramesEncoder(self.image.encoder(state["image"], pretrained), self)


class FramesEncoder(Encoder):
    """(F, S, S, 3) uint8 -> Tokens (B, F, width), or (B, 1, width) of their mean."""

    def __init__(self, image: Encoder, clip: Frames) -> None:
        super().__init__()
        self.image = image  # it says itself whether it is pretrained; the reader is not
        self.learns = count_parameters(image, trainable=True) > 0
        self.length, self.width = 1 if clip.reader == "mean" else clip.frames, clip.width
        self.project = nn.Sequential(
            nn.Linear(image.width, clip.width), nn.LayerNorm(clip.width), nn.Dropout(clip.dropout)
        )
        self.reader = make_reader(clip.reader, clip.width, clip.layers, clip.dropout, clip.frames)

    @property
    def trunk(self) -> nn.Module:  # type: ignore[override]  # a view, not a module of its own
        """The frozen part of the image representation."""
        return self.image.trunk

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """(F, S, S, 3) uint8 each -> (F, D) each, one vector a frame, where the image
        representation learns nothing; else what its frozen part makes of each frame, (F, ...)."""
        with torch.no_grad():
            found = [self.image.prepare_batch(item) for item in items]
            return found if self.learns else [self._vectors(frames) for frames in found]

    def _vectors(self, frames: Tensor) -> Tensor:
        """(N, L, ...) -> (N, D): the mean of each frame's tokens."""
        lengths = torch.full(frames.shape[:1], frames.shape[1], device=frames.device)
        tokens = self.image(frames, lengths)
        return masked_mean(tokens.values, tokens.mask)

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, F, ...) -> Tokens (B, F, width), or (B, 1, width)."""
        mask = length_mask(lengths, prepared.shape[1])
        x = torch.where(mask.view(*mask.shape, *[1] * (prepared.ndim - 2)), prepared, 0)
        if self.learns:
            x = self._vectors(x.flatten(0, 1)).view(*mask.shape, -1)  # (B, F, D)
        values = self.reader(self.project(x), mask)
        mask = mask[:, : values.shape[1]]  # frames are real from the first on
        return Tokens(torch.where(mask[..., None], values, 0.0), mask)
