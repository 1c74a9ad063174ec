"""Columns of Parquet and Arrow files, of what Hugging Face's ``datasets`` saved, and of the Hub.

What ``datasets`` writes beside the columns is understood everywhere: an image or sound is one cell,
and a class has its name.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from plait.data import lazy
from plait.data.lazy import (
    ArrowBlocks,
    ColumnBlocks,
    Columns,
    LazyColumn,
    column_sizes,
    map_arrow,
)
from plait.types import PlaitError
from plait.util.files import is_folder, located
from plait.util.imports import needed

PATIENCE = 10.0  # seconds to wait for the Hub
FEATURES = b"huggingface"  # the key of what datasets writes into a file's schema
SAVED, SAVED_SPLITS, SAVED_STATE = "dataset_info.json", "dataset_dict.json", "state.json"


def read_parquet(paths: Sequence[Path]) -> list[Columns]:
    """The columns of each Parquet file; a struct of ``bytes`` and ``path`` is one cell. Columns
    that are large in all files together stay in them (`plait.data.lazy`).

    Raises:
        PlaitError: a file is not Parquet, or pyarrow is not installed.
    """
    parquet = needed("pyarrow.parquet", "arrow")
    sizes = Counter[str]()
    files = []
    for path in paths:
        # The file's own schema: none of what the folders' names could say.
        file = _checked(path, "Parquet", parquet.ParquetFile)
        sizes.update(column_sizes(file, unique_names(file.schema_arrow.names, path)))
        files.append(file)
    small = {name for name, size in sizes.items() if size <= lazy.LARGE}

    def loaded(path: Path, file: Any) -> Any:
        names = [name for name in file.schema_arrow.names if name in small]
        return _checked(path, "Parquet", lambda _: file.read(names))

    return [
        _columns(path, file.schema_arrow, loaded(path, file), ColumnBlocks)
        for path, file in zip(paths, files, strict=True)
    ]


def read_arrow(paths: Sequence[Path]) -> list[Columns]:
    """The columns of each Arrow file (``.arrow``, ``.feather``); those that are large in all files
    together stay in them.

    Raises:
        PlaitError: a file is not Arrow, or pyarrow is not installed.
    """
    tables = [_checked(path, "Arrow", map_arrow) for path in paths]
    sizes = Counter[str]()
    for path, table in zip(paths, tables, strict=True):
        names = unique_names(table.column_names, path)
        sizes.update({name: table.column(name).nbytes for name in names})
    small = {name for name, size in sizes.items() if size <= lazy.LARGE}
    return [
        _columns(path, t.schema, t.select([n for n in t.column_names if n in small]), ArrowBlocks)
        for path, t in zip(paths, tables, strict=True)
    ]


def _columns(path: Path, schema: Any, loaded: Any, blocks: Callable[..., lazy.Blocks]) -> Columns:
    """The columns of a file: in memory those that are loaded, the others block by block."""
    columns: Columns = {}
    for name in schema.names:
        plain = _plain_of(schema, name)
        if name in loaded.column_names:
            columns[name] = list(map(plain, loaded.column(name).to_pylist()))
        else:
            parts = blocks(path, name, plain)
            columns[name] = LazyColumn(parts, range(len(parts)))
    return columns


def _checked(path: Path, kind: str, read: Callable[[Path], Any]) -> Any:
    """What ``read`` makes of the file; a damaged one is a PlaitError of one line."""
    pa = needed("pyarrow", "arrow")
    try:
        return read(path)
    except (pa.ArrowException, OSError) as error:
        why = str(error).splitlines()[0]
        raise PlaitError(f"{path} is not a valid {kind} file ({why})") from None


def unique_names(names: Sequence[str], path: Path) -> Sequence[str]:
    """The names of a table's columns; raises PlaitError if two of them are equal."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        what = f"{path} has two columns named {twice[0]!r}"
        raise PlaitError(what, expected="unique names", hint="rename one of them")
    return names


def _plain_of(schema: Any, column: str) -> Callable[[Any], Any]:
    """What makes a column's cells plain."""
    written = json.loads((schema.metadata or {}).get(FEATURES, b"{}"))
    names = _class_names(written.get("info", {}).get("features", {}).get(column))
    return partial(_class_name, names) if names else unwrapped


