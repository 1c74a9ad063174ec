"""The card of a package: what it is, its training data, its scores, and how to reproduce it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from plait.config.recipe import Recipe
from plait.pipeline.engine import build_output
from plait.render.numbers import number as number

HUNDREDTH = " / 100"
"""The end of the title of a score that repeats another one as a share of 1: the best weights are
chosen by the share, and people are shown the original, in points of 100."""


def write_card(recipe: Recipe, scores: Mapping[str, Any], states: Mapping[str, Any]) -> str:
    """The card in Markdown: data, licence, scores with intervals, how to repeat the run.

    Args:
        recipe: with every default resolved.
        scores: of the validation records, and how the model was trained.
        states: what the components learned, for the commits of pretrained parts.
    """
    trained = scores.get("trained", {})
    records = trained.get("refit", trained.get("records", "?"))
    table, sources = trained.get("table"), trained.get("sources", [])
    versions = trained.get("versions", {})
    lines = [
        f"# {recipe.name}",
        *(["", recipe.about] if recipe.about else []),
        "",
        "## Data and licence",
        f"- Trained on: {recipe.card.data} ({records} records).",
        *([f"- Table: {_table(table, bool(sources))}."] if table else []),
        *(f"- Source {source['name']}: {_table(source, True)}." for source in sources),
        f"- Licence of the weights: {recipe.card.licence}.",
        *(f"- Pretrained: {part}." for part in pretrained_parts(recipe, states)),
        "",
        "## Scores",
        *_score_lines(recipe, scores.get("validation", {})),
        "",
        *([recipe.card.notes.strip(), ""] if recipe.card.notes.strip() else []),
        "## How to reproduce it",
        "```",
        *(_commands(trained) or [recipe.command or "plait train RECIPE TABLE"]),
        "```",
        f"Seed {recipe.seed}; best weights from {trained.get('best', '?')}; "
        f"{round(trained['seconds']) if 'seconds' in trained else '?'} seconds of training"
        f"{' by the last command' if trained.get('start') else ''}. Every setting is in "
        "recipe.yaml.",
    ]
    if versions:
        lines.append(", ".join(f"{name} {version}" for name, version in versions.items()) + ".")
    if trained.get("commit"):
        lines.append(f"Commit of plait: {trained['commit']}.")
    return "\n".join(lines) + "\n"


def _commands(trained: Mapping[str, Any]) -> list[str]:
    """The commands that made a model, those of the models that it started from first."""
    own = [trained["command"]] if trained.get("command") else []
    return list(dict.fromkeys([*_start_commands(trained), *own]))


def _start_commands(trained: Mapping[str, Any]) -> list[str]:
    """The commands of the models that a model started from, each below its tables as comments:
    tables of the same name may differ between them."""
    found = list[str]()
    for each in filter(None, trained.get("start", [])):
        found += _start_commands(each)
        if each.get("command"):
            tables = [each["table"], *each.get("sources", [])] if each.get("table") else []
            comments = [f"# {_table(table, True)}" for table in tables]
            found.append("\n".join([*comments, each["command"]]))
    return found


def _table(learned: Mapping[str, Any], several: bool) -> str:
    """A table that was learned from: its path and digest; of several also what share each had."""
    share = (
        f", {learned['rows']} rows for training, weight {learned['weight']:g}" if several else ""
    )
    return f"{learned['path']}{share}, digest {learned['digest']}"


def pretrained_parts(recipe: Recipe, states: Mapping[str, Any]) -> Iterator[str]:
    """The models of the Hub that a model contains, with the commit that each was resolved to."""
    for path, state in states.items():
        section, _, name = path.partition(".")
        if section == "inputs":
            settings = recipe.inputs[name].representation
        else:
            settings = {"kind": recipe.outputs[name].kind, **recipe.outputs[name].settings}
        yield from _hub_parts(settings, state)


def _hub_parts(settings: Mapping[str, Any], state: Any) -> Iterator[str]:
    """Those of a component, and of the components in its settings, whose states lie in its own
    under the same names."""
    if settings.get("kind") == "hub" and "name" in settings:
        commit = _find(state, "revision")
        yield f"hub:{settings['name']}" + (f" at commit {commit}" if commit else "")
    for name, inner in settings.items():
        if isinstance(inner, Mapping):
            yield from _hub_parts(inner, state.get(name) if isinstance(state, Mapping) else None)


def _find(state: Any, key: str) -> str | None:
    """The value of a key somewhere in nested mappings."""
    if not isinstance(state, Mapping):
        return None
    if isinstance(state.get(key), str):
        return str(state[key])
    return next((found for value in state.values() if (found := _find(value, key))), None)


def score_rows(recipe: Recipe, name: str, scores: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(title, value, 95 % interval) of each score of an output, as text. Shares of 1 that repeat a
    score in points are left out."""
    rows = []
    for metric, title in build_output(recipe.outputs[name]).scored_by.titles.items():
        if scores.get(metric) is not None and not title.endswith(HUNDREDTH):
            ends = scores.get("intervals", {}).get(metric)
            interval = f"{number(ends[0])} to {number(ends[1])}" if ends else ""
            rows.append((title, number(scores[metric]), interval))
    return rows


def signatures(scores: Mapping[str, Any]) -> str:
    """The signatures of scores (sacreBLEU's versions and options) as text; empty without any."""
    signed = [f"{name} {signature}" for name, signature in scores.get("signatures", {}).items()]
    return f"signatures: {', '.join(signed)}" if signed else ""


def in_points(title: str, value: float) -> tuple[str, float]:
    """A score with its title; one titled ``X / 100`` becomes X in points."""
    points = title.removesuffix(HUNDREDTH)
    return (title, value) if points == title else (points, 100 * value)


def _score_lines(recipe: Recipe, validation: Mapping[str, Any]) -> list[str]:
    if not validation:
        return ["None recorded."]
    again = ", before it was trained again on these too" if recipe.training.refit else ""
    lines = [f"On {validation['records']} validation records, free-running{again}:"]
    for name, scores in validation["scores"].items():
        lines += ["", f"| {name} | score | 95 % interval |", "|---|---|---|"]
        lines += [f"| {' | '.join(row)} |" for row in score_rows(recipe, name, scores)]
        if signed := signatures(scores):
            lines += ["", f"`{signed}`"]
    return lines
