"""Code that a page shows with a file's name is in the plug-in of the tests, word for word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from plait.config import registry

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "plugins.md"
PLUGIN = ROOT / "tests" / "plugins" / "pointcloud"
QUOTES = re.findall(r'^```\w+ title="([^"\n]+)"\n(.*?)^```$', PAGE.read_text(), re.M | re.S)


def test_it_quotes_every_side_of_the_plug_in() -> None:
    sources = {p.name for p in PLUGIN.rglob("*.py")} - {"__init__.py", "files.py"}
    assert {Path(name).name for name, _ in QUOTES} == sources | {"pyproject.toml"}


@pytest.mark.parametrize(("name", "text"), QUOTES, ids=[name for name, _ in QUOTES])
def test_it_is_in_the_file(name: str, text: str) -> None:
    source, at = (PLUGIN / name).read_text(), 0
    for part in text.split("\n...\n"):
        at = source.find(part.rstrip("\n") + "\n", at)
        assert at >= 0, part


def test_it_names_every_kind_of_component() -> None:
    rows = re.findall(r"^\| an? [^|]* \| `([\w.]+)\.(\w+)` \| (.*) \|$", PAGE.read_text(), re.M)
    named = {name for _, _, names in rows for name in re.findall(r"`([\w-]+)`", names)}
    assert named - {"points", "image"} == set(registry.FOLDERS) - set(registry.modalities())
    for module, base, _ in rows:
        assert hasattr(__import__(module, fromlist=[base]), base)
