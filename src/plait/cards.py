"""The card of a package: what it is, what it learned from, how good, how to make it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plait.network import build_output
from plait.recipe import Recipe


def write_card(recipe: Recipe, scores: Mapping[str, Any]) -> str:
    """Markdown: recipe, data, licence, scores with intervals, command."""
    trained = scores.get("trained", {})
    seconds = round(trained["seconds"]) if "seconds" in trained else "?"
    lines = [
        f"# {recipe.name}",
        "",
        recipe.about,
        "",
        "## Data and licence",
        f"- Trained on: {recipe.card.data} "
        f"({trained.get('refit', trained.get('records', '?'))} records).",
        f"- Licence of the weights: {recipe.card.licence}.",
        "",
        "## Scores",
        *_score_lines(recipe, scores.get("validation", {})),
        "",
        "## How to make it again",
        "```",
        recipe.command or "plait train RECIPE TABLE",
        "```",
        f"Seed {recipe.seed}; best weights from {trained.get('best', '?')}; "
        f"{seconds} seconds of training. Every setting is in recipe.yaml.",
    ]
    return "\n".join(lines) + "\n"


def number(value: float) -> str:
    """A score as people are shown it."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.2e}" if 0 < abs(value) < 0.001 else f"{value:.3f}"


def score_rows(recipe: Recipe, name: str, scores: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(title, value, 95 % interval) of each score of an output, as text."""
    rows = []
    for metric, title in build_output(recipe.outputs[name]).titles.items():
        if scores.get(metric) is not None:
            ends = scores.get("intervals", {}).get(metric)
            interval = f"{number(ends[0])} to {number(ends[1])}" if ends else ""
            rows.append((title, number(scores[metric]), interval))
    return rows


def _score_lines(recipe: Recipe, validation: Mapping[str, Any]) -> list[str]:
    if not validation:
        return ["None recorded."]
    lines = [f"On {validation['records']} validation records, free-running:"]
    if recipe.training.refit:
        lines = [
            f"On {validation['records']} validation records, free-running, before it learned anew "
            "from these as well:"
        ]
    for name, scores in validation["scores"].items():
        lines += ["", f"| {name} | score | 95 % interval |", "|---|---|---|"]
        lines += [f"| {' | '.join(row)} |" for row in score_rows(recipe, name, scores)]
    return lines
