"""ARPA files that other tools wrote, and those of letters and subwords."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import pytest

from plait.data.vocabulary import SPECIALS, UNK, Unit, fit_vocabulary
from plait.outputs.text.lm.arpa import read_arpa, write_arpa
from plait.outputs.text.lm.ngram import NGram

WORDS = [*SPECIALS, "a", "b"]
TEXTS = ["to be or not to be", "not a bee"]
OTHERS = """\\data\\
ngram 1=5
ngram 2=2

\\1-grams:
-99 <s> -0.25
-0.5 </s>
-1 <UNK>
-0.5 a -0.125
-0.5 b

\\2-grams:
0.00003 <s> a
-0.5 a b

\\end\\
"""


def log10(model: NGram, state: int) -> np.ndarray:
    return model.scores(np.array([state]))[0] / math.log(10)


def test_a_file_of_other_tools(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """CMU's and MIT's <UNK>, an editor's mark of the byte order, p = 1 rounded upwards."""
    path = tmp_path / "other.arpa"
    path.write_bytes(b"\xef\xbb\xbf" + OTHERS.encode())
    model = read_arpa(path, WORDS)
    assert log10(model, 0)[UNK] == pytest.approx(-1)
    after_start = log10(model, model.start)
    assert after_start[4] == 0
    assert after_start[5] == pytest.approx(-0.75)
    assert not caplog.records


def test_how_much_is_left_out_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "upper.arpa"
    path.write_text(OTHERS.replace(" a", " A"))
    with caplog.at_level(logging.WARNING, "plait"):
        read_arpa(path, WORDS)
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{path}: 42.9 % of the n-grams are left out, as the vocabulary lacks their words, 'A' for "
        "example (it has 'a')"
    )


@pytest.mark.parametrize("unit", ["words", "characters", "subwords"])
def test_every_vocabulary_and_back(tmp_path: Path, unit: Unit) -> None:
    vocabulary = fit_vocabulary(TEXTS, unit, 1, 400, True)
    units = vocabulary.units()
    assert len(set(units)) == len(units) == len(vocabulary)
    ids = [vocabulary.encode(text) for text in TEXTS]
    model = NGram.fit(ids, len(vocabulary), 3)
    write_arpa(tmp_path / "model.arpa", model, units)
    text = (tmp_path / "model.arpa").read_text()
    assert ("\tb e ▁\n" in text) == (unit == "characters")
    again = read_arpa(tmp_path / "model.arpa", units)
    assert again.perplexity(ids) == pytest.approx(model.perplexity(ids), rel=1e-5)
