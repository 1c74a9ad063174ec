"""What models are given, and how their answers are said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from assistants import save_vision
from PIL import Image
from tones import RECIPE, say, write_table

import plait
from plait.assistant.answers import MissingInput, _without_prompt, sentence
from plait.assistant.session import Turn
from plait.types import PlaitError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("two dogs run", "Two dogs run."),
        ("Is it so ?", "Is it so ?"),
        ("red", "red"),
        ("light blue", "light blue"),
        (True, "yes"),
        (3, "3"),
        (2.66667, "2.667"),
        (("red", "blue"), "red, blue"),
        ((), "none"),
        ("", ""),
    ],
)
def test_sentences(value: object, text: str) -> None:
    assert sentence(value) == text


@pytest.mark.slow
def test_a_vision_language_model_answers(tmp_path: Path, photo: Path) -> None:
    transformers = pytest.importorskip("transformers")
    save_vision(tmp_path / "vision")
    (tmp_path / "a.yaml").write_text("models: {question: 'hub:vision'}\nalternatives: 2\n")
    assistant = plait.Assistant(tmp_path / "a.yaml")
    turn = assistant.say("how many dogs are there?", photo=photo)
    assert turn.ok, turn.answer
    assert turn.model == f"hub:{tmp_path / 'vision'}"
    assert turn.inputs == {"image": str(photo), "text": "how many dogs are there?"}
    # The same by the library alone, from the prompt that its template writes.
    processor = transformers.AutoProcessor.from_pretrained(tmp_path / "vision")
    model = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "vision")
    prompt = "USER : <image> how many dogs are there? ASSISTANT :"
    asked = processor(images=Image.open(photo), text=prompt, return_tensors="pt")
    made = model.generate(
        **asked, max_new_tokens=64, num_beams=3, num_return_sequences=3, do_sample=False,
        output_scores=True, return_dict_in_generate=True,
    )  # fmt: skip
    behind = made.sequences[:, asked["input_ids"].shape[1] :]
    texts = processor.batch_decode(behind, skip_special_tokens=True)
    assert [turn.value, *(other.value for other in turn.alternatives)] == texts
    scores = made.sequences_scores.exp().tolist()
    assert turn.probability == pytest.approx(scores[0], abs=1e-3)
    assert turn.alternatives[1].probability == pytest.approx(scores[2], abs=1e-3)
    with pytest.raises(MissingInput):
        assistant._answerer("question").answer(
            Turn(request="translate it", answer=""), {"image": "", "text": "translate it"}
        )
    with pytest.raises(PlaitError, match="does not show where it looked"):
        assistant.why(tmp_path)


def test_what_was_asked_is_no_answer() -> None:
    asked = torch.tensor([[5, 6]])
    assert _without_prompt(torch.tensor([[5, 6, 7], [5, 6, 8]]), asked).tolist() == [[7], [8]]
    assert _without_prompt(torch.tensor([[1, 7, 8]]), asked).tolist() == [[1, 7, 8]]
    assert _without_prompt(torch.tensor([[1, 7]]), None).tolist() == [[1, 7]]


def test_no_such_vision_language_model(tmp_path: Path, trained: Path, photo: Path) -> None:
    pytest.importorskip("transformers")
    (tmp_path / "folder").mkdir()
    assistant = plait.Assistant({"models": {"question": f"hub:{tmp_path / 'folder'}"}})
    turn = assistant.say("how many dogs are there?", photo=photo)
    assert not turn.ok
    assert "could be loaded" in turn.answer
    assert len(turn.answer.splitlines()) == 1


@pytest.mark.slow
def test_a_spoken_request(make_package: Callable[..., Path], tmp_path: Path) -> None:
    """The tones' made-up tongue: what is heard is routed by an intents package of that tongue."""
    numpy = pytest.importorskip("numpy")
    soundfile = pytest.importorskip("soundfile")
    speech = make_package(RECIPE, write_table)
    intents = {
        "name": "tongue",
        "inputs": {"text": {"modality": "text",
                            "representation": {"kind": "bag-of-words", "min_count": 1}}},
        "outputs": {"intent": {"kind": "category"}},
        "training": {"epochs": 30, "batch": 4, "learning_rate": 0.05, "averaging": 0.5},
    }  # fmt: skip

    def write(folder: Path) -> Path:
        lines = ["text,intent,split"]
        for split in ("train", "train", "val"):
            lines += [f"ab ca,caption,{split}", f"bcb a,tones,{split}"] * 4
        (folder / "t.csv").write_text("\n".join(lines) + "\n")
        return folder / "t.csv"

    tongue = make_package(intents, write)
    models = {"intents": str(tongue), "speech": str(speech), "tones": str(speech)}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"models": models}))
    assistant = plait.Assistant(tmp_path / "a.yaml")
    recording = tmp_path / "ask.wav"
    soundfile.write(recording, say("bcb a", numpy.random.default_rng(5)), 8000)
    turn = assistant.hear(recording)
    assert turn.request == "bcb a"
    assert turn.recording == str(recording)
    assert turn.intent == "tones"  # an intent of its own, answered by the model named so
    assert turn.value == "bcb a"
    assert turn.inputs == {"sound": str(recording)}
    lacking = assistant.say("bcb a")
    assert lacking.answer == "That needs a recording: /hear PATH"
    soundfile.write(recording, numpy.zeros(8000), 8000)
    assert assistant.hear(recording).answer == f"I heard no words in {recording}"
