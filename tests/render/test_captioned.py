"""Pictures of photos with their captions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageFont

from plait.render import captioned as module
from plait.render.captioned import NARROWEST, PAPER, captioned, font_for, wrapped

FONT = ImageFont.load_default(20)


def photo(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), (10, 90, 160), np.uint8)


@pytest.mark.parametrize(("width", "height"), [(900, 300), (200, 600), (640, 480)])
def test_the_photo_keeps_its_shape_and_pixels(width: int, height: int) -> None:
    sheet = np.array(captioned(photo(width, height), ["a dog runs"]))
    assert sheet.shape[1] == max(width, NARROWEST)
    is_photo = (sheet == (10, 90, 160)).all(axis=-1)
    assert is_photo.sum() == width * height
    assert is_photo[:height].any(axis=0).sum() == width
    assert not is_photo[height:].any()


def written(sheet: np.ndarray) -> np.ndarray:
    """Which pixels are not paper."""
    return (sheet != PAPER).any(axis=-1)


def test_captions_stay_inside_and_more_take_more_room() -> None:
    long = "a man in a blue shirt and a hat is standing beside a dog " * 5
    heights = []
    for captions in (["a dog"], ["a dog", "a cat"], [long], [long, long, "x" * 400]):
        sheet = np.array(captioned(photo(480, 100), captions))
        text = written(sheet[100:])
        assert text.any()
        border = np.concatenate([text[:, :8].ravel(), text[:, -8:].ravel(), text[-8:].ravel()])
        assert not border.any()
        heights.append(len(sheet))
    assert heights == sorted(set(heights))


def test_a_note_is_smaller_than_a_caption() -> None:
    words = "film.mp4 0:00-0:04"
    plain, noted = (
        np.array(captioned(photo(480, 100), *a)) for a in ([["a", words]], [["a"], words])
    )
    assert len(noted) == len(plain)
    assert written(noted[100:]).any(axis=0).sum() < written(plain[100:]).any(axis=0).sum()


@given(st.text(alphabet="ab ", max_size=200), st.integers(30, 400))
def test_lines_are_narrow_and_nothing_is_lost(text: str, width: int) -> None:
    lines = list(wrapped(text, FONT, width))
    assert all(FONT.getlength(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_letters_that_the_usual_font_lacks_are_taken_from_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, truetype = list[str](), ImageFont.truetype

    class Other:
        def getmask(self, letter: str) -> bytes:
            return b"tofu" if letter == module.NO_LETTER else letter.encode()

    def other(name: Any, size: int, **how: Any) -> Any:
        if not isinstance(name, str):  # Pillow's own
            return truetype(name, size, **how)
        asked.append(name)
        if len(asked) == 1:
            raise OSError
        return Other()

    module._fonts.cache_clear()
    monkeypatch.setattr(module.ImageFont, "truetype", other)
    try:
        assert isinstance(font_for("Käse", 20), Other)
        assert asked == list(module.FONTS)
        assert not isinstance(font_for("cheese", 20), Other)
    finally:
        module._fonts.cache_clear()
