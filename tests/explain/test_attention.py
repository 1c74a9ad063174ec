"""Photos of any shape: attention and explanations lie on what the model saw of them."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import film
from PIL import Image

import plait
from plait.explain.attention import LARGEST_TILE, NARROWEST, TILE, Attention, laid_over
from plait.modalities.image.pixels import Pixels
from plait.modalities.segments import WHOLE, Grid, View
from plait.modalities.text.bag_of_words import BagOfWords
from plait.modalities.video.motion import Motion
from plait.types import Prediction

WIDE = (300, 100)  # pixels, across and down
MIDDLE: View = ((1 / 3, 2 / 3), (0.0, 1.0))  # what a crop leaves of it
MARGINS: View = ((0.0, 1.0), (-1.0, 2.0))  # what a letterbox shows


def photo(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("size", "resize", "view"),
    [
        ((300, 100), "squash", WHOLE),
        ((300, 100), "crop", MIDDLE),
        ((100, 400), "crop", ((0.0, 1.0), (0.375, 0.625))),
        ((4096, 1024), "crop", ((0.375, 0.625), (0.0, 1.0))),
        ((300, 100), "letterbox", MARGINS),
    ],
)
def test_a_photo_is_shown_in_its_own_shape(size: Any, resize: Any, view: View) -> None:
    modality = Pixels(size=64, resize=resize)
    picture = modality.picture(photo(*size), Path())
    scale = min(1, 1024 / max(size))
    assert picture.shape == (size[1] * scale, size[0] * scale, 3)
    np.testing.assert_allclose(modality.view(picture), view, atol=1e-6)


def test_other_cells_have_no_picture_and_are_seen_whole() -> None:
    words = BagOfWords()
    assert words.picture("a dog", Path()) is None
    assert words.view(np.zeros((10, 30, 3), np.uint8)) == WHOLE


def test_frames_of_a_video_are_shown_in_their_own_shape() -> None:
    clip = film([np.full((32, 96, 3), 20 * n, np.uint8) for n in range(6)])
    modality = Motion(frames=4, size=16)
    picture = modality.picture(clip, Path())
    assert picture.shape == (32, 96, 3)
    segments: Any = modality.segments(clip, Path())
    width, height = segments.size
    assert width / height == pytest.approx(3 * 4)  # four frames in a row
    assert segments.backdrop.shape[1] / segments.backdrop.shape[0] == pytest.approx(12)


def test_a_map_lies_on_what_the_model_saw() -> None:
    weights = np.zeros((4, 4))
    weights[1, 0] = 1.0  # left, above the middle
    for view, across, down in [
        (WHOLE, (0, 75), (25, 50)),
        (MIDDLE, (100, 125), (25, 50)),
        (((0.0, 1.0), (-0.5, 1.5)), (0, 75), (0, 50)),
    ]:
        light = laid_over(weights, view, WIDE[::-1])
        assert light.shape == (100, 300)
        rows, columns = np.nonzero(light > 0.5 * light.max())
        found = (columns.min(), columns.max() + 1), (rows.min(), rows.max() + 1)
        np.testing.assert_allclose(found, (across, down), atol=5)
    above = laid_over(np.roll(weights, -1, axis=0), MARGINS, WIDE[::-1])
    assert above.max() < 0.2


def test_outside_of_what_the_model_saw_it_is_dark() -> None:
    light = laid_over(np.ones((7, 7)), MIDDLE, WIDE[::-1])
    np.testing.assert_allclose(light[:, 100:200], 1, rtol=1e-6)
    assert not light[:, :100].any()
    assert not light[:, 200:].any()


class Looks:
    """An output whose words looked to the left."""

    def words(self, prediction: Prediction) -> list[str]:
        return ["left", "left"]

    def attention(self, prediction: Prediction) -> dict[str, np.ndarray]:
        return {"image": np.tile(np.array([1.0, 0.0, 0.0, 0.0], np.float32), (2, 1))}


@pytest.mark.parametrize(
    ("size", "longer"),
    [
        ((900, 300), LARGEST_TILE),
        ((300, 900), LARGEST_TILE),
        ((1000, 10), LARGEST_TILE),
        ((60, 60), TILE),
        ((400, 500), 500),
    ],
)
def test_the_tiles_have_the_shape_of_the_photo(size: tuple[int, int], longer: int) -> None:
    pixels = np.full((size[1], size[0], 3), 200, np.uint8)
    answer: Any = Looks()
    picture = Attention(answer, Prediction("left left", 0.0), "image", pixels, WHOLE, (2, 2))
    sheet = np.array(picture.picture())
    scale = longer / max(size)
    width, height = (max(1, round(side * scale)) for side in size)
    is_photo = (sheet == 200).all(axis=-1)
    first = is_photo[:, : max(width, NARROWEST) + 8]
    assert first.any(axis=0).sum() == width
    assert first.any(axis=1).sum() == height


@pytest.mark.parametrize(("count", "side"), [(10, LARGEST_TILE), (39, 500), (400, TILE)])
def test_the_tiles_of_long_answers_are_smaller(count: int, side: int) -> None:
    class Many(Looks):
        def words(self, prediction: Prediction) -> list[str]:
            return ["word"] * count

        def attention(self, prediction: Prediction) -> dict[str, np.ndarray]:
            return {"image": np.ones((count, 4), np.float32)}

    pixels, answer = np.full((700, 700, 3), 200, np.uint8), Prediction("", 0.0)
    many: Any = Many()
    sheet = Attention(many, answer, "image", pixels, WHOLE, (2, 2)).picture()
    assert sheet.width == 5 * (side + 8) + 8


def test_where_an_alternative_looked(trained: Path, squares: Path) -> None:
    model, cell = plait.load(trained), squares.with_name("000.png")
    best = model.predict(cell, num=3)
    looked = model.attention(cell, best)
    again = replace(best, details=replace(best.details, attention={}))
    np.testing.assert_allclose(model.attention(cell, again).maps, looked.maps, atol=1e-5)
    assert len(best.alternatives) == 2
    for other in best.alternatives:
        found = model.attention(cell, Prediction(other.value, other.score, details=other.details))
        assert len(found.maps) == len(found.words) == len(other.value.split())
        found.picture()


def test_an_explanation_lies_on_what_the_model_saw() -> None:
    segments: Any = Pixels(size=60, resize="crop").segments(photo(*WIDE), Path())
    assert segments.size == (336, 112)
    assert segments.backdrop.shape == (100, 300, 3)
    html = segments.drawing(np.ones(36), "id")
    tiles = [tuple(map(float, tile)) for tile in re.findall(r'x="([\d.]+)" y="([\d.]+)"', html)]
    assert len(tiles) == 36
    assert min(tiles) == (112, 0)
    assert max(tiles) == pytest.approx((112 + 5 / 6 * 112, 5 / 6 * 112), abs=0.1)
    assert "the model did not see this part" in html
    whole: Any = Pixels(size=60).segments(photo(*WIDE), Path())
    assert "did not see" not in whole.drawing(np.ones(36), "id")


def test_tiles_in_the_margin_of_a_letterbox_have_no_size() -> None:
    kept = np.zeros((10, 30, 3), np.uint8)
    grid = Grid(kept, (300, 100), [""] * 6, [""] * 2, lambda kept: kept, view=MARGINS)
    heights = re.findall(r'height="([\d.]+)" fill', grid.drawing(np.ones(12), "id"))
    assert [round(float(height) - 0.4) for height in heights[::2]] == [0, 0, 50, 50, 0, 0]
