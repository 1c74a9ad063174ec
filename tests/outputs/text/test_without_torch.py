"""The data side of texts works where torch can't be imported: fitted, read, generated, scored."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from language_models import make, save_tokenizer

BLOCK = """
import json, sys
from importlib.machinery import PathFinder
from pathlib import Path

class Finder(PathFinder):  # as if torch were not installed
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] == "torch" else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
import numpy as np
from plait.config import registry
"""

EXERCISE = """
TEXTS = ["a dog runs fast", ["two dogs run away", "some dogs"], "a cat sits here"]

class Steps:  # whatever came before, the right text of record 0 is the likeliest
    def __init__(self, output):
        self.output = output
        self.right = output.read(TEXTS[0], Path()).token_ids[0]
    def start(self, raw, models):
        self.models = models
        return np.zeros(len(raw["records"]), int)
    def step(self, tokens, state):
        scores = np.zeros((len(tokens), len(self.output.tokenizer)), np.float32)
        for row, place in enumerate(state):
            scores[row, self.right[min(place, len(self.right) - 1)]] = 9.0
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return {model: scores.copy() for model in self.models}, state + 1
    def select(self, state, rows):
        return state[rows]
    def attention(self, raw, tokens):
        return {"photo": np.ones((*tokens.shape, 3), np.float32)}

def emissions(output, steps):  # one input token a unit, then silence
    rows = np.full((3, 40, len(output.tokenizer)), -9.0, np.float32)
    for place in range(40):
        unit = steps.right[place] if place < len(steps.right) - 1 else 0
        rows[:, place, unit] = 0.0
    return rows

CASES = [{"detected_words": 2}, {"unit": "characters"}, {"unit": "subwords", "vocabulary": 300}]
CASES += [{"decoder": {"kind": kind}} for kind in registry.names("decoder") if kind != "hub"]
CASES += [{"decoder": {"kind": "hub", "name": sys.argv[1]}, "unit": "hub"}]
CASES += [{"metrics": "transcripts", "ctc_weight": 0.3}]
for kind in registry.names("language-model"):
    settings = {"file": sys.argv[2]} if kind == "arpa" else {}
    CASES += [{"metrics": "translations", "language_model": {"kind": kind, **settings}}]
for case in CASES:
    output = registry.build("output", {"kind": "text", "min_count": 1, **case})
    state = json.loads(json.dumps(output.fit(TEXTS, Path())))
    output = output.with_state(state)
    targets = output.collate([output.read(cell, Path()) for cell in TEXTS])
    assert [len(target.token_ids) for target in targets] == [1, 2, 1]
    assert output.example().token_ids and output.samples()
    steps, raw = Steps(output), {"records": np.arange(3)}
    if "detected_words" in case:
        raw |= {"detected": np.array([[4, 5]] * 3), "probabilities": np.full((3, 2), 0.5)}
    if "ctc" in (case.get("decoder", {}).get("kind"), "ctc" if "ctc_weight" in case else ""):
        raw |= {"emissions": emissions(output, steps)}
    fitted = {"language": [0.1, 0.5]} if "language_model" in case else {}
    for options in ({}, {"beam": 1}, {"num": 2}, {"sample": True, "top_k": 1}):
        chosen = output.options(min_words=0, **options)
        found = output.decode(raw, fitted, chosen, steps)
        assert [p.value for p in found] == [TEXTS[0]] * 3, (case, options, found)
    details = found[0].details
    assert len(details.detected) == 2 * ("detected" in raw)
    assert len(details.moments) == len(details.words) * ("emissions" in raw)
    assert details.attention["photo"].shape == (len(details.words), 3)
    assert json.dumps(output.to_json(found[0])) and output.to_cell(found[0].value) == TEXTS[0]
    assert 0 < output.confidence(found[0]) <= 1 and output.same(found[0], TEXTS[0])
    references = [output.reference(cell, Path()) for cell in TEXTS]
    metrics = output.scorer(found, references)
    scores = metrics.scores().to_json()
    assert set(metrics.titles) <= set(scores) and set(metrics.best_metrics) <= set(scores)
    assert metrics.rightness()[1].argmax() == 0 and metrics.ranked()[0] == 0
    kind = (output.language_model or {}).get("kind")
    assert (output.ngrams() is not None) == (kind in ("ngram", "arpa"))
assert "torch" not in sys.modules
"""


def test_texts_work_without_torch(tmp_path: Path) -> None:
    folder, arpa = tmp_path / "gpt2", tmp_path / "model.arpa"
    make("gpt2", save_tokenizer(folder)).save_pretrained(folder)
    arpa.write_text(
        "\\data\\\nngram 1=5\n\n\\1-grams:\n-99 <s>\n-1 </s>\n-1 <unk>\n-0.5 a\n-0.6 dog\n\\end\\\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", BLOCK + EXERCISE, str(folder), str(arpa)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
