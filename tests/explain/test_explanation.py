"""Explanations of a model that is known to need a colour and a word."""

from __future__ import annotations

import builtins
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from untrained import make_model

from plait.data.cells import ErrorPolicy
from plait.evaluation.predictions import predict_batch
from plait.explain.explainer import Probe, integrated_gradients
from plait.explain.explanation import GRADIENTS, OCCLUSION, Explanation
from plait.model import Model
from plait.runtime.engines import load
from plait.types import PlaitError, Tokens

Record = dict[str, str]


@pytest.fixture(scope="module")
def record(both_model: Model, both_table: Path) -> Record:
    """A green square of the validation rows, and the place that the model doesn't take for granted
    where it is told none."""
    photo = {"photo": "11.png"}
    usual = both_model.predict(photo, root=both_table.parent).value
    place = "left" if usual.endswith("right") else "right"
    return photo | {"words": f"number 2 it is 13 {place} 41 it 66 is"}


@pytest.fixture(scope="module")
def explained(both_model: Model, both_table: Path, record: Record) -> Explanation:
    return both_model.explain(record, root=both_table.parent, table=both_table)


def probe_of(model: Model, root: Path, record: Record) -> Probe:
    readers = {name: model.reader(name, root) for name in record}
    segments = {name: r.modality.segments(record[name], root) for name, r in readers.items()}
    [batch] = model._batches([record], root, None)
    output, options = model.parts.outputs["answer"], model.decoding_options()
    [prediction] = predict_batch(model.parts, model.engine, batch, options)["answer"]
    return Probe(batch, segments, readers, "answer", output, prediction, options["answer"])


def test_the_word_that_matters_is_the_heaviest(explained: Explanation, record: Record) -> None:
    words = explained.inputs["words"]
    assert words.segments.names == tuple(record["words"].split())
    weights = words.methods[OCCLUSION].weights
    assert int(weights.argmax()) == 5
    assert GRADIENTS not in words.methods  # a bag of words is one token


def test_occlusion_is_what_the_answer_loses(
    explained: Explanation, both_model: Model, both_table: Path, record: Record
) -> None:
    without = record | {"words": "number 2 it is 13 41 it 66 is"}
    [both] = both_model._batches([record, without], both_table.parent, None)
    answer = explained.prediction.value
    whole, less = both_model.engine.support(both, "answer", [answer, answer]).tolist()
    weight = explained.inputs["words"].methods[OCCLUSION].weights[5]
    assert weight == pytest.approx(whole - less, abs=1e-4)
    assert weight > 0.3


def test_gradients_find_the_square(explained: Explanation) -> None:
    """It lies in the left third, a third of the way down: in tokens of 16 pixels that cover
    the tiles of rows 1 to 4, columns 0 to 2."""
    weights = explained.inputs["photo"].methods[GRADIENTS].weights.reshape(6, 6)
    inside = np.zeros((6, 6), bool)
    inside[1:5, :3] = True
    assert np.abs(weights[inside]).mean() > 3 * np.abs(weights[~inside]).mean()


def test_gradients_sum_to_what_the_tokens_are_worth(
    both_model: Model, both_table: Path, record: Record
) -> None:
    probe, network = probe_of(both_model, both_table.parent, record), both_model.network
    found = integrated_gradients(probe, network)
    prepared, lengths = network.tensors(probe.batch)
    tokens = network.tokens(prepared, lengths)
    nothing = {
        name: Tokens(network.adapters[name].missing.expand_as(part.values), part.mask)
        for name, part in tokens.items()
    }
    with torch.no_grad():
        ends = [
            network.head("answer").support(
                network.fusion(parts, {name: length > 0 for name, length in lengths.items()}),
                [probe.answer],
            )
            for parts in (tokens, nothing)
        ]  # fmt: skip
    assert found.total == pytest.approx(float(ends[0] - ends[1]), abs=1e-6)
    assert abs(found.total) > 0.2
    assert found.gap < 0.02 * abs(found.total)
    assert {name: len(w) for name, w in found.tokens.items()} == {"photo": 16, "words": 1}


def test_curves_run_from_everything_to_nothing_and_beat_chance(explained: Explanation) -> None:
    words = explained.inputs["words"]
    own = words.methods[OCCLUSION].curves
    assert own.deletion.points[0] == pytest.approx(own.insertion.points[-1])
    assert own.deletion.points[-1] == pytest.approx(own.insertion.points[0])
    assert own.deletion.points[0] == pytest.approx(explained.prediction.score, abs=1e-3)
    assert own.deletion.area < words.random_order.deletion.area
    assert own.insertion.area > words.random_order.insertion.area


def test_a_model_that_has_learned_nothing_explains_otherwise(explained: Explanation) -> None:
    for seen in explained.inputs.values():
        for method in seen.methods.values():
            assert method.similarity is not None
            assert method.similarity < 0.9


def test_shares_and_what_is_enough(explained: Explanation) -> None:
    assert set(explained.shares) == {"photo", "words"}
    assert explained.shares["words"] > 0.1
    ((pair, together),) = explained.interactions.items()
    assert pair == ("photo", "words")
    assert abs(together) > 0.01


