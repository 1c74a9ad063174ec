from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from rich.console import Console
from torch import nn

from plait.config.recipe import check_recipe
from plait.network import build_network
from plait.nn.blocks import count_parameters
from plait.pipeline.engine import build_parts
from plait.tasks.summary import (
    Box,
    Graph,
    Layer,
    Summary,
    made_up_parts,
    place,
    png,
    shape_text,
    short_count,
    show,
    summarise,
    summary_of,
    svg,
)
from plait.types import UsageError

RAW = {
    "name": "tiny",
    "about": "for tests",
    "inputs": {
        "photo": {
            "modality": "image",
            "representation": {"kind": "pixels", "patch": 8, "width": 16, "size": 32},
        }
    },
    "fusion": {"kind": "none", "width": 24},
    "outputs": {
        "caption": {
            "kind": "text",
            "settings": {
                "min_count": 3,
                "vocabulary": 100,
                "decoder": {"kind": "transformer", "layers": 2, "memory_layers": 1, "heads": 4},
            },
        }
    },
}


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(RAW))
    return path


@pytest.fixture
def found(recipe_file: Path) -> Summary:
    return summary_of(str(recipe_file))


def layers_of(found: Summary, part: str) -> dict[str, Layer]:
    (wanted,) = [p for p in found.parts if p.name == part]
    return {layer.name: layer for layer in wanted.layers}


def test_parts_stand_in_the_order_of_the_data_with_measured_shapes(found: Summary) -> None:
    assert {part.name: part.shape for part in found.parts} == {
        "encoders.photo": "(B, 16, 16)",  # 32 px in patches of 8: 4 × 4 tokens, 16 wide
        "adapters.photo": "(B, 16, 24)",
        "fusion": "(B, 16, 24)",
        "heads.caption": "(B, 13, 24)",  # twelve words and the start
    }
    assert [p.name.split(".")[0] for p in found.parts] == [
        "encoders",
        "adapters",
        "fusion",
        "heads",
    ]


def test_parameters_are_counted_by_hand_and_add_up(found: Summary) -> None:
    encoder = layers_of(found, "encoders.photo")["project"]
    assert encoder.kind == "Conv2d"
    assert encoder.parameters == 3 * 8 * 8 * 16 + 16
    decoder = layers_of(found, "heads.caption")
    assert decoder["decoder.embedding"].parameters == 100 * 24
    assert decoder["decoder.bias"].parameters == 100
    assert decoder["decoder.bias"].shape == "(100)"
    assert found.parameters == sum(part.parameters for part in found.parts)
    for part in found.parts:
        if part.layers:
            assert part.parameters == sum(layer.parameters for layer in part.layers)
            assert part.trained == sum(layer.trained for layer in part.layers)
    recipe = check_recipe(RAW)
    parts = made_up_parts(build_parts(recipe))
    network = build_network(recipe, parts, pretrained=False)
    assert found.parameters == count_parameters(network)
    assert found.megabytes == pytest.approx(4 * found.parameters / 1e6, abs=0.01)


def test_blocks_are_lines_and_what_is_in_them_is_not(found: Summary) -> None:
    names = list(layers_of(found, "heads.caption"))
    assert [n for n in names if "blocks" in n] == ["decoder.blocks.0", "decoder.blocks.1"]
    assert "decoder.memory.0" in names
    assert layers_of(found, "heads.caption")["decoder.blocks.1"].kind == "Block"


def test_the_cnn_has_its_18_stages_frozen_until_they_are_to_learn() -> None:
    tiny = ["inputs.image.representation.size=64", "outputs.caption.settings.vocabulary=50"]
    found = summary_of("captioning", [*tiny, "inputs.image.representation.train=frozen"])
    stages = [v for n, v in layers_of(found, "encoders.image").items() if n.startswith("layers.")]
    assert len(stages) == 18
    assert stages[0].shape == "(B, 32, 32, 32)"
    assert stages[-1].shape == "(B, 1280, 2, 2)"
    assert {stage.state for stage in stages} == {"frozen"}
    last = summary_of("captioning", tiny)
    encoder = next(part for part in last.parts if part.name == "encoders.image")
    assert encoder.state == "partly trained"
    states = [v.state for n, v in layers_of(last, "encoders.image").items() if "layers." in n]
    assert states == 12 * ["frozen"] + 6 * ["trained"]  # the last five blocks and the head
    assert last.parameters == found.parameters
    assert last.trained > found.trained


def test_the_reference_needs_no_weights_to_be_summed_up() -> None:
    found = summary_of("captioning-reference", ["outputs.caption.settings.vocabulary=500"])
    encoder = next(part for part in found.parts if part.name == "encoders.image")
    assert encoder.shape == "(B, 64, 1536)"
    assert encoder.parameters > 50_000_000
    names = [layer.name for layer in encoder.layers]
    assert "trunk.mixed_5b" in names
    assert names.count("trunk.block17.19") == 1
    stream = io.StringIO()
    show(found, Console(file=stream, width=80))
    lines = stream.getvalue().splitlines()
    run = next(line for line in lines if "trunk.block17.0…19" in line)
    assert "20 × Residual" in run
    assert f"{20 * 1_126_112:,}" in run
    assert len(lines) < 70
    decoder = layers_of(found, "heads.caption")
    assert decoder["decoder.gru"].shape == "(B, 13, 512)"
    assert decoder["decoder.out"].shape == "(B·13, 500)"


