"""What of a cell is not read is told, once for a column."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from samples import save_bert, write_vectors
from untrained import make_model

from plait.modalities.audio.spectrogram import Spectrogram
from plait.modalities.text.hub import HubText
from plait.modalities.text.word_vectors import WordVectors

TEXTS = ["a dog runs", "a dog runs over a field", "", "zzz yyy xxx", "a cat sits and looks about"]


def test_an_evaluation_says_how_many_cells_are_not_read_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = {"kind": "word-sequence", "width": 8, "min_count": 1, "max_length": 4}
    model = make_model(
        {"words": {"modality": "text", "representation": words}},
        {"class": {"kind": "category"}},
        {"words": [text for text in TEXTS if not text.startswith("zzz")], "class": list("ababa")},
        {"kind": "none", "width": 8},
    )
    rows = [{"words": text, "class": name} for text, name in zip(TEXTS, "ababa", strict=True)]
    table = tmp_path / "table.jsonl"
    table.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    model.evaluate(table, on_bad="missing")
    (said,) = [r.message for r in caplog.records if "not read in full" in r.message]
    assert said == (
        "column 'words': 3 of 5 cells are not read in full; row 2, for example: "
        "only the first 4 of its 6 words are read"
    )


@pytest.mark.parametrize("trim", [False, True])
def test_a_sound_that_is_cut(trim: bool, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="needs the extra plait[audio]")
    quiet, loud = np.zeros(8000), np.sin(np.arange(12000))
    for name, parts in {
        "long": [loud, loud],
        "short": [loud],
        "padded": [quiet, loud, quiet],
    }.items():
        soundfile.write(tmp_path / f"{name}.wav", np.concatenate(parts), 8000)
    modality = Spectrogram(rate=8000, max_seconds=2.0, trim=trim)
    found = {n: modality.unread(f"{n}.wav", tmp_path) for n in ("long", "short", "padded")}
    cut = "only the first 2 of its {} seconds are heard"
    assert found == {
        "long": cut.format("3.0"), "short": "", "padded": "" if trim else cut.format("3.5")
    }  # fmt: skip


def test_a_text_that_is_cut_before_its_vectors(tmp_path: Path) -> None:
    write_vectors(tmp_path / "x.vec", {"a": [1.0, 0.0], "dog": [0.0, 1.0], "well": [1.0, 1.0]})
    modality = WordVectors(vectors=str(tmp_path / "x.vec"), max_length=4)
    modality = modality.with_state(modality.fit(["a dog"], tmp_path))
    assert modality.unread("a dog, a dog", tmp_path) == ("only the first 4 of its 5 words are read")
    assert modality.unread("a dog, a", tmp_path) == ""


def test_a_text_that_is_cut_before_a_model_of_the_hub(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra plait[hub]")
    save_bert(tmp_path / "bert", ["a", "dog"])
    modality = HubText(name=str(tmp_path / "bert"), max_length=5)
    modality = modality.with_state(modality.fit(["a dog"], tmp_path))
    assert modality.unread("a dog a dog", tmp_path) == ("only its first 5 word pieces are read")
    assert modality.unread("a dog a", tmp_path) == ""
