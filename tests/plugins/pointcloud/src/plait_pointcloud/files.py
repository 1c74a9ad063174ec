"""Point clouds from NPY and PLY files.

PLY is read as in Turk, "The PLY polygon file format" (1994), ASCII and binary, where the vertices
come first and have no lists.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.types import BadCell

KINDS = "NPY, PLY"
SUFFIXES = (".npy", ".ply")
STARTS = (b"\x93NUMPY", b"ply\n", b"ply\r\n")

HEADER = re.compile(rb"ply\r?\nformat (\w+) 1\.0\r?\n(.*?)end_header\r?\n", re.DOTALL)
TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2",
    "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8",
}  # fmt: skip
ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}


def read_points(data: bytes, name: str) -> NDArray[np.float32]:
    """(N, 3) of a file: an NPY file's array (N, 3 or more), or a PLY file's x, y and z.

    Args:
        data: the file.
        name: what messages call it.

    Raises:
        BadCell: it is no point cloud.
    """
    points: NDArray[Any] = read_ply(data, name) if data.startswith(b"ply") else read_npy(data, name)
    if points.ndim != 2 or points.shape[1] < 3 or not len(points):
        raise BadCell(f"{name} has shape {points.shape}", expected="(N, 3), N at least 1")
    with np.errstate(over="ignore"):
        points = points[:, :3].astype(np.float32)
    if not np.isfinite(points).all():
        raise BadCell(f"{name} has coordinates that are not finite", expected="numbers")
    return points


def read_npy(data: bytes, name: str) -> NDArray[Any]:
    """The array of an NPY file.

    Raises:
        BadCell: it is damaged, or none.
    """
    try:
        array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, MemoryError) as error:
        raise BadCell(f"{name} can't be read ({error})", expected="an NPY file") from None
    if array.dtype.kind not in "iuf":
        raise BadCell(f"{name} holds {array.dtype}", expected="numbers")
    return array


def read_ply(data: bytes, name: str) -> NDArray[np.float64]:
    """(N, 3) of a PLY file's x, y and z.

    Raises:
        BadCell: it is damaged, or has no such vertices.
    """
    try:
        header = HEADER.match(data)
        if header is None:
            raise ValueError("its header is damaged")
        lines = [line.split() for line in header[2].decode("ascii").splitlines()]
        element, *others = (words for words in lines if words[0] not in ("comment", "obj_info"))
        if element[:2] != ["element", "vertex"]:
            raise ValueError("its first element is not vertex")
        properties = takewhile(lambda words: words[0] == "property", others)
        fields = {axis: TYPES[kind] for _, kind, axis in properties}
        vertices = _vertices(header[1].decode(), fields, int(element[2]), data[header.end() :])
        return np.stack([vertices[axis].astype(np.float64) for axis in "xyz"], axis=1)
    except (ValueError, LookupError) as error:
        why = f"no {error}" if isinstance(error, KeyError) else error
        raise BadCell(f"{name} can't be read ({why})", expected="a PLY file") from None


def _vertices(form: str, fields: Mapping[str, str], count: int, body: bytes) -> Mapping[str, Any]:
    """Property -> (N,)."""
    if form == "ascii":
        rows = [line.split() for line in body.decode("ascii").splitlines()[:count]]
        columns = np.array(rows, np.float64).reshape(count, len(fields)).T
        return dict(zip(fields, columns, strict=True))
    packed = [(name, ORDERS[form] + kind) for name, kind in fields.items()]
    vertices = np.frombuffer(body, packed, count)
    return {name: vertices[name] for name in fields}
