"""The models that answer requests: a package, or ``hub:NAME``, a vision-language model of the
transformers library.

NAME is a model on the Hugging Face Hub or a folder in its format (LLaVA, Qwen2-VL, SmolVLM, GIT,
BLIP...). The origin and licence of its weights are the model's own.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from PIL import Image

from plait.assistant.session import DIGITS, Other, Turn
from plait.config import registry
from plait.data.images import open_image
from plait.model import Model
from plait.nn.hub import FAILURES, load_config, load_processor
from plait.nn.pretrained import build_model, refuse_missing
from plait.runtime.engines import load
from plait.tasks.translate import SHOWN
from plait.training.loop import pick_device
from plait.types import PlaitError, Prediction, UsageError

HUB_WORDS = 64  # word pieces of an answer
HUB_CLASS = "AutoModelForImageTextToText"
PHOTO, TEXT, RECORDING = "image", "text", "audio"
"""What a user can give, named as the modality of the inputs that take it."""


class MissingInput(PlaitError):
    """The user has yet to give something (`PHOTO` or `TEXT`), and the request waits for it."""

    def __init__(self, needs: str) -> None:
        super().__init__(registry.modality(needs).facts.request)
        self.needs = needs


class PackageAnswerer:
    """A package; each of its inputs gets what its modality takes. It gives up to so many
    ``alternatives``."""

    def __init__(self, name: str, alternatives: int) -> None:
        self.model: Model = load(name)
        self.output = self.model.parts.outputs[self.model.output]
        self.alternatives = alternatives
        options = type(self.model.decoding_options()[self.model.output]).model_fields
        self._options: dict[str, Any] = {"num": 1 + alternatives} if "num" in options else {}

    def answer(self, turn: Turn, given: Mapping[str, str | None]) -> Turn:
        """The turn with the answer to its request, and the evidence for it: each input's share if
        there are several.

        Args:
            turn: the request.
            given: `PHOTO` and `RECORDING` -> a path, `TEXT` -> the text; None if there is none, an
                empty string if the model can do without.

        Raises:
            MissingInput: the user has yet to give something.
            PlaitError: it can't answer.
        """
        values = {name: require(kind, given) for name, kind in self.model.inputs.items()}
        inputs = {name: value for name, value in values.items() if value}
        found = self.model.predict(inputs, shares=len(inputs) > 1, **self._options)
        unread = (
            f"{textwrap.shorten(inputs[name], SHOWN, placeholder='...')}: {why}"
            for name, why in self.model.unread(inputs).items()
        )
        output, confidence = self.output, self.output.confidence(found)
        if found.value == "":  # a text without words has no probability per word
            confidence = None
        chosen = found.value if isinstance(found.value, tuple) else (found.value,)
        ranked = [(v, p) for v, p in output.probabilities(found).items() if v not in chosen] or [
            (o.value, output.confidence(Prediction(o.value, o.score, details=o.details)) or 0.0)
            for o in found.alternatives
        ]
        return turn.changed(
            inputs=inputs,
            note=next(unread, None),
            answer=sentence(found.value),
            value=found.value,
            calibrated=output.calibrated(found) is not None,
            probability=None if confidence is None else round(confidence, DIGITS),
            steps=len(output.words(found)),
            alternatives=[
                Other(value=value, probability=round(p, DIGITS))
                for value, p in ranked[: self.alternatives]
            ],
            interval=output.bounds(found),
            shares={name: round(share, DIGITS) for name, share in found.shares.items()},
        )

    def explain(self, inputs: Mapping[str, str], stem: Path) -> Path:
        """Draw why it answered these inputs as it did: the attention of each word; for a model
        without, the contribution of each part of its inputs (needs the extra ``explain``).
        ``stem`` is the picture's path without its suffix; the whole path is returned."""
        prediction = self.model.predict(inputs, **self._options)
        try:
            attention = self.model.attention(inputs, prediction)
        except UsageError:  # it has none
            path = Path(f"{stem}.explanation.png")
            self.model.explain(inputs, **self._options).save(path)
        else:
            path = Path(f"{stem}.attention.png")
            attention.save(path)
        return path


