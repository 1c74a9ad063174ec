"""A photo at its own shape: what whole models look at."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from plait.data.cells import MediaInfo
from plait.data.images import unpack_image
from plait.modalities.image.networks import OriginalEncoder
from plait.modalities.image.original import Original

HERE = Path()


def png(height: int, width: int) -> tuple[bytes, np.ndarray]:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue(), pixels


@pytest.mark.parametrize(("height", "width"), [(20, 50), (50, 20), (64, 64), (1, 7)])
def test_a_small_photo_is_read_as_it_is(height: int, width: int) -> None:
    cell, pixels = png(height, width)
    photo = Original(size=64)
    item = photo.read(cell, HERE)
    assert item.shape == (height, 64, 3)
    assert np.array_equal(item[:, :width], pixels)
    assert (item[:, width:] == -1).all()
    (row,) = OriginalEncoder(photo, True).prepare([torch.from_numpy(item)])
    assert (row.dtype, row.ndim) == (torch.int32, 1)
    followed = np.concatenate([row.numpy(), np.zeros(9), np.full(5, 1 << 20)]).astype(np.int64)
    assert np.array_equal(unpack_image(followed), pixels)


@pytest.mark.parametrize(
    ("height", "width", "shown"),
    [(200, 100, (64, 32)), (100, 200, (32, 64)), (300, 2, (64, 1)), (65, 64, (64, 63))],
)
def test_a_large_photo_keeps_its_shape(height: int, width: int, shown: tuple[int, int]) -> None:
    photo = Original(size=64)
    cell, pixels = png(height, width)
    seen = photo.picture(cell, HERE)
    assert seen.shape[:2] == shown
    assert seen.mean() == pytest.approx(pixels.mean(), abs=6)
    geometry = photo.geometry(MediaInfo(width, height), 0, 0)
    assert geometry is not None
    assert geometry.size == shown[::-1]
    assert np.multiply(geometry.scale, (width, height)).tolist() == pytest.approx(shown[::-1])


def test_views_corruptions_and_segments_stay_within_the_photo() -> None:
    photo = Original(size=64, views=2)
    cell, pixels = png(30, 40)
    item = photo.read(cell, HERE)
    mirror = photo.augment(item, 1, 7)
    assert np.array_equal(mirror[:, :40], pixels[:, ::-1])
    shown = photo.geometry(MediaInfo(40, 30), 1, 7)
    assert shown is not None
    assert (shown.scale[0], shown.shift[0]) == (-1.0, 40.0)
    worse = photo.corrupt(item, "noise", 3)
    assert 20 < np.abs(worse[:, :40].astype(int) - pixels).mean() < 80
    for changed in (mirror, worse):
        assert (changed[:, 40:] == -1).all()
        assert (changed[:, :40] >= 0).all()
    segments = photo.segments(cell, HERE)
    kept = np.ones(36, bool)
    assert np.array_equal(segments.perturb(kept), item)
    kept[0] = False
    hidden = segments.perturb(kept)
    assert (hidden[:5, :6] == pixels.mean(axis=(0, 1)).round()).all()
    assert np.array_equal(hidden[5:], item[5:])
    assert np.array_equal(hidden[:, 7:], item[:, 7:])


def test_other_outputs_see_the_mean_colour() -> None:
    photo = Original(size=64)
    encoder = OriginalEncoder(photo, True)
    cells = [png(20, 50), png(50, 20)]
    rows = encoder.prepare([torch.from_numpy(photo.read(cell, HERE)) for cell, _ in cells])
    batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    tokens = encoder(batch, torch.tensor([len(row) for row in rows]))
    for values, (_, pixels) in zip(tokens.values, cells, strict=True):
        wanted = pixels.mean(axis=(0, 1)) / 255
        assert values[0].tolist() == pytest.approx(wanted.tolist(), abs=0.003)
