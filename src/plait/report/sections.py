"""The sections of a report, each from what an evaluation found; empty where it found nothing of the
kind.

Shapes: N records, D width.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.config.recipe import Recipe
from plait.evaluation.results import Evaluation
from plait.package.card import number, score_rows
from plait.render.charts import PALETTE, bars, colour, key, lines, scatter
from plait.render.curves import read_curves
from plait.render.html import shown, signed
from plait.report.records import Gallery

MOST_CLASSES, BROAD = 30, 8  # of a confusion matrix; of one that has a row to itself
BEHIND = 8  # records behind one of its cells
ON_MAP = 600  # records
EXTREMES = 6  # best and worst records
BINS = 10  # of a calibration curve
QUARTERS = ("among the worst", "worse than most", "better than most", "among the best")
QUARTER_COLOURS = (1, 4, 5, 0)  # from orange to blue
OTHER = "others"


def scores(recipe: Recipe, found: Evaluation, output: str) -> str:
    """A tile a score, with its interval."""
    rows = score_rows(recipe, output, found.scores[output].to_json())
    tiles = [
        f'<div class="score"><dt>{escape(title)}</dt><dd>{value}</dd>'
        f'<span title="95 % interval">{interval}</span></div>'
        for title, value, interval in rows
    ]
    return f"<dl>{''.join(tiles)}</dl>\n"


def input_shares(found: Evaluation, output: str) -> str:
    """What each input adds to the answers, on average."""
    shares = found.shares().get(output)
    if not shares:
        return ""
    rows = [(name, share["mean"], signed(share["mean"])) for name, share in shares.items()]
    sizes = [(name, share["size"], number(share["size"])) for name, share in shares.items()]
    return _section(
        "What each input adds",
        f'<div class="two"><div class="panel"><h3>Mean share</h3>{bars(rows)}</div>'
        f'<div class="panel"><h3>Mean size of the share</h3>{bars(sizes)}</div></div>',
        "An input’s share of an answer is its Shapley value: what it adds to what the model thinks "
        "of its answer. Shares for and against cancel out in the mean, not in the mean size.",
    )


def subset_table(recipe: Recipe, found: Evaluation, output: str) -> str:
    """The scores with every subset of the inputs."""
    if len(found.subsets) < 2:
        return ""
    each = {
        " + ".join(subset): score_rows(recipe, output, again.scores[output].to_json())
        for subset, again in found.subsets.items()
    }
    titles = [title for title, _, _ in max(each.values(), key=len)]
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    rows = []
    for name, row in each.items():
        cells = {title: (value, interval) for title, value, interval in row}
        values = "".join(
            "<td>{}<small>{}</small></td>".format(*cells.get(title, ("–", ""))) for title in titles
        )
        rows.append(f"<tr><th>{escape(name)}</th>{values}</tr>")
    return _section(
        "With fewer inputs",
        f'<div class="scroll"><table class="plain"><tr><th></th>{head}</tr>{"".join(rows)}'
        "</table></div>",
        "The other inputs are missing, as the model knows missing inputs; below each score its "
        "95 % interval.",
    )


def confusion(found: Evaluation, output: str, gallery: Gallery) -> str:
    """Right answers by given ones, where both are classes; a cell shows its records."""
    if not _are_classes(found, output):
        return ""
    answers = [prediction.value for prediction in found.predictions[output]]
    right = found.references[output]
    classes = [value for value, _ in Counter([*right, *answers]).most_common(MOST_CLASSES)]
    classes.sort(key=str)
    cells: dict[tuple[Any, Any], list[int]] = {}
    for position, pair in enumerate(zip(right, answers, strict=True)):
        cells.setdefault(pair, []).append(position)
    totals = Counter(right)
    head = "".join(f"<th><span>{escape(shown(c))}</span></th>" for c in classes)
    rows = []
    for true in classes:
        row = [_cell(cells.get((true, said), []), totals[true], true == said, gallery)
               for said in classes]  # fmt: skip
        rows.append(f"<tr><th>{escape(shown(true))}</th>{''.join(row)}</tr>")
    left = len(set(right) | set(answers)) - len(classes)
    rest = f" {left} rarer classes are left out." if left else ""
    return _section(
        "Which classes are taken for which",
        f'<div class="scroll"><table class="confusion"><tr><th></th>{head}</tr>{"".join(rows)}'
        '</table></div><div class="behind" aria-live="polite"></div>',
        "Rows are right classes, columns given ones; the darker, the larger the share of its row. "
        f"Choose a number to see its records.{rest}",
        broad=len(classes) > BROAD,
    )


def _are_classes(found: Evaluation, output: str) -> bool:
    asked = found.outputs[output]
    return all(p.value in asked.probabilities(p) for p in found.predictions[output])


def _cell(positions: Sequence[int], total: int, right: bool, gallery: Gallery) -> str:
    if not positions:
        return "<td></td>"
    behind = ",".join(str(gallery.add(position)) for position in positions[:BEHIND])
    share = len(positions) / max(total, 1)
    tone = "for" if right else "against"
    return (
        f'<td class="{tone}" style="--how:{8 + 72 * share:.0f}%">'
        f'<button data-behind="{behind}">{len(positions)}</button></td>'
    )


def calibration(found: Evaluation, output: str) -> str:
    """Whether probabilities mean what they say: of classes, of labels, of intervals."""
    predictions, references = found.predictions[output], found.references[output]
    asked = found.outputs[output]
    pairs: list[tuple[float, bool]] = []
    inside: list[bool] = []
    for prediction, right in zip(predictions, references, strict=True):
        likely = asked.probabilities(prediction)
        if (ends := asked.bounds(prediction)) is not None:
            inside.append(bool(ends[0] <= right <= ends[1]))
        elif prediction.value in likely:
            pairs.append((likely[prediction.value], prediction.value == right))
        else:  # of several labels each is right or not
            pairs += [(p, label in right) for label, p in likely.items()]
    if inside:
        note = (
            f"{np.mean(inside):.1%} of the right numbers lie within the interval of their answer."
        )
        return _section("Whether it knows how sure it is", f'<p class="panel">{note}</p>', "")
    if not pairs:
        return ""
    sure, hit = np.array([p for p, _ in pairs]), np.array([h for _, h in pairs], float)
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    points = [
        (float(sure[bins == b].mean()), float(hit[bins == b].mean())) for b in np.unique(bins)
    ]
    chart = lines(
        [("", points, colour(0))], "how sure it was", "share that was right",
        ends=(0.0, 1.0), diagonal=True, dots=True, width=(0.0, 1.0),
    )  # fmt: skip
    return _section(
        "Whether it knows how sure it is",
        f'<div class="panel">{chart}</div>',
        "On the dashed line probabilities are what they say; below it the model is too sure of "
        "itself, above it too modest.",
    )


def numbers(found: Evaluation, output: str, gallery: Gallery) -> str:
    """Given numbers against right ones, where the answers are numbers."""
    pairs = [
        (right, prediction.value)
        for prediction, right in zip(
            found.predictions[output], found.references[output], strict=True
        )
    ]
    if found.outputs[output].answer_type != "number":
        return ""
    chosen = _some(len(pairs))
    points = [(float(pairs[n][0]), float(pairs[n][1]), colour(0), gallery.add(n)) for n in chosen]
    return _section(
        "Answers against right numbers",
        f'<div class="panel">{scatter(points, "right", "given", diagonal=True)}</div>',
        "On the dashed line they are equal. Point at a record to see it.",
    )


def embedding_map(found: Evaluation, output: str, gallery: Gallery) -> str:
    """The records where the model sees them, coloured by their right class, or by how right the
    answer is."""
    if found.vectors is None or len(found.vectors) < 3:
        return ""
    chosen = _some(len(found.vectors))
    places, how = _two_dimensions(found.vectors[chosen])
    groups = _classes(found, output, chosen)
    by = "right answer"
    if groups is None:
        groups, by = _quarters([gallery.rightness[n] for n in chosen]), "how right the answer is"
    order = [name for name, _ in Counter(groups).most_common()]
    order = [name for name in QUARTERS if name in order] or sorted(order, key=lambda n: n == OTHER)
    tones = {name: colour(n) for n, name in enumerate(order)}
    if order[0] in QUARTERS:
        tones = dict(zip(QUARTERS, map(colour, QUARTER_COLOURS), strict=True))
    points = [
        (float(x), float(y), tones[group], gallery.add(n))
        for (x, y), group, n in zip(places, groups, chosen, strict=True)
    ]
    some = (
        f" {len(chosen)} of {len(found.vectors):,} records."
        if len(chosen) < len(found.vectors)
        else ""
    )
    return _section(
        "Where the model sees the records",
        f'<div class="panel map">{scatter(points, "", "")}{key([*tones.items()])}</div>',
        f"Records that lie close together look alike to the model ({how} of their fused vectors); "
        f"coloured by {by}. Point at a record to see it.{some}",
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


def _classes(found: Evaluation, output: str, chosen: Sequence[int]) -> list[str] | None:
    """Each record's right class by name; None where the answers are no classes."""
    if not _are_classes(found, output):
        return None
    right = [shown(found.references[output][n]) for n in chosen]
    often = {name for name, _ in Counter(right).most_common(PALETTE)}
    if len(set(right)) > PALETTE:
        often = {name for name, _ in Counter(right).most_common(PALETTE - 1)}
    return [name if name in often else OTHER for name in right]


