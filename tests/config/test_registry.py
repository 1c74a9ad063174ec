"""What is imported when a component is asked for, and components of other packages."""

from __future__ import annotations

import importlib.metadata
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plait.config import registry
from plait.data.tables import Table
from plait.pipeline.columns import guess_column, modality_of, plain_columns
from plait.types import PlaitError, UsageError

POINTS = """
from pathlib import Path
import numpy as np
from plait.config.registry import register
from plait.modalities.base import Facts, Modality

@register("points", "cloud")
class Cloud(Modality):
    'A cloud of points.'

    facts = Facts(
        column_names=("scan",), example="'scan.ply'", files="a PLY file", noun="a point cloud",
        hub_tasks={"category": "other"}, request="That needs a scan: give its path",
    )
    points: int = 16

    @classmethod
    def recognises(cls, cell):
        return "certain" if isinstance(cell, str) and cell.endswith(".ply") else "no"

    def read(self, cell, root):
        return np.zeros((self.points, 3), np.float32)

    def example(self):
        return np.zeros((self.points, 3), np.float32)

    def samples(self):
        return [b"ply", b"ply2"]

    def fingerprint(self):
        return f"cloud {self.points}"

    def encoder(self, pretrained):
        raise NotImplementedError
"""


@pytest.fixture
def plugins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[importlib.metadata.EntryPoint]]:
    """The entry points that are found; forgotten again behind the test."""
    found: list[importlib.metadata.EntryPoint] = []
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "their_points.py").write_text(POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda group: found)
    caches = (registry._import_plugins, registry._import_all, registry.modality)
    for cache in caches:
        cache.cache_clear()
    yield found
    sys.modules.pop("their_points", None)
    registry._COMPONENTS.pop(("points", "cloud"), None)
    for cache in caches:
        cache.cache_clear()


def entry(module: str) -> importlib.metadata.EntryPoint:
    return importlib.metadata.EntryPoint("theirs", module, registry.PLUGINS)


def test_only_what_is_asked_for_is_imported() -> None:
    code = (
        "import sys\n"
        "from plait.config import registry\n"
        "registry.find('image', 'pixels'), registry.find('text', 'hub:x')\n"
        "found = {m for m in sys.modules if m.startswith('plait.modalities.')}\n"
        "assert not {m for m in found if '.cnn' in m or '.audio' in m or 'networks' in m}, found\n"
        "assert not {'torch', 'sklearn', 'transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_listing_modalities_imports_no_torch() -> None:
    code = (
        "import sys\n"
        "from plait.config import registry\n"
        "for kind in registry.modalities():\n"
        "    registry.names(kind), registry.modality(kind).facts\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_another_package_adds_a_modality(plugins: list[Any]) -> None:
    assert "points" not in registry.modalities()
    with pytest.raises(UsageError, match="there is no kind 'points' of component"):
        registry.find("points", "cloud")
    registry._import_plugins.cache_clear()
    plugins.append(entry("their_points"))
    assert "points" in registry.modalities()
    assert "points" in registry.kinds()
    assert registry.names("points") == ["cloud"]
    built = registry.build("points", {"kind": "cloud", "points": 4})
    assert built.read("a.ply", Path()).shape == (4, 3)
    assert built.segments("a.ply", Path()).names == ("all of it",)
    assert modality_of("a.ply") == "points"
    table = Table(
        Path("t.csv"), Path(), {"x": ["a.ply", "b.ply"], "y": ["u", "u"], "Scan": ["c.ply"] * 2}
    )
    assert guess_column(table, "points") == "Scan"
    assert guess_column(table, "category") == "y"
    assert plain_columns(table, ["Scan"]) == ["y"]


def test_a_plug_in_that_fails_is_named_and_left_out(
    plugins: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    plugins += [entry("no_such_module"), entry("their_points")]
    with caplog.at_level(logging.WARNING, "plait"):
        assert "points" in registry.modalities()
    assert "the plug-in theirs (no_such_module) can't be used" in caplog.text


def test_no_name_is_taken_twice() -> None:
    registry.find("image", "cnn")
    with pytest.raises(PlaitError, match=r"registers image 'cnn', which plait\.modalities"):
        registry.register("image", "cnn")(type("Other", (), {}))


def test_representations_of_a_modality_share_its_facts() -> None:
    for kind in registry.modalities():
        classes = [registry.find(kind, name).cls for name in registry.names(kind)]
        for fact in ("facts", "media", "several_columns"):
            assert all(getattr(c, fact) == getattr(classes[0], fact) for c in classes), (kind, fact)
        assert all(c.recognises(7) == classes[0].recognises(7) for c in classes)  # type: ignore[attr-defined]
