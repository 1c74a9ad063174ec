"""Attention, transformer blocks, sequence encoders and masked pooling: plain torch, shared by all.

Shapes: B batch, T tokens, L words, D width, H heads, Dh = D / H.
"""

from __future__ import annotations

import math
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import reduce
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from plait.types import Fused, Tokens, UsageError

KERNEL = 3  # tokens per convolution
OWN = "="  # prefix of names that torch's container already has


def attribute(name: str) -> str:
    """The attribute that a container of torch's can hold a module or parameter of this name in: its
    own attributes ("type", "values") are not free."""
    return f"{OWN}{name}" if hasattr(nn.ModuleDict, name) or name == "training" else name


class NamedModules(nn.ModuleDict):
    """Modules by any name, see `attribute`."""

    def __setitem__(self, key: str, module: nn.Module) -> None:
        super().__setitem__(attribute(key), module)

    def __getitem__(self, key: str) -> nn.Module:
        return super().__getitem__(attribute(key))

    def __contains__(self, key: str) -> bool:
        return super().__contains__(attribute(key))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> KeysView[str]:
        """The original names."""
        return dict(self.items()).keys()

    def items(self) -> ItemsView[str, nn.Module]:
        """Original names and modules."""
        return {key.removeprefix(OWN): module for key, module in super().items()}.items()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real tokens: (B, T, D), (B, T) -> (B, D); all-masked rows give zeros."""
    weights = mask.to(values.dtype)[..., None]  # (B, T, 1)
    return (values * weights).sum(1) / weights.sum(1).clamp(min=1.0)


def side_by_side(parts: Mapping[str, Tokens]) -> Tokens:
    """The tokens of all inputs in one sequence, in the order of the inputs."""
    values, masks = zip(*((part.values, part.mask) for part in parts.values()), strict=True)
    return Tokens(torch.cat(values, dim=1), torch.cat(masks, dim=1))


def alone(name: str, part: Tokens) -> Fused:
    """A single input as an output receives it."""
    return Fused(masked_mean(part.values, part.mask), part, {name: part})


def shares(scores: Tensor, there: Tensor) -> Tensor:
    """Softmax of (B, M) over what is present, or over everything if nothing is."""
    kept = there | ~there.any(dim=1, keepdim=True)
    return scores.masked_fill(~kept, float("-inf")).softmax(dim=1)


def length_mask(lengths: Tensor, longest: int) -> Tensor:
    """(B,) -> (B, longest) bool, True within each row's length."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


def zero_after(x: Tensor, lengths: Tensor) -> Tensor:
    """(B, L, ...) with zeros after each record's length, whatever was there before, so that its
    end looks the same in any batch."""
    mask = length_mask(lengths, x.shape[1])
    return torch.where(mask.view(*mask.shape, *[1] * (x.ndim - 2)), x, 0)


def real_tokens(values: Tensor, lengths: Tensor) -> Tokens:
    """Tokens (B, T, D), as many of them real as the record is long; a single one, such as a mean,
    is real where the record has any length."""
    return Tokens(zero_after(values, lengths), length_mask(lengths, values.shape[1]))


def encode_sequence(encoder: SequenceEncoder, x: Tensor, lengths: Tensor) -> Tokens:
    """What a sequence encoder makes of (B, T, D)."""
    return real_tokens(encoder(x, length_mask(lengths, x.shape[1])), lengths)


def present_tokens(values: Tensor, present: Tensor) -> Tokens:
    """Tokens (B, T, D), all real for present records and masked for the others, with zeros there so
    that garbage in missing rows can't leak."""
    mask = present[:, None].expand(values.shape[:2])
    return Tokens(torch.where(mask[..., None], values, 0), mask)


def strided(lengths: Tensor, stride: int) -> Tensor:
    """(B,) lengths after a layer of that stride: the quotient, rounded up."""
    # Of no negative number, which exported graphs would round differently.
    return (lengths + stride - 1) // stride


