"""The confidence of a whole captioner's texts, of which its beams and their scores speak."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from heads import decode, fused
from torch import Tensor

from plait.outputs.hub.output import PRESENT, Caption, Generation, HubOutput
from plait.outputs.text.confidence import FEATURES
from plait.outputs.text.networks import TextsHead
from plait.types import Fused, Prediction

FOUND = [
    Caption("A dog, running.", -0.5, ("A", "dog", ",", "run", "ning", ".")),
    Caption("a dog runs", -0.7, ("a", "dog", "runs")),
    Caption("a cat", -0.9, ("a", "cat")),
]


class Photos:
    """Every photo has the same captions."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[int], int]] = []

    def generate(self, rows: Sequence[int], options: Generation) -> list[list[Caption]]:
        self.asked.append((list(rows), options.num))
        return [FOUND[: options.num] for _ in rows]


def going_by(**weights: float) -> dict[str, list[float]]:
    """A confidence that is the sum of these features, as log odds."""
    each = [weights.get(name, 0.0) for name in FEATURES]
    return {"confidence": [*each, *[0.0] * len(each), *[1.0] * len(each), 0.0]}


def answers(output: HubOutput, fitted: Any, photos: Photos, **options: Any) -> list[Prediction]:
    """To a record with a photo, and to one without."""
    raw = {PRESENT: np.array([True, False])}
    return output.decode(raw, fitted, output.options(**options), photos)


def odds(output: HubOutput, prediction: Prediction) -> float:
    sure = output.calibrated(prediction)
    assert sure is not None
    return math.log(sure / (1 - sure))


def test_beams_that_agree_speak_for_a_caption() -> None:
    output, photos = HubOutput(name="some/model", calibrate=True), Photos()
    for name, wanted in {"agreement": 0.5, "length": 3.0, "log-probability": -0.5}.items():
        found, missing = answers(output, going_by(**{name: 1.0}), photos)
        assert odds(output, found) == pytest.approx(wanted)
        assert (found.value, found.alternatives) == (FOUND[0].text, ())
        assert (missing.value, output.calibrated(missing)) == ("", None)
    assert photos.asked == [([0], 3)] * 3  # all beams, though one is shown


def test_each_alternative_has_its_own() -> None:
    output = HubOutput(name="some/model", calibrate=True)
    found, _ = answers(output, going_by(agreement=1.0), Photos(), num=3)
    cat = found.alternatives[1]
    assert (cat.value, cat.details.words) == ("a cat", ("a", "cat"))
    assert cat.details.confidence == pytest.approx(0.5)  # neither of the others has a cat
    assert output.details_json(found, 2) == {"confidence": 0.62}


@pytest.mark.parametrize("options", [{"sample": True}, {"beam": 2}, {"prompt": "a photo of"}])
def test_another_search_has_none(options: dict[str, Any]) -> None:
    output = HubOutput(name="some/model", calibrate=True)
    found, _ = answers(output, going_by(agreement=1.0), Photos(), **options)
    assert output.calibrated(found) is None
    assert output.confidence(found) == pytest.approx(math.exp(-0.5))


def test_what_is_not_calibrated_asks_for_no_more_than_is_shown() -> None:
    output, photos = HubOutput(name="some/model"), Photos()
    assert [output.calibrated(found) for found in answers(output, {}, photos)] == [None, None]
    output = HubOutput(name="some/model", calibrate=True)
    answers(output, going_by(), photos, sample=True)
    assert photos.asked == [([0], 1)] * 2


class PhotosHead(TextsHead):
    """Record 0, 3, 6... have no photo. The beams of those with an even number don't agree."""

    def loss(self, *_: Any) -> Tensor:
        raise NotImplementedError

    support = loss

    def raw_outputs(self, fused: Fused) -> dict[str, Tensor]:
        return {PRESENT: fused.pooled[:, 0] % 3 > 0}

    def stepper(self, fused: Fused, raw: Any) -> Any:
        return Numbered(fused.pooled[:, 0].int().tolist())


class Numbered:
    def __init__(self, numbers: list[int]) -> None:
        self.numbers = numbers

    def generate(self, rows: Sequence[int], options: Generation) -> list[list[Caption]]:
        dog, _, cat = FOUND
        found = ([dog, dog, dog] if self.numbers[row] % 2 else [dog, cat, cat] for row in rows)
        return [beams[: options.num] for beams in found]


def test_it_is_fitted_to_the_records_with_a_photo() -> None:
    head = PhotosHead(HubOutput(name="some/model", calibrate=True))
    numbers = torch.arange(120.0)[:, None].expand(120, 2)
    wanted = [("a dog",) if number % 2 else ("a bird",) for number in range(120)]
    assert head.fitted() == {}
    head.calibrate([fused(numbers[:50]), fused(numbers[50:])], wanted)
    sure = [head.output.calibrated(found) for found in decode(head.output, head, fused(numbers))]
    assert sure[::3] == [None] * 40
    assert sure[1::6] == sure[5::6]
    assert [p is not None and p > 0.9 for p in sure[1::6]] == [True] * 20
    assert [p is not None and p < 0.1 for p in sure[2::6] + sure[4::6]] == [True] * 40
