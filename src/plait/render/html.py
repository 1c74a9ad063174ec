"""Pages: one HTML file each, with its style inside it, that links to nothing.

Readable on a phone, light and dark, and on paper. Whatever comes from data is escaped by whoever
writes it into a page.
"""

from __future__ import annotations

import base64
import io
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

QUALITY = 82
STYLE = """
:root { color-scheme: light dark; --paper: #f6f5f2; --card: #fff; --ink: #1d1d22;
  --soft: #66666f; --line: #e2e0da; --good: #1f7a4d; --bad: #b3402e; --shade: #efede8;
  --for: #1f6fb2; --against: #d0641a; }
@media (prefers-color-scheme: dark) { :root { --paper: #16171b; --card: #202127; --ink: #ececf0;
  --soft: #a0a0ab; --line: #33343d; --good: #5cc28e; --bad: #ef8672; --shade: #191a1f;
  --for: #58a9ee; --against: #f09a52; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 2rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { margin: 0; font-size: 1.9rem; letter-spacing: -.02em; line-height: 1.2;
  overflow-wrap: anywhere; }
h2 { margin: 2.75rem 0 1rem; font-size: 1.25rem; }
.about { margin: .35rem 0 1.5rem; overflow-wrap: anywhere; color: var(--soft); }
figure { margin: 0; background: var(--card); border: 1px solid var(--line);
  border-radius: .8rem; overflow: hidden; break-inside: avoid; }
@media print { :root { color-scheme: light; --paper: #fff; --card: #fff; --ink: #000;
  --soft: #444; --line: #ccc; --good: #1f7a4d; --bad: #b3402e; --shade: #fff;
  --for: #1f6fb2; --against: #d0641a; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { padding: 0; max-width: none; font-size: 11pt; }
  h2 { break-after: avoid; } }
"""


def page(title: str, body: str, style: str = "") -> str:
    """A whole page; ``body`` and ``style`` are HTML and CSS already."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n"
        f"<body>\n{body}</body>\n</html>\n"
    )


def picture_uri(pixels: NDArray[np.uint8], side: int, quality: int = QUALITY) -> str:
    """(H, W, 3) -> a ``data:`` URI of a JPEG whose longer side is ``side`` at the most."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def signed(value: float, digits: int = 3) -> str:
    """With its sign; what rounds to nothing has none."""
    text = f"{value:+.{digits}f}"
    return text if text.strip("+-0.") else text[1:]


def shown(value: Any) -> str:
    """An answer as people are shown it: labels with commas, the rest as it is written."""
    if isinstance(value, (tuple, list)):
        return ", ".join(map(str, value)) or "(none)"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
