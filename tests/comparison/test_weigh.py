"""What runs are worth, from results made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from both import RECIPE

from plait.comparison.report import sentences, table_rows
from plait.comparison.results import Comparison, Finding, Line, Result
from plait.comparison.statistics import Difference
from plait.comparison.variants import make_variants
from plait.comparison.weigh import weigh
from plait.config.recipe import Recipe, check_recipe, load_recipe
from plait.outputs.category import CategoryOutput, Probabilities
from plait.types import Prediction

OUTPUT = CategoryOutput()
BOTH = check_recipe(RECIPE)


def result(right: Sequence[bool], learned: int = 1) -> Result:
    """Answers to the first rows, some of them right."""
    said = [
        Prediction(word, 0.9, details=Probabilities({word: 0.9, other: 0.1}))
        for word, other in (("yes", "no") if hit else ("no", "yes") for hit in right)
    ]
    rows = list(range(1, 1 + len(right)))
    return Result(rows, {"answer": said}, {"answer": ["yes"] * len(right)}, learned, memory=1.0)


def weighed(
    results: Mapping[str, Result],
    chosen: Comparison | None = None,
    recipe: Recipe = BOTH,
    **tried: Any,
) -> Comparison:
    """Of a recipe's variants, those with a result."""
    variants = [v for v in make_variants(recipe, **tried) if v.name in results]
    runs = {v.name: {0: results[v.name]} for v in variants}
    return weigh(recipe, variants, runs, ("answer", OUTPUT), "val", Path("out"), chosen)


def asked(found: Comparison) -> list[tuple[str, str, str]]:
    return [(finding.about, finding.first, finding.second) for finding in found.findings]


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
    assert asked(test) == asked(val)
    assert asked(val)[0] == ("fusion", "early.concat", "photo alone")
    behind = {line.name: line.behind and round(line.behind.mean, 4) for line in test.lines}
    assert behind == {"early.concat": None, "photo alone": -0.1667, "words alone": 0.1667}
    assert weighed(results).winner == "words alone"


def test_an_input_is_not_credited_with_a_better_fusion() -> None:
    recipe = load_recipe("sentiment", ["fusion={kind: early, how: concat}"])
    good, fair = result([True] * 25 + [False] * 5), result([True] * 15 + [False] * 15)
    results = {"late.mean": good, "early.concat": fair, "without text": fair, "without words": fair}
    found = weighed(results, recipe=recipe, fusions=["late.mean", "early.concat"])
    assert found.winner == "late.mean"
    assert asked(found) == [
        ("text", "early.concat", "without text"), ("words", "early.concat", "without words")
    ]  # fmt: skip


def test_more_rows_are_more_rows() -> None:
    """The recipe has 100 itself, and the table 300."""
    recipe = check_recipe(RECIPE | {"data": {"rows": 100}})
    answers = [True] * 20 + [False] * 10
    learned = {"early.concat": 100, "50 rows": 50, "300 rows": 300, "100 rows": 100}
    results = {name: result(answers, number) for name, number in learned.items()}
    assert asked(weighed(results, recipe=recipe, rows=[50, 100, 300])) == [
        ("rows", "early.concat", "50 rows"), ("rows", "300 rows", "early.concat")
    ]  # fmt: skip


def told(about: str, difference: Difference) -> str:
    """The sentence of one finding, beside six distances to the best."""
    behind = Difference(-0.1, (-0.2, 0.0), 0.5, 20)
    best = Line("a", "fused", "", [0, 1], 20, 0.5, (0.4, 0.6))
    lines = [best, *(Line(f"b{n}", "alone", "", [0], behind=behind, failed="-") for n in range(6))]
    found = Comparison(
        "answer", "accuracy", "accuracy", "val", lines, "a",
        [Finding(about, "a", "b", difference)], [], None, [], [], Path("out"),
    )  # fmt: skip
    return sentences(found)[-1]


def test_a_sentence_agrees_with_its_numbers() -> None:
    assert told("fusion", Difference(-0.25, (-0.45, -0.1), 0.02, 20, 0.14)) == (
        "Fusion is not shown to help: a is worse than the best single input, b (-0.250, 95 % "
        "interval -0.450 to -0.100), which may be noise: p 0.02, 0.14 after correction for 7 "
        "differences."
    )
    assert told("words", Difference(0.05, (-0.1, 0.2), 0.5, 20, 1.0)) == (
        "words is not shown to earn its place: a is better than b (+0.050, 95 % interval -0.100 to "
        "+0.200), which may be noise."
    )
    assert told("classical", Difference(-0.25, (-0.3, -0.2), 0.001, 20, 0.007)) == (
        "The network loses to the classical baseline: a is worse than b (-0.250, 95 % interval "
        "-0.300 to -0.200)."
    )
    assert told("rows", Difference(0.25, (0.2, 0.3), 0.001, 20, 0.007)).startswith(
        "Learning from more rows helps: a is better than b (+0.250,"
    )
    assert "a is as good as b (+0.000" in told("photo", Difference(0.0, (0.0, 0.0), 1.0, 20))


def test_a_difference_is_never_too_small_to_be_seen() -> None:
    tiny = Difference(0.000123, (-0.0000004, 0.0204), 0.001, 20, 0.007)
    assert "(+1.23e-04, 95 % interval -4.00e-07 to +0.020)" in told("fusion", tiny)
    best = Line("a", "fused", "", [0], 20, 0.00041, (0.0002, 0.0006))
    other = replace(best, name="b", score=0.0003, behind=tiny)
    found = Comparison(
        "answer", "accuracy", "accuracy", "val", [best, other], "a", [], [], None, [], [], Path()
    )
    assert "accuracy 4.10e-04 (2.00e-04 to 6.00e-04)" in sentences(found)[0]
    assert [row[1:5] for row in table_rows(found)] == [
        ("4.10e-04", "2.00e-04–6.00e-04", "20", ""),
        ("3.00e-04", "2.00e-04–6.00e-04", "20", "+1.23e-04"),
    ]


def test_a_model_looks_at_an_input_if_another_record_s_costs_it() -> None:
    """With other photos 24 of 40 answers are wrong; with other words all are as right as before."""
    own = result([True] * 36 + [False] * 4)
    found = weighed({
        "early.concat": replace(own, swapped={
            "photo": result([True] * 16 + [False] * 24).predictions, "words": own.predictions,
        }),
        "words alone": result([True] * 20 + [False] * 20),
    })  # fmt: skip
    said = [s for s in sentences(found) if "with another record's" in s]
    assert len(said) == 2
    assert said[0].startswith(
        "The model looks at photo: early.concat is better than early.concat with another record's "
        "photo (+0.500"
    )
    assert said[1].startswith("The model is not shown to look at words: early.concat is as good as")
    assert {line.name for line in found.lines} == {"early.concat", "words alone"}
