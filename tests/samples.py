"""Small photos with captions, drawn here; tiny models of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 40), "blue": (30, 60, 220)}
PLACES = {"left": (4, 20), "right": (40, 20), "top": (22, 2), "bottom": (22, 40)}
SIDE = 64


def draw(colour: str, place: str, noise: int) -> Image.Image:
    """A coloured square on grey noise."""
    rng = np.random.default_rng(noise)
    pixels = rng.integers(90, 140, (SIDE, SIDE, 3)).astype(np.uint8)
    x, y = PLACES[place]
    pixels[y : y + 20, x : x + 20] = COLOURS[colour]
    return Image.fromarray(pixels)


def captions(colour: str, place: str) -> list[str]:
    return [
        f"A {colour} square at the {place} .",
        f"There is a {colour} square on the {place} side .",
    ]


def write_vectors(path: Path, vectors: Mapping[str, Sequence[float]]) -> None:
    """A file of word vectors as fastText writes it, a space before each line's end."""
    size = len(next(iter(vectors.values())))
    lines = [f"{word} {' '.join(f'{x:.6f}' for x in vector)} " for word, vector in vectors.items()]
    path.write_text("\n".join([f"{len(vectors)} {size}", *lines]) + "\n", encoding="utf-8")


def save_bert(folder: Path, words: Sequence[str], kind: str = "Bert", **settings: Any) -> None:
    """A tiny model with random weights and its tokenizer, in transformers' format."""
    import torch
    import transformers

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = {piece: i for i, piece in enumerate([*specials, *words, "##s", ".", ","])}
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(pieces), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=40, pad_token_id=0, **settings,
    )  # fmt: skip
    getattr(transformers, f"{kind}Model")(config).save_pretrained(folder)
    transformers.BertTokenizer(vocab=pieces).save_pretrained(folder)
