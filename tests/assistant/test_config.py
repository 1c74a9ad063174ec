"""The assistant's YAML: what it may hold, and all of its errors together."""

from __future__ import annotations

from pathlib import Path

import pytest

from plait.assistant.config import load_config
from plait.types import UsageError


def test_without_a_file_it_is_what_ships_with_plait() -> None:
    config = load_config(None)
    assert config.models == {"caption": "captioner"}
    assert config.router == "intents"
    assert config.photos is None


def test_paths_start_at_the_file(tmp_path: Path, trained: Path, photos: Path) -> None:
    (tmp_path / "mine").symlink_to(trained)
    (tmp_path / "a.yaml").write_text(
        "models: {caption: mine, question: 'hub:photos', translation: 'hub:some/name'}\n"
        "photos: photos\nwords: minilm\n"
    )
    config = load_config(tmp_path / "a.yaml")
    assert config.models["caption"] == str(tmp_path / "mine")
    assert config.models["question"] == f"hub:{photos}"
    assert config.models["translation"] == "hub:some/name"
    assert config.photos == photos


def test_all_errors_together(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "models: {captoin: captioner, caption: captionr, intents: captioner, speech: 'hub:x/y'}\n"
        "confidense: 0.5\nfound: many\nwords: glove\nphotos: nowhere\n"
    )
    with pytest.raises(UsageError) as error:
        load_config(path)
    lines = str(error.value).splitlines()
    assert lines[0] == "the assistant has 7 errors:"
    for start, words in {
        "confidense: unknown setting": "did you mean 'confidence'?",
        "found: got 'many'": "integer",
        "words: got 'glove'": "'tf-idf' or 'minilm'",
        "models.captoin: unknown": "did you mean 'caption'?",
        "models.caption: there is no model 'captionr'": "did you mean 'captioner'?",
        "models.intents: captioner tells no intents": "texts to a category",
        "photos: got 'nowhere'": "a folder",
    }.items():
        assert any(line.strip().startswith(start) and words in line for line in lines), start
    path.write_text("photos: nowhere\n")
    with pytest.raises(UsageError, match="photos: got 'nowhere'; expected a folder"):
        load_config(path)


@pytest.mark.parametrize(
    ("text", "words"), [("- 1\n", "holds no assistant"), ("a: [\n", "can't be read as YAML")]
)
def test_no_yaml(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UsageError, match=words):
        load_config(tmp_path / "a.yaml")
    with pytest.raises(UsageError, match="there is no assistant"):
        load_config(tmp_path / "b.yaml")


def test_models_of_a_wrong_form() -> None:
    for models in ("captioner", ["captioner"], {"caption": 3}, {3: "captioner"}, None):
        with pytest.raises(UsageError, match="models"):
            load_config({"models": models, "photos": {"a": "b"}})


def test_photos_by_the_caller(tmp_path: Path, photos: Path) -> None:
    assert load_config(None, photos).photos == photos
    with pytest.raises(UsageError, match="expected a folder"):
        load_config(None, tmp_path / "nowhere")
