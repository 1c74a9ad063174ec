"""An index of vectors with names: the names of those that are most similar to a vector.

Search is exact, in numpy: about 50 milliseconds for a query among 100,000 vectors of width 512.
Another engine can take its place behind the same methods.

Shapes: N vectors, Q queries, D width.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from plait.types import PlaitError
from plait.util.files import write_atomically

Name: TypeAlias = str | int
Measure: TypeAlias = Literal["cosine", "dot"]
SCORES_AT_ONCE = 1 << 24  # of a query and a vector: 64 MB


class Hit(NamedTuple):
    """A vector that a search returned: its name, and its similarity to the query."""

    name: Name
    score: float


class Index:
    """Vectors of one model by name.

    >>> index = Index()
    >>> index.add(["cat", "dog"], np.array([[1.0, 0.0], [0.6, 0.8]]))
    >>> [hit.name for hit in index.search(np.array([[0.0, 1.0]]), 2)[0]]
    ['dog', 'cat']

    Attributes:
        measure: ``cosine``, -1 to 1, or the ``dot`` product.
        model: digest of what made the vectors; those of another model mean something else.
    """

    def __init__(self, measure: Measure = "cosine", model: str = "") -> None:
        self.measure: Measure = measure
        self.model = model
        self._rows: dict[Name, int] = {}
        self._vectors = np.zeros((0, 0), np.float32)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: Name) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[Name]:
        """The names, in the order in which they were added."""
        return iter(self._rows)

    def __getitem__(self, name: Name) -> NDArray[np.float32]:
        """(D,) a vector as it is kept: of length 1 where the measure is the cosine."""
        return self._vectors[self._rows[name]]

    def add(self, names: Sequence[Name], vectors: NDArray[np.floating]) -> None:
        """Add vectors; one whose name is there already takes the old one's place.

        Args:
            names: one for each vector.
            vectors: (N, D), finite.

        Raises:
            ValueError: the names and vectors differ in number, the width differs from before, or
                a number is not finite.
        """
        rows = self._prepared(vectors)
        if len(names) != len(rows):
            raise ValueError(f"{len(names)} names for {len(rows)} vectors")
        latest = {name: at for at, name in enumerate(names)}
        for name in latest.keys() & self._rows.keys():
            self._vectors[self._rows[name]] = rows[latest[name]]
        new = {name: at for name, at in latest.items() if name not in self._rows}
        if new:
            before = self._vectors.reshape(-1, rows.shape[1])
            self._vectors = np.concatenate([before, rows[list(new.values())]])
            self._rows |= {name: row for row, name in enumerate(new, start=len(before))}

    def remove(self, names: Iterable[Name]) -> None:
        """Remove the vectors of these names, as far as they are there."""
        gone = set(names)
        kept = [(name, row) for name, row in self._rows.items() if name not in gone]
        self._vectors = self._vectors[[row for _, row in kept]]
        self._rows = {name: row for row, (name, _) in enumerate(kept)}

    def search(self, vectors: NDArray[np.floating], k: int) -> list[list[Hit]]:
        """The ``k`` vectors (or all, if there are fewer) most similar to each query, (Q, D), the
        best first; of equal ones the one that was added first. Raises ValueError if the queries
        have another width than the index, or are not finite."""
        if not self._rows:
            return [[] for _ in vectors]
        queries, names = self._prepared(vectors), list(self._rows)
        step, hits = max(1, SCORES_AT_ONCE // len(names)), []
        for start in range(0, len(queries), step):
            for scores in queries[start : start + step] @ self._vectors.T:  # (N,) each
                places = np.arange(len(scores))
                if 0 < k < len(scores):
                    places = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
                places = places[np.argsort(-scores[places], kind="stable")][:k]
                if self.measure == "cosine":
                    scores = scores.clip(-1.0, 1.0)  # rounding goes a little beyond
                hits.append([Hit(names[at], float(scores[at])) for at in places])
        return hits

    def save(self, path: Path) -> None:
        """Write the index to one safetensors file; it holds no code. Raises PlaitError if the disk
        is full or the folder can't be written."""
        names = json.dumps(list(self._rows))
        about = {"names": names, "measure": self.measure, "model": self.model}
        write_atomically(path, lambda part: save_file({"vectors": self._vectors}, part, about))

    @classmethod
    def load(cls, path: Path, model: str = "") -> Index:
        """Read a saved index, of the model with this digest if one is given.

        Raises:
            PlaitError: the file is missing or damaged, or holds another model's vectors.
        """
        try:
            with safe_open(path, "numpy") as file:
                about, vectors = file.metadata() or {}, file.get_tensor("vectors")
            index = cls("dot" if about["measure"] == "dot" else "cosine", about["model"])
            index._rows = {name: row for row, name in enumerate(json.loads(about["names"]))}
            index._vectors = vectors
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            what = f"the index {path} can't be read: {error}"
            raise PlaitError(what, hint="remove it and build it again") from None
        if model and index.model != model:
            raise PlaitError(
                f"the index {path} holds another model's vectors",
                expected=f"the model {model}, it has {index.model or 'none'}",
                hint="build it again with this model",
            )
        return index

    def _prepared(self, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N, D) checked, and as they are kept."""
        rows = np.asarray(vectors, np.float64)
        width = self._vectors.shape[1] if self._rows else rows.shape[-1]
        if rows.ndim != 2 or rows.shape[1] != width:
            raise ValueError(f"vectors of shape {rows.shape}, expected (N, {width})")
        if not np.isfinite(rows).all():
            raise ValueError("a vector has a number that is not finite")
        if self.measure == "cosine":
            rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return rows.astype(np.float32)
