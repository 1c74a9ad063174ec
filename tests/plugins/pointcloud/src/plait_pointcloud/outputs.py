"""The outputs ``position`` and ``profile``, with a metric of their own: the mean distance."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plait.config.registry import register
from plait.data.cells import load_bytes
from plait.outputs.base import Output, RawOutputs, Steps
from plait.outputs.scores import Metrics
from plait.types import BadCell, Branches, Geometry, PlaitError, Prediction, State
from plait_pointcloud.files import read_npy

if TYPE_CHECKING:
    from plait_pointcloud.networks import VectorHead

Place: TypeAlias = tuple[float, ...]
DIGITS = 4


class Distances(Metrics):
    """The share of the spread that is explained, and the mean distance."""

    titles = {"r2": "R²", "distance": "mean distance"}
    best_metrics = ("r2",)
    set_metrics = ("r2",)

    def __init__(self, answers: Sequence[Prediction], references: Sequence[Any]) -> None:
        super().__init__(answers, references)
        self.right = np.array(references, np.float64)
        self.away = distances(answers, references)

    def __call__(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """The scores of these records."""
        right, away = self.right[rows], self.away[rows]
        spread = np.square(right - right.mean(0)).sum()
        lost = np.square(away).sum() / max(spread, 1e-12)
        return {"r2": float(1 - lost), "distance": float(away.mean())}

    def rightness(self) -> tuple[str, NDArray[np.float64]]:
        """The distance, negative."""
        return "minus the distance", -self.away


class Vector(Output):
    """Several numbers at once, in one step, of which the mean and the deviation are learned."""

    mixup = False
    shows_score = False
    scored_by = Distances

    near: Annotated[
        float, Field(gt=0, description="within so many deviations it is the same answer")
    ] = 0.2

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The mean of each number, and one deviation of all."""
        targets = []
        for cell in cells:
            with suppress(BadCell):  # `read` names them
                targets.append(self.read(cell, root))
        if not targets:
            raise PlaitError("no training row has a target that can be used")
        deviation = float(np.std(targets, axis=0).mean())
        return {"mean": np.mean(targets, axis=0).tolist(), "deviation": deviation or 1.0}

    def decode(
        self, raw: RawOutputs, fitted: State, options: Any, steps: Steps | None = None
    ) -> list[Prediction]:
        """The numbers, rounded."""
        rows = raw["numbers"].astype(np.float64).round(DIGITS).tolist()
        return [Prediction(tuple(row), 0.0) for row in rows]

    def to_cell(self, value: Any) -> str:
        """The numbers, with spaces between."""
        return " ".join(map(str, value))

    def same(self, prediction: Prediction, value: Any) -> bool:
        """Whether they are `near`."""
        return bool(distances([prediction], [value])[0] <= self.near * self.state["deviation"])

    def head(
        self, width: int, inputs: Sequence[str], pretrained: bool, branches: Branches | None = None
    ) -> VectorHead:
        """One layer."""
        from plait_pointcloud.networks import VectorHead

        return VectorHead(width, self.state["mean"], self.state["deviation"])


@register("output", "position")
class Position(Vector):
    """A place in space, of three columns; it moves with the points that it lies among."""

    columns = "several"
    bound = True

    def read(self, cell: Any, root: Path) -> Place:
        """Three numbers, of three columns or with spaces between."""
        try:
            place = tuple(map(float, cell.split() if isinstance(cell, str) else cell.values()))
        except (AttributeError, TypeError, ValueError):
            place = ()
        if len(place) != 3 or not np.isfinite(place).all():
            raise BadCell(f"{cell!r} is no place", expected="three numbers")
        return place

    def move(self, target: Place, geometry: Geometry) -> Place:
        """As its cloud moves."""
        moved = zip(geometry.scale, target, geometry.shift, strict=True)
        return tuple(scale * x + shift for scale, x, shift in moved)

    def samples(self) -> list[Any]:
        """Two places."""
        return [{"x": 0, "y": 0, "z": 0}, {"x": 1, "y": 2, "z": 3}]

    def example(self) -> Place:
        """The origin."""
        return (0.0, 0.0, 0.0)


@register("output", "profile")
class Profile(Vector):
    """A curve in an NPY file, as a picture or a field would be: its targets are cached."""

    media = True
    stored = True

    size: Annotated[int, Field(ge=1, description="numbers of a curve")] = 8

    def content(self, cell: Any, root: Path) -> bytes:
        """The file."""
        return load_bytes(cell, root, "NPY")[0]

    def read(self, cell: Any, root: Path) -> NDArray[np.float32]:
        """(K,) of a file."""
        data, name = load_bytes(cell, root, "NPY")
        curve = read_npy(data, name).astype(np.float32)
        if curve.shape != (self.size,) or not np.isfinite(curve).all():
            raise BadCell(f"{name} has shape {curve.shape}", expected=f"({self.size},), all finite")
        return curve

    def samples(self) -> list[Any]:
        """Two files."""
        return [npy_bytes(np.full(self.size, height)) for height in (0.0, 1.0)]

    def example(self) -> NDArray[np.float32]:
        """A flat curve."""
        return np.zeros(self.size, np.float32)


def distances(predictions: Sequence[Prediction], references: Sequence[Any]) -> NDArray[np.float64]:
    """(N,) between each answer and the right one."""
    answers = np.array([prediction.value for prediction in predictions], np.float64)
    return np.linalg.norm(answers - np.array(references, np.float64), axis=1)


def npy_bytes(values: NDArray[Any]) -> bytes:
    """An NPY file."""
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()