@pytest.mark.parametrize(("unit", "size"), [("words", 300), ("words", 12), ("subwords", 400)])
def test_the_made_up_vocabulary_is_as_large_as_the_recipe_allows(unit: str, size: int) -> None:
    settings = {"unit": unit, "min_count": 4, "vocabulary": size}
    recipe = check_recipe({**RAW, "outputs": {"t": {"kind": "text", "settings": settings}}})
    parts = made_up_parts(build_parts(recipe))
    network = build_network(recipe, parts, pretrained=False)
    assert len(network.head("t").output.tokenizer) == size  # type: ignore[arg-type]


def test_a_batch_is_written_b() -> None:
    assert shape_text((2, 49, 1280)) == "(B, 49, 1280)"
    assert shape_text(torch.Size([26, 7])) == "(B·13, 7)"
    assert shape_text((3, 7)) == "(3, 7)"
    assert shape_text(()) == "()"
    assert [short_count(n) for n in (7, 1_500, 3_378_912)] == ["7", "1.5 k", "3.4 M"]


def test_the_network_is_left_without_hooks(
    recipe_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[nn.Module] = []

    def build(*args: object, **options: object) -> nn.Module:
        made.append(build_network(*args, **options))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr("plait.tasks.summary.build_network", build)
    summary_of(str(recipe_file))
    assert made
    assert not any(module._forward_hooks for module in made[0].modules())


def test_json_holds_all_of_it(recipe_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summarise(str(recipe_file), ["fusion.width=32"], None, True)
    found = json.loads(capsys.readouterr().out)
    assert found["name"] == str(recipe_file)
    assert found["frozen"] == 0
    assert found["trained"] == found["parameters"] == sum(p["parameters"] for p in found["parts"])
    assert found["parts"][1]["shape"] == "(B, 16, 32)"
    assert found["graph"]["lanes"][0][0]["lines"] == ["input: image", "(B, 32, 32, 3)"]
    assert found["notes"]


def test_the_terminal_shows_layers_totals_and_graph_in_80_columns(found: Summary) -> None:
    stream = io.StringIO()
    show(replace(found, name="[red]x"), Console(file=stream, width=80))
    text = stream.getvalue()
    assert text.startswith("[red]x")
    assert max(len(line) for line in text.splitlines()) <= 80
    assert re.search(r"decoder\.memory_norm +LayerNorm +\(B, 16, 24\) +48 +trained", text)
    assert f"{found.parameters:,} parameters" in text
    places = [text.index(word) for word in (" photo ", " pixels ", " adapter ", "fusion: none")]
    assert places == sorted(places)


def box(title: str) -> Box:
    return Box(title, ("a <line> & more",), "trained")


@pytest.fixture
def wide() -> Graph:
    """Three inputs, two outputs."""
    lanes = tuple(tuple(box(f"{name}{i}") for i in range(3)) for name in "abc")
    return Graph(lanes, box("fusion"), (box("x"), box("y")))


def test_boxes_do_not_overlap_and_lines_run_forward(wide: Graph) -> None:
    boxes, lines, (width, height) = place(wide)
    assert [placed.box.title for placed in boxes[-3:]] == ["fusion", "x", "y"]
    assert len({(p.x, p.y) for p in boxes}) == len(boxes) == 3 * 3 + 3
    assert all(0 < p.x < width and 0 < p.y < height for p in boxes)
    joined = {(a.box.title, b.box.title) for a, b in lines}
    assert joined == {
        *((f"{n}0", f"{n}1") for n in "abc"),
        *((f"{n}1", f"{n}2") for n in "abc"),
        *((f"{n}2", "fusion") for n in "abc"),
        ("fusion", "x"),
        ("fusion", "y"),
    }
    assert all(a.x < b.x for a, b in lines)


def test_the_svg_is_whole_xml_that_loads_nothing(wide: Graph) -> None:
    root = ElementTree.fromstring(svg(wide))
    texts = [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("a <line> & more") == 12
    assert "fusion" in texts
    assert b"href" not in svg(wide)


def test_the_png_is_a_picture_of_twice_the_size(wide: Graph) -> None:
    _, _, (width, height) = place(wide)
    with Image.open(io.BytesIO(png(wide))) as image:
        assert image.size == (2 * width, 2 * height)
        assert np.asarray(image).std() > 5


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_graph_is_written_to_a_file(
    recipe_file: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = recipe_file.parent / "sub" / f"graph{suffix}"
    summarise(str(recipe_file), [], out, True)
    json.loads(capsys.readouterr().out)
    assert [p.name for p in out.parent.iterdir()] == [out.name]
    assert out.read_bytes()[:4] == {".svg": b"<svg", ".png": b"\x89PNG"}[suffix]


def test_mistakes_are_named(recipe_file: Path) -> None:
    with pytest.raises(UsageError, match=r"did you mean 'captioning'"):
        summary_of("captionin")
    with pytest.raises(UsageError, match=r"\.svg or \.png"):
        summarise(str(recipe_file), [], Path("graph.gif"), False)
    with pytest.raises(UsageError, match="can't be changed"):
        summary_of(str(recipe_file.parent), ["seed=1"])
