"""Saying a sentence: greedy, beam search and sampling, for many records at once.

Works on any `Decoder`. Shapes: B records, K beams or samples a record, N = B·K, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from plait.data.vocabulary import BOS, EOS, PAD
from plait.outputs.text.decoders.base import Decoder, DecoderState, log_scores
from plait.outputs.text.decoding import NEVER_SAID, Limits

WORTH_LEAVING_OUT = 8  # ended sentences are, once they are this part of all


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

    def first(self, count: int) -> Sentences:
        """The best ones of every record."""
        return Sentences(self.ids[:, :count], self.scores[:, :count], self.lengths[:, :count])


def word_scores(
    decoder: Decoder, words: Tensor, state: DecoderState, said: Tensor, limits: Limits
) -> tuple[Tensor, DecoderState]:
    """Scores (N, V) of the next word, what may not be said at -inf; log-probabilities, unless the
    decoder's are final."""
    hidden, _, state = decoder(words[:, None], state)
    logits = log_scores(decoder, hidden[:, 0])
    logits[:, list(NEVER_SAID)] = float("-inf")
    step = said.shape[1]
    if step < limits.min_words:
        logits[:, EOS] = float("-inf")
    if step >= limits.max_words:
        only_end = torch.full_like(logits, float("-inf"))
        only_end[:, EOS] = logits[:, EOS] if decoder.final_scores else 0.0
        return only_end, state
    _ban_repeats(logits, said, limits.no_repeat)
    # A narrow vocabulary may leave no word to say: then only the end.
    logits[logits.isneginf().all(-1), EOS] = 0.0
    return logits if decoder.final_scores else logits.log_softmax(-1), state


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


@dataclass(frozen=True)
class _Going:
    """Sentences still being said: K for each of R rows.

    Attributes:
        rows: (R,) their places in the answer.
        ids: (R, K, L) words said so far.
        scores, lengths: (R, K) as in `Sentences`.
        done: (R, K) whether the sentence has ended.
    """

    rows: Tensor
    ids: Tensor
    scores: Tensor
    lengths: Tensor
    done: Tensor

    def __getitem__(self, index: Tensor) -> _Going:
        return _Going(*(getattr(self, field.name)[index] for field in fields(self)))

    def worth_leaving_out(self) -> Tensor | None:
        """(R,) which rows have ended, once they are so many that it pays to copy the others."""
        ended = self.done.all(1)
        return ended if int(ended.sum()) * WORTH_LEAVING_OUT >= len(ended) else None


class _Finished:
    """Where sentences are put that nothing more will be said of."""

    def __init__(self, rows: int, each: int, longest: int, device: torch.device) -> None:
        self.ids = torch.full((rows, each, longest), PAD, device=device)
        self.scores = torch.zeros(rows, each, device=device)
        self.lengths = torch.zeros(rows, each, device=device)

    def put(self, said: _Going) -> None:
        """All sentences of these rows."""
        self.ids[said.rows, :, : said.ids.shape[-1]] = said.ids
        self.scores[said.rows], self.lengths[said.rows] = said.scores, said.lengths

    def sentences(self) -> Sentences:
        """No longer than the longest."""
        longest = int(self.lengths.max()) if self.lengths.numel() else 0
        return Sentences(self.ids[..., :longest], self.scores, self.lengths)


def _nothing_said(rows: int, each: int, device: torch.device) -> _Going:
    return _Going(
        torch.arange(rows, device=device),
        torch.empty(rows, each, 0, dtype=torch.long, device=device),
        torch.zeros(rows, each, device=device),
        torch.zeros(rows, each, device=device),
        torch.zeros(rows, each, dtype=torch.bool, device=device),
    )


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
    going = _nothing_said(count, beams, device)
    going.scores[:, 1:] = float("-inf")  # all beams are the same at first: let one speak
    state = start.select(going.rows.repeat_interleave(beams))
    words = torch.full((count * beams,), BOS, device=device)
    for _ in range(limits.max_words + 1):
        logp, state = word_scores(decoder, words, state, going.ids.flatten(0, 1), limits)
        logp = logp.view(*going.done.shape, -1)
        # A finished sentence goes on with padding, at no cost.
        logp = torch.where(going.done[..., None], float("-inf"), logp)
        logp[..., PAD] = torch.where(going.done, 0.0, logp[..., PAD])
        longer = going.lengths + (~going.done).float()  # (B, K)
        total = going.scores[..., None] + logp  # (B, K, V)
        ranked = (total / longer[..., None] ** length_penalty).flatten(1)
        best = ranked.topk(beams, dim=1).indices  # (B, K)
        source, words = best // logp.shape[-1], best % logp.shape[-1]
        before = going.ids.gather(1, source[..., None].expand_as(going.ids))
        going = _Going(
            going.rows,
            torch.cat([before, words[..., None]], dim=2),
            total.flatten(1).gather(1, best),
            longer.gather(1, source),
            going.done.gather(1, source) | (words == EOS),
        )
        index = source + torch.arange(len(source), device=device)[:, None] * beams
        ended = going.worth_leaving_out()
        if ended is None:
            state = state.reorder(index.flatten())
        else:
            found.put(going[ended])
            going, words = going[~ended], words[~ended]
            state = state.select(index[~ended].flatten())
        words = words.flatten()
        if not len(going.rows):
            break
    found.put(going)
    return found.sentences()


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
    going = _nothing_said(size, 1, device)  # a row a sentence: each ends when it likes
    state = start.select(going.rows // samples)
    words = torch.full((size, 1), BOS, device=device)
    for _ in range(limits.max_words + 1):
        logp, state = word_scores(decoder, words[:, 0], state, going.ids[:, 0], limits)
        kept = _truncate(logp / max(temperature, 1e-4), top_k, top_p)
        if generator is None:
            chance = torch.rand(len(going.rows), device=device)
        else:
            chance = torch.rand(samples, generator=generator).to(device)[going.rows % samples]
        words = torch.where(going.done, PAD, _draw(kept.softmax(-1), chance)[:, None])  # (R, 1)
        going = _Going(
            going.rows,
            torch.cat([going.ids, words[..., None]], dim=2),
            going.scores + torch.where(going.done, 0.0, logp.gather(1, words)),
            going.lengths + (~going.done).float(),
            going.done | (words == EOS),
        )
        ended = going.worth_leaving_out()
        if ended is not None:
            found.put(going[ended])
            going, words = going[~ended], words[~ended]
            state = state.select((~ended).nonzero()[:, 0])
        if not len(going.rows):
            break
    found.put(going)
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
        out = before >= top_p
        out[:, 0] = False  # one may always be drawn
        ordered = ordered.masked_fill(out, float("-inf"))
        logp = torch.full_like(logp, float("-inf")).scatter(1, index, ordered)
    return logp
