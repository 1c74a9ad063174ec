from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from plait.config.recipe import load_recipe
from plait.data.splits import SPLITS, Splits, photo_keys, split_rows
from plait.data.tables import Table
from plait.pipeline.engine import build_parts
from plait.pipeline.records import open_table
from plait.types import PlaitError, UsageError

RATIOS = (0.8, 0.1, 0.1)


def split(rows: Table, **options: Any) -> Splits:
    defaults: dict[str, Any] = {
        "column": None,
        "ratios": RATIOS,
        "group": None,
        "media": [],
        "seed": 0,
    }
    if (image := options.pop("image", None)) is not None:
        options["media"] = [image]
    return split_rows(rows, **(defaults | options))


def table(root: Path = Path("/nowhere"), **columns: list[Any]) -> Table:
    return Table(Path("t.csv"), root, columns)


def photos(count: int) -> Table:
    return table(image=[f"{i}.jpg" for i in range(count)])


def where(splits: Splits) -> dict[int, str]:
    return {row: name for name in SPLITS for row in splits[name]}


# --- by column ---


def test_every_word_for_a_split(caplog: pytest.LogCaptureFixture) -> None:
    words = ["train", "training", " Train ", "val", "valid", "validation", "DEV", "test"]
    rows = table(s=[*words, "extra", None, "extra"])
    with caplog.at_level(logging.WARNING, "plait"):
        found = split(rows, column="s")
    assert found == {"train": [0, 1, 2], "val": [3, 4, 5, 6], "test": [7]}
    assert "extra (2 rows), (empty) (1 rows)" in caplog.text


def test_a_column_without_train() -> None:
    with pytest.raises(PlaitError, match=r"no row in train.*got red, blue"):
        split(table(s=["red", "blue"]), column="s")


def test_where_none_validates_some_of_the_training_rows_do() -> None:
    names = [f"{number // 2}.jpg" for number in range(80)]  # each twice
    words = ["train"] * 60 + ["test"] * 20
    found = split(table(image=names, s=words), column="s", image="image", ratios=(0.6, 0.2, 0.2))
    assert found["test"] == list(range(60, 80))
    assert sorted(found["train"] + found["val"]) == list(range(60))
    assert len(found["val"]) in (14, 16)  # a quarter, in pairs
    assert all(row ^ 1 in found["val"] for row in found["val"])
    none = split(table(image=names, s=words), column="s", image="image", ratios=(0.8, 0.0, 0.2))
    assert none["val"] == []
    assert len(none["train"]) == 60


def test_a_photo_in_two_splits_of_the_column_by_path() -> None:
    rows = table(image=["a.jpg", "b.jpg", "a.jpg"], s=["train", "val", "test"])
    message = r"a\.jpg is in train \(row 1\) and in test \(row 3\)"
    with pytest.raises(PlaitError, match=message):
        split(rows, column="s", image="image")
    assert split(rows, column="s")["test"] == [2]


def test_a_photo_in_two_splits_of_the_column_by_content(tmp_path: Path) -> None:
    for name, data in (("a.jpg", b"same"), ("b.jpg", b"same"), ("c.jpg", b"diff")):
        (tmp_path / name).write_bytes(data)
    rows = table(tmp_path, image=["a.jpg", "c.jpg", "b.jpg"], s=["train", "val", "test"])
    with pytest.raises(PlaitError, match=r"a\.jpg is in train .* test \(row 3\)"):
        split(rows, column="s", image="image")
    rows.columns["s"][2] = "extra"  # an unused row can't leak
    assert split(rows, column="s", image="image")["val"] == [1]


def test_bytes_in_two_splits_are_not_printed() -> None:
    rows = table(image=[b"\xff\xd8" * 50] * 2, s=["train", "test"])
    with pytest.raises(PlaitError) as caught:
        split(rows, column="s", image="image")
    assert len(str(caught.value)) < 200


def test_a_group_in_two_splits_of_the_column() -> None:
    rows = table(who=["ann", "bob", "ann"], s=["train", "val", "test"])
    with pytest.raises(PlaitError, match="ann is in train"):
        split(rows, column="s", group="who")


