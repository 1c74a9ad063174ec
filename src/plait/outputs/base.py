"""The contract of an output: its data side `Output` and its network side `Head`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from plait.nn.branches import Branches
from plait.outputs.options import Options
from plait.outputs.scores import Scorer
from plait.types import Alternative, Fused, Prediction, State


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
    def fit(self, cells: Iterable[Any]) -> State:
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
        """How answers are made of `numbers`, as plain JSON: their ``kind``, by which
        `plait.runtime` makes the same without torch, and what that must know.

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
