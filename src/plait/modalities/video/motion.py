"""`motion`: small grey frames and how they differ, through a network learned from scratch."""

from __future__ import annotations

from pydantic import Field

from plait.config.registry import register
from plait.data.images import Fit
from plait.modalities.base import Width
from plait.modalities.video.base import Clip

SCALE = 4.0  # brings the differences to about 1


@register("video", "motion")
class Motion(Clip):
    """Small grey frames and their differences, encoded by a (2+1)-D convolutional network."""

    encoder_class = "plait.modalities.video.networks.MotionEncoder"
    vector_class = "plait.modalities.video.networks.MotionVectors"
    classical = True

    frames: int = Field(24, ge=2, le=256, description="number of frames, evenly spread")
    size: int = Field(64, ge=16, le=256, description="pixels per side")
    resize: Fit = Field("squash", description="squash the frame to a square, or crop it")
    channels: int = Field(96, ge=8, le=512, description="channels of the last layer")
    width: Width = 128
    dropout: float = Field(0.3, ge=0, lt=1, description="dropout")
