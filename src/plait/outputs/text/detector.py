"""Word detectors: which words the input calls for, before any sentence is begun.

Fang et al. 2015, "From captions to visual concepts and back" (arXiv:1411.4952): each place of the
input votes for each word. The words that stand out are shown to the decoder as further tokens, as
in Wu et al. 2016 (arXiv:1506.01144) and You et al. 2016 (arXiv:1603.03925).

Shapes: B records, T tokens, K detected words, D width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plait.data.vocabulary import SPECIALS
from plait.types import Fused, Tokens

RAREST = 1e-4  # the least share of records that a word is taken to occur in
START = 0.02  # standard deviation of the weights at the start


@dataclass(frozen=True)
class Detected:
    """What the detectors found.

    Attributes:
        logits: of every word, (B, V).
        words: the ids of those that stand out most, the most first, (B, K).
        probable: how probable each of them is, (B, K) in [0, 1].
    """

    logits: Tensor
    words: Tensor
    probable: Tensor


class WordDetector(nn.Module):
    """Fused -> logits (B, V) of the words, and Fused with the K outstanding words' tokens.

    A word stands out by how much more probable the input makes it than it is anyway,
    p · log(p / prior): so "a" never does, though it is nearly always there.
    """

    def __init__(
        self, shares: Sequence[float], width: int, count: int, dropout: float = 0.1
    ) -> None:
        """``shares`` (V): see `word_shares`; the votes begin with them."""
        super().__init__()
        self.count = min(count, len(shares) - len(SPECIALS))
        self.prior: Tensor
        prior = torch.tensor(shares).clamp(RAREST, 1 - RAREST)
        self.register_buffer("prior", prior, persistent=False)
        self.vote = nn.Linear(width, len(shares))
        nn.init.normal_(self.vote.weight, std=START)
        with torch.no_grad():
            self.vote.bias.copy_(torch.logit(prior))
        self.embedding = nn.Embedding(len(shares), width)
        self.strength = nn.Parameter(torch.zeros(width))
        self.drop = dropout

    def logits(self, tokens: Tokens) -> Tensor:
        """(B, V): the places' votes, their mean in the exponent (a smooth maximum)."""
        votes = self.vote(tokens.values).float()  # (B, T, V)
        votes = votes.masked_fill(~tokens.mask[..., None], float("-inf"))
        return torch.logsumexp(votes, dim=1) - tokens.mask.sum(1, keepdim=True).float().log()

    def forward(self, fused: Fused) -> tuple[Fused, Detected]:
        """Fused with K more tokens (B, T + K, D), and what was detected."""
        logits = self.logits(fused.tokens)
        probable = logits.sigmoid()
        with torch.no_grad():
            gain = probable * (F.logsigmoid(logits) - self.prior.log())
            gain[:, : len(SPECIALS)] = -math.inf
            words = gain.topk(self.count, dim=1).indices  # (B, K)
        found = Detected(logits, words, probable.gather(1, words))
        strength = found.probable[..., None] * self.strength  # (B, K, D)
        values = self.embedding(words) + strength
        mask = torch.ones_like(words, dtype=torch.bool)
        if self.training:
            mask = torch.rand(words.shape, device=words.device) >= self.drop
        tokens = Tokens(
            torch.cat([fused.tokens.values, values.to(fused.tokens.values.dtype)], dim=1),
            torch.cat([fused.tokens.mask, mask], dim=1),
        )
        return Fused(fused.pooled, tokens, fused.parts), found

    @staticmethod
    def loss(logits: Tensor, bags: Tensor) -> Tensor:
        """Binary cross-entropy, in nats for each word that is there; bags (B, V) in [0, 1]."""
        total = F.binary_cross_entropy_with_logits(logits, bags, reduction="sum")
        return total / bags.sum().clamp(min=1.0)


def word_shares(records: Sequence[Sequence[Sequence[int]]], vocabulary: int) -> list[float]:
    """(V): how probable each word is anyway, the mean of the records' bags.

    The bags are made one at a time: memory does not grow with the number of records.
    """
    total = torch.zeros(vocabulary)
    for record in records:
        total += bags_of_words([record], vocabulary)[0]
    return [round(share, 6) for share in (total / len(records)).tolist()]


def bags_of_words(records: Sequence[Sequence[Sequence[int]]], vocabulary: int) -> Tensor:
    """(R, V): the share of each record's sentences that have the word."""
    bags = torch.zeros(len(records), vocabulary)
    for row, sentences in enumerate(records):
        for sentence in sentences:
            bags[row, sorted(set(sentence))] += 1 / len(sentences)
    bags[:, : len(SPECIALS)] = 0
    return bags
