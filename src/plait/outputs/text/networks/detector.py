"""Word detectors: which words the input calls for, before any text is generated.

Fang et al. 2015, "From captions to visual concepts and back" (arXiv:1411.4952): each token of the
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

RAREST = 1e-4  # a word's share of the records is taken to be at least this
START = 0.02  # standard deviation of the initial weights


@dataclass(frozen=True)
class Detected:
    """What the detectors found.

    Attributes:
        logits: (B, V) of every word.
        words: (B, K) the ids of those that stand out most, the most first.
        probabilities: (B, K) theirs.
    """

    logits: Tensor
    words: Tensor
    probabilities: Tensor


class WordDetector(nn.Module):
    """Fused -> Fused with a token for each of the K words that stand out, and what was detected.

    A word stands out by how much the input raises its probability, p · log(p / prior): "a" never
    does, though it is nearly always there.
    """

    def __init__(
        self, shares: Sequence[float], width: int, count: int, dropout: float = 0.1
    ) -> None:
        """``shares`` (V): see `plait.outputs.text.detection.word_shares`; the initial votes."""
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
        """(B, V): the log-mean-exp of the tokens' votes, a smooth maximum."""
        votes = self.vote(tokens.values).float()  # (B, T, V)
        votes = votes.masked_fill(~tokens.mask[..., None], float("-inf"))
        return torch.logsumexp(votes, dim=1) - tokens.mask.sum(1, keepdim=True).float().log()

    def forward(self, fused: Fused) -> tuple[Fused, Detected]:
        """Fused with K more tokens (B, T + K, D), and what was detected."""
        logits = self.logits(fused.tokens)
        probabilities = logits.sigmoid()
        with torch.no_grad():
            gain = probabilities * (F.logsigmoid(logits) - self.prior.log())
            gain[:, : len(SPECIALS)] = -math.inf
            words = gain.topk(self.count, dim=1).indices  # (B, K)
        found = Detected(logits, words, probabilities.gather(1, words))
        strength = found.probabilities[..., None] * self.strength  # (B, K, D)
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
        """Binary cross-entropy in nats a word that occurs; bags (B, V) in [0, 1]."""
        total = F.binary_cross_entropy_with_logits(logits, bags, reduction="sum")
        return total / bags.sum().clamp(min=1.0)
