"""Writes a report: evaluates the model on the table and puts sections on one page. Each section is
made from the evaluation, and empty where there is nothing of its kind.

Shapes: N records, D width.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from plait.config.recipe import Recipe
from plait.data.index import Index
from plait.evaluation.evaluate import Evaluation
from plait.explain.neighbours import Album, first_reference
from plait.model import Model, load_model
from plait.package.card import score_rows
from plait.package.format import HUB, find_package
from plait.render.charts import PALETTE, bars, colour, legend, lines, scatter
from plait.render.curves import read_curves
from plait.render.html import fill, picture_uri, render
from plait.render.numbers import number, shown, signed
from plait.types import UsageError
from plait.util.files import write_atomically

SIDE, QUALITY = 104, 72  # pixels of a small picture, and the quality of its JPEG
MOST_PICTURES = 320  # on a page: about a megabyte
MOST_CLASSES, BROAD = 30, 8  # of a confusion matrix; above the latter it has a row to itself
BEHIND = 8  # records shown for one of its cells
ON_MAP = 600  # records
NEAREST = 3  # records shown with one of the map
EXTREMES = 6  # best and worst records
BINS = 10  # of a calibration curve
MOST_FAILURES = 20
QUARTERS = ("among the worst", "worse than most", "better than most", "among the best")
QUARTER_COLOURS = (1, 4, 5, 0)  # from orange to blue
OTHER = "others"

section = partial(fill, "report/sections.html")


def write_report(
    model_name: str, table: Any, out: Path, *, split: str | None = None, **settings: Any
) -> None:
    """Write one HTML file that shows how a model does on a table.

    Args:
        model_name: a shipped model or a package; the log of its training is looked for beside it.
        out: the file.
        table, split, **settings: as for `Model.evaluate`.

    Raises:
        UsageError: the file's name does not end in .html.
        PlaitError: as `Model.evaluate`; or the file can't be written.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"can't write a report to {out}", expected="a name ending in .html")
    model = load_model(model_name)
    several = len(model.recipe.inputs) > 1
    evaluation = model.evaluate(
        table, split=split, subsets=several, shares=several, vectors=True, **settings
    )
    name, about = model.recipe.name, model.recipe.about
    folder = model_name if model_name.startswith(HUB) else find_package(model_name)
    what = f"{len(evaluation.rows):,} records of {evaluation.table.path.name}"
    what += f", {split} rows" if split else ""
    what += f"; {evaluation.seen}" if evaluation.seen is not None else ""
    text = render(
        "report/report.html",
        title=f"{name} on {evaluation.table.path.name}",
        name=name,
        about=f"{what}; {about}" if about else what,
        outputs=[_output(model, evaluation, output) for output in model.recipe.outputs],
        curves=learning_curve(Path(f"{folder}.run") / "log.jsonl"),
        failures=failures(evaluation),
    )
    write_atomically(out, text)


def _output(model: Model, evaluation: Evaluation, output: str) -> dict[str, Any]:
    """All sections of one output, and the records that they show."""
    title, right = (
        model.parts.outputs[output]
        .scorer(evaluation.predictions[output], evaluation.references[output])
        .rightness()
    )
    album = Album(model.parts, evaluation.table, evaluation.columns)
    gallery = Gallery(album, evaluation, output, right.tolist())
    # The extremes come last on the page, but first in the gallery, whose pictures are limited.
    best_and_worst = extremes(title, gallery)
    return {
        "name": output,
        "overview": Markup().join([
            scores(model.recipe, evaluation, output),
            input_shares(evaluation, output),
            subset_table(model.recipe, evaluation, output),
        ]),
        "charts": Markup().join([
            confusion(evaluation, output, gallery),
            numbers(evaluation, output, gallery),
            calibration(evaluation, output),
        ]),
        "records": embedding_map(evaluation, output, gallery) + best_and_worst,
        "gallery": gallery.records,
    }  # fmt: skip


@dataclass
class Gallery:
    """Collects the records that a page shows, each with a small picture that is stored once."""

    album: Album
    evaluation: Evaluation
    output: str  # whose answers are shown
    rightness: list[float]  # of each record's answer
    records: dict[int, dict[str, Any]] = field(default_factory=dict)
    """What is shown of a record, by its position among those scored."""

    def add(self, position: int) -> dict[str, Any]:
        """Add a record to the page, unless it is there."""
        if position not in self.records:
            row = self.evaluation.rows[position]
            text, pixels = self.album.look(row)
            full = sum(bool(other["picture"]) for other in self.records.values()) >= MOST_PICTURES
            picture = "" if pixels is None or full else picture_uri(pixels, SIDE, QUALITY)
            reference = first_reference(self.evaluation.references[self.output][position])
            self.records[position] = {
                "name": self.album.name(row),
                "text": text,
                "answer": shown(self.evaluation.predictions[self.output][position].value),
                "expected": shown(reference),
                "score": number(self.rightness[position]),
                "picture": picture,
            }
        return self.records[position]


def scores(recipe: Recipe, evaluation: Evaluation, output: str) -> Markup:
    """A tile for each score, with its interval."""
    rows = score_rows(recipe, output, evaluation.scores[output].to_json())
    return fill("render/scores.html", "tiles", rows)


def input_shares(evaluation: Evaluation, output: str) -> Markup:
    """What each input adds to the answers, on average."""
    shares = evaluation.shares().get(output, {}).items()
    means = bars([(name, share["mean"], signed(share["mean"])) for name, share in shares])
    sizes = bars([(name, share["size"], number(share["size"])) for name, share in shares])
    return section("shares", means, sizes) if shares else Markup()


