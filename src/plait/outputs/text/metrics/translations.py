"""How good translations are: BLEU and chrF as sacrebleu computes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from plait.outputs.scores import Scorer, check_paired, with_intervals
from plait.outputs.text.decoding import MOST, Limits
from plait.outputs.text.metrics.base import References, Scoring, Sentences

TITLES = {
    "bleu": "BLEU (13a, mixed case)",
    "chrf": "chrF2",
    "bleu_share": "BLEU / 100",
}


@dataclass(frozen=True)
class TranslationScores:
    """The scores of one translation a record, against all references of the record.

    Case and punctuation count as they are written.

    Attributes:
        records: how many were scored.
        bleu: corpus BLEU, 0 to 100 (Papineni et al., ACL 2002; Post, WMT 2018).
        chrf: corpus chrF2, 0 to 100 (Popović, WMT 2015).
        bleu_share: BLEU from 0 to 1, as other outputs' scores are.
        signatures: by score, sacrebleu's signature: all that the number depends on.
        intervals: by score, its 95 % bootstrap percentile interval over records.
    """

    records: int
    bleu: float
    chrf: float
    bleu_share: float
    signatures: Mapping[str, str]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return vars(self) | {
            "signatures": dict(self.signatures),
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
        }


def translation_scores(
    answers: Sentences, references: References, seed: int = 0
) -> TranslationScores:
    """BLEU and chrF over all records, with bootstrap intervals from each sentence's statistics."""
    single = _Translations(answers, references)
    points, intervals = with_intervals(single, len(answers), seed)
    signatures = {name: str(metric.get_signature()) for name, metric in single.metrics.items()}
    return TranslationScores(
        records=len(answers), **points, signatures=signatures, intervals=intervals
    )


def translation_scorer(answers: Sentences, references: References) -> Scorer:
    """BLEU and chrF of any choice of the records."""
    return _Translations(answers, references)


TRANSLATIONS = Scoring(
    TITLES, ("bleu_share", "chrf"), translation_scorer, translation_scores, Limits(1, MOST, 0)
)


class _Translations:
    """Each sentence's n-gram counts, whose sums give the scores of any choice of sentences.

    sacrebleu has these sums for its own resampling, under names with an underscore.
    """

    def __init__(self, answers: Sentences, references: References) -> None:
        check_paired(answers, references)
        # Its warning about texts that seem to be tokenised can't be heeded: they are the user's.
        self.metrics: dict[str, BLEU | CHRF] = {"bleu": BLEU(force=True), "chrf": CHRF()}
        streams: Any = list(zip_longest(*references))  # None where a record has fewer references
        self.statistics = {
            name: np.array(metric._extract_corpus_statistics(answers, streams), np.int64)
            for name, metric in self.metrics.items()
        }

    def __call__(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """The scores of these records, some of which may be several times among them."""
        found = {
            name: float(metric._compute_score_from_stats(self._sums(name, rows)).score)
            for name, metric in self.metrics.items()
        }
        return {**found, "bleu_share": found["bleu"] / 100}

    def _sums(self, name: str, rows: NDArray[np.int64]) -> list[int]:
        sums: list[int] = self.statistics[name][rows].sum(axis=0).tolist()
        return sums
