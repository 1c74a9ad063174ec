"""The sections of a report, each made from an evaluation; empty where it has nothing of the kind.

Shapes: N records, D width.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from plait.config.recipe import Recipe
from plait.data.index import Index
from plait.evaluation.results import Evaluation
from plait.package.card import score_rows
from plait.render.charts import PALETTE, bars, colour, legend, lines, scatter
from plait.render.curves import read_curves
from plait.render.html import fill
from plait.render.numbers import number, shown, signed
from plait.report.records import Gallery

TEMPLATE = "report/sections.html"
MOST_CLASSES, BROAD = 30, 8  # of a confusion matrix; of one that has a row to itself
BEHIND = 8  # records behind one of its cells
ON_MAP = 600  # records
NEAREST = 3  # records shown beside one of the map
EXTREMES = 6  # best and worst records
BINS = 10  # of a calibration curve
MOST_FAILURES = 20
QUARTERS = ("among the worst", "worse than most", "better than most", "among the best")
QUARTER_COLOURS = (1, 4, 5, 0)  # from orange to blue
OTHER = "others"


def scores(recipe: Recipe, evaluation: Evaluation, output: str) -> Markup:
    """A tile for each score, with its interval."""
    return fill(
        "render/scores.html",
        "tiles",
        score_rows(recipe, output, evaluation.scores[output].to_json()),
    )


def input_shares(evaluation: Evaluation, output: str) -> Markup:
    """What each input adds to the answers, on average."""
    shares = evaluation.shares().get(output)
    if not shares:
        return Markup()
    means = [(name, share["mean"], signed(share["mean"])) for name, share in shares.items()]
    sizes = [(name, share["size"], number(share["size"])) for name, share in shares.items()]
    return fill(
        TEMPLATE,
        "panels",
        "What each input adds",
        [("Mean share", bars(means)), ("Mean size of the share", bars(sizes))],
        "An input’s share of an answer is its Shapley value: the support that it adds. Shares for "
        "and against an answer cancel out in the mean, not in the mean size.",
    )


def subset_table(recipe: Recipe, evaluation: Evaluation, output: str) -> Markup:
    """The scores with every subset of the inputs."""
    if len(evaluation.subsets) < 2:
        return Markup()
    rows = {
        " + ".join(subset): {
            title: (value, interval)
            for title, value, interval in score_rows(
                recipe, output, ablation.scores[output].to_json()
            )
        }
        for subset, ablation in evaluation.subsets.items()
    }
    titles = max(map(list, rows.values()), key=len)
    return fill(
        TEMPLATE,
        "table",
        "With fewer inputs",
        titles,
        [(name, [row.get(title, ("–", "")) for title in titles]) for name, row in rows.items()],
        "The other inputs are missing. Below each score is its 95 % interval.",
    )


def confusion(evaluation: Evaluation, output: str, gallery: Gallery) -> Markup:
    """True classes by predicted ones, where the answers are classes; a cell shows its records."""
    answers = [prediction.value for prediction in evaluation.predictions[output]]
    if not _are_classes(evaluation, output):
        return Markup()
    right = evaluation.references[output]
    classes = [value for value, _ in Counter([*right, *answers]).most_common(MOST_CLASSES)]
    classes.sort(key=str)
    cells: dict[tuple[Any, Any], list[int]] = {}
    for position, pair in enumerate(zip(right, answers, strict=True)):
        cells.setdefault(pair, []).append(position)
    totals = Counter(right)

    def cell(true: Any, answer: Any) -> dict[str, Any]:
        positions = cells.get((true, answer), [])
        for position in positions[:BEHIND]:
            gallery.add(position)
        return {
            "count": len(positions),
            "share": len(positions) / max(totals[true], 1),
            "behind": positions[:BEHIND],
            "tone": "for" if true == answer else "against",
        }

    left = len(set(right) | set(answers)) - len(classes)
    return fill(
        TEMPLATE,
        "confusion",
        "Confusion between classes",
        classes,
        [(true, [cell(true, answer) for answer in classes]) for true in classes],
        "Each row is a true class, each column an answer; the stronger the colour, the larger the "
        "share of the row. Choose a number to see its records."
        + (f" {left} rarer classes are left out." if left else ""),
        len(classes) > BROAD,
    )


def _are_classes(evaluation: Evaluation, output: str) -> bool:
    answering, predictions = evaluation.outputs[output], evaluation.predictions[output]
    return all(p.value in answering.probabilities(p) for p in predictions)


def calibration(evaluation: Evaluation, output: str) -> Markup:
    """Whether probabilities mean what they say: of classes, of labels, of intervals."""
    predictions, references = evaluation.predictions[output], evaluation.references[output]
    answering = evaluation.outputs[output]
    pairs: list[tuple[float, bool]] = []
    inside: list[bool] = []
    for prediction, right in zip(predictions, references, strict=True):
        probabilities = answering.probabilities(prediction)
        if (ends := answering.bounds(prediction)) is not None:
            inside.append(bool(ends[0] <= right <= ends[1]))
        elif prediction.value in probabilities:
            pairs.append((probabilities[prediction.value], prediction.value == right))
        else:  # of several labels each is right or not
            pairs += [(p, label in right) for label, p in probabilities.items()]
    if inside:
        sentence = f"{np.mean(inside):.1%} of the true values lie within the predicted interval."
        return fill(TEMPLATE, "panels", "Calibration", [("", sentence)])
    if not pairs:
        return Markup()
    probable, hit = np.array([p for p, _ in pairs]), np.array([h for _, h in pairs], float)
    bins = np.minimum((probable * BINS).astype(int), BINS - 1)
    points = [
        (float(probable[bins == b].mean()), float(hit[bins == b].mean())) for b in np.unique(bins)
    ]
    chart = lines(
        [("", points, colour(0))], "predicted probability", "share that was right",
        x_range=(0.0, 1.0), y_range=(0.0, 1.0), diagonal=True, dots=True,
    )  # fmt: skip
    return fill(
        TEMPLATE,
        "panels",
        "Calibration",
        [("", chart)],
        "On the dashed line, probabilities mean what they say. Below it the model is "
        "overconfident, above it underconfident.",
    )


def numbers(evaluation: Evaluation, output: str, gallery: Gallery) -> Markup:
    """Predicted numbers against true ones, where the answers are numbers."""
    pairs = [
        (right, prediction.value)
        for prediction, right in zip(
            evaluation.predictions[output], evaluation.references[output], strict=True
        )
    ]
    if evaluation.outputs[output].answer_type != "number":
        return Markup()
    chosen = _some(len(pairs))
    for position in chosen:
        gallery.add(position)
    points = [(float(pairs[n][0]), float(pairs[n][1]), colour(0), n) for n in chosen]
    return fill(
        TEMPLATE,
        "panels",
        "Predicted and true values",
        [("", scatter(points, "true", "predicted", diagonal=True))],
        "On the dashed line they are equal. Point at a record to see it.",
    )


def embedding_map(evaluation: Evaluation, output: str, gallery: Gallery) -> Markup:
    """The records' fused vectors in two dimensions, coloured by the true class, or by how right the
    answer is; each record with those that are most similar to it."""
    if evaluation.vectors is None or len(evaluation.vectors) < 3:
        return Markup()
    chosen = _some(len(evaluation.vectors))
    vectors = evaluation.vectors[chosen]
    places, method = _two_dimensions(vectors)
    groups, by = _classes(evaluation, output, chosen), "true class"
    if groups is None:
        groups, by = _quarters([gallery.rightness[n] for n in chosen]), "how right the answer is"
    order = [name for name, _ in Counter(groups).most_common()]
    order = [name for name in QUARTERS if name in order] or sorted(order, key=lambda n: n == OTHER)
    tones = {name: colour(n) for n, name in enumerate(order)}
    if order[0] in QUARTERS:
        tones = dict(zip(QUARTERS, map(colour, QUARTER_COLOURS), strict=True))
    index = Index()
    index.add(chosen, vectors)
    for position, hits in zip(chosen, index.search(vectors, NEAREST + 1), strict=True):
        near = [hit.name for hit in hits if hit.name != position][:NEAREST]
        gallery.add(position)["near"] = near
    points = [
        (float(x), float(y), tones[group], n)
        for (x, y), group, n in zip(places, groups, chosen, strict=True)
    ]
    count = len(evaluation.vectors)
    some = f" {len(chosen)} of {count:,} records are shown." if len(chosen) < count else ""
    return fill(
        TEMPLATE,
        "panels",
        "Map of the records",
        [("", Markup(scatter(points)) + legend([*tones.items()]))],
        f"Records that lie close together look similar to the model ({method} of their fused "
        f"vectors); coloured by {by}. Point at a record to see it, or click it to see "
        f"the {NEAREST} most similar ones, by the whole vectors, below.{some}",
        kind="map",
    )


def _two_dimensions(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float64], str]:
    """(N, D) -> (N, 2): by UMAP where it is installed, else the first two principal components."""
    if importlib.util.find_spec("umap") is not None:
        umap = importlib.import_module("umap")
        return umap.UMAP(random_state=0, n_jobs=1).fit_transform(vectors).astype(np.float64), "UMAP"
    centred = vectors.astype(np.float64) - vectors.mean(axis=0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    return left[:, :2] * size[:2], "two principal components"


def _some(count: int) -> list[int]:
    """Positions of records for a chart: all, or some drawn at random, the same each time."""
    if count <= ON_MAP:
        return list(range(count))
    return sorted(np.random.default_rng(0).permutation(count)[:ON_MAP].tolist())


def _classes(evaluation: Evaluation, output: str, chosen: Sequence[int]) -> list[str] | None:
    """Each record's true class by name; None where the answers are not classes."""
    if not _are_classes(evaluation, output):
        return None
    names = [shown(evaluation.references[output][n]) for n in chosen]
    few = PALETTE if len(set(names)) <= PALETTE else PALETTE - 1
    frequent = {name for name, _ in Counter(names).most_common(few)}
    return [name if name in frequent else OTHER for name in names]


