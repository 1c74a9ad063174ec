"""Attention, transformer block, readers, masked pooling: plain torch, shared by all folders.

Shapes: B batch, T tokens, L words, D width, H heads, Dh = D / H.
"""

from __future__ import annotations

import math
from collections.abc import ItemsView, Iterator, KeysView, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plait.types import Fused, Tokens, UsageError

Reader = Literal["gru", "cnn", "transformer"]
KERNEL = 3  # tokens that a convolution sees at a time
OWN = "="  # before a name that a container of modules has itself


class NamedModules(nn.ModuleDict):
    """Modules by the user's names, which may be those of the container's own attributes too
    ("type", "values")."""

    def __setitem__(self, key: str, module: nn.Module) -> None:
        super().__setitem__(_attribute(key), module)

    def __getitem__(self, key: str) -> nn.Module:
        return super().__getitem__(_attribute(key))

    def __contains__(self, key: str) -> bool:
        return super().__contains__(_attribute(key))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> KeysView[str]:
        """The names as they were given."""
        return dict(self.items()).keys()

    def items(self) -> ItemsView[str, nn.Module]:
        """Names as they were given, and modules."""
        return {key.removeprefix(OWN): module for key, module in super().items()}.items()


def _attribute(name: str) -> str:
    """What a module of that name is called among the container's attributes."""
    return f"{OWN}{name}" if hasattr(nn.ModuleDict, name) or name == "training" else name


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real tokens: (B, T, D), (B, T) -> (B, D); all-masked rows give zeros."""
    weights = mask.to(values.dtype)[..., None]  # (B, T, 1)
    return (values * weights).sum(1) / weights.sum(1).clamp(min=1.0)


def side_by_side(parts: Mapping[str, Tokens]) -> Tokens:
    """All inputs' tokens in one sequence, in the inputs' order."""
    return Tokens(
        torch.cat([part.values for part in parts.values()], dim=1),
        torch.cat([part.mask for part in parts.values()], dim=1),
    )


def alone(name: str, part: Tokens) -> Fused:
    """What an output gets that sees one input alone."""
    return Fused(masked_mean(part.values, part.mask), part, {name: part})


def shares(scores: Tensor, there: Tensor) -> Tensor:
    """Softmax of (B, M) over what is there; where nothing is, over all."""
    kept = there | ~there.any(dim=1, keepdim=True)
    return scores.masked_fill(~kept, float("-inf")).softmax(dim=1)


def length_mask(lengths: Tensor, longest: int) -> Tensor:
    """(B,) -> (B, longest) bool, True within each row's length."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


def strided(lengths: Tensor, stride: int) -> Tensor:
    """(B,) lengths after a layer of that stride: the quotient, rounded up."""
    return (lengths + stride - 1) // stride  # of no number below 0: exported graphs round these up


def fast_backward(device: torch.device) -> AbstractContextManager[object]:
    """Float32 on a CPU, whatever is chosen: PyTorch's backward pass of attention takes ten times as
    long in bfloat16 there, that of a small GRU half as long again."""
    return torch.autocast("cpu", enabled=False) if device.type == "cpu" else nullcontext()


class Attention(nn.Module):
    """Multi-head scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762).

    Keys and values are projected apart from the queries (`keys_values`), so that decoding
    projects the photo's tokens once and keeps them.
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
        """(B, L, D) attends to T tokens; ``mask`` (B, T) is True where one may look."""
        query = self._split(self.query(queries))  # (B, H, L, Dh)
        key, value = keys_values
        look = None if mask is None else mask[:, None, None, :]
        if query.device.type == "cpu" and query.requires_grad:
            query, key, value = query.float(), key.float(), value.float()
        with fast_backward(query.device):
            out = F.scaled_dot_product_attention(
                query, key, value, attn_mask=look, is_causal=causal
            )
        return self.out(self._merge(out))

    def with_weights(
        self, queries: Tensor, keys_values: tuple[Tensor, Tensor], mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `forward`, and the weights averaged over heads, (B, L, T)."""
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
    """Pre-norm transformer block over a masked set of tokens.

    Dropout acts on what each part adds to the residual stream, not inside the parts: the random
    numbers for attention weights and hidden layers cost more time than they help.
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


def make_reader(
    kind: Literal["mean"] | Reader, width: int, layers: int, dropout: float, longest: int
) -> nn.Module:
    """A network that reads tokens in order: (B, T, D), mask (B, T) -> (B, T, D), T at most
    ``longest``; or takes their mean, (B, 1, D), whatever their order. One of no layers leaves the
    tokens as they are."""
    if kind == "mean":
        return MeanReader()
    if not layers:
        return NoReader()
    makers = {"gru": GruReader, "cnn": CnnReader, "transformer": TransformerReader}
    return makers[kind](width, layers, dropout, longest)


class NoReader(nn.Module):
    """The tokens as they are."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        return x


class MeanReader(nn.Module):
    """The tokens' mean (for words: Iyyer et al. 2015, deep averaging)."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D) -> (B, 1, D)."""
        return masked_mean(torch.where(mask[..., None], x, 0.0), mask)[:, None]


class GruReader(nn.Module):
    """Reads on and back; where a record ends is told by its mask, so that padding is never read.

    Padding lies behind a record, where the way on reads it last and the way back, which begins at
    the record's end, does too. Packed sequences would say the same, in three times the time.
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
        lengths = mask.sum(dim=1, keepdim=True).clamp(min=1)  # an absent record is one of padding
        places = torch.arange(x.shape[1], device=x.device)
        turned = torch.where(places < lengths, lengths - 1 - places, places)[..., None]
        with fast_backward(x.device):
            for number, (on, back) in enumerate(zip(self.on, self.back, strict=True)):
                x = self.drop(x) if number else x.float()
                reverse = back(x.gather(1, turned.expand_as(x)))[0]
                x = torch.cat([on(x)[0], reverse.gather(1, turned.expand_as(reverse))], dim=-1)
        return self.out(torch.where(mask[..., None], x, 0.0))


class CnnReader(nn.Module):
    """Convolutions over three tokens, added to what they saw."""

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


class TransformerReader(nn.Module):
    """Transformer blocks over the tokens and their places."""

    def __init__(self, width: int, layers: int, dropout: float, longest: int) -> None:
        super().__init__()
        heads = next(h for h in (4, 2, 1) if width % h == 0)
        self.position = nn.Parameter(torch.randn(longest, width) * 0.02)
        self.blocks = nn.ModuleList(EncoderBlock(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        first = torch.zeros_like(mask)
        first[:, 0] = ~mask.any(dim=1)  # attention to nothing at all would be no number
        x = x + self.position[: x.shape[1]]
        for block in self.blocks:
            x = block(x, mask | first)
        return self.norm(x)


def token_cross_entropy(
    logits: Tensor, targets: Tensor, smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy over real tokens.

    Args:
        logits: (N, V) of real tokens only; padding was left out before.
        targets: (N,) ids.
        smoothing: label smoothing (Szegedy et al. 2016, arXiv:1512.00567).
        weights: (N,) what each token's loss is multiplied by; all alike when None.
    """
    if weights is None:
        return F.cross_entropy(logits, targets, label_smoothing=smoothing)
    each = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
    return (each * weights).mean()


def has_bfloat16(device: torch.device) -> bool:
    """Whether the processor or GPU computes in bfloat16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    has_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    return bool(has_bf16 or has_amx)


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
