"""Several inputs: a colour told by a photo, a place told by a text; neither is enough alone."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from samples import PLACES

import plait
from plait.cli import main as cli
from plait.cli.show import show_scores
from plait.data.cells import ErrorPolicy
from plait.data.tables import read_table
from plait.evaluation.evaluate import Seen
from plait.model import Model
from plait.pipeline.cache import FeatureSpace
from plait.pipeline.inputs import Features
from plait.pipeline.records import Records
from plait.types import PlaitError, UsageError


@pytest.fixture(scope="module")
def table(both_folder: Path) -> Path:
    return both_folder / "table.jsonl"


@pytest.fixture(scope="module")
def model(both_folder: Path) -> Model:
    return plait.load(both_folder / "model")


def rows_of(table: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in table.read_text().splitlines()]


def test_both_are_needed_and_each_alone_is_half(model: Model, table: Path) -> None:
    found = model.evaluate(table, split="val", subsets=True)
    accuracy = {
        subset: again.scores["answer"]["accuracy"] for subset, again in found.subsets.items()
    }
    assert list(accuracy) == [("photo",), ("words",), ("photo", "words")]
    assert accuracy["photo", "words"] >= 0.95
    assert 0.3 <= accuracy["photo",] <= 0.7
    assert 0.3 <= accuracy["words",] <= 0.7
    assert found.scores["answer"]["accuracy"] == accuracy["photo", "words"]
    assert len(found.to_json()["subsets"]) == 3


def test_with_another_record_s_input_it_is_as_good_as_without(model: Model, table: Path) -> None:
    found = model.evaluate(table, split="val", swapped=True)
    swapped = {name: again.scores["answer"]["accuracy"] for name, again in found.swapped.items()}
    assert set(swapped) == {"photo", "words"}
    # Of two colours and two places that are equally common, half are still right.
    assert all(0.2 <= value <= 0.8 for value in swapped.values())
    told = found.to_json()["swapped"]
    assert [part["input"] for part in told] == ["photo", "words"]
    assert told[0]["scores"]["answer"]["accuracy"] == swapped["photo"]
    lost = found.swapped["photo"].lost["answer"]
    low, high = lost.interval
    assert lost.value == pytest.approx(found.scores["answer"]["accuracy"] - swapped["photo"])
    assert 0 < low < lost.value < high
    assert told[0]["lost"]["answer"]["interval"] == [low, high]


def test_swapping_gives_no_record_its_own(tmp_path: Path) -> None:
    space = FeatureSpace("swap", (1,), folder=tmp_path)
    keys = ["a", "b", "a", None, "c", "b", "a"]
    features = Features(space, list(keys), 1)
    records = Records({"x": features, "y": features}, {}, 7)
    swapped = records.with_swapped("x")
    found = swapped.inputs["x"].keys
    assert all(other is not None and other != own for own, other in zip(keys, found, strict=True))
    assert swapped.inputs["y"] == records.inputs["y"]
    alike = Records({"x": Features(space, ["a", "a"], 1)}, {}, 2)
    assert alike.with_swapped("x").inputs["x"].keys == ["a", "a"]  # there is no other


def test_shares_sum_to_what_all_inputs_add(model: Model, table: Path) -> None:
    lines = [json.loads(line) for line in table.read_text().splitlines()[:8]]
    records = [{name: line[name] for name in ("photo", "words")} for line in lines]
    found = [a["answer"] for a in model.predict_batch(records, root=table.parent, shares=True)]
    (answers,) = model.predict_batch([{"photo": b"none"}], policy=ErrorPolicy("missing"))
    nothing = answers["answer"].details.probabilities
    for prediction in found:
        assert prediction.score > 0.8
        added = prediction.score - nothing[prediction.value]
        assert sum(prediction.shares.values()) == pytest.approx(added, abs=1e-4)
    for name in ("photo", "words"):  # both are needed
        assert sum(p.shares[name] for p in found) / len(found) > 0.1
    alone = model.predict({"words": lines[0]["words"]}, shares=True)
    assert alone.shares["photo"] == pytest.approx(0, abs=1e-6)
    assert alone.shares["words"] != 0


def test_what_a_record_is_is_said(model: Model) -> None:
    with pytest.raises(
        UsageError, match="the record has no input; expected one or more of photo, words"
    ):
        model.predict({})
    record = r"\{'photo': 'photo\.jpg', 'words': 'a few words'\}"
    with pytest.raises(UsageError, match=f"takes photo, words; expected a mapping .*as {record}"):
        model.predict("x.png")


def test_an_evaluation_tells_its_scores(model: Model, table: Path) -> None:
    found = model.evaluate(table, split="val")
    accuracy = found.scores["answer"]["accuracy"]
    assert str(found).startswith(f"answer, 32 records: accuracy {accuracy:.3f}, ")
    assert repr(found) == f"<plait.Evaluation {found}>"


def test_shares_of_each_row_are_written(
    model: Model, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.save(tmp_path / "model")

    def predict(name: str, *options: str) -> str:
        out = tmp_path / name
        args = ["plait", "predict", str(tmp_path / "model"), str(table), "--out", str(out)]
        monkeypatch.setattr(sys, "argv", [*args, *options])
        with pytest.raises(SystemExit):
            cli.main()
        return out.read_text()

    rows = json.loads(predict("out.json", "--shares"))
    record = {name: rows_of(table)[5][name] for name in ("photo", "words")}
    found = model.predict(record, root=table.parent, shares=True)
    assert rows[5]["shares"] == pytest.approx(found.shares, abs=2e-4)
    cells = list(csv.DictReader(predict("out.csv", "--shares").splitlines()))
    shown = ["row", "photo", "words", "answer", "score", "share_photo", "share_words"]
    assert list(cells[5]) == shown
    assert {name: cells[5][name] for name in record} == record
    shares = {name: float(cells[5][f"share_{name}"]) for name in ("photo", "words")}
    assert shares == rows[5]["shares"]
    assert "share" not in predict("out.csv")


def test_shares_over_a_table(model: Model, table: Path) -> None:
    found = model.evaluate(table, split="val", shares=True)
    shares = found.to_json()["shares"]["answer"]
    assert list(shares) == ["photo", "words"]
    sizes = [abs(p.shares["photo"]) for p in found.predictions["answer"]]
    assert shares["photo"]["size"] == pytest.approx(sum(sizes) / len(sizes))
    assert "shares" not in model.evaluate(table, split="val").to_json()


def test_scores_with_inputs_made_worse(model: Model, table: Path) -> None:
    found = model.evaluate(table, split="val", corruptions=True)
    named = {(c.input, c.how.kind) for c in found.corrupted}
    assert named == {("photo", "noise"), ("photo", "blur"), ("words", "dropped words")}
    assert len(found.corrupted) == 15
    whole = found.scores["answer"]
    assert all(c.scores["answer"]["accuracy"] <= whole["accuracy"] for c in found.corrupted)
    losses = {c.scores["answer"]["log_loss"] for c in found.corrupted if c.input == "words"}
    assert len(losses - {whole["log_loss"]}) > 1  # other words are left out at each strength
    assert len(found.to_json()["corrupted"]) == 15


def test_a_bad_cell_is_named_once_however_often_it_is_met(model: Model, table: Path) -> None:
    rows = read_table(table).where(range(8))
    photos = ["gone.png", *rows.column("photo")[1:]]
    rows = replace(rows, columns={**rows.columns, "photo": photos})
    found = model.evaluate(rows, corruptions=True, on_bad="missing")
    assert len(found.corrupted) == 15
    assert len(found.failures) == 1


def test_a_missing_input_leaves_what_the_other_tells(model: Model, table: Path) -> None:
    record = json.loads(table.read_text().splitlines()[0])
    colour, place = record["answer"].split(" ", 1)
    for name, told in (("photo", colour), ("words", place)):
        found = model.predict({name: record[name]}, root=table.parent, num=4)
        probable = sum(p for answer, p in found.details.probabilities.items() if told in answer)
        assert probable > 0.75


def test_a_column_that_is_not_there_is_a_missing_input(
    model: Model, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from plait.tasks.predict import PredictSettings, predict_table

    model.save(tmp_path / "model")
    place = next(iter(PLACES))
    (tmp_path / "words.csv").write_text(f"words\nit is {place} number 3\n")
    out = tmp_path / "out.json"
    settings = PredictSettings({"num": 2}, out)
    predict_table(str(tmp_path / "model"), str(tmp_path / "words.csv"), settings)
    (row,) = json.loads(out.read_text())
    assert place in row["answer"]
    assert place in row["alternatives"][0]["answer"]
    (tmp_path / "none.csv").write_text("number\n3\n")
    with pytest.raises(
        PlaitError,
        match=r"no column for any input; expected photo \(image\), words \(text\); it has",
    ):
        predict_table(str(tmp_path / "model"), str(tmp_path / "none.csv"), settings)


def test_a_column_that_is_not_there_is_scored_as_a_missing_input(
    model: Model, table: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [line for line in rows_of(table) if line["split"] == "val"]

    def without(*names: str) -> Path:
        left = [{k: v for k, v in row.items() if k not in names} for row in rows]
        path = tmp_path / "fewer.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in left))
        return path

    whole = model.evaluate(table, split="val", subsets=True)
    for policy in ("stop", "skip"):
        caplog.clear()
        found = model.evaluate(without("photo"), on_bad=policy, shares=True)  # type: ignore[arg-type]
        assert [record.message for record in caplog.records] == [
            f"{tmp_path / 'fewer.jsonl'} has no column for the input 'photo', "
            "which is treated as missing"
        ]
        assert (len(found.rows), found.failures) == (len(rows), [])
        assert (
            found.scores["answer"].to_json() == whole.subsets["words",].scores["answer"].to_json()
        )
        assert "inputs.photo" not in found.to_json()["columns"]
        assert found.shares()["answer"]["photo"]["size"] == pytest.approx(0, abs=1e-6)
    # What is to be answered is no input, however well it would fit.
    with pytest.raises(UsageError, match="no column for any input"):
        model.evaluate(without("photo", "words"))
    with pytest.raises(UsageError, match=r"no column .pictures. for inputs\.photo"):
        model.evaluate(without("photo"), columns={"photo": "pictures"})
    with pytest.raises(
        UsageError, match=r"no column of .* is called 'answer' or holds category data"
    ):
        model.evaluate(without("answer", "split"))


def test_a_column_by_another_spelling_is_hinted_at(
    model: Model, table: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def renamed(**names: str) -> Path:
        rows = [{names.get(k, k): v for k, v in row.items()} for row in rows_of(table)]
        (tmp_path / "ren.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:4]))
        return tmp_path / "ren.jsonl"

    with pytest.raises(UsageError) as error:
        model.evaluate(renamed(answer="anser", split="part"))
    assert str(error.value) == (
        f"the target 'answer' is not in {tmp_path / 'ren.jsonl'}; did you mean 'anser'? "
        "name it with --column answer=anser"
    )
    # A number is no photo, so that the column is not guessed.
    rows = [{"foto": 1, "words": "it is left", "answer": "red left"}]
    (tmp_path / "foto.jsonl").write_text(json.dumps(rows[0]) + "\n")
    model.evaluate(tmp_path / "foto.jsonl")
    hint = "treated as missing; did you mean 'foto'? name it with --column photo=foto"
    assert caplog.records[0].message.endswith(hint)


def test_records_that_it_learned_from_are_left_out(
    model: Model,
    table: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    what = "of these 96 records, the model learned from 64 and was chosen by 32"
    with pytest.raises(PlaitError, match=f"{what}: none is left to score"):
        model.evaluate(table)
    found = model.evaluate(table, include_training=True)
    assert len(found.rows) == 96
    assert found.to_json()["seen"] == {"training": 64, "validation": 32, "left_out": False}
    assert str(found.seen) == "the model learned from 64 and was chosen by 32 of these records"
    assert [record.message for record in caplog.records] == [what]
    caplog.clear()
    found = model.evaluate(table, split="val")
    assert (len(found.rows), found.seen) == (32, Seen(0, 32))
    assert [record.message for record in caplog.records] == [
        "of these 32 records, the model was chosen by 32"
    ]
    caplog.clear()
    # Their content tells, whatever the table, its order and its other columns.
    rows = [{k: v for k, v in line.items() if k != "split"} for line in rows_of(table)]
    new = [{**rows[at], "words": f"{rows[at]['words']} and more"} for at in range(3)]
    mixed = table.parent / "mixed.jsonl"
    mixed.write_text("".join(json.dumps(row) + "\n" for row in [*new, *reversed(rows)]))
    found = model.evaluate(mixed)
    assert (found.rows, found.seen) == ([0, 1, 2], Seen(64, 32, left_out=True))
    show_scores(model.recipe, found.to_json(), None)
    shown = capsys.readouterr().out
    assert "learned from 64 and was chosen by 32 other records of the table, which are" in shown
    (said,) = [record.message for record in caplog.records]
    assert said.startswith(
        "of these 99 records, the model learned from 64 and was chosen by 32; they are left out"
    )


def test_a_package_without_digests_warns_of_the_table_it_was_trained_on(
    model: Model, table: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As packages written before plait 0.2."""
    old = Model(model.recipe, model.parts, model.engine)
    found = old.evaluate(table)
    assert len(found.rows) == 96
    assert "seen" not in found.to_json()
    assert [record.message for record in caplog.records] == [
        "the model learned from 64 of these 96 rows: --split val scores only the others"
    ]


