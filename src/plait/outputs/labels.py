"""`labels`: any number of labels at once, or none.

Shapes: N records, C labels.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plait.config.registry import register
from plait.data.values import class_key, is_missing
from plait.outputs.base import Options, RawOutputs, Steps, usable
from plait.outputs.category import ChoiceOutput, Probabilities
from plait.outputs.scores import Floats, Metrics
from plait.types import BadCell, EmptyTarget, PlaitError, Prediction, State, UnseenLabel

Bools = NDArray[np.bool_]

SHOWN = 10  # labels named in a message


class LabelsMetrics(Metrics):
    """Mean average precision, micro F1, macro F1 and exact match of predicted labels.

    ``mean_average_precision`` is the mean over the labels that some record has of the average
    precision, Σ (recall - recall before) · precision down the ranking by probability, which is made
    once for all choices of records. ``micro_f1`` is over all pairs of record and label,
    ``macro_f1`` the mean of F1 over the labels that occur, as right ones or as given ones, and
    ``exact_match`` the share of the records whose labels are all right and all there.
    """

    titles = {
        "mean_average_precision": "mean average precision",
        "micro_f1": "micro F1",
        "macro_f1": "macro F1",
        "exact_match": "exact match",
    }
    best_metrics = ("mean_average_precision", "micro_f1")
    lowest = 0.0

    def __init__(self, answers: Sequence[Prediction], references: Sequence[Sequence[str]]) -> None:
        super().__init__(answers, references)
        each = [answer.details.probabilities for answer in answers]
        columns = {label: n for n, label in enumerate(sorted(set(each[0]).union(*references)))}
        shape = len(answers), len(columns)
        self.right, self.given = np.zeros(shape, bool), np.zeros(shape, bool)
        probable = np.zeros(shape)
        for row, labels in enumerate(references):
            self.right[row, [columns[label] for label in labels]] = True
            self.given[row, [columns[label] for label in answers[row].value]] = True
            for label, p in each[row].items():
                probable[row, columns[label]] = p
        self.hits = self.right & self.given
        self.exact = (self.right == self.given).all(axis=1)
        self.order = np.argsort(-probable, axis=0, kind="stable")  # (N, C)
        ranked = np.take_along_axis(probable, self.order, axis=0)
        # For each place of a ranking the last one with the same probability.
        is_last = np.vstack([ranked[1:] != ranked[:-1], np.ones(len(columns), bool)])
        ends = np.where(is_last, np.arange(shape[0])[:, None], shape[0])
        self.ends = np.minimum.accumulate(ends[::-1], axis=0)[::-1]
        self.ranked_right = np.take_along_axis(self.right, self.order, axis=0)

    def __call__(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """The scores of these records."""
        weights = np.bincount(rows, minlength=len(self.right)).astype(np.float64)
        hits = weights @ self.hits  # (C,)
        both = weights @ self.right + weights @ self.given
        occurs = both > 0
        f1 = 2 * hits[occurs] / both[occurs]
        return {
            "mean_average_precision": self._mean_average_precision(weights),
            "micro_f1": float(2 * hits.sum() / both.sum()) if occurs.any() else 1.0,
            "macro_f1": float(f1.mean()) if occurs.any() else 1.0,
            "exact_match": float(weights @ self.exact / weights.sum()),
        }

    def _mean_average_precision(self, weights: Floats) -> float:
        taken = weights[self.order]  # (N, C)
        right = taken * self.ranked_right
        total = right.sum(axis=0)
        occurs = total > 0
        if not occurs.any():
            return 1.0  # no record has a label: there is nothing to rank
        so_far = np.maximum(np.cumsum(taken, axis=0), 1e-12)
        precision = np.cumsum(right, axis=0) / so_far
        at_ends = np.take_along_axis(precision, self.ends, axis=0)
        return float(((right * at_ends).sum(axis=0)[occurs] / total[occurs]).mean())

    def rightness(self) -> tuple[str, Floats]:
        """F1 of the record's own labels, 1 if there are none and none were predicted."""
        both = self.right.sum(axis=1) + self.given.sum(axis=1)
        f1 = np.divide(2 * self.hits.sum(axis=1), both, out=np.ones(len(both)), where=both > 0)
        return "F1 of the labels", f1


class LabelsOptions(Options):
    """How labels are answered."""

    num: int | None = Field(
        default=None,
        ge=1,
        description="give this many labels, the likeliest, whatever their probability",
    )
    threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="minimum probability of a label, instead of the fitted one",
    )


