"""The assistant as a caller in Python meets it."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from samples import draw

import plait
from plait.assistant.session import Session, Turn
from plait.tasks.translate import translate
from plait.types import PlaitError, UsageError

UNSURE = {"confidence": 1.0}  # asks back at every request


@pytest.fixture
def assistant(trained: Path, questions: Path, translator: Path) -> plait.Assistant:
    return plait.Assistant(
        {"models": {"caption": str(trained), "question": str(questions),
                    "translation": str(translator)}}
    )  # fmt: skip


def test_a_caption_with_its_evidence(
    assistant: plait.Assistant, photo: Path, trained: Path
) -> None:
    turn = assistant.say("what is in this photo?", photo=photo)
    assert turn.ok
    assert "green square" in turn.answer
    assert turn.answer[0].isupper()
    assert turn.answer.endswith(".")
    assert turn.model == str(trained)
    assert turn.intent == "caption"
    assert turn.intents["caption"] == max(turn.intents.values()) > 0.5
    assert turn.probability is not None
    assert 0 < turn.probability <= 1
    assert turn.steps >= 3
    assert len(turn.alternatives) == 2
    assert turn.value not in [other.value for other in turn.alternatives]
    said = plait.load(trained).predict(photo, num=3)
    assert turn.value == said.value
    assert turn.inputs == {"image": str(photo)}


def test_the_photo_is_remembered(assistant: plait.Assistant, photo: Path, tmp_path: Path) -> None:
    assistant.show(photo)
    first = assistant.say("what colour is the square?")
    assert (first.value, first.photo) == ("green", str(photo))
    assert first.inputs["question"] == "what colour is the square?"
    assert set(first.shares) == {"photo", "question"}
    assert first.probability == pytest.approx(1 - sum(
        p.probability for p in first.alternatives), abs=0.05)  # fmt: skip
    again = assistant.say("and how many squares?")
    assert again.value == "one"
    assert again.photo == str(photo)
    other = tmp_path / "other.png"
    draw("blue", "right", 5).save(other)
    assert assistant.say(f"what colour is the square in {other}?").value == "blue"
    assert assistant.say("and what colour is the square?").photo == str(other)


@pytest.mark.parametrize("name", ["./photo.png", "'photo.png'?", "(photo.png)", "photo.png."])
def test_a_request_names_its_photo(
    assistant: plait.Assistant, photo: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(photo.parent)
    turn = assistant.say(f"describe {name}")
    assert turn.ok, turn.answer
    assert turn.request == "describe this photo"
    assert turn.photo is not None
    assert Path(turn.photo) == Path("photo.png")
    assert "gone.jpg is missing" in assistant.say("describe gone.jpg please").answer
    assert assistant.session.photo == turn.photo


def test_a_request_waits_for_its_photo(assistant: plait.Assistant, photo: Path) -> None:
    turn = assistant.say("what colour is the square?")
    assert not turn.ok
    assert turn.answer == "That needs a photo: give its path"
    answered = assistant.show(photo)
    assert answered.ok
    assert answered.value == "green"
    assert answered.request == "what colour is the square?"
    assert assistant.show(photo).intent is None  # it was answered once


def test_what_is_translated(assistant: plait.Assistant, photo: Path) -> None:
    nothing = assistant.say("translate it")
    assert nothing.answer.startswith("That needs a text")
    assert not nothing.ok
    assert assistant.say('translate "red dog" into German').value == "rot hund"
    assert assistant.say("how do you say blue cat in German?").inputs == {"text": "blue cat"}
    caption = assistant.say("describe the photo", photo=photo)
    assert assistant.say("now translate that please").inputs == {"text": caption.answer}
    assert assistant.say("translate it").inputs == {"text": caption.answer}  # no translation again
    assert assistant.say("translate a man in red").inputs == {"text": "a man in red"}
    assert assistant.say("translate the following text").answer.startswith("That needs a text")


@pytest.mark.parametrize("text", ["red dog", "how many red dogs", "find photos of a red dog"])
def test_a_request_waits_for_its_text(assistant: plait.Assistant, photo: Path, text: str) -> None:
    assert assistant.say("translate it").answer == "That needs a text: type it"
    turn = assistant.say(text)
    assert turn.ok, turn.answer
    assert (turn.intent, turn.request, turn.inputs) == ("translation", text, {"text": text})
    assert turn.intents["translation"] == max(turn.intents.values())
    assert assistant.say("what colour is the square?", photo=photo).intent == "question"  # once


def test_a_wait_for_a_text_ends(assistant: plait.Assistant, photo: Path, tmp_path: Path) -> None:
    assistant.say("translate it")
    assert assistant.say('translate "blue cat"').inputs == {"text": "blue cat"}
    assistant.say("translate the following text")
    assert assistant.say("no thanks").answer == "All right. What else?"
    assert assistant.say("what colour is the square?").waits == "image"
    assistant.show(photo)
    assistant.say("translate the following text")
    assert assistant.show(photo).waits == "text"  # a photo is no text
    assert assistant.say("red dog").value == "rot hund"


def test_what_of_a_text_is_not_read_is_noted(
    assistant: plait.Assistant, translator: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By the line that ``plait translate`` warns with."""
    assert assistant.say('translate "red dog"').note is None
    texts = ["жёлтый слон", "red dog " * 100]
    notes = [assistant.say(f"translate: {text}").note for text in texts]
    assert notes[0] == "жёлтый слон: most of its words were in no training text"
    with caplog.at_level(logging.WARNING):
        assert len(list(translate(plait.load(translator), texts))) == 2
    assert caplog.messages == notes
    assistant.session.save(tmp_path / "talk.jsonl")
    assert Session(tmp_path / "talk.jsonl").turns[-1].note == notes[1]


