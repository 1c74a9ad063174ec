"""Saying a sentence: greedy, beam search and sampling, for many records at once.

Works on any `Decoder`. Shapes: B records, K beams or samples a record, N = B·K, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from plait.outputs.text.decoder import Decoder, DecoderState
from plait.outputs.text.vocabulary import BOS, EOS, PAD, UNK

NEVER_SAID = (PAD, BOS, UNK)
WORTH_LEAVING_OUT = 8  # ended sentences are, once they are this part of all


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
    # A narrow vocabulary may leave no word to say: then only the end.
    logits[logits.isneginf().all(-1), EOS] = 0.0
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


class _Finished:
    """Where sentences are put that nothing more will be said of."""

    def __init__(self, records: int, each: int, longest: int, device: torch.device) -> None:
        self.ids = torch.full((records, each, longest), PAD, device=device)
        self.scores = torch.zeros(records, each, device=device)
        self.lengths = torch.zeros(records, each, device=device)

    def put(self, records: Tensor, ids: Tensor, scores: Tensor, lengths: Tensor) -> None:
        """All sentences (R, K, L) of the ``records`` (R,), with their scores and lengths."""
        self.ids[records, :, : ids.shape[-1]] = ids
        self.scores[records], self.lengths[records] = scores, lengths

    def sentences(self) -> Sentences:
        """No longer than the longest."""
        longest = int(self.lengths.max()) if self.lengths.numel() else 0
        return Sentences(self.ids[..., :longest], self.scores, self.lengths)


def beam_search(
    decoder: Decoder, start: DecoderState, beams: int, length_penalty: float, limits: Limits
) -> Sentences:
    """The ``beams`` likeliest sentences, best first; one beam is greedy search.

    Sentences are ranked by log-probability / length ** length_penalty (Wu et al. 2016,
    arXiv:1609.08144, in its simpler form); 0 prefers short ones, 1 is the mean a word.

    Args:
        start: of every record, one row each, as `Decoder.start` made it.
    """
    count, device = len(start), start.device
    found = _Finished(count, beams, limits.max_words + 1, device)
    records = torch.arange(count, device=device)  # whose sentences are still being said
    state = start.select(records.repeat_interleave(beams))
    said = torch.empty(count, beams, 0, dtype=torch.long, device=device)
    words = torch.full((count * beams,), BOS, device=device)
    scores = torch.full((count, beams), float("-inf"), device=device)
    scores[:, 0] = 0.0  # all beams are the same at first: let one speak
    lengths = torch.zeros(count, beams, device=device)
    done = torch.zeros(count, beams, dtype=torch.bool, device=device)
    for _ in range(limits.max_words + 1):
        logp, state = word_scores(decoder, words, state, said.flatten(0, 1), limits)
        logp = logp.view(*done.shape, -1)
        # A finished sentence goes on with padding, at no cost.
        logp = torch.where(done[..., None], float("-inf"), logp)
        logp[..., PAD] = torch.where(done, 0.0, logp[..., PAD])
        longer = lengths + (~done).float()  # (B, K)
        total = scores[..., None] + logp  # (B, K, V)
        ranked = (total / longer[..., None] ** length_penalty).flatten(1)
        best = ranked.topk(beams, dim=1).indices  # (B, K)
        source, words = best // logp.shape[-1], best % logp.shape[-1]
        scores = total.flatten(1).gather(1, best)
        lengths = longer.gather(1, source)
        done = done.gather(1, source) | (words == EOS)
        said = said.gather(1, source[..., None].expand_as(said))
        said = torch.cat([said, words[..., None]], dim=2)
        index = source + torch.arange(len(done), device=device)[:, None] * beams
        ended = done.all(1)
        if _worth_leaving_out(ended):
            found.put(records[ended], said[ended], scores[ended], lengths[ended])
            left = ~ended
            records, said, scores, lengths = records[left], said[left], scores[left], lengths[left]
            done, words = done[left], words[left]
            state = state.select(index[left].flatten())
        else:
            state = state.reorder(index.flatten())
        words = words.flatten()
        if not len(records):
            break
    found.put(records, said, scores, lengths)
    return found.sentences()


def _worth_leaving_out(ended: Tensor) -> bool:
    """Whether enough rows have ended that it pays to copy the others."""
    return int(ended.sum()) * WORTH_LEAVING_OUT >= max(len(ended), 1)


def sample(
    decoder: Decoder,
    start: DecoderState,
    samples: int,
    limits: Limits,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
) -> Sentences:
    """``samples`` random sentences a record.

    Args:
        start: of every record, one row each, as `Decoder.start` made it.
        temperature: below 1 the likelier words are said more often; near 0 it is greedy.
        top_k: only the k likeliest words (Fan et al. 2018, arXiv:1805.04833); 0 is all.
        top_p: only the fewest words with this much probability together ("nucleus",
            Holtzman et al. 2020, arXiv:1904.09751); 1 is all.
        generator: gives the same random numbers to every record, so that a record's sentences do
            not depend on its batch; without one, all are drawn apart.

    Returns:
        The sentences of a record, the likeliest first.
    """
    count, device = len(start), start.device
    size = count * samples
    found = _Finished(size, 1, limits.max_words + 1, device)
    rows = torch.arange(size, device=device)  # the sentences still being said
    state = start.select(rows // samples)
    said = torch.empty(size, 0, dtype=torch.long, device=device)
    words = torch.full((size,), BOS, device=device)
    scores, lengths = torch.zeros(size, device=device), torch.zeros(size, device=device)
    done = torch.zeros(size, dtype=torch.bool, device=device)
    for _ in range(limits.max_words + 1):
        logp, state = word_scores(decoder, words, state, said, limits)
        kept = _truncate(logp / max(temperature, 1e-4), top_k, top_p)
        if generator is None:
            chance = torch.rand(len(rows), device=device)
        else:
            chance = torch.rand(samples, generator=generator).to(device)[rows % samples]
        words = torch.where(done, PAD, _draw(kept.softmax(-1), chance))
        scores = scores + torch.where(done, 0.0, logp.gather(1, words[:, None])[:, 0])
        lengths = lengths + (~done).float()
        said = torch.cat([said, words[:, None]], dim=1)
        done = done | (words == EOS)
        if _worth_leaving_out(done):
            found.put(rows[done], said[done, None], scores[done, None], lengths[done, None])
            left = (~done).nonzero()[:, 0]
            rows, said, scores, lengths = rows[left], said[left], scores[left], lengths[left]
            done, words, state = done[left], words[left], state.select(left)
        if not len(rows):
            break
    found.put(rows, said[:, None], scores[:, None], lengths[:, None])
    drawn = found.sentences()
    scores, lengths = drawn.scores.view(count, samples), drawn.lengths.view(count, samples)
    order = (scores / lengths).argsort(1, descending=True)
    ids = drawn.ids.view(count, samples, -1)
    ids = ids.gather(1, order[..., None].expand_as(ids))
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
