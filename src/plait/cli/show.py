"""What the commands show: tables, training progress, lists."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from rich import box
from rich.cells import cell_len
from rich.table import Table as RichTable
from rich.text import Text

from plait.config import registry
from plait.config.recipe import Recipe, load_recipe, shipped
from plait.evaluation.evaluate import Seen
from plait.package.card import in_points, number, score_rows, signatures
from plait.package.format import read_package, shipped_models
from plait.pipeline.engine import build_output
from plait.pipeline.profile import SEEN
from plait.render.console import console, errors, show_bad, show_rows
from plait.render.progress import Progress
from plait.types import ColumnName, UsageError, column_text
from plait.util.suggest import did_you_mean

GROUPS = 30  # groups shown at most; the largest ones
GAP = 2  # characters between columns
NAME = 8  # characters for names at least

FINISHED = "the run in {folder} is finished; writing its model again"
RESUMED = "resuming the {kind} in {folder} after {epoch} epochs and {step} steps"
REFIT = "training again on all {records:,} training and validation records"


class TrainingView:
    """Shows a training run as it goes: columns, progress, scores."""

    def __init__(self, as_json: bool, progress: Progress) -> None:
        self.as_json, self.progress = as_json, progress

    def columns(self, columns: Mapping[str, ColumnName], splits: Mapping[str, int]) -> None:
        """The columns that are used, and the number of rows in each split."""
        if self.as_json:
            print(json.dumps({"event": "start", "columns": columns, "splits": splits}), flush=True)
            return
        show_columns(columns)
        errors.print("rows: " + ", ".join(f"{name} {n}" for name, n in splits.items()))

    def report(self, line: Mapping[str, Any]) -> None:
        """A line of the training log."""
        if line["event"] == "step":
            self.progress(line["stage"], line["done"], line["of"])
        if self.as_json:
            print(json.dumps(line), flush=True)
        elif line["event"] == "bad":
            show_bad(line["problems"])
        elif line["event"] == "changed":
            changed = ", ".join(f"{n:,} of {name!r}" for name, n in line["inputs"].items())
            then = "starting again" if line["restarted"] else "resuming all the same"
            errors.print(
                f"since the run in {line['folder']} began, files have changed ({changed}): {then}"
            )
        elif line["event"] == "resumed":
            text = FINISHED if line["finished"] else RESUMED
            errors.print(text.format(kind="refit" if line.get("refit") else "run", **line))
        elif line["event"] == "refit":
            epochs = f", for {line['epochs']} epochs" if "epochs" in line else ""
            errors.print(REFIT.format(**line) + epochs)
        elif line["event"] == "validation":
            titles = line["metrics"]
            each = [in_points(title, line[name]) for name, title in titles.items()]
            text = ", ".join(f"{title} {value:.3f}" for title, value in each)
            _, best = in_points(next(iter(titles.values())), line["best"])
            errors.print(f"{line['stage']} epoch {line['epoch']}: {text} (best {best:.3f})")

    def done(self, out: Path, recipe: Recipe, scores: Mapping[str, Any]) -> None:
        """The validation scores, and how to use the model."""
        if self.as_json:
            print(json.dumps({"event": "done", "package": str(out), "scores": scores}))
            return
        show_scores(recipe, scores["validation"], None)
        kinds = [spec.modality for spec in recipe.inputs.values()]
        first = next(iter(recipe.outputs.values())).component
        one_photo = kinds == ["image"] and first.answer_type == "text"
        usage = f"plait caption PHOTO --model {out}" if one_photo else f"plait predict {out} TABLE"
        console.print(f"the model is in {out}; try: {usage}")


def show_table(
    title: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    sentences: Sequence[str],
    less_needed: Sequence[str] = (),
) -> None:
    """A table of names and numbers, and sentences below it.

    Numbers are never cut off. On a narrow terminal the ``less_needed`` columns are left out, in
    their order; if that isn't enough, names are wrapped.
    """
    widths = {
        heading: max(map(cell_len, cells))
        for heading, cells in zip(headings, zip(headings, *rows, strict=True), strict=True)
    }
    left_out: list[str] = []
    for heading in less_needed:
        shown = [width + GAP for name, width in widths.items() if name not in left_out]
        if sum(shown) <= console.width:
            break
        left_out.append(heading)
    kept = [place for place, heading in enumerate(headings) if heading not in left_out]
    table = RichTable(
        title=title, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True,
        title_justify="left",
    )  # fmt: skip
    table.add_column(headings[0], overflow="fold", min_width=NAME)
    for heading in (headings[place] for place in kept[1:]):
        table.add_column(heading, justify="right", no_wrap=True, min_width=widths[heading])
    for row in rows:
        table.add_row(*(row[place] for place in kept))
    console.print(table, crop=False)
    if left_out:
        what = f"The terminal is too narrow for: {', '.join(left_out)}."
        console.print(f"{what} See compare.md for all columns.", soft_wrap=True)
    for sentence in sentences:
        console.print(sentence, soft_wrap=True)


def show_columns(columns: Mapping[str, ColumnName]) -> None:
    """The column that each input and output is read from."""
    for path, column in columns.items():
        errors.print(f"{path} <- column {column_text(column)!r}")


def show_scores(recipe: Recipe, evaluation: Mapping[str, Any], page: Path | None) -> None:
    """The scores of an evaluation, given as JSON, with their intervals."""
    for name, scores in evaluation["scores"].items():
        title = f"{name}, {number(evaluation['records'])} records"
        show_rows(("score", "value", "95 % interval"), score_rows(recipe, name, scores), title)
        if signed := signatures(scores):
            console.print(Text(signed, "dim"), soft_wrap=True)
    for name, shares in evaluation.get("shares", {}).items():
        sizes = [(part, f"{s['mean']:+.3f}", f"{s['size']:.3f}") for part, s in shares.items()]
        show_rows(("input", "mean share", "mean size"), sizes, f"{name}, shares of the answers")
    for name in recipe.outputs if "corrupted" in evaluation else ():  # by their first score
        title, clean, _ = score_rows(recipe, name, evaluation["scores"][name])[0]
        rows: dict[str, list[str]] = {}
        for part in evaluation["corrupted"]:
            corrupted = score_rows(recipe, name, part["scores"][name])[0][1]
            rows.setdefault(f"{part['input']}: {part['kind']}", [clean]).append(corrupted)
        headings = ["input", *map(str, range(len(next(iter(rows.values())))))]
        cells = [(corruption, *values) for corruption, values in rows.items()]
        show_rows(headings, cells, f"{name}, {title} by strength of corruption")
    if subsets := evaluation.get("subsets"):
        parts = [((" + ".join(subset["inputs"]),), subset) for subset in subsets]
        _show_parts(recipe, "by inputs", ["inputs"], parts)
    if swapped := evaluation.get("swapped"):
        parts = [(("none",), {"scores": evaluation["scores"]})]
        parts += [((part["input"],), part) for part in swapped]
        _show_parts(recipe, "with another record's input", ["swapped"], parts)
    if "groups" in evaluation:
        _show_groups(recipe, evaluation["by"], evaluation["groups"])
    show_bad(evaluation["bad"])
    if "seen" in evaluation:
        console.print(str(Seen(**evaluation["seen"])), soft_wrap=True)
    if page is not None:
        console.print(f"the ten best and ten worst are in {page}")


def _show_groups(recipe: Recipe, by: str, groups: Sequence[Mapping[str, Any]]) -> None:
    """The largest groups of records; if their values are all numbers, sorted by them."""
    largest, others = groups[:GROUPS], groups[GROUPS:]
    if all(isinstance(group["value"], (int, float, type(None))) for group in largest):
        largest = sorted(largest, key=lambda g: math.inf if g["value"] is None else g["value"])
    names = ["(empty)" if group["value"] is None else str(group["value"]) for group in largest]
    parts = [
        ((n, number(group["records"])), group) for n, group in zip(names, largest, strict=True)
    ]
    _show_parts(recipe, f"by {by}", [by, "records"], parts)
    if others:
        records = sum(group["records"] for group in others)
        console.print(f"and {number(len(others))} smaller groups, {number(records)} records")


def _show_parts(
    recipe: Recipe,
    title: str,
    headings: Sequence[str],
    parts: Sequence[tuple[Sequence[str], Mapping[str, Any]]],
) -> None:
    """For each output a table with a row for each part of an evaluation: the cells that name it,
    then its scores above their intervals, and the loss; "-" for a score that it lacks."""
    for name in recipe.outputs:
        rows = []
        for _, part in parts:
            rows.append(score_rows(recipe, name, part["scores"][name]))
            if lost := part.get("lost", {}).get(name):  # of the first of the best scores
                full = build_output(recipe.outputs[name]).scored_by.titles[lost["score"]]
                score, value = in_points(full, lost["value"])
                low, high = (in_points(full, end)[1] for end in lost["interval"])
                rows[-1].append((f"{score} lost", f"{value:.3f}", f"{low:.3f} to {high:.3f}"))
        scores = [score for score, _, _ in max(rows, key=len)]
        lines = []
        for (named, _), row in zip(parts, rows, strict=True):
            cells = {score: f"{value}\n{ends}" if ends else value for score, value, ends in row}
            lines.append((*named, *(cells.get(score, "-") for score in scores)))
        show_rows([*headings, *scores], lines, f"{name}, {title}")


def show_profile(profiled: Mapping[str, Any]) -> None:
    """A table's profile: its columns, photos, captions and unreadable files."""
    columns = []
    for name, about in profiled["columns"].items():
        texts = ", ".join(f"{text} {count:,}" for text, count in about["emptied"].items())
        empty = f"{about['empty']:,}" + (f" ({texts})" if texts else "")
        columns.append((name, about["kind"], empty, f"{about['distinct']:,}", about["note"]))
    title = f"{profiled['rows']:,} rows"
    titles = ("column", "kind", "empty", "distinct", "note")
    wide = any(note for *_, note in columns)
    show_rows(titles if wide else titles[:-1], [c if wide else c[:-1] for c in columns], title)
    photos, captions = profiled.get("photos"), profiled.get("captions")
    if photos:
        spreads = {f"{side}, pixels": photos[side] for side in ("width", "height")}
        _show_spreads(f"{photos['count']:,} photos, column {photos['column']!r}", spreads)
    if captions:
        spreads = {
            "words per caption": captions["words"],
            "captions per row": captions["per_row"],
            "captions per photo": captions.get("per_photo"),
        }
        _show_spreads(f"{captions['count']:,} captions, column {captions['column']!r}", spreads)
        words = captions["vocabulary"]
        console.print(
            f"vocabulary: {words['distinct']:,} distinct words, {words['running']:,} in all; the "
            f"{words[f'seen_{SEEN}_times']:,} that occur {SEEN} times or more make up "
            f"{words['coverage']:.1%}"
        )
    if photos and photos["bad"]["count"]:
        lines = [f"row {bad['row']}: {bad['why']}" for bad in photos["bad"]["first"]]
        show_bad(lines, photos["bad"]["count"])


