"""The four parts that a recipe is made of: modality, encoder, fusion, output.

Each has a data side, which is plain Python and JSON, and a network side, which is an
``nn.Module``. The data side learns its `State` from the training column and builds the network
side from it:

    Modality.learn(cells) -> State;  Modality.encoder(State) -> Encoder
    Output.learn(cells)   -> State;  Output.head(State, width) -> Head

Both network sides are built either for training, with ``pretrained`` weights where the component
has any, or for a package, whose own weights are loaded right afterwards.

Classes here are abstract; every class in the rooms is final.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plait.bootstrap import Scorer
from plait.branches import Branches
from plait.data.media import Extent
from plait.layouts import Layout
from plait.options import Options
from plait.types import Alternative, Fused, Prediction, State, Tokens


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
    learns_from_files: bool = False
    """Whether `learn` opens the cells' files: what it gives is then remembered."""

    @abstractmethod
    def learn(self, cells: Iterable[Any], root: Path) -> State:
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
        """How `read` reads, as plain JSON: its ``kind``, by which `plait.onnx.readers` finds the
        same without torch, and what that must know. With the frozen part where it
        ``reads_prepared``; empty where it isn't ``exported``."""

    @abstractmethod
    def content(self, cell: Any, root: Path) -> bytes:
        """What a cell holds, which names its features in the cache: a file's bytes, a text's.

        Raises:
            BadCell: there is nothing to be read.
        """

    @abstractmethod
    def extent(self, cell: Any, root: Path) -> Extent:
        """What a cell claims to hold, by its header alone, for those who allow less than `read`
        does; nothing of what has neither pixels nor seconds.

        Raises:
            BadCell: there is no header that can be read.
        """

    @abstractmethod
    def sent(self, state: State) -> Any:
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
    def layout(self, cell: Any, root: Path, state: State) -> Layout:
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


class Fusion(nn.Module, ABC):
    """Makes one `Fused` of the tokens of any subset of the inputs, whose names it is built with."""

    width: int
    branches: Branches | None = None
    """Where the fusion has branches that each answer: their names and how they learn."""

    @abstractmethod
    def forward(self, parts: Mapping[str, Tokens], present: Mapping[str, Tensor]) -> Fused:
        """Tokens of each input, all of one width, and (B,) bool, which records have it; absent
        inputs show their "missing" token."""


class Output(ABC):
    """One thing to predict: how a cell becomes a target and a decoded tensor an answer.

    How its answers are scored may depend on its settings: `titles` and `best_metrics` are those of
    an instance.
    """

    titles: Mapping[str, str]
    """Every metric that people are shown -> what they know it by, in the order to show."""
    best_metrics: Sequence[str]
    """What early stopping maximises, free-running on validation, and what progress shows. The
    first decides; the next ones break ties. The first is 1 for perfect answers and about 0 for
    those that know nothing, so that outputs of different kinds can be weighed together."""
    least: float = -math.inf
    most: float = 1.0
    """No score of the first of the best metrics is smaller, or larger."""
    of_several: ClassVar[Collection[str]] = ()
    """Metrics that compare records with each other, and are undefined for a single one."""
    several: ClassVar[bool]
    """Whether a record may have several right answers: rows with the same input are then one
    record, with all of their answers."""
    linear: ClassVar[bool]
    """Whether a linear model of one vector can give its answers: comparisons then have a classical
    baseline."""

    @abstractmethod
    def learn(self, cells: Iterable[Any]) -> State:
        """What must be known of the training column (vocabulary, classes...)."""

    @abstractmethod
    def samples(self) -> list[Any]:
        """Two made-up cells or more, of which `learn` makes as much as the settings allow."""

    @abstractmethod
    def example(self, state: State) -> Any:
        """A made-up target, as `reader` gives them."""

    @abstractmethod
    def reader(self, state: State) -> Callable[[Any], Any]:
        """A function from a cell to a target; it raises BadCell where the cell is empty or of
        a wrong kind."""

    @abstractmethod
    def reference(self, cell: Any) -> Any:
        """One cell as `metrics` wants it."""

    @abstractmethod
    def cell(self, value: Any) -> Any:
        """An answer as a cell of a table, a string or a number, which `reader` reads again."""

    @abstractmethod
    def confidence(self, prediction: Prediction) -> float | None:
        """How probable an answer is to the model, 0 to 1, for people; None where it doesn't say."""

    @abstractmethod
    def head(
        self,
        state: State,
        width: int,
        inputs: Sequence[str],
        pretrained: bool,
        branches: Branches | None = None,
    ) -> Head:
        """The network side, with an answer for each of the fusion's branches where it has any;
        ``pretrained`` as in `Modality.encoder`."""

    @abstractmethod
    def scorer(self, predictions: Sequence[Prediction], references: Sequence[Any]) -> Scorer:
        """What scores any choice of these records, without intervals: all of them for early
        stopping, resamples of them for comparisons; ``best_metrics`` are among the scores."""

    @abstractmethod
    def rightness(
        self, predictions: Sequence[Prediction], references: Sequence[Any]
    ) -> tuple[str, NDArray[np.float64]]:
        """How right each single answer is, (N,), larger is better, and what people know that by:
        to show the best records and the worst."""

    @abstractmethod
    def metrics(self, predictions: Sequence[Prediction], references: Sequence[Any]) -> Any:
        """Scores of free-running predictions; an object with ``to_json()``."""


