"""Data sets of the hub, without its library and with a stand-in for it."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from plait.data.tables import read_table
from plait.types import PlaitError


def test_hub_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(PlaitError, match=r"pip install 'plait\[hub\]'"):
        read_table("hub:some/photos")


class Image_:  # noqa: N801
    def __init__(self, decode: bool = True) -> None:
        self.decode = decode


Image_.__name__ = "Image"


class ClassLabel:
    names = ("cat", "dog")


class Part:
    """What plait uses of datasets.Dataset."""

    def __init__(self, rows: list[dict[str, Any]], image: Image_) -> None:
        self.rows, self.features = rows, {"image": image, "label": ClassLabel()}

    def cast_column(self, name: str, feature: Image_) -> Part:
        assert (name, feature.decode) == ("image", False)
        return Part(self.rows, feature)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        assert not self.features["image"].decode  # type: ignore[union-attr]
        return iter(self.rows)


def test_hub_reads_every_split(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"image": {"bytes": b"x", "path": None}, "label": n} for n in (1, 0, -1)]
    parts = {"train": Part(rows[:2], Image_()), "validation": Part(rows[2:], Image_())}
    asked: list[tuple[str, str | None]] = []

    def load(name: str, revision: str | None) -> dict[str, Part]:
        asked.append((name, revision))
        return parts

    def info(name: str, *, revision: str | None, timeout: float) -> Any:
        if revision == "gone":
            raise ConnectionError
        return types.SimpleNamespace(sha="c0ffee")

    library = types.SimpleNamespace(load_dataset=load)
    monkeypatch.setitem(sys.modules, "datasets", library)  # type: ignore[arg-type]
    monkeypatch.setattr("huggingface_hub.dataset_info", info)
    table = read_table("hub:some/photos@v1")
    assert str(table.path) == "hub:some/photos@c0ffee"  # a branch or tag may move
    assert str(read_table("hub:some/photos@gone").path) == "hub:some/photos@gone"
    assert asked == [("some/photos", "c0ffee"), ("some/photos", "gone")]
    assert table.columns == {
        "split": ["train", "train", "validation"],
        "image": [b"x"] * 3,
        "label": ["dog", "cat", None],
    }


def test_hub_failure_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, revision: str | None) -> None:
        raise ConnectionError("no network\nlong story")

    library = types.SimpleNamespace(load_dataset=fail)
    monkeypatch.setitem(sys.modules, "datasets", library)  # type: ignore[arg-type]
    monkeypatch.setattr("huggingface_hub.dataset_info", fail)
    with pytest.raises(PlaitError, match=r"hub:some/photos can't be loaded \(no network\)"):
        read_table("hub:some/photos")