def _show_spreads(title: str, spreads: Mapping[str, Mapping[str, float] | None]) -> None:
    headings = ("", "min", "mean", "median", "95th percentile", "max")
    rows = [(n, *(f"{v:,.4g}" for v in spread.values())) for n, spread in spreads.items() if spread]
    show_rows(headings, rows, title)


def list_kind(kind: str | None, as_json: bool) -> None:
    """Print the names of a kind, one per line; components with their settings. Without a kind,
    print the kinds, each with its names."""
    rows = _rows(kind)
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2, default=str))
        return
    for row in rows:
        console.print(Text.assemble((row["name"], "bold"), "  ", row["about"]))
        for setting in row.get("settings", []):
            default = setting["default"]
            group = default if isinstance(default, BaseModel) else None  # a line for each of it
            value = "required" if setting["required"] else _yaml(default)
            shown = f"    {setting['name']}{'' if group else f' = {value}'}  "
            console.print(Text.assemble(shown, (setting["about"], "dim")))
            for name, field in type(group).model_fields.items() if group else ():
                shown = f"        {name} = {_yaml(getattr(default, name))}  "
                console.print(Text.assemble(shown, (field.description or "", "dim")))


def _yaml(value: Any) -> str:
    """A setting's value on one line, as a recipe writes it."""
    text = yaml.safe_dump(to_jsonable_python(value), default_flow_style=True, width=math.inf)
    return text.removesuffix("\n").removesuffix("\n...")


def _rows(kind: str | None) -> list[dict[str, Any]]:
    if kind is None:
        names = {"recipe": shipped(), "model": shipped_models()}
        names |= {kind: registry.names(kind) for kind in registry.kinds()}
        return [{"name": kind, "about": ", ".join(own)} for kind, own in names.items()]
    if kind in ("recipe", "recipes"):
        return [{"name": name, "about": load_recipe(name).about} for name in shipped()]
    if kind in ("model", "models"):
        return [{"name": n, "about": read_package(n).recipe.about} for n in shipped_models()]
    if kind not in registry.kinds():
        known = ["recipe", "model", *registry.kinds()]
        raise UsageError(
            f"there is no kind {kind!r}",
            expected=f"one of: {', '.join(known)}",
            hint=did_you_mean(kind, known),
        )
    components = [registry.find(kind, name) for name in registry.names(kind)]
    return [
        {"name": c.title, "about": c.about, "settings": registry.describe(c)} for c in components
    ]
