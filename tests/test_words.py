"""Plain English, one word for one thing: old names and phrases must not come back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "plait"
TEXTS = {".py", ".js", ".html", ".css", ".yaml", ".md"}

# Old names of things, nowhere any more.
GONE = [r"\bUnlearned\b", r"\bBadCells\b", r"\bExtent\b", r"\bLayout\b", r"\bNumbering\b"]
# Turns of phrase that no native writer would use.
PHRASES = [
    r"\bat the (most|least)\b",
    r"\b(is|are) told\b",
    r"(?<!there )\bis none\b(?! (else|%))",
    r"\bsuch of\b",
    r"\bnone such\b",
    r"\bmend(ed|s|ing)?\b",
    r"\bcalled so\b",
    r"\bso called\b",
    r"\bbe had\b",
    r"\banew\b",
    r"(?i)(?<!there )\bis no (?!longer\b|less\b|more\b)",
    r"\bmakes? (a )?text of\b",
    r"\bwhere there (is|are) none\b",
    r"\bgoes on\b",
    r"\bgoing on\b",
]


def files(*paths: Path) -> list[Path]:
    inside = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))]
    return sorted(file for file in inside if file.suffix in TEXTS)


def uses(word: str, paths: list[Path]) -> list[str]:
    pattern = re.compile(word)
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize("word", GONE)
def test_old_names_are_gone(word: str) -> None:
    assert not uses(word, files(SOURCE, ROOT / "docs", ROOT / "README.md"))


@pytest.mark.parametrize("phrase", PHRASES)
def test_texts_are_plain(phrase: str) -> None:
    assert not uses(phrase, files(SOURCE, ROOT / "docs", ROOT / "README.md"))


def test_the_glossary_names_each_word_once() -> None:
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs" / "glossary.md").read_text(), re.M)
    words = [word.strip() for row in rows for word in row.split(",") if row != "word"]
    words = [word for word in words if not word.startswith("---")]
    assert len(words) > 70
    assert len(set(words)) == len(words)
