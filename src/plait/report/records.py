"""The records that a report shows: small pictures once each, wherever they are shown."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html import escape
from typing import Any

from plait.evaluation.results import Evaluation
from plait.explain.neighbours import Album
from plait.package.card import number
from plait.render.html import picture_uri, shown

SIDE, QUALITY = 104, 72  # pixels of a small picture, and of its JPEG
PICTURES = 320  # in a page at the most: about a megabyte


@dataclass
class Gallery:
    """Collects what a page shows of its records.

    Attributes:
        output: whose answers are shown.
        rightness: of each record's answer.
    """

    album: Album
    found: Evaluation
    output: str
    rightness: list[float]
    kept: dict[int, dict[str, Any]] = field(default_factory=dict)
    pictures: int = 0

    def add(self, position: int) -> int:
        """Keeps a record for the page; gives its position among those scored, its name there."""
        if position not in self.kept:
            row = self.found.rows[position]
            text, pixels = self.album.look(row)
            record = {
                "name": self.album.name(row),
                "text": text,
                "answer": shown(self.found.predictions[self.output][position].value),
                "right": shown(first_right(self.found.references[self.output][position])),
                "score": number(self.rightness[position]),
            }
            if pixels is not None and self.pictures < PICTURES:
                record["picture"] = picture_uri(pixels, SIDE, QUALITY)
                self.pictures += 1
            self.kept[position] = record
        return position

    def script(self, name: str) -> str:
        """The records for the page's script, as JSON that can't end its element."""
        text = json.dumps(self.kept, ensure_ascii=False).replace("<", "\\u003c")
        return f'<script type="application/json" id="{name}">{text}</script>'

    def card(self, position: int) -> str:
        """One record, to be read without a script."""
        record = self.kept[self.add(position)]
        picture = f'<img src="{record["picture"]}" alt="">' if "picture" in record else ""
        text = f"<p>{escape(record['text'])}</p>" if record["text"] else ""
        return (
            f"<figure>{picture}<figcaption><strong>{escape(record['answer'])}</strong>"
            f"<span>right: {escape(record['right'])}</span>{text}"
            f"<small>{escape(record['name'])}, {record['score']}</small></figcaption></figure>"
        )


def first_right(reference: Any) -> Any:
    """A right answer; the first where there are several."""
    return reference[0] if isinstance(reference, list) else reference
