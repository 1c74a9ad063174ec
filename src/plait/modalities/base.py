"""The contract of a modality: how a cell becomes an array, and the facts that others ask for.

This is the data side: numpy only. The network side of a representation, its `Encoder`, lies in the
folder's module ``networks``, which `Modality.encoder` imports.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plait.config.registry import Component
from plait.data.cells import MediaInfo, file_type, load_bytes
from plait.modalities.segments import WHOLE, Kept, Listing, Segments, View
from plait.types import Geometry, State
from plait.util.imports import load

if TYPE_CHECKING:
    from plait.nn.base import Encoder

Item: TypeAlias = NDArray[Any]
"""One record as it is read, (L, ...)."""
Match = Literal["certain", "possible", "no"]
"""Whether a cell can only be of a modality, may be, or can't."""
SequenceKind = Literal["gru", "cnn", "transformer"]
"""The networks that read tokens in order."""

# Settings that several modalities have.
Views = Annotated[int, Field(ge=1, le=16, description="augmented versions to cache")]
Width = Annotated[int, Field(ge=8, le=2048, description="width of a token")]
Dropout = Annotated[float, Field(ge=0, lt=1, description="dropout")]
SequenceEncoderKind = Annotated[
    SequenceKind, Field(description="what encodes the sequence of tokens")
]
MeanOrSequence = Annotated[
    Literal["mean", "gru", "cnn", "transformer"],
    Field(description="what encodes the sequence of tokens; mean: their mean, as one token"),
]
Layers = Annotated[int, Field(ge=1, le=12, description="layers of the sequence encoder")]


@dataclass(frozen=True)
class Facts:
    """What the rest of plait asks of a modality as a whole, the same for its representations.

    Attributes:
        column_names: usual names of its column, the likeliest first.
        example: a cell, as Python writes it, for messages.
        files: the kinds of file that a cell may be, for messages; empty if cells are not files.
        accept: the media type of these files.
        also: suffixes and media types that a browser may not count among them, for the web page.
        noun: what the web page calls one of them, with its article.
        widget: how the web page asks for a cell.
        hub_tasks: `Output.answer_type` -> what the Hub calls a model of this one input.
        request: how the assistant asks for a cell that the user has not given.
        given_by: how the user gives the assistant one: in a message, or by a command of its own.
    """

    column_names: tuple[str, ...] = ()
    example: str = "..."
    files: str = ""
    accept: str = "application/octet-stream"
    also: tuple[str, ...] = ()
    noun: str = "a file"
    widget: Literal["file", "text", "columns"] = "file"
    hub_tasks: Mapping[str, str] = field(default_factory=dict)
    request: str = ""
    given_by: Literal["message", "command"] = "message"


