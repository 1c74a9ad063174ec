"""Tiny language models of the transformers library, made from a config and saved to a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

transformers = pytest.importorskip("transformers")

END = "<|endoftext|>"
SENTENCES = ["A dog runs on the grass.", "Two children play with a red ball.", "A dog plays."]


def save_tokenizer(folder: Path) -> int:
    """A small byte-level tokenizer in GPT-2's manner; its last id is the special one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=290, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES * 5, trainer)
    tokenizer.add_special_tokens([END])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END
    )
    fast.save_pretrained(folder)
    return len(fast)


def make(kind: str, size: int) -> Any:
    torch.manual_seed(0)
    t = transformers
    # More rows than tokens, as many published models have.
    common = {"vocab_size": size + 6, "bos_token_id": size - 1, "eos_token_id": size - 1}
    if kind == "gpt2":
        config = t.GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=128, **common)
        return t.GPT2LMHeadModel(config)
    config = t.LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        **common,
    )
    return t.LlamaForCausalLM(config)