def _quarters(values: Sequence[float]) -> list[str]:
    """Each record's quarter, by the values' order; equal ones are in the same, by how many of the
    others are worse."""
    each, ordered = np.array(values), np.sort(values)
    worse = np.searchsorted(ordered, each, side="left")
    others = len(each) - (np.searchsorted(ordered, each, side="right") - worse)
    share = np.where(others > 0, worse / np.maximum(others, 1), 1.0)
    return [QUARTERS[min(int(s * len(QUARTERS)), len(QUARTERS) - 1)] for s in share]


def extremes(found: Evaluation, output: str, title: str, gallery: Gallery) -> str:
    """The best and the worst records, where some are better than others; none of them twice."""
    right = np.array(gallery.rightness)
    order = np.argsort(-right, kind="stable").tolist()
    count = min(EXTREMES, len(order) // 2)
    best = [n for n in order[:count] if right[n] > right.min()]
    worst = [n for n in order[::-1][:count] if right[n] < right.max()]
    groups = [("The best", best), ("The worst", worst)] if worst else []
    return "".join(
        _section(
            name, f'<div class="near">{"".join(map(gallery.card, some))}</div>', f"By {title}."
        )
        for name, some in groups
    )


def learning_curve(log: Path) -> str:
    """The run's loss and validation scores by stage, where its log is beside the package."""
    panels = []
    for curve in read_curves(log):
        charts = (
            [lines([("", curve.loss, colour(7))], "step", "training loss")] if curve.loss else []
        )
        charts += [  # scores differ in their scales
            lines([("", points, colour(at))], "step", f"{name}, validation rows", dots=True)
            for at, (name, points) in enumerate(curve.scores.items())
        ]
        name = escape(curve.name)
        panels += [f'<div class="panel"><h3>{name}</h3>{chart}</div>' for chart in charts]
    if not panels:
        return ""
    return _section("How it learned", f'<div class="two">{"".join(panels)}</div>', "")


def failures(found: Evaluation) -> str:
    """Cells that could not be used, or have answers that count as wrong; the first of them."""
    if not found.failures:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in found.failures[:20])
    more = len(found.failures) - 20
    rest = f"and {more:,} more" if more > 0 else ""
    return _section("What was wrong in the table", f"<ul>{items}</ul>", rest)


def _section(title: str, body: str, note: str, broad: bool = False) -> str:
    kind = ' class="broad"' if broad else ""
    below = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section{kind}><h2>{escape(title)}</h2>\n{body}{below}</section>\n"
