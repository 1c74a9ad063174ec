"""An exported model answers as the network does, whatever is missing and however many at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from parity import CELLS, ROWS, captioner, check, sound
from untrained import make_model

from plait.data.cells import ErrorPolicy
from plait.model import Model
from plait.outputs.text.decoders.transformer import TransformerDecoder
from plait.runtime import load
from plait.runtime.export import export
from plait.types import BadCell, UsageError

pytest.importorskip("onnxruntime", reason="needs the extra plait[export]")

PIXELS = {"kind": "pixels", "size": 16, "patch": 8, "width": 16}
WORDS = {"kind": "word-sequence", "width": 16, "min_count": 1, "max_length": 12}
BAG = {"kind": "bag-of-words", "min_count": 1, "width": 16}
SMALL = {"kind": "transformer", "layers": 2, "memory_layers": 1, "heads": 2}
GRU = {"kind": "gru-attention", "units": 16}
ANSWERS: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "class": ({"kind": "category"}, ["one", "two", "three", "one"]),
    "value": ({"kind": "number", "settings": {"spread": "quantile"}}, [0.5, 12.5, -3, 7]),
    "spread": ({"kind": "number", "settings": {"spread": "gaussian"}}, [0.5, 12.5, -3, 7]),
    "tags": ({"kind": "labels", "settings": {"thresholds": "each"}}, ["a, b", "b", "c", "a"]),
    "said": (
        {"kind": "text", "settings": {"min_count": 1, "decoder": SMALL, "max_length": 12}},
        CELLS["text"],
    ),
    "told": (
        {
            "kind": "text",
            "settings": {
                "min_count": 1, "decoder": GRU, "unit": "subwords", "vocabulary": 290,
                "metrics": "translations", "max_length": 12,
            },
        },
        CELLS["text"],
    ),
}  # fmt: skip


def model_of(
    inputs: Mapping[str, tuple[str, Mapping[str, Any]]], outputs: list[str],
    fusion: Mapping[str, Any],
) -> Model:  # fmt: skip
    """``inputs``: name -> modality and representation."""
    cells = {name: CELLS.get(modality, []) for name, (modality, _) in inputs.items()}
    return make_model(
        {n: {"modality": m, "representation": dict(r)} for n, (m, r) in inputs.items()},
        {name: ANSWERS[name][0] for name in outputs},
        cells | {name: ANSWERS[name][1] for name in outputs},
        fusion,
    )


FUSIONS: list[dict[str, Any]] = [
    *({"kind": "early", "how": how, "width": 16, "heads": 2}
      for how in ("concat", "gated", "tensor", "attention", "bottleneck")),
    *({"kind": "late", "how": how, "width": 16} for how in ("mean", "learned", "stacking")),
    {"kind": "hybrid", "joint": {"kind": "early", "how": "gated", "width": 16}},
]  # fmt: skip


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda f: f"{f['kind']}-{f.get('how', '')}")
def test_every_fusion_with_any_input_missing(fusion: dict[str, Any], tmp_path: Path) -> None:
    inputs = {"photo": ("image", PIXELS), "words": ("text", BAG)}
    model = model_of(inputs, ["class", "said"], fusion)
    check(model, tmp_path / "out", {"photo": CELLS["image"], "words": CELLS["text"]})


NUMBERS = ("value", "spread")


@pytest.mark.parametrize("output", sorted(ANSWERS))
def test_every_output(output: str, tmp_path: Path) -> None:
    model = model_of({"photo": ("image", PIXELS)}, [output], {"kind": "none", "width": 16})
    options = {} if output in NUMBERS else {"num": 2}
    check(model, tmp_path / "out", {"photo": CELLS["image"]}, **options)


def test_detected_words_and_one_beam(tmp_path: Path) -> None:
    model = captioner(PIXELS, decoder=SMALL, detected_words=3)
    check(model, tmp_path / "out", {"photo": CELLS["image"]}, beam=1)


@pytest.mark.parametrize("decoder", [SMALL, GRU], ids=lambda d: d["kind"])
def test_the_pointer_and_what_it_points_at(decoder: dict[str, Any], tmp_path: Path) -> None:
    """A photo's classes, a text's words and a table's categories, any of them missing; fluency and
    confidence too."""
    cnn = {"kind": "cnn", "size": 64, "train": "last-blocks", "blocks": 1, "classes": 3}
    settings = {
        "min_count": 1, "decoder": decoder, "detected_words": 3, "max_length": 12, "pointer": True,
        "fluency": True, "calibrate": True,
    }  # fmt: skip
    cells = {"photo": CELLS["image"], "words": CELLS["text"], "facts": CELLS["table"]}
    model = make_model(
        {
            "photo": {"modality": "image", "representation": cnn},
            "words": {"modality": "text", "representation": WORDS},
            "facts": {
                "modality": "table",
                "representation": {"kind": "columns", "width": 16, "min_count": 1},
            },
        },
        {"said": {"kind": "text", "settings": settings}},
        cells | {"said": CELLS["text"]},
        {"kind": "early", "how": "concat", "width": 16},
    )
    head = model.network.head("said")
    head.sure.copy_(torch.linspace(-1, 1, len(head.sure)).abs() + 0.1)
    check(model, tmp_path / "out", cells, num=2)
    exported = load(tmp_path / "out")
    records = [
        {"photo": CELLS["image"][0], "words": text, "facts": facts}
        for text, facts in zip(CELLS["text"], CELLS["table"], strict=True)
    ]
    mine, wanted = (list(m.predict_batch(records)) for m in (exported, model))
    for one, other in zip(mine, wanted, strict=True):
        ours, theirs = one["said"].details, other["said"].details
        assert theirs.tags
        assert ours.tags == pytest.approx(theirs.tags, abs=1e-4)
        assert 0 < theirs.confidence < 1
        assert ours.confidence == pytest.approx(theirs.confidence, abs=1e-4)


VISUAL = {"kind": "visual-words", "size": 32, "step": 4, "patch": 8, "words": 6, "width": 16}
REPRESENTATIONS: list[tuple[str, dict[str, Any]]] = [
    ("image", {"kind": "cnn", "size": 64, "train": "last-blocks", "blocks": 2, "layer": "block"}),
    ("image", PIXELS),
    *(("text", WORDS | {"sequence_encoder": kind}) for kind in ("gru", "cnn", "transformer")),
    ("text", WORDS | {"unit": "subwords", "vocabulary": 300}),
    ("image", VISUAL),
    ("image", VISUAL | {"keypoints": "detected", "assign": "hard", "levels": 1}),
    ("text", BAG | {"unit": "letters", "min_n": 2, "max_n": 3, "weight": "counts"}),
    ("table", {"kind": "columns", "width": 16, "min_count": 1}),
    ("table", {"kind": "columns", "width": 16, "min_count": 1, "numbers": "periodic"}),
    ("series", {"kind": "sequence", "width": 16, "max_steps": 20}),
    ("series", {"kind": "windows", "windows": 3, "width": 16}),
    ("series", {"kind": "sequence", "width": 16, "max_steps": 50, "strides": [4], "time": 0,
                "rate": 2.0, "centre": [0], "sequence_encoder": "transformer"}),
]  # fmt: skip


@pytest.mark.parametrize(
    "representation", REPRESENTATIONS, ids=lambda r: f"{r[0]}-{r[1]['kind']}-{len(r[1])}"
)
def test_every_representation(representation: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    modality, _ = representation
    cells = CELLS[modality]
    if representation[1].get("time") == 0:
        cells = [[[step, *row[1:]] for step, row in enumerate(rows)] for rows in cells]
    model = make_model(
        {"it": {"modality": modality, "representation": representation[1]}},
        {"class": ANSWERS["class"][0]},
        {"it": cells, "class": ANSWERS["class"][1]},
        {"kind": "none", "width": 16},
    )
    check(model, tmp_path / "out", {"it": cells})


SOUNDS: list[dict[str, Any]] = [
    {
        "kind": "spectrogram",
        "rate": 8000,
        "max_seconds": 0.3,
        "bands": 30,
        "channels": 16,
        "width": 16,
    },
    {"kind": "mfcc", "rate": 8000, "max_seconds": 0.3, "trim": True, "channels": 16, "width": 16},
    {"kind": "waveform", "rate": 8000, "max_seconds": 0.3, "channels": 32, "width": 16},
]


@pytest.mark.parametrize("representation", SOUNDS, ids=lambda r: r["kind"])
def test_every_representation_of_a_sound(representation: dict[str, Any], tmp_path: Path) -> None:
    cells = [sound(number) for number in range(ROWS)]
    model = make_model(
        {"it": {"modality": "audio", "representation": representation}},
        {"class": ANSWERS["class"][0]},
        {"it": cells, "class": ANSWERS["class"][1]},
        {"kind": "none", "width": 16},
    )
    check(model, tmp_path / "out", {"it": cells})


@pytest.mark.parametrize("beam", [1, 4])
def test_ctc(beam: int, tmp_path: Path) -> None:
    settings = {
        "decoder": {"kind": "ctc"}, "metrics": "transcripts", "unit": "characters", "min_count": 1,
        "max_length": 20,
    }  # fmt: skip
    model = make_model(
        {"it": {"modality": "series", "representation": {"kind": "sequence", "strides": [1]}}},
        {"said": {"kind": "text", "settings": settings}},
        {"it": CELLS["series"], "said": CELLS["text"]},
        {"kind": "none", "width": 16},
    )
    check(model, tmp_path / "out", {"it": CELLS["series"]}, beam=beam, length_penalty=0.0)


LANGUAGES: list[tuple[float, dict[str, Any] | None]] = [
    (0.3, None),
    (0.0, {"kind": "ngram", "order": 3}),
    (0.3, {"kind": "ngram", "order": 2}),
    (0.0, {"kind": "neural", "decoder": GRU}),
    (0.4, {"kind": "neural", "decoder": SMALL}),
]


@pytest.mark.parametrize(("ctc", "language"), LANGUAGES)
@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.slow
def test_what_guides_a_decoder(
    ctc: float, language: dict[str, Any] | None, beam: int, tmp_path: Path
) -> None:
    settings = {
        "decoder": GRU, "metrics": "transcripts", "unit": "characters", "min_count": 1,
        "max_length": 20, "ctc_weight": ctc, "language_model": language,
    }  # fmt: skip
    model = make_model(
        {"it": {"modality": "series", "representation": {"kind": "sequence", "strides": [1]}}},
        {"said": {"kind": "text", "settings": settings}},
        {"it": CELLS["series"], "said": CELLS["text"]},
        {"kind": "none", "width": 16},
    )
    cells, options = {"it": CELLS["series"]}, {"beam": beam, "length_penalty": 0.0, "num": 2}
    check(model, tmp_path / "as-found", cells, **options)
    if language:
        weighed = options | {"language": 0.7, "bonus": 0.5}
        check(model, tmp_path / "weighed", cells, **weighed)
        check(model, tmp_path / "alone", cells, **options | {"language": 0.0, "bonus": 0.0})
    if ctc:
        check(model, tmp_path / "ctc", cells, **options | {"ctc": 0.8})


def test_what_can_not_be_exported_is_told_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of({"photo": ("image", PIXELS)}, ["said"], {"kind": "none", "width": 16})
    monkeypatch.setattr(TransformerDecoder, "exportable", False)
    with pytest.raises(UsageError, match="can't be exported; expected transformer, gru-att"):
        export(model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    inputs = {"photo": ("image", PIXELS), "words": ("text", BAG)}
    model = model_of(inputs, ["class"], {"kind": "early", "width": 16})
    return export(model, tmp_path_factory.mktemp("exported") / "out")


def test_bad_cells_are_met_as_a_model_meets_them(exported: Path) -> None:
    model, record = load(exported), {"photo": b"no picture", "words": "a dog"}
    with pytest.raises(BadCell, match="is not an image"):
        model.predict(record)
    bad = ErrorPolicy("missing")
    found = list(model.predict_batch([{"words": "a dog"}, record], policy=bad))
    assert bad.handled == {(1, "photo")}
    assert found[0]["class"].details.probabilities == pytest.approx(
        found[1]["class"].details.probabilities
    )


@pytest.mark.parametrize(
    ("record", "options", "message"),
    [
        ("a dog", {}, "the model takes photo, words"),
        ({}, {}, "the record has no input"),
        ({"sound": "a.wav"}, {}, "unknown input sound; expected photo, words"),
        ({"words": "a dog"}, {"bean": 3}, "no decoding option 'bean'"),
        ({"words": "a dog"}, {"shares": True}, "an exported model gives no shares"),
    ],
)
def test_mistakes_are_told(
    exported: Path, record: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        load(exported).predict(record, **options)
