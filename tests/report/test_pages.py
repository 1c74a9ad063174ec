from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from plait.config import registry
from plait.data.tables import Table
from plait.evaluation.evaluate import Evaluation, Seen
from plait.outputs.text.metrics.captions import CaptionMetrics
from plait.report.best_and_worst import MAX_SIDE, best_and_worst, choose
from plait.types import Prediction, UsageError

REFERENCES = [
    ["a red dog runs over the green grass", "the dog is red"],
    ["two children play with a yellow ball", "children & a <ball>"],
    ["a man rides his bicycle down a hill", "a cyclist goes down"],
    ["a boat lies on the quiet lake", "there is a boat on the water"],
]
# The first is perfect, the second shares some words, the third fewer, the last none.
CAPTIONS = [
    "a red dog runs over the green grass",
    "two children play in the sand",
    "a man is <script>alert(1)</script>",
    "nothing seen whatsoever here",
]
VOID = {"meta", "img", "br"}


@pytest.fixture
def found(tmp_path: Path) -> Evaluation:
    for i in range(3):
        Image.new("RGB", (640, 400), (60 * i, 100, 150)).save(tmp_path / f"photo{i}.png")
    stream = io.BytesIO()
    Image.new("RGB", (30, 20), (9, 9, 9)).save(stream, "PNG")
    # Row 1 is not among the records: positions and rows differ. The last photo is bytes.
    cells = ["photo0.png", "gone.png", "photo1.png", "photo2.png", stream.getvalue()]
    table = Table(tmp_path / "t <able>.csv", tmp_path, {"image": cells, "caption": ["x"] * 5})
    return Evaluation(
        table,
        {"inputs.image": "image", "outputs.caption": "caption"},
        [0, 2, 3, 4],
        {"caption": [Prediction(caption, -1.0) for caption in CAPTIONS]},
        {"caption": REFERENCES},
        {"caption": CaptionMetrics(CAPTIONS, REFERENCES).scores()},
        ["row 2, column 'image': gone"],
        outputs={"caption": registry.build("output", {"kind": "text"})},
    )


class Balance(HTMLParser):
    """Fails on a tag closed out of turn; keeps what is loaded and what is named by tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def written(found: Evaluation, tmp_path: Path, count: int = 10) -> str:
    path = tmp_path / "page" / "index.html"
    best_and_worst(found, path, count)
    assert [p.name for p in path.parent.iterdir()] == ["index.html"]
    return path.read_text(encoding="utf-8")


def test_best_come_first_then_the_worst_from_the_bottom(found: Evaluation, tmp_path: Path) -> None:
    page = written(found, tmp_path)
    order = CaptionMetrics(CAPTIONS, REFERENCES).ranked()
    assert order[0] == 0
    assert order[-1] == 3
    shown = re.findall(r"<figcaption><p>(.*?)</p>", page)
    wanted = [CAPTIONS[i] for i in (order[0], order[1], order[3], order[2])]
    assert [s.replace("&lt;", "<").replace("&gt;", ">") for s in shown] == wanted
    best, worst = page.split('<section class="bad">')
    assert "The best 2" in best
    assert "The worst 2" in worst


def test_each_photo_has_its_own_score_and_all_its_references(
    found: Evaluation, tmp_path: Path
) -> None:
    page = written(found, tmp_path, count=1)
    cards = page.split("<figure>")[1:]
    assert len(cards) == 2
    cider = CaptionMetrics(CAPTIONS, REFERENCES).rightness()[1]
    for card, position in zip(cards, (0, 3), strict=True):
        assert f"CIDEr-D {cider[position]:.3f}" in card
        assert re.findall("<li>(.*?)</li>", card) == REFERENCES[position]
    assert "photo0.png, row 1" in cards[0]
    assert "row 5" in cards[1]  # the record's row in the table, not its position


def test_scores_stand_on_top_with_their_intervals(found: Evaluation, tmp_path: Path) -> None:
    head = written(found, tmp_path).split("</header>")[0]
    scores = found.scores["caption"]
    low, high = scores.intervals["cider"]
    assert f"<dt>CIDEr-D</dt><dd>{scores['cider']:.3f}</dd>" in head
    assert f"{low:.3f} to {high:.3f}" in head
    assert "METEOR" not in head  # it was not computed
    assert "bad cells: 1" in head
    assert "the model " not in head  # that remembers no records
    found.seen = Seen(0, 0)
    assert "; the model learned from none of these records</p>" in written(found, tmp_path)


def test_everything_from_data_is_escaped_and_tags_are_closed_in_turn(
    found: Evaluation, tmp_path: Path
) -> None:
    page = Balance(written(found, tmp_path))
    assert "script" not in page.tags
    assert "able" not in page.tags
    assert "a man is <script>alert(1)</script>" in page.text
    assert "children & a <ball>" in page.text


def test_photos_are_small_jpegs_inside_the_page_which_loads_nothing_else(
    found: Evaluation, tmp_path: Path
) -> None:
    page = written(found, tmp_path)
    sources = Balance(page).sources
    assert len(sources) == 4
    sizes = []
    for source in sources:
        kind, data = source.split(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.format == "JPEG"
            sizes.append(image.size)
    assert sizes.count((MAX_SIDE, 200)) == 3  # 640 × 400, its shape kept
    assert (30, 20) in sizes  # never enlarged
    assert "http" not in page
    assert "url(" not in page


def test_a_photo_that_is_gone_leaves_the_rest(found: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "photo0.png").unlink()
    page = written(found, tmp_path)
    assert page.count("no photo") == 1
    assert len(Balance(page).sources) == 3


def test_no_photo_is_both_best_and_worst() -> None:
    assert choose([3, 1, 2], 10) == ([3, 1], [2])
    assert choose([5], 10) == ([5], [])
    assert choose(range(30), 10) == (list(range(10)), list(range(29, 19, -1)))


def test_outputs_without_captions_have_no_page(found: Evaluation, tmp_path: Path) -> None:
    found.outputs = {"sentiment": registry.build("output", {"kind": "category"})}
    with pytest.raises(UsageError, match="output of captions"):
        best_and_worst(found, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
