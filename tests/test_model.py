"""The whole path on small photos: train, save, load, predict, evaluate, resume."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import plait
from plait.data.cells import ErrorPolicy
from plait.package.format import write_manifest
from plait.pipeline.engine import Batch
from plait.training.train import run_folder, train
from plait.types import BadCell, PlaitError, Prediction, UsageError


def test_it_learns_what_the_photos_show(trained: Path, squares: Path) -> None:
    scores = plait.load(trained).evaluate(squares, split="val").scores["caption"]
    assert scores["bleu4"] > 0.7  # always the same caption is below 0.5
    low, high = scores.intervals["bleu4"]
    assert low <= scores["bleu4"] <= high


def test_a_prediction(trained: Path, squares: Path) -> None:
    model = plait.load(trained)
    found = model.predict(squares.with_name("000.png"), num=3, beam=3)
    assert "red square" in found.value
    assert len(found.alternatives) == 2
    assert found.details.attention["image"].shape == (len(found.details.words), 16)
    np.testing.assert_allclose(found.details.attention["image"].sum(-1), 1.0, rtol=1e-4)
    assert found.score < 0
    assert model.predict(squares.with_name("000.png").read_bytes()).value == found.value


def test_saved_and_loaded_predicts_the_same(trained: Path, squares: Path, tmp_path: Path) -> None:
    model = plait.load(trained)
    again = plait.load(model.save(tmp_path / "copy"))
    photos = sorted(squares.parent.glob("*.png"))[:20]
    one = [a["caption"].value for a in model.predict_batch(photos)]
    assert [a["caption"].value for a in again.predict_batch(photos)] == one
    # Batches do not matter.
    assert [model.predict(photo).value for photo in photos] == one


def test_half_precision_is_half_the_size(trained: Path, tmp_path: Path) -> None:
    model = plait.load(trained)
    full = model.save(tmp_path / "full") / "weights.safetensors"
    assert (trained / "weights.safetensors").stat().st_size < 0.55 * full.stat().st_size
    kept, loaded = load_file(trained / "weights.safetensors"), load_file(full)
    assert all(torch.equal(kept[name].float(), loaded[name]) for name in kept)


def predict_without_photo(model: plait.Model) -> Prediction:
    """A photo that can't be used is missing, if the policy says so."""
    (answers,) = model.predict_batch([b"no photo"], policy=ErrorPolicy("missing"))
    return answers[model.output]


@pytest.mark.parametrize("record", [None, "", "  ", {"image": None}, {}, float("nan")])
def test_a_record_without_an_input_is_refused(trained: Path, record: Any) -> None:
    with pytest.raises(UsageError, match="the record has no input; expected one or more of image"):
        plait.load(trained).predict(record)


@pytest.mark.parametrize("records", ["photo.jpg", Path("photo.jpg"), {"image": "a.jpg"}, None, 3])
def test_one_record_is_not_taken_for_several(trained: Path, records: Any) -> None:
    with pytest.raises(UsageError, match="is not a list of records; expected several records"):
        list(plait.load(trained).predict_batch(records))


def test_a_missing_photo_shows_the_missing_token(trained: Path, squares: Path) -> None:
    """An absent input looks like its learned token, not like a black photo; and is finite."""
    model = plait.load(trained)
    absent = predict_without_photo(model)
    assert np.isfinite(absent.score)
    with torch.no_grad():
        model.network.adapters["image"].missing.add_(3.0)
    assert predict_without_photo(model).score != absent.score
    here = squares.with_name("000.png")
    assert model.predict(here).value == plait.load(trained).predict(here).value


