"""Point clouds from NPY and PLY files."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from plait.types import BadCell

TYPES = {"float": "f4", "float32": "f4", "double": "f8", "float64": "f8", "uchar": "u1",
         "uint8": "u1", "int": "i4", "short": "i2", "ushort": "u2", "uint": "u4"}  # fmt: skip


def read_points(raw: bytes) -> NDArray[np.float32]:
    """(N, 3) float32 of an NPY file's array (N, 3 or more), or of a PLY file's x, y and z."""
    try:
        points = _ply(raw) if raw.startswith(b"ply") else np.load(io.BytesIO(raw))
    except (ValueError, KeyError, IndexError, EOFError) as error:
        raise BadCell(f"the point cloud can't be read: {error}", expected="NPY or PLY") from None
    if points.ndim != 2 or points.shape[1] < 3 or not len(points):
        raise BadCell(f"the array has shape {points.shape}", expected="(N, 3), N at least 1")
    if not np.isfinite(points[:, :3]).all():
        raise BadCell("some coordinates are not finite", expected="numbers")
    return points[:, :3].astype(np.float32)


def _ply(raw: bytes) -> NDArray[np.float64]:
    """Turk, "The PLY polygon file format" (1994); ASCII and binary, the element "vertex" first."""
    header, _, body = raw.partition(b"end_header\n")
    lines = [line.split() for line in header.decode("ascii").splitlines()]
    form = next(words[1] for words in lines if words[0] == "format")
    elements = [words for words in lines if words[0] == "element"]
    if elements[0][1] != "vertex":
        raise ValueError("its first element is not vertex")
    count, fields = int(elements[0][2]), []
    for words in lines[lines.index(elements[0]) + 1 :]:
        if words[0] != "property":
            break
        fields.append((words[2], TYPES[words[1]]))
    names = [name for name, _ in fields]
    columns = [names.index(axis) for axis in "xyz"]
    if form == "ascii":
        rows = [line.split() for line in body.decode("ascii").splitlines()[:count]]
        return np.array(rows, np.float64)[:, columns]
    order = "<" if form == "binary_little_endian" else ">"
    vertices = np.frombuffer(body, [(name, order + kind) for name, kind in fields], count)
    return np.stack([vertices[axis].astype(np.float64) for axis in "xyz"], axis=1)
