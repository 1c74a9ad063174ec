"""The card of a package: what it is, what it learned from, how good, how to make it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plait.config.recipe import Recipe
from plait.pipeline.parts import build_output
from plait.render.numbers import number as number

HUNDREDTH = " / 100"
"""Ends the title of a score that repeats another, known in points of a hundred, as a share of 1:
the best weights go by it, and people are told the points."""


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


def score_rows(recipe: Recipe, name: str, scores: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(title, value, 95 % interval) of each score of an output, as text; of one that is known in
    points only these."""
    rows = []
    for metric, title in build_output(recipe.outputs[name]).titles.items():
        if scores.get(metric) is not None and not title.endswith(HUNDREDTH):
            ends = scores.get("intervals", {}).get(metric)
            interval = f"{number(ends[0])} to {number(ends[1])}" if ends else ""
            rows.append((title, number(scores[metric]), interval))
    return rows


def signatures(scores: Mapping[str, Any]) -> str:
    """What scores depend on beside the answers, as their makers write it; empty where no score of
    an output has that."""
    told = [f"{name} {signature}" for name, signature in scores.get("signatures", {}).items()]
    return f"signatures: {', '.join(told)}" if told else ""


def in_points(title: str, value: float) -> tuple[str, float]:
    """A score and its title as people know it: what is titled ``X / 100`` as X and its points."""
    points = title.removesuffix(HUNDREDTH)
    return (title, value) if points == title else (points, 100 * value)


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
        if told := signatures(scores):
            lines += ["", f"`{told}`"]
    return lines
