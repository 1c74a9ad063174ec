"""Folders as tables: how people lay out files, splits, classes and texts.

Each convention is a function in `CONVENTIONS`, which returns the parts of a folder that follows it,
and nothing for another folder; the first that knows a folder reads it.
"""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from plait.data.arrow_files import is_saved, read_arrow, read_parquet, read_saved
from plait.data.cells import COLUMN_NAMES, SUFFIX
from plait.data.images import IMAGE
from plait.data.lazy import Columns, LazyColumn, joined
from plait.data.paths import below, find_file, names_file, peek
from plait.data.readers import MEDIA, is_table_name, media_column, read_columns, read_text
from plait.data.split_column import SPLITS, find_split_column, split_in_name, split_of
from plait.data.values import mostly
from plait.render.numbers import counted
from plait.types import PlaitError
from plait.util.files import is_file

METADATA = tuple(
    f"{name}{suffix}"
    for name in ("metadata", "captions")
    for suffix in (".csv", ".jsonl", ".txt", ".tsv", ".parquet", ".csv.gz", ".jsonl.gz")
)
"""Tables beside the files that they name, the likeliest first."""
FLICKR30K = "results.csv"
PUBLISHED = (
    "Flickr8k.token.txt", "results_20130124.token", FLICKR30K, "dataset_coco.json",
    "dataset_flickr8k.json", "dataset_flickr30k.json",
)  # fmt: skip
"""Files of captions by the names under which data sets publish them."""
TEXT_FOLDERS = (".", "Flickr8k_text", "annotations", "data")
"""Where in a folder tables lie."""
MEDIA_FOLDERS = (
    "Images", "images", "Flicker8k_Dataset", "Flickr8k_Dataset", "../Flicker8k_Dataset",
    "../Images", "../images", "Flicker8k_Dataset/Flicker8k_Dataset", "..",
)  # fmt: skip
"""Where the files lie that a table names, seen from the table."""
LOOSE = (".json", ".txt")
"""Suffixes of tables and of much else."""
TEXTS = (".txt", ".caption")
"""Suffixes of a text beside a picture or sound."""
TEXT_NAMES = {"text", "texts", "txt", "caption", "captions", "transcript", "transcripts"}
"""Folders of texts whose pictures or sounds lie in another folder."""
SHARD = re.compile(r"-\d+-of-\d+\b|^part-\d+")  # the name of one of the parts of a table
FILES = 20  # cells examined to find the folder of their files
SUBFOLDERS = 200  # searched at most

log = logging.getLogger("plait")


class Part(NamedTuple):
    """What was read from one file of a folder, or from the folder itself.

    Attributes:
        path: the file or folder.
        columns: as they are written.
        root: the folder that relative paths in cells start from.
        split: that the part is, if its name says so.
        about: what the log says of it.
    """

    path: Path
    columns: Columns
    root: Path
    split: str | None = None
    about: Sequence[str] = ()

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(next(iter(self.columns.values()), ()))


@dataclass(frozen=True)
class Folder:
    """A folder and what is in it, hidden files left out; paths are relative to it, and sorted."""

    path: Path

    @cached_property
    def files(self) -> list[PurePosixPath]:
        """All files. Links are followed, but no folder is entered twice."""
        found, entered = list[PurePosixPath](), set[str]()
        for place, folders, names in os.walk(self.path, followlinks=True):
            entered.add(os.path.realpath(place))
            folders[:] = [
                name
                for name in folders
                if name[0] != "." and name != "__MACOSX"
                and os.path.realpath(os.path.join(place, name)) not in entered
            ]  # fmt: skip
            base = PurePosixPath(Path(place).relative_to(self.path).as_posix())
            found += [base / n for n in names if n[0] != "." and is_file(Path(place) / n)]
        return sorted(found)

    @cached_property
    def media(self) -> list[PurePosixPath]:
        """The images, sounds and videos."""
        return [file for file in self.files if media_column(file.name)]

    @property
    def tables(self) -> list[PurePosixPath]:
        """Files directly in the folder that can hardly be anything but tables."""
        return [file for file in self._named_as_tables if file.suffix.lower() not in LOOSE]

    @property
    def perhaps_tables(self) -> list[PurePosixPath]:
        """Files directly in the folder that may be tables, or something else."""
        return [file for file in self._named_as_tables if file.suffix.lower() in LOOSE]

    @property
    def tables_below(self) -> list[PurePosixPath]:
        """A few tables in folders of the folder, if there are media that they may name."""
        below = [f for f in self.files if len(f.parts) == 2 and is_table_name(f.name)]
        certain = [file for file in below if file.suffix.lower() not in LOOSE]
        return certain if self.media and len(certain) <= FILES else []

    @property
    def _named_as_tables(self) -> list[PurePosixPath]:
        return [file for file in self.files if len(file.parts) == 1 and is_table_name(file.name)]


