"""The network sides of an input and of an output: `Encoder` and `Head`, and how the answers of a
fusion's branches become one.

Shapes: B records, L steps of an answer, T tokens, D width, M branches, K numbers of an answer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plait.nn.blocks import masked_mean, present_tokens, zero_after
from plait.types import Alternative, Branches, Fused, State, Tokens, UsageError

THREADS = torch.get_num_threads()
"""Those that torch was given. Asked later, in a thread that was started after a worker, torch says
what the worker has set."""


class Encoder(nn.Module, ABC):
    """Turns a batch of records into `Tokens`, in two steps.

    ``prepare`` is the frozen part: it has no gradient and always gives the same, so its result
    can be cached on disk, record by record. ``forward`` is the part that learns (it may do
    nothing); it gets the records of a batch with zeros after the shorter ones.
    """

    width: int
    """D of the tokens."""
    length: int
    """The largest T of the tokens."""
    grid: tuple[int, int] | None = None
    """(rows, columns) when the tokens lie on a grid over the input."""
    pretrained: bool = False
    """Whether the part that learns starts from pretrained weights, and so learns slowly."""
    trunk: nn.Module
    """The frozen part; nn.Identity where everything learns."""

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """Records as read -> what the frozen part makes of each, (L, ...) float or integer; by
        default one after the other.

        Floats are kept as float16, integers as int32.
        """
        with torch.no_grad():
            return [self.trunk(item) for item in items]

    def prepare_batch(self, batch: Tensor) -> Tensor:
        """`prepare` of records of one length side by side, (B, L, ...) -> (B, L', ...)."""
        return torch.stack(self.prepare(list(batch)))

    def begin(self) -> None:
        """Called once before training, while the weights are those that it starts from."""

    def end(self) -> None:
        """Called once after training: what `begin` kept is not needed any more."""

    @property
    def frozen_name(self) -> str:
        """What the frozen part belongs to; part of the feature cache's key."""
        return type(self).__qualname__

    @abstractmethod
    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, L, ...) from `prepare`, and how much of each row is real, (B,), 0 where the input is
        absent -> Tokens (B, T, D), absent rows masked out."""

    def train(self, mode: bool = True) -> Encoder:
        """Training mode for the part that learns; the frozen part stays in evaluation mode."""
        super().train(mode)
        self.trunk.eval()
        return self


class Represented(Protocol):
    """What a `VectorEncoder` needs of a modality."""

    def encoder(self, pretrained: bool) -> Any:
        """Its usual `Encoder`."""


class VectorEncoder(Encoder, ABC):
    """A record as one plain vector, Tokens (B, 1, width), made without any training.

    The frozen part, and so the cached features, are those of the modality's usual encoder.
    """

    scaled: ClassVar[bool] = False
    """Whether the vectors' numbers are of about one size already, and mostly zeros."""
    length = 1

    def __init__(self, modality: Represented, pretrained: bool) -> None:
        super().__init__()
        self.__dict__["_usual"] = modality.encoder(pretrained)  # no module of its own: what it
        self.trunk = self.usual.trunk  # would learn is not needed

    @property
    def usual(self) -> Encoder:
        """The encoder of other fusions."""
        usual: Encoder = self.__dict__["_usual"]
        return usual

    @property
    def frozen_name(self) -> str:
        """That of the usual encoder."""
        return self.usual.frozen_name

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """As the usual encoder."""
        return self.usual.prepare(items)

    def prepare_batch(self, batch: Tensor) -> Tensor:
        """As the usual encoder."""
        return self.usual.prepare_batch(batch)

    @abstractmethod
    def vectors(self, prepared: Tensor, lengths: Tensor) -> Tensor:
        """(B, L, ...) and (B,), zeros after each row's length -> (B, width)."""

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, L, ...) -> Tokens (B, 1, width)."""
        vectors = self.vectors(zero_after(prepared, lengths), lengths)
        return present_tokens(vectors[:, None], lengths > 0)


class MeanVectors(VectorEncoder):
    """The mean of the tokens of an encoder that learns nothing."""

    def __init__(self, modality: Represented, pretrained: bool) -> None:
        super().__init__(modality, pretrained)
        if any(p.requires_grad for p in self.usual.parameters()):
            kind = type(modality).__name__
            raise UsageError(
                f"{kind} has layers to train, and this fusion trains none",
                expected="a representation that is frozen as a whole, or has no layers",
            )
        self.width = self.usual.width

    def vectors(self, prepared: Tensor, lengths: Tensor) -> Tensor:
        """(B, L, ...) -> (B, width)."""
        tokens = self.usual(prepared, lengths)
        return masked_mean(tokens.values, tokens.mask)


class Arrays(Mapping[str, NDArray[Any]]):
    """Tensors as numpy arrays; each is copied from its device when it is asked for."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.tensors[name].detach().cpu().numpy()

    def __contains__(self, name: object) -> bool:  # a Mapping's own would copy the tensor
        return name in self.tensors

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


