"""The records that a report shows: each with a small picture, stored once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from plait.evaluation.results import Evaluation
from plait.explain.neighbours import Album, first_reference
from plait.render.html import picture_uri
from plait.render.numbers import number, shown

SIDE, QUALITY = 104, 72  # pixels of a small picture, and the quality of its JPEG
MOST_PICTURES = 320  # on a page: about a megabyte


@dataclass
class Gallery:
    """Collects the records that a page shows.

    Attributes:
        output: whose answers are shown.
        rightness: of each record's answer.
        records: what is shown of each record, by its position among those scored.
    """

    album: Album
    evaluation: Evaluation
    output: str
    rightness: list[float]
    records: dict[int, dict[str, Any]] = field(default_factory=dict)
    _pictures: int = 0

    def add(self, position: int) -> dict[str, Any]:
        """Add a record to the page, unless it is there."""
        if position not in self.records:
            row = self.evaluation.rows[position]
            text, pixels = self.album.look(row)
            reference = first_reference(self.evaluation.references[self.output][position])
            self.records[position] = {
                "name": self.album.name(row),
                "text": text,
                "answer": shown(self.evaluation.predictions[self.output][position].value),
                "expected": shown(reference),
                "score": number(self.rightness[position]),
                "picture": "",
            }
            if pixels is not None and self._pictures < MOST_PICTURES:
                self.records[position]["picture"] = picture_uri(pixels, SIDE, QUALITY)
                self._pictures += 1
        return self.records[position]
