"""Saying a sentence: greedy, beam search and sampling, for many records at once.

Works on any `Decoder`. Shapes: B records, K beams or samples a record, N = B·K, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from plait.outputs.text.decoder import Decoder, DecoderState, select
from plait.outputs.text.vocabulary import BOS, EOS, PAD, UNK
from plait.types import Fused

NEVER_SAID = (PAD, BOS, UNK)


@dataclass(frozen=True)
class Limits:
    """What a sentence may look like."""

    min_words: int = 1
    max_words: int = 40
    no_repeat: int = 3  # no n-gram of this length twice; 0 allows all


@dataclass(frozen=True)
class Sentences:
    """K sentences a record.

    Attributes:
        ids: (B, K, L) words with the end token, then padding.
        scores: (B, K) sum of the words' log-probabilities, end token included.
        lengths: (B, K) words with the end token.
    """

    ids: Tensor
    scores: Tensor
    lengths: Tensor


def word_scores(
    decoder: Decoder, words: Tensor, state: DecoderState, said: Tensor, limits: Limits
) -> tuple[Tensor, DecoderState]:
    """Log-probabilities (N, V) of the next word, what may not be said at -inf."""
    hidden, _, state = decoder(words[:, None], state)
    logits = decoder.logits(hidden[:, 0]).float()
    logits[:, list(NEVER_SAID)] = float("-inf")
    step = said.shape[1]
    if step < limits.min_words:
        logits[:, EOS] = float("-inf")
    if step >= limits.max_words:
        only_end = torch.full_like(logits, float("-inf"))
        only_end[:, EOS] = logits[:, EOS]
        return only_end.log_softmax(-1), state
    _ban_repeats(logits, said, limits.no_repeat)
    return logits.log_softmax(-1), state


def _ban_repeats(logits: Tensor, said: Tensor, n: int) -> None:
    """Put -inf where a word would complete an n-gram that stands in ``said`` (N, L) already."""
    length = said.shape[1]
    if n == 0 or length < n:
        return
    context = said[:, length - n + 1 :]  # (N, n-1): the last words
    windows = said.unfold(1, n, 1)  # (N, L-n+1, n)
    same = (windows[..., :-1] == context[:, None]).all(-1)  # (N, L-n+1)
    row, at = same.nonzero(as_tuple=True)
    logits[row, windows[row, at, -1]] = float("-inf")


def beam_search(
    decoder: Decoder, fused: Fused, beams: int, length_penalty: float, limits: Limits
) -> Sentences:
    """The ``beams`` likeliest sentences, best first; one beam is greedy search.

    Sentences are ranked by log-probability / length ** length_penalty (Wu et al. 2016,
    arXiv:1609.08144, in its simpler form); 0 prefers short ones, 1 is the mean a word.
    """
    count, device = fused.pooled.shape[0], fused.pooled.device
    first = torch.arange(count, device=device).repeat_interleave(beams)
    state = select(decoder.start(fused), first)
    said = torch.empty(count * beams, 0, dtype=torch.long, device=device)
    words = torch.full((count * beams,), BOS, device=device)
    scores = torch.full((count, beams), float("-inf"), device=device)
    scores[:, 0] = 0.0  # all beams are the same at first: let one speak
    lengths = torch.zeros(count, beams, device=device)
    done = torch.zeros(count, beams, dtype=torch.bool, device=device)
    offset = torch.arange(count, device=device)[:, None] * beams
    for _ in range(limits.max_words + 1):
        logp, state = word_scores(decoder, words, state, said, limits)
        logp = logp.view(count, beams, -1)
        # A finished sentence goes on with padding, at no cost.
        logp = torch.where(done[..., None], float("-inf"), logp)
        logp[..., PAD] = torch.where(done, 0.0, logp[..., PAD])
        longer = lengths + (~done).float()  # (B, K)
        total = scores[..., None] + logp  # (B, K, V)
        ranked = (total / longer[..., None] ** length_penalty).flatten(1)
        best = ranked.topk(beams, dim=1).indices  # (B, K)
        source, words2 = best // logp.shape[-1], best % logp.shape[-1]
        scores = total.flatten(1).gather(1, best)
        lengths = longer.gather(1, source)
        index = (offset + source).flatten()
        words = words2.flatten()
        done = done.gather(1, source) | (words2 == EOS)
        said = torch.cat([said[index], words[:, None]], dim=1)
        state = select(state, index)
        if bool(done.all()):
            break
    ids = said.view(count, beams, -1)
    return Sentences(ids, scores, lengths)


def sample(
    decoder: Decoder,
    fused: Fused,
    samples: int,
    limits: Limits,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
) -> Sentences:
    """``samples`` random sentences a record.

    Args:
        temperature: below 1 the likelier words are said more often; near 0 it is greedy.
        top_k: only the k likeliest words (Fan et al. 2018, arXiv:1805.04833); 0 is all.
        top_p: only the fewest words with this much probability together ("nucleus",
            Holtzman et al. 2020, arXiv:1904.09751); 1 is all.
        generator: gives the same random numbers to every record, so that a record's sentences do
            not depend on its batch; without one, all are drawn apart.

    Returns:
        The sentences of a record, the likeliest first.
    """
    count, device = fused.pooled.shape[0], fused.pooled.device
    first = torch.arange(count, device=device).repeat_interleave(samples)
    state = select(decoder.start(fused), first)
    size = count * samples
    said = torch.empty(size, 0, dtype=torch.long, device=device)
    words = torch.full((size,), BOS, device=device)
    scores, lengths = torch.zeros(size, device=device), torch.zeros(size, device=device)
    done = torch.zeros(size, dtype=torch.bool, device=device)
    for _ in range(limits.max_words + 1):
        logp, state = word_scores(decoder, words, state, said, limits)
        kept = _truncate(logp / max(temperature, 1e-4), top_k, top_p)
        if generator is None:
            chance = torch.rand(size, device=device)
        else:
            chance = torch.rand(samples, generator=generator).to(device).repeat(count)
        words = torch.where(done, PAD, _draw(kept.softmax(-1), chance))
        scores += torch.where(done, 0.0, logp.gather(1, words[:, None])[:, 0])
        lengths += (~done).float()
        said = torch.cat([said, words[:, None]], dim=1)
        done = done | (words == EOS)
        if bool(done.all()):
            break
    shape = (count, samples)
    scores, lengths = scores.view(shape), lengths.view(shape)
    order = (scores / lengths).argsort(1, descending=True)
    ids = said.view(*shape, -1).gather(1, order[..., None].expand(-1, -1, said.shape[1]))
    return Sentences(ids, scores.gather(1, order), lengths.gather(1, order))


def _draw(probabilities: Tensor, chance: Tensor) -> Tensor:
    """(N, V) and (N,) in [0, 1) -> (N,): the word in whose share of the line the chance falls."""
    line = probabilities.double().cumsum(-1)
    return torch.searchsorted(line, chance[:, None] * line[:, -1:], right=True)[:, 0]


def _truncate(logp: Tensor, top_k: int, top_p: float) -> Tensor:
    """Scores (N, V) with the words that may not be drawn at -inf."""
    if top_k:
        least = logp.topk(min(top_k, logp.shape[-1]), dim=-1).values[:, -1:]
        logp = logp.masked_fill(logp < least, float("-inf"))
    if top_p < 1.0:
        ordered, index = logp.sort(dim=-1, descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)  # probability ahead of it
        ordered = ordered.masked_fill(before >= top_p, float("-inf"))
        logp = torch.full_like(logp, float("-inf")).scatter(1, index, ordered)
    return logp
