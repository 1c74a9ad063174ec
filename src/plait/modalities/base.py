"""The contract of a modality: its data side `Modality` and its network side `Encoder`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plait.data.media import MediaInfo
from plait.modalities.segments import Segments
from plait.types import State, Tokens


class Modality(ABC):
    """One representation of one kind of input: how a cell becomes a tensor."""

    media: ClassVar[bool]
    """Whether a cell is a file or its bytes: two rows with the same are never in two splits."""
    corruptions: ClassVar[Sequence[str]]
    """Ways in which a record can be made worse, see `corrupt`."""
    several_columns: ClassVar[bool] = False
    """Whether it reads several columns at once: a cell is then a mapping, column -> value."""
    views: int = 1
    """How many augmented versions of a record training draws from; version 0 is the original."""
    exported: bool = True
    """Whether `reading` says all that it takes to read a cell without torch."""
    reads_prepared: ClassVar[bool] = False
    """Whether that gives what the encoder's `prepare` makes, where all of it is numpy's work."""
    of_one_length: ClassVar[bool] = False
    """Whether all records that `read` gives are equally long."""
    reads_whole: ClassVar[bool] = True
    """Whether no cell has anything that `read` leaves out; else `unread` says what it is."""
    fits_on_files: bool = False
    """Whether `learn` opens the cells' files: what it gives is then remembered."""

    @abstractmethod
    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """What must be known of the training column before a cell can be read."""

    @abstractmethod
    def read(self, cell: Any, root: Path, state: State) -> Tensor:
        """One cell as a tensor (L, ...); records may differ in L.

        Raises:
            BadCell: the cell can't be used; the message names the file and the mend.
        """

    def unread(self, cell: Any, root: Path, state: State) -> str:
        """What of a cell that can be used is not read, or not understood, for whoever gave it;
        empty where there is nothing of the kind."""
        return ""

    @abstractmethod
    def reading(self, state: State) -> State:
        """How `read` reads, as plain JSON: its ``kind``, by which `plait.runtime.readers` finds the
        same without torch, and what that must know. With the frozen part where it
        ``reads_prepared``; empty where it isn't ``exported``."""

    @abstractmethod
    def content(self, cell: Any, root: Path) -> bytes:
        """What a cell holds, which names its features in the cache: a file's bytes, a text's.

        Raises:
            BadCell: there is nothing to be read.
        """

    @abstractmethod
    def media_info(self, cell: Any, root: Path) -> MediaInfo:
        """What a cell claims to hold, by its header alone, for those who allow less than `read`
        does; nothing of what has neither pixels nor seconds.

        Raises:
            BadCell: there is no header that can be read.
        """

    @abstractmethod
    def request_type(self, state: State) -> Any:
        """The type of a cell that a stranger sends, as pydantic checks it and JSON Schema tells
        it: what `read` takes, but for paths, so that nobody names a file of this machine."""

    @abstractmethod
    def augment(self, item: Tensor, view: int) -> Tensor:
        """Version ``view`` of a record, the same each time and no longer than `example`; ``view`` 0
        is the record itself."""

    @abstractmethod
    def corrupt(self, item: Tensor, kind: str, strength: int) -> Tensor:
        """A record made worse in one of the ``corruptions``, the same each time; ``strength`` is 1
        to 5. To see how an answer holds, never to learn from."""

    @abstractmethod
    def example(self, state: State) -> Tensor:
        """A blank item as `read` would give it, as long as they come, for its shape."""

    @abstractmethod
    def samples(self) -> list[Any]:
        """Two made-up cells to `learn` from, for a summary before there are data."""

    @abstractmethod
    def fingerprint(self, state: State) -> str:
        """Changes when what `read` or `augment` returns would; part of the feature cache's key."""

    @abstractmethod
    def encoder(self, state: State, pretrained: bool) -> Encoder:
        """The network side; without ``pretrained`` no weights are read, as they'll be replaced."""

    @abstractmethod
    def picture(self, cell: Any, root: Path, state: State) -> Tensor | None:
        """What `read` saw, as (H, W, 3) uint8, for explanations; None where there is none."""

    @abstractmethod
    def segments(self, cell: Any, root: Path, state: State) -> Segments:
        """The cell for people to look at: the parts that can be hidden, for explanations, and where
        the encoder's tokens lie among them.

        Raises:
            BadCell: as `read`.
        """


class Classical(ABC):
    """A representation whose records are plain vectors too, with nothing that is learned by
    gradient: one of each modality feeds the classical baseline of comparisons."""

    @abstractmethod
    def vectors(self, rows: Sequence[NDArray[Any]], state: State) -> NDArray[np.float32]:
        """What `Encoder.prepare` made of one record or more, (L, ...) each, L at least 1 -> (N, D),
        in units in which all D count alike."""


class Encoder(nn.Module, ABC):
    """Turns a batch of records into `Tokens`, in two steps.

    ``prepare`` is the frozen part: without gradient, the same each time, so that its result can
    be kept on disk, record by record. ``forward`` is the part that learns (it may be nothing); it
    gets the records of a batch with zeros behind the shorter ones.
    """

    width: int
    """D of the tokens."""
    length: int
    """T of the tokens at the most."""
    grid: tuple[int, int] | None = None
    """(rows, columns) when the tokens lie on a grid over the input."""
    pretrained: bool = False
    """Whether the part that learns starts from pretrained weights, and so learns slowly."""
    trunk: nn.Module
    """The frozen part; nn.Identity where everything learns."""

    @abstractmethod
    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """Records as read -> what the frozen part makes of each, (L, ...) float or whole numbers.

        Floats are kept as float16, whole numbers as int32.
        """

    def prepare_batch(self, batch: Tensor) -> Tensor:
        """`prepare` of records of one length side by side, (B, L, ...) -> (B, L', ...)."""
        return torch.stack(self.prepare(list(batch)))

    @abstractmethod
    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, L, ...) from `prepare`, and how much of each row is real, (B,), 0 where the input is
        absent -> Tokens (B, T, D), absent rows masked out."""

    def train(self, mode: bool = True) -> Encoder:
        """Training mode for the part that learns; the frozen part keeps to evaluation."""
        super().train(mode)
        self.trunk.eval()
        return self