def _class_names(feature: Any) -> list[str] | None:
    """The names of the classes that a column holds, alone or in lists; None if it holds others."""
    if isinstance(feature, list):  # a list of one feature is a feature of lists
        return _class_names(feature[0]) if feature else None
    if not isinstance(feature, dict):
        return None
    if feature.get("_type") == "ClassLabel":
        return feature.get("names")
    return _class_names(feature.get("feature"))


def _class_name(names: Sequence[str], cell: Any) -> Any:
    if isinstance(cell, list):
        return [_class_name(names, item) for item in cell]
    return None if cell in (None, -1) else names[cell]  # unlabelled rows have -1 or None


def unwrapped(cell: Any) -> Any:
    """A cell without the Hub's wrapping: {bytes, path} becomes the one that is set."""
    if isinstance(cell, dict) and cell and cell.keys() <= {"bytes", "path"}:
        return cell.get("bytes") or cell.get("path")
    return cell


def is_saved(folder: Path) -> bool:
    """Whether ``datasets`` saved a data set, or several splits of one, in this folder."""
    one = all((folder / name).is_file() for name in (SAVED, SAVED_STATE))
    return one or (folder / SAVED_SPLITS).is_file()


def read_saved(folder: Path) -> list[tuple[str | None, Columns]]:
    """What ``Dataset.save_to_disk`` and ``DatasetDict.save_to_disk`` write: each part with the name
    of its split, if it has one.

    Raises:
        PlaitError: a file is missing or damaged.
    """
    if (folder / SAVED_SPLITS).is_file():
        splits = _written(folder / SAVED_SPLITS, "splits")
        return [(split, part) for split in splits for _, part in read_saved(folder / split)]
    files = _written(folder / SAVED_STATE, "_data_files")
    return [(None, part) for part in read_arrow([folder / f["filename"] for f in files])]


def _written(path: Path, key: str) -> Any:
    try:
        return json.loads(path.read_bytes())[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = str(error).splitlines()[0]
        raise PlaitError(f"{path} can't be read ({why})", hint="save the data set again") from None


def read_hub(name: str) -> tuple[str, list[dict[str, Any]]]:
    """Read a data set of the Hugging Face Hub.

    Args:
        name: ``NAME``, or ``NAME@REVISION`` for a branch, tag or commit; or a folder.

    Returns:
        The name with the commit that was read, if the Hub tells it; and the rows, each with its
        ``split``.

    Raises:
        PlaitError: the library datasets is not installed, or the data set can't be loaded.
    """
    library = needed("datasets", "hub")
    repository, revision = located(name)
    commit = None if is_folder(Path(repository)) else _commit(repository, revision)
    try:
        parts = library.load_dataset(repository, revision=commit or revision)
    except Exception as error:  # network, name, licence, disk: the library raises anything
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PlaitError(f"the data set hub:{name} can't be loaded ({why})") from error
    rows = [row for split in parts for row in _hub_rows(parts[split], split)]
    return f"{repository}@{commit}" if commit else name, rows


def _commit(repository: str, revision: str | None) -> str | None:
    """The commit that a revision is now; None if the Hub doesn't answer: a data set that was
    downloaded before can be read all the same."""
    hub = needed("huggingface_hub", "hub")
    with suppress(Exception):  # whatever its HTTP library raises, which is another in each version
        found: str = hub.dataset_info(repository, revision=revision, timeout=PATIENCE).sha
        return found
    return None


def _hub_rows(part: Any, split: str) -> Iterable[dict[str, Any]]:
    """The rows of one split, with media as files' bytes and classes by name."""
    classes = {}
    for name, feature in part.features.items():
        if type(feature).__name__ in {"Image", "Audio", "Video"}:
            part = part.cast_column(name, type(feature)(decode=False))
        elif type(feature).__name__ == "ClassLabel":
            classes[name] = feature.names
    for row in part:
        named = {name: _class_name(names, row[name]) for name, names in classes.items()}
        yield {"split": split, **row, **named}
