"""The assistant's YAML: what it may hold, and all of its errors together."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from plait.assistant.config import load_config
from plait.package.format import write_manifest
from plait.types import UsageError


def test_without_a_file_it_is_what_ships_with_plait() -> None:
    config = load_config(None)
    assert config.models == {"caption": "captioner", "speech": "whisper"}
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
        "models.intents: captioner does not classify requests": "classes of texts",
        "photos: got 'nowhere'": "a folder",
    }.items():
        assert any(line.strip().startswith(start) and words in line for line in lines), start
    path.write_text("photos: nowhere\n")
    with pytest.raises(UsageError, match="photos: got 'nowhere'; expected a folder"):
        load_config(path)


@pytest.mark.parametrize(
    ("text", "words"), [("- 1\n", "is not an assistant"), ("a: [\n", "can't read")]
)
def test_no_yaml(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UsageError, match=words):
        load_config(tmp_path / "a.yaml")
    with pytest.raises(UsageError, match="there is no assistant"):
        load_config(tmp_path / "b.yaml")


def test_models_that_can_not_do_what_they_are_for(questions: Path, translator: Path) -> None:
    for name, model, why in [
        ("speech", "captioner", "captioner makes text from image; expected a model that makes text "
         "from audio"),
        ("translation", "captioner", "makes text from text, perhaps with image"),
        ("caption", "intents", "intents makes category from text; expected a model that makes text "
         "from image"),
        ("caption", str(questions), "makes category from image and text; expected"),
        ("question", "captioner", "expected a model that makes an answer from image and text"),
        ("translation", str(questions), "makes category from image and text; expected"),
        ("question", str(translator), "makes text from text; expected"),
    ]:  # fmt: skip
        with pytest.raises(UsageError) as error:
            load_config({"models": {name: model}})
        assert f"models.{name}: " in str(error.value)
        assert why in str(error.value)
        assert len(str(error.value).splitlines()) == 1
    both = {"speech": "captioner", "translation": "captioner"}
    with pytest.raises(UsageError, match="has 2 errors"):
        load_config({"models": both})
    for name, model in {"question": questions, "translation": translator}.items():
        assert load_config({"models": {name: str(model)}}).models[name] == str(model)


def test_models_are_known_by_their_recipes(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(trained, folder)
    (folder / "weights.safetensors").write_bytes(b"")  # no weights are loaded
    write_manifest(folder)
    assert load_config({"models": {"caption": str(folder)}}).models == {"caption": str(folder)}
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    recipe["inputs"] = {"a": {"modality": "series", "representation": {"kind": "sequence"}}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    write_manifest(folder)
    for name, kinds in {
        "speech": "text from audio",
        "own": "an answer from image or text or audio",
    }.items():
        with pytest.raises(UsageError) as error:
            load_config({"models": {name: str(folder)}})
        why = f"models.{name}: {folder} makes text from series; expected a model that makes {kinds}"
        assert why in str(error.value)
    (folder / "state.json").unlink()
    with pytest.raises(UsageError, match=r"models\.caption: the package .* lacks state\.json"):
        load_config({"models": {"caption": str(folder)}})


def test_models_of_a_wrong_form() -> None:
    for models in ("captioner", ["captioner"], {"caption": 3}, {3: "captioner"}, None):
        with pytest.raises(UsageError, match="models"):
            load_config({"models": models, "photos": {"a": "b"}})


def test_photos_by_the_caller(tmp_path: Path, photos: Path) -> None:
    assert load_config(None, photos).photos == photos
    with pytest.raises(UsageError, match="expected a folder"):
        load_config(None, tmp_path / "nowhere")
