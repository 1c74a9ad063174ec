"""What holds for every registered kind of output."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captioners import save_captioner
from heads import decode

from plait.config import registry
from plait.data.images import pack_image
from plait.nn.base import Head, Sampling
from plait.nn.blocks import alone, side_by_side
from plait.outputs.base import Output
from plait.outputs.category import Probabilities
from plait.outputs.number import Interval
from plait.outputs.text.output import TextDetails
from plait.types import Branches, Fused, Prediction, Tokens, UsageError

WIDTH, TOKENS = 16, 5
NUMBERS = [0.5, "12.5", -3]
LABELS = [["one", "two"], "two, three", []]
TEXTS = ["a dog runs fast", ["two dogs run away", "some dogs"], "a cat sits here"]
SMALL = {"kind": "transformer", "layers": 1, "memory_layers": 1, "heads": 2, "dropout": 0.0}
GRU = {"kind": "gru-attention", "units": 16, "dropout": 0.0}

CASES: list[tuple[str, dict[str, Any], list[Any]]] = [
    ("text", {"min_count": 1, "decoder": SMALL, "detected_words": 3}, TEXTS),
    ("category", {"weights": "balanced", "dropout": 0.0}, ["one", "two", "three"]),
    ("number", {"dropout": 0.0}, NUMBERS),
    ("number", {"spread": "gaussian", "dropout": 0.0}, NUMBERS),
    ("number", {"spread": "quantile", "dropout": 0.0, "interval": 0.5}, NUMBERS),
    ("labels", {"weights": "balanced", "dropout": 0.0, "thresholds": "each"}, LABELS),
    ("text", {"min_count": 1, "decoder": GRU, "unit": "subwords", "vocabulary": 300}, TEXTS),
    (
        "text",
        {
            "min_count": 1,
            "decoder": GRU,
            "unit": "characters",
            "lower": False,
            "max_length": 24,
            "metrics": "transcripts",
            "decoding": {"min_words": 1},  # a transcript may be empty, what is learned from not
        },
        TEXTS,
    ),
    ("text", {"min_count": 1, "decoder": GRU, "metrics": "translations"}, TEXTS),
    (
        "text",
        {"min_count": 1, "decoder": GRU, "metrics": "answers", "detection_weight": 0.5},
        TEXTS,
    ),
    (
        "hub",
        {
            "name": "qwen2_vl",
            "lora": {"dropout": 0.0},
            "calibrate": True,
            "decoding": {"max_words": 5},
        },
        TEXTS,
    ),
]
"""Kind, settings, cells to learn from."""
NAMES = ("a", "b")
BRANCHES = {
    "alone": None,
    "blended": Branches(NAMES, branch_loss_weight=0.3, detached=False, stacked=False),
    "stacked": Branches(NAMES, branch_loss_weight=1.0, detached=False, stacked=True),
}
TRIED = [
    (*case, how)
    for case in CASES
    for how in BRANCHES
    if how == "alone"
    or (registry.find("output", case[0]).cls.branches and "detected_words" not in case[1])
]


def test_every_registered_name_is_here() -> None:
    assert sorted({kind for kind, _, _ in CASES}) == registry.names("output")


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_captioner("qwen2_vl", tmp_path_factory.mktemp("qwen2_vl"))


HERE = Path()
Built = tuple[Output, Head, list[Any], Branches | None]


def case_id(case: tuple[str, dict[str, Any], list[Any], str]) -> str:
    kind, settings, _, how = case
    return f"{kind}-{len(settings)}-{how}"


@pytest.fixture(params=TRIED, ids=case_id)
def built(request: pytest.FixtureRequest) -> Built:
    kind, settings, cells, how = request.param
    if "name" in settings:  # of a tiny model of the hub: its folder
        settings = {**settings, "name": str(request.getfixturevalue("captioner"))}
    output: Output = registry.build("output", {"kind": kind, **settings})
    state = json.loads(json.dumps(output.fit(cells, HERE)))  # it lies in a package as JSON
    output = output.with_state(state)
    torch.manual_seed(0)
    head = output.head(WIDTH, NAMES, True, BRANCHES[how]).eval()
    for parameter in head.parameters():
        if parameter.requires_grad and not parameter.any():  # an adapter, which starts as nothing
            torch.nn.init.normal_(parameter, std=0.1)
    targets = output.collate([output.read(cell, HERE) for cell in cells])
    head.begin(targets)
    return output, head, targets, BRANCHES[how]


def fused(branches: Branches | None, batch: int = 3, garbage: float = 0.0) -> Fused:
    """The last tokens of the first record are padding, and so is what follows its photo, which a
    whole model looks at; the branches count 0.3 and 0.7."""
    parts, prepared = {}, {}
    for number, name in enumerate(NAMES):
        drawn = torch.Generator().manual_seed(number)
        values = torch.randn(batch, TOKENS, WIDTH, generator=drawn)
        rng = np.random.default_rng(number)
        sizes = [(24, 20 + 4 * row, 3) for row in range(batch)]
        photos = [pack_image(rng.integers(0, 200, size).astype(np.uint8)) for size in sizes]
        packed = np.full((batch, max(map(len, photos))), round(garbage), np.int64)
        for row, photo in zip(packed, photos, strict=True):
            row[: len(photo)] = photo
        prepared[name] = torch.from_numpy(packed), torch.tensor([len(photo) for photo in photos])
        mask = torch.ones(batch, TOKENS, dtype=torch.bool)
        mask[0, -2:] = False
        values[0, -2:] = garbage
        parts[name] = Tokens(values, mask)
    tokens = side_by_side(parts)
    each = {name: alone(name, part) for name, part in parts.items()}
    pooled = torch.stack([part.pooled for part in each.values()]).mean(0)
    if branches is None:
        return Fused(pooled, tokens, parts, prepared=prepared)
    return Fused(pooled, tokens, parts, each, torch.tensor([[0.3, 0.7]] * batch), prepared)


def row(whole: Fused, number: int) -> Fused:
    at = slice(number, number + 1)
    parts = {n: Tokens(t.values[at], t.mask[at]) for n, t in whole.parts.items()}
    return Fused(
        whole.pooled[at],
        Tokens(whole.tokens.values[at], whole.tokens.mask[at]),
        parts,
        {name: row(branch, number) for name, branch in whole.branches.items()},
        None if whole.weights is None else whole.weights[at],
        {name: (values[at], lengths[at]) for name, (values, lengths) in whole.prepared.items()},
    )


def same(first: list[Prediction], second: list[Prediction]) -> None:
    for a, b in zip(first, second, strict=True):
        is_number = isinstance(b.value, float)
        assert a.value == (pytest.approx(b.value, rel=1e-4) if is_number else b.value)
        assert a.score == pytest.approx(b.score, abs=1e-4)


def test_the_loss_is_a_finite_scalar_and_reaches_every_weight(built: Built) -> None:
    _, head, targets, branches = built
    whole = fused(branches)
    loss = head.train().loss(whole, targets)
    for name, part in whole.branches.items():
        loss = loss + head.loss(part, targets, name)
    assert loss.shape == ()
    loss.backward()
    for name, parameter in head.named_parameters():
        if not parameter.requires_grad:  # a pretrained model's, beside its adapters
            assert "lora" in built[0].settings(), name
            continue
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert bool(parameter.grad.abs().sum() > 0), name


def test_the_second_stage_has_a_gradient(built: Built) -> None:
    _, head, targets, branches = built
    torch.manual_seed(0)
    loss = head.reinforce(fused(branches), targets, Sampling(4))
    assert loss.shape == ()
    loss.backward()
    found = [p.grad for p in head.parameters() if p.grad is not None]
    assert found
    assert all(bool(torch.isfinite(grad).all()) for grad in found)


def test_one_answer_a_record_whatever_its_batch(built: Built) -> None:
    output, head, _, branches = built
    whole = fused(branches)
    together = decode(output, head, whole)
    assert len(together) == 3
    for number in range(3):
        same(decode(output, head, row(whole, number)), together[number : number + 1])


def test_confidence_is_a_probability_or_none(built: Built) -> None:
    output, head, _, branches = built
    answers = decode(output, head, fused(branches))
    found = [output.confidence(prediction) for prediction in answers]
    if registry_name(output) == "number":
        assert found == [None] * 3
    else:
        assert all(value is not None and 0 <= value <= 1 for value in found)


def test_garbage_under_the_mask_changes_nothing(built: Built) -> None:
    output, head, targets, branches = built
    clean, dirty = fused(branches), fused(branches, garbage=1e3)
    same(decode(output, head, clean), decode(output, head, dirty))
    torch.testing.assert_close(head.loss(clean, targets), head.loss(dirty, targets))


def test_the_steps_of_an_answer_add_up_to_its_support(built: Built) -> None:
    output, head, _, branches = built
    whole = fused(branches)
    answer = decode(output, head, whole)[0].value
    with torch.no_grad():
        support, steps = head.steps(whole, answer)
        torch.testing.assert_close(support, head.support(whole, [answer] * 3), check_dtype=False)
        first = row(whole, 0)
        said = head.alternatives(first, answer, 2)
        looks = head.looks(first, answer)
    assert steps.shape == (3, len(said))
    assert (len(said) > 0) == (output.answer_type == "text" and bool(answer))
    for step, (own, *others) in zip(steps[0].exp().tolist(), said, strict=True):
        assert own.score == pytest.approx(step, rel=1e-4)
        assert len(others) == 2
        assert others[0].score >= others[1].score
        assert all(other.value for other in others)
    for look in looks.values():
        assert look.shape == (len(said), TOKENS)
        assert bool((look >= 0).all())
        assert bool((look.sum(dim=1) <= 1 + 1e-5).all())


def test_what_is_right_is_more_so_than_what_is_not(built: Built) -> None:
    output, _, _, _ = built
    cells = next(cells for kind, _, cells in CASES if kind == registry_name(output))
    references = [output.reference(cell, HERE) for cell in cells]
    right = [r[0] if isinstance(r, list) else r for r in references]
    best = [Prediction(value, 1.0, details=details(output, value, right)) for value in right]
    turned = [*best[1:], best[0]]
    title, good = output.scorer(best, references).rightness()
    bad = output.scorer(turned, references).rightness()[1]
    assert title
    assert good.shape == (len(cells),)
    assert bool((good >= bad).all())
    assert bool((good > bad).any())


def test_built_again_from_its_state_it_answers_the_same(built: Built) -> None:
    output, head, _, branches = built
    again = output.head(WIDTH, NAMES, False, branches).eval()
    again.load_state_dict(head.state_dict())
    whole = fused(branches)
    same(decode(output, again, whole), decode(output, head, whole))


def test_unknown_options_are_refused(built: Built) -> None:
    with pytest.raises(UsageError):
        built[0].options(nothing_is_called_so=1)


def test_right_answers_score_best_and_all_scores_have_titles(built: Built) -> None:
    output, head, _, branches = built
    cells = next(cells for kind, _, cells in CASES if kind == registry_name(output))
    references = [output.reference(cell, HERE) for cell in cells]
    right = [r[0] if isinstance(r, list) else r for r in references]
    wrong = decode(output, head, fused(branches))
    best = [Prediction(value, 1.0, details=details(output, value, right)) for value in right]
    score = output.scorer(best, references)
    quick, some = score(np.arange(len(best))), score(np.zeros(len(best), np.int64))
    good = score.scores().to_json()
    bad = output.scorer(wrong, references).scores().to_json()
    for name in score.best_metrics:
        assert quick[name] == pytest.approx(good[name])
        assert math.isfinite(some[name])  # of a resample that is one record many times
        assert good[name] >= bad[name]
    assert good[score.best_metrics[0]] > bad[score.best_metrics[0]]
    assert set(score.best_metrics) <= set(score.titles) <= set(good)
    assert json.dumps(good)


def details(output: Output, value: Any, values: list[Any]) -> Any:
    """Of an answer that is sure of itself."""
    makers = {"number": Interval, "text": TextDetails}
    if output.answer_type in makers:
        return makers[output.answer_type]()
    return Probabilities(certain(value, values))


def certain(value: Any, values: list[Any]) -> dict[Any, float]:
    """Probabilities of all values, or of all labels where a value is several."""
    said = value if isinstance(value, tuple) else (value,)
    known = {item for v in values for item in (v if isinstance(v, tuple) else (v,))}
    return {item: float(item in said) for item in known}


def test_calibrated_it_answers_and_is_kept(built: Built) -> None:
    output, head, targets, branches = built
    whole = fused(branches)
    head.calibrate(iter([whole] * 9), targets * 9)
    again = output.head(WIDTH, NAMES, False, branches).eval()
    again.load_state_dict(head.state_dict())
    assert json.loads(json.dumps(head.fitted())) == again.fitted()
    mine, theirs = decode(output, again, whole), decode(output, head, whole)
    same(mine, theirs)
    assert [output.bounds(p) for p in mine] == [output.bounds(p) for p in theirs]
    assert (output.bounds(mine[0]) is not None) == (registry_name(output) == "number")


def test_an_answer_can_stand_in_a_table_and_be_read_again(built: Built) -> None:
    output, head, _, branches = built
    for prediction in decode(output, head, fused(branches)):
        cell = output.to_cell(prediction.value)
        assert isinstance(cell, (str, int, float))
        output.read(cell, HERE)


def test_a_prediction_is_json_and_is_restored_for_scores(built: Built) -> None:
    output, head, targets, branches = built
    head.calibrate(iter([fused(branches)] * 9), targets * 9)
    cells = next(cells for kind, _, cells in CASES if kind == registry_name(output))
    references = [output.reference(cell, HERE) for cell in cells]
    found = decode(output, head, fused(branches))
    for prediction in found:
        plain = output.to_json(replace(prediction, shares={"a": 0.123456}), 4)
        assert {"value", "score", "alternatives"} <= set(json.loads(json.dumps(plain)))
        assert plain["shares"] == {"a": 0.1235}
        assert output.same(prediction, prediction.value)
    stored = json.loads(json.dumps([output.store(prediction) for prediction in found]))
    again = [output.restore(raw) for raw in stored]
    scores = [output.scorer(answers, references).scores() for answers in (again, found)]
    assert scores[0] == scores[1]


def test_places_of_the_ranked_are_those_of_rightness(built: Built) -> None:
    output, head, _, branches = built
    cells = next(cells for kind, _, cells in CASES if kind == registry_name(output))
    references = [output.reference(cell, HERE) for cell in cells]
    found = decode(output, head, fused(branches))
    metrics = output.scorer(found, references)
    _, right = metrics.rightness()
    ordered = right[metrics.ranked()].tolist()
    assert ordered == sorted(right.tolist(), reverse=True)


def registry_name(output: Output) -> str:
    names = registry.names("output")
    return next(name for name in names if registry.find("output", name).cls is type(output))


@pytest.mark.parametrize(
    "built", [case for case in TRIED if case[3] != "alone"], ids=case_id, indirect=True
)
def test_a_branch_that_counts_alone_decides_alone(built: Built) -> None:
    output, head, _, branches = built
    whole = fused(branches)
    only_b = replace(whole, weights=torch.tensor([[0.0, 1.0]] * 3))
    other_a = replace(only_b, branches={**only_b.branches, "a": row_order(whole.branches["a"])})
    same(decode(output, head, only_b), decode(output, head, other_a))
    for found in decode(output, head, only_b):
        assert not any(looks.any() for n, looks in output.attention(found).items() if n == "a")
    blended, single = decode(output, head, whole)[1], decode(output, head, only_b)[1]
    assert (blended.value, blended.score) != (single.value, single.score)


def row_order(part: Fused) -> Fused:
    """Other records' tokens."""
    tokens = Tokens(part.tokens.values.flip(0), part.tokens.mask.flip(0))
    return alone("a", tokens)


def test_support_is_a_number_for_each_answer(built: Built) -> None:
    """Of its own answers the model thinks at least as well as of another's."""
    output, head, _, branches = built
    whole = fused(branches)
    answers = [prediction.value for prediction in decode(output, head, whole)]
    found = head.support(whole, answers)
    assert found.shape == (3,)
    assert bool(torch.isfinite(found).all())
    alone_ = head.support(row(whole, 1), answers[1:2])
    torch.testing.assert_close(alone_, found[1:2], rtol=1e-4, atol=1e-4)
