"""Recipe + states -> one ``nn.Module``: the only place where the parts meet."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from plait.config import registry
from plait.config.recipe import OutputSpec, Recipe
from plait.fusion.base import Fusion
from plait.fusion.networks import FusionNetwork
from plait.modalities.base import Modality
from plait.nn.blocks import NamedModules
from plait.nn.encoder import Encoder
from plait.nn.head import Arrays, Head
from plait.outputs.base import Output
from plait.outputs.options import Options, options_by_output
from plait.types import Fused, Prediction, State, Tokens


@dataclass(frozen=True)
class Parts:
    """The data sides of a recipe's inputs and outputs."""

    modalities: Mapping[str, Modality]
    outputs: Mapping[str, Output]

    def fitted(self, states: Mapping[str, State]) -> Parts:
        """The same, the outputs with what they learned."""
        outputs = {
            n: output.with_state(states[f"outputs.{n}"]) for n, output in self.outputs.items()
        }
        return replace(self, outputs=outputs)


def build_parts(recipe: Recipe) -> Parts:
    """The modalities and outputs that a recipe names."""
    return Parts(
        {
            name: registry.build(spec.modality, spec.representation)
            for name, spec in recipe.inputs.items()
        },
        {name: build_output(spec) for name, spec in recipe.outputs.items()},
    )


def build_output(spec: OutputSpec) -> Output:
    """The output that a recipe names."""
    output: Output = registry.build("output", {"kind": spec.kind, **spec.settings})
    return output


@dataclass(frozen=True)
class Batch:
    """What the network is fed: for each input what its `Encoder.prepare` gave.

    Attributes:
        prepared: input name -> (B, L, ...) float or int64; zeros behind the shorter records.
        lengths: input name -> (B,) int64, how much of each row is real; 0 where it is absent.
        targets: output name -> B targets; empty when predicting.
    """

    prepared: Mapping[str, Tensor]
    lengths: Mapping[str, Tensor]
    targets: Mapping[str, Sequence[Any]]

    def with_inputs(self, names: Collection[str]) -> Batch:
        """The same records with all other inputs missing."""
        lengths = {k: v if k in names else torch.zeros_like(v) for k, v in self.lengths.items()}
        return replace(self, lengths=lengths)

    def __len__(self) -> int:
        return len(next(iter(self.lengths.values())))

    @classmethod
    def together(cls, batches: Sequence[Batch]) -> Batch:
        """Their records one after the other, without their targets; all are as long."""
        names = batches[0].lengths
        return cls(
            {name: torch.cat([batch.prepared[name] for batch in batches]) for name in names},
            {name: torch.cat([batch.lengths[name] for batch in batches]) for name in names},
            {},
        )

    def rows(self, which: slice) -> Batch:
        """Some of its records, without their targets."""
        prepared = {name: values[which] for name, values in self.prepared.items()}
        return Batch(prepared, {name: found[which] for name, found in self.lengths.items()}, {})

    @property
    def present(self) -> dict[str, Tensor]:
        """Input name -> (B,) bool, which records have it."""
        return {name: length > 0 for name, length in self.lengths.items()}

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(
            {k: v.to(device, non_blocking=True) for k, v in self.prepared.items()},
            {k: v.to(device) for k, v in self.lengths.items()},
            self.targets,
        )


