"""A model of the hub at a revision, read from a cache of the hub that the test makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from plait.config.recipe import check_recipe
from plait.package.card import write_card

COMMITS = {"main": "a" * 40, "v1": "b" * 40}


@pytest.fixture
def hub(tmp_path: Path) -> dict[str, str]:
    """The environment in which a cache holds two revisions of one model."""
    pytest.importorskip("transformers", reason="needs the extra plait[hub]")
    model = tmp_path / "hub" / "models--me--tiny"
    for width, (name, commit) in enumerate(COMMITS.items(), start=1):
        snapshot = model / "snapshots" / commit
        snapshot.mkdir(parents=True)
        config = {"model_type": "bert", "hidden_size": 12 * width}
        (snapshot / "config.json").write_text(json.dumps(config))
        (model / "refs").mkdir(exist_ok=True)
        (model / "refs" / name).write_text(commit)
    return {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}


@pytest.mark.slow
def test_a_revision_is_resolved_to_its_commit(hub: dict[str, str]) -> None:
    code = (
        "import json, sys\nfrom plait.nn.hub import load_config\n"
        "configs = [load_config(name) for name in sys.argv[1:]]\n"
        "print(json.dumps([[c['revision'], c['hidden_size']] for c in configs]))"
    )
    command = [sys.executable, "-c", code, "me/tiny", "me/tiny@v1", f"me/tiny@{COMMITS['v1']}"]
    done = subprocess.run(command, env=hub, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    newest, old = [COMMITS["main"], 12], [COMMITS["v1"], 24]
    assert json.loads(done.stdout) == [newest, old, old]


def test_the_card_names_the_commit() -> None:
    hub = {"kind": "hub", "name": "me/tiny@v1"}
    frame = {"kind": "hub", "name": "me/photos"}
    recipe = check_recipe(
        {
            "name": "pinned",
            "inputs": {
                "words": {"modality": "text", "representation": hub},
                "clip": {"modality": "video", "representation": {"kind": "frames", "image": frame}},
            },
            "fusion": {"kind": "early"},
            "outputs": {"mood": {"kind": "category"}},
        }
    )
    states = {
        "inputs.words": {"config": {"revision": COMMITS["v1"]}},
        "inputs.clip": {"image": {"config": {"revision": COMMITS["main"]}}},
    }
    card = write_card(recipe, {}, states)
    assert f"- Pretrained: hub:me/photos at commit {COMMITS['main']}." in card
    assert f"- Pretrained: hub:me/tiny@v1 at commit {COMMITS['v1']}." in card
