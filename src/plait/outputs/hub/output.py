"""`hub:NAME`: a whole captioner of the transformers library, which looks at the photo itself.

NAME is a model's name on the Hugging Face Hub or a local folder in its format: BLIP, BLIP-2, GIT,
Florence-2, SmolVLM, Idefics3, PaliGemma, Qwen-VL, an image encoder with a text decoder, and others
that transformers loads as image-text-to-text. The weights' origin and licence are the model's own.
It is used as it is, or adapted to a table with LoRA: the package then holds the adapters alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from plait.config.registry import register
from plait.nn.hub import HubName, load_captioner_config
from plait.outputs.base import RawOutputs
from plait.outputs.text.metrics.base import plain
from plait.outputs.text.output import TextDetails, Texts, as_texts
from plait.outputs.text.search import DECODER, MOST, Decoding, Limits, unavailable
from plait.types import Alternative, EmptyTarget, State, UsageError

PRESENT = "present"
"""The raw output: (B,) whether the record has a photo."""


class Generation(Decoding):
    """How a whole model generates texts: with transformers' own beam search and sampling."""

    calibrated_with: ClassVar[Collection[str]] = (*Decoding.calibrated_with, "prompt")

    min_words: int | None = Field(
        default=None, ge=0, description="minimum number of tokens; null: 1"
    )
    max_words: int | None = Field(
        default=None, ge=1, le=MOST, description="maximum number of tokens; null: max_length"
    )
    no_repeat: int | None = Field(
        default=None,
        ge=0,
        description="no n-gram of this length occurs twice; 0 or null: as the model is published",
    )
    length_penalty: float = Field(
        default=1.0, ge=0, le=4, description="0 favours short texts; 1 compares means per token"
    )
    prompt: str | None = Field(
        default=None, description="what the model is asked; null: the prompt of the recipe"
    )
    batch: int = Field(default=8, ge=1, le=64, description="photos that the model sees together")


class Lora(BaseModel):
    """Low-rank adapters beside frozen layers (Hu et al. 2021, arXiv:2106.09685)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(default=8, ge=1, le=1024, description="rank of the adapters")
    alpha: float = Field(default=16, gt=0, description="their scale, times the rank")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="dropout before them")
    layers: tuple[str, ...] | None = Field(
        default=None, description="ends of the layers' names, such as q_proj; null: all linear ones"
    )


@dataclass(frozen=True)
class Caption:
    """A generated text: its tokens, readable, and their mean log-probability."""

    text: str
    score: float
    tokens: tuple[str, ...]


class Captions(Protocol):
    """What generates the texts of one batch."""

    def generate(self, rows: Sequence[int], options: Generation) -> list[list[Caption]]:
        """``num`` texts for each of these records, best first."""


@register("output", "hub")
class HubOutput(Texts):
    """A whole captioner of the Hugging Face Hub, or of a local folder; LoRA adapts it."""

    branches = False
    subsets = False
    looks_at = "original"
    options_type = Generation
    unused_options = tuple(unavailable([DECODER]))
    head_class = "plait.outputs.hub.networks.HubHead"

    name: HubName
    prompt: str | None = Field(
        default=None, description="what the model is asked; null: what its authors prescribe"
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="type of the model's weights"
    )
    lora: Lora | None = Field(default=None, description="adapters to train; null: none")
    texts_per_step: int = Field(
        default=1, ge=1, description="texts of a record in one training step"
    )
    max_length: int = Field(
        default=64, ge=1, le=MOST, description="training texts are cut to this many tokens"
    )
    decoding: Generation = Field(default=Generation(), description="how texts are generated")

    # Targets ---------------------------------------------------------------------------------

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The model's architecture, with the commit that its name was resolved to."""
        return {"config": load_captioner_config(self.name)}

    def read(self, cell: Any, root: Path) -> tuple[str, ...]:
        """The texts of a cell."""
        texts = tuple(as_texts(cell))
        if not texts:
            raise EmptyTarget("the text is empty", expected="at least one sentence")
        return texts

    def samples(self) -> list[Any]:
        """Two captions."""
        return ["a dog runs on the grass", "a man with a red hat"]

    def example(self) -> tuple[str, ...]:
        """A caption."""
        return self.read(self.samples()[0], Path())

    # Answers ---------------------------------------------------------------------------------

    @cached_property
    def _default_decoding(self) -> Generation:
        usual = Limits(min_words=1, max_words=self.max_length, no_repeat=0)
        settled = self.decoding.settled(usual, self.max_length)
        return settled.changed(prompt=settled.prompt or self.prompt)

    def options(self, **options: Any) -> Generation:
        """The recipe's decoding with ``options`` changed."""
        return self._default_decoding.within(self.max_length, [DECODER], **options)

    def answers(
        self, raw: RawOutputs, fitted: State, options: Generation, steps: Captions
    ) -> Iterator[tuple[list[Alternative], Sequence[Sequence[str]]]]:
        """See `Texts.answers`; an empty text without a photo."""
        rows, wanted = np.flatnonzero(raw[PRESENT]).tolist(), options
        if self.calibrate and not options.sample:  # all beams, to be compared
            wanted = options.changed(num=max(options.num, options.beam))
        generated = dict(zip(rows, steps.generate(rows, wanted), strict=True))
        for row in range(len(raw[PRESENT])):
            found = generated.get(row, [])
            words = [plain(caption.text).split() for caption in found if self.calibrate]
            shown = found[: options.num] or [Caption("", -math.inf, ())]
            yield [Alternative(c.text, c.score, TextDetails(c.tokens)) for c in shown], words

    def check_exportable(self) -> None:
        """Raises UsageError: transformers runs it."""
        raise UsageError(
            f"hub:{self.name} can't be exported", expected="a model of plait's own networks"
        )
