"""Further tables to learn from: which rows they give, how often each is shown, and when."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import plait
from plait.config.recipe import Recipe, check_recipe, load_recipe
from plait.data import lazy
from plait.data.lazy import LazyColumn
from plait.data.tables import read_table
from plait.outputs.category import CategoryOutput
from plait.outputs.text.networks import TextHead
from plait.outputs.text.output import TextTarget
from plait.pipeline.engine import build_parts
from plait.pipeline.records import COMPARED, Records, open_table, split_table
from plait.training.loop import Stage, Trainer, stages
from plait.training.sources import Mixture, with_sources
from plait.types import PlaitError, UsageError

SMALL = [
    "inputs.image.representation={kind: pixels, size: 16, patch: 8, width: 8}",
    "fusion.width=16",
    "outputs.caption.settings.decoder={kind: transformer, layers: 1, memory_layers: 0, heads: 2}",
    "outputs.caption.settings.detected_words=0",
    "outputs.caption.settings.pointer=false",
    "outputs.caption.settings.calibrate=false",
    "outputs.caption.settings.min_count=1",
    "training.epochs=2",
    "training.reinforce.epochs=0",
]


def write(folder: Path, rows: list[dict[str, Any]], shade: int) -> str:
    """A table beside its photos, each of one shade."""
    folder.mkdir(parents=True)
    for number, row in enumerate(rows):
        picture = np.full((16, 16, 3), row.pop("shade", shade + number), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), picture)
        row["photo"] = f"{number}.png"
    (folder / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "table.jsonl")


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, str]:
    """The table has shades from 0, noisy from 100 (one of the table's photos for validation among
    them), clean from 200, with a photo for validation."""
    main = [{"captions": [f"a {n}"], "split": "val" if n > 5 else "train"} for n in range(8)]
    noisy = [{"text": f"noise {n}"} for n in range(6)]
    noisy[2]["shade"] = 7
    clean = [{"captions": [f"c {n}"], "split": "val" if n == 0 else "train"} for n in range(4)]
    named = {"table": (main, 0), "noisy": (noisy, 100), "clean": (clean, 200)}
    return {name: write(tmp_path / name, *what) for name, what in named.items()}


def recipe_of(tables: dict[str, str], *changes: str) -> Recipe:
    sources = [f"data.sources.{n}.table={tables[n]}" for n in ("noisy", "clean")]
    return load_recipe("captioning", [*SMALL, *sources, *changes])


def mixture_of(recipe: Recipe, tables: dict[str, str]) -> Mixture:
    parts = build_parts(recipe)
    rows, columns = open_table(recipe, parts, read_table(tables["table"]))
    splits = split_table(recipe, parts, rows, columns)
    return with_sources(recipe, parts, rows, columns, splits)


def test_the_rows_of_all_tables(tables: dict[str, str]) -> None:
    mixture = mixture_of(recipe_of(tables), tables)
    texts = mixture.table.column("captions")

    def said(split: str) -> list[str]:
        return sorted(texts[row][0] for row in mixture.splits[split])

    # noise 2 is a photo that the table validates on.
    noisy = [f"noise {n}" for n in (0, 1, 3, 4, 5)]
    assert said("train") == [*(f"a {n}" for n in range(6)), "c 1", "c 2", "c 3", *noisy]
    assert said("val") == ["a 6", "a 7"]
    assert said("calibration") == ["a 6", "a 7", "c 0"]
    assert mixture.sources is not None
    counts = Counter(mixture.sources.tolist())
    assert counts == {0: 8, 1: 5, 2: 4}
    for row, path in enumerate(mixture.table.column("photo")):
        if mixture.sources[row]:
            assert Path(path).is_absolute()
            assert Path(path).is_file()


def test_a_source_without_rows_for_validation_gives_all(tables: dict[str, str]) -> None:
    table = Path(tables["clean"])
    table.write_text(table.read_text().replace('"val"', '"train"'))
    mixture = mixture_of(recipe_of(tables), tables)
    assert mixture.sources is not None
    own = [row for row, source in enumerate(mixture.sources) if source == 2]
    assert len(own) == 4
    assert set(own) <= set(mixture.splits["train"])
    assert mixture.splits["calibration"] == mixture.splits["val"]


def test_a_source_of_one_row_for_training_is_learned_from(tables: dict[str, str]) -> None:
    table = Path(tables["clean"])
    row = json.loads(table.read_text().splitlines()[1])
    assert row["split"] == "train"
    table.write_text(json.dumps(row))
    mixture = mixture_of(recipe_of(tables), tables)
    assert mixture.sources is not None
    assert (mixture.sources == 2).sum() == 1


def test_large_columns_of_a_source_stay_in_its_file(
    tables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A photo may lie in the file or beside it; columns that nothing reads are not kept."""
    folder = Path(tables["clean"]).parent
    photos = [{"bytes": (folder / f"{n}.png").read_bytes()} for n in range(3)] + [{"path": "3.png"}]
    texts = [f"c {n}" for n in range(4)]
    columns = {"photo": photos, "captions": texts, "notes": [f"note {n}" for n in range(4)]}
    pq.write_table(pa.table(columns), folder / "t.parquet", row_group_size=2)
    monkeypatch.setattr(lazy, "LARGE", 100)
    recipe = recipe_of(tables, f"data.sources.clean.table={folder / 't.parquet'}")
    table = mixture_of(recipe, tables).table
    assert set(table.columns) == {"photo", "captions"}
    assert isinstance(table.column("photo"), LazyColumn)
    wanted = [photo["bytes"] for photo in photos[:3]] + [str(folder / "3.png")]
    assert list(table.column("photo"))[-4:] == wanted
    assert table.sample("photo")[-1] == str(folder / "3.png")
    assert Path(table.column("photo")[8]).name == "0.png"  # of noisy


