"""The data sides of a modality, a fusion and two outputs. None imports torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plait.config.registry import register
from plait.data.media import MediaInfo, load_bytes
from plait.fusion.base import Fusion
from plait.modalities.base import Facts, Modality
from plait.outputs.base import Output
from plait.outputs.scores import Scorer
from plait.types import BadCell, Geometry, Prediction, State
from plait_pointcloud.files import read_points

KINDS = "NPY, PLY"


@register("points", "point-net")
class PointNet(Modality):
    """Every point through one network, and their maximum (Qi et al. 2017, arXiv:1612.00593)."""

    facts = Facts(
        column_names=("points", "cloud", "scan"), example='"scan.ply"', files=KINDS,
        noun="a point cloud",
    )  # fmt: skip
    corruptions = ("noise",)

    width: Annotated[int, Field(ge=8, le=512, description="width of the token")] = 32
    points: Annotated[int, Field(ge=1, le=10_000, description="points read, at most")] = 256

    @classmethod
    def recognises(cls, cell: Any) -> str:
        return "certain" if str(cell).lower().endswith(".ply") else "no"

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The coordinates' deviation."""
        clouds = [read_points(self.content(cell, root)) for cell in cells if cell]
        return {"scale": float(np.concatenate(clouds).std()) or 1.0}

    def content(self, cell: Any, root: Path) -> bytes:
        return load_bytes(cell, root, KINDS)[0]

    def read(self, cell: Any, root: Path) -> NDArray[np.float32]:
        points = read_points(self.content(cell, root))
        every = -(-len(points) // self.points)
        return points[::every] / np.float32(self.state["scale"])

    def augment(self, item: NDArray[Any], view: int, seed: int) -> NDArray[Any]:
        """Odd views are mirrored at x = 0."""
        return item * np.array([-1, 1, 1], np.float32) if view % 2 else item

    def geometry(self, info: MediaInfo, view: int, seed: int) -> Geometry:
        x = -1.0 if view % 2 else 1.0
        return Geometry((x, 1.0, 1.0), (0.0, 0.0, 0.0), (np.inf,) * 3)

    def corrupt(self, item: NDArray[Any], kind: str, strength: int) -> NDArray[Any]:
        noise = np.random.default_rng(0).normal(0, 0.2 * strength, item.shape)
        return (item + noise).astype(np.float32)

    def example(self) -> NDArray[np.float32]:
        return np.zeros((self.points, 3), np.float32)

    def samples(self) -> list[Any]:
        header = "ply\nformat ascii 1.0\nelement vertex 2\n"
        header += "".join(f"property float {axis}\n" for axis in "xyz") + "end_header\n"
        return [f"{header}0 0 0\n1 {n} 1\n".encode() for n in (1, 2)]

    def fingerprint(self) -> str:
        return json.dumps(["point-net", 1, self.points, self.state])

    def encoder(self, pretrained: bool) -> Any:
        from plait_pointcloud.networks import PointEncoder

        return PointEncoder(self.width, self.points)


@register("fusion", "average")
class Average(Fusion):
    """The mean of the inputs that are present, through one layer."""

    width: Annotated[int, Field(ge=8, le=512, description="width of a token")] = 32

    def network(self, inputs: Sequence[str]) -> Any:
        from plait_pointcloud.networks import AverageNetwork

        return AverageNetwork(self.width)


@register("output", "position")
class Position(Output):
    """A place in space, of three columns; it moves with the points that it lies among."""

    columns = "several"
    bound = True
    mixup = False
    set_metrics = ("r2",)
    titles: ClassVar[Mapping[str, str]] = {"r2": "R²", "distance": "mean distance"}
    best_metrics: ClassVar[Sequence[str]] = ("r2",)

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        values = np.array([self.reference(cell, root) for cell in cells])
        return {"mean": values.mean(0).tolist(), "scale": float(values.std()) or 1.0}

    def read(self, cell: Any, root: Path) -> tuple[float, ...]:
        try:
            return tuple(float(value) for value in cell.values())
        except (TypeError, ValueError):
            raise BadCell(f"{cell!r} is no place", expected="three numbers") from None

    reference = read

    def move(self, target: Any, geometry: Geometry) -> Any:
        return tuple(s * x for s, x in zip(geometry.scale, target, strict=True))

    def samples(self) -> list[Any]:
        return [{"x": 0, "y": 0, "z": 0}, {"x": 1, "y": 2, "z": 3}]

    def example(self) -> Any:
        return (0.0, 0.0, 0.0)

    def decode(self, raw: Any, fitted: State, options: Any, steps: Any = None) -> list[Prediction]:
        mean, scale = np.array(self.state["mean"]), self.state["scale"]
        places = (raw["place"] * scale + mean).round(4).tolist()
        return [Prediction(tuple(place), 0.0) for place in places]

    def to_cell(self, value: Any) -> str:
        return " ".join(str(x) for x in value)

    def same(self, prediction: Prediction, value: Any) -> bool:
        return bool(np.linalg.norm(np.subtract(prediction.value, value)) < self.state["scale"] / 10)

    def scorer(self, predictions: Sequence[Prediction], references: Sequence[Any]) -> Scorer:
        truth = np.array(references, np.float64)
        away = np.linalg.norm(np.array([p.value for p in predictions]) - truth, axis=1)

        def score(rows: NDArray[np.int64]) -> dict[str, float]:
            spread = ((truth[rows] - truth[rows].mean(0)) ** 2).sum()
            return {
                "r2": float(1 - (away[rows] ** 2).sum() / max(spread, 1e-12)),
                "distance": float(away[rows].mean()),
            }

        return score

    def rightness(
        self, predictions: Sequence[Prediction], references: Sequence[Any]
    ) -> tuple[str, NDArray[np.float64]]:
        pairs = zip(predictions, references, strict=True)
        return "minus the distance", -np.array(
            [np.linalg.norm(np.subtract(p.value, r)) for p, r in pairs]
        )

    def head(
        self, width: int, inputs: Sequence[str], pretrained: bool, branches: Any = None
    ) -> Any:
        from plait_pointcloud.networks import VectorHead

        return VectorHead(width, 3, "place", self.state["mean"], self.state["scale"])


@register("output", "profile")
class Profile(Output):
    """An array of a file, as a picture or a field would be: its targets lie in the cache."""

    stored = True
    validated_by = "loss"
    mixup = False
    titles: ClassVar[Mapping[str, str]] = {"closeness": "1 / (1 + squared error)"}
    best_metrics: ClassVar[Sequence[str]] = ("closeness",)

    size: Annotated[int, Field(ge=1, description="numbers of a target")] = 8

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        return {}

    def content(self, cell: Any, root: Path) -> bytes:
        return load_bytes(cell, root, "NPY")[0]

    def read(self, cell: Any, root: Path) -> NDArray[np.float32]:
        with (root / cell).open("rb") as file:
            array: NDArray[np.float32] = np.load(file).astype(np.float32)
        if array.shape != (self.size,):
            raise BadCell(f"{cell} has shape {array.shape}", expected=f"({self.size},)")
        return array

    reference = read

    def collate(self, targets: Sequence[Any]) -> Any:
        return np.stack(targets)

    def samples(self) -> list[Any]:
        return ["", ""]

    def example(self) -> Any:
        return np.zeros(self.size, np.float32)

    def decode(self, raw: Any, fitted: State, options: Any, steps: Any = None) -> list[Prediction]:
        return [Prediction(tuple(row), 0.0) for row in raw["profile"].round(4).tolist()]

    def to_cell(self, value: Any) -> str:
        return " ".join(str(x) for x in value)

    def scorer(self, predictions: Sequence[Prediction], references: Sequence[Any]) -> Scorer:
        errors = ((np.array([p.value for p in predictions]) - np.stack(references)) ** 2).mean(1)
        return lambda rows: {"closeness": float((1 / (1 + errors[rows])).mean())}

    def rightness(
        self, predictions: Sequence[Prediction], references: Sequence[Any]
    ) -> tuple[str, NDArray[np.float64]]:
        score = self.scorer(predictions, references)
        each = [score(np.array([row]))["closeness"] for row in range(len(predictions))]
        return "closeness", np.array(each)

    def head(
        self, width: int, inputs: Sequence[str], pretrained: bool, branches: Any = None
    ) -> Any:
        from plait_pointcloud.networks import VectorHead

        return VectorHead(width, self.size, "profile", [0.0] * self.size, 1.0)