def subset_table(recipe: Recipe, evaluation: Evaluation, output: str) -> Markup:
    """The scores with every subset of the inputs."""
    tables = {
        subset: {
            title: cell
            for title, *cell in score_rows(recipe, output, ablation.scores[output].to_json())
        }
        for subset, ablation in evaluation.subsets.items()
    }
    titles = max(map(list, tables.values()), key=len, default=[])
    rows = [(s, [table.get(t, ("–", "")) for t in titles]) for s, table in tables.items()]
    return section("subsets", titles, rows) if len(rows) > 1 else Markup()


def confusion(evaluation: Evaluation, output: str, gallery: Gallery) -> Markup:
    """True classes by answers, where the answers are classes; a cell shows its records."""
    if not _are_classes(evaluation, output):
        return Markup()
    answers = [prediction.value for prediction in evaluation.predictions[output]]
    right = evaluation.references[output]
    totals, counts = Counter(right), Counter([*right, *answers])
    classes = sorted((value for value, _ in counts.most_common(MOST_CLASSES)), key=str)
    cells: dict[tuple[Any, Any], list[int]] = {}
    for position, pair in enumerate(zip(right, answers, strict=True)):
        cells.setdefault(pair, []).append(position)
    rows = [
        (true, max(totals[true], 1), [cells.get((true, answer), []) for answer in classes])
        for true in classes
    ]
    for position in (at for *_, row in rows for records in row for at in records[:BEHIND]):
        gallery.add(position)
    rarer = len(counts) - len(classes)
    return section("confusion", classes, rows, rarer, len(classes) > BROAD, BEHIND)


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
        return section("intervals", np.mean(inside))
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
    return section("calibration", chart)


def numbers(evaluation: Evaluation, output: str, gallery: Gallery) -> Markup:
    """Predicted numbers against true ones, where the answers are numbers."""
    if evaluation.outputs[output].answer_type != "number":
        return Markup()
    predictions, references = evaluation.predictions[output], evaluation.references[output]
    points = [
        (float(references[n]), float(predictions[n].value), colour(0), n)
        for n in _some(len(predictions))
    ]
    for *_, position in points:
        gallery.add(position)
    return section("numbers", scatter(points, "true", "predicted", diagonal=True))


def embedding_map(evaluation: Evaluation, output: str, gallery: Gallery) -> Markup:
    """The records' fused vectors in two dimensions, coloured by the true class, or by how right the
    answer is; each record with those that are most similar to it."""
    if evaluation.vectors is None or len(evaluation.vectors) < 3:
        return Markup()
    chosen = _some(len(evaluation.vectors))
    vectors = evaluation.vectors[chosen]
    places, method = _two_dimensions(vectors)
    if _are_classes(evaluation, output):
        groups = [shown(evaluation.references[output][n]) for n in chosen]
        by, ranked = "true class", Counter(groups).most_common()
        # The rarer ones are one class where there are too many.
        frequent = {name for name, _ in ranked[: PALETTE - (len(ranked) > PALETTE)]}
        groups = [name if name in frequent else OTHER for name in groups]
        names = [name for name, _ in Counter(groups).most_common()]
        names.sort(key=lambda name: name == OTHER)
        tones = {name: colour(n) for n, name in enumerate(names)}
    else:
        groups, by = _quarters([gallery.rightness[n] for n in chosen]), "how right the answer is"
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
    counts = NEAREST, len(chosen), len(evaluation.vectors)
    return section("map", scatter(points), legend([*tones.items()]), method, by, *counts)


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


def _quarters(values: Sequence[float]) -> list[str]:
    """The quarter in which each record lies, by how many of the others are worse; equal records lie
    in the same quarter."""
    each, ordered = np.array(values), np.sort(values)
    worse = np.searchsorted(ordered, each, side="left")
    others = len(each) - (np.searchsorted(ordered, each, side="right") - worse)
    share = np.where(others > 0, worse / np.maximum(others, 1), 1.0)
    return [QUARTERS[min(int(s * len(QUARTERS)), len(QUARTERS) - 1)] for s in share]


def extremes(by: str, gallery: Gallery) -> Markup:
    """The best and the worst records, where some are better than others; no record twice."""
    right = np.array(gallery.rightness)
    order = np.argsort(-right, kind="stable").tolist()
    count = min(EXTREMES, len(order) // 2)
    best = [gallery.add(n) for n in order[:count] if right[n] > right.min()]
    worst = [gallery.add(n) for n in order[::-1][:count] if right[n] < right.max()]
    if not worst:
        return Markup()
    return section("records", "The best", by, best) + section("records", "The worst", by, worst)


def learning_curve(log: Path) -> Markup:
    """A run's loss and validation scores by stage, where its log is beside the package."""
    charts = []
    for curve in read_curves(log):
        if curve.loss:
            loss = lines([("", curve.loss, colour(7))], "step", "training loss")
            charts.append((curve.name, loss))
        for at, (title, points) in enumerate(curve.scores.items()):  # each has its own scale
            one = [("", points, colour(at))]
            charts.append((curve.name, lines(one, "step", f"{title}, validation rows", dots=True)))
    return section("curves", charts) if charts else Markup()


def failures(evaluation: Evaluation) -> Markup:
    """Cells that could not be used, or whose answers count as wrong; the first of them."""
    few, more = evaluation.failures[:MOST_FAILURES], len(evaluation.failures) - MOST_FAILURES
    return section("failures", few, more) if few else Markup()
