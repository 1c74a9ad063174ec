"""What runs are worth, from results made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from both import RECIPE

from plait.comparison.found import Comparison
from plait.comparison.report import sentences, table_rows
from plait.comparison.runs import Result
from plait.comparison.variants import make_variants
from plait.comparison.weigh import weigh
from plait.outputs.category import CategoryOutput
from plait.recipe import check_recipe
from plait.types import Prediction

OUTPUT = CategoryOutput()
BOTH = check_recipe(RECIPE)


def result(right: Sequence[bool], first: int = 1) -> Result:
    """Answers to rows from ``first`` on, some of them right."""
    said = [
        Prediction(word, 0.9, probabilities={word: 0.9, other: 0.1})
        for word, other in (("yes", "no") if hit else ("no", "yes") for hit in right)
    ]
    rows = list(range(first, first + len(right)))
    return Result(rows, {"answer": said}, {"answer": ["yes"] * len(right)}, memory=1.0)


def weighed(results: dict[str, Result], chosen: Comparison | None = None) -> Comparison:
    """Of the recipe `both`: its two inputs alone, and fused."""
    runs = {v.name: {0: results[v.name]} for v in make_variants(BOTH)}
    return weigh(BOTH, make_variants(BOTH), runs, ("answer", OUTPUT), "val", Path("out"), chosen)


def test_an_input_that_only_easy_records_have_does_not_win() -> None:
    """It is right in its 8 records, as the fusion is, which has 22 more."""
    found = weighed({
        "early.concat": result([True] * 20 + [False] * 10),
        "photo alone": result([True] * 8),
        "words alone": result([True] * 15 + [False] * 15),
    })  # fmt: skip
    assert found.winner == "early.concat"
    assert [line.name for line in found.lines] == ["early.concat", "photo alone", "words alone"]
    assert [row[3] for row in table_rows(found)] == ["30", "8", "30"]
    assert "photo alone answered 8 of the 30 records" in "\n".join(sentences(found))


def test_scores_are_of_the_records_that_all_with_every_input_answered() -> None:
    """With --on-bad skip the fusion lacks 5 records, whose photo is broken: no fault of its."""
    found = weighed({
        "early.concat": result([True] * 20 + [False] * 5),
        "photo alone": result([True] * 15 + [False] * 10),
        "words alone": result([True] * 18 + [False] * 7 + [True] * 5),
    })  # fmt: skip
    assert found.winner == "early.concat"
    assert found.line("words alone").score == 18 / 25
    assert {line.records for line in found.lines} == {25}


def test_other_rows_are_asked_the_same() -> None:
    """The test rows would have another best input, and another winner."""
    val = weighed({
        "early.concat": result([True] * 20 + [False] * 10),
        "photo alone": result([True] * 15 + [False] * 15),
        "words alone": result([True] * 10 + [False] * 20),
    })  # fmt: skip
    results = {
        "early.concat": result([True] * 15 + [False] * 15),
        "photo alone": result([True] * 10 + [False] * 20),
        "words alone": result([True] * 20 + [False] * 10),
    }
    test = weighed(results, val)
    assert test.winner == "early.concat"
    asked = [(f.about, f.first, f.second) for f in val.findings]
    assert [(f.about, f.first, f.second) for f in test.findings] == asked
    assert asked[0] == ("fusion", "early.concat", "photo alone")
    behind = {line.name: line.behind and round(line.behind.mean, 4) for line in test.lines}
    assert behind == {"early.concat": None, "photo alone": -0.1667, "words alone": 0.1667}
    assert weighed(results).winner == "words alone"
