"""Packages to and from a folder in the hub's format, and the hub itself, which is played."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import yaml

import plait
from plait.package.format import FILES
from plait.package.hub import pull, push
from plait.types import PlaitError, UsageError


def header(folder: Path) -> dict[str, Any]:
    _, text, card = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert card.lstrip().startswith("# captioning")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_to_a_folder_and_back(trained: Path, squares: Path, tmp_path: Path) -> None:
    target = tmp_path / "owner" / "model"
    assert push(trained, str(target)) == str(target)
    assert {p.name for p in target.iterdir()} == {*FILES, "README.md"}
    found = header(target)
    assert found["library_name"] == "plait"
    assert found["pipeline_tag"] == "image-to-text"
    assert (found["license"], found["license_name"]) == ("other", "as the training data allow")
    usage = (target / "README.md").read_text(encoding="utf-8")
    assert "plait pull OWNER/captioning model" in usage  # not the path of this machine
    assert str(tmp_path) not in usage
    [index] = found["model-index"]
    scores = plait.load(trained).scores["validation"]["scores"]["caption"]
    metrics = {m["name"]: m["value"] for r in index["results"] for m in r["metrics"]}
    assert metrics["CIDEr-D"] == pytest.approx(scores["cider"], abs=1e-3)
    (target / "evil.py").write_text("raise SystemExit")
    out = pull(str(target), tmp_path / "back")
    assert {p.name for p in out.iterdir()} == set(FILES)
    photo = next(squares.parent.glob("*.png"))
    assert plait.load(out).predict(photo).value == plait.load(trained).predict(photo).value


def test_again_over_what_was_there(trained: Path, tmp_path: Path) -> None:
    target = tmp_path / "model"
    push(trained, str(target))
    (target / "README.md").write_text("old")
    push(trained, str(target))
    assert header(target)["tags"][0] == "plait"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_the_hub(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = tmp_path / "hub"
    made: list[Any] = []

    def create(repo_id: str, *, private: bool, exist_ok: bool) -> None:
        made.append((repo_id, private, exist_ok))

    def upload(*, repo_id: str, folder_path: str, commit_message: str) -> None:
        made.append((repo_id, commit_message))
        shutil.copytree(folder_path, stored)

    def download(repo_id: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        made.append((repo_id, revision, allow_patterns))
        return str(stored)

    monkeypatch.setattr(huggingface_hub, "create_repo", create)
    monkeypatch.setattr(huggingface_hub, "upload_folder", upload)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert push(trained, "owner/name", private=True) == "https://huggingface.co/owner/name"
    pull("owner/name", tmp_path / "out", revision="v1")
    assert made == [
        ("owner/name", True, True),
        ("owner/name", "captioning, by plait"),
        ("owner/name", "v1", list(FILES)),
    ]
    assert plait.load(tmp_path / "out").name == "captioning"


def test_a_hub_that_refuses_is_told_in_a_line(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **more: Any) -> None:
        raise OSError("401\nUnauthorized")

    monkeypatch.setattr(huggingface_hub, "create_repo", refuse)
    with pytest.raises(PlaitError, match="the repository owner/name on the Hub: 401 Unauthorized"):
        push(trained, "owner/name")


def test_wrong_places(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'a/b/c' is neither a folder nor a repository"):
        push(trained, "a/b/c")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(
        UsageError, match=r"contains files that don't belong to a package, such as notes.txt"
    ):
        push(trained, str(tmp_path))
    with pytest.raises(
        UsageError, match=r"contains files that don't belong to a package, such as notes.txt"
    ):
        pull(str(trained), tmp_path)
    with pytest.raises(PlaitError, match=r"lacks recipe\.yaml"):
        pull(str(tmp_path), tmp_path / "out")
    with pytest.raises(UsageError, match="has no revisions"):
        pull(str(trained), tmp_path / "out", revision="main")
    assert not (tmp_path / "out").exists()
