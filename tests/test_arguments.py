"""Public functions refuse arguments that don't fit their signatures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from untrained import make_model

import plait
from plait.util.arguments import checked

WRONG = st.one_of(
    st.none(), st.integers(), st.floats(), st.booleans(), st.binary(), st.lists(st.integers()),
    st.just(object()), st.just(np.zeros(3)), st.sets(st.integers()),
)  # fmt: skip


@checked
def example(
    path: str | Path,
    names: Iterable[str] = (),
    columns: Mapping[str, str] | None = None,
    *,
    count: int = 1,
    share: float = 0.5,
    how: Literal["stop", "skip"] = "stop",
    told: Callable[[str], None] | None = None,
    **options: Any,
) -> str:
    """What it was given."""
    return str(path)


def test_what_fits_is_handed_on() -> None:
    assert example("a", ["b"], {"c": "d"}, count=np.int64(2), share=1, told=print, x=2) == "a"
    assert example(Path("a"), how="skip", told=None, share=np.float32(0.5)) == "a"
    assert example.__doc__ == "What it was given."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": None}, "path is None; expected a path"),
        ({"path": "a", "names": "bc"}, "names is 'bc'; expected a list"),
        ({"path": "a", "columns": "b"}, "columns is 'b'; expected a dictionary or None"),
        ({"path": "a", "count": True}, "count is True; expected a whole number"),
        ({"path": "a", "count": 1.5}, "count is 1.5; expected a whole number"),
        ({"path": "a", "share": "x"}, "share is 'x'; expected a number"),
        ({"path": "a", "how": "go"}, "how is 'go'; expected stop or skip"),
        ({"path": "a", "told": 3}, "told is 3; expected a function or None"),
        ({}, "missing a required argument: 'path'; expected path, names, columns, count, share"),
    ],
)
def test_what_does_not_fit_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(plait.UsageError, match=message):
        example(**arguments)


@settings(deadline=None, max_examples=25)
@given(WRONG)
def test_no_public_function_takes_just_anything(value: Any) -> None:
    calls: list[Callable[[Any], Any]] = [
        plait.load, plait.load_recipe, plait.read_table,
        lambda v: plait.export_arpa(v, "out.arpa"), lambda v: plait.transcribe(v, "a.wav"),
        lambda v: plait.translate(v, ["a"]), lambda v: plait.train(v, {}, "out"),
        lambda v: plait.compare(v, {}, "out"),
        lambda v: plait.train("captioning", v, "out"),
        lambda v: plait.profile(v, None, None), lambda v: plait.Assistant(1 if v is None else v),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(plait.PlaitError):
            call(value)


@settings(deadline=None, max_examples=25)
@given(WRONG.filter(lambda value: value is not None))
def test_no_method_of_a_model_takes_just_anything(value: Any) -> None:
    model = small_model()
    calls: list[Callable[[Any], Any]] = [
        model.save, model.evaluate,
        lambda v: model.evaluate({"text": ["a"], "class": ["a"]}, split=v),
        lambda v: model.evaluate({"text": ["a"], "class": ["a"]}, by=v),
        lambda v: model.evaluate({"text": ["a"], "class": ["a"]}, on_bad=v),
        lambda v: model.evaluate({"text": ["a"], "class": ["a"]}, columns=v),
        lambda v: model.predict("a", root=v), lambda v: model.predict_batch("a", root=v),
        lambda v: model.predict_table(v, {}), lambda v: model.explain("a", output=v),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(plait.PlaitError):
            call(value)


def test_a_misspelt_option_is_named() -> None:
    with pytest.raises(plait.UsageError, match="unexpected keyword argument 'epochs'; expected "):
        plait.train("captioning", {}, "out", epochs=3)  # type: ignore[call-arg]
    with pytest.raises(plait.UsageError, match=r"unexpected keyword argument 'seed'; .*seeds"):
        plait.compare("captioning", {}, "out", seed=3)
    with pytest.raises(plait.UsageError, match="no decoding option 'includetraining'"):
        small_model().evaluate({"text": ["a"], "class": ["a"]}, includetraining=True)


def test_an_error_says_which_record_it_is() -> None:
    with pytest.raises(plait.UsageError, match="record 2: the record has no input"):
        list(small_model().predict_batch(["good", None]))


def test_one_record_is_not_taken_for_several() -> None:
    model = small_model()
    with pytest.raises(plait.UsageError, match=r"several records.*predict_batch answers several"):
        model.predict(["good", "bad"])
    assert model.predict({"text": ["good", "bad"]}).value in ("a", "b")
    assert len(list(model.predict_batch(["good", "bad"]))) == 2


@cache
def small_model() -> plait.Model:
    return make_model(
        {"text": {"modality": "text", "representation": {"kind": "bag-of-words", "min_count": 1}}},
        {"class": {"kind": "category"}},
        {"text": ["good", "bad"], "class": ["a", "b"]},
        {"kind": "none", "width": 8},
    )
