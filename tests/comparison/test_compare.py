"""A comparison from end to end: a colour told by a photo, a place told by a text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from both import RECIPE, write_table

import plait
from plait.comparison import compare as module
from plait.comparison.compare import compare
from plait.comparison.report import sentences, table_rows
from plait.comparison.results import Comparison, Result
from plait.comparison.runs import Job, answered, keep
from plait.config.recipe import check_recipe
from plait.pipeline.engine import build_parts
from plait.pipeline.records import open_table, split_table
from plait.types import PlaitError, UsageError

WORDS = RECIPE | {
    "inputs": {"words": RECIPE["inputs"]["words"]}, "fusion": {"kind": "none", "width": 32},
    "training": RECIPE["training"] | {"epochs": 1},
}  # fmt: skip


def here(job: Job, seconds: Any) -> Result:
    """A run without a process of its own, which takes seconds to start."""
    job.folder.mkdir(parents=True, exist_ok=True)
    result = answered(job)
    keep(job, result)
    return result


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def word_rows(count: int) -> list[dict[str, Any]]:
    """Texts that tell their answer; each is there once."""
    return [
        {"words": f"{place} {number}", "answer": place}
        for number in range(count)
        for place in ("here", "there")
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    write_table(folder, ("train", "train", "val", "test"))
    (folder / "both.yaml").write_text(
        yaml.safe_dump(RECIPE | {"training": RECIPE["training"] | {"epochs": 12}})
    )
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> Comparison:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAIT_CACHE", str(folder / "cache"))
        return compare(
            str(folder / "both.yaml"), folder / "table.jsonl", folder / "out",
            seeds=1, test=True, keep=folder / "kept",
        )  # fmt: skip


@pytest.mark.slow
def test_both_inputs_earn_their_place(found: Comparison) -> None:
    assert {line.name: line.role for line in found.lines} == {
        "early.concat": "fused", "photo alone": "alone", "words alone": "alone",
        "classical": "classical",
    }  # fmt: skip
    assert found.winner == "early.concat"
    scores = {line.name: line.score for line in found.lines}
    assert scores["early.concat"] >= 0.95
    assert 0.3 <= scores["photo alone"] <= 0.7
    worth = {finding.about: finding for finding in found.findings}
    assert worth["fusion"].difference.real
    assert worth["photo"].second == "words alone"
    assert worth["photo"].difference.real
    assert found.test is not None
    assert found.test.line("early.concat").score >= 0.9
    assert found.line("early.concat").memory > 100
    assert found.line("early.concat").milliseconds > 0


@pytest.mark.slow
def test_what_is_told(found: Comparison) -> None:
    told = "\n".join(sentences(found))
    assert "early.concat is best on val: accuracy 1.000" in told
    assert "photo earns its place" in told
    assert "On the test rows" in told
    assert len(table_rows(found)) == 4
    assert (found.folder / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((found.folder / "compare.json").read_text())["winner"] == "early.concat"
    assert "| early.concat | 1.000 |" in (found.folder / "compare.md").read_text()


@pytest.mark.slow
def test_the_winner_is_kept_as_a_package_that_the_table_fits(
    found: Comparison, folder: Path
) -> None:
    scores = plait.load(folder / "kept").evaluate(folder / "table.jsonl", split="test").scores
    assert found.test is not None
    assert scores["answer"]["accuracy"] == pytest.approx(found.test.line("early.concat").score)


def test_a_kept_package_scores_no_split_that_it_can_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows were split by the recipe's seed, and the best seed may be another."""
    monkeypatch.setattr(module, "run", here)
    table = write_rows(tmp_path / "words.jsonl", word_rows(30))
    found = compare(check_recipe(WORDS), table, tmp_path / "out", seeds=2, keep=tmp_path / "kept")
    assert found.kept == {"training": 48, "validation": 6}
    said = "The kept package learned from 48 records and was chosen by 6; plait evaluate leaves"
    assert said in (tmp_path / "out" / "compare.md").read_text()
    kept = plait.load(tmp_path / "kept")
    for split in ("train", "val", "test"):
        with pytest.raises(UsageError, match="trained in a comparison, which split the rows"):
            kept.evaluate(table, split=split)
    assert kept.evaluate(table, include_training=True).scores["answer"].records == 60
    assert kept.evaluate(table).scores["answer"].records == 6  # the others are known to it