@dataclass(frozen=True)
class Graph:
    """A function of named tensors that is to run without torch.

    Attributes:
        owner: the module whose weights it uses.
        run: the function; its results have names too.
        examples: two of its arguments; every size that may change differs between them.
    """

    owner: nn.Module
    run: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    examples: Sequence[Mapping[str, Tensor]]


class Head(nn.Module, ABC):
    """The network side of an output."""

    lacking: Collection[str] = ()
    """Options of decoding that this one, as it is, has no use for."""

    @abstractmethod
    def begin(self, targets: Sequence[Any]) -> None:
        """Called once before training, with all training targets (to count, to weigh)."""

    @abstractmethod
    def loss(self, fused: Fused, targets: Sequence[Any], branch: str | None = None) -> Tensor:
        """Mean loss over the real targets, a scalar: of the answer, or of a branch's own answer
        to what that branch sees."""

    @abstractmethod
    def reinforce(
        self, fused: Fused, targets: Sequence[Any], samples: int, branch: str | None = None
    ) -> Tensor:
        """Loss of the second stage, which optimises the free-running score itself; outputs whose
        answers are not made step by step return `loss`."""

    @abstractmethod
    def calibrate(self, fused: Iterable[Fused], targets: Sequence[Any]) -> None:
        """Called once after training, with all validation records, so that probabilities can be
        made to mean what they say."""

    @abstractmethod
    def support(self, fused: Fused, answers: Sequence[Any]) -> Tensor:
        """(B,) float: what the model thinks of answers such as `decode` gives, one a record; the
        inputs' shares are shares of it."""

    @abstractmethod
    def steps(self, fused: Fused, answer: Any) -> tuple[Tensor, Tensor]:
        """Of one answer, as each of the records sees it: (B,) its `support`, and (B, L) the
        log-probability of each of its steps; L is 0 where it is not made step by step."""

    @abstractmethod
    def alternatives(self, fused: Fused, answer: Any, count: int) -> list[tuple[Alternative, ...]]:
        """For each step of an answer to the only record, what is said there and what else is
        likeliest, ``count`` of them, with their probabilities."""

    @abstractmethod
    def looks(self, fused: Fused, answer: Any) -> dict[str, Tensor]:
        """Where each step of an answer to the only record looked: input name -> (L, T) attention;
        empty where answers look at nothing, or at what can't be told apart."""

    @abstractmethod
    def numbers(self, fused: Fused) -> dict[str, Tensor]:
        """What answers are made of, by name, a row a record: what an exported network gives."""

    @abstractmethod
    def answers(self) -> State:
        """How answers are made of `numbers`, as plain JSON: their ``kind``, by which `plait.onnx`
        makes the same without torch, and what that must know.

        Raises:
            UsageError: they can't be made without torch.
        """

    @abstractmethod
    def graph(self, examples: Sequence[Mapping[str, Tensor]]) -> Graph | None:
        """What must be run beside, and again and again, for an answer; None where nothing.
        ``examples`` are two of `numbers`, of different sizes."""

    @abstractmethod
    def decoding_options(self, **options: Any) -> Options:
        """The recipe's way of decoding with ``options`` overridden, checked (UsageError)."""

    @abstractmethod
    def decode(self, fused: Fused, **options: Any) -> list[Prediction]:
        """Free-running answers, one a record; ``options`` override the recipe's decoding."""


def count_parameters(module: nn.Module, trainable: bool | None = None) -> int:
    """Number of parameters; only the trainable or only the frozen ones where asked."""
    return sum(
        p.numel() for p in module.parameters() if trainable is None or p.requires_grad == trainable
    )


def freeze(module: nn.Module) -> nn.Module:
    """The module with no gradient and in evaluation mode."""
    return module.requires_grad_(False).eval()


def present_tokens(values: Tensor, present: Tensor) -> Tokens:
    """Tokens (B, T, D) in which every token of a present record is real.

    Masked values are zeroed, so that garbage in an absent row can't reach anything.
    """
    mask = present[:, None].expand(values.shape[:2])
    return Tokens(torch.where(mask[..., None], values, torch.zeros((), dtype=values.dtype)), mask)
