"""`pixels`: the matrix itself, cut into patches that the model learns to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from plait.config.registry import register
from plait.data.images import Fit
from plait.modalities.base import Width
from plait.modalities.image.base import Photo, Resize

if TYPE_CHECKING:
    from plait.modalities.image.networks import PixelsEncoder


@register("image", "pixels")
class Pixels(Photo):
    """The pixels, nothing pretrained: patches through one learned projection."""

    size: Annotated[int, Field(ge=8, le=512, description="pixels a side")] = 128
    resize: Resize = "squash"
    patch: Annotated[int, Field(ge=1, le=64, description="pixels a side of a patch")] = 16
    width: Width = 128

    @model_validator(mode="after")
    def _holds_a_patch(self) -> Pixels:
        if self.size < self.patch:
            raise ValueError(
                f"a photo of {self.size} px holds no patch of {self.patch} px; lower patch, or "
                "raise size"
            )
        return self

    @property
    def shape(self) -> tuple[int, Fit]:
        """As they are set."""
        return self.size, self.resize

    def encoder(self, pretrained: bool) -> PixelsEncoder:
        """The patch projection; it has no pretrained weights."""
        from plait.modalities.image.networks import PixelsEncoder

        return PixelsEncoder(self.size, self.patch, self.width)