@pytest.mark.parametrize(
    "changes",
    [["data.split=split"], ["data.split=random"], [f"data.split={COMPARED}"], ["data.group=place"],
     ["inputs.image.column=photo", "outputs.caption.column=captions", "data.split=split"]],
)  # fmt: skip
def test_a_source_may_lack_the_columns_that_the_recipe_names(
    changes: list[str], tables: dict[str, str]
) -> None:
    """Its own splits count, also where the table is split at random or by a comparison."""
    rows = read_table(tables["table"])
    main = replace(rows, columns={**rows.columns, COMPARED: rows.column("split"),
                                  "place": list(range(8))})  # fmt: skip
    recipe = recipe_of(tables, *changes)
    parts = build_parts(recipe)
    opened, columns = open_table(recipe, parts, main)
    splits = split_table(recipe, parts, opened, columns)
    mixture = with_sources(recipe, parts, opened, columns, splits)
    assert mixture.sources is not None
    learned = mixture.sources[mixture.splits["train"]].tolist()
    kept_from_noisy = 5 if 7 in [*splits["val"], *splits["test"]] else 6
    assert Counter(learned) == {0: len(splits["train"]), 1: kept_from_noisy, 2: 3}
    calibrating = mixture.sources[mixture.splits["calibration"]].tolist()
    assert Counter(calibrating) == {0: len(splits["val"]), 2: 1}


def test_targets_in_files_are_found_beside_their_table(
    tables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CategoryOutput, "media", True)
    rows: list[dict[str, Any]] = [
        {"map": f"{n}.png", "split": s} for n, s in enumerate(("train", "val"))
    ]
    other = write(tmp_path / "other", rows, 50)
    source = write(tmp_path / "source", [{"map": "1.png"}, {"map": "0.png"}], 60)
    image = {"modality": "image", "column": "photo", "representation": {"kind": "pixels"}}
    recipe = check_recipe(
        {"name": "maps", "inputs": {"image": image}, "outputs": {"map": {"kind": "category"}},
         "data": {"sources": {"more": {"table": source}}}}
    )  # fmt: skip
    mixture = mixture_of(recipe, {"table": other})
    beside = Path(source).parent
    wanted = ["0.png", "1.png", str(beside / "1.png"), str(beside / "0.png")]
    assert list(mixture.table.column("map")) == wanted


