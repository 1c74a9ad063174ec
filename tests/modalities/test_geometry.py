"""Where a point of the original lies once it is read and augmented: a bright dot, a click."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from PIL import Image

from plait.data.cells import MediaInfo
from plait.data.images import GREY, image_info
from plait.modalities.audio.spectrogram import Spectrogram
from plait.modalities.base import Modality
from plait.modalities.image.pixels import Pixels
from plait.modalities.series.windows import Windows
from plait.modalities.text.bag_of_words import BagOfWords
from plait.modalities.video.motion import Motion
from plait.types import Geometry

VIEWS = range(8)


def dot(width: int, height: int, x: int, y: int, mode: str = "PNG", **how: Any) -> bytes:
    """A black picture with a bright square whose middle is at (x, y)."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[y - 6 : y + 6, x - 6 : x + 6] = 255
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, mode, **how)
    return stream.getvalue()


def middle(pixels: np.ndarray) -> tuple[float, float]:
    """The middle of what is bright, in pixels from the left and the top edge."""
    light = pixels.astype(float).mean(axis=-1)
    rows, columns = np.indices(light.shape) + 0.5
    return float((light * columns).sum() / light.sum()), float((light * rows).sum() / light.sum())


def mapped(geometry: Geometry | None, *point: float) -> tuple[float, ...]:
    assert geometry is not None
    axes = zip(point, geometry.scale, geometry.shift, strict=True)
    return tuple(scale * value + shift for value, scale, shift in axes)


@pytest.mark.parametrize("resize", ["squash", "crop", "letterbox"])
@pytest.mark.parametrize("size", [(200, 120), (120, 200), (150, 150)])
@pytest.mark.parametrize("view", VIEWS)
def test_a_dot_lies_where_the_geometry_says(
    resize: Literal["squash", "crop", "letterbox"], size: tuple[int, int], view: int
) -> None:
    photo = Pixels(size=96, resize=resize)
    x, y = size[0] // 2 + 9, size[1] // 2 - 7
    cell = dot(*size, x, y)
    shown = photo.geometry(photo.media_info(cell, Path()), view, 42)
    assert shown is not None
    assert shown.size == (96, 96)
    assert (shown.scale[0] < 0) == bool(view % 2)
    item = photo.augment(photo.read(cell, Path()), view, 42)
    bright = np.where(item > GREY + 20, item, 0)  # without bars
    assert middle(bright) == pytest.approx(mapped(shown, x, y), abs=0.8)


def test_crops_differ_by_seed_and_view_alone() -> None:
    photo, info = Pixels(size=96), MediaInfo(200, 100)
    first = [photo.geometry(info, view, 1) for view in (2, 4, 6)]
    assert len({shown and shown.scale for shown in first}) == 3
    assert photo.geometry(info, 2, 1) == first[0] != photo.geometry(info, 2, 2)


def test_a_turned_photo_s_geometry_is_that_of_the_upright_one() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn it by 90 degrees clockwise
    cell = dot(200, 120, 30, 20, "JPEG", exif=exif, quality=95)
    assert image_info(cell, Path()) == MediaInfo(120, 200)
    photo = Pixels(size=96)
    shown = photo.geometry(photo.media_info(cell, Path()), 0, 0)
    assert middle(photo.read(cell, Path())) == pytest.approx(mapped(shown, 120 - 20, 30), abs=0.7)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("view", VIEWS)
def test_a_dot_in_a_clip(view: int, flip: bool) -> None:
    clip = Motion(frames=20, size=64, flip=flip)
    x, y, at = 60, 44, 9  # the frame in which it is seen, of 20 in 10 seconds
    frames = np.zeros((20, 64, 64, 3), np.uint8)
    raw = cv2.imdecode(np.frombuffer(dot(128, 96, x, y), np.uint8), cv2.IMREAD_COLOR)
    frames[at] = cv2.resize(raw, (64, 64), interpolation=cv2.INTER_AREA)
    shown = clip.geometry(MediaInfo(128, 96, 10.0), view, 3)
    assert shown is not None
    item = clip.augment(frames, view, 3)
    seen = int(item.reshape(len(item), -1).sum(axis=1).argmax())
    where = mapped(shown, x, y, (at + 0.5) * 0.5)
    assert middle(item[seen]) == pytest.approx(where[:2], abs=0.7)
    assert (seen + 0.5) * 0.5 == pytest.approx(where[2])
    assert shown.size == (64, 64, pytest.approx(0.5 * len(item)))
    assert clip.geometry(MediaInfo(), view, 3) is None


@pytest.mark.parametrize("view", VIEWS)
def test_a_click_in_a_sound(view: int) -> None:
    pytest.importorskip("soxr", reason="needs the extra plait[audio]")
    sound = Spectrogram(rate=8000, max_seconds=2.0, speed=0.3, noise=(60, 60))
    item = np.zeros(8000, np.float32)
    item[5000] = 1.0
    shown = sound.geometry(MediaInfo(seconds=1.0), view, 5)
    assert shown is not None
    changed = sound.augment(item, view, 5)
    (at,) = mapped(shown, 5000 / 8000)
    assert np.abs(changed).argmax() / 8000 == pytest.approx(at, abs=1e-3)
    assert shown.size[0] == pytest.approx(len(changed) / 8000, abs=1e-3)
    assert Spectrogram(trim=True).geometry(MediaInfo(seconds=1.0), view, 5) is None


def test_what_wanders_or_has_no_place_has_no_geometry() -> None:
    assert Windows(rate=4.0, time=0, max_steps=80).geometry(MediaInfo(), 0, 0) == Geometry(
        (1.0,), (0.0,), (20.0,)
    )
    assert Windows().geometry(MediaInfo(), 1, 0) is None
    assert Windows(warp=0.0).geometry(MediaInfo(), 1, 0) is not None
    text: Modality = BagOfWords()
    assert text.geometry(MediaInfo(), 0, 0) is None
