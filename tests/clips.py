"""Short videos, made here."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av", reason="needs the extra plait[video]")


def film(
    frames: Sequence[Any],
    container: str = "avi",
    codec: str = "mjpeg",
    pixels: str = "yuvj420p",
    muxing: Mapping[str, str] = {},
    rate: int = 10,
    **options: str,
) -> bytes:
    """A video of (H, W, 3) uint8 frames, so many a second; ``muxing`` are the container's
    options."""
    stream = io.BytesIO()
    with av.open(stream, "w", format=container, container_options=dict(muxing)) as file:
        track = file.add_stream(codec, rate=rate, options=options)
        track.height, track.width = frames[0].shape[:2]
        track.pix_fmt = pixels
        for frame in frames:
            file.mux(track.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(track.encode())
    return stream.getvalue()


def shades(count: int, step: int = 8, side: int = 32) -> list[Any]:
    """Frames of one shade each: 0, ``step``, 2 · ``step``..."""
    return [np.full((side, side, 3), step * at, np.uint8) for at in range(count)]


def scene(seed: int, count: int, size: tuple[int, int] = (64, 48)) -> list[Any]:
    """Frames of one scene: the camera moves slowly over a picture of coloured squares."""
    width, height = size
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)
    picture = picture.repeat(width // 4, axis=1).repeat(height // 4, axis=0)
    return [picture[at : at + height, at : at + width] for at in range(count)]