def strided_count(count: int, strides: Iterable[int]) -> int:
    """How many of ``count`` places are left after layers of these strides."""
    return reduce(lambda left, stride: -(-left // stride), strides, count)


def fast_backward(device: torch.device) -> AbstractContextManager[object]:
    """Float32 on a CPU, whatever precision is chosen: there PyTorch's backward pass takes ten times
    as long in bfloat16 for attention, and 1.5 times as long for a small GRU."""
    return torch.autocast("cpu", enabled=False) if device.type == "cpu" else nullcontext()


class Attention(nn.Module):
    """Multi-head scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762).

    Keys and values are projected separately (`keys_values`), so that decoding projects the input's
    tokens only once.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise UsageError(
                f"a width of {width} is not a multiple of {heads} heads",
                hint="change fusion.width or the number of heads",
            )
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def keys_values(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D) -> keys and values (B, H, T, Dh) each."""
        key, value = self.key_value(tokens).chunk(2, dim=-1)  # (B, T, D) each
        return self._split(key), self._split(value)

    def forward(
        self,
        queries: Tensor,
        keys_values: tuple[Tensor, Tensor],
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """(B, L, D) attends to T tokens; ``mask`` (B, T) is True for those that may be used."""
        query = self._split(self.query(queries))  # (B, H, L, Dh)
        key, value = keys_values
        look = None if mask is None else mask[:, None, None, :]
        if query.device.type == "cpu" and query.requires_grad:
            query, key, value = query.float(), key.float(), value.float()
        with fast_backward(query.device):
            out = F.scaled_dot_product_attention(query, key, value, look, is_causal=causal)
        return self.out(self._merge(out))

    def with_weights(
        self, queries: Tensor, keys_values: tuple[Tensor, Tensor], mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`forward`, and the weights averaged over heads, (B, L, T)."""
        query = self._split(self.query(queries))
        key, value = keys_values
        scores = query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1])  # (B, H, L, T)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None, :], float("-inf"))
        weights = scores.softmax(dim=-1)
        return self.out(self._merge(weights @ value)), weights.mean(dim=1)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)  # (B, L, D) -> (B, H, L, Dh)

    def _merge(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(-2)  # (B, H, L, Dh) -> (B, L, D)


class FeedForward(nn.Sequential):
    """Linear, GELU, linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class EncoderBlock(nn.Module):
    """Pre-norm transformer block over masked tokens.

    Dropout acts on what each part adds to the residual stream. Dropout inside the parts would cost
    more time than it is worth.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention, self.norm_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed = FeedForward(width, 4 * width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D), (B, T) -> (B, T, D)."""
        y = self.norm_attention(x)
        x = x + self.drop(self.attention(y, self.attention.keys_values(y), mask))
        return x + self.drop(self.feed(self.norm_feed(x)))


class SequenceEncoder(Protocol):
    """Encodes a sequence of tokens as another one, or as a single token."""

    def __call__(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D), (B, T) -> (B, T, D) or (B, 1, D)."""


class SequenceSettings(Protocol):
    """The settings of a representation with a sequence encoder."""

    sequence_encoder: Any
    """"gru", "cnn", "transformer" or "mean"."""
    width: int
    layers: int
    dropout: float


def make_sequence_encoder(part: SequenceSettings, longest: int) -> nn.Module:
    """The `SequenceEncoder` of these settings, for T up to ``longest``. The kind "mean" gives a
    single token; without layers, tokens stay as they are."""
    if part.sequence_encoder == "mean":
        return MeanEncoder()
    makers = {"gru": GruEncoder, "cnn": ConvolutionEncoder, "transformer": TransformerEncoder}
    kind = part.sequence_encoder if part.layers else "cnn"  # which does nothing then
    return makers[kind](part.width, part.layers, part.dropout, longest)


class MeanEncoder(nn.Module):
    """The mean of the tokens (for words: Iyyer et al. 2015, deep averaging)."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D) -> (B, 1, D)."""
        return masked_mean(torch.where(mask[..., None], x, 0.0), mask)[:, None]


class GruEncoder(nn.Module):
    """A bidirectional GRU. Both directions read the padding last: the backward one starts at the
    record's end, given by its mask. Packed sequences would give the same in three times the time.
    """

    def __init__(self, width: int, layers: int, dropout: float, longest: int) -> None:
        super().__init__()
        size = width // 2
        widths = [width] + [2 * size] * (layers - 1)
        self.on = nn.ModuleList(nn.GRU(ins, size, batch_first=True) for ins in widths)
        self.back = nn.ModuleList(nn.GRU(ins, size, batch_first=True) for ins in widths)
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(2 * size, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        # A missing record counts as one token of padding.
        lengths = mask.sum(dim=1, keepdim=True).clamp(min=1)
        places = torch.arange(x.shape[1], device=x.device)
        turned = torch.where(places < lengths, lengths - 1 - places, places)[..., None]
        with fast_backward(x.device):
            for number, (on, back) in enumerate(zip(self.on, self.back, strict=True)):
                x = self.drop(x) if number else x.float()
                reverse = back(x.gather(1, turned.expand_as(x)))[0]
                x = torch.cat([on(x)[0], reverse.gather(1, turned.expand_as(reverse))], dim=-1)
        return self.out(torch.where(mask[..., None], x, 0.0))


class ConvolutionEncoder(nn.Module):
    """Residual convolutions over three tokens."""

    def __init__(self, width: int, layers: int, dropout: float, longest: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2) for _ in range(layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = torch.where(mask[..., None], x, 0.0)
            seen = layer(x.transpose(1, 2)).transpose(1, 2)
            x = norm(x + self.drop(F.gelu(seen)))
        return x


class TransformerEncoder(nn.Module):
    """Transformer blocks over the tokens and their positions."""

    def __init__(self, width: int, layers: int, dropout: float, longest: int) -> None:
        super().__init__()
        heads = next(h for h in (4, 2, 1) if width % h == 0)
        self.position = nn.Parameter(torch.randn(longest, width) * 0.02)
        self.blocks = nn.ModuleList(EncoderBlock(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        first = torch.zeros_like(mask)
        first[:, 0] = ~mask.any(dim=1)  # attention to no token at all would give NaN
        x = x + self.position[: x.shape[1]]
        for block in self.blocks:
            x = block(x, mask | first)
        return self.norm(x)


def token_cross_entropy(
    logits: Tensor, targets: Tensor, smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy over real tokens.

    Args:
        logits: (N, V) for real tokens only, without padding.
        targets: (N,) ids.
        smoothing: label smoothing (Szegedy et al. 2016, arXiv:1512.00567).
        weights: (N,) factors of the tokens' losses; None for equal weights.
    """
    how = "mean" if weights is None else "none"
    losses = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction=how)
    return losses if weights is None else (losses * weights).mean()


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 natively."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in asked)


def count_parameters(module: nn.Module, trainable: bool | None = None) -> int:
    """Number of parameters: all, only the trainable, or only the frozen ones."""
    return sum(
        p.numel() for p in module.parameters() if trainable is None or p.requires_grad == trainable
    )


def freeze(module: nn.Module) -> nn.Module:
    """The module without gradients, in evaluation mode."""
    return module.requires_grad_(False).eval()


class FrozenPart(nn.Module):
    """A frozen part of an encoder.

    Args:
        key: all that its result depends on beside its weights and the state; `extra_repr` makes it
            part of the feature cache's key.
    """

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key

    def extra_repr(self) -> str:
        """The key."""
        return self.key


class NumpyPart(FrozenPart):
    """Where it is numpy's work: ``prepare`` of the modality, one record after the other."""

    def __init__(self, prepare: Callable[[Any], NDArray[Any]], key: str) -> None:
        super().__init__(key)
        self.prepare = prepare

    def forward(self, item: Tensor) -> Tensor:
        """(L, ...) -> (L', ...)."""
        return torch.from_numpy(self.prepare(item.cpu().numpy())).to(item.device)