def test_all_variants_learn_from_the_sources_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source has other columns than the table, and splits of its own."""
    monkeypatch.setattr(module, "run", here)
    table = write_rows(tmp_path / "words.jsonl", word_rows(20))
    more = [
        {"text": f"more {row['words']}", "label": row["answer"], "split": split}
        for split in ("train", "val", "test")
        for row in word_rows(5)
    ]
    source = write_rows(tmp_path / "more.jsonl", more)
    recipe = check_recipe(WORDS | {"data": {"sources": {"more": {"table": str(source)}}}})
    lines: list[str] = []
    found = compare(recipe, table, tmp_path / "out", seeds=1, on_run=lines.append)
    assert found.line("both").learned == 32 + 10
    assert found.line("classical").learned == 32 + 10
    compare(recipe, table, tmp_path / "out", seeds=1, on_run=lines.append)
    write_rows(source, more[:25])
    compare(recipe, table, tmp_path / "out", seeds=1, on_run=lines.append)
    before = [line.endswith("finished before") for line in lines]
    assert before == [False, False, True, True, False, False]


def test_a_start_model_is_refused(tmp_path: Path) -> None:
    """It may have learned from the rows that would be scored."""
    table = write_rows(tmp_path / "words.jsonl", word_rows(5))
    recipe = check_recipe(WORDS | {"training": {"start": "captioner"}})
    with pytest.raises(UsageError, match=r"^training\.start: the runs of a comparison can't start"):
        compare(recipe, table, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_all_variants_have_the_same_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three sentences of a photo are three records of the fusion, whose words they share: the photo
    alone must not make one of them, nor the words alone be refused for being in two splits."""
    recipe = RECIPE | {"outputs": {"sentence": {"kind": "text"}}}
    rows = [
        {"photo": f"{n}.png", "words": f"word {i}", "sentence": f"It is {n} and {i}."}
        for n in range(20)
        for i in range(3)
    ]
    jobs: list[Job] = []
    monkeypatch.setattr(module, "run", lambda job, seconds: jobs.append(job))
    with pytest.raises(PlaitError, match="no run of the comparison was finished"):
        compare(check_recipe(recipe), write_rows(tmp_path / "t.jsonl", rows), tmp_path / "out")
    found = []
    for job in jobs:
        parts = build_parts(job.recipe)
        opened, columns = open_table(job.recipe, parts, job.table)
        assert len(opened) == 60
        found.append(split_table(job.recipe, parts, opened, columns))
    assert len(jobs) == 3 * 3  # no linear model says sentences
    assert all(splits == found[0] for splits in found)
    assert all(found[0].values())


def test_sentences_of_a_photo_are_one_record_of_all_variants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = {"inputs": {"photo": RECIPE["inputs"]["photo"]}, "fusion": {"kind": "none"}}
    recipe = RECIPE | photo | {"outputs": {"sentence": {"kind": "text"}}}
    rows = [{"photo": f"{n // 3}.png", "sentence": f"It is {n}."} for n in range(60)]
    jobs: list[Job] = []
    monkeypatch.setattr(module, "run", lambda job, seconds: jobs.append(job))
    with pytest.raises(PlaitError, match="no run of the comparison was finished"):
        compare(check_recipe(recipe), write_rows(tmp_path / "t.jsonl", rows), tmp_path / "out")
    assert [len(job.table) for job in jobs] == [20] * 3
    assert [job.table.number(1) for job in jobs] == [4] * 3


@pytest.mark.slow
def test_called_again_it_runs_only_what_is_missing(
    found: Comparison, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Job] = []
    monkeypatch.setattr(module, "run", lambda job, seconds: ran.append(job))
    again = compare(
        str(folder / "both.yaml"), folder / "table.jsonl", folder / "out", seeds=2,
        overrides=["training.refit=true"],  # would learn from the rows that are compared on
    )  # fmt: skip
    assert not any(job.recipe.training.refit for job in ran)
    assert sorted((job.variant_folder.name, job.recipe.seed) for job in ran) == [
        ("early.concat", 1), ("photo_alone", 1), ("words_alone", 1)
    ]  # fmt: skip
    assert len(again.unfinished) == 3
    assert "Not finished within the budget: photo alone, seed 1" in "\n".join(sentences(again))
    assert [line.score for line in again.lines] == [line.score for line in found.lines]