def test_training_twice_gives_the_same_weights(
    squares: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    weights = []
    for name in ("a", "b"):
        train("captioning", squares, tmp_path / name, overrides=small)
        weights.append(load_file(tmp_path / name / "weights.safetensors"))
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


SCRIPT = """
import sys
import threading
from plait.data.cells import ErrorPolicy
from plait.package.format import write_manifest
from plait.training.train import train
if __name__ == "__main__":
    train("captioning", sys.argv[1], sys.argv[2], overrides=sys.argv[3:])
"""


@pytest.mark.slow
def test_killed_and_resumed_equals_unbroken(
    squares: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    """``kill -9`` again and again, in both stages; the end is the same to the last bit."""
    settings = [
        *small,
        "inputs.image.representation.views=3",
        "training.epochs=6",
        "training.reinforce={epochs: 3, batch: 16, samples: 3}",
        "training.checkpoint_minutes=0.0005",
    ]
    train("captioning", squares, tmp_path / "whole", overrides=settings)
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(squares), str(tmp_path / "broken"), *settings]
    log = tmp_path / "broken.run" / "log.jsonl"
    kills, environment = 0, {**os.environ, "PATH": ""}  # no Java: METEOR would take seconds
    for wanted in (3, 14):  # lines in the log before the kill; the first stage has 12
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
        while process.poll() is None:
            if log.is_file() and len(log.read_text().splitlines()) >= wanted:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
                break
            time.sleep(0.01)
        assert process.stderr is not None
        process.stderr.close()
    assert kills == 2
    subprocess.run(command, check=True, capture_output=True, env=environment)
    whole = load_file(tmp_path / "whole" / "weights.safetensors")
    broken = load_file(tmp_path / "broken" / "weights.safetensors")
    assert all(torch.equal(whole[key], broken[key]) for key in whole)
    strip = ("time", "seconds")
    lines = [
        [{k: v for k, v in json.loads(line).items() if k not in strip}
         for line in (tmp_path / f"{name}.run" / "log.jsonl").read_text().splitlines()]
        for name in ("whole", "broken")
    ]  # fmt: skip
    assert lines[0] == lines[1]


def test_another_recipe_does_not_take_up_a_run(
    squares: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    train("captioning", squares, tmp_path / "model", overrides=small)
    with pytest.raises(UsageError, match="another recipe or table"):
        train("captioning", squares, tmp_path / "model", overrides=[*small, "seed=1"])


def test_a_run_that_never_began_is_no_obstacle(
    squares: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in squares.read_text().splitlines()]
    for row in rows:
        row["image"] = str(squares.parent / row["image"])
    rows[3]["image"] = "gone.png"
    table = tmp_path / "table.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(PlaitError, match=r"gone\.png"):
        train("captioning", table, tmp_path / "model", overrides=small)
    table.write_text("".join(json.dumps(row) + "\n" for row in rows if row != rows[3]))
    model = train("captioning", table, tmp_path / "model", overrides=small)
    assert model.scores["trained"]["records"] == 47


def test_a_loss_that_is_not_a_number_stops(
    squares: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(PlaitError, match=r"the loss became (nan|inf).*learning_rate"):
        train(
            "captioning", squares, tmp_path / "model",
            overrides=[*small, "training.learning_rate=1e30", "training.warmup=0",
                       "training.clip=0", "training.epochs=20"],
        )  # fmt: skip
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("name", ["recipe.yaml", "state.json", "weights.safetensors", "card.md"])
def test_a_package_with_a_file_missing(trained: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(trained, tmp_path / "copy")
    (tmp_path / "copy" / name).unlink()
    with pytest.raises(PlaitError, match=f"lacks {name}"):
        plait.load(tmp_path / "copy")


def test_a_package_of_another_version(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "copy")
    state = json.loads((tmp_path / "copy" / "state.json").read_text())
    for change, message in (
        ({"format": 99}, "format 99"),
        ({"preprocessing": "x"}, "preprocessing"),
    ):
        (tmp_path / "copy" / "state.json").write_text(json.dumps({**state, **change}))
        write_manifest(tmp_path / "copy")
        with pytest.raises(PlaitError, match=message):
            plait.load(tmp_path / "copy")


def test_damaged_weights(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "copy")
    path = tmp_path / "copy" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(PlaitError, match="damaged"):
        plait.load(tmp_path / "copy")


def test_unknown_model_and_input(trained: Path) -> None:
    with pytest.raises(UsageError, match="no model 'captoiner'"):
        plait.load("captoiner")
    with pytest.raises(UsageError, match="unknown input sound"):
        plait.load(trained).predict({"sound": "x.wav"})
    with pytest.raises(BadCell, match="expected a path or a file's bytes"):
        plait.load(trained).predict(np.zeros((8, 8, 3), np.uint8))
    assert repr(plait.load(trained)) == "<plait.Model 'captioning': image -> caption>"


def test_bad_cells_by_policy(
    squares: Path, small: tuple[str, ...], tmp_path: Path, trained: Path
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(squares.parent, folder)
    (folder / "003.png").write_bytes(b"no photo")
    (folder / "004.png").unlink()
    table = folder / "table.jsonl"
    with pytest.raises(PlaitError, match=r"row 4.*003\.png"):
        train("captioning", table, tmp_path / "stop", overrides=small)
    assert not (tmp_path / "stop").exists()
    model = train("captioning", table, tmp_path / "skip", overrides=small, on_bad="skip")
    assert model.scores["trained"]["records"] == 46
    found = plait.load(trained).evaluate(table, on_bad="skip", include_training=True)
    assert len(found.rows) == 58
    assert [line.split(":")[0] for line in found.failures] == [
        "row 4, column 'image'", "row 5, column 'image'",
    ]  # fmt: skip
    with pytest.raises(BadCell, match=r"003\.png"):
        plait.load(trained).predict(folder / "003.png")


def test_a_full_disk_leaves_nothing_half_written(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    model = plait.load(trained)
    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(PlaitError, match="No space left"):
        model.save(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_one_run_at_a_time(tmp_path: Path) -> None:
    recipe = plait.load_recipe("captioning")
    with (
        run_folder(tmp_path / "m", recipe, ["digest"]),
        pytest.raises(UsageError, match="another process"),
        run_folder(tmp_path / "m", recipe, ["digest"]),
    ):
        pass


def test_a_folder_with_other_files_is_never_replaced(
    trained: Path, squares: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "recipe.yaml").write_text("name: mine")
    (tmp_path / "mine" / "holiday.png").write_bytes(b"...")
    with pytest.raises(UsageError, match=r"holiday\.png"):
        plait.load(trained).save(tmp_path / "mine")
    with pytest.raises(UsageError, match=r"holiday\.png"):  # before anything is trained
        train("captioning", squares, tmp_path / "mine")
    assert (tmp_path / "mine" / "holiday.png").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine"]
    model = plait.load(trained)
    model.save(model.save(tmp_path / "again"))  # a package may be replaced


def test_batches_side_by_side_are_in_order(
    trained: Path, squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = plait.load(trained)
    photos = sorted(squares.parent.glob("*.png"))
    alone = [model.predict(photo) for photo in photos]
    monkeypatch.setattr("plait.model.BATCH", 7)
    monkeypatch.setattr(model.engine, "side_by_side", 3)
    threads: set[int] = set()
    second = threading.Event()
    run = model.engine.run

    def watched(batch: Batch) -> Any:
        threads.add(threading.get_ident())
        if len(threads) == 1:  # the first batch is the last to be answered of the first two
            assert second.wait(timeout=30)
        else:
            second.set()
        return run(batch)

    monkeypatch.setattr(model.engine, "run", watched)
    together = [answers["caption"] for answers in model.predict_batch(photos)]
    assert [a.value for a in together] == [a.value for a in alone]
    np.testing.assert_allclose([a.score for a in together], [a.score for a in alone], rtol=1e-4)
    assert threading.get_ident() not in threads
    threads.clear()
    list(model.predict_batch(photos[:7]))
    assert threads == {threading.get_ident()}  # a batch without others


def test_a_bad_photo_in_the_second_batch_leaves_the_answers_of_the_first(
    trained: Path, squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plait.model.BATCH", 2)
    photos = [squares.with_name(f"{n:03}.png") for n in range(2)]
    answers = plait.load(trained).predict_batch([*photos, "gone.png"])
    assert [next(answers)["caption"].value for _ in photos]
    with pytest.raises(BadCell, match=r"gone\.png is missing"):
        next(answers)


def test_a_reader_of_answers_keeps_its_threads(trained: Path, squares: Path) -> None:
    """Two iterators that take turns must not leave torch with one thread."""
    model, photo = plait.load(trained), squares.with_name("000.png")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first, second = model.predict_batch([photo]), model.predict_batch([photo])
        next(first), next(second)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 1}'])
def test_a_damaged_package_is_named(trained: Path, tmp_path: Path, text: str) -> None:
    for name in ("state.json", "recipe.yaml"):
        shutil.copytree(trained, tmp_path / name)
        (tmp_path / name / name).write_text(text)
        with pytest.raises(PlaitError, match=name) as error:
            plait.load(tmp_path / name)
        assert "\n" not in str(error.value)


def test_training_goes_on_from_a_model(
    trained: Path, squares: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    start = [*small, f"training.start={trained}", "training.learning_rate=0.0001"]
    first = plait.load(trained).evaluate(squares, split="val").scores["caption"]["cider"]
    model = train("captioning", squares, tmp_path / "more", overrides=[*start, "training.epochs=1"])
    assert model.scores["validation"]["scores"]["caption"]["cider"] >= first
    lines = (tmp_path / "more.run" / "log.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["stage"] == "start"
    with pytest.raises(UsageError, match=r"fit the recipe: .*size mismatch"):
        train("captioning", squares, tmp_path / "other", overrides=[*start, "fusion.width=64"])


@pytest.mark.slow
def test_the_second_stage_leaves_pretrained_layers_alone(
    squares: Path, small: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = [
        *small,
        "inputs.image.representation={kind: cnn, train: last-blocks, blocks: 1, size: 64}",
        "training.epochs=1",
        "training.averaging=0",
    ]
    second = [*settings, "training.reinforce.epochs=1"]
    models = {
        name: train("captioning", squares, tmp_path / name, overrides=overrides)
        for name, overrides in {
            "first": settings,
            "frozen": second,
            "slow": [*second, "training.reinforce.encoder_rate=0.5"],
        }.items()
    }
    few = "48 training records are few for training pretrained layers"
    assert sum(few in record.message for record in caplog.records) == len(models)
    weights = {name: load_file(tmp_path / f"{name}.run" / "best.safetensors") for name in models}
    last = {
        name: torch.load(tmp_path / f"{name}.run" / "checkpoint.pt", weights_only=True)["weights"]
        for name in models
    }
    encoder = [name for name in weights["first"] if name.startswith("encoders.image.layers")]
    assert encoder
    for name in encoder:
        assert torch.equal(last["frozen"][name], weights["first"][name])
    assert any(not torch.equal(last["slow"][name], weights["first"][name]) for name in encoder)
    others = set(weights["first"]) - set(encoder)
    assert any(not torch.equal(last["frozen"][name], weights["first"][name]) for name in others)


def test_nothing_to_train_is_an_error() -> None:
    with pytest.raises(UsageError, match="trains nothing"):
        plait.load_recipe("captioning", ["training.epochs=0"])


def test_a_blank_example_is_prepared_once(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = plait.load(trained), []
    encoder = model.network.encoder("image")
    whole = encoder.prepare
    monkeypatch.setattr(encoder, "prepare", lambda items: calls.append(len(items)) or whole(items))
    assert predict_without_photo(model).value == predict_without_photo(model).value
    assert calls == [1]


def test_one_prediction_takes_one_thread(
    trained: Path, squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen, before = plait.load(trained), [], torch.get_num_threads()
    whole = model.engine.run

    def spy(*args: object, **options: object) -> object:
        seen.append(torch.get_num_threads())
        return whole(*args, **options)

    monkeypatch.setattr(model.engine, "run", spy)
    try:
        torch.set_num_threads(2)
        model.predict(squares.with_name("000.png"))
        list(model.predict_batch([squares.with_name("000.png")] * 5))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 2]