def test_a_shared_photo_may_stop_or_stay(tables: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"sources\.noisy: 1 of its rows use files"):
        mixture_of(recipe_of(tables, "data.overlap=stop"), tables)
    kept = mixture_of(recipe_of(tables, "data.overlap=keep"), tables)
    assert len(kept.splits["train"]) == 6 + 6 + 3


def test_confidences_are_not_fitted_to_what_is_learned(
    tables: dict[str, str], tmp_path: Path
) -> None:
    """Of these photos for validation, one is the table's for training, one another source's."""
    rows: list[dict[str, Any]] = [
        {"captions": [f"d {n}"], "shade": shade, "split": "val" if n < 3 else "train"}
        for n, shade in enumerate((3, 103, 150, 151))
    ]
    more = f"data.sources.more.table={write(tmp_path / 'more', rows, 0)}"

    def calibrating(*changes: str) -> list[str]:
        mixture = mixture_of(recipe_of(tables, more, *changes), tables)
        texts = mixture.table.column("captions")
        return [texts[row][0] for row in mixture.splits["calibration"]]

    assert calibrating() == ["a 6", "a 7", "c 0", "d 2"]
    assert calibrating("data.overlap=keep") == ["a 6", "a 7", "c 0", "d 0", "d 1", "d 2"]
    other = f"data.sources.noisy.table={write(tmp_path / 'other', [{'text': 'x'}], 103)}"
    with pytest.raises(UsageError, match=r"more: 2 of its rows use files that are learned from"):
        calibrating("data.overlap=stop", other)


def test_what_is_remembered_does_not_depend_on_where_the_tables_lie(
    tables: dict[str, str], tmp_path: Path
) -> None:
    weights = "data.sources.noisy.weight=0.5"
    one = mixture_of(recipe_of(tables, weights), tables).learned
    found = [(each.name, each.path, each.rows, each.weight) for each in one]
    assert found == [
        ("", tables["table"], 6, 1.0), ("noisy", tables["noisy"], 5, 0.5),
        ("clean", tables["clean"], 3, 1.0),
    ]  # fmt: skip
    assert len({each.digest for each in one}) == 3
    moved = {}
    for name, path in tables.items():
        folder = shutil.copytree(Path(path).parent, tmp_path / "moved" / name)
        moved[name] = str(folder / "table.jsonl")
    two = mixture_of(recipe_of(moved, weights), moved).learned
    assert [each.digest for each in two] == [each.digest for each in one]


def test_bad_cells_of_a_source_are_named(tables: dict[str, str], tmp_path: Path) -> None:
    (Path(tables["noisy"]).parent / "4.png").write_bytes(b"no photo")
    with pytest.raises(PlaitError, match=r"row 5 of data\.sources\.noisy, column 'photo'"):
        plait.train(recipe_of(tables), tables["table"], tmp_path / "model")


def test_a_source_with_nothing_left_is_an_error(tables: dict[str, str], tmp_path: Path) -> None:
    only = write(tmp_path / "only", [{"captions": ["x"], "shade": 7}], 0)
    with pytest.raises(PlaitError, match="has no rows to learn from"):
        mixture_of(recipe_of(tables, f"data.sources.noisy.table={only}"), tables)


def shown(recipe: Recipe, stage: Stage, of: np.ndarray, epoch: int = 0) -> Counter[int]:
    """How often an epoch shows each record."""
    trainer = Trainer.__new__(Trainer)
    trainer.recipe = recipe
    trainer.train = Records({}, {}, len(of), of)
    drawn = trainer._draw_epoch(stage, np.random.default_rng(epoch))
    assert len(drawn) == trainer._shown(stage)
    return Counter(drawn.tolist())


def test_weights_say_how_often_a_record_is_shown(tables: dict[str, str]) -> None:
    weights = ["data.weight=2", "data.sources.noisy.weight=0.4", "data.sources.clean.weight=1.5"]
    recipe = recipe_of(tables, *weights)
    of = np.repeat([0, 1, 2], [6, 5, 4])
    first, *_ = stages(recipe.training)
    counts = shown(recipe, first, of)
    assert [counts[row] for row in range(6)] == [2] * 6
    assert sum(counts[row] for row in range(6, 11)) == 2
    assert sorted(counts[row] for row in range(11, 15)) == [1, 1, 2, 2]
    others = [shown(recipe, first, of, epoch) for epoch in range(20)]
    assert {row for other in others for row in other} == set(range(15))  # all have their turn


