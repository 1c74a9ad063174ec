"""`frames`: frames encoded as images, and a sequence encoder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import cv2
from pydantic import Field, model_validator

from plait.config import registry
from plait.config.registry import Nested, register
from plait.data.images import Fit
from plait.data.video import open_frames
from plait.modalities.base import Dropout, Layers, MeanOrSequence, Width
from plait.modalities.image.base import Photo
from plait.modalities.video.base import Clip
from plait.types import BadCell, State

PHOTO_SIZE = 256  # pixels a side of the frames that an image representation learns from


@register("video", "frames")
class Frames(Clip):
    """Frames, each encoded as an image, then a mean or a sequence encoder over time."""

    encoder_class = "plait.modalities.video.networks.FramesEncoder"

    image: Annotated[
        dict[str, Any],
        Field(description="how a frame is represented: an image representation's settings"),
        Nested("image"),
    ] = {"kind": "cnn"}
    sequence_encoder: MeanOrSequence = "gru"
    layers: Layers = 1
    width: Width = 128
    dropout: Dropout = 0.2

    @model_validator(mode="after")
    def _image_has_one_view(self) -> Frames:
        if self.image.get("views", 1) != 1:
            raise ValueError("image.views of a video must be 1; set the video's own views")
        kind = str(self.image.get("kind"))
        if not registry.find("image", kind).cls.fixed_length:
            raise ValueError(f"image.kind {kind} gives frames of no fixed size; choose another")
        if self.image.get("classes"):
            raise ValueError("frames of a video have no tags; expected image.classes: 0")
        return self

    @cached_property
    def photo(self) -> Photo:
        """The image representation."""
        photo: Photo = registry.build("image", self.image)
        return photo.with_state(self.state["image"]) if self.state else photo

    @property
    def exportable(self) -> bool:  # type: ignore[override]  # the image representation decides
        """Frames that numpy prepares would have to be prepared within a graph."""
        return self.photo.exportable and not self.photo.reads_prepared

    @property
    def fits_on_files(self) -> bool:  # type: ignore[override]
        """As the image representation does."""
        return self.photo.fits_on_files

    @property
    def shape(self) -> tuple[int, Fit]:
        """As the image representation reads a photo."""
        return self.photo.shape

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """What the image representation learns of the frame in the middle of each clip; clips that
        can't be used are left out here, and named when they are read."""

        def photos() -> Iterator[bytes]:
            for cell in cells:
                with suppress(BadCell):
                    frame = open_frames(cell, root, 1, PHOTO_SIZE, "squash")[0]
                    yield cv2.imencode(".png", frame[:, :, ::-1])[1].tobytes()

        return {"image": self.photo.fit(photos(), root)}

    def fingerprint(self) -> str:
        """As any clip's, with how a frame is read."""
        return json.dumps([super().fingerprint(), self.photo.fingerprint()])
