"""What an evaluation found, to look at: the best and the worst answers as a page, and answers with
their errors marked as text.

The page is a single file: its photos are small JPEGs inside it, it links to nothing, and
everything that comes from data is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from plait.data.images import has_image_suffix, open_image
from plait.evaluation.results import Evaluation
from plait.package.card import number
from plait.render.html import page, picture_uri
from plait.types import BadCell, UsageError
from plait.util.files import write_atomically

MAX_SIDE = 320  # pixels of a photo's longer side
STYLE = """
h2 i { display: inline-block; width: .7em; height: .7em; margin-right: .5em; border-radius: 50%;
  background: var(--tone); }
h2 small, .score span, figcaption small { color: var(--soft); font-weight: 400; }
h2 small { font-size: .9rem; margin-left: .4em; }
.good { --tone: var(--good); } .bad { --tone: var(--bad); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.2rem, 1fr)); gap: .6rem;
  margin: 0; }
.score { padding: .7rem .9rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .7rem; }
dt { font-size: .82rem; color: var(--soft); }
dd { margin: 0; font-size: 1.45rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.score span { display: block; font-size: .78rem; min-height: 1.5em; }
.photos { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr));
  gap: 1rem; }
.frame { display: grid; place-items: center; height: 13rem; background: var(--shade);
  color: var(--soft); border-bottom: 3px solid var(--tone); }
.frame img { width: 100%; height: 100%; object-fit: contain; display: block; min-height: 0; }
figcaption { padding: .8rem 1rem 1rem; overflow-wrap: anywhere; }
figcaption p { margin: 0 0 .4rem; font-size: 1.08rem; font-weight: 600; line-height: 1.35; }
figcaption b { color: var(--tone); font-variant-numeric: tabular-nums; }
figcaption ul { margin: .55rem 0 .6rem; padding-left: 1.1rem; font-size: .88rem;
  color: var(--soft); }
figcaption small { display: block; font-size: .76rem; }
@media print { .photos { grid-template-columns: repeat(3, 1fr); } .frame { height: 9rem; }
  .score { break-inside: avoid; } }