class Modality(Component, ABC):
    """One representation of one kind of input: how a cell becomes an array.

    A subclass declares its settings as fields. `fit` learns from the training column;
    ``with_state`` binds what it returned, and everything below `fit` may use it as ``self.state``.
    """

    is_modality = True
    facts: ClassVar[Facts] = Facts()
    """Of the modality as a whole; declared on the base class of its representations."""
    encoder_class: ClassVar[str]
    """Full name of the `Encoder`, which is built from the modality and ``pretrained``."""
    vector_class: ClassVar[str] = "plait.nn.base.MeanVectors"
    """Full name of the `VectorEncoder`, by which fusions that learn nothing by gradient see a
    record; by default the mean of the tokens, if no layer is trained."""
    classical: ClassVar[bool] = False
    """Whether it is the modality's representation without anything pretrained or learned by
    gradient, which feeds the classical baseline of comparisons."""
    media: ClassVar[bool] = True
    """Whether a cell is a file or its bytes: rows with the same file never get different splits."""
    corruptions: ClassVar[Sequence[str]] = ()
    """Ways in which a record can be made worse, see `corrupt`."""
    several_columns: ClassVar[bool] = False
    """Whether it reads several columns at once: a cell is then a mapping, column -> value."""
    fixed_length: ClassVar[bool] = False
    """Whether all records that `read` returns have one length."""
    fits_on_files: ClassVar[bool] = False
    """Whether `fit` opens the cells' files: its result is remembered then."""
    reads_prepared: ClassVar[bool] = False
    """Whether `prepare` is all that the encoder's frozen part does."""
    exportable: ClassVar[bool] = True
    """Whether the encoder can be exported as an ONNX graph."""
    reads_whole: ClassVar[bool] = True
    """Whether `read` uses all of any cell; if not, `unread` says what it leaves out."""

    views: Views = 1

    @property
    def tag_names(self) -> Sequence[str]:
        """The words that the `Tags` of its tokens stand for, by their ids; empty without tags."""
        return ()

    @classmethod
    def recognises(cls, cell: Any) -> Match:
        """Whether a filled cell is of this modality; by default only its column's name tells."""
        return "possible"

    @classmethod
    def example_cell(cls, columns: Sequence[str]) -> str:
        """A cell as Python writes it, for messages; ``columns`` are those of the input."""
        return cls.facts.example

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """What must be known of the training column before a cell can be read, as plain JSON.

        Raises:
            PlaitError: nothing can be learned from the column.
        """
        return {}

    @abstractmethod
    def read(self, cell: Any, root: Path) -> Item:
        """One cell as an array (L, ...); records may differ in L.

        Args:
            cell: of a table or a request.
            root: the folder in which relative paths are looked up.

        Raises:
            BadCell: the cell can't be used; the message names the file and how to fix it.
        """

    def unread(self, cell: Any, root: Path) -> str:
        """What `read` leaves out of a cell or can't understand, in words for the user; or empty."""
        return ""

    def content(self, cell: Any, root: Path) -> bytes:
        """What a cell holds, which names its features in the cache: a file's bytes, a text's.

        Raises:
            BadCell: there is nothing to read.
        """
        return load_bytes(cell, root, self.facts.files)[0]

    def media_info(self, cell: Any, root: Path) -> MediaInfo:
        """What a cell claims to hold, by its header alone, for those who allow less than `read`.

        Raises:
            BadCell: the header can't be read.
        """
        return MediaInfo()

    def request_type(self) -> Any:
        """The type of a cell in a request, as pydantic checks it and JSON Schema describes it:
        what `read` takes except paths, so that nobody can name a file of this machine."""
        return file_type(self.facts.files, self.facts.accept)

    def augment(self, item: Item, view: int, seed: int) -> Item:
        """Version ``view`` of a record, no longer than `example`; view 0 is the record itself.

        Args:
            item: as `read` returned it.
            view: 0 to ``views`` - 1.
            seed: from the record's content; with the view it decides what is drawn.
        """
        return item

    def geometry(self, info: MediaInfo, view: int, seed: int) -> Geometry | None:
        """How a record that was read and augmented lies over its original, for targets that move
        with it; None where that is unknown, or the modality has no geometry.

        Args:
            info: the original's, from `media_info`.
            view, seed: as for `augment`.
        """
        return None

    def corrupt(self, item: Item, kind: str, strength: int) -> Item:
        """A record made worse in one of the ``corruptions``, always the same; ``strength`` is 1
        to 5. To test how well answers hold, never to learn from."""
        return item

    def prepare(self, item: Item) -> Item:
        """The share of the encoder's frozen part that is numpy's work, which an exported model
        does before its graph; the item itself if there is none."""
        return item

    @abstractmethod
    def example(self) -> Item:
        """A blank item as `read` would return it, of the largest length, for its shape."""

    @abstractmethod
    def samples(self) -> list[Any]:
        """Two made-up cells to `fit` on, for a summary before there are data."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Changes when what `read` returns would; part of the feature cache's key, and of what a
        package checks when it is loaded."""

    def encoder(self, pretrained: bool, vectors: bool = False) -> Encoder:
        """The network side; unless ``pretrained``, no weights are read: they will be replaced. With
        ``vectors``, one that gives a plain vector for each record and learns nothing.

        Raises:
            UsageError: there is no such vector without training.
        """
        return load(self.vector_class if vectors else self.encoder_class)(self, pretrained)

    def picture(self, cell: Any, root: Path) -> NDArray[np.uint8] | None:
        """A cell as people see it, upright and in its own shape, as (H, W, 3) uint8; None if it
        can't be seen."""
        return None

    def view(self, picture: NDArray[np.uint8]) -> View:
        """The part of a `picture` that lies below the encoder's tokens; all of it if the modality
        has no geometry."""
        height, width = picture.shape[:2]
        geometry = self.geometry(MediaInfo(width, height), 0, 0)
        if geometry is None:
            return WHOLE
        sides = zip(geometry.scale, geometry.shift, geometry.size, (width, height), strict=False)
        across, down = ((-by / s / of, (size - by) / s / of) for s, by, size, of in sides)
        return across, down

    def segments(self, cell: Any, root: Path) -> Segments:
        """What explanations hide of a cell, how it is drawn, and where the encoder's tokens
        lie among them; by default the cell is one segment.

        Raises:
            BadCell: as `read`.
        """
        item = self.read(cell, root)

        def perturb(kept: Kept) -> Item:
            return item if kept.all() else item[:0]

        return Listing([("all of it", "")], perturb)


def view_generator(view: int, seed: int) -> np.random.Generator:
    """What a view of a record is drawn from."""
    return np.random.default_rng([seed, view])


def item_generator(item: Item) -> np.random.Generator:
    """What a corruption of a record is drawn from: its numbers decide."""
    return np.random.default_rng(zlib.crc32(np.ascontiguousarray(item).tobytes()))
