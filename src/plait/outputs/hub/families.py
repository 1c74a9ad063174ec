"""How each family of captioners is asked for a caption: what their authors prescribe, as data.

Whatever is not listed is asked in words, through its own chat template.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CHAT_PROMPT = "Describe the photo in one short sentence."


@dataclass(frozen=True)
class Family:
    """The models of one architecture.

    Attributes:
        prompt: asks for a caption.
        before: stands before every prompt, for the photo.
        apart: its image processor and its tokenizer have no processor in common.
        closes_prompt: its tokenizer puts tokens of its own round the prompt: at the start there
            has to be the decoder's, and the text continues the prompt in place of the last.
        cuts_prompt: its ``generate`` does that itself.
        between: stands between the prompt and the text.
        options: of the processor.
    """

    prompt: str = CHAT_PROMPT
    before: str = ""
    apart: bool = False
    closes_prompt: bool = False
    cuts_prompt: bool = False
    between: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


# A photo in one piece: cut into tiles it takes up to 17 times as long, for details that a caption
# does not mention.
WHOLE = {"do_image_splitting": False}

FAMILIES: Mapping[str, Family] = {
    "blip": Family(
        prompt="", closes_prompt=True, cuts_prompt=True
    ),  # Li et al. 2022, arXiv:2201.12086
    "blip-2": Family(prompt=""),  # Li et al. 2023, arXiv:2301.12597
    "florence2": Family(prompt="<CAPTION>"),  # Xiao et al. 2023, arXiv:2311.06242
    "git": Family(prompt="", closes_prompt=True),  # Wang et al. 2022, arXiv:2205.14100
    "idefics3": Family(between=" ", options=WHOLE),  # Laurençon et al. 2024, arXiv:2408.12637
    "paligemma": Family(prompt="caption en", before="<image>"),  # Beyer et al., arXiv:2407.07726
    "smolvlm": Family(between=" ", options=WHOLE),  # Marafioti et al. 2025, arXiv:2504.05299
    "vision-encoder-decoder": Family(prompt="", apart=True),
}
"""transformers' ``model_type`` -> its family."""

OTHERS = Family()


def family_of(model_type: str) -> Family:
    """The family of an architecture."""
    return FAMILIES.get(model_type, OTHERS)
