"""The index of vectors: against a search written down plainly, and kept in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from plait.data import index as module
from plait.data.index import Index, Measure
from plait.types import PlaitError


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(200, 8))


@pytest.mark.parametrize("measure", ["cosine", "dot"])
def test_it_is_exact(
    measure: Measure, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SCORES_AT_ONCE", 450)  # two queries at a time
    names, queries = [f"v{n}" for n in range(200)], vectors[:5] + 0.1
    index = Index(measure)
    index.add(names[:120], vectors[:120])
    index.add(names[120:], vectors[120:])
    scores = queries @ vectors.T
    if measure == "cosine":
        scores /= np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(vectors, axis=1)
    found = index.search(queries, 7)
    assert [len(hits) for hits in found] == [7] * 5
    for hits, expected in zip(found, scores, strict=True):
        best = np.argsort(-expected)[:7]
        assert [hit.name for hit in hits] == [names[n] for n in best]
        assert [hit.score for hit in hits] == pytest.approx(expected[best], abs=1e-5)


def test_equal_ones_come_in_the_order_in_which_they_were_added() -> None:
    index = Index()
    index.add(["b", "a", "c"], np.array([[1, 0], [2, 0], [3, 0]]))
    for k in (1, 2, 3):
        assert [hit.name for hit in index.search(np.array([[5, 0]]), k)[0]] == ["b", "a", "c"][:k]
    assert index.search(np.array([[5, 0]]), 1)[0][0].score == 1


def test_fewer_than_asked_for_none_and_an_empty_index(vectors: np.ndarray) -> None:
    index = Index()
    assert index.search(vectors[:2], 3) == [[], []]
    index.add([4, "x"], vectors[:2])
    assert {hit.name for hit in index.search(vectors[:1], 10)[0]} == {4, "x"}
    assert index.search(vectors[:1], 0) == [[]]
    assert len(index) == 2


def test_a_vector_of_the_same_name_is_replaced_and_others_are_removed(vectors: np.ndarray) -> None:
    index = Index()
    index.add(["a", "b", "c"], vectors[:3])
    index.add(["b", "d", "d"], vectors[3:6])
    assert list(index) == ["a", "b", "c", "d"]
    assert index.search(vectors[3:4], 1)[0][0].name == "b"
    assert index["d"] == pytest.approx(vectors[5] / np.linalg.norm(vectors[5]))
    index.remove(["a", "nobody"])
    assert list(index) == ["b", "c", "d"]
    assert "a" not in index
    assert [index.search(vectors[n : n + 1], 1)[0][0].name for n in (3, 2, 5)] == ["b", "c", "d"]
    index.remove(["b", "c", "d"])
    index.add(["e"], np.ones((1, 3)))  # of another width, as nothing is left
    assert index.search(np.ones((1, 3)), 1)[0] == [("e", pytest.approx(1))]


def test_it_is_saved_and_read_back(vectors: np.ndarray, tmp_path: Path) -> None:
    index = Index("dot", model="abc")
    index.add(["ä", 7], vectors[:2])
    index.save(tmp_path / "folder" / "index.safetensors")
    again = Index.load(tmp_path / "folder" / "index.safetensors", model="abc")
    assert (list(again), again.measure, again.model) == (["ä", 7], "dot", "abc")
    assert again.search(vectors[:3], 2) == index.search(vectors[:3], 2)
    with pytest.raises(PlaitError, match=r"another model's vectors; expected the model xyz"):
        Index.load(tmp_path / "folder" / "index.safetensors", model="xyz")


@pytest.mark.parametrize("content", [None, b"", b"not an index"])
def test_a_file_that_is_missing_or_damaged(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "index.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PlaitError, match=r"can't be read.*build it again"):
        Index.load(path)


def test_mistakes(vectors: np.ndarray) -> None:
    index = Index()
    with pytest.raises(ValueError, match="3 names for 2 vectors"):
        index.add(["a", "b", "c"], vectors[:2])
    index.add(["a"], vectors[:1])
    for wrong in (vectors[:1, :4], vectors[0]):
        with pytest.raises(ValueError, match=r"expected \(N, 8\)"):
            index.search(wrong, 1)
    with pytest.raises(ValueError, match="not finite"):
        index.add(["b"], np.full((1, 8), np.nan))