def _quarters(values: Sequence[float]) -> list[str]:
    """The quarter in which each record lies, by how many of the others are worse; equal records lie
    in the same quarter."""
    each, ordered = np.array(values), np.sort(values)
    worse = np.searchsorted(ordered, each, side="left")
    others = len(each) - (np.searchsorted(ordered, each, side="right") - worse)
    share = np.where(others > 0, worse / np.maximum(others, 1), 1.0)
    return [QUARTERS[min(int(s * len(QUARTERS)), len(QUARTERS) - 1)] for s in share]


def extremes(evaluation: Evaluation, output: str, title: str, gallery: Gallery) -> Markup:
    """The best and the worst records, where some are better than others; no record twice."""
    right = np.array(gallery.rightness)
    order = np.argsort(-right, kind="stable").tolist()
    count = min(EXTREMES, len(order) // 2)
    best = [n for n in order[:count] if right[n] > right.min()]
    worst = [n for n in order[::-1][:count] if right[n] < right.max()]
    groups = [("The best", best), ("The worst", worst)] if worst else []
    return Markup().join(
        fill(TEMPLATE, "cards", name, [gallery.add(n) for n in some], f"By {title}.")
        for name, some in groups
    )


def learning_curve(log: Path) -> Markup:
    """A run's loss and validation scores by stage, where its log is beside the package."""
    panels = []
    for curve in read_curves(log):
        if curve.loss:
            panels.append(
                (curve.name, lines([("", curve.loss, colour(7))], "step", "training loss"))
            )
        for at, (title, points) in enumerate(curve.scores.items()):  # each has its own scale
            one = [("", points, colour(at))]
            panels.append((curve.name, lines(one, "step", f"{title}, validation rows", dots=True)))
    return fill(TEMPLATE, "panels", "Learning curves", panels) if panels else Markup()


def failures(evaluation: Evaluation) -> Markup:
    """Cells that could not be used, or whose answers count as wrong; the first of them."""
    if not evaluation.failures:
        return Markup()
    more = len(evaluation.failures) - MOST_FAILURES
    note = f"and {more:,} more" if more > 0 else ""
    return fill(
        TEMPLATE, "items", "Problems in the table", evaluation.failures[:MOST_FAILURES], note
    )
