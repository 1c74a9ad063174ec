"""Connectionist temporal classification (Graves et al. 2006, ICML).

Every token of the input says a unit or nothing (the blank); the same unit said by adjacent tokens
is one. The probability that the text begins with a prefix, whatever the alignment, is updated unit
by unit (Graves 2008, "Supervised sequence labelling", and Watanabe et al. 2017, "Hybrid
CTC/attention architecture for end-to-end speech recognition", algorithm 2). So this is searched
like any other decoder, alone or beside another one.

Shapes: B records, N texts, L units of a text, T tokens of the input, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import eq

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plait.data.vocabulary import BOS, EOS
from plait.outputs.text.decoders.ctc import BLANK, CtcDecoder
from plait.outputs.text.decoders.networks.base import DecoderNetwork, DecoderState
from plait.types import Fused

NEVER = -1e4  # log-probability of the impossible; finite, so that its differences are
LEAST = 1e-30  # the smallest probability


class CtcNetwork(DecoderNetwork):
    """Each token of the input says a unit or nothing, in the input's order."""

    final_scores = CtcDecoder.final_scores

    def __init__(self, settings: CtcDecoder, vocabulary: int, width: int, *_: object) -> None:
        """See `Decoder.network`."""
        super().__init__()
        self.norm, self.drop = nn.LayerNorm(width), nn.Dropout(settings.dropout)
        self.out = nn.Linear(width, vocabulary)
        self.seen = self.impossible = 0  # texts in training

    def emissions(self, fused: Fused) -> Tensor:
        """(B, T, V) log-probabilities of what each token says; masked ones say nothing."""
        logits = self.out(self.drop(self.norm(fused.tokens.values))).float()
        units = torch.arange(logits.shape[-1], device=logits.device)
        logits = torch.where((units == BOS) | (units == EOS), NEVER, logits)
        silence = torch.where(units == BLANK, 0.0, NEVER)
        return torch.where(fused.tokens.mask[..., None], logits.log_softmax(-1), silence)

    def sequence_loss(
        self, fused: Fused, owners: Sequence[int], texts: Sequence[Sequence[int]]
    ) -> Tensor:
        """-log p(text) / its units, the mean over the texts; see `DecoderNetwork.sequence_loss`.

        A text with more units than its input has tokens is impossible, left out, and counted.
        """
        rows = torch.tensor(owners, device=fused.tokens.mask.device)
        emissions = self.emissions(fused)[rows]  # (N, T, V)
        units = [[unit for unit in ids if unit != EOS] for ids in texts]
        counts = torch.tensor([len(ids) for ids in units])
        lengths = fused.tokens.mask.sum(dim=1)[rows].cpu()
        if self.training:
            # Between two equal units a token has to say nothing.
            needed = [len(ids) + sum(map(eq, ids, ids[1:])) for ids in units]
            self.seen += len(units)
            self.impossible += int((torch.tensor(needed) > lengths).sum())
        nll = F.ctc_loss(
            emissions.transpose(0, 1),
            torch.tensor([unit for ids in units for unit in ids]),
            lengths,
            counts,
            BLANK,
            reduction="none",
            zero_infinity=True,
        )  # (N,)
        return (nll / counts.clamp(min=1).to(nll)).mean()

    def start(self, fused: Fused) -> DecoderState:
        """What each token says, and the empty prefix."""
        emissions = self.emissions(fused)
        silence = emissions[..., BLANK].cumsum(dim=1)  # (B, T)
        never = torch.full_like(silence, NEVER)
        nothing = torch.zeros_like(silence[:, 0])
        return DecoderState(
            {"mask": fused.tokens.mask, "emitted": emissions.exp()},
            # Log-probabilities: that the prefix is all that the tokens up to each one say, where
            # that token says its last unit ("unit") or nothing ("blank"); and that the text begins
            # with the prefix.
            {"unit": never, "blank": silence, "prefix": nothing, "last": nothing.long() + BOS},
        )

    def forward(
        self, tokens: Tensor, state: DecoderState, attend: bool = False
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """Hidden (N, L, V): the scores of the next unit, log p(prefix and it) - log p(prefix).

        Attention (N, L, T) is where the next unit, whatever it is, begins.
        """
        scores, looks, emitted = [], [], state.memory["emitted"]
        past: Mapping[str, Tensor] = state.past
        for unit in tokens.unbind(dim=1):
            past = _after(unit, past, emitted)
            scores.append(_next(past, emitted))
            if attend:  # a search asks for the scores alone, at every step
                looks.append(_where(past, state.memory))
        attention = torch.stack(looks, dim=1) if attend else None
        return torch.stack(scores, dim=1), attention, DecoderState(state.memory, dict(past))

    def logits(self, hidden: Tensor) -> Tensor:
        """Nothing is left to do."""
        return hidden


def _before(past: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(N, T) each, before every token: log-probability that the prefix has been said and nothing
    since; and that the token before says its last unit."""
    empty = past["last"] == BOS
    first = torch.where(empty, 0.0, NEVER)[:, None]
    paused = torch.cat([first, past["blank"][:, :-1]], dim=1)
    return paused, F.pad(past["unit"][:, :-1], (1, 0), value=NEVER)


def _next(past: Mapping[str, Tensor], emitted: Tensor) -> Tensor:
    """(N, V) scores of the next unit; of the end, that the prefix is all there is."""
    paused, going = _before(past)
    begins = _either(paused, going)  # (N, T): a new unit may begin here
    most = begins.amax(dim=1, keepdim=True)
    total = torch.bmm((begins - most).exp()[:, None], emitted)[:, 0]  # (N, V)
    last = past["last"][:, None]
    # The same unit again needs a blank between.
    again = _column(emitted, past["last"]) * (paused - most).exp()  # (N, T)
    total = total.scatter(1, last, again.sum(dim=1, keepdim=True))
    scores = total.clamp(min=LEAST).log() + most
    units = torch.arange(scores.shape[1], device=scores.device)
    ended = _either(past["unit"][:, -1:], past["blank"][:, -1:])  # (N, 1)
    scores = torch.where(units == EOS, ended, scores) - past["prefix"][:, None]
    return torch.where((units == BLANK) | (units == BOS), NEVER, scores)


def _where(past: Mapping[str, Tensor], memory: Mapping[str, Tensor]) -> Tensor:
    """(N, T): the chance that the next unit, whatever it is, begins at each token."""
    emitted, mask = memory["emitted"], memory["mask"].float()
    paused, going = _before(past)
    most = torch.maximum(paused, going).amax(dim=1, keepdim=True)
    again = _column(emitted, past["last"])
    others = 1 - emitted[..., BLANK] - again
    chance = (paused - most).exp() * (others + again) + (going - most).exp() * others
    chance = chance.clamp(min=0) * mask
    total = chance.sum(dim=1, keepdim=True)
    # After a prefix that fills all tokens nothing can begin: then all are alike.
    return torch.where(
        total > LEAST, chance / total.clamp(min=LEAST), mask / mask.sum(1, True).clamp(min=1)
    )


def _after(unit: Tensor, past: Mapping[str, Tensor], emitted: Tensor) -> dict[str, Tensor]:
    """The prefixes with a unit (N,) more; the start token leaves them as they are."""
    paused, going = _before(past)
    same = (unit == past["last"])[:, None]
    begins = torch.where(same, paused, _either(paused, going))  # (N, T)
    own = _column(emitted, unit).clamp(min=LEAST).log()  # (N, T)
    silent = emitted[..., BLANK].clamp(min=LEAST).log()
    ends = _running(begins, own)
    blank = _running(F.pad(ends[:, :-1], (1, 0), value=NEVER), silent)
    prefix, start = (begins + own).logsumexp(dim=1), unit == BOS
    longer = {"unit": ends, "blank": blank, "prefix": prefix, "last": unit}
    return {
        name: torch.where(start.view(-1, *[1] * (value.ndim - 1)), past[name], value)
        for name, value in longer.items()
    }


def _running(enters: Tensor, stays: Tensor) -> Tensor:
    """(N, T): x[t] = log(exp(x[t-1]) + exp(enters[t])) + stays[t], from nothing before.

    With C[t] = stays[0] + ... + stays[t] it is a cumulative sum: x[t] - C[t] = log sum over s <= t
    of exp(enters[s] - C[s-1]). In float64, as C grows large.
    """
    paid = stays.double().cumsum(dim=1)
    x = enters - F.pad(paid[:, :-1], (1, 0))
    if not torch.onnx.is_in_onnx_export():
        return (x.logcumsumexp(dim=1) + paid).float()
    # Exported graphs have no such operation, and sum again for each place.
    places = torch.arange(x.shape[1])
    each = torch.where(places[:, None] >= places, x[:, None], NEVER * 1e6)  # (N, T, T)
    most = each.amax(dim=2, keepdim=True)
    return ((each - most).exp().sum(dim=2).log() + most[..., 0] + paid).float()


def _either(one: Tensor, other: Tensor) -> Tensor:
    """log(exp(one) + exp(other))."""
    if not torch.onnx.is_in_onnx_export():
        return torch.logaddexp(one, other)
    return torch.maximum(one, other) + (-(one - other).abs()).exp().log1p()


def _column(emitted: Tensor, unit: Tensor) -> Tensor:
    """(N, T): how probable it is that each token says one unit (N,)."""
    return emitted.gather(2, unit[:, None, None].expand(-1, emitted.shape[1], 1))[..., 0]
