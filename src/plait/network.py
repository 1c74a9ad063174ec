"""Recipe + fitted components -> one ``nn.Module``, and the engine that runs it by torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from plait.config import registry
from plait.config.recipe import Recipe
from plait.fusion.networks import FusionNetwork
from plait.nn.base import THREADS, Arrays, Encoder, Head, Sampling
from plait.nn.blocks import NamedModules
from plait.outputs.base import RawOutputs, Steps
from plait.package.format import WEIGHTS
from plait.package.weights import unpack
from plait.pipeline.engine import Batch, Parts, Row, to_row
from plait.types import Fused, PlaitError, State, Tokens, UsageError
from plait.util.files import digest

OLD_NAMES = {
    r"^(encoders\.[^.]+)\.reader\.": r"\1.sequence.",
    r"^(encoders\.[^.]+\.trunk)\.places$": r"\1.positions",
}
"""Patterns of the names that weights had in packages of earlier versions -> the present names."""
INITIALISERS = ("kaiming_uniform_", "uniform_", "normal_", "xavier_uniform_", "zeros_", "ones_")
SMALL_BATCH, LARGE_BATCH = 4, 64  # records prepared at a time on a processor, on a GPU


class Network(nn.Module):
    """Encodes each input, fuses, and hands the result to each output's head."""

    def __init__(self, recipe: Recipe, parts: Parts, pretrained: bool) -> None:
        super().__init__()
        names = list(parts.modalities)
        self.fusion: FusionNetwork = registry.build("fusion", recipe.fusion).network(names)
        self.weights = {name: spec.weight for name, spec in recipe.outputs.items()}
        self.collate: dict[str, Callable[[Sequence[Any]], Any]] = {
            name: output.collate for name, output in parts.outputs.items()
        }
        self.modality_dropout = recipe.training.modality_dropout
        self.mixup = recipe.training.mixup
        encoders = {
            name: part.encoder(pretrained, self.fusion.takes_vectors)
            for name, part in parts.modalities.items()
        }
        adapters = self.fusion.adapters(encoders, recipe.training.token_dropout)
        branches = self.fusion.branches
        heads = {
            name: output.head(self.fusion.width, names, pretrained, branches)
            for name, output in parts.outputs.items()
        }
        if self.fusion.takes_vectors:
            for head in heads.values():
                head.make_linear(self.fusion.width)
        self.encoders, self.adapters = NamedModules(encoders), NamedModules(adapters)
        self.heads = NamedModules(heads)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.parameters()).device

    def encoder(self, name: str) -> Encoder:
        """The encoder of an input."""
        module = self.encoders[name]
        assert isinstance(module, Encoder)
        return module

    def head(self, name: str) -> Head:
        """The head of an output."""
        module = self.heads[name]
        assert isinstance(module, Head)
        return module

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """The parameters that start from pretrained weights."""
        return [
            parameter
            for module in self.modules()
            if getattr(module, "pretrained", False)
            for parameter in module.parameters()
        ]

    def fuse(self, batch: Batch) -> Fused:
        """Encode and fuse B records."""
        prepared, lengths = self.tensors(batch)
        return self.fuse_tensors(prepared, self._with_dropped_inputs(lengths))

    def tensors(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A batch's features and lengths by input, where the network is."""
        device = self.device

        def moved(values: np.ndarray) -> Tensor:  # torch shares memory with writable arrays only
            shared = torch.from_numpy(np.require(values, requirements=["C", "W"]))
            return shared.to(device, non_blocking=True)

        prepared = {name: moved(values) for name, values in batch.prepared.items()}
        return prepared, {name: moved(values) for name, values in batch.lengths.items()}

    def fuse_tensors(self, prepared: Mapping[str, Tensor], lengths: Mapping[str, Tensor]) -> Fused:
        """As `fuse`, of tensors: input name -> (B, L, ...), and (B,)."""
        present = {name: length > 0 for name, length in lengths.items()}
        fused: Fused = self.fusion(self.tokens(prepared, lengths), present)
        return replace(fused, prepared={n: (prepared[n], lengths[n]) for n in prepared})

    def tokens(
        self, prepared: Mapping[str, Tensor], lengths: Mapping[str, Tensor]
    ) -> dict[str, Tokens]:
        """Each input's tokens as the fusion gets them."""
        return {
            name: self.adapters[name](encoder(prepared[name], lengths[name]))
            for name, encoder in self.encoders.items()
        }

    def _with_dropped_inputs(self, lengths: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """In training, some inputs of a record are removed at random, never the last one, so that
        the model learns to do without (ModDrop, Neverova et al. 2016, arXiv:1501.00102)."""
        if not (self.training and self.modality_dropout and len(lengths) > 1):
            return lengths
        there = torch.stack([length > 0 for length in lengths.values()], dim=1)  # (B, M)
        chance = torch.rand(there.shape, device=there.device)
        kept = there & (chance >= self.modality_dropout)
        likeliest = (chance * there).argmax(dim=1, keepdim=True)
        kept |= there & (torch.arange(there.shape[1], device=there.device) == likeliest)
        return {
            name: torch.where(kept[:, column], length, 0)
            for column, (name, length) in enumerate(lengths.items())
        }

    def forward(self, batch: Batch, sampling: Sampling | None = None) -> Tensor:
        """The weighted sum of the outputs' losses, and the encoders' own, a scalar.

        Args:
            batch: records with their targets.
            sampling: how answers are drawn in the last stage; None is likelihood.
        """
        fused = self.fuse(batch)
        own = [part.loss for part in fused.parts.values() if part.loss is not None]
        return torch.stack([self._answer_loss(fused, batch.targets, sampling), *own]).sum()

    def _answer_loss(
        self, fused: Fused, targets: Mapping[str, Sequence[Any]], sampling: Sampling | None
    ) -> Tensor:
        """Of all outputs, mixed with other records' if the recipe says so."""
        if not (self.training and self.mixup) or sampling:
            return self._loss(fused, targets, sampling)
        # Every record is mixed with another after fusion, and so are their losses (mixup, Zhang et
        # al. 2018, arXiv:1710.09412; of hidden features, Verma et al. 2019, arXiv:1806.05236).
        own = float(torch.distributions.Beta(self.mixup, self.mixup).sample())
        order = torch.randperm(len(fused.pooled)).tolist()
        others = {name: [values[row] for row in order] for name, values in targets.items()}
        mixed = mix(fused, order, own)
        return own * self._loss(mixed, targets) + (1 - own) * self._loss(mixed, others)

    def _loss(
        self,
        fused: Fused,
        targets: Mapping[str, Sequence[Any]],
        sampling: Sampling | None = None,
    ) -> Tensor:
        """Of every output, and of each branch's own answer."""
        losses = []
        branches = self.fusion.branches
        for name, values in targets.items():
            head, wanted = self.head(name), self.collate[name](values)
            loss = partial(head.reinforce, sampling=sampling) if sampling else head.loss
            if branches is None:
                total = loss(fused, wanted)
            else:  # dropout draws for each branch before it draws for the blend
                own = [loss(part, wanted, branch=at) for at, part in fused.branches.items()]
                total = loss(fused, wanted) + branches.branch_loss_weight * torch.stack(own).sum()
            losses.append(self.weights[name] * total)
        return torch.stack(losses).sum()


def mix(fused: Fused, order: Sequence[int], own: float) -> Fused:
    """What outputs see of a record alone, mixed with that of another, ``own`` + (1 - ``own``).

    Tokens stay as they are: those of two records differ in place and number.

    Args:
        fused: of B records.
        order: the place of the other record of each, B of them.
        own: the record's own share, 0 to 1.
    """

    def mixed(values: Tensor) -> Tensor:
        return own * values + (1 - own) * values[order]

    return replace(
        fused,
        pooled=mixed(fused.pooled),
        branches={name: mix(branch, order, own) for name, branch in fused.branches.items()},
        weights=None if fused.weights is None else mixed(fused.weights),
    )


def build_network(
    recipe: Recipe, parts: Parts, pretrained: bool = True, drawn: bool = True
) -> Network:
    """The network of fitted components, its weights drawn from the recipe's seed alone.

    ``pretrained`` parts start from their pretrained weights; False is for a package, whose own
    weights replace all: nothing is read from elsewhere then. If they do so at once, weights need
    not be ``drawn`` either, which takes as long as to read them.
    """
    with _building, torch.random.fork_rng(devices=[]), nullcontext() if drawn else _undrawn():
        torch.manual_seed(recipe.seed)
        return Network(recipe, parts, pretrained)


@contextmanager
def _undrawn() -> Iterator[None]:
    """A block in which torch's initialisers leave weights as they are. They are the whole
    process's, so that only one network may be built at a time."""
    saved = {name: getattr(nn.init, name) for name in INITIALISERS}
    try:
        for name in INITIALISERS:
            setattr(nn.init, name, lambda tensor, *args, **kwargs: tensor)
        yield
    finally:
        for name, initialise in saved.items():
            setattr(nn.init, name, initialise)


_building = RLock()


def to_device(network: Network, device: str) -> Network:
    """The network where it is to run. Raises UsageError if this machine has no such device."""
    try:
        return network.to(torch.device(device))
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UsageError(
            f"can't run on the device {device!r}: {first[:200]}",
            expected="cpu, cuda, cuda:1 or mps",
        ) from None


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by the present names of the modules that hold them; see `OLD_NAMES`."""
    found = {}
    for name, tensor in weights.items():
        for old, new in OLD_NAMES.items():
            name = re.sub(old, new, name)
        found[name] = tensor
    return found


def load_weights(network: Network, folder: Path) -> None:
    """Put a package's weights into its network.

    Raises:
        PlaitError: they are damaged, or don't fit.
    """
    try:
        tensors = load_file(folder / WEIGHTS)
    except Exception as error:  # safetensors has an error class of its own in each version
        raise PlaitError(
            f"the weights of {folder} are damaged: {error}", hint="copy the package again"
        ) from None
    try:
        network.load_state_dict(renamed(unpack(tensors)))
    except RuntimeError as error:
        raise PlaitError(
            f"the weights of {folder} don't fit its recipe: {' '.join(str(error).split())[:200]}",
            hint="install the plait that made it, or train it again",
        ) from None


class EncoderEngine:
    """Runs the frozen parts of encoders by torch: `plait.pipeline.engine.EncoderEngine`.

    Args:
        encoders: input name -> encoder, all on one device.
        device: where they are.
    """

    def __init__(self, encoders: Mapping[str, Encoder], device: torch.device) -> None:
        self.encoders, self.torch_device, self.device = encoders, device, device.type
        # Each worker computes a few records at a time on one thread: their activations stay in the
        # processor's cache, which makes convolutions about twice as fast as one large batch.
        self.workers = THREADS
        self.chunk = SMALL_BATCH if self.device == "cpu" else LARGE_BATCH

    def start_worker(self) -> None:
        """One thread of torch's for each worker."""
        torch.set_num_threads(1)

    @torch.no_grad()
    def prepare(self, name: str, items: Sequence[NDArray[Any]]) -> list[Row]:
        """See `EncoderEngine.prepare`."""
        device = self.torch_device
        tensors = [torch.from_numpy(np.ascontiguousarray(item)).to(device) for item in items]
        return [as_row(features) for features in self.encoders[name].prepare(tensors)]

    def frozen_digest(self, name: str) -> str:
        """See `EncoderEngine.frozen_digest`."""
        encoder = self.encoders[name]
        weights = (_raw(weight) for weight in encoder.trunk.state_dict().values())
        return digest(encoder.frozen_name, repr(encoder.trunk), *weights)


class TorchEngine(EncoderEngine):
    """Runs a network by torch: `plait.pipeline.engine.Engine`."""

    name = "torch"

    def __init__(self, network: Network) -> None:
        encoders = {name: network.encoder(name) for name in network.encoders}
        super().__init__(encoders, network.device)
        self.side_by_side = self.workers if self.device == "cpu" else 1
        self.network = network.eval()

    @contextmanager
    def threads(self, records: int) -> Iterator[None]:
        """One thread for a few records: so small a product is not worth waking a second one, and
        beside busy programs waiting for it takes many times as long as the work."""
        before = torch.get_num_threads()
        torch.set_num_threads(1 if records <= SMALL_BATCH else before)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    @torch.no_grad()
    def run(self, batch: Batch) -> dict[str, tuple[RawOutputs, Steps | None]]:
        """See `Engine.run`."""
        fused = self.network.fuse(batch)
        results: dict[str, tuple[RawOutputs, Steps | None]] = {}
        for name in self.network.heads:
            head = self.network.head(name)
            raw = head.raw_outputs(fused)
            results[name] = Arrays(raw), head.stepper(fused, raw)
        return results

    def fitted(self, output: str) -> State:
        """See `Engine.fitted`."""
        return self.network.head(output).fitted()

    @torch.no_grad()
    def support(self, batch: Batch, output: str, answers: Sequence[Any]) -> NDArray[np.float64]:
        """See `Engine.support`."""
        support = self.network.head(output).support(self.network.fuse(batch), answers)
        return support.double().cpu().numpy()

    @torch.no_grad()
    def embed(self, batch: Batch) -> NDArray[np.float32]:
        """See `Engine.embed`."""
        return self.network.fuse(batch).pooled.float().cpu().numpy()


def as_row(features: Tensor) -> Row:
    """Features as they are kept, see `to_row`."""
    return to_row((features.float() if features.is_floating_point() else features).cpu().numpy())


def _raw(weight: Tensor) -> memoryview:
    """A tensor's bytes, whatever its type."""
    flat = weight.detach().cpu().reshape(-1).contiguous()
    return flat.view(torch.uint8).numpy().data
