"""The exported folder, the engines' choice, and 8 bits."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import onnx
import pytest
from samples import draw

import plait
from plait.cli.main import app
from plait.runtime import load
from plait.runtime.engines import FORMAT
from plait.runtime.engines import load as open_model
from plait.runtime.export import export
from plait.runtime.quantise import quantise
from plait.types import PlaitError, UsageError
from plait.util.files import cache_folder

GRAPHS = {"network.onnx", "prepare-image.onnx", "step-caption.onnx"}
FILES = {"model.json", "recipe.yaml", "state.json", "records.safetensors", *GRAPHS}


@pytest.fixture(scope="module")
def folder(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(plait.load(trained), tmp_path_factory.mktemp("export") / "out")


def test_the_folder_holds_standard_graphs_and_one_json(folder: Path) -> None:
    assert {p.name for p in folder.iterdir()} == FILES
    for name in GRAPHS:
        graph = onnx.load(folder / name)
        onnx.checker.check_model(graph, full_check=True)
        assert {node.domain for node in graph.graph.node} == {""}  # no operations of onnxruntime's
    about = json.loads((folder / "model.json").read_text())
    assert about["inputs"]["image"]["prepare"] == "prepare-image.onnx"
    assert about["outputs"]["caption"]["graph"] == "step-caption.onnx"
    model = load(folder)
    assert str(model) == "<plait.Model 'captioning': image -> caption>"
    assert model.engine.name == "onnx"
    assert model.decoding_options()["caption"].model_dump()["beam"] == 3


def test_the_batch_is_open(folder: Path) -> None:
    graph = onnx.load(folder / "network.onnx").graph
    photos = next(item for item in graph.input if item.name == "image")
    sizes = photos.type.tensor_type.shape.dim
    assert sizes[0].dim_param
    assert [size.dim_value for size in sizes[1:]] == [3, 64, 64]


def test_only_an_export_is_replaced(
    trained: Path, folder: Path, squares: Path, tmp_path: Path
) -> None:
    model = plait.load(trained)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files than an exported model"):
        export(model, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    export(model, tmp_path / "again")
    (tmp_path / "again" / "network.onnx").write_text("garbage")
    with pytest.raises(PlaitError, match=r"network.onnx can't be run: .*; export the model again"):
        load(tmp_path / "again").predict(next(squares.parent.glob("*.png")))
    export(model, tmp_path / "again")
    assert load(tmp_path / "again").name == "captioning"


def test_what_is_no_exported_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not an exported model"):
        load(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(PlaitError, match=r"has format 99; expected format"):
        load(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({"format": FORMAT}))
    with pytest.raises(PlaitError, match=r"is damaged: .*recipe\.yaml.*; export the model again"):
        load(tmp_path)


def test_an_engine_exports_a_package_once(
    trained: Path, squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = str(next(squares.parent.glob("*.png")))
    model = open_model(str(trained), "onnx")
    assert "exporting" in capsys.readouterr().err
    again = open_model(str(trained), "onnx")
    assert capsys.readouterr().err == ""
    [found], [wanted] = again.predict_batch([photo]), plait.load(trained).predict_batch([photo])
    assert found["caption"].value == wanted["caption"].value
    assert again.inputs == {"image": "image"} == plait.load(trained).inputs
    assert again.outputs == {"caption": "text"} == plait.load(trained).outputs
    [folder] = (cache_folder() / "onnx").iterdir()
    copy = shutil.copytree(trained, tmp_path / "model")
    open_model(str(copy), "onnx")
    os.utime(copy / "weights.safetensors", (1, 1))
    open_model(str(copy), "onnx")
    assert len(list((cache_folder() / "onnx").iterdir())) == 2  # one a package
    assert folder.is_dir()
    assert model.name == again.name == open_model(str(trained), "torch").name


def test_an_export_is_an_engines_model_itself(folder: Path) -> None:
    assert open_model(str(folder)).engine.name == "onnx"
    with pytest.raises(UsageError, match=r"no engine 'tf'; expected torch, .* or onnx"):
        open_model(str(folder), "tf")


def test_an_exported_model_draws_no_attention(folder: Path, squares: Path) -> None:
    model, photo = load(folder), next(squares.parent.glob("*.png"))
    with pytest.raises(UsageError, match=r"exported graphs \(by onnx\), which can't do this"):
        model.attention(photo, model.predict(photo))


def test_every_engine_leaves_out_the_records_that_were_learned(
    trained: Path, folder: Path, squares: Path, tmp_path: Path
) -> None:
    rows = squares.read_text().splitlines()
    draw("red", "left", 999).save(squares.parent / "new.png")
    new = json.dumps({"image": "new.png", "captions": ["a red square"]})
    table = squares.with_name("mixed.jsonl")
    table.write_text("\n".join([rows[0], new, rows[-1]]))
    for model in (plait.load(trained), open_model(folder)):
        assert model.scores["validation"]["records"] == 12
        found = model.evaluate(table)
        assert [found.table.column("image")[row] for row in found.rows] == ["new.png"]
    damaged = Path(shutil.copytree(folder, tmp_path / "damaged"))
    (damaged / "records.safetensors").write_bytes(b"garbage")
    with pytest.raises(PlaitError, match=r"is damaged: .*; export the model again"):
        open_model(damaged)


def test_eight_bits_and_what_they_lose(trained: Path, squares: Path, tmp_path: Path) -> None:
    model = plait.load(trained)
    before = export(model, tmp_path / "before")
    after = export(model, tmp_path / "after")
    [loss] = quantise(model, after, squares, rows=9)
    assert (loss.output, loss.records) == ("caption", 9)
    assert loss.after == pytest.approx(loss.before, rel=0.3)
    low, high = loss.interval
    assert low <= loss.after - loss.before <= high
    assert "with 8 bits; difference " in str(loss)
    assert json.loads((after / "model.json").read_text())["int8"][0]["records"] == 9
    with pytest.raises(UsageError, match=r"after is already in 8 bits; export the model again"):
        quantise(model, after, squares, rows=9)
    kinds = {node.op_type for node in onnx.load(after / "step-caption.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    sizes = [(folder / "network.onnx").stat().st_size for folder in (before, after)]
    assert sizes[1] < 0.7 * sizes[0]
    assert {p.name for p in after.iterdir()} == FILES


def test_the_command(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app(["export", str(trained), str(tmp_path / "out")], standalone_mode=False)
    assert capsys.readouterr().out == f"the exported model is in {tmp_path / 'out'}\n"
    assert load(tmp_path / "out").output == "caption"
    for arguments, message in (
        (["--to", "coreml"], "can't export to 'coreml'"),
        (["--int8"], "--int8 and --table go together"),
    ):
        with pytest.raises(UsageError, match=message):
            app(["export", str(trained), str(tmp_path / "no"), *arguments], standalone_mode=False)
    assert not (tmp_path / "no").exists()