def read_folder(path: Path) -> Part:
    """A folder's records, read by the first of `CONVENTIONS` that it follows. One line in the log
    says what was read, unless it is one table or files alone.

    Raises:
        PlaitError: a file is damaged, or there is nothing in the folder that could be read.
    """
    folder = Folder(path)
    for convention in CONVENTIONS:
        parts = convention(folder)
        if parts:
            return _joined(folder, parts)
    tables = [str(file) for file in folder.files if is_table_name(file.name)]
    if len(tables) > 1:
        raise PlaitError(
            f"the folder {path} has several tables: {', '.join(tables[:5])}",
            expected="one table, or one for each split (train.csv, test.csv)",
            hint=f"name one of them: {path / tables[0]}",
        )
    raise PlaitError(
        f"the folder {path} contains no images, sounds, videos or tables",
        expected=f"files ending in {', '.join(IMAGE.suffixes)} and so on, or a table",
        hint="choose another folder, or name the files",
    )


def read_part(path: Path, split: str | None = None, within: Path | None = None) -> Part:
    """A table in a file, with the folder in which the files lie that it names; ``within`` is the
    folder that is read, of which the table is a part."""
    columns = read_columns(path)
    return Part(path, columns, _root(columns, path, within), split)


def _root(columns: Columns, path: Path, within: Path | None) -> Path:
    return next((root for root in _roots(path, within) if file_columns(columns, root)), path.parent)


def _roots(path: Path, within: Path | None) -> Iterator[Path]:
    """Where the files may lie that a table names, the likeliest first."""
    folder = path.parent
    part = path.stem.rpartition("_")[2]  # COCO's train2017, of captions_train2017.json
    yield folder
    for name in (f"../{part}", part, f"../images/{part}", *MEDIA_FOLDERS):
        yield Path(os.path.normpath(folder / name))
    for place in (folder, within) if within else (folder,):
        yield place
        yield from islice(sorted(p for p in place.iterdir() if p.is_dir()), SUBFOLDERS)


def file_columns(columns: Columns, root: Path) -> list[str]:
    """The columns that name files in this folder, judged by a few cells."""
    return [
        name
        for name, cells in columns.items()
        if any(names_file(cell, root) for cell in _some_names(cells))
    ]


