"""Targets that are arrays lie in the feature cache, and are read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from untrained import make_model

from plait.config.recipe import load_recipe
from plait.data.cells import ErrorPolicy
from plait.data.tables import as_table
from plait.outputs.number import NumberOutput
from plait.pipeline.cache import FeatureSpace
from plait.pipeline.records import Preparer, Records
from plait.training.loop import Trainer, stages
from plait.types import BadCell

CELLS = {"text": ["a b", "b c", "c d", "d e"], "curve": [[1.0, 2.0], [3.0], [], [1.0, 2.0]]}


class CurveOutput(NumberOutput):
    """A few numbers a record, as an array."""

    stored: ClassVar[bool] = True
    reads: ClassVar[list[Any]] = []

    def read(self, cell: Any, root: Path) -> Any:
        self.reads.append(cell)
        if not cell:
            raise BadCell("the curve is empty", expected="numbers")
        return np.array(cell, np.float32)[:, None]

    def example(self) -> Any:
        return np.zeros((2, 1), np.float32)


def prepared(policy: ErrorPolicy) -> tuple[Records, list[int]]:
    model = make_model(
        {"text": {"modality": "text", "representation": {"kind": "bag-of-words", "min_count": 1}}},
        {"curve": {"kind": "number"}},
        {"text": CELLS["text"], "curve": [1.0, 2.0, 3.0, 4.0]},
        {"kind": "none", "width": 8},
    )
    curve = CurveOutput().with_state(model.parts.outputs["curve"].state)
    parts = replace(model.parts, outputs={"curve": curve})
    columns = {"inputs.text": "text", "outputs.curve": "curve"}
    return Preparer(parts, model.engine, columns, policy).prepare(as_table(CELLS), views=True)


def test_targets_are_arrays_of_the_cache_and_read_once() -> None:
    CurveOutput.reads.clear()
    policy = ErrorPolicy("skip")
    records, rows = prepared(policy)
    assert rows == [0, 1, 3]
    assert policy.failures == ["row 3, column 'curve': the curve is empty; expected numbers"]
    wanted = [[[1.0], [2.0]], [[3.0]], [[1.0], [2.0]]]
    for targets in (records.targets["curve"], records.where([0, 1, 2]).targets["curve"]):
        assert [target.tolist() for target in targets] == wanted
    batch = records.batch([2, 1])
    assert [target.tolist() for target in batch.targets["curve"]] == [wanted[2], wanted[1]]
    assert CurveOutput.reads == [[1.0, 2.0], [3.0], []]  # equal cells are one target
    prepared(ErrorPolicy("skip"))
    assert CurveOutput.reads[3:] == [[]]  # a second run reads the bad cell alone


def test_training_begins_without_reading_them(monkeypatch: pytest.MonkeyPatch) -> None:
    records, _ = prepared(ErrorPolicy("skip"))
    begun: list[Sequence[Any]] = []
    head = SimpleNamespace(begin=begun.append)
    trainer = Trainer.__new__(Trainer)
    trainer.recipe = load_recipe("captioning")
    trainer.spec, trainer.train = trainer.recipe.training, records
    network: Any = SimpleNamespace(head=lambda name: head, pretrained_parameters=list)
    trainer.network, trainer.trainable = network, {"w": nn.Parameter(torch.zeros(1))}
    with monkeypatch.context() as patch:
        patch.delattr(FeatureSpace, "get")
        trainer.begin(stages(trainer.spec)[0])
    assert [target.tolist() for target in begun[0]] == [[[1.0], [2.0]], [[3.0]], [[1.0], [2.0]]]


def test_other_settings_are_other_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(ErrorPolicy("skip"))
    CurveOutput.reads.clear()
    monkeypatch.setattr(CurveOutput, "fingerprint", lambda self: "another")
    prepared(ErrorPolicy("skip"))
    assert CurveOutput.reads == [[1.0, 2.0], [3.0], []]
