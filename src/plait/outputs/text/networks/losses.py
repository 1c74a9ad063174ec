"""The losses of texts: token by token, and of the free-running score.

Shapes: B records, N texts, M real tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from plait.nn.base import Arrays
from plait.outputs.text.decoders.networks.base import DecoderNetwork, DecoderState
from plait.outputs.text.decoders.networks.teaching import teacher_forced
from plait.outputs.text.decoding import DECODER, NEVER_GENERATED, Decoding
from plait.outputs.text.metrics.cider import CiderReward
from plait.outputs.text.networks.steps import TorchSteps
from plait.outputs.text.output import TextTarget
from plait.outputs.text.search import Mixture, TokenScorer, sample


class References:
    """All training texts: what sampled ones are rewarded by, and how well they agree."""

    def __init__(self, targets: Sequence[TextTarget], consensus: float) -> None:
        self._targets, self._consensus = targets, consensus

    @cached_property
    def _rows(self) -> dict[TextTarget, int]:
        return {target: row for row, target in enumerate(self._targets)}

    @cached_property
    def _reward(self) -> CiderReward:
        return CiderReward([target.token_ids for target in self._targets])

    @cached_property
    def _weights(self) -> list[list[float]]:
        texts = [target.token_ids for target in self._targets]
        return self._reward.consensus(texts, self._consensus)

    def weights(self, target: TextTarget) -> list[float]:
        """A weight for each of a record's texts, as in consensus-based training (Phan et al. 2017,
        arXiv:1712.09532)."""
        return self._weights[self._rows[target]]

    def rewards(self, targets: Sequence[TextTarget], texts: Sequence[Sequence[int]]) -> Tensor:
        """(N,) the CIDEr-D of each text as an answer to the record of its target."""
        rows = [self._rows[target] for target in targets]
        return torch.from_numpy(self._reward.scores(rows, texts)).float()


def self_critical_loss(
    decoder: DecoderNetwork,
    start: DecoderState,
    targets: Sequence[TextTarget],
    references: References,
    samples: int,
    max_words: int,
) -> Tensor:
    """- (reward - mean reward of the other samples) · log p(sample), the mean over all tokens.

    Rennie et al. 2017 (arXiv:1612.00563) with the baseline of Luo 2020 (arXiv:2003.09971): the mean
    CIDEr-D of the record's other samples.

    Args:
        decoder: the network that learns.
        start: its state before the first token, of B records.
        targets: theirs.
        references: of all training records.
        samples: texts to sample for each record.
        max_words: the length of the longest.
    """
    decoding = Decoding(sample=True, min_words=0, max_words=max_words, no_repeat=0)
    decoding = decoding.model_copy(update={"num": samples})  # there may be more than a user's 64
    # Drawn from torch's generator, so that a resumed training continues as if never interrupted.
    rng = np.random.default_rng(int(torch.randint(2**63 - 1, ())))
    scorer = TokenScorer(
        TorchSteps({DECODER: decoder}, {DECODER: start}),
        Arrays(start.memory),
        Mixture({DECODER: 1.0}, normalise=not decoder.final_scores),
    )
    drawn = sample(scorer, decoding, rng, alike=False)
    # Autocast may keep the copies that it made of the weights, which have no gradient.
    torch.clear_autocast_cache()
    texts = [
        row[: min(length, max_words)]  # an end that was forced was not chosen
        for row, length in zip(
            drawn.token_ids.reshape(len(targets) * samples, -1).tolist(),
            drawn.lengths.ravel().astype(int).tolist(),
            strict=True,
        )
    ]
    owners = [row for row in range(len(targets)) for _ in range(samples)]
    reward = references.rewards([targets[row] for row in owners], texts)
    reward = reward.view(len(targets), samples).to(start.device)
    others = (reward.sum(1, keepdim=True) - reward) / (samples - 1)
    advantage = (reward - others).flatten()  # (N,)
    hidden, labels, numbers = teacher_forced(decoder, start, owners, texts)
    # The probabilities that were sampled from: without the tokens that are never generated.
    logits = decoder.logits(hidden).float()
    logits[:, list(NEVER_GENERATED)] = float("-inf")
    nll = cross_entropy(logits, labels, reduction="none")  # (M,)
    return (advantage[numbers] * nll).mean()
