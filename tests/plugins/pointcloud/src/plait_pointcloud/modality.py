"""The modality ``points``: what plait knows of point clouds, without torch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plait.config.registry import register
from plait.data.cells import MediaInfo, load_bytes
from plait.modalities.base import Facts, Item, Match, Modality, item_generator
from plait.modalities.segments import Kept, Listing, Segments
from plait.types import BadCell, Geometry, PlaitError, State
from plait_pointcloud.files import KINDS, STARTS, SUFFIXES, read_points

OCTANTS = [f"{x}, {y}, {z}" for x in ("left", "right") for y in ("front", "back")
           for z in ("low", "high")]  # fmt: skip
"""The eight parts of a cloud, round its middle."""
MIRROR = np.array([-1, 1, 1], np.float32)


@register("points", "point-net")
class PointNet(Modality):
    """Every point through one network, and the maximum of each octant of the cloud."""

    facts = Facts(
        column_names=("points", "cloud", "scan"), example="'scan.ply'", files=KINDS,
        noun="a point cloud",
    )  # fmt: skip
    encoder_class = "plait_pointcloud.networks.PointEncoder"
    corruptions = ("noise",)
    fits_on_files = True

    width: Annotated[int, Field(ge=8, le=512, description="width of a token")] = 32
    points: Annotated[int, Field(ge=1, le=10_000, description="points read, at most")] = 256

    @classmethod
    def recognises(cls, cell: Any) -> Match:
        """By the start of a file, or by its name's end."""
        if isinstance(cell, bytes):
            return "certain" if cell.startswith(STARTS) else "no"
        return "certain" if isinstance(cell, str) and cell.lower().endswith(SUFFIXES) else "no"

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The size of a usual coordinate."""
        squares = []
        for cell in cells:
            with suppress(BadCell):  # `read` names them
                squares.append(float(np.square(read_points(*load_bytes(cell, root, KINDS))).mean()))
        if not squares:
            raise PlaitError("no training point cloud can be used")
        return {"scale": float(np.sqrt(np.mean(squares))) or 1.0}

    def read(self, cell: Any, root: Path) -> Item:
        """(N, 4): `parted` points, evenly chosen among the file's."""
        points = read_points(*load_bytes(cell, root, KINDS))
        every = -(-len(points) // self.points)
        return parted(points[::every] / self.state["scale"])

    def augment(self, item: Item, view: int, seed: int) -> Item:
        """Odd views are mirrored at x = 0."""
        return parted(item[:, :3] * MIRROR) if view % 2 else item

    def geometry(self, info: MediaInfo, view: int, seed: int) -> Geometry:
        """In the file's units, as targets are."""
        x = -1.0 if view % 2 else 1.0
        return Geometry((x, 1.0, 1.0), (0.0, 0.0, 0.0), (np.inf,) * 3)

    def corrupt(self, item: Item, kind: str, strength: int) -> Item:
        """Points out of place."""
        noise = item_generator(item).normal(0, 0.1 * strength, (len(item), 3))
        return parted(item[:, :3] + noise)

    def example(self) -> Item:
        """As many points as can be."""
        return np.zeros((self.points, 4), np.float32)

    def samples(self) -> list[Any]:
        """Two PLY files."""
        header = "ply\nformat ascii 1.0\nelement vertex 2\n"
        header += "".join(f"property float {axis}\n" for axis in "xyz") + "end_header\n"
        return [f"{header}0 0 0\n1 {n} 1\n".encode() for n in (1, 2)]

    def fingerprint(self) -> str:
        """What was learned, and how many points are read."""
        return json.dumps(["point-net", 1, self.points, self.state])

    def segments(self, cell: Any, root: Path) -> Segments:
        """The octants, which are the encoder's tokens too."""
        item = self.read(cell, root)
        octant = item[:, 3].astype(int)

        def perturb(kept: Kept) -> Item:
            return item[kept[octant]]

        counts = np.bincount(octant, minlength=len(OCTANTS)).tolist()
        return Listing([(name, f"{n} points") for name, n in zip(OCTANTS, counts, strict=True)],
                       perturb)  # fmt: skip


def parted(points: NDArray[Any]) -> NDArray[np.float32]:
    """(N, 3) -> (N, 4), with the octant that each point lies in."""
    octant = (points > np.median(points, axis=0)) @ (4, 2, 1)
    return np.column_stack([points, octant]).astype(np.float32)
