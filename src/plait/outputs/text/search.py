"""How texts are generated: the options of a recipe's `decoding`, which `predict` can override, and
greedy search, beam search and sampling, for many records at once.

The search is plain numpy. What scores the next token is an engine (`plait.outputs.base.Steps`), a
network in torch or an exported one.

Shapes: B records, R of them unfinished, K hypotheses per record, N = R * K rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import Self

from plait.data.vocabulary import BOS, EOS, PAD, UNK
from plait.outputs.base import Options, RawOutputs, Steps
from plait.outputs.text.fluency import Fluency
from plait.outputs.text.lm.ngram import NGram
from plait.types import UsageError

Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Choose: TypeAlias = Callable[[Floats, Floats], tuple[Ints, Ints, Floats]]
"""The scores (N, V) of the next token, and what `restrict` says to subtract from them (N,) -> the
continuations, as `_Progress.extend` takes them."""

WORTH_DROPPING = 8  # finished records are dropped once they are this part of all: it costs a copy
FEW = 16  # so many of a row are found faster one after the other than by partitioning
BLOCK = 64  # tokens
DECODER, CTC, LANGUAGE = "decoder", "ctc", "language"  # the models that score the next token
REQUIRED = {
    "ctc": (CTC, "CTC beside its decoder"),
    "language": (LANGUAGE, "language model"),
    "bonus": (LANGUAGE, "language model"),
}
"""Option -> the model that it needs, and what a network without it lacks."""
NEVER_GENERATED = (PAD, BOS, UNK)
MOST = 512  # the largest `max_words`


@dataclass(frozen=True)
class Limits:
    """Which token sequences may be generated.

    Attributes:
        min_words, max_words: fewest and most tokens, without the end token.
        no_repeat: no n-gram of this length occurs twice; 0 allows all.
    """

    min_words: int = 1
    max_words: int = 40
    no_repeat: int = 3


class Decoding(Options):
    """How a text is generated: ``num`` random samples with ``sample``, otherwise beam search.

    Beams are ranked with the length penalty; the score that is shown is the mean log-probability of
    a token.
    """

    calibrated_with: ClassVar[Collection[str]] = (
        "sample", "beam", "length_penalty", "ctc", "language", "bonus", "min_words", "max_words",
        "no_repeat",
    )  # fmt: skip

    beam: int = Field(default=3, ge=1, le=64, description="beams; 1: greedy search")
    length_penalty: float = Field(
        default=0.8, ge=0, le=4, description="0 favours short texts; 1 compares means per token"
    )
    ctc: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="weight of CTC beside the decoder; null: as in training",
    )
    language: float | None = Field(
        default=None, ge=0, le=4, description="weight of the language model; null: as calibrated"
    )
    bonus: float | None = Field(
        default=None,
        ge=-10,
        le=10,
        description="added for each token, beside a language model; null: as calibrated",
    )
    min_words: int | None = Field(
        default=None,
        ge=0,
        description="minimum number of words; null: 3 for captions, otherwise 1 or 0",
    )
    max_words: int | None = Field(
        default=None,
        ge=1,
        le=MOST,
        description="maximum number of words; null: 24 for captions, otherwise max_length",
    )
    no_repeat: int | None = Field(
        default=None,
        ge=0,
        description="no n-gram of this length occurs twice; 0: no limit; null: 3 for captions, "
        "otherwise 0",
    )
    num: int = Field(default=1, ge=1, le=64, description="texts for each record")
    sample: bool = Field(default=False, description="sample instead of searching")
    temperature: float = Field(
        default=0.7, gt=0, le=100, description="temperature of the sampling; 1: as the model says"
    )
    top_k: int = Field(default=0, ge=0, description="sample from the k likeliest words; 0: all")
    top_p: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="sample from the likeliest words that have this probability together; 1: all",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="seed of the sampling")

    @model_validator(mode="after")
    def _lengths_fit(self) -> Decoding:
        if self.max_words is not None and (self.min_words or 0) > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}")
        return self

    def settled(self, usual: Limits, max_length: int) -> Self:
        """With ``usual`` limits where none are set, at most ``max_length`` words."""
        most = self.max_words or min(usual.max_words, max_length, MOST)
        least = {"min_words": min(usual.min_words, most)}
        limits = {**vars(usual), **least, **self._limits(), "max_words": most}
        return self.changed(**limits)

    @property
    def limits(self) -> Limits:
        """The limits of a `settled` one."""
        return Limits(**self._limits())

    def _limits(self) -> dict[str, int]:
        return self.model_dump(include={*vars(Limits())}, exclude_none=True)

    def within(self, max_length: int, models: Collection[str], **options: Any) -> Self:
        """With ``options`` changed, for a network with these ``models``, whose decoder knows
        ``max_length`` positions.

        Raises:
            UsageError: as of `changed`; or an option needs a model that the network lacks, or texts
                would be too long.
        """
        decoding = self.changed(**options)
        for name, lacks in unavailable(models).items():
            if getattr(decoding, name) is not None:
                raise UsageError(
                    f"{name} is {getattr(decoding, name)}, but the model has no {lacks}",
                    expected="none set",
                )
        if decoding.limits.max_words > max_length:
            raise UsageError(f"max_words is {decoding.max_words}", expected=f"at most {max_length}")
        return decoding


def unavailable(models: Collection[str]) -> dict[str, str]:
    """The options that a network with these models has no use for -> what it lacks."""
    return {option: lacks for option, (model, lacks) in REQUIRED.items() if model not in models}


@dataclass(frozen=True)
class Hypotheses:
    """K token sequences per record.

    Attributes:
        token_ids: (B, K, L) tokens with the end token, then padding.
        scores: (B, K) the sum of the tokens' log-probabilities given the input, end token included;
            -inf where a small vocabulary has no further sequence.
        lengths: (B, K) tokens, end token included.
    """

    token_ids: Ints
    scores: Floats
    lengths: Floats


@dataclass(frozen=True)
class Mixture:
    """How the models' scores of the next token become one: their weighted sum (shallow fusion,
    Gulcehre et al. 2015, arXiv:1503.03535).

    Attributes:
        weights: of each model that counts, by name.
        bonus: added for every token but the end token, against sequences that are too short.
        ngram: the language model, where it is an n-gram model; any other is the engine's.
        normalise: the scores are log-probabilities of one model, to be normalised again once some
            tokens are excluded; sums of several models are used as they are.
        fluency: what the training texts avoid; None: no restriction.
    """

    weights: Mapping[str, float]
    bonus: float = 0.0
    ngram: NGram | None = None
    normalise: bool = True
    fluency: Fluency | None = None

    @property
    def guided(self) -> bool:
        """Whether something else than the input counts: the score is not a probability then."""
        return LANGUAGE in self.weights or self.bonus != 0


class TokenScorer:
    """Scores the next token of N hypotheses, and keeps the state of each."""

    def __init__(self, steps: Steps, raw: RawOutputs, mixture: Mixture) -> None:
        """``raw``: of the records, one hypothesis each to begin with."""
        self.steps, self.mixture = steps, mixture
        self.rows = len(next(iter(raw.values())))
        models = set(mixture.weights) - ({LANGUAGE} if mixture.ngram else set())
        self.state = steps.start(raw, models)
        self.contexts = np.full(self.rows, mixture.ngram.start if mixture.ngram else 0)

    def next(self, tokens: Ints) -> tuple[Floats, Floats]:
        """Appends a token (N,) to each hypothesis: (N, V) scores of the tokens that may follow, to
        search by; and the scores given the input alone, the same array unless it is guided."""
        found, self.state = self.steps.step(tokens, self.state)
        weights, bonus, ngram = self.mixture.weights, self.mixture.bonus, self.mixture.ngram
        terms = [w * found[n] if w != 1 else found[n] for n, w in weights.items() if n != LANGUAGE]
        by_input = reduce(np.add, terms)
        if not self.mixture.guided:
            return by_input, by_input
        scores = by_input + np.float32(bonus)
        scores[:, EOS] -= np.float32(bonus)
        if LANGUAGE in weights:
            if ngram is None:
                language = found[LANGUAGE]
            else:
                self.contexts = ngram.step(self.contexts, tokens)
                language = ngram.scores(self.contexts)
            scores += weights[LANGUAGE] * language
        return scores, by_input

    def select(self, rows: Ints) -> None:
        """Keep these hypotheses, in this order; some may be repeated, some left out."""
        if len(rows) == self.rows and bool((rows == np.arange(self.rows)).all()):
            return
        self.state, self.contexts = self.steps.select(self.state, rows), self.contexts[rows]
        self.rows = len(rows)


class _Progress:
    """The hypotheses so far: those of the R unfinished records, and the results of the others.

    Attributes:
        records: (R,) which records are unfinished.
        token_ids: (R, K, L) tokens so far.
        ranking: (R, K) the score that they are searched by.
        scores, lengths: (R, K) as in `Hypotheses`.
        done: (R, K) whether the hypothesis has ended, or doesn't exist.
    """

    def __init__(self, records: int, each: int, longest: int) -> None:
        shape = records, each
        self.records, self.token_ids = np.arange(records), np.empty((*shape, 0), np.int64)
        self.ranking, self.scores = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.lengths, self.done = np.zeros(shape, np.float32), np.zeros(shape, bool)
        results = np.full((*shape, longest), PAD)
        self.results = Hypotheses(results, self.scores.copy(), self.lengths.copy())

    @property
    def rows(self) -> Ints:
        """(N, L) the tokens so far."""
        return self.token_ids.reshape(self.done.size, -1)

    def extend(self, source: Ints, tokens: Ints, ranking: Floats, by_input: Floats | None) -> None:
        """Replace the hypotheses by continuations: each of ``source`` (R, K), a number among those
        of its record, with one token (R, K) more and a new ranking (R, K). ``by_input`` are scores
        (N, V) given the input alone; None where these are the ranking."""
        rows = np.arange(len(source))[:, None]
        done, before = self.done[rows, source], self.token_ids[rows, source]
        if by_input is None:
            self.scores = ranking
        else:
            gained = by_input.reshape(*self.done.shape, -1)[rows, source, tokens]
            self.scores = self.scores[rows, source] + np.where(done, np.float32(0), gained)
        self.token_ids = np.concatenate([before, tokens[..., None]], axis=2)
        self.ranking = ranking
        self.lengths = self.lengths[rows, source] + ~done
        self.done = done | (tokens == EOS) | np.isneginf(ranking)

    def drop_finished(self) -> Bools:
        """Drop the records whose hypotheses have all ended, once there are many: (R,) which are
        kept."""
        finished: Bools = np.asarray(self.done.all(axis=1))
        if finished.sum() * WORTH_DROPPING < len(finished):
            return np.ones_like(finished)
        self._store(finished)
        for name in ("records", "token_ids", "ranking", "scores", "lengths", "done"):
            setattr(self, name, getattr(self, name)[~finished])
        return np.asarray(~finished)

    def _store(self, which: Bools) -> None:
        records, results = self.records[which], self.results
        results.token_ids[records, :, : self.token_ids.shape[-1]] = self.token_ids[which]
        never = np.isneginf(self.ranking[which])
        results.scores[records] = np.where(never, -np.inf, self.scores[which])
        results.lengths[records] = self.lengths[which]

    def finish(self) -> Hypotheses:
        """All hypotheses, no longer than the longest."""
        self._store(np.ones(len(self.records), bool))
        found = self.results
        longest = int(found.lengths.max(initial=0))
        return Hypotheses(found.token_ids[..., :longest], found.scores, found.lengths)


def generate(steps: Steps, raw: RawOutputs, mixture: Mixture, decoding: Decoding) -> Hypotheses:
    """Sequences for each of B records, best first: ``decoding.num`` samples, or all beams.

    More sequences than beams need a wider search, whose best is often worse (Stahlberg and Byrne
    2019, arXiv:1908.10090): the best of the usual search comes first all the same.
    """

    def scorer() -> TokenScorer:
        return TokenScorer(steps, raw, mixture)

    if decoding.sample:
        return sample(scorer(), decoding, np.random.default_rng(decoding.seed))
    penalty, limits = decoding.length_penalty, decoding.limits
    found = beam_search(scorer(), decoding.beam, penalty, limits)
    if decoding.num <= decoding.beam:
        return found
    return _led_by(found, beam_search(scorer(), decoding.num, penalty, limits))


def _led_by(best: Hypotheses, others: Hypotheses) -> Hypotheses:
    """The first hypothesis of one search, then those of another without it; as many as the
    latter."""
    most = max(found.token_ids.shape[-1] for found in (best, others))
    first, rest = (
        np.pad(ids, ((0, 0), (0, 0), (0, most - ids.shape[-1])))
        for ids in (best.token_ids[:, :1], others.token_ids)
    )
    again = (rest == first).all(axis=-1)  # (B, K)
    kept = np.argsort(again, axis=1, kind="stable")[:, :-1]  # one of those that differ is too many
    return Hypotheses(
        np.concatenate([first, np.take_along_axis(rest, kept[..., None], axis=1)], axis=1),
        *(
            np.concatenate([one[:, :1], np.take_along_axis(more, kept, axis=1)], axis=1)
            for one, more in ((best.scores, others.scores), (best.lengths, others.lengths))
        ),
    )


def beam_search(
    scorer: TokenScorer, beams: int, length_penalty: float, limits: Limits
) -> Hypotheses:
    """The ``beams`` likeliest sequences of each record, best first; one beam is greedy search.

    They are ranked by log-probability / length ** length_penalty (Wu et al. 2016, arXiv:1609.08144,
    in its simpler form): 0 prefers short ones, 1 is the mean of a token.
    """
    records = scorer.rows
    progress = _Progress(records, beams, limits.max_words + 1)
    progress.ranking[:, 1:] = -np.inf  # at first all beams of a record are the same one
    scorer.select(np.arange(records).repeat(beams))

    def best_continuations(scores: Floats, log_kept: Floats) -> tuple[Ints, Ints, Floats]:
        # No more than `beams` of the best continuations come from one hypothesis.
        each = min(beams, scores.shape[1])
        values, candidates = _largest(scores, each)  # (N, k)
        values -= log_kept[:, None]
        done = progress.done.ravel()
        values[done], candidates[done] = -np.inf, PAD  # an ended one continues with padding, ...
        values[done, 0] = 0.0  # ... at no cost
        total = progress.ranking[..., None] + values.reshape(*progress.done.shape, each)
        lengths = progress.lengths + ~progress.done
        ranked = (total / lengths[..., None] ** np.float32(length_penalty)).reshape(len(total), -1)
        best = np.argsort(-ranked, axis=1, kind="stable")[:, :beams]  # (R, K)
        rows = np.arange(len(best))[:, None]
        tokens = candidates.reshape(len(best), -1)[rows, best]
        return best // each, tokens, total.reshape(len(best), -1)[rows, best]

    return _run(scorer, progress, limits, best_continuations)


def sample(
    scorer: TokenScorer, decoding: Decoding, rng: np.random.Generator, alike: bool = True
) -> Hypotheses:
    """``decoding.num`` random sequences a record, the likeliest first.

    Args:
        scorer: of the records.
        decoding: ``temperature``: below 1 likelier tokens are drawn more often, near 0 it is
            greedy; ``top_k``: only the k likeliest tokens (Fan et al. 2018, arXiv:1805.04833);
            ``top_p``: only the fewest tokens with this probability together ("nucleus", Holtzman
            et al. 2020, arXiv:1904.09751).
        rng: where the random numbers come from.
        alike: every record gets the same random numbers, so that its sequences do not depend on
            its batch; otherwise all draws are independent.
    """
    records, each, limits = scorer.rows, decoding.num, decoding.limits
    # One row per sequence: each is dropped when it ends.
    progress = _Progress(records * each, 1, limits.max_words + 1)
    scorer.select(progress.records // each)

    def draw(scores: Floats, log_kept: Floats) -> tuple[Ints, Ints, Floats]:
        count, done = len(progress.records), progress.done[:, 0]
        chance = rng.random(each)[progress.records % each] if alike else rng.random(count)
        tokens = np.where(done, PAD, _draw(_truncate(scores, decoding), chance))
        gained = np.where(done, np.float32(0), scores[np.arange(count), tokens] - log_kept)
        column = tokens[:, None]
        return np.zeros_like(column), column, progress.ranking + gained[:, None]

    found = _run(scorer, progress, limits, draw)
    scores, lengths = found.scores.reshape(records, each), found.lengths.reshape(records, each)
    order = np.argsort(-scores / lengths, axis=1, kind="stable")
    row = np.arange(records)[:, None]
    token_ids = found.token_ids.reshape(records, each, -1)
    return Hypotheses(token_ids[row, order], scores[row, order], lengths[row, order])


def _run(scorer: TokenScorer, progress: _Progress, limits: Limits, choose: Choose) -> Hypotheses:
    """Continue all hypotheses until they have ended."""
    tokens = np.full(progress.done.size, BOS)
    for _ in range(limits.max_words + 1):
        scores, by_input = scorer.next(tokens)
        guided = by_input is not scores
        log_kept = restrict(scores, progress.rows, limits, scorer.mixture)
        source, chosen, ranking = choose(scores, log_kept)  # (R, K) each
        selected = source + np.arange(len(source))[:, None] * source.shape[1]
        progress.extend(source, chosen, ranking, by_input if guided else None)
        kept = progress.drop_finished()
        if not len(progress.records):
            break
        scorer.select(selected[kept].ravel())
        tokens = chosen[kept].ravel()
    return progress.finish()


def restrict(scores: Floats, generated: Ints, limits: Limits, mixture: Mixture) -> Floats:
    """Set the scores (N, V) of tokens that may not follow ``generated`` (N, L) to -inf, in place.

    Returns:
        (N,) the logarithm of the probability that is left to the others, to be subtracted from
        their log-probabilities; 0 unless the mixture's scores are normalised.
    """
    step, nothing = generated.shape[1], np.zeros(len(scores), np.float32)
    normalise = mixture.normalise
    if step >= limits.max_words:
        end = np.float32(0) if normalise else scores[:, EOS].copy()
        scores[:] = -np.inf
        scores[:, EOS] = end
        return nothing
    excluded = [*NEVER_GENERATED, EOS] if step < limits.min_words else list(NEVER_GENERATED)
    lost = np.exp(scores[:, excluded]).sum(axis=1) if normalise else nothing
    scores[:, excluded] = -np.inf
    rows, tokens = _repeats(generated, limits.no_repeat, scores.shape[1])
    if mixture.fluency is not None:
        more, avoided = mixture.fluency.forbidden(generated)
        codes = np.concatenate([rows, more]) * scores.shape[1] + np.concatenate([tokens, avoided])
        codes.sort(kind="stable")  # nearly in order, which np.unique would make no use of
        rows, tokens = np.divmod(codes[np.diff(codes, prepend=-1) > 0], scores.shape[1])
    if normalise:
        np.add.at(lost, rows, np.exp(scores[rows, tokens]))
    scores[rows, tokens] = -np.inf
    if not normalise:
        # A small vocabulary may leave nothing to say: then only the end.
        scores[np.isneginf(scores.max(axis=1)), EOS] = 0.0
        return nothing
    log_kept = np.log1p(-np.minimum(lost, np.float32(0.5)))
    for row in np.flatnonzero(lost > 0.5):  # few; 1 - lost would have no digits left
        most = scores[row].max()
        if np.isneginf(most):
            scores[row, EOS] = log_kept[row] = 0.0
        else:
            log_kept[row] = most + np.log(np.exp(scores[row] - most).sum())
    return log_kept


def _repeats(generated: Ints, n: int, vocabulary: int) -> tuple[Ints, Ints]:
    """Rows, and tokens that would complete an n-gram that their row (N, L) has already."""
    length = generated.shape[1]
    if n == 0 or length < n:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    context = generated[:, length - n + 1 :]  # (N, n-1): the last tokens
    windows = np.lib.stride_tricks.sliding_window_view(generated, n, axis=1)  # (N, L-n+1, n)
    rows, at = (windows[..., :-1] == context[:, None]).all(axis=-1).nonzero()
    return np.divmod(np.unique(rows * vocabulary + windows[rows, at, -1]), vocabulary)


def _largest(scores: Floats, count: int) -> tuple[Floats, Ints]:
    """(N, V) -> (N, count): the largest of each row, and where they are; may set them to -inf."""
    rows = np.arange(len(scores))[:, None]
    if count > FEW:
        places = np.argpartition(scores, -count, axis=1)[:, -count:]
        return scores[rows, places], places
    found: list[tuple[Floats, Ints]] = []
    for _ in range(count):
        places = scores.argmax(axis=1, keepdims=True)
        found.append((scores[rows, places], places))
        scores[rows, places] = -np.inf
    values, wheres = zip(*found, strict=True)
    return np.concatenate(values, axis=1), np.concatenate(wheres, axis=1)


def _draw(scores: Floats, chance: NDArray[np.float64]) -> Ints:
    """(N, V) and (N,) in [0, 1) -> (N,): the token in whose share of the line the chance falls, by
    its block of the line first."""
    weights = scores - scores.max(axis=1, keepdims=True)
    np.exp(weights, out=weights)
    size, rows = weights.shape[1], np.arange(len(weights))
    blocks = np.add.reduceat(weights, np.arange(0, size, BLOCK), axis=1).astype(np.float64)
    ends = blocks.cumsum(axis=1)
    at = chance * ends[:, -1]
    block = (ends <= at[:, None]).sum(axis=1)
    tokens = np.minimum(block[:, None] * BLOCK + np.arange(BLOCK), size - 1)
    line = weights[rows[:, None], tokens].cumsum(axis=1, dtype=np.float64)
    # Whatever the rounding, no token without a share is drawn.
    at = np.clip(at - ends[rows, block] + blocks[rows, block], 0, np.nextafter(line[:, -1], 0))
    return tokens[rows, (line <= at[:, None]).sum(axis=1)]


def _truncate(scores: Floats, decoding: Decoding) -> Floats:
    """Scores (N, V) at the temperature, with the tokens that may not be drawn at -inf."""
    if decoding.temperature != 1:
        scores = scores / np.float32(max(decoding.temperature, 1e-4))
    if decoding.top_k:
        count = min(decoding.top_k, scores.shape[-1])
        least = np.partition(scores, -count, axis=1)[:, -count, None]
        scores = np.where(scores < least, -np.inf, scores)
    if decoding.top_p < 1.0:
        share = np.exp(scores - scores.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        ordered = np.sort(share, axis=1)[:, ::-1]
        likelier = ordered.cumsum(axis=1) - ordered
        count = (likelier < decoding.top_p).sum(axis=1, keepdims=True)
        least = np.take_along_axis(ordered, np.maximum(count, 1) - 1, axis=1)
        scores = np.where(share < least, -np.inf, scores)
    return scores
