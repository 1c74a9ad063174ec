"""The network side of an output.

Shapes: B records, L steps of an answer, T tokens, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plait.types import Alternative, Fused, State


class Arrays(Mapping[str, NDArray[Any]]):
    """Tensors as numpy arrays; each is copied from its device when it is asked for."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.tensors[name].detach().cpu().numpy()

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


@dataclass(frozen=True)
class Graph:
    """A function of named tensors that can run without torch once it is exported.

    Attributes:
        owner: the module whose weights it uses.
        run: the function; its results have names too.
        examples: two of its arguments; every size that may vary differs between them.
    """

    owner: nn.Module
    run: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    examples: Sequence[Mapping[str, Tensor]]


class Head(nn.Module, ABC):
    """The network side of an output: from what the fusion gives to the raw outputs, and the loss.

    `loss`, `support` and `raw_outputs` are the least that an output has; the other methods do what
    is right for an answer that is made in one step and has nothing to calibrate.
    """

    def begin(self, targets: Sequence[Any]) -> None:
        """Called once before training with all training targets (to count them, to weigh them)."""

    @abstractmethod
    def loss(self, fused: Fused, targets: Any, branch: str | None = None) -> Tensor:
        """Mean loss over the records, a scalar.

        Args:
            fused: B records.
            targets: what `Output.collate` made of their targets.
            branch: the loss of this branch's own answer; None for the answer of all.
        """

    def reinforce(
        self, fused: Fused, targets: Any, samples: int, branch: str | None = None
    ) -> Tensor:
        """Loss of the second stage, which optimises the free-running score itself, from so many
        samples a record; `loss` for answers that are made in one step."""
        return self.loss(fused, targets, branch)

    def calibrate(self, fused: Iterable[Fused], targets: Sequence[Any]) -> None:
        """Called once after training with all validation records, so that probabilities and
        intervals can be fitted to them."""

    def fitted(self) -> State:
        """What `calibrate` found and `Output.decode` needs, as plain JSON."""
        return {}

    @abstractmethod
    def raw_outputs(self, fused: Fused) -> dict[str, Tensor]:
        """What `Output.decode` makes answers of, by name, a row a record; an exported network gives
        the same."""

    def stepper(self, fused: Fused, raw: Mapping[str, Tensor]) -> Any:
        """What runs the decoder step by step for these records (`plait.outputs.base.Steps`); None
        for answers that are made in one step. ``raw`` are their `raw_outputs`."""

    @abstractmethod
    def support(self, fused: Fused, answers: Sequence[Any]) -> Tensor:
        """(B,) how well the model supports these answers, one a record (a log-probability, a
        probability); the inputs' shares of an answer add up to it."""

    def steps(self, fused: Fused, answer: Any) -> tuple[Tensor, Tensor]:
        """For one answer, as each of the records sees it: (B,) its `support`, and (B, L) the
        log-probability of each of its steps; L is 0 for an answer that is made in one step."""
        count = len(fused.pooled)
        return self.support(fused, [answer] * count), torch.zeros(count, 0)

    def alternatives(self, fused: Fused, answer: Any, count: int) -> list[tuple[Alternative, ...]]:
        """For each step of an answer to the only record: the step itself and the ``count``
        likeliest others, with their probabilities."""
        return []

    def looks(self, fused: Fused, answer: Any) -> dict[str, Tensor]:
        """Where each step of an answer to the only record looked: input -> (L, T) attention; empty
        where steps look nowhere, or where the inputs' tokens can't be told apart."""
        return {}

    def graph(self, examples: Sequence[Mapping[str, Tensor]]) -> Graph | None:
        """The step of a decoder as a function to export, None for answers that are made in one
        step; ``examples`` are two results of `raw_outputs`, of different sizes.

        Raises:
            UsageError: it can't be exported.
        """
        return None

    def to_linear(self, width: int) -> nn.Linear:
        """Replace the network by one linear layer on a pooled vector of this width, all its weights
        0, and return it; heads of outputs that declare `Output.linear` have it."""
        raise NotImplementedError