class Adapter(nn.Module):
    """An input's tokens brought to the fusion's width and told their places.

    A record without this input shows one learned token instead, in training and in use alike.
    In training some tokens of a record are left out at random (as patches are by Liu et al. 2023,
    PatchDropout, arXiv:2208.07220), so that no one of them is relied on.
    """

    def __init__(self, ins: int, width: int, length: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.project = nn.Linear(ins, width)
        self.norm = nn.LayerNorm(width)
        self.position = nn.Parameter(torch.randn(length, width) * 0.3)
        self.missing = nn.Parameter(torch.randn(width) * 0.02)

    def forward(self, tokens: Tokens) -> Tokens:
        """Tokens (B, T, ins) -> Tokens (B, T, width); every row has at least one."""
        values = self.norm(self.project(tokens.values))  # (B, T, width)
        values = values + self.position[: values.shape[1]]
        absent = ~tokens.present  # (B,)
        first = torch.zeros_like(tokens.mask)
        first[:, 0] = absent
        values = torch.where(first[..., None], self.missing.to(values.dtype), values)
        mask = tokens.mask | first
        if self.training and self.dropout:
            kept = mask & (torch.rand(mask.shape, device=mask.device) >= self.dropout)
            mask = torch.where(kept.any(dim=1, keepdim=True), kept, mask)
        return Tokens(values, mask)


class Network(nn.Module):
    """Encode each input, fuse, and hand the result to each output's head."""

    def __init__(
        self,
        recipe: Recipe,
        parts: Parts,
        states: Mapping[str, State],
        pretrained: bool,
    ) -> None:
        super().__init__()
        fusion: Fusion = registry.build("fusion", recipe.fusion)
        self.fusion: FusionNetwork = fusion.network(list(recipe.inputs))
        self.outputs = parts.fitted(states).outputs
        self.weights = {name: spec.weight for name, spec in recipe.outputs.items()}
        self.modality_dropout = recipe.training.modality_dropout
        self.mixup = recipe.training.mixup
        width = self.fusion.width
        encoders = {
            name: modality.with_state(states[f"inputs.{name}"]).encoder(pretrained)
            for name, modality in parts.modalities.items()
        }
        self.encoders = NamedModules(encoders)
        self.adapters = NamedModules(
            {
                name: Adapter(encoder.width, width, encoder.length, recipe.training.token_dropout)
                for name, encoder in encoders.items()
            }
        )
        self.heads = NamedModules(
            {
                name: output.head(width, list(encoders), pretrained, self.fusion.branches)
                for name, output in self.outputs.items()
            }
        )

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
        """Encode and fuse."""
        lengths = self._with_dropped_inputs(batch.lengths)
        batch = replace(batch, lengths=lengths)
        fused: Fused = self.fusion(self.tokens(batch), batch.present)
        return fused

    def tokens(self, batch: Batch) -> dict[str, Tokens]:
        """Each input's tokens as the fusion gets them."""
        return {
            name: self.adapters[name](encoder(batch.prepared[name], batch.lengths[name]))
            for name, encoder in self.encoders.items()
        }

    def _with_dropped_inputs(self, lengths: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """In training, some inputs of a record are taken away at random, never the last one, so
        that the model learns to do without (Neverova et al. 2016, arXiv:1501.00102)."""
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

    def forward(self, batch: Batch, reinforce: int = 0) -> Tensor:
        """The weighted sum of the outputs' losses, a scalar; ``reinforce`` samples a record in the
        second stage."""
        fused = self.fuse(batch)
        if self.training and self.mixup and not reinforce:
            return self._mixed_losses(fused, batch.targets)
        return self._losses(fused, batch.targets, reinforce)

    def _mixed_losses(self, fused: Fused, targets: Mapping[str, Sequence[Any]]) -> Tensor:
        """Every record is mixed with another once they are fused, and so are their losses
        (mixup, Zhang et al. 2018, arXiv:1710.09412; of hidden features, Verma et al. 2019,
        arXiv:1806.05236)."""
        own = float(torch.distributions.Beta(self.mixup, self.mixup).sample())
        order = torch.randperm(len(fused.pooled)).tolist()
        others = {name: [values[row] for row in order] for name, values in targets.items()}
        mixed = mix(fused, order, own)
        return own * self._losses(mixed, targets) + (1 - own) * self._losses(mixed, others)

    def _losses(
        self, fused: Fused, targets: Mapping[str, Sequence[Any]], reinforce: int = 0
    ) -> Tensor:
        losses = [
            self.weights[name] * self._loss(self.head(name), fused, wanted, reinforce)
            for name, wanted in targets.items()
        ]
        return torch.stack(losses).sum()

    def _loss(self, head: Head, fused: Fused, targets: Sequence[Any], reinforce: int) -> Tensor:
        """An output's loss, and that of each branch's own answer."""

        def loss(seen: Fused, branch: str | None = None) -> Tensor:
            if reinforce:
                return head.reinforce(seen, targets, reinforce, branch)
            return head.loss(seen, targets, branch)

        if self.fusion.branches is None:
            return loss(fused)
        own = [loss(part, name) for name, part in fused.branches.items()]
        return loss(fused) + self.fusion.branches.branch_loss_weight * torch.stack(own).sum()

    @torch.no_grad()
    def predict(self, batch: Batch, **options: Any) -> dict[str, list[Prediction]]:
        """Free-running answers of every output; ``options`` as in `decoding_options`."""
        chosen = self.decoding_options(**options)
        fused = self.fuse(batch)
        return {name: self.decode(name, fused, own) for name, own in chosen.items()}

    @torch.no_grad()
    def decode(self, output: str, fused: Fused, options: Options) -> list[Prediction]:
        """Free-running answers of one output; ``options`` are its own."""
        head = self.head(output)
        raw = head.raw_outputs(fused)
        steps = head.stepper(fused, raw)
        return self.outputs[output].decode(Arrays(raw), head.fitted(), options, steps)

    def decoding_options(self, **options: Any) -> dict[str, Options]:
        """How the answers of each output are found. An option goes to every output that has it.

        Raises:
            UsageError: no output has it, or it can't have that value.
        """
        makers = {name: output.options for name, output in self.outputs.items()}
        return options_by_output(makers, options)

    @torch.no_grad()
    def support(self, batch: Batch, output: str, answers: Sequence[Any]) -> Tensor:
        """(B,) what the model, given these records, thinks of such answers."""
        return self.head(output).support(self.fuse(batch), answers)


def mix(fused: Fused, order: Sequence[int], own: float) -> Fused:
    """What outputs see of a record alone, mixed with that of another, ``own`` + (1 - ``own``).

    Tokens stay as they are: those of two records are not of one place or number.

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
    recipe: Recipe, parts: Parts, states: Mapping[str, State], pretrained: bool = True
) -> Network:
    """The network with weights drawn from the recipe's seed, whatever was drawn before.

    ``pretrained`` parts start from their pretrained weights; False is for a package, whose own
    weights replace all: nothing is read from elsewhere then.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return Network(recipe, parts, states, pretrained)
