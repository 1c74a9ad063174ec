"""The card of a package: what it is, its training data, its scores, and how to reproduce it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plait.config.recipe import Recipe
from plait.network import build_output

HUNDREDTH = " / 100"
"""The end of the title of a score that repeats another one as a share of 1: the best weights are
chosen by the share, and people are shown the original, in points of 100."""


def write_card(recipe: Recipe, scores: Mapping[str, Any]) -> str:
    """The card as Markdown: recipe, data, licence, scores with intervals, command."""
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
        "## How to reproduce it",
        "```",
        recipe.command or "plait train RECIPE TABLE",
        "```",
        f"Seed {recipe.seed}; best weights from {trained.get('best', '?')}; "
        f"{seconds} seconds of training. Every setting is in recipe.yaml.",
    ]
    return "\n".join(lines) + "\n"


def number(value: float) -> str:
    """A score as it is shown."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.2e}" if 0 < abs(value) < 0.001 else f"{value:.3f}"


def score_rows(recipe: Recipe, name: str, scores: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(title, value, 95 % interval) of each score of an output, as text. Shares of 1 that repeat a
    score in points are left out."""
    rows = []
    for metric, title in build_output(recipe.outputs[name]).titles.items():
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
    lines = [f"On {validation['records']} validation records, free-running:"]
    if recipe.training.refit:
        lines = [
            f"On {validation['records']} validation records, free-running, before it was trained "
            "again on these too:"
        ]
    for name, scores in validation["scores"].items():
        lines += ["", f"| {name} | score | 95 % interval |", "|---|---|---|"]
        lines += [f"| {' | '.join(row)} |" for row in score_rows(recipe, name, scores)]
        if signed := signatures(scores):
            lines += ["", f"`{signed}`"]
    return lines