@register("output", "labels")
class LabelsOutput(ChoiceOutput):
    """Any number of labels at once, each with its probability.

    A cell is a list of labels, or a text in which they stand between separators. The empty list,
    and a text of separators alone, say that there is no label; an empty cell says nothing.
    """

    linear: ClassVar[bool] = True
    answer_type: ClassVar[str] = "labels"
    options_type = LabelsOptions
    head_class = "plait.outputs.networks.LabelsHead"
    scored_by = LabelsMetrics

    separator: str = Field(
        default=",", min_length=1, description="what separates the labels in a text"
    )
    min_count: int = Field(
        default=1, ge=1, description="labels in fewer training rows are not learned"
    )
    weights: Literal["none", "balanced"] = Field(
        default="none", description="balanced: rows with a label count as much as rows without it"
    )
    dropout: float = Field(default=0.1, ge=0, lt=1, description="dropout before the last layer")
    calibrate: bool = Field(
        default=True, description="fit the probabilities' temperature on the validation rows"
    )
    thresholds: Literal["none", "one", "each"] = Field(
        default="one",
        description="minimum probability of a label in an answer; none: 0.5; one: that with "
        "the best micro F1 on the validation rows; each: for each label, that with its best F1",
    )

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The labels, sorted, with how many rows have each; those that are too rare; the rows."""
        rows = list(usable(cells, self.labels))
        counts = Counter(label for labels in rows for label in labels)
        labels = sorted(label for label, count in counts.items() if count >= self.min_count)
        if not labels:
            raise PlaitError(
                f"no label of the training rows occurs {self.min_count} times",
                expected="at least one label",
                hint="lower min_count" if counts else "",
            )
        rare = sorted(counts.keys() - set(labels))
        known = [counts[label] for label in labels]
        return {"labels": labels, "counts": known, "rare": rare, "rows": len(rows)}

    @property
    def choices(self) -> list[str]:
        """The labels that were learned."""
        return self.state["labels"]

    @cached_property
    def rare(self) -> frozenset[str]:
        """The labels that too few training rows have."""
        return frozenset(self.state["rare"])

    def labels(self, cell: Any) -> tuple[str, ...]:
        """A cell's labels, sorted, each once; those that were learned as the model calls them.

        Raises:
            BadCell: it is empty, or holds something else than labels.
        """
        if not isinstance(cell, (list, tuple)) and is_missing(cell):
            raise EmptyTarget("the labels are missing", expected="labels, or a list without any")
        items = cell.split(self.separator) if isinstance(cell, str) else cell
        if isinstance(items, np.ndarray):  # of numbers
            items = items.tolist()
        if isinstance(items, (bool, int, float)):
            items = [items]  # a column with one number in each cell
        if not isinstance(items, (list, tuple)):
            raise BadCell(f"{cell!r:.60} holds no labels", expected="a list, or a text")
        found = set()
        for item in items:
            if not isinstance(item, (str, bool, int)) and not class_key(item).isdigit():
                raise BadCell(f"{item!r:.60} is not a label", expected="text or a whole number")
            number = self.ids.get(item) if self.state else None
            text = unicodedata.normalize("NFC", str(item)).strip()
            found.add(text if number is None else self.choices[number])
        return tuple(sorted(found - {""}))

    def read(self, cell: Any, root: Path) -> list[int]:
        """The labels' numbers; labels too rare to be learned are left out."""
        labels = self.labels(cell)
        numbers = [self.ids.get(label) for label in labels]
        learned = [number for number in numbers if number is not None]
        for label, number in zip(labels, numbers, strict=True):
            if number is None and label not in self.rare:
                known = ", ".join(map(repr, self.choices[:SHOWN]))
                raise UnseenLabel(
                    f"no training row has the label {label!r}", target=learned, expected=known
                )
        return learned

    def samples(self) -> list[Any]:
        """Two lists."""
        return [["one", "another"], ["one"]]

    def example(self) -> list[int]:
        """The first label."""
        return [0]

    def reference(self, cell: Any, root: Path) -> tuple[str, ...]:
        """The labels; those too rare to be learned are among them, and count as missed."""
        return self.labels(cell)

    def decode(
        self, raw: RawOutputs, fitted: State, options: Any, steps: Steps | None = None
    ) -> list[Prediction]:
        """The labels of each record, the likeliest first, of ``logits`` (N, C); ``fitted`` has
        each label's ``threshold``."""
        yes, no = -np.logaddexp(0, -raw["logits"]), -np.logaddexp(0, raw["logits"])
        probable = np.exp(yes)
        order = np.argsort(-probable, axis=-1, kind="stable")
        if options.num is not None:
            chosen = np.zeros_like(probable, dtype=bool)
            np.put_along_axis(chosen, order[:, : options.num], True, axis=1)
        elif options.threshold is not None:
            chosen = probable >= options.threshold
        else:
            chosen = probable >= np.array(fitted["threshold"], np.float32)
        scores = np.exp(np.where(chosen, yes, no).mean(axis=1))
        found = []
        for row, best in enumerate(order.tolist()):
            value = tuple(self.choices[n] for n in best if chosen[row, n])
            details = Probabilities({self.choices[n]: float(probable[row, n]) for n in best})
            found.append(Prediction(value, float(scores[row]), details=details))
        return found

    def to_cell(self, value: Sequence[str]) -> str:
        """The labels with separators between them; without any, a separator alone. Where one of the
        labels has a separator in it, a list as JSON."""
        if self.state and any(self.separator in label for label in self.choices):
            return json.dumps(list(value), ensure_ascii=False)
        return self.separator.join(value) or self.separator


def best_threshold(probable: Floats, right: Bools) -> float:
    """The threshold with the best F1 on examples (N,), halfway between two probabilities; 0.5
    where no example is right."""
    if not right.any():
        return 0.5
    order = np.argsort(-probable, kind="stable")
    ranked = probable[order]
    hits, taken = np.cumsum(right[order]), np.arange(1, len(order) + 1)
    f1 = 2 * hits / (taken + right.sum())
    following = np.append(ranked[1:], 0.0)
    f1[ranked == following] = 0  # equal probabilities are taken together
    best = int(f1.argmax())
    return float(ranked[best] + following[best]) / 2