# --- by ratio ---


@pytest.mark.parametrize("image", ["image", None])
def test_ratios_are_met_and_every_row_is_used_once(image: str | None) -> None:
    found = split(photos(1000), image=image)
    assert [len(found[name]) for name in SPLITS] == [800, 100, 100]
    assert sorted(where(found)) == list(range(1000))
    assert found["train"] == sorted(found["train"])


def test_the_seed_decides() -> None:
    assert split(photos(100), image="image") == split(photos(100), image="image")
    assert split(photos(100), image="image") != split(photos(100), image="image", seed=1)
    assert split(photos(100)) != split(photos(100), seed=1)


def test_the_split_is_pinned() -> None:
    found = split(photos(20), image="image")
    assert found["val"] == [3, 4]
    assert found["test"] == [9, 12]


def test_the_order_of_rows_and_the_folder_do_not_matter() -> None:
    rows = photos(100)
    turned = Table(rows.path, Path("/elsewhere"), rows.where(range(99, -1, -1)).columns)
    first, second = where(split(rows, image="image")), where(split(turned, image="image"))
    assert all(first[row] == second[99 - row] for row in range(100))


def test_copies_of_a_photo_are_one_in_any_order_of_rows(tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(12)]
    for name in names:
        (tmp_path / name).write_bytes(b"a photo" if name in ("3.jpg", "7.jpg") else name.encode())
    assert photo_keys(names, tmp_path) == photo_keys(names[::-1], tmp_path)[::-1]
    keys = dict(zip(names, photo_keys(names, tmp_path), strict=True))
    assert keys["3.jpg"] == keys["7.jpg"]


def test_rows_of_one_photo_stay_together(tmp_path: Path) -> None:
    names = [f"{i % 40}.jpg" for i in range(200)]
    for name in names:  # every photo has a copy under another name
        (tmp_path / name).write_bytes(f"photo {int(name[:-4]) % 20:02d}".encode())
    rows = table(tmp_path, image=names)
    for seed in range(5):
        found = where(split(rows, image="image", seed=seed))
        assert len({(int(names[row][:-4]) % 20, part) for row, part in found.items()}) == 20


def test_equal_bytes_stay_together() -> None:
    rows = table(image=[bytes([i % 10]) * 9 for i in range(50)])
    found = where(split(rows, image="image"))
    assert len({(row % 10, part) for row, part in found.items()}) == 10


def test_groups_stay_together_also_through_a_shared_photo() -> None:
    who = [f"p{i // 5}" for i in range(100)]
    images = [f"{i}.jpg" for i in range(100)]
    images[99] = images[0]  # joins the last group to the first
    found = where(split(table(who=who, image=images), group="who", image="image"))
    assert len({(w, found[row]) for row, w in enumerate(who)}) == 20
    assert found[0] == found[99]


def test_rows_without_a_photo_are_not_one_photo() -> None:
    found = split(table(image=[None, "", float("nan")] * 20), image="image")
    assert [len(found[name]) for name in SPLITS] == [48, 6, 6]


@pytest.mark.parametrize("cells", [[["x"], ["y"], ["x"]] * 9, [1, 2, 3] * 9, [{"a": 1}] * 27])
def test_group_cells_of_any_kind(cells: list[Any]) -> None:
    found = where(split(table(g=cells), group="g", ratios=(1.0, 0.0, 0.0)))
    assert set(found.values()) == {"train"}


def test_a_ratio_of_zero_gets_nothing_and_a_small_one_something() -> None:
    assert split(photos(3), image="image", ratios=(0.5, 0.5, 0.0))["test"] == []
    assert split(photos(50), ratios=(0.5, 0.0, 0.5))["val"] == []
    assert {len(split(photos(3), image="image")[name]) for name in SPLITS} == {1}
    assert len(split(photos(30), ratios=(0.98, 0.01, 0.01))["val"]) == 1


def test_too_few_photos() -> None:
    rows = table(image=["a.jpg"] * 100)
    with pytest.raises(PlaitError, match="1 photos or groups to split into train and val and test"):
        split(rows, image="image")