class Sampling(NamedTuple):
    """How the last stage of the training draws answers to learn from.

    Attributes:
        samples: answers to each record.
        temperature: their log-probabilities are divided by it; below 1 likelier answers are drawn
            more often, nearer to those that a search finds.
    """

    samples: int
    temperature: float = 1.0


class Head(nn.Module, ABC):
    """Makes the raw outputs of what the fusion gives, and their loss.

    An output has at least `loss`, `support` and `raw_outputs`; the other methods do what is right
    for an answer that is made in one step and has nothing to calibrate.
    """

    def begin(self, targets: Sequence[Any]) -> None:
        """Called before each stage of the training with all targets that it learns from (to count
        them, to weigh them); those of an output whose targets are `stored` are read as they are
        asked for."""

    @abstractmethod
    def loss(self, fused: Fused, targets: Any, branch: str | None = None) -> Tensor:
        """Mean loss over the records, a scalar.

        Args:
            fused: B records.
            targets: what `Output.collate` made of their targets.
            branch: the loss of this branch's own answer; None for the answer of all.
        """

    def untaught(self) -> tuple[int, int, str]:
        """Of the targets that the loss has seen in training: how many taught it nothing, how many
        there were, and why. Zeros for a loss that learns from every target."""
        return 0, 0, ""

    def reinforce(
        self, fused: Fused, targets: Any, sampling: Sampling, branch: str | None = None
    ) -> Tensor:
        """Loss of the last stage, which optimises the free-running score itself, from answers that
        are drawn; `loss` for answers that are made in one step."""
        return self.loss(fused, targets, branch)

    def calibrate(self, fused: Iterable[Fused], targets: Sequence[Any]) -> None:
        """Called once after training with all validation records, so that probabilities and
        intervals can be fitted to them."""

    def fitted(self) -> State:
        """What `calibrate` found and `Output.decode` needs, as plain JSON."""
        return {}

    @abstractmethod
    def raw_outputs(self, fused: Fused) -> dict[str, Tensor]:
        """What `Output.decode` makes answers from, by name, a row for each record; an exported
        network gives the same."""

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

    def make_linear(self, width: int) -> None:
        """Make the network one linear layer on the pooled vector, of this width; heads of outputs
        that declare `Output.linear` can be."""
        raise NotImplementedError

    def fit_linear(
        self, x: Any, targets: Sequence[Any], weights: NDArray[Any], penalty: float, loss: str
    ) -> None:
        """Fit the layer of `make_linear`.

        Args:
            x: a scipy matrix (N, D), the pooled vectors of all training records.
            targets: of these, as `Output.read` gives them.
            weights: (N,) how much each record counts.
            penalty: on the squared weights of the layer.
            loss: ``hinge`` or ``log``, where the output chooses among classes or labels.
        """
        raise NotImplementedError


class Blend(nn.Module):
    """The branches' answers (..., M, K) and their weights for each record (..., M) -> one answer
    (..., K), the weighted sum.

    With ``branches.stacked``, each number of each branch also has a learned factor, and the sum a
    learned constant: linear stacking with a weight for each class (Ting and Witten 1999, "Issues
    in stacked generalization", JAIR 10), learned on the training records beside the branches.
    """

    def __init__(self, branches: Branches, size: int) -> None:
        super().__init__()
        self.detached = branches.detached
        self.factor: nn.Parameter | None = None
        self.constant: nn.Parameter | None = None
        if branches.stacked:
            self.factor = nn.Parameter(torch.ones(len(branches.names), size))
            self.constant = nn.Parameter(torch.zeros(size))

    def forward(self, answers: Tensor, weights: Tensor) -> Tensor:
        """(..., M, K) and (..., M) -> (..., K)."""
        if self.detached and self.training:  # explanations need the gradient
            answers = answers.detach()
        if self.factor is not None:
            answers = answers * self.factor
        blended = (weights[..., None] * answers).sum(dim=-2)
        return blended if self.constant is None else blended + self.constant


def of_branch(module: nn.Module, name: str | None) -> nn.Module:
    """The part of an output's module that answers for a branch; the whole module for None."""
    if name is None:
        return module
    branches = module.branches
    assert isinstance(branches, nn.ModuleDict)
    return branches[name]
