"""Compares an exported model with the network it was made of; and cells of every kind to do so."""

from __future__ import annotations

import io
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from untrained import make_model

from plait.model import Model
from plait.runtime import load
from plait.runtime.export import export
from plait.types import Prediction

CLOSE = 1e-4
ROWS = 4


def photo(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (20 + number, 30, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def sound(number: int) -> bytes:
    soundfile = pytest.importorskip("soundfile", reason="needs the extra plait[audio]")
    rng, stream = np.random.default_rng(number), io.BytesIO()
    samples = rng.normal(0, 0.1, (3000, 1500, 150, 2400)[number])  # the third is below a frame
    soundfile.write(stream, samples, 8000, format="WAV")
    return stream.getvalue()


def series(number: int) -> Any:
    rows = np.random.default_rng(number).normal(5, 2, (7 + 5 * number, 3))
    rows[2:4, 1] = np.nan
    return rows.tolist()


CELLS: dict[str, list[Any]] = {
    "image": [photo(n) for n in range(ROWS)],
    "text": ["a dog runs", "two dogs run over a field, fast", "a cat", "a dog sits and looks"],
    "series": [series(n) for n in range(ROWS)],
    "table": [
        {"speed": 1.5, "colour": "red", "day": "2024-02-29"},
        {"speed": 3, "colour": "blue", "day": "2024-03-01 06:30"},
        {"speed": 4.25, "colour": None, "day": None},
        {"speed": 2, "colour": "red", "day": "2024-02-28"},
    ],
}


def same(mine: Prediction, wanted: Prediction) -> None:
    if isinstance(wanted.value, float):
        assert mine.value == pytest.approx(wanted.value, abs=CLOSE)
        assert (mine.details.interval is None) == (wanted.details.interval is None)
    else:
        assert mine.value == wanted.value
    assert mine.score == pytest.approx(wanted.score, abs=CLOSE)
    assert type(mine.details) is type(wanted.details)
    for name in ("probabilities", "detected"):
        one, other = (dict(getattr(p.details, name, {})) for p in (mine, wanted))
        assert one == pytest.approx(other, abs=CLOSE)
    assert getattr(mine.details, "words", ()) == getattr(wanted.details, "words", ())
    for one, other in zip(mine.alternatives, wanted.alternatives, strict=True):
        assert one.value == other.value
        assert one.score == pytest.approx(other.score, abs=CLOSE)


def captioner(representation: Mapping[str, Any], **settings: Any) -> Any:
    """An untrained model that describes a photo."""
    settings = {"min_count": 1, "max_length": 12} | settings
    return make_model(
        {"photo": {"modality": "image", "representation": dict(representation)}},
        {"said": {"kind": "text", "settings": settings}},
        {"photo": CELLS["image"], "said": CELLS["text"]},
        {"kind": "none", "width": 16},
    )


def check(model: Model, folder: Path, cells: Mapping[str, list[Any]], **options: Any) -> None:
    """Every record alone, and all together, each with other inputs missing."""
    exported = load(export(model, folder))
    names = list(cells)
    subsets = [s for s in product((True, False), repeat=len(names)) if any(s)]
    records = [
        {n: cells[n][row % len(cells[n])] for n, there in zip(names, subset, strict=True) if there}
        for row, subset in enumerate(subsets * 2)
    ]
    wanted = list(model.predict_batch(records, **options))
    alone = [next(exported.predict_batch([record], **options)) for record in records]
    together = list(exported.predict_batch(records, **options))
    for mine in (alone, together):
        for found, right in zip(mine, wanted, strict=True):
            assert found.keys() == right.keys()
            for name, prediction in right.items():
                same(found[name], prediction)
