"""What the commands show: tables, training progress, lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from plait import registry
from plait.package import read_package, shipped_models
from plait.recipe import load_recipe, shipped
from plait.types import UsageError

# File names and captions are shown as they are: no markup in them.
console = Console(highlight=False, markup=False)
errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


class TrainingView:
    """Shows a training run: columns, loss, scores."""

    def __init__(self, as_json: bool, progress: Callable[[str, int, int], None]) -> None:
        self.as_json, self.progress = as_json, progress

    def columns(self, columns: Mapping[str, str], splits: Mapping[str, int]) -> None:
        """Which columns were taken, and the size of each split."""
        if self.as_json:
            print(json.dumps({"event": "start", "columns": columns, "splits": splits}), flush=True)
            return
        show_columns(columns)
        errors.print("rows: " + ", ".join(f"{name} {n}" for name, n in splits.items()))

    def report(self, line: Mapping[str, Any]) -> None:
        """A line of the training log."""
        if self.as_json:
            print(json.dumps(line), flush=True)
        elif line["event"] == "bad":
            show_bad(line["problems"])
        elif line["event"] == "step":
            self.progress(str(line["stage"]), line["done"], line["of"])
        else:
            titles = line["metrics"]
            text = ", ".join(f"{title} {line[name]:.3f}" for name, title in titles.items())
            errors.print(f"{line['stage']} epoch {line['epoch']}: {text} (best {line['best']:.3f})")

    def done(self, out: Path, scores: Mapping[str, Any]) -> None:
        """The end of a run."""
        if self.as_json:
            print(json.dumps({"event": "done", "package": str(out), "scores": scores}))
            return
        show_scores(scores["validation"], None)
        console.print(f"the model is in {out}; try: plait caption PHOTO --model {out}")


def show_columns(columns: Mapping[str, str]) -> None:
    """Which column each input and output was read from."""
    for path, column in columns.items():
        errors.print(f"{path} <- column {column!r}")


def show_scores(found: Mapping[str, Any], page: Path | None) -> None:
    """Scores with their intervals."""
    for name, scores in found["scores"].items():
        table = RichTable(
            "score", "value", "95 % interval", title=f"{name}, {found['records']} records"
        )
        for metric, value in scores.items():
            if isinstance(value, (int, float)) and metric != "photos":
                ends = scores["intervals"].get(metric)
                interval = f"{ends[0]:.3f} to {ends[1]:.3f}" if ends else ""
                table.add_row(metric, f"{value:.4g}", interval)
        console.print(table)
    show_bad(found["bad"])
    if page is not None:
        console.print(f"the ten best and ten worst are in {page}")


def show_bad(problems: Sequence[str]) -> None:
    """The first twenty bad cells, and how many more there are."""
    for line in problems[:20]:
        errors.print(f"bad: {line}")
    if len(problems) > 20:
        errors.print(f"... and {len(problems) - 20} more bad cells")


def show_profile(found: Mapping[str, Any]) -> None:
    """A table's profile, section by section."""
    for section, value in found.items():
        if (
            isinstance(value, Mapping)
            and value
            and all(isinstance(v, Mapping) for v in value.values())
        ):
            keys = list(dict.fromkeys(k for row in value.values() for k in row))
            table = RichTable(section, *keys)
            for name, row in value.items():
                table.add_row(str(name), *[str(row.get(key, "")) for key in keys])
            console.print(table)
        elif isinstance(value, Mapping):
            console.print(f"{section}: " + ", ".join(f"{k} {v}" for k, v in value.items()))
        else:
            console.print(f"{section}: {value}")


def list_kind(kind: str, as_json: bool) -> None:
    """Names of a kind, one line each; components with their settings."""
    rows = _rows(kind)
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2, default=str))
        return
    for row in rows:
        console.print(Text.assemble((row["name"], "bold"), "  ", row["about"]))
        for setting in row.get("settings", []):
            default = "required" if setting["required"] else setting["default"]
            shown = f"    {setting['name']} = {default}  "
            console.print(Text.assemble(shown, (setting["about"], "dim")))


def _rows(kind: str) -> list[dict[str, Any]]:
    if kind in ("recipe", "recipes"):
        return [{"name": name, "about": load_recipe(name).about} for name in shipped()]
    if kind in ("model", "models"):
        return [{"name": n, "about": read_package(n).recipe.about} for n in shipped_models()]
    if kind not in registry.ROOMS:
        known = ["recipe", "model", *registry.ROOMS]
        raise UsageError(
            f"there is no kind {kind!r}",
            expected=", ".join(known),
            mend=registry.did_you_mean(kind, known),
        )
    found = [registry.find(kind, name) for name in registry.names(kind)]
    return [{"name": c.title, "about": c.about, "settings": registry.describe(c)} for c in found]
