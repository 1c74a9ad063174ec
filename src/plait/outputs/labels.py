"""`labels`: any number of labels at once, or none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from plait.config.registry import register
from plait.nn.branches import Branches
from plait.outputs.answers import LabelAnswers
from plait.outputs.base import Head, Output
from plait.outputs.pooled import PooledHead, best_temperature, check_paired, is_empty
from plait.outputs.scores import Scorer, with_intervals
from plait.types import BadCell, Fused, PlaitError, Prediction, State, UnseenLabel

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

TITLES = {
    "mean_average_precision": "mean average precision",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "exact_match": "exact match",
}
SHOWN = 10  # labels named in a message
HEAVIEST = 100.0  # weight of a rare label's yes in the loss; and 1/100 of a frequent one's


@register("output", "labels")
class LabelsOutput(Output):
    """Any number of labels at once, each with its probability.

    A cell is a list of labels, or a text in which they stand between separators. The empty list,
    and a text of separators alone, say that there is no label; an empty cell says nothing.
    """

    titles = TITLES
    best_metrics = ("mean_average_precision", "micro_f1")
    least = 0.0
    several = False
    linear = True

    def __init__(
        self,
        *,
        separator: Annotated[
            str, Field(min_length=1, description="between the labels of a cell of text")
        ] = ",",
        min_count: Annotated[
            int, Field(ge=1, description="labels that fewer training rows have are not learned")
        ] = 1,
        weights: Annotated[
            Literal["none", "balanced"],
            Field(description="balanced: the rows with a label count as much as those without"),
        ] = "none",
        dropout: Annotated[
            float, Field(ge=0, lt=1, description="dropout before the labels' layer")
        ] = 0.1,
        calibrate: Annotated[
            bool, Field(description="fit the probabilities' temperature on the validation rows")
        ] = True,
        thresholds: Annotated[
            Literal["none", "one", "each"],
            Field(
                description="which probability makes a label an answer: 0.5; the one with the "
                "best micro F1 on the validation rows; or each label's own with its best F1"
            ),
        ] = "one",
    ) -> None:
        self.separator, self.min_count, self.weights = separator, min_count, weights
        self.dropout, self.calibrate, self.thresholds = dropout, calibrate, thresholds

    def fit(self, cells: Iterable[Any]) -> State:
        """The labels, sorted, with how many rows have each; those that are too rare; the rows.

        Cells that can't be used are left out, and named when they are read.
        """
        counts: Counter[str] = Counter()
        rows = 0
        for cell in cells:
            try:
                counts.update(self.labels(cell))
            except BadCell:
                continue
            rows += 1
        labels = sorted(label for label, count in counts.items() if count >= self.min_count)
        if not labels:
            raise PlaitError(
                f"no label of the training rows occurs {self.min_count} times",
                expected="one label at least",
                hint="lower min_count" if counts else "",
            )
        rare = sorted(counts.keys() - set(labels))
        return {"labels": labels, "counts": [counts[n] for n in labels], "rare": rare, "rows": rows}

    def labels(self, cell: Any) -> tuple[str, ...]:
        """A cell's labels, sorted, each once.

        Raises:
            BadCell: it is empty, or holds something else than labels.
        """
        if is_empty(cell):
            raise BadCell("the labels are missing", expected="labels, or a list without any")
        items = cell.split(self.separator) if isinstance(cell, str) else cell
        if isinstance(items, int) and not isinstance(items, bool):
            items = [items]  # a column of one whole number a cell is read as numbers
        if not isinstance(items, (list, tuple)):
            raise BadCell(f"{cell!r:.60} holds no labels", expected="a list, or a text")
        return tuple(sorted({label for item in items if (label := _as_label(item))}))

    def samples(self) -> list[Any]:
        """Two lists."""
        return [["one", "another"], ["one"]]

    def example(self, state: State) -> list[int]:
        """The first label."""
        return [0]

    def reader(self, state: State) -> Callable[[Any], list[int]]:
        """A cell's labels as numbers; those too rare to be learned are left out."""
        numbers = {label: number for number, label in enumerate(state["labels"])}
        rare = set(state["rare"])

        def read(cell: Any) -> list[int]:
            labels = self.labels(cell)
            learned = [numbers[label] for label in labels if label in numbers]
            for label in labels:
                if label not in numbers and label not in rare:
                    known = ", ".join(map(repr, state["labels"][:SHOWN]))
                    raise UnseenLabel(
                        f"no training row has the label {label!r}", target=learned, expected=known
                    )
            return learned

        return read

    def reference(self, cell: Any) -> tuple[str, ...]:
        """The labels, those too rare to be learned among them: they count as missed."""
        return self.labels(cell)

    def cell(self, value: Sequence[str]) -> str:
        """The labels with separators between them; without any, a separator alone."""
        return self.separator.join(value) or self.separator

    def confidence(self, prediction: Prediction) -> float:
        """The geometric mean of the probabilities of its yeses and noes."""
        return prediction.score

    def head(
        self, state: State, width: int, inputs: Sequence[str], pretrained: bool,
        branches: Branches | None = None,
    ) -> Head:  # fmt: skip
        """A linear layer on the pooled vector."""
        return LabelsHead(state, width, self, branches)

    def scorer(self, predictions: Sequence[Prediction], references: Sequence[Any]) -> Scorer:
        """All of `metrics` but the intervals."""
        return _Scorer(predictions, references)

    def rightness(
        self, predictions: Sequence[Prediction], references: Sequence[Any]
    ) -> tuple[str, NDArray[np.float64]]:
        """F1 of the record's own labels, 1 where there are none and none were said."""
        found = []
        for prediction, right in zip(predictions, references, strict=True):
            count = len(prediction.value) + len(right)
            both = len(set(prediction.value) & set(right))
            found.append(2 * both / count if count else 1.0)
        return "F1 of the labels", np.array(found)

    def metrics(self, predictions: Sequence[Prediction], references: Sequence[Any]) -> LabelScores:
        """Mean average precision, micro F1, macro F1 and exact match."""
        return label_scores(predictions, references)