@pytest.mark.parametrize(
    "ratios", [(0.8, 0.1, 0.2), (1.2, -0.1, -0.1), (0.0, 0.5, 0.5), (float("nan"), 0.5, 0.5)]
)
def test_ratios_that_are_no_shares(ratios: Any) -> None:
    with pytest.raises(UsageError, match="split ratios"):
        split(photos(10), ratios=ratios)


@pytest.mark.parametrize("option", ["column", "group", "image"])
def test_a_missing_column(option: str) -> None:
    with pytest.raises(UsageError, match=r"no column 'imago'.*did you mean 'image'"):
        split(photos(10), **{option: "imago"})


def test_what_two_splits_have_can_be_left_out(caplog: pytest.LogCaptureFixture) -> None:
    rows = table(
        image=["a", "b", "b", "c", "c", "a", "d", None],
        s=["train", "train", "val", "val", "test", "train", "train", "train"],
    )
    found = split(rows, column="s", image="image", overlap="drop")
    assert found == {"train": [0, 5, 6, 7], "val": [2], "test": [4]}
    assert "2 rows are left out" in caplog.text


def test_what_two_splits_have_can_be_kept(caplog: pytest.LogCaptureFixture) -> None:
    rows = table(image=["a", "b", "b", "c", None], s=["train", "train", "val", "test", "train"])
    found = split(rows, column="s", image="image", overlap="keep")
    assert found == {"train": [0, 1, 4], "val": [2], "test": [3]}
    assert "1 of 3 photos or groups are in more than one split" in caplog.text


# --- photo_keys ---


def test_photo_keys_read_only_files_of_equal_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, data in (("a", b"1234"), ("b", b"12345"), ("c", b"5678"), ("d", b""), ("e", b"")):
        (tmp_path / name).write_bytes(data)
    read: list[str] = []
    whole = Path.read_bytes

    def spy(self: Path) -> bytes:
        read.append(self.name)
        return whole(self)

    monkeypatch.setattr(Path, "read_bytes", spy)
    cells = ["a", "b", "c", "gone", None, b"1234", "d", "e"]
    keys = photo_keys(cells, tmp_path)
    assert sorted(read) == ["a", "c"]
    assert keys == ["a", "b", "c", "gone", None, "a", "d", "e"]


def test_a_group_that_differs_within_a_photo_is_refused() -> None:
    recipe = load_recipe("captioning", ["data.group=album"])
    rows = Table(
        Path("t.csv"),
        Path(),
        {"image": ["a.jpg", "a.jpg"], "caption": ["A dog.", "A cat."], "album": ["1", "2"]},
    )
    with pytest.raises(PlaitError, match=r"a\.jpg has several values in column 'album'"):
        open_table(recipe, build_parts(recipe), rows)


def test_equal_sentences_of_text_are_records_of_their_own() -> None:
    """A sentence that is said in train and in test is no photo that leaks."""
    columns = {"en": ["Two dogs run."] * 2, "de": ["Zwei Hunde rennen.", "Zwei rennen."]}
    rows = Table(Path("t.csv"), Path(), {**columns, "split": ["train", "test"]})
    recipe = load_recipe("translation")
    opened, found = open_table(recipe, build_parts(recipe), rows)
    assert opened.columns == {**columns, "split": ["train", "test"]}
    assert found == {"inputs.text": "en", "outputs.translation": "de"}


def test_a_group_s_place_in_the_split_is_not_its_files_place(tmp_path: Path) -> None:
    """Tables with absolute paths are split alike on every machine where they have groups."""
    found = []
    for folder in ("/a", "/b/c"):
        columns = {
            "image": [f"{folder}/{n}.png" for n in range(60)],
            "family": [f"f{n // 2}" for n in range(60)],
        }
        rows = Table(tmp_path / "t.csv", tmp_path, columns)
        found.append(
            split_rows(
                rows, column=None, ratios=(0.5, 0.25, 0.25), group="family", media=["image"], seed=0
            )
        )
    assert found[0] == found[1]
