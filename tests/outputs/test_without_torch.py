"""Outputs and fusions are built, fitted, decoded and scored where torch can't be imported."""

from __future__ import annotations

import json
import subprocess
import sys

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Block())
"""
OUTPUTS = """
import json
from pathlib import Path
import numpy as np
from plait.config import registry

HERE = Path()
logits = np.array([[2.0, -1.0, 0.5], [-3.0, 1.0, 0.0]], np.float32)
CASES = {
    "category": (["a", "b", "c"], {"probable": np.array([[0.2, 0.7, 0.1], [0.5, 0.3, 0.2]])}, {}),
    "labels": ([["a", "b"], "c, a", []], {"logits": logits}, {"threshold": [0.5, 0.4, 0.5]}),
    "number": (
        [1.0, "2.5", 4],
        {"middle": np.array([0.0, 1.0]), "low": np.array([-1.0, 0.5]), "high": np.array([1.0, 2])},
        {"calibrated": True},
    ),
}
values = {}
for kind, (cells, raw, fitted) in CASES.items():
    output = registry.build("output", {"kind": kind})
    output = output.with_state(json.loads(json.dumps(output.fit(cells, HERE))))
    assert output.collate([output.read(cell, HERE) for cell in cells]), kind
    found = output.decode(raw, fitted, output.options())
    references = [output.reference(cell, HERE) for cell in cells[:2]]
    metrics = output.scorer(found, references)
    scores = metrics.scores()
    assert set(metrics.best_metrics) <= set(scores.points)
    assert json.dumps(scores.to_json()) and metrics.rightness()[1].shape == (2,)
    for prediction in found:
        assert output.read(output.to_cell(prediction.value), HERE) is not None
        assert output.same(prediction, prediction.value)
        again = output.restore(json.loads(json.dumps(output.store(prediction))))
        assert output.to_json(again) == output.to_json(prediction)
    values[kind] = [output.to_json(prediction, 3) for prediction in found]
print(json.dumps(values))
"""
FUSIONS = """
from plait.config import registry
from plait.fusion.base import Fusion

for name in registry.names("fusion"):
    fusion = registry.build("fusion", {"kind": name})
    assert isinstance(fusion, Fusion)
    branches = fusion.branches(["photo", "words"])
    assert (branches is not None) == fusion.has_branches
    print(name, fusion.several_inputs, branches and branches.names)
try:
    registry.build("fusion", {"kind": "late"}).network(["photo", "words"])
except ImportError as error:
    print(error)
"""


def run(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", BLOCK + code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_outputs() -> None:
    (line,) = run(OUTPUTS)
    found = json.loads(line)
    assert [answer["value"] for answer in found["category"]] == ["b", "a"]
    assert found["category"][0]["probabilities"] == {"b": 0.7, "a": 0.2, "c": 0.1}
    assert [answer["value"] for answer in found["labels"]] == [["a", "c"], ["b", "c"]]
    assert found["labels"][0]["probabilities"]["a"] == 0.881
    first, second = found["number"]
    assert first["value"] == 2.5  # the mean
    assert second["value"] == 3.724745  # a standard deviation above, in digits that mean something
    assert second["interval"] == [3.112372, 4.94949]


def test_fusions() -> None:
    assert run(FUSIONS) == [
        "early True None",
        "hybrid True ('joint', 'photo', 'words')",
        "late True ('photo', 'words')",
        "linear True None",
        "none False None",
        "torch is blocked",
    ]