class LabelsHead(PooledHead):
    """Fused -> each label's probability, from the pooled vector."""

    def __init__(
        self, state: State, width: int, output: LabelsOutput, branches: Branches | None
    ) -> None:
        super().__init__(width, len(state["labels"]), output.dropout, branches)
        self.labels: list[str] = state["labels"]
        self.separator = output.separator
        self.fits_temperature, self.thresholds = output.calibrate, output.thresholds
        counts = torch.tensor(state["counts"], dtype=torch.float32)
        balanced = ((state["rows"] - counts) / counts).clamp(1 / HEAVIEST, HEAVIEST)
        self.weights: Tensor | None
        self.register_buffer(
            "weights", balanced if output.weights == "balanced" else None, persistent=False
        )
        self.temperature: Tensor
        self.register_buffer("temperature", torch.ones(()))
        self.threshold: Tensor
        self.register_buffer("threshold", torch.full((len(self.labels),), 0.5))

    def loss(
        self, fused: Fused, targets: Sequence[Sequence[int]], branch: str | None = None
    ) -> Tensor:
        """Mean binary cross-entropy over records and labels."""
        logits = self.scores(fused, branch)
        wanted = self._wanted(targets).to(logits.device)
        return F.binary_cross_entropy_with_logits(logits, wanted, pos_weight=self.weights)

    def _wanted(self, targets: Sequence[Sequence[int]]) -> Tensor:
        """(B, labels), 1 where a record has a label, else 0."""
        wanted = torch.zeros(len(targets), len(self.labels))
        for row, numbers in enumerate(targets):
            wanted[row, list(numbers)] = 1
        return wanted

    @torch.no_grad()
    def calibrate(self, fused: Iterable[Fused], targets: Sequence[Sequence[int]]) -> None:
        """The temperature with the least cross-entropy, and the thresholds with the best F1."""
        logits = torch.cat([self.scores(part) for part in fused]).cpu()
        wanted = self._wanted(targets)
        if self.fits_temperature:
            loss = F.binary_cross_entropy_with_logits
            self.temperature.fill_(best_temperature(lambda t: loss(logits / t, wanted)))
        probable = (logits / self.temperature.cpu()).sigmoid().double().numpy()
        right = wanted.bool().numpy()
        if self.thresholds == "one":
            self.threshold.fill_(best_threshold(probable.ravel(), right.ravel()))
        if self.thresholds == "each":
            best = [best_threshold(p, r) for p, r in zip(probable.T, right.T, strict=True)]
            self.threshold.copy_(torch.tensor(best))

    def support(self, fused: Fused, answers: Sequence[Any]) -> Tensor:
        """(B,) how probable the choice of labels is, a label: the geometric mean."""
        logits = self.scores(fused) / self.temperature
        chosen = torch.zeros_like(logits, dtype=torch.bool)
        for row, answer in enumerate(answers):
            chosen[row, [self.labels.index(label) for label in answer]] = True
        return sure(logits, chosen).cpu()

    def numbers(self, fused: Fused) -> dict[str, Tensor]:
        """``logits``, (B, labels)."""
        return {"logits": self.scores(fused) / self.temperature}

    def answers(self) -> State:
        """The labels, each one's threshold, and what is between them in a cell."""
        return {
            "kind": LabelAnswers.kind, "labels": self.labels, "separator": self.separator,
            "threshold": self.threshold.tolist(),
        }  # fmt: skip


