"""HTML pages from templates: one file each, with its style and pictures inside, that links to
nothing.

Readable on a phone, in light and dark, and on paper. Templates escape every value; what is HTML
already is marked as such by whoever made it (`Markup`).
"""

from __future__ import annotations

import base64
import io
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from plait.render.numbers import number, shown, signed

if TYPE_CHECKING:
    from jinja2 import Environment

PACKAGE = Path(__file__).parents[1]
QUALITY = 82


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # slow to import

    environment = Environment(
        loader=FileSystemLoader(PACKAGE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": number, "shown": shown, "signed": signed}
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    return environment


def render(template: str, **values: Any) -> str:
    """Fill a template, named by its path within plait, such as ``report/report.html``."""
    return _environment().get_template(template).render(values)


def fill(template: str, macro: str, *values: Any, **named: Any) -> Markup:
    """Call one macro of a template."""
    return getattr(_environment().get_template(template).module, macro)(*values, **named)


def picture_uri(pixels: NDArray[np.uint8], side: int, quality: int = QUALITY) -> str:
    """(H, W, 3) -> a ``data:`` URI of a JPEG whose longer side is at most ``side``."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