def test_a_test_run_that_failed_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write_rows(tmp_path / "words.jsonl", word_rows(20))

    def broken(job: Job, seconds: Any) -> Result:
        if job.split == "val":
            return here(job, seconds)
        keep(job, Result(failed="no memory"))
        return Result(failed="no memory")

    monkeypatch.setattr(module, "run", broken)
    with pytest.raises(PlaitError, match="no memory"):
        compare(check_recipe(WORDS), table, tmp_path / "out", seeds=1, test=True)
    monkeypatch.setattr(module, "run", here)
    found = compare(check_recipe(WORDS), table, tmp_path / "out", seeds=1, test=True)
    assert found.test is not None
    assert all(line.score is not None for line in found.test.lines)


def test_no_time_at_all(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PlaitError, match="larger --budget"):
        compare(str(folder / "both.yaml"), folder / "table.jsonl", tmp_path / "out", budget=0.0)


@pytest.mark.slow
def test_a_run_that_fails_is_told_and_the_others_go_on(
    found: Comparison, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(job: Job, seconds: Any) -> None:
        job.folder.mkdir(parents=True)
        keep(job, Result(failed="it needs the extra x"))

    monkeypatch.setattr(module, "run", fail)
    again = compare(
        str(folder / "both.yaml"), folder / "table.jsonl", folder / "out",
        fusions=["early.concat", "hybrid"], seeds=1,
    )  # fmt: skip
    line = again.line("hybrid")
    assert line.score is None
    assert line.failed == "it needs the extra x"
    assert "hybrid has no score: it needs the extra x." in sentences(again)
    assert again.winner == "early.concat"


def test_another_output_is_only_weighed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words tell the answer; nothing tells the toss."""
    rows = [row | {"toss": "heads" if n % 3 else "tails"} for n, row in enumerate(word_rows(30))]
    table = write_rows(tmp_path / "words.jsonl", rows)
    outputs = {"answer": {"kind": "category"}, "toss": {"kind": "category"}}
    recipe = check_recipe(WORDS | {"outputs": outputs})
    monkeypatch.setattr(module, "run", here)
    lines: list[str] = []
    first = compare(recipe, table, tmp_path / "out", seeds=1, on_run=lines.append)
    assert re.fullmatch(r"1/2 classical: 1\.000, \d+ s", lines[0])
    assert re.fullmatch(r"2/2 both, seed 0: \d\.\d{3}, \d+ s", lines[1])
    assert first.line("both").seconds % 1 != 0  # as measured, not rounded
    monkeypatch.delattr(module, "run")
    second = compare(recipe, table, tmp_path / "out", seeds=1, output="toss", on_run=lines.append)
    assert lines[2].endswith(f": {second.line('classical').score:.3f}, finished before")
    assert (first.output, second.output) == ("answer", "toss")
    assert first.line("classical").score == 1.0
    assert second.line("classical").score < 1.0
    assert "Only answer was scored; toss was not (--output toss)." in sentences(first)
    assert (second.folder / "compare.md").read_text().startswith("# accuracy of toss, on val\n")
    written = json.loads((second.folder / "compare.json").read_text())
    assert (written["output"], written["others"]) == ("toss", ["answer"])
    with pytest.raises(UsageError, match=r"no output 'tos'.*did you mean 'toss'"):
        compare(recipe, table, tmp_path / "out", output="tos")


def test_rows_that_the_table_has_not_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        row | {"split": "val" if n % 4 == 0 else "train"} for n, row in enumerate(word_rows(20))
    ]
    monkeypatch.setattr(module, "run", here)
    table = write_rows(tmp_path / "words.jsonl", rows)
    found = compare(check_recipe(WORDS), table, tmp_path / "out", rows=[1000, 30, 10], seeds=1)
    assert [line.name for line in found.lines if line.role == "rows"] == ["10 rows"]
    told = sentences(found)
    assert "Left out: 30 rows, as every variant learns from that many." in told
    assert "Left out: 1,000 rows, as the table has 30 training rows." in told
    assert json.loads((found.folder / "compare.json").read_text())["left_out"] == found.left_out


def test_more_rows_than_the_recipe_s_are_tried() -> None:
    assert module.fewer_rows([50, 100, 300, 400], 300, 100) == (
        [50, 300],
        [
            "100 rows, as every variant learns from that many",
            "400 rows, as the table has 300 training rows",
        ],
    )


def test_mistakes(folder: Path, tmp_path: Path) -> None:
    recipe, table = str(folder / "both.yaml"), folder / "table.jsonl"
    with pytest.raises(UsageError, match="0 seeds"):
        compare(recipe, table, tmp_path / "out", seeds=0)
    with pytest.raises(UsageError, match="no dev rows"):
        compare(recipe, table, tmp_path / "out", split="dev")