def test_rows_without_their_photos_are_not_split_anew(
    model: Model, table: Path, tmp_path: Path
) -> None:
    """By ratios they would be: rows that were learned from would be scored."""
    rows = [{k: line[k] for k in ("words", "answer")} for line in rows_of(table)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UsageError, match="without the input 'photo' rows can't be split"):
        model.evaluate(tmp_path / "t.jsonl", split="val")


def test_modality_dropout_never_takes_the_last_input(model: Model) -> None:
    import torch

    network = model.network
    network.modality_dropout = 0.5
    lengths = {"photo": torch.ones(4000).long(), "words": torch.full((4000,), 3)}
    lengths["words"][:1000] = 0
    torch.manual_seed(0)
    network.train()
    kept = network._with_dropped_inputs(lengths)
    network.eval()
    there = torch.stack([kept["photo"] > 0, kept["words"] > 0], dim=1)
    assert there.any(dim=1).all()
    assert there[:1000, 0].all()  # its only one
    # Of two inputs one is dropped unless both are kept: 1 - 0.5².
    assert (there[1000:].sum(dim=1) == 1).float().mean() == pytest.approx(0.75, abs=0.03)
    assert set(kept["words"].tolist()) == {0, 3}
    assert network._with_dropped_inputs(lengths) is lengths  # never in use
