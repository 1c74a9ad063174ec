"""`ctc`: connectionist temporal classification (Graves et al. 2006, ICML), for text that goes along
with its input in time, as speech does.

Every token of the input says a unit or nothing (the blank, for which padding's id stands); a unit
that is said by tokens in a row is one. How probable it is that the text begins with a prefix,
however the prefix lies in time, can be told word by word (Graves 2008, "Supervised sequence
labelling", and Watanabe et al. 2017, "Hybrid CTC/attention architecture for end-to-end speech
recognition", algorithm 2). So this is searched as any decoder is, alone or beside another one.

Shapes: B records, N sentences, L words, T tokens of the input, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from plait.config.registry import register
from plait.data.vocabulary import BOS, EOS, PAD
from plait.outputs.text.decoders.base import Decoder, DecoderState
from plait.types import Fused

BLANK = PAD
NEVER = -1e4  # log-probability of what can't be; finite, so that differences of it are
LEAST = 1e-30  # probability that counts as one


@register("decoder", "ctc")
class CtcDecoder(Decoder):
    """Each token of the input says a unit or nothing, in the input's order: for speech."""

    final_scores = True

    def __init__(
        self,
        vocabulary: int,
        width: int,
        max_words: int,
        *,
        dropout: Annotated[float, Field(ge=0, lt=1, description="dropout")] = 0.1,
    ) -> None:
        super().__init__()
        self.norm, self.drop = nn.LayerNorm(width), nn.Dropout(dropout)
        self.out = nn.Linear(width, vocabulary)

    def emissions(self, fused: Fused) -> Tensor:
        """(B, T, V) log-probabilities of what each token says; masked ones say nothing."""
        logits = self.out(self.drop(self.norm(fused.tokens.values))).float()
        units = torch.arange(logits.shape[-1], device=logits.device)
        logits = torch.where((units == BOS) | (units == EOS), NEVER, logits)
        silence = torch.where(units == BLANK, 0.0, NEVER)
        return torch.where(fused.tokens.mask[..., None], logits.log_softmax(-1), silence)

    def own_loss(
        self, fused: Fused, owners: Sequence[int], sentences: Sequence[Sequence[int]]
    ) -> Tensor:
        """-log p(sentence) a unit, its mean over the sentences.

        A sentence with more units than its input has tokens can't be said, and teaches nothing.

        Args:
            fused: of B records.
            owners: each sentence's record.
            sentences: ids of units, with the end token or without.
        """
        rows = torch.tensor(owners, device=fused.tokens.mask.device)
        emissions = self.emissions(fused)[rows]  # (N, T, V)
        said = [[unit for unit in ids if unit != EOS] for ids in sentences]
        counts = torch.tensor([len(ids) for ids in said])
        nll = F.ctc_loss(
            emissions.transpose(0, 1),
            torch.tensor([unit for ids in said for unit in ids]),
            fused.tokens.mask.sum(dim=1)[rows].cpu(),
            counts,
            BLANK,
            reduction="none",
            zero_infinity=True,
        )  # (N,)
        return (nll / counts.clamp(min=1).to(nll)).mean()

    def start(self, fused: Fused) -> DecoderState:
        """What is said when, and the empty prefix."""
        emissions = self.emissions(fused)
        silence = emissions[..., BLANK].cumsum(dim=1)  # (B, T)
        never = torch.full_like(silence, NEVER)
        nothing = torch.zeros_like(silence[:, 0])
        return DecoderState(
            {"said": emissions.exp(), "mask": fused.tokens.mask},
            # Log-probabilities: that the prefix is all that the tokens up to each one say, where
            # that token says its last unit, or nothing; and that the text begins with it.
            {"unit": never, "blank": silence, "prefix": nothing, "last": nothing.long() + BOS},
        )

    def forward(
        self, words: Tensor, state: DecoderState, attend: bool = False
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """Hidden (N, L, V): the scores of the next word, log p(prefix and it) - log p(prefix).

        Attention (N, L, T) is where the next word, whatever it is, begins.
        """
        scores, looks, said = [], [], state.memory["said"]
        past: Mapping[str, Tensor] = state.past
        for word in words.unbind(dim=1):
            past = _after(word, past, said)
            scores.append(_next(past, said))
            if attend:  # a search asks for the scores alone, at every step
                looks.append(_where(past, state.memory))
        attention = torch.stack(looks, dim=1) if attend else None
        return torch.stack(scores, dim=1), attention, DecoderState(state.memory, dict(past))

    def logits(self, hidden: Tensor) -> Tensor:
        """The scores are ready."""
        return hidden


def _before(past: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(N, T) each, before every token: log-probability that the prefix has been said and nothing
    since; and that the token before says its last unit."""
    empty = past["last"] == BOS
    first = torch.where(empty, 0.0, NEVER)[:, None]
    paused = torch.cat([first, past["blank"][:, :-1]], dim=1)
    return paused, F.pad(past["unit"][:, :-1], (1, 0), value=NEVER)


def _next(past: Mapping[str, Tensor], said: Tensor) -> Tensor:
    """(N, V) scores of the next word; of the end, that the prefix is all there is."""
    paused, going = _before(past)
    begins = _either(paused, going)  # (N, T): a new unit may begin here
    most = begins.amax(dim=1, keepdim=True)
    total = torch.bmm((begins - most).exp()[:, None], said)[:, 0]  # (N, V)
    last = past["last"][:, None]
    # The same unit again needs a pause between.
    again = _column(said, past["last"]) * (paused - most).exp()  # (N, T)
    total = total.scatter(1, last, again.sum(dim=1, keepdim=True))
    scores = total.clamp(min=LEAST).log() + most
    units = torch.arange(scores.shape[1], device=scores.device)
    ended = _either(past["unit"][:, -1:], past["blank"][:, -1:])  # (N, 1)
    scores = torch.where(units == EOS, ended, scores) - past["prefix"][:, None]
    return torch.where((units == BLANK) | (units == BOS), NEVER, scores)


def _where(past: Mapping[str, Tensor], memory: Mapping[str, Tensor]) -> Tensor:
    """(N, T): the chance that the next word begins at each token, whatever it is."""
    said, mask = memory["said"], memory["mask"].float()
    paused, going = _before(past)
    most = torch.maximum(paused, going).amax(dim=1, keepdim=True)
    again = _column(said, past["last"])
    others = 1 - said[..., BLANK] - again
    chance = (paused - most).exp() * (others + again) + (going - most).exp() * others
    chance = chance.clamp(min=0) * mask
    total = chance.sum(dim=1, keepdim=True)
    # Behind a prefix that fills all tokens nothing can begin: then anywhere.
    return torch.where(
        total > LEAST, chance / total.clamp(min=LEAST), mask / mask.sum(1, True).clamp(min=1)
    )


def _after(word: Tensor, past: Mapping[str, Tensor], said: Tensor) -> dict[str, Tensor]:
    """The prefixes with a word (N,) more; the start token leaves them as they are."""
    paused, going = _before(past)
    same = (word == past["last"])[:, None]
    begins = torch.where(same, paused, _either(paused, going))  # (N, T)
    own = _column(said, word).clamp(min=LEAST).log()  # (N, T)
    silent = said[..., BLANK].clamp(min=LEAST).log()
    unit = _running(begins, own)
    blank = _running(F.pad(unit[:, :-1], (1, 0), value=NEVER), silent)
    longer = {
        "unit": unit,
        "blank": blank,
        "prefix": (begins + own).logsumexp(dim=1),
        "last": word,
    }
    start = word == BOS
    return {
        name: torch.where(start.view(-1, *[1] * (value.ndim - 1)), past[name], value)
        for name, value in longer.items()
    }


def _running(enters: Tensor, stays: Tensor) -> Tensor:
    """(N, T): x[t] = log(exp(x[t-1]) + exp(enters[t])) + stays[t], from nothing before.

    Less all that was paid by staying, C[t] = stays[0] + ... + stays[t], it is a cumulative sum:
    x[t] - C[t] = log sum over s <= t of exp(enters[s] - C[s-1]). In float64, as C grows large.
    """
    paid = stays.double().cumsum(dim=1)
    before = F.pad(paid[:, :-1], (1, 0))
    return (_cumulative(enters - before) + paid).float()


def _cumulative(x: Tensor) -> Tensor:
    """(N, T) -> (N, T), log of the sum of the exponentials so far. Exported graphs have no such
    operation: every place's sum is taken by itself."""
    if not torch.onnx.is_in_onnx_export():
        return x.logcumsumexp(dim=1)
    places = torch.arange(x.shape[1])
    each = torch.where(places[:, None] >= places, x[:, None], NEVER * 1e6)  # (N, T, T)
    most = each.amax(dim=2, keepdim=True)
    return (each - most).exp().sum(dim=2).log() + most[..., 0]


def _either(one: Tensor, other: Tensor) -> Tensor:
    """log(exp(one) + exp(other))."""
    if not torch.onnx.is_in_onnx_export():
        return torch.logaddexp(one, other)
    return torch.maximum(one, other) + (-(one - other).abs()).exp().log1p()


def _column(said: Tensor, word: Tensor) -> Tensor:
    """(N, T): what each token says of one word (N,)."""
    return said.gather(2, word[:, None, None].expand(-1, said.shape[1], 1))[..., 0]


def align(emissions: NDArray[np.float32], units: Sequence[int]) -> list[range]:
    """The tokens that say each unit, on the likeliest way through (T, V) log-probabilities; empty
    ranges where there is no way, as there are fewer tokens than units."""
    if not len(emissions):
        return [range(0)] * len(units)
    labels = np.full(2 * len(units) + 1, BLANK)
    labels[1::2] = units
    own = emissions[:, labels]  # (T, S): pause, unit, pause, unit, ..., pause
    skips = np.zeros(len(labels), bool)
    skips[3::2] = labels[3::2] != labels[1:-2:2]  # no pause is needed between unlike units
    best = np.full(len(labels), -np.inf)
    best[:2] = own[0, :2]
    came = np.zeros(own.shape, int)  # how many states back each state was come from
    for t in range(1, len(own)):
        ways = np.full((3, len(labels)), -np.inf)
        for back in range(3):
            ways[back, back:] = best[: len(best) - back]
        ways[2, ~skips] = -np.inf
        came[t] = ways.argmax(axis=0)
        best = ways.max(axis=0) + own[t]
    state = len(labels) - 1 if len(labels) == 1 or best[-1] >= best[-2] else len(labels) - 2
    if not np.isfinite(best[state]):
        return [range(0)] * len(units)
    path = np.empty(len(own), int)
    for t in range(len(own) - 1, -1, -1):
        path[t] = state
        state -= came[t, state]
    where = [np.flatnonzero(path == 2 * number + 1) for number in range(len(units))]
    return [range(int(tokens[0]), int(tokens[-1]) + 1) for tokens in where]
