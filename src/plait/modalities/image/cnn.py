"""`cnn`: the feature map of an ImageNet-pretrained network, one token for each place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from plait.config.registry import register
from plait.data.images import Fit
from plait.modalities.image.base import Photo, Resize

if TYPE_CHECKING:
    from plait.modalities.image.networks import CnnEncoder

NetworkName = Literal["lite0", "lite1", "lite2"]
Train = Literal["frozen", "last-blocks", "all"]
SIZES = {"lite0": 224, "lite1": 240, "lite2": 260}  # pixels a side, as each was trained


@register("image", "cnn")
class Cnn(Photo):
    """EfficientNet-Lite's feature map (ImageNet weights): a token for each 32×32 pixels."""

    network: Annotated[
        NetworkName, Field(description="EfficientNet-Lite 0, 1 or 2: larger, better, slower")
    ] = "lite0"
    train: Annotated[
        Train, Field(description="which layers learn: none, the last blocks, or all")
    ] = "frozen"
    blocks: Annotated[int, Field(ge=1, le=16, description="how many blocks are 'last-blocks'")] = 5
    layer: Annotated[
        Literal["block", "head"],
        Field(description="features of the last block or of the head (1280 wide)"),
    ] = "head"
    size: Annotated[
        int | None, Field(ge=32, le=1024, description="pixels a side; null: the network's own")
    ] = None

    resize: Resize = "squash"

    @property
    def shape(self) -> tuple[int, Fit]:
        """By default the size that the network was trained on."""
        return self.size or SIZES[self.network], self.resize

    def encoder(self, pretrained: bool) -> CnnEncoder:
        """The network, with its ImageNet weights unless a package will bring others."""
        from plait.modalities.image.networks import CnnEncoder

        return CnnEncoder(self, pretrained)
