"""`cnn`: which layers learn does not change what the layers are."""

from __future__ import annotations

from plait.modalities.image.base import Cnn, Train


def test_weights_keep_their_names_wherever_the_frozen_layers_end() -> None:
    """So that training can start from a model of which other layers were frozen."""

    def shapes(train: Train, blocks: int = 5) -> dict[str, tuple[int, ...]]:
        encoder = Cnn(train=train, blocks=blocks, size=64).encoder(pretrained=False)
        return {name: tuple(value.shape) for name, value in encoder.state_dict().items()}

    frozen = shapes("frozen")
    assert len(frozen) > 90
    assert frozen == shapes("last-blocks") == shapes("last-blocks", 2) == shapes("all")