def test_an_answer_that_is_hardly_believed(trained: Path, photo: Path) -> None:
    config = {"models": {"caption": str(trained)}}
    sure = plait.Assistant({**config, "doubt": 0}).say("describe it", photo=photo)
    assert sure.probability is not None
    assert 0 < sure.probability < 1
    doubting = plait.Assistant({**config, "doubt": sure.probability + 1e-3})
    turn = doubting.say("describe it", photo=photo)
    assert (turn.ok, turn.answer, turn.value) == (True, f"perhaps: {sure.answer}", sure.value)
    assert plait.Assistant(config).config.doubt == 0.5


def test_what_is_translated_has_no_perhaps(trained: Path, translator: Path, photo: Path) -> None:
    models = {"caption": str(trained), "translation": str(translator)}
    assistant = plait.Assistant({"models": models, "doubt": 1})
    caption = assistant.say("describe the photo", photo=photo)
    assert caption.answer.startswith("perhaps: ")
    [text] = assistant.say("translate it").inputs.values()
    assert caption.answer == f"perhaps: {text}"


@pytest.mark.parametrize("request_", [None, 3, b"describe it"])
def test_a_request_that_is_no_string(request_: Any) -> None:
    with pytest.raises(UsageError, match=r"request is .*; expected a text"):
        plait.Assistant().say(request_)


def test_a_photo_helps_to_translate_where_there_is_one(seeing: Path, photo: Path) -> None:
    assistant = plait.Assistant({"models": {"translation": str(seeing)}})
    request = 'translate "what colour is the square"'
    alone = assistant.say(request)
    assert alone.ok
    assert alone.inputs == {"question": "what colour is the square"}
    assert not alone.shares
    seen = assistant.say(request, photo=photo)
    assert seen.inputs == {**alone.inputs, "photo": str(photo)}
    assert seen.value == "green"


@pytest.mark.parametrize(
    ("request_", "noun", "name"),
    [
        ("translate it please", "translation", "translation"),
        ("what colour is the hat?", "questions", "question"),
    ],
)
def test_models_that_are_not_there(photo: Path, request_: str, noun: str, name: str) -> None:
    turn = plait.Assistant().say(request_, photo=photo)
    assert not turn.ok
    assert turn.answer == f"I have no model for {noun}; add one under models.{name}"


def test_what_can_not_be_answered(assistant: plait.Assistant, tmp_path: Path) -> None:
    assert assistant.say("find photos of a dog").answer.startswith("I have no photos to search")
    turn = assistant.say("play some jazz")
    assert turn.intent == "none"
    assert not turn.ok
    assert "I can caption the photo, answer a question" in turn.answer
    gone = assistant.show(tmp_path / "gone.png")
    assert not gone.ok
    assert "gone.png is missing" in gone.answer
    assert assistant.session.photo is None
    heard = assistant.hear(tmp_path / "gone.wav")
    assert heard.answer == "I have no model for speech; add one under models.speech"


@pytest.mark.parametrize("reply", ["caption", "the first", "1"])
def test_it_asks_back(trained: Path, photo: Path, photos: Path, reply: str) -> None:
    assistant = plait.Assistant({"models": {"caption": str(trained)}, **UNSURE}, photos=photos)
    asked = assistant.say("describe the photo", photo=photo)
    assert asked.answer.startswith("Shall I caption the photo, or search ")
    assert asked.answer.endswith("?")
    assert asked.choices[0] == "caption"
    assert asked.model is None
    assert not asked.ok
    turn = assistant.say(reply)
    assert "green square" in turn.answer
    assert (turn.intent, turn.request) == ("caption", "describe the photo")
    assert not turn.choices


def test_a_choice_may_wait_for_a_photo(trained: Path, photo: Path) -> None:
    assistant = plait.Assistant({"models": {"caption": str(trained)}, **UNSURE})
    assert assistant.say("describe the photo").answer == "Shall I caption the photo?"
    assert assistant.say("yes please").answer == "That needs a photo: give its path"
    assert "green square" in assistant.show(photo).answer


