"""What `plait` offers in Python: every name has an example, and those that need no files run."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

import plait

SHIPPED = ("BadCell", "PlaitError", "Prediction", "Recipe", "UsageError", "load_recipe")
"""Names whose examples need nothing but what plait brings."""


def examples(name: str) -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(getattr(plait, name).__doc__ or "")


@pytest.mark.parametrize("name", plait.__all__)
def test_it_has_an_example(name: str) -> None:
    found = examples(name)
    assert found
    for example in found:
        compile(example.source, name, "single")


@pytest.mark.parametrize("name", SHIPPED)
def test_its_example_gives_what_it_says(name: str) -> None:
    names: dict[str, Any] = {"plait": plait}
    test = doctest.DocTest(examples(name), names, name, None, None, None)
    assert doctest.DocTestRunner().run(test).failed == 0