class HubAnswerer:
    """A vision-language model. It is prompted with its own chat template if it has one, and answers
    by beam search."""

    def __init__(self, name: str, alternatives: int) -> None:
        self.name, self.alternatives = name, alternatives
        self.processor = load_processor(name)
        model, missing = build_model(HUB_CLASS, name, load_config(name), pretrained=True)
        refuse_missing(name, model, missing, {id(p) for p in model.parameters()})
        self.model = model.eval().to(pick_device())

    def answer(self, turn: Turn, given: Mapping[str, str | None]) -> Turn:
        """As `PackageAnswerer.answer`: the most probable text, and the next ones."""
        needed = {kind: value or None for kind, value in given.items()}  # it can't do without
        photo, text = require(PHOTO, needed), require(TEXT, needed)
        (best, probability), *others = self._search(open_image(photo, Path()), text).items()
        return turn.changed(
            answer=sentence(best),
            value=best,
            inputs={PHOTO: photo, TEXT: text},
            probability=probability,
            steps=len(self.processor.tokenizer(best)["input_ids"]),
            alternatives=[
                Other(value=value, probability=p) for value, p in others[: self.alternatives]
            ],
        )

    def explain(self, inputs: Mapping[str, str], stem: Path) -> Path:
        """Always an error: its attention is not drawn."""
        raise PlaitError(f"hub:{self.name} does not show where it looked")

    @torch.inference_mode()
    def _search(self, pixels: Any, text: str) -> dict[str, float]:
        """Texts, best first, each with the geometric mean of its pieces' probabilities."""
        beams = max(2, 1 + self.alternatives)
        try:
            prompt = self._prompt(Image.fromarray(pixels), text).to(self.model.device)
            output = self.model.generate(
                **prompt, max_new_tokens=HUB_WORDS, do_sample=False, num_beams=beams,
                num_return_sequences=beams, length_penalty=1.0, output_scores=True,
                return_dict_in_generate=True,
            )  # fmt: skip
        except (*FAILURES, TypeError, IndexError, AttributeError) as error:
            first = next(iter(str(error).splitlines()), type(error).__name__)
            raise PlaitError(f"hub:{self.name} can't answer: {first}") from None
        sequences = _without_prompt(output.sequences, prompt.get("input_ids"))
        texts = self.processor.batch_decode(sequences, skip_special_tokens=True)
        probabilities: dict[str, float] = {}
        for answer, p in zip(texts, output.sequences_scores.exp().tolist(), strict=True):
            probabilities.setdefault(answer.strip(), round(p, DIGITS))
        return probabilities

    def _prompt(self, photo: Image.Image, text: str) -> Any:
        if not getattr(self.processor, "chat_template", None):
            return self.processor(images=photo, text=text, return_tensors="pt")
        content = [{"type": "image", "image": photo}, {"type": "text", "text": text}]
        return self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True,
            return_dict=True, return_tensors="pt",
        )  # fmt: skip


Answerer: TypeAlias = PackageAnswerer | HubAnswerer
"""A model that answers requests."""


def require(modality: str, given: Mapping[str, str | None]) -> str:
    """What the user gave for an input of this modality. Raises MissingInput if that is nothing yet,
    and PlaitError if it can't be given later either."""
    value = given.get(modality)
    if value is not None:
        return value
    if modality not in given:
        raise PlaitError(f"The model takes {modality}, which can't be given here")
    facts = registry.modality(modality).facts
    if facts.given_by == "command":  # it comes with the request
        raise PlaitError(facts.request)
    raise MissingInput(modality)


def sentence(value: Any) -> str:
    """A value as people say it: three words or more with a capital and a full stop."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(sentence, value)) or "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value).strip()
    if len(text.split()) < 3:
        return text
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?…" else ".")


def _without_prompt(sequences: torch.Tensor, prompt: torch.Tensor | None) -> torch.Tensor:
    """Sequences (N, L) without the prompt (1, P), which some models repeat."""
    length = 0 if prompt is None else prompt.shape[1]
    if prompt is not None and torch.equal(sequences[0, :length], prompt[0]):
        return sequences[:, length:]
    return sequences