def _some_names(cells: Sequence[Any]) -> list[str]:
    """Some cells that may be names of files."""
    some = cells[:: max(1, len(cells) // FILES)][:FILES]
    if isinstance(cells, LazyColumn):  # from its start: to go through a large file takes long
        some = [cell for cell in islice(cells, 1) if isinstance(cell, str)] and cells[:FILES]
    return [cell for cell in some if isinstance(cell, str) and SUFFIX.search(str(peek(cell)))]


# Conventions ----------------------------------------------------------------------------------


def _saved(folder: Folder) -> list[Part]:
    """What ``save_to_disk`` of Hugging Face's datasets writes."""
    path = folder.path
    if not is_saved(path):
        return []
    return [Part(path, columns, path, split) for split, columns in read_saved(path)]


def _published(folder: Folder) -> list[Part]:
    """Captions under the name of their data set; of COCO, all splits."""
    for place in (folder.path / name for name in TEXT_FOLDERS):
        for path in (place / name for name in PUBLISHED):
            if path.is_file() and (path.name != FLICKR30K or b"comment_number" in _line(path)):
                return [read_part(path)]
        coco = sorted(place.glob("captions_*.json"))
        parts = [read_part(p, split) for p in coco if (split := split_in_name(p.name))]
        if parts:
            return parts
    return []


def _line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline(1000)


def _metadata(folder: Folder) -> list[Part]:
    """A table with a usual name, in the folder or in each of its sub-folders, as in the
    imagefolder, audiofolder and videofolder of Hugging Face's datasets."""
    for name in METADATA:
        if (folder.path / name).is_file():
            return _with_unnamed(folder, [read_part(folder.path / name)])
    tables: dict[PurePosixPath, str] = {}
    for name in METADATA:
        for file in folder.files:
            if file.name == name:
                tables.setdefault(file.parent, name)
    return _with_unnamed(folder, [
        read_part(folder.path / place / tables[place], _split_of_folders(place))
        for place in sorted(tables)
    ])  # fmt: skip


def _with_unnamed(folder: Folder, parts: list[Part]) -> list[Part]:
    """The parts, with a word on the files of the folder that they don't name."""
    named = {
        _normal(os.path.relpath(found, folder.path))
        for part in parts
        for name in file_columns(part.columns, part.root)
        for cell in part.columns[name]
        if isinstance(cell, str) and isinstance(found := find_file(cell, part.root), Path)
    }
    left = sum(_normal(str(file)) not in named for file in folder.media) if named else 0
    if left:
        note = f"{counted(left, 'file')} left out, as no row names them"
        parts[-1] = parts[-1]._replace(about=[note])
    return parts


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _parts_of_a_table(folder: Folder) -> list[Part]:
    """All Parquet or Arrow files; or text tables that are called as splits (``train.csv``) or
    numbered (``data-00000-of-00002.jsonl``)."""
    seen = [file for file in folder.files if file.name[0] != "_"]
    for suffix, read in ((".parquet", read_parquet), (".arrow", read_arrow)):
        files = [file for file in seen if file.suffix.lower() == suffix]
        if files:
            found = read([folder.path / file for file in files])
            return [_binary_part(folder, f, c) for f, c in zip(files, found, strict=True)]
    places = [PurePosixPath(place) for place in TEXT_FOLDERS]
    tables = [file for file in seen if file.parent in places and is_table_name(file.name)]
    named = [file for file in tables if _names_a_part(file)]
    several = len({split_in_name(file.name) for file in named}) > 1
    if several or any(split_of(_stem(file)) or SHARD.search(file.name) for file in named):
        parts = _tables_among(folder, named, certain=True)
        return [part._replace(split=split_in_name(part.path.name)) for part in parts]
    return []


def _tables_among(folder: Folder, files: Sequence[PurePosixPath], certain: bool) -> list[Part]:
    """The files that can be read as tables; whether a failure of other suffixes than `LOOSE` is an
    error, as they can only be tables that are damaged."""
    parts = []
    for file in files:
        try:
            parts.append(read_part(folder.path / file, within=folder.path))
        except PlaitError:
            if certain and file.suffix.lower() not in LOOSE:
                raise
    return parts


def _binary_part(folder: Folder, file: PurePosixPath, columns: Columns) -> Part:
    """A Parquet or Arrow file; the names of its folders may be columns, as in ``year=2024``."""
    path, rows = folder.path / file, len(next(iter(columns.values()), ()))
    pairs = (name.split("=", 1) for name in file.parent.parts if "=" in name)
    columns = columns | {name: [value] * rows for name, value in pairs if name not in columns}
    root = _root(columns, path, folder.path)
    return Part(path, columns, root, split_in_name(file.name) or _split_of_folders(file.parent))


def _names_a_part(file: PurePosixPath) -> bool:
    """Whether a table's name is that of a split or of a numbered part. JSON is often something
    else than a table, so it must be called as a split alone."""
    if file.suffix.lower() in TEXTS:
        return False
    if file.suffix.lower() == ".json":
        return split_of(re.sub(r"\d+", "", _stem(file))) is not None
    return split_in_name(file.name) is not None or SHARD.search(file.name) is not None


def _stem(file: PurePosixPath) -> str:
    """A file's name without all of its suffixes: ``train`` of ``train.csv.gz``."""
    return file.name.partition(".")[0]


def _librispeech(folder: Folder) -> list[Part]:
    """LibriSpeech: a chapter's sounds beside a file with each one's name and transcript."""
    chapters = [file for file in folder.files if file.name.endswith(".trans.txt")]
    sounds = {str(file.with_suffix("")): str(file) for file in folder.media if chapters}
    parts = []
    for file in chapters:
        lines = [line.partition(" ") for line in read_text(folder.path / file).splitlines()]
        said = {sounds.get(str(file.parent / name)): text for name, _, text in lines if text}
        said.pop(None, "")
        columns: Columns = {"audio": list(said), "text": list(said.values())}
        split = _split_of_folders(file.parent)
        parts.append(Part(folder.path / file, columns, folder.path, split))
    return parts


def _only_table(folder: Folder) -> list[Part]:
    """The only table in a folder or, if it names files there, in its sub-folders (``meta/a.csv``).
    JSON and text are often something else, and count where there is no other table."""
    files = folder.tables or folder.perhaps_tables or folder.tables_below
    parts = [
        part
        for part in _tables_among(folder, files, certain=len(files) == 1)
        if file_columns(part.columns, part.root) or (not folder.media and len(part.columns) > 1)
    ]
    if len(parts) != 1:
        return []
    [part] = _with_unnamed(folder, parts)
    return [part._replace(about=[part.path.name, *part.about])]


def _media(folder: Folder) -> list[Part]:
    """Images, sounds and videos: files that differ in the suffix alone are one row, with the text
    in a file beside them; folders name splits and classes."""
    rows: dict[str, dict[str, str]] = {}  # a file's name without suffix -> column -> file
    for file in folder.media:
        kind, key = media_column(file.name), str(file.with_suffix(""))
        key = str(file) if kind in rows.get(key, ()) else key
        rows.setdefault(key, {})[kind] = str(file)
    if not rows:
        return []
    columns: Columns = {
        kind: [row.get(kind) for row in rows.values()]
        for kind in MEDIA
        if any(kind in row for row in rows.values())
    }
    about = []
    texts = _texts_beside(folder, rows)
    if texts:
        columns["text"] = [texts.get(key) for key in rows]
        about.append(f"{counted(len(texts), 'text')} beside them")
    labels = _said_by_folders([PurePosixPath(key) for key in rows])[1]
    if labels:
        columns["label"] = labels
        about.append(f"{len(set(labels) - {None})} classes")
    others = [file for file in folder.files if file not in {*folder.media, *folder.tables}]
    kinds = Counter(
        file.suffix.lower() for file in others if file.suffix.lower() not in (".md", "")
    )
    if texts:
        kinds -= Counter({suffix: kinds[suffix] for suffix in TEXTS})
    unread = [*map(str, folder.tables[:5]), *(f"{n} {kind}" for kind, n in kinds.items() if n > 1)]
    if unread:
        about.append(f"not read: {', '.join(unread)}")
    return [Part(folder.path, columns, folder.path, about=about)]


def _texts_beside(folder: Folder, rows: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Row -> the text in ``0.txt`` or ``0.jpg.txt`` beside ``0.jpg``, or in ``captions/0.txt`` of
    ``images/0.jpg``. Several lines of an image are several captions."""
    owners = {file: key for key, row in rows.items() for file in row.values()}
    apart: dict[tuple[str, ...], list[str]] = {}  # names without one of their folders
    for key in rows:
        for rest in (PurePosixPath(key).parts, *(rest for _, rest in _without_folders(key))):
            apart.setdefault(rest, []).append(key)
    texts: dict[str, Any] = {}
    for file in folder.files:
        if file.suffix.lower() in TEXTS:
            name = str(file.with_suffix(""))
            owner = name if name in rows else owners.get(name)
            for place, rest in _without_folders(name):
                if owner is None and place.lower() in TEXT_NAMES and len(apart.get(rest, ())) == 1:
                    [owner] = apart[rest]
            if owner is not None:
                text = read_text(folder.path / file).strip()
                lines = [line.strip() for line in text.splitlines() if line.strip()]
                texts[owner] = lines if len(lines) > 1 and "image" in rows[owner] else text
    return texts


def _without_folders(name: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each folder in a file's name, and the other parts of the name."""
    parts = PurePosixPath(name).parts
    return ((part, parts[:at] + parts[at + 1 :]) for at, part in enumerate(parts[:-1]))


def _texts(folder: Folder) -> list[Part]:
    """Texts in a folder for each class: ``pos/0.txt``, ``train/neg/1.txt``."""
    files = [f for f in folder.files if f.suffix.lower() in TEXTS and len(f.parts) > 1]
    splits, classes = _said_by_folders(files)
    if classes is None:
        return []
    kept = [row for row, label in enumerate(classes) if label is not None]
    columns: Columns = {
        "text": [read_text(folder.path / files[row]) for row in kept],
        "label": [classes[row] for row in kept],
    }
    if splits:
        columns["split"] = [splits[row] for row in kept]
    return [
        Part(folder.path, columns, folder.path, about=[f"{len(set(columns['label']))} classes"])
    ]


def _unpacked(folder: Folder) -> list[Part]:
    """A folder with nothing but another folder, as archives are unpacked. Of one that holds files
    alone, their names start at the outer folder."""
    inside = [entry for entry in folder.path.iterdir() if entry.name[0] != "."]
    if len(inside) != 1 or not inside[0].is_dir():
        return []
    inner = Folder(inside[0])
    return next((parts for convention in CONVENTIONS[:-2] if (parts := convention(inner))), [])


CONVENTIONS: Sequence[Callable[[Folder], list[Part]]] = (
    _saved, _published, _metadata, _librispeech, _parts_of_a_table, _only_table, _unpacked, _media,
    _texts,
)  # fmt: skip
"""The first that knows a folder reads it."""


# What the names of folders say ----------------------------------------------------------------


def _split_of_folders(path: PurePosixPath) -> str | None:
    """The split that the innermost folder with such a name means."""
    return next((split for name in reversed(path.parts) if (split := split_in_name(name))), None)


def _said_by_folders(
    paths: Sequence[PurePosixPath],
) -> tuple[list[str | None] | None, list[str | None] | None]:
    """The split and the class of each file; None instead of either if the folders name none.

    One level of folders names splits if there are two or more of them; folders beside them keep
    their names. The innermost other level with several names is the class, if nearly all files lie
    equally deep; a split may do without classes.
    """
    parents = [path.parts[:-1] for path in paths]
    level = _split_level(parents)
    if level is None:
        return None, _classes(parents, [None] * len(paths))
    names = [p[level] if len(p) > level else None for p in parents]
    splits = [name and (split_in_name(name) or name) for name in names]
    return splits, _classes([p[:level] + p[level + 1 :] for p in parents], splits)


def _split_level(parents: Sequence[Sequence[str]]) -> int | None:
    for level in range(max(map(len, parents), default=0)):
        names = {p[level] for p in parents if len(p) > level}
        named = [split for name in names if (split := split_in_name(name))]
        if len(set(named)) > 1 and 2 * len(named) >= len(names):
            return level
    return None


def _classes(
    parents: Sequence[Sequence[str]], splits: Sequence[str | None]
) -> list[str | None] | None:
    depths = Counter(len(p) for p in parents if p)
    if not depths:
        return None
    [(depth, _)] = depths.most_common(1)
    as_deep: dict[str | None, list[bool]] = {}
    for p, split in zip(parents, splits, strict=True):
        as_deep.setdefault(split, []).append(len(p) == depth)
    if not all(mostly(sum(deep), len(deep)) for deep in as_deep.values() if any(deep)):
        return None
    for level in reversed(range(depth)):
        names = [p[level] if len(p) == depth else None for p in parents]
        if len(set(names) - {None}) > 1:
            return names
    return None


# Several parts as one table -------------------------------------------------------------------


def _joined(folder: Folder, parts: Sequence[Part]) -> Part:
    """The parts as one table, with their splits; the log says what was read."""
    first, others = parts[0], parts[1:]
    root = first.root if all(part.root == first.root for part in others) else folder.path
    cells = [_relative_to(root, part) for part in parts]
    names = dict.fromkeys(name for part in cells for name in part)
    columns: Columns = {
        name: joined([c.get(name, [None] * p.rows) for c, p in zip(cells, parts, strict=True)])
        for name in names
    }
    about = [note for part in parts for note in part.about]
    splits = None if "split" in columns or _has_split(columns) else _splits(parts, columns, root)
    rows = counted(sum(part.rows for part in parts), "row")
    if labels := _labels(parts, columns, root):
        columns["label"] = labels
        about.append(f"{len(set(labels) - {None})} classes")
    if splits:
        columns["split"] = splits
        rows = _of_splits(splits)
    elif others:
        rows += f" of {counted(len(parts), 'file')}"
    if splits or others or about:
        log.warning("%s: read %s", folder.path, "; ".join([rows, *about]))
    return Part(folder.path if others else first.path, columns, root)


def _relative_to(root: Path, part: Part) -> Columns:
    """The part's columns, with the names of files as seen from ``root``."""
    if part.root == root:
        return part.columns
    prefix = PurePosixPath(Path(os.path.relpath(part.root, root)).as_posix())
    named = [name for name in part.columns if re.fullmatch(r"(?i)(.*_)?file_names?", name)]

    def moved(cell: Any) -> Any:
        if isinstance(cell, list):
            return [moved(item) for item in cell]
        return below(prefix, cell) if isinstance(cell, str) and cell.strip() else cell

    return part.columns | {
        name: [moved(cell) for cell in part.columns[name]]
        for name in dict.fromkeys([*file_columns(part.columns, part.root), *named])
    }


def _has_split(columns: Columns) -> bool:
    samples = {
        name: [cell for cell in cells[:: max(1, len(cells) // FILES)] if cell is not None]
        for name, cells in columns.items()
        if not isinstance(cells, LazyColumn)
    }
    return find_split_column(samples) is not None


def _splits(parts: Sequence[Part], columns: Columns, root: Path) -> list[str | None] | None:
    """Each row's split: its part's; of a single part, that in the names of its files' folders."""
    if len({part.split for part in parts} - {None}) > 1:
        return [part.split for part in parts for _ in range(part.rows)]
    files = _files_of_rows(columns, root)
    return _said_by_folders(files)[0] if files else None


def _labels(parts: Sequence[Part], columns: Columns, root: Path) -> list[str | None] | None:
    """Each row's class in the names of its files' folders, for metadata that say nothing but texts:
    a table's own classes, whatever it calls them, go first."""
    said = {*columns} - {*file_columns(columns, root), *COLUMN_NAMES, "split"}
    if said or not {part.path.name for part in parts} <= {*METADATA}:
        return None
    files = _files_of_rows(columns, root)
    labels = _said_by_folders(files)[1] if files else None
    return labels if labels and 2 * len(set(labels)) <= len(labels) else None


def _files_of_rows(columns: Columns, root: Path) -> list[PurePosixPath]:
    """The first file that each row names; none if no column names files."""
    files = [columns[name] for name in file_columns(columns, root)]
    rows = zip(*files, strict=True)
    firsts = [next((cell for cell in cells if isinstance(cell, str)), "") for cells in rows]
    return [PurePosixPath(name) for name in firsts]


def _of_splits(splits: Iterable[str | None]) -> str:
    """``4 + 2 rows of the splits train, test``."""
    counts = Counter(split or "(none)" for split in splits)
    order = sorted(counts, key=lambda split: SPLITS.index(split) if split in SPLITS else 3)
    numbers = " + ".join(f"{counts[split]:,}" for split in order)
    return f"{numbers} rows of the splits {', '.join(order)}"
