"""`motion`: small grey frames and how they differ, through a network learned from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plait.config.registry import register
from plait.data.images import Fit
from plait.modalities.base import Classical, Width
from plait.modalities.video.base import Clip

SCALE = 4.0  # brings the differences to about 1
PLACES = 16  # a side, of the small pictures that make its vector


@register("video", "motion")
class Motion(Clip, Classical):
    """Small grey frames and their differences, encoded by a (2+1)-D convolutional network."""

    encoder_class = "plait.modalities.video.networks.MotionEncoder"

    frames: int = Field(24, ge=2, le=256, description="number of frames, evenly spread")
    size: int = Field(64, ge=16, le=256, description="pixels per side")
    resize: Fit = Field("squash", description="squash the frame to a square, or crop it")
    channels: int = Field(96, ge=8, le=512, description="channels of the last layer")
    width: Width = 128
    dropout: float = Field(0.3, ge=0, lt=1, description="dropout")

    def vectors(self, rows: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """(N, 2 · PLACES²): where a clip is how bright, and where it moves how much, on average
        over its frames (motion energy; Bobick and Davis 2001, IEEE TPAMI 23)."""
        vectors = []
        for grey in (row.astype(np.float32) for row in rows):  # (F, S, S)
            change = np.abs(np.diff(grey, axis=0, prepend=grey[:1])).sum(axis=0)
            pictures = [grey.mean(axis=0), change / max(1, len(grey) - 1) * SCALE]
            size = PLACES, PLACES
            small = [cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in pictures]
            vectors.append(np.stack(small).reshape(-1))
        return np.stack(vectors)