def test_a_small_weight_still_shows_a_record(tables: dict[str, str]) -> None:
    recipe = recipe_of(tables, "data.weight=0.01", "data.sources.noisy.weight=0.05")
    first, *_ = stages(recipe.training)
    counts = shown(recipe, first, np.repeat([0, 1], [6, 5]))  # no record of clean is left
    assert sum(counts[row] for row in range(6)) == 1
    assert sum(counts[row] for row in range(6, 11)) == 1


def test_later_stages_learn_from_the_sources_that_they_name(tables: dict[str, str]) -> None:
    changes = ["training.finetune={epochs: 1, sources: [clean]}", "training.reinforce.epochs=1"]
    recipe = recipe_of(tables, *changes)
    of = np.repeat([0, 1, 2], [6, 5, 4])
    each = [sorted(shown(recipe, stage, of)) for stage in stages(recipe.training)]
    assert each == [[*range(15)], [*range(6), *range(11, 15)], [*range(6)]]


def test_a_stage_may_weigh_the_table_otherwise(tables: dict[str, str]) -> None:
    recipe = recipe_of(tables, "data.weight=3", "training.reinforce={epochs: 1, weight: 2}")
    first, last = stages(recipe.training)
    of = np.repeat([0, 1, 2], [6, 5, 4])
    assert [shown(recipe, stage, of)[0] for stage in (first, last)] == [3, 2]


def test_a_stage_is_rewarded_by_its_own_texts(
    tables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How rare n-grams are is counted in the texts of the stage alone."""
    given: list[int] = []
    begin = TextHead.begin

    def counted(head: TextHead, targets: Sequence[TextTarget]) -> None:
        given.append(len(targets))
        begin(head, targets)

    monkeypatch.setattr(TextHead, "begin", counted)
    changes = ["training.finetune={epochs: 1, sources: [clean]}", "training.reinforce.epochs=1"]
    recipe = recipe_of(tables, *changes)
    plait.train(recipe, tables["table"], tmp_path / "model")
    assert given == [14, 9, 6]


def test_without_sources_an_epoch_is_a_permutation() -> None:
    recipe = load_recipe("captioning", SMALL)
    (stage,) = stages(recipe.training)
    trainer = Trainer.__new__(Trainer)
    trainer.recipe, trainer.train = recipe, Records({}, {}, 9)
    drawn = trainer._draw_epoch(stage, np.random.default_rng(3))
    assert drawn.tolist() == np.random.default_rng(3).permutation(9).tolist()


def test_an_unknown_source_is_an_error(tables: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"training.finetune.sources: got 'cleen'; .*clean"):
        recipe_of(tables, "training.finetune={epochs: 1, sources: [cleen]}")


def test_training_on_several_tables(tables: dict[str, str], tmp_path: Path) -> None:
    recipe = recipe_of(tables, "training.finetune={epochs: 1, sources: [clean]}", "seed=1")
    lines: list[Any] = []
    seen: list[Any] = []
    model = plait.train(
        recipe, tables["table"], tmp_path / "model", report=lines.append,
        shown=lambda _, sizes: seen.append(sizes),
    )  # fmt: skip
    assert seen == [{"train": 14, "val": 2, "test": 0, "calibration": 3}]
    assert {line["stage"] for line in lines if line["event"] == "step"} == {
        "likelihood",
        "finetune",
    }
    assert len(model.memory.training) == 14
    assert len(model.memory.validation) == 3
    words = model.states["outputs.caption"]["words"]
    assert {"a", "noise", "c"} <= set(words)
    card = (tmp_path / "model" / "card.md").read_text()
    assert "(14 records)" in card
    assert f"- Table: {tables['table']}, 6 rows for training, weight 1, digest " in card
    assert f"- Source noisy: {tables['noisy']}, 5 rows for training, weight 1, digest " in card
    assert f"- Source clean: {tables['clean']}, 3 rows for training, weight 1, digest " in card
