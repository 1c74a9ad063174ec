"""What `plait` offers in Python: every name says what it takes and has an example; those that need
only what plait brings, run."""

from __future__ import annotations

import doctest
import inspect
import re
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

import plait

ROOT = Path(__file__).parents[1]
METHODS = [
    "Model.predict", "Model.predict_batch", "Model.predict_table", "Model.evaluate",
    "Model.explain", "Model.attention", "Model.check_attention", "Model.decoding_options",
    "Model.reader", "Model.unread",
]  # fmt: skip
SHIPPED = [
    "Assistant", "BadCell", "Evaluation", "Model", "PlaitError", "Prediction", "Recipe",
    "UsageError", "load", "load_recipe", "profile", "read_table", *METHODS,
]  # fmt: skip
"""Names whose examples need nothing but what plait brings and the photos of its examples."""
SHOWN = {"compare", "export_arpa", "train", "transcribe", "translate"}
"""Names whose examples need tables or models of one's own."""


def docs(name: str) -> str:
    return inspect.cleandoc(attrgetter(name)(plait).__doc__)


def examples(name: str) -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(docs(name))


@pytest.mark.parametrize("name", [*plait.__all__, *METHODS])
def test_it_has_an_example(name: str) -> None:
    found = examples(name)
    assert found
    for example in found:
        compile(example.source, name, "single")
    last = found[-1]
    assert last.want or name == "export_arpa", f"{name} shows nothing of what it gives"


@pytest.mark.parametrize("name", [*plait.__all__, *METHODS, "Model.save"])
def test_its_docs_name_every_argument(name: str) -> None:
    text = docs(name)
    for parameter in inspect.signature(attrgetter(name)(plait)).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        described = re.search(rf"^    {parameter.name}(, \w+)*: |``{parameter.name}``", text, re.M)
        assert described or parameter.name == "self", parameter.name


def test_every_example_is_run_or_known_to_need_more() -> None:
    assert sorted({name.split(".")[0] for name in SHIPPED} | SHOWN) == sorted(plait.__all__)


@pytest.mark.parametrize("name", SHIPPED)
def test_its_example_gives_what_it_says(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").symlink_to(ROOT / "examples" / "photos")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"plait": plait}
    own = examples(name)
    if name in METHODS:  # they continue the class's example
        own = examples("Model") + own
    test = doctest.DocTest(own, names, name, None, None, None)
    assert doctest.DocTestRunner().run(test).failed == 0


def test_the_reference_lists_every_name() -> None:
    page = (ROOT / "docs" / "python.md").read_text()
    assert sorted(re.findall(r"^::: plait\.(\w+)$", page, re.M)) == sorted(plait.__all__)
