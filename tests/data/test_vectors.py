"""Files of word vectors: every layout read, every damage told in one line."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from plait.data.vectors import read_vectors
from plait.types import PlaitError

WORDS = {"the": [1.0, -0.5, 0.25], "café": [0.0, 2.0, 1e-3], ". .": [3.0, 4.0, 5.0]}
LINES = [f"{word} {' '.join(map(str, vector))}" for word, vector in WORDS.items()]
GLOVE = "\n".join(LINES) + "\n"
FASTTEXT = f"3 3\n{GLOVE}".replace("\n", " \n").replace("3 3 \n", "3 3\n")


def binary(line_ends: bool) -> bytes:
    """As word2vec's program writes it."""
    written = b"2 3\n"
    for word in ("the", "café"):
        written += word.encode() + b" " + struct.pack("<3f", *WORDS[word]) + b"\n" * line_ends
    return written


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    "written",
    [GLOVE.encode(), GLOVE.replace("\n", "\r\n").encode(), FASTTEXT.encode(),
     binary(True), binary(False)],
    ids=["glove", "windows", "fasttext", "binary", "binary-unbroken"],
)  # fmt: skip
def test_every_layout(tmp_path: Path, written: bytes, zipped: bool) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(gzip.compress(written) if zipped else written)
    found = read_vectors(path, lambda number, word: True)
    assert list(found)[:2] == ["the", "café"]
    assert (". ." in found) == (b"5.0" in written)
    for word, vector in found.items():
        assert vector.dtype == np.float32
        np.testing.assert_array_equal(vector, np.float32(WORDS[word]))


def test_only_the_wanted_are_kept_and_of_repeats_the_first(tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    path.write_text("a 1\nb 2\na 3\nc 4\n")
    asked: list[tuple[int, str]] = []
    found = read_vectors(
        path, lambda number, word: bool(asked.append((number, word))) or word != "b"
    )
    assert asked == [(0, "a"), (1, "b"), (2, "a"), (3, "c")]
    assert {word: vector.tolist() for word, vector in found.items()} == {"a": [1.0], "c": [4.0]}


LONG = binary(True)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (b"", "are empty"),
        (b" \n", "are empty"),
        (b"a 1 2\nb 1 2 3\n", "line 2 has 3 numbers after the word instead of 2"),
        (b"a 1 2\nb 1\n", "line 2 has 1 numbers after the word instead of 2"),
        (b"a 1 2\n\nb 1 2\n", "line 2 has 0 numbers"),
        (b"2 2\na 1 2\nb 1\n", "line 3 has 1 numbers after the word instead of 2"),
        (b"2 2\na 1 2\n", "line 2 is the last of 2 words"),
        (b"a 1 2\nb 1 x\n", "line 2 could not convert string to float: b'x'"),
        (b"a 1 2\nb 1 nan\n", "line 2 has a number that is not finite"),
        (b"a 1 2\nb 1 1e39\n", "line 2 has a number that is not finite"),
        (b"a 1 2\nb\xff 1 2\n", "line 2 has a word that is not UTF-8"),
        (b"word\n", "line 1 has 0 numbers"),
        (b"3 9999\na 1\n", "line 1 claims vectors of 9999 numbers"),
        (b"x" * 300_000, "line 1 has 0 numbers"),
        (LONG[:-5], "word 2 of 2 is truncated"),
        (LONG[: LONG.index(b"caf") + 2], "word 2 of 2 is truncated"),
        (b"2 3\n" + b"\0" * 10_000, "word 1 of 2 has no end"),
        (b"2 1\na " + struct.pack("<f", float("nan")), "word 1 of 2 has a number that is not"),
        (pickle.dumps({"a": 1}), "is a pickle"),
        (b"PK\x03\x04rest", "is a zip archive"),
        (b"\xba\x16\x4f\x2f\0\0", "is a fastText model"),
        (b"\0\1\2\3", "contains no word vectors"),
        (gzip.compress(GLOVE.encode(), mtime=0)[:-12], "can't be read"),
        (b"\x1f\x8b\x08\0garbage", "can't be read"),
    ],
)  # fmt: skip
def test_damage_is_one_clear_line(tmp_path: Path, written: bytes, message: str) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(written)
    with pytest.raises(PlaitError, match=message) as caught:
        read_vectors(path, lambda number, word: True)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(path))


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path, "nul\0"):
        with pytest.raises(PlaitError, match="can't be read"):
            read_vectors(path, lambda number, word: True)