def test_nothing_to_choose_from() -> None:
    assistant = plait.Assistant({"models": {}, **UNSURE})
    assert assistant.say("describe the photo").answer.startswith("I have no model for captions")
    assert assistant.say("tell me a joke").answer == ("I can't do that. I can do nothing yet.")


@pytest.mark.parametrize("request_", ["", "   ", "\t\n"])
def test_an_empty_request(assistant: plait.Assistant, request_: str, photo: Path) -> None:
    turn = assistant.say(request_, photo=photo)
    assert not turn.ok
    assert turn.answer.startswith("The request is empty: ask something")
    assert turn.photo == str(photo)


def test_no_choice(trained: Path, photo: Path, photos: Path) -> None:
    assistant = plait.Assistant({"models": {"caption": str(trained)}, **UNSURE}, photos=photos)
    assistant.say("describe the photo", photo=photo)
    assert assistant.say("neither").answer == "All right. What else?"
    assistant.say("describe the photo")
    other = assistant.say("please find me photos of a green square")  # a request of its own
    assert other.request == "please find me photos of a green square"
    assert "search" in other.choices


def test_a_clear_request_is_no_choice(trained: Path, photo: Path, photos: Path) -> None:
    """Though it has words of an offer: "search" and "photos"."""
    assistant = plait.Assistant({"models": {"caption": str(trained)}}, photos=photos)
    offered = Turn(request="it", answer="?", choices=["question", "search"], photo=str(photo))
    assistant.session.add(offered)
    turn = assistant.say("find photos like this")
    assert (turn.intent, turn.request) == ("similar", "find photos like this")
    assert turn.found
    assistant.session.add(offered)
    assert assistant.say("the second one please").intent == "search"
    assistant.session.add(offered)
    assert assistant.say("is the last one red").intent == "question"


def test_why(assistant: plait.Assistant, photo: Path, tmp_path: Path) -> None:
    with pytest.raises(PlaitError, match="no answer to explain yet"):
        assistant.why(tmp_path)
    turn = assistant.say("caption this", photo=photo)
    path = assistant.why(tmp_path / "why")
    assert path == tmp_path / "why" / "photo.attention.png"
    with Image.open(path) as picture:
        tiles = (picture.width // 232) * (picture.height // 262)
    assert tiles >= 1 + turn.steps


def test_why_without_attention(
    assistant: plait.Assistant, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("captum")
    assistant.say("what colour is the square?", photo=photo)
    path = assistant.why(tmp_path / "why")
    assert path == tmp_path / "why" / "photo.explanation.png"
    with Image.open(path) as picture:
        assert picture.width > 2 * picture.height  # shares, question and photo
    assistant.say('translate "red dog"')
    assert assistant.why(tmp_path / "why").name == "photo.explanation.png"
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(PlaitError, match=r"pip install 'plait\[explain\]'"):
        assistant.why(tmp_path)


def test_why_of_a_long_text(translator: Path, tmp_path: Path) -> None:
    pytest.importorskip("captum")
    assistant = plait.Assistant({"models": {"translation": str(translator)}})
    assistant.say(f"translate: {'red/dog ' * 60}")
    assert assistant.why(tmp_path) == tmp_path / "answer.explanation.png"


def test_a_search_has_no_picture(trained: Path, photo: Path, photos: Path, tmp_path: Path) -> None:
    assistant = plait.Assistant({"models": {"caption": str(trained)}}, photos=photos)
    assert assistant.say("find photos like this", photo=photo).found
    with pytest.raises(PlaitError, match="a search can't be drawn"):
        assistant.why(tmp_path)


def test_a_session_goes_on(trained: Path, photo: Path, tmp_path: Path) -> None:
    config: dict[str, Any] = {"models": {"caption": str(trained)}}
    file = tmp_path / "talk.jsonl"
    first = plait.Assistant(config, session=file)
    first.say("describe the photo", photo=photo)
    first.session.save(tmp_path / "copy.jsonl")
    assert file.read_text() == (tmp_path / "copy.jsonl").read_text()
    again = plait.Assistant(config, session=file)
    assert again.session.turns == first.session.turns
    turn = again.say("give it another caption")
    assert turn.photo == str(photo)
    assert turn.ok
    assert again.why(tmp_path).is_file()
    assert [kept.request for kept in Session(file).turns] == [
        "describe the photo", "give it another caption"
    ]  # fmt: skip


def test_a_question_back_survives_a_session(trained: Path, photo: Path, tmp_path: Path) -> None:
    config = {"models": {"caption": str(trained)}, **UNSURE}
    file = tmp_path / "talk.jsonl"
    plait.Assistant(config, session=file).say("describe the photo", photo=photo)
    assert plait.Assistant(config, session=file).say("caption").ok


def test_a_file_that_is_no_session(tmp_path: Path) -> None:
    file = tmp_path / "talk.jsonl"
    file.write_text('{"request": "a", "answer": "b"}\n{"request": 3}\n')
    with pytest.raises(PlaitError, match=r"line 2 of .* is not a turn"):
        plait.Assistant(session=file)