def sure(logits: Tensor, chosen: Tensor) -> Tensor:
    """(B,) geometric mean over the labels of the probability that each is chosen as in ``chosen``
    (B, labels)."""
    return torch.where(chosen, F.logsigmoid(logits), F.logsigmoid(-logits)).mean(dim=1).exp()


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


def _as_label(item: Any) -> str:
    if isinstance(item, bool) or not isinstance(item, (str, int)):
        raise BadCell(f"{item!r:.60} is no label", expected="text or a whole number")
    return str(item).strip()


@dataclass(frozen=True)
class LabelScores:
    """How good the labels are.

    Attributes:
        records: how many were scored.
        mean_average_precision: the mean over the labels that some record has of the average
            precision, Σ (recall - recall before) · precision down the ranking by probability.
        micro_f1: F1 over all pairs of record and label.
        macro_f1: the mean of F1 over the labels that occur, as right ones or as given ones.
        exact_match: the share of the records whose labels are all right and all there.
        intervals: by score, its 95 % bootstrap percentile interval over records.
    """

    records: int
    mean_average_precision: float
    micro_f1: float
    macro_f1: float
    exact_match: float
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return vars(self) | {"intervals": {n: list(ends) for n, ends in self.intervals.items()}}


def label_scores(
    predictions: Sequence[Prediction], references: Sequence[Sequence[str]], seed: int = 0
) -> LabelScores:
    """Scores of predicted labels against the right ones, with bootstrap intervals."""
    points, intervals = with_intervals(_Scorer(predictions, references), len(references), seed)
    return LabelScores(len(references), **points, intervals=intervals)


class _Scorer:
    """Scores of any choice of records; the ranking by probability is made once for all.

    Shapes: N records, C labels.
    """

    def __init__(
        self, predictions: Sequence[Prediction], references: Sequence[Sequence[str]]
    ) -> None:
        check_paired(predictions, references)
        known = set(predictions[0].probabilities).union(*references)
        columns = {label: column for column, label in enumerate(sorted(known))}
        shape = len(predictions), len(columns)
        self.right, self.given = np.zeros(shape, bool), np.zeros(shape, bool)
        probable = np.zeros(shape)
        for row, (prediction, labels) in enumerate(zip(predictions, references, strict=True)):
            self.right[row, [columns[label] for label in labels]] = True
            self.given[row, [columns[label] for label in prediction.value]] = True
            for label, p in prediction.probabilities.items():
                probable[row, columns[label]] = p
        self.hits = self.right & self.given
        self.exact = (self.right == self.given).all(axis=1)
        self.order = np.argsort(-probable, axis=0, kind="stable")  # (N, C)
        self.ends = _last_of_equals(np.take_along_axis(probable, self.order, axis=0))
        self.ranked = np.take_along_axis(self.right, self.order, axis=0)

    def __call__(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """The scores of these records, some of which may be several times among them."""
        weights = np.bincount(rows, minlength=len(self.right)).astype(np.float64)
        hits = weights @ self.hits  # (C,)
        both = weights @ self.right + weights @ self.given
        there = both > 0
        return {
            "mean_average_precision": self._mean_average_precision(weights),
            "micro_f1": float(2 * hits.sum() / both.sum()) if there.any() else 1.0,
            "macro_f1": float((2 * hits[there] / both[there]).mean()) if there.any() else 1.0,
            "exact_match": float(weights @ self.exact / weights.sum()),
        }

    def _mean_average_precision(self, weights: Floats) -> float:
        taken = weights[self.order]  # (N, C)
        right = taken * self.ranked
        total = right.sum(axis=0)
        there = total > 0
        if not there.any():
            return 1.0  # no record has a label: there is nothing to rank
        so_far = np.maximum(np.cumsum(taken, axis=0), 1e-12)
        precision = np.cumsum(right, axis=0) / so_far
        at_ends = np.take_along_axis(precision, self.ends, axis=0)
        return float(((right * at_ends).sum(axis=0)[there] / total[there]).mean())


def _last_of_equals(ranked: Floats) -> NDArray[np.int64]:
    """(N, C) falling columns -> for each place the last one with the same value."""
    size = len(ranked)
    places = np.arange(size)[:, None]
    is_last = np.append(ranked[1:] != ranked[:-1], np.ones((1, ranked.shape[1]), bool), axis=0)
    ends = np.where(is_last, places, size)
    last: NDArray[np.int64] = np.minimum.accumulate(ends[::-1], axis=0)[::-1]
    return last
