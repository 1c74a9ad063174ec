"""`pixels`: the matrix itself, cut into patches that the model learns to look at."""

from __future__ import annotations

from pydantic import Field, model_validator

from plait.config.registry import register
from plait.modalities.base import Width
from plait.modalities.image.base import Photo, Resize


@register("image", "pixels")
class Pixels(Photo):
    """Patches of pixels, each projected by one learned layer; nothing pretrained."""

    encoder_class = "plait.modalities.image.networks.PixelsEncoder"

    size: int = Field(128, ge=8, le=512, description="pixels per side")
    resize: Resize = "squash"
    patch: int = Field(16, ge=1, le=64, description="pixels per side of a patch")
    width: Width = 128

    @model_validator(mode="after")
    def _holds_a_patch(self) -> Pixels:
        if self.size < self.patch:
            raise ValueError(
                f"a photo of {self.size} px holds no patch of {self.patch} px; lower patch, or "
                "raise size"
            )
        return self
