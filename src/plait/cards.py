"""The card of a package: what it is, what it learned from, how good, how to make it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plait.recipe import Recipe


def write_card(recipe: Recipe, scores: Mapping[str, Any]) -> str:
    """Markdown: recipe, data, licence, scores with intervals, command."""
    trained = scores.get("trained", {})
    lines = [
        f"# {recipe.name}",
        "",
        recipe.about,
        "",
        "## Data and licence",
        f"- Trained on: {recipe.card.data} ({trained.get('records', '?')} records).",
        f"- Licence of the weights: {recipe.card.licence}.",
        "",
        "## Scores",
        *_score_lines(scores.get("validation", {})),
        "",
        "## How to make it again",
        "```",
        recipe.command or "plait train RECIPE TABLE",
        "```",
        f"Seed {recipe.seed}; best weights from {trained.get('best', '?')}; "
        f"{trained.get('seconds', '?')} seconds of training. Every setting is in recipe.yaml.",
    ]
    return "\n".join(lines) + "\n"


def _score_lines(validation: Mapping[str, Any]) -> list[str]:
    if not validation:
        return ["None recorded."]
    lines = [f"On {validation['records']} validation records, free-running:", ""]
    for name, scores in validation["scores"].items():
        lines += [f"| {name} | score | 95 % interval |", "|---|---|---|"]
        intervals = scores.get("intervals", {})
        for metric, value in scores.items():
            if isinstance(value, (int, float)):
                low_high = intervals.get(metric)
                shown = f"{low_high[0]:.3f} to {low_high[1]:.3f}" if low_high else ""
                lines.append(f"| {metric} | {value:.4g} | {shown} |")
    return lines
