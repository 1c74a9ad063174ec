"""The published metrics of captions: BLEU, ROUGE-L, CIDEr-D and, if asked for, METEOR.

Captions are tokenised as in the COCO evaluation (`plait.outputs.text.metrics.ptb`), and scores
equal those of the COCO evaluation's code, pycocoevalcap, to rounding.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.config.registry import register
from plait.outputs.scores import RESAMPLES, Floats, Scores, interval, resamples
from plait.outputs.text.metrics.base import CONFIDENCE, TextMetrics, positions
from plait.outputs.text.metrics.cider import CiderReward
from plait.outputs.text.metrics.meteor import Meteor, check_meteor
from plait.outputs.text.metrics.ptb import tokenise
from plait.outputs.text.metrics.subject import agrees, alike, singular, subject
from plait.outputs.text.search import Limits
from plait.types import PlaitError

ORDERS = 4  # n-grams of one to four words
BETA = 1.2  # how much more recall weighs than precision in ROUGE-L
_SMALL, _TINY = 1e-9, 1e-15  # guards against division by zero, as published scores have them


@register("metric", "captions")
class CaptionMetrics(TextMetrics):
    """Scores of captions, one per photo, against all references of the photo.

    ``bleu1`` to ``bleu4`` are corpus BLEU, 0 to 1 (Papineni et al., ACL 2002); ``rouge_l`` is mean
    ROUGE-L, 0 to 1 (Lin, 2004); ``cider`` is mean CIDEr-D on the published scale, about 0 to 10
    (arXiv:1411.5726), whose document frequencies stay those of all photos in every resample;
    ``meteor`` is corpus METEOR 1.5 (Denkowski and Lavie, 2014). Extras are the share of captions
    that are ``distinct`` and the number of different words in them, the ``vocabulary``: they have
    no interval, as a resample repeats photos.

    An empty caption scores zero.
    """

    titles = {
        "cider": "CIDEr-D",
        "bleu4": "BLEU-4",
        "bleu3": "BLEU-3",
        "bleu2": "BLEU-2",
        "bleu1": "BLEU-1",
        "rouge_l": "ROUGE-L",
        "meteor": "METEOR",
        "distinct": "distinct captions",
        "vocabulary": "words used",
        "mean_length": "words per caption",
        **CONFIDENCE,
        "right": "main subject right",
    }
    best_metrics = ("cider", "bleu4")  # CIDEr of a single record is always 0
    highest = 10.0
    ranked_as = "captions"
    limits = Limits(3, 24, 3)

    def __init__(self, answers: Sequence[str], references: Sequence[Sequence[str]]) -> None:
        super().__init__(answers, references)
        for index, texts in enumerate(references):
            if isinstance(texts, str) or not texts:
                got = "one string" if texts else "none"
                raise PlaitError(f"references of photo {index}: {got}", expected="a list of texts")
        self.captions = [tokenise(caption) for caption in answers]
        self.targets = [[tokenise(text) for text in texts] for texts in references]
        if not any(words for texts in self.targets for words in texts):
            raise PlaitError("no word in any reference", expected="captions of words")
        pairs = list(zip(self.captions, self.targets, strict=True))
        numbers: defaultdict[str, int] = defaultdict(count().__next__)

        def ids(texts: Sequence[Sequence[str]]) -> list[list[int]]:
            return [[numbers[word] for word in words] for words in texts]

        reward = CiderReward([ids(texts) for texts in self.targets])
        self._bleu = np.array([bleu_counts(*pair) for pair in pairs], np.float64)
        self._means: dict[str, Floats] = {
            "rouge_l": np.array([rouge_l(*pair) for pair in pairs]),
            "cider": reward.scores(range(len(pairs)), ids(self.captions)),
            "mean_length": np.array([len(words) for words in self.captions], np.float64),
        }

    @classmethod
    def right(cls, answer: str, references: Sequence[str]) -> bool:
        """Whether a reference mentions what the caption is about."""
        noun = subject(tokenise(answer))
        return noun is not None and any(agrees(noun, tokenise(text)) for text in references)

    @classmethod
    def key_words(cls, words: Sequence[str]) -> Sequence[str]:
        """What the caption is about, in the singular; the noun that `right` judges, found in the
        same tokens: a vocabulary's "man's" is two of them."""
        noun = subject(tokenise(" ".join(words)))
        return [] if noun is None else [noun]

    @classmethod
    def agree(cls, key_word: str, word: str) -> bool:
        """Whether both name the same: "bike" and "bicycles", or "bicycle's"."""
        return not alike(singular(key_word)).isdisjoint(_nouns(word))

    def __call__(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """The scores of these photos, without METEOR."""
        return {
            **{f"bleu{n}": score for n, score in enumerate(bleu(self._bleu[rows].sum(axis=0)), 1)},
            **{name: float(values[rows].mean()) for name, values in self._means.items()},
        }

    def scores(self, seed: int = 0, slow: bool = False) -> Scores:
        """The scores of all photos with their bootstrap intervals; with ``slow`` also METEOR, which
        runs a Java program.

        Raises:
            PlaitError: METEOR's program is not installed, or failed.
        """
        found = replace(super().scores(seed), counted="photos")
        if not slow:
            return replace(found, extras={"meteor": None, **found.extras})
        check_meteor()
        with Meteor() as program:
            counts = program.counts(self.captions, self.targets)
            score = program.score(counts.sum(axis=0))
            drawn = [
                program.score(np.bincount(rows, minlength=len(counts)) @ counts)
                for rows in resamples(len(counts), RESAMPLES, seed)
            ]
        return replace(
            found,
            points={**found.points, "meteor": score},
            intervals={**found.intervals, "meteor": interval(drawn)},
        )

    def extras(self) -> dict[str, Any]:
        """How varied the captions are, and how well a calibrated model knows which are right."""
        return {
            "distinct": len({tuple(words) for words in self.captions}) / len(self.captions),
            "vocabulary": len({word for words in self.captions for word in words}),
            **super().extras(),
        }

    def rightness(self) -> tuple[str, Floats]:
        """CIDEr-D of each photo's caption."""
        return self.titles["cider"], self._means["cider"]

    def ranked(self) -> list[int]:
        """The photos' places, the best first: by CIDEr-D, among equals by smoothed BLEU-4."""
        return np.lexsort((-smoothed_bleu4(self._bleu), -self._means["cider"])).tolist()


@lru_cache(maxsize=1 << 16)  # captions of many photos have the same words
def _nouns(word: str) -> Sequence[str]:
    """The tokens of a word in the singular."""
    return [singular(token) for token in tokenise(word)]


def bleu_counts(caption: Sequence[str], references: Sequence[Sequence[str]]) -> list[int]:
    """(10,): of each order the n-grams that match a reference, then of each order all n-grams,
    the caption's length, and the length of the reference nearest to it (the shorter of two)."""
    matches, totals = [], []
    for order in range(1, ORDERS + 1):
        counts = ngrams(caption, order)
        allowed: Counter[tuple[str, ...]] = Counter()
        for reference in references:
            allowed |= ngrams(reference, order)  # the maximum of each n-gram's counts
        matches.append((counts & allowed).total())
        totals.append(counts.total())
    nearest = min(map(len, references), key=lambda other: (abs(other - len(caption)), other))
    return [*matches, *totals, len(caption), nearest]


def ngrams(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    """How often a text has each sequence of ``order`` words."""
    return Counter(zip(*(words[start:] for start in range(order)), strict=False))


def bleu(counts: Floats) -> list[float]:
    """BLEU of orders one to four from `bleu_counts` added up over photos."""
    matches, totals = counts[:ORDERS], counts[ORDERS : 2 * ORDERS]
    logs = np.log((matches + _TINY) / (totals + _SMALL))
    means = np.exp(np.cumsum(logs) / np.arange(1, ORDERS + 1))
    scores: list[float] = (means * brevity(counts)).tolist()
    return scores


def brevity(counts: Floats) -> Floats:
    """BLEU's penalty for captions that are shorter than their references."""
    ratio = (counts[..., -2] + _TINY) / (counts[..., -1] + _SMALL)
    return np.exp(np.minimum(0.0, 1.0 - 1.0 / ratio))


def smoothed_bleu4(counts: Floats) -> Floats:
    """(photos,) BLEU-4 of single captions from (photos, 10) counts: one more match and n-gram above
    order one (Lin and Och, 2004)."""
    extra = np.array([0.0, 1.0, 1.0, 1.0])
    matches = counts[:, :ORDERS] + extra
    totals = np.maximum(counts[:, ORDERS : 2 * ORDERS] + extra, 1.0)
    scores: Floats = np.prod(matches / totals, axis=1) ** (1 / ORDERS) * brevity(counts)
    return scores


def rouge_l(caption: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """F-score of the longest common subsequence's share of the caption (precision) and of the
    reference (recall), each the best over the references.

    Published scores count an empty text as one empty word, so this does too.
    """
    precision = recall = 0.0
    for reference in references:
        common = common_words(caption or [""], reference or [""])
        precision = max(precision, common / max(len(caption), 1))
        recall = max(recall, common / max(len(reference), 1))
    if not precision:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def common_words(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest common subsequence, in a few operations on long integers for each
    word (Hyyrö 2004, "Bit-parallel LCS-length computation revisited")."""
    places = positions(first)
    every = (1 << len(first)) - 1
    row = every
    for word in second:
        equal = row & places.get(word, 0)
        row = (row + equal | row - equal) & every
    return (row ^ every).bit_count()