"""


def best_and_worst(found: Evaluation, path: Path, count: int = 10) -> None:
    """Write a page of the photos whose answers score best and worst, below all the scores.

    No photo is shown twice: of fewer than ``2 * count`` photos, half are the best.

    Args:
        found: what `Model.evaluate` returned.
        path: the HTML file.
        count: how many of each.

    Raises:
        UsageError: no output of the model has such a page.
        PlaitError: the file can't be written.
    """
    names = [name for name, output in found.outputs.items() if output.ranked_as]
    if not names:
        raise UsageError(
            "a page needs an output of captions",
            expected="outputs.NAME.kind: text, its settings.metrics: captions",
        )
    body = "".join(_output(found, name, count) for name in names)
    answers = " and ".join(dict.fromkeys(found.outputs[name].ranked_as for name in names))
    text = page(f"Best and worst {answers} of {found.table.path.name}", body, STYLE)
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_errors(found: Evaluation, path: Path) -> None:
    """Write every wrong transcript below what was said, the errors in capitals; the most wrong, as
    a share of its words, first.

    Raises:
        UsageError: no output of the model is scored as transcripts.
        PlaitError: the file can't be written.
    """
    marked = {
        name: output.errors(found.predictions[name], found.references[name])
        for name, output in found.outputs.items()
    }
    parts = [_errors(found, name, each) for name, each in marked.items() if each is not None]
    if not parts:
        raise UsageError(
            "aligned errors need an output of transcripts",
            expected="outputs.NAME.kind: text, its settings.metrics: transcripts",
        )
    write_atomically(path, lambda part: part.write_text("".join(parts), encoding="utf-8"))


def _errors(found: Evaluation, name: str, wrong: Sequence[tuple[int, str]]) -> str:
    first = next(path for path in found.columns if path.startswith("inputs."))
    cells = found.table.column(found.columns[first])
    blocks = [f"{_name(found, cells, at)}\n{lines}" for at, lines in wrong]
    title = f"{name}: {len(wrong):,} of {len(found.rows):,} transcripts have errors"
    return "\n\n".join([title, *blocks]) + "\n"


def _name(found: Evaluation, cells: Sequence[Any], at: int) -> str:
    cell, number = cells[found.rows[at]], found.table.number(found.rows[at])
    return cell if isinstance(cell, str) else f"row {number}"


def _output(found: Evaluation, name: str, count: int) -> str:
    """Scores, best and worst of one output."""
    output = found.outputs[name]
    by, rightness = output.rightness(found.predictions[name], found.references[name])
    order = output.ranked(found.predictions[name], found.references[name])
    best, worst = choose(order, count)
    bad = f", bad cells: {len(found.failures)}" if found.failures else ""
    about = f"{len(rightness)} photos of {found.table.path.name}{bad}; output: {name}"
    tiles = _tiles(output.titles, found.scores[name].to_json())

    def section(tone: str, title: str, positions: Sequence[int]) -> str:
        cards = [_card(found, name, at, f"{by} {rightness[at]:.3f}") for at in positions]
        if not cards:
            return ""
        return (
            f'<section class="{tone}"><h2><i></i>{title} {len(cards)}'
            f"<small>by the photo’s {escape(by)}</small></h2>\n"
            f'<div class="photos">{"".join(cards)}</div></section>\n'
        )

    return (
        f"<header><h1>Best and worst {escape(output.ranked_as)}</h1>\n"
        f'<p class="about">{escape(about)}</p>\n'
        f"<dl>{tiles}</dl></header>\n"
        + section("good", "The best", best)
        + section("bad", "The worst", worst)
    )


def choose(order: Sequence[int], count: int) -> tuple[list[int], list[int]]:
    """The best (best first) and the worst (worst first) of a ranking, without overlap."""
    half = len(order) // 2
    best = order[: min(count, len(order) - half)]
    worst = order[::-1][: min(count, half)]
    return list(best), list(worst)


def _tiles(titles: Mapping[str, str], scores: Mapping[str, Any]) -> str:
    tiles = []
    for name, title in titles.items():
        if scores.get(name) is not None:
            ends = scores["intervals"].get(name)
            interval = f"{number(ends[0])} to {number(ends[1])}" if ends else ""
            tiles.append(
                f'<div class="score"><dt>{escape(title)}</dt><dd>{number(scores[name])}</dd>'
                f'<span title="95 % interval">{interval}</span></div>\n'
            )
    return "".join(tiles)


def _card(found: Evaluation, name: str, position: int, score: str) -> str:
    photo, label = _first_photo(found, found.rows[position])
    answer = str(found.predictions[name][position].value)
    references = "".join(f"<li>{escape(str(r))}</li>" for r in found.references[name][position])
    return (
        f'<figure><div class="frame">{photo}</div>\n<figcaption><p>{escape(answer)}</p>'
        f"<b>{escape(score)}</b>\n<ul>{references}</ul>"
        f"<small>{escape(label)}</small></figcaption></figure>\n"
    )


def _first_photo(found: Evaluation, row: int) -> tuple[str, str]:
    """The first of the record's inputs that is a photo, as HTML, and what to call the record."""
    label = f"row {found.table.number(row)}"
    for path, column in found.columns.items():
        cell = found.table.column(column)[row] if path.startswith("inputs.") else None
        source = _data_uri(cell, found.table.root)
        if source is not None:
            label = f"{Path(cell).name}, {label}" if isinstance(cell, (str, Path)) else label
            return f'<img src="{source}" alt="{escape(label)}" loading="lazy">', label
    return "no photo", label


def _data_uri(cell: Any, root: Path) -> str | None:
    """A small JPEG of the cell's picture; None where it holds none."""
    if not isinstance(cell, bytes) and not (
        isinstance(cell, (str, Path)) and has_image_suffix(str(cell))
    ):
        return None
    try:
        return picture_uri(open_image(cell, root), MAX_SIDE)
    except BadCell:
        return None