def test_the_smallest_sets_keep_the_answer_and_smaller_ones_do_not(
    explained: Explanation, both_model: Model, both_table: Path, record: Record
) -> None:
    answer = explained.prediction
    bad = {"photo": b"no photo", "words": 1j}  # missing, by the policy
    keep = {}
    for names in ((), ("photo",), ("words",), ("photo", "words")):
        cells = {name: record[name] if name in names else bad[name] for name in record}
        (found,) = both_model.predict_batch(
            [cells], root=both_table.parent, policy=ErrorPolicy("missing")
        )
        keep[names] = found["answer"].value == answer.value
    size = min(len(names) for names, kept in keep.items() if kept)
    assert list(explained.smallest_sets) == [
        n for n, kept in keep.items() if kept and len(n) == size
    ]


def test_the_nearest_training_records(explained: Explanation, both_table: Path) -> None:
    rows = [json.loads(line) for line in both_table.read_text().splitlines()]
    likeness = [near.similarity for near in explained.nearest]
    assert likeness == sorted(likeness, reverse=True)
    assert all(rows[near.row - 1]["split"] == "train" for near in explained.nearest)
    assert {near.answer for near in explained.nearest} == {explained.prediction.value}
    assert all(near.pixels is not None and near.text for near in explained.nearest)
    assert explained.nearest_other
    assert explained.prediction.value not in {near.answer for near in explained.nearest_other}
    assert rows[explained.nearest_other[0].row - 1]["answer"] == explained.nearest_other[0].answer


def test_a_missing_input_is_not_explained(
    both_model: Model, both_table: Path, record: Record
) -> None:
    found = both_model.explain({"words": record["words"]}, root=both_table.parent)
    assert list(found.inputs) == list(found.shares) == ["words"]
    assert not found.interactions


def test_the_smallest_sets_as_a_sentence(explained: Explanation) -> None:
    for smallest, words in (
        ([()], "Without any input the model gives the same answer."),
        ([("photo",), ("words",)], "With photo or words alone the model keeps this answer."),
        ([("photo", "words")], "It takes all inputs to get this answer."),
    ):
        assert replace(explained, smallest_sets=smallest).enough == words


def test_saved_as_a_page_a_picture_and_numbers(explained: Explanation, tmp_path: Path) -> None:
    explained.save(tmp_path / "why.png")
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")
    explained.save(tmp_path / "why.json")
    found = json.loads((tmp_path / "why.json").read_text())
    assert found["answer"] == explained.prediction.value
    assert len(found["inputs"]["photo"]["methods"]["occlusion"]["weights"]) == 36
    assert found["inputs"]["words"]["random_order"]["deletion"] > 0
    explained.save(tmp_path / "why.html")
    text = (tmp_path / "why.html").read_text()
    assert "Integrated gradients" in text
    check_alone(text)


class Links(HTMLParser):
    """Everything that a page would load or lead to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [v or "" for name, v in attrs if name in ("src", "href", "action", "data")]


def check_alone(text: str) -> None:
    """The page loads nothing and links to nothing but itself."""
    links = Links()
    links.feed(text)
    assert all(link.startswith(("data:image/jpeg;base64,", "#")) for link in links.found)
    assert "link" not in links.tags
    assert "url(" not in text
    assert "http://" not in text.replace("http://www.w3.org/", "")
    assert "https://" not in text


def test_what_comes_from_a_record_is_escaped(
    both_model: Model, both_table: Path, tmp_path: Path
) -> None:
    words = 'left <script>alert(1)</script> & "more"'
    both_model.explain({"words": words}, root=both_table.parent).save(tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    assert "<script" not in text
    assert "&lt;" in text


def test_without_captum_the_mend_is_named(
    both_model: Model, both_table: Path, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("captum"):
            raise ImportError("no captum")
        return real(name, *args, **kwargs)

    monkeypatch.setattr("plait.config.registry.importlib.import_module", lambda name: refuse(name))
    with pytest.raises(PlaitError, match=r"pip install 'plait\[explain\]'"):
        both_model.explain(record, root=both_table.parent)


def test_word_by_word(trained: Path, squares: Path, tmp_path: Path) -> None:
    model = load(trained)
    found = model.explain(squares.with_name("000.png"))
    said = [step.chosen.value for step in found.steps]
    assert " ".join(said) == found.prediction.value
    colour = said.index("red")
    relied = [step.reliance["image"] for step in found.steps]
    assert relied[colour] > relied[0]  # "a" needs no photo
    others = {other.value for other in found.steps[colour].alternatives}
    assert others & {"green", "blue"}
    assert found.steps[colour].chosen.score > 0.5
    steps = found.inputs["image"].methods[OCCLUSION].steps
    assert steps.shape == (len(said), 36)
    found.save(tmp_path / "why.html")
    text = (tmp_path / "why.html").read_text()
    assert text.count("<figure>") == len(said) + 1 + len(found.inputs["image"].methods)
    check_alone(text)


def test_of_three_inputs_with_one_missing_the_others_have_a_pair() -> None:
    words = {"modality": "text", "representation": {"kind": "bag-of-words", "min_count": 1}}
    names, cells = ["one", "two", "three"], ["red and blue", "blue or green"]
    model = make_model(
        {name: {**words, "column": name} for name in names},
        {"answer": {"kind": "category", "column": "answer"}},
        {**dict.fromkeys(names, cells), "answer": ["yes", "no"]},
        {"kind": "early", "width": 16},
    )
    found = model.explain({"one": cells[0], "three": cells[1]})
    assert set(found.shares) == {"one", "three"}
    assert list(found.interactions) == [("one", "three")]
