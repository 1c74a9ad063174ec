"""``hub:NAME``: a vision-language model of the transformers library answers about a photo.

NAME is a model's name on the Hugging Face hub or a folder in its format (LLaVA, Qwen2-VL, SmolVLM,
GIT, BLIP...). The weights' origin and licence are the model's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from plait.assistant.answers import Answerer, Reply, require, said
from plait.assistant.intents import DIGITS
from plait.assistant.session import Other
from plait.data.images import open_image
from plait.nn.pretrained import FAILURES, build_model, load_config, load_processor, refuse_missing
from plait.training.loop import pick_device
from plait.types import PlaitError

LONGEST = 64  # word pieces of an answer
CLASS = "AutoModelForImageTextToText"


class HubAnswerer(Answerer):
    """Asked in its own chat template where it has one; answers by beam search."""

    def __init__(self, name: str, alternatives: int) -> None:
        """
        Raises:
            PlaitError: there is no such model, or it is not of this kind.
        """
        self.name, self.alternatives = name, alternatives
        self.processor = load_processor(name)
        model, missing = build_model(CLASS, name, load_config(name), pretrained=True)
        refuse_missing(name, model, missing, {id(p) for p in model.parameters()})
        self.model = model.eval().to(pick_device())

    def answer(self, given: Mapping[str, str | None]) -> Reply:
        """The likeliest text, and the next ones."""
        there = {kind: value or None for kind, value in given.items()}  # it can't do without
        photo, text = require("image", there), require("text", there)
        found = self._search(open_image(photo, Path()), text)
        (best, probability), *others = found.items()
        return Reply(
            answer=said(best),
            value=best,
            inputs={"image": photo, "text": text},
            probability=probability,
            steps=len(self.processor.tokenizer(best)["input_ids"]),
            alternatives=[
                Other(value=value, probability=p) for value, p in others[: self.alternatives]
            ],
        )

    def explain(self, inputs: Mapping[str, str], stem: Path) -> Path:
        """Its attention is not drawn."""
        raise PlaitError(f"hub:{self.name} does not show where it looked")

    @torch.inference_mode()
    def _search(self, pixels: Any, text: str) -> dict[str, float]:
        """Texts, the likeliest first, and the geometric mean of their pieces' probabilities."""
        beams = max(2, 1 + self.alternatives)
        try:
            asked = self._asked(Image.fromarray(pixels), text).to(self.model.device)
            made = self.model.generate(
                **asked, max_new_tokens=LONGEST, do_sample=False, num_beams=beams,
                num_return_sequences=beams, length_penalty=1.0, output_scores=True,
                return_dict_in_generate=True,
            )  # fmt: skip
        except (*FAILURES, TypeError, IndexError) as error:
            first = next(iter(str(error).splitlines()), type(error).__name__)
            raise PlaitError(f"hub:{self.name} can't answer: {first}") from None
        texts = self.processor.batch_decode(
            _behind(made.sequences, asked.get("input_ids")), skip_special_tokens=True
        )
        scores = made.sequences_scores.exp().tolist()
        found: dict[str, float] = {}
        for answer, probability in zip(map(str.strip, texts), scores, strict=True):
            found.setdefault(answer, round(probability, DIGITS))
        return found

    def _asked(self, photo: Image.Image, text: str) -> Any:
        if not getattr(self.processor, "chat_template", None):
            return self.processor(images=photo, text=text, return_tensors="pt")
        content = [{"type": "image", "image": photo}, {"type": "text", "text": text}]
        return self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True,
            return_dict=True, return_tensors="pt",
        )  # fmt: skip


def _behind(sequences: torch.Tensor, asked: torch.Tensor | None) -> torch.Tensor:
    """Sequences (N, L) without what was asked, where the model repeats it."""
    length = 0 if asked is None else asked.shape[1]
    if asked is not None and torch.equal(sequences[0, :length], asked[0]):
        return sequences[:, length:]
    return sequences
