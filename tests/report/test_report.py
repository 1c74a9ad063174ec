"""The report page: what it holds, what it leaves out, and that it stands alone."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import both
import numpy as np
import pytest
import yaml

from plait.config import registry
from plait.outputs.category import Probabilities
from plait.outputs.number import Interval
from plait.render.charts import Frame, bars, lines
from plait.report import report
from plait.report.report import Gallery, write_report
from plait.training.train import train
from plait.types import Prediction, UsageError

EVIL = "left </script><script>alert(1)</script> & more"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model trained for a moment on photos and words, one of them evil."""
    here = tmp_path_factory.mktemp("report")
    table = both.write_table(here, ["train", "val"])
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    rows[4]["words"] = EVIL
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = both.RECIPE | {"training": both.RECIPE["training"] | {"epochs": 3}}
    (here / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAIT_CACHE", str(here / "cache"))
        train(str(here / "recipe.yaml"), table, here / "model")
    return here


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAIT_CACHE", str(folder / "cache"))
        write_report(str(folder / "model"), folder / "table.jsonl", folder / "r.html", split="val")
    return (folder / "r.html").read_text()


class Page(HTMLParser):
    """Tags, addresses and the JSON of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.found: list[str] = []
        self.headings: list[str] = []
        self.json = ""
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._within = "json" if ("type", "application/json") in attrs else tag
        self.found += [v or "" for name, v in attrs if name in ("src", "href", "action")]

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within == "json":
            self.json += data
        elif self._within == "h2":
            self.headings.append(data)


def test_it_has_all_sections(text: str) -> None:
    assert Page(text).headings == [
        "What each input adds",
        "With fewer inputs",
        "Confusion between classes",
        "Calibration",
        "Map of the records",
        "The best",
        "The worst",
        "Learning curves",
    ]


def test_it_says_how_many_records_the_model_knew(text: str) -> None:
    assert "val rows; the model was chosen by " in text


def test_it_stands_alone_and_is_small(text: str) -> None:
    page = Page(text)
    assert all(link.startswith("data:image/jpeg;base64,") for link in page.found)
    assert page.found
    assert not {"link", "iframe", "object", "form"} & set(page.tags)
    assert page.tags.count("script") == 2  # the records and what shows them
    assert "url(" not in text
    assert "http" not in re.sub(r"data:image/jpeg;base64,[\w+/=]*", "", text)
    assert len(text) < 400_000


def test_every_record_behind_a_point_or_a_number_is_there(text: str) -> None:
    records = json.loads(Page(text).json)
    points = re.findall(r'data-record="(\d+)"', text)
    behind = [n for cell in re.findall(r'data-behind="([\d,]+)"', text) for n in cell.split(",")]
    assert len(points) == 48  # all validation records
    assert set(points) | set(behind) <= set(records)
    counts = [int(n) for n in re.findall(r'data-behind="[\d,]+">(\d+)<', text)]
    assert sum(counts) == 48
    assert any(record["text"] == EVIL for record in records.values())
    assert all(record["picture"].startswith("data:image/jpeg") for record in records.values())
    assert {len(record["near"]) for record in records.values()} == {report.NEAREST}
    assert all(str(near) in records for record in records.values() for near in record["near"])
    assert all(int(name) not in record["near"] for name, record in records.items())


def test_the_best_are_better_than_the_worst(text: str) -> None:
    cards = [float(x) for x in re.findall(r"<small>[^<]*\.png, ([\d.e-]+)</small>", text)]
    best, worst = cards[:6], cards[6:]
    assert best == sorted(best, reverse=True)
    assert worst == sorted(worst)
    assert min(best) >= max(worst)


def test_another_ending_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"\.html"):
        write_report(str(folder / "model"), folder / "table.jsonl", folder / "report.pdf")


def evaluation(kind: str, predictions: list[Prediction], references: list[Any]) -> Any:
    """As `Evaluation`, as far as the sections look at it."""
    return SimpleNamespace(
        outputs={"y": registry.build("output", {"kind": kind})},
        predictions={"y": predictions}, references={"y": references},
        rows=list(range(len(predictions))), vectors=None,
    )  # fmt: skip


class Looks:
    """Stands for an album without pictures."""

    def look(self, row: int) -> tuple[str, None]:
        return f"record <{row}>", None

    def name(self, row: int) -> str:
        return f"row {row}"


def gallery(found: Any, rightness: list[float]) -> Gallery:
    album: Any = Looks()
    return Gallery(album, found, "y", rightness)


def test_calibration_of_classes_by_hand() -> None:
    """Ten answers of 0.85, six of them right; one of 0.55, wrong."""
    sure = [Prediction("a", 0.85, details=Probabilities({"a": 0.85, "b": 0.15}))] * 10
    less = [Prediction("b", 0.55, details=Probabilities({"b": 0.55, "a": 0.45}))]
    found = evaluation("category", sure + less, ["a"] * 6 + ["b"] * 4 + ["a"])
    text = report.calibration(found, "y")
    frame = Frame((0.0, 1.0), (0.0, 1.0))
    for point in ((0.55, 0.0), (0.85, 0.6)):
        x, y = frame.place(*point)
        assert f'cx="{x:.1f}" cy="{y:.1f}"' in text
    assert text.count("<circle") == 2


def test_calibration_of_labels_and_of_numbers() -> None:
    said = Prediction(("a",), 1.0, details=Probabilities({"a": 0.95, "b": 0.05}))
    labels = evaluation("labels", [said], [("a",)])
    assert report.calibration(labels, "y").count("<circle") == 2
    inside = [Prediction(1.0, 0.0, details=Interval((0.5, 1.5)))] * 4
    found = evaluation("number", inside, [1.0, 1.4, 0.6, 2.0])
    assert "75.0%" in report.calibration(found, "y")


def test_numbers_have_a_chart_and_no_confusion() -> None:
    said = [Prediction(float(n), 0.0, details=Interval()) for n in range(4)]
    found = evaluation("number", said, [0.5, 1.5, 2.5, 3.5])
    album = gallery(found, [-0.5] * 4)
    assert report.numbers(found, "y", album).count("data-record=") == 4
    assert report.confusion(found, "y", album) == ""
    assert set(album.records) == {0, 1, 2, 3}


def test_texts_have_neither() -> None:
    found = evaluation(
        "text", [Prediction("a dog", -0.1), Prediction("a cat", -0.2)], [["a dog"], ["x"]]
    )
    album = gallery(found, [1.0, 0.0])
    assert report.numbers(found, "y", album) == ""
    assert report.confusion(found, "y", album) == ""
    assert report.calibration(found, "y") == ""
    shown = report.extremes("CIDEr-D", album)
    assert "record &lt;0&gt;" in shown
    assert "<strong>a cat</strong>" in shown


def test_the_map_colours_texts_by_how_right_they_are() -> None:
    found = evaluation("text", [Prediction("a dog", -0.1)] * 8, [["a dog"]] * 8)
    found.vectors = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    text = report.embedding_map(found, "y", gallery(found, [float(n) for n in range(8)]))
    assert text.count("data-record=") == 8
    assert text.count("among the best") == text.count("among the worst") == 1


def test_equal_records_are_neither_better_nor_worse() -> None:
    assert set(report._quarters([1.0] * 5)) == {"among the best"}
    assert report._quarters([0.0, *[1.0] * 7]) == ["among the worst", *["among the best"] * 7]
    found = evaluation("text", [Prediction("a dog", -0.1)] * 8, [["a dog"]] * 8)
    assert report.extremes("CIDEr-D", gallery(found, [1.0] * 8)) == ""
    shown = report.extremes("CIDEr-D", gallery(found, [1.0] * 7 + [0.5]))
    assert shown.split("The worst")[1].count("<figure>") == 1


def test_umap_draws_the_map_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    class UMAP:
        """Stands for umap-learn's."""

        def __init__(self, random_state: int, n_jobs: int) -> None:
            assert random_state == 0

        def fit_transform(self, vectors: Any) -> Any:
            return np.float32(vectors[:, 1:3])

    module = ModuleType("umap")
    module.__spec__, module.UMAP = ModuleSpec("umap", None), UMAP  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umap", module)
    vectors = np.arange(24, dtype=np.float32).reshape(6, 4)
    places, how = report._two_dimensions(vectors)
    assert (how, places.dtype, places[1].tolist()) == ("UMAP", np.float64, [5.0, 6.0])
    found = evaluation("text", [Prediction("a dog", -0.1)] * 6, [["a dog"]] * 6)
    found.vectors = vectors
    assert "(UMAP of their" in report.embedding_map(found, "y", gallery(found, [1.0] * 6))


def test_a_record_of_the_map_names_the_most_similar_ones() -> None:
    """By the angle between the vectors, whatever their place on the map."""
    found = evaluation("text", [Prediction("a dog", -0.1)] * 5, [["a dog"]] * 5)
    angles = np.deg2rad([0, 80, 10, 25, 60])
    found.vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    album = gallery(found, [1.0] * 5)
    report.embedding_map(found, "y", album)
    assert album.records[0]["near"] == [2, 3, 4]
    assert album.records[1]["near"] == [4, 3, 2]


def test_principal_components_keep_the_longest_way() -> None:
    vectors = np.zeros((5, 3), np.float32)
    vectors[:, 1] = np.arange(5) * 10
    vectors[:, 2] = [0, 1, 0, 1, 0]
    places, how = report._two_dimensions(vectors)
    assert how == "two principal components"
    assert np.abs(np.diff(places[:, 0])) == pytest.approx(10, rel=0.01)


def test_bars_start_at_their_common_zero() -> None:
    text = bars([("<a>", 3.0, "3"), ("b", -1.0, "-1")])
    assert "&lt;a&gt;" in text
    assert 'class="for" style="left:25.0%;width:75.0%"' in text
    assert 'class="against" style="left:0.0%;width:25.0%"' in text


def test_lines_with_one_point_or_one_value() -> None:
    assert "<circle" in lines([("", [(1, 0.5)], "red")], "step", "score")
    flat = lines([("", [(0, 2.0), (5, 2.0)], "red")], "step", "score")
    assert "nan" not in flat
