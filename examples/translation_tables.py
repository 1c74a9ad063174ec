"""Make the tables of the recipe `translation-photo`: translations, their photos, words taken out.

    python examples/translation_tables.py with_images.jsonl [FOLDER]

The table has a sentence in English (en), in German (de), a photo (image) and its split. Written to
FOLDER (here) are `pairs.jsonl`, all of it, and `pairs_without_colours.jsonl` and
`pairs_without_nouns.jsonl`, the English with [v] for each colour, or for each person, animal and
thing, in train, val and test alike: what is gone is in the photo alone (Caglayan et al. 2019,
"Probing the Need for Visual Context in Multimodal Machine Translation", arXiv:1903.08678). Column
`hidden` counts the words taken out of a row. The nouns are WordNet's (pip install
'plait[wordnet]'): those whose commonest meaning is a living or a made thing, and which are no
commoner verbs.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tables import read_rows

from plait.outputs.text.metrics.wordnet import Nouns, find_nouns, lines

Row = dict[str, Any]
MASK = "[v]"
WORD = re.compile(r"[A-Za-z]+(?:-[A-Za-z]+)*")
COLOURS = {
    "black", "white", "red", "blue", "green", "yellow", "brown", "orange", "pink", "purple", "gray",
    "grey", "tan", "beige", "gold", "golden", "silver", "maroon", "turquoise", "teal", "navy",
    "violet", "blond", "blonde", "brunette", "redheaded",
}  # fmt: skip
LIVING_OR_MADE = {"00004258", "00021939"}  # WordNet 3.0's living thing and artefact
VERB_ENDS = (("", ""), ("s", ""), ("es", ""), ("ing", ""), ("ing", "e"), ("ed", ""), ("d", ""))


def is_colour(word: str) -> bool:
    """Of skin and hair too, as they are said of people; also within red-haired."""
    return not COLOURS.isdisjoint(word.lower().split("-"))


class Things:
    """Tells words for living and made things from others."""

    def __init__(self, known: Nouns) -> None:
        self.nouns = known
        self.noun_counts = _counts(known.folder / "index.noun")
        self.verb_counts = _counts(known.folder / "index.verb")
        self.is_thing = cache(self._is_thing)

    def __call__(self, word: str) -> bool:
        """Of a compound its last part says what it is."""
        return self.is_thing(word.lower().split("-")[-1])

    def _is_thing(self, word: str) -> bool:
        meanings = self.nouns.meanings(word)
        if not meanings or LIVING_OR_MADE.isdisjoint(self.nouns.above(meanings[0])):
            return False
        forms = [word.removesuffix(e) + instead for e, instead in VERB_ENDS if word.endswith(e)]
        as_noun, as_verb = (
            max(counts.get(form, 0) for form in forms)
            for counts in (self.noun_counts, self.verb_counts)
        )
        return as_verb <= as_noun


def _counts(index: Path) -> dict[str, int]:
    """Word -> how many of its meanings turned up in the texts that WordNet's authors read."""
    rows = (line.split() for line in lines(index))
    return {row[0]: int(row[-int(row[2]) - 1]) for row in rows}


def without(rows: list[Row], is_hidden: Callable[[str], bool]) -> Iterator[Row]:
    """The rows with [v] for such words, and how many of them."""
    for row in rows:
        hidden = [word for word in WORD.findall(row["en"]) if is_hidden(word)]
        english = WORD.sub(lambda found: MASK if is_hidden(found[0]) else found[0], row["en"])
        yield {**row, "en": english, "hidden": len(hidden)}


def read(source: str) -> Iterator[Row]:
    """The table's rows, the photos named where they lie."""
    rows, root = read_rows(source, "image", "split", "en", "de")
    for row in rows:
        split = str(row["split"]).split("_")[0]  # test_2016_flickr
        yield row | {"image": str((root / row["image"]).resolve()), "split": split}


def main(source: str, folder: str = ".") -> None:
    """Write the tables, and say what is in them."""
    rows, target = list(read(source)), Path(folder)
    known = find_nouns()
    if known is None:
        raise SystemExit("this needs WordNet: pip install 'plait[wordnet]'")
    tables = {
        "pairs": without(rows, lambda word: False),
        "pairs_without_colours": without(rows, is_colour),
        "pairs_without_nouns": without(rows, Things(known)),
    }
    target.mkdir(parents=True, exist_ok=True)
    for name, changed in tables.items():
        written = list(changed)
        text = (json.dumps(row, ensure_ascii=False) + "\n" for row in written)
        (target / f"{name}.jsonl").write_text("".join(text), encoding="utf-8")
        touched, hidden = (
            sum(row["hidden"] > 0 for row in written),
            sum(r["hidden"] for r in written),
        )
        print(f"{target / name}.jsonl: {len(written)} pairs, {hidden} words taken out of {touched}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit("usage: python examples/translation_tables.py with_images.jsonl [FOLDER]")
    main(*sys.argv[1:])
