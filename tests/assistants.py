"""What the assistant's tests share: a table of questions about coloured squares, a translator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from samples import COLOURS, PLACES, draw

QUESTIONS: dict[str, Any] = {
    "name": "questions",
    "inputs": {
        "photo": {
            "modality": "image",
            "representation": {"kind": "pixels", "size": 32, "patch": 8, "width": 32},
        },
        "question": {
            "modality": "text",
            "representation": {"kind": "bag-of-words", "min_count": 1, "dropout": 0.0, "width": 32},
        },
    },
    "fusion": {"kind": "early", "how": "concat", "width": 32, "dropout": 0.0},
    "outputs": {"answer": {"kind": "category"}},
    "training": {"epochs": 30, "batch": 16, "learning_rate": 0.01, "averaging": 0.9,
                 "patience": 30, "validate_every": 10},
}  # fmt: skip

TRANSLATOR: dict[str, Any] = {
    "name": "translator",
    "inputs": {
        "text": {
            "modality": "text",
            "representation": {
                "kind": "word-sequence", "min_count": 1, "width": 32, "dropout": 0.0
            },
        }
    },
    "fusion": {"kind": "none", "width": 32},
    "outputs": {
        "german": {
            "kind": "text",
            "settings": {
                "metrics": "translations", "min_count": 1, "detected_words": 0,
                "word_dropout": 0,
                "decoder": {"kind": "transformer", "layers": 1, "memory_layers": 0, "heads": 2,
                            "dropout": 0.0},
                "decoding": {"beam": 1, "min_words": 0, "no_repeat": 0},
            },
        }
    },
    "training": {"epochs": 30, "batch": 8, "learning_rate": 0.01, "averaging": 0.9,
                 "patience": 30, "validate_every": 10},
}  # fmt: skip

SEEING: dict[str, Any] = {
    **QUESTIONS,
    "name": "seeing",
    "outputs": {"answer": TRANSLATOR["outputs"]["german"]},
}

GERMAN = {"red": "rot", "green": "grün", "blue": "blau", "square": "quadrat", "dog": "hund",
          "cat": "katze"}  # fmt: skip


def write_questions(folder: Path) -> Path:
    """Which colour the square has, and how many there are: 96 rows."""
    rows = []
    for number in range(48):
        colour = list(COLOURS)[number % 3]
        place = list(PLACES)[number // 3 % 2]
        draw(colour, place, number).save(folder / f"{number}.png")
        split = "val" if number % 8 == 7 else "train"
        asked = {"what colour is the square": colour, "how many squares": "one"}
        rows += [
            {"photo": f"{number}.png", "question": text, "answer": answer, "split": split}
            for text, answer in asked.items()
        ]
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_translations(folder: Path) -> Path:
    """Two words each."""
    words = list(GERMAN)
    lines = ["text,german,split"]
    for number, first in enumerate(words * 6):
        second = words[(number // 6 + number) % 6]
        split = "val" if number % 9 == 8 else "train"
        lines.append(f"{first} {second},{GERMAN[first]} {GERMAN[second]},{split}")
    path = folder / "translations.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def save_vision(folder: Path) -> None:
    """A tiny vision-language model with random weights and its processor, in transformers' format:
    LLaVA of two layers, which knows a few words."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    specials = ["<pad>", "<unk>", "<s>", "</s>", "<image>"]
    words = [
        *specials,
        "what",
        "is",
        "this",
        "how",
        "many",
        "dogs",
        "red",
        "USER",
        "ASSISTANT",
        ":",
    ]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(specials)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2}  # fmt: skip
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(
            image_size=32, patch_size=16, projection_dim=16, **size
        ),
        text_config=transformers.LlamaConfig(
            vocab_size=len(words), num_key_value_heads=2, max_position_embeddings=256,
            pad_token_id=0, bos_token_id=2, eos_token_id=3, **size,
        ),
        image_token_index=4,
        pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.LlavaForConditionalGeneration(config).save_pretrained(folder)
    square = {"height": 32, "width": 32}
    transformers.LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=square),
        transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            pad_token="<pad>",
            unk_token="<unk>",
            bos_token="<s>",
            eos_token="</s>",
        ),
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template="{% for m in messages %}USER : {% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }} {% endif %}{% endfor %}"
        "{% endfor %}ASSISTANT :",
    ).save_pretrained(folder)
