"""BLEU and chrF of translations, as sacrebleu computes them (the extra ``translation``)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.config.registry import register
from plait.outputs.text.metrics.base import CONFIDENCE, TextMetrics
from plait.outputs.text.search import MOST, Limits
from plait.util.imports import needed


@register("metric", "translations")
class TranslationMetrics(TextMetrics):
    """Scores of translations, with case and punctuation.

    ``bleu`` is corpus BLEU, 0 to 100 (Papineni et al., ACL 2002; Post, WMT 2018), ``chrf`` corpus
    chrF2, 0 to 100 (Popović, WMT 2015), ``bleu_share`` BLEU from 0 to 1, as other outputs' scores
    are. The extra ``signatures`` has sacrebleu's signature of each: all that the number depends on.

    They are made of each sentence's n-gram counts, whose sums give the scores of any selection of
    sentences. sacrebleu has these sums for its own resampling, under names with an underscore.
    """

    titles = {
        "bleu": "BLEU (13a, mixed case)",
        "chrf": "chrF2",
        "bleu_share": "BLEU / 100",
        **CONFIDENCE,
    }
    best_metrics = ("bleu_share", "chrf")
    limits = Limits(1, MOST, 0)
    library = ("sacrebleu", "translation")

    def __init__(self, answers: Sequence[str], references: Sequence[Sequence[str]]) -> None:
        super().__init__(answers, references)
        metrics = needed("sacrebleu.metrics", "translation")
        # Its warning about texts that seem to be tokenised can't be heeded: they are the user's.
        self._metrics: dict[str, Any] = {"bleu": metrics.BLEU(force=True), "chrf": metrics.CHRF()}
        streams = list(zip_longest(*references))  # None where a record has fewer references
        self._counts = {
            name: np.array(metric._extract_corpus_statistics(answers, streams), np.int64)
            for name, metric in self._metrics.items()
        }

    def __call__(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """The scores of a corpus of these sentences."""
        found = {
            name: float(metric._compute_score_from_stats(sums).score)
            for name, metric in self._metrics.items()
            for sums in [self._counts[name][rows].sum(axis=0).tolist()]
        }
        return {**found, "bleu_share": found["bleu"] / 100}

    def extras(self) -> dict[str, Any]:
        """sacrebleu's signatures."""
        signatures = {name: str(metric.get_signature()) for name, metric in self._metrics.items()}
        return {"signatures": signatures, **super().extras()}
