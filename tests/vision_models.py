"""Tiny image models in transformers' format, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
CLIP_PART = {k: v for k, v in VIT.items() if k not in ("image_size", "patch_size")}
DINO_REGISTERS = {**VIT, "num_register_tokens": 3}


def make_vision_model(kind: str) -> Any:
    """An untrained model: vit, resnet, registers (DINOv2's), siglip or clip; classifier (ViT's) or
    classifier-resnet, which name what is seen."""
    import transformers as t

    torch.manual_seed(0)
    if kind.startswith("classifier"):
        names = {0: "tabby, tabby cat", 1: "golden retriever", 2: "street_car", 3: "tench"}
        labels = {"id2label": names, "label2id": {name: n for n, name in names.items()}}
        if kind == "classifier-resnet":
            return t.ResNetForImageClassification(t.ResNetConfig(**RESNET, **labels))
        return t.ViTForImageClassification(t.ViTConfig(**VIT, **labels))
    if kind == "vit":
        return t.ViTModel(t.ViTConfig(**VIT))
    if kind == "resnet":
        return t.ResNetModel(t.ResNetConfig(**RESNET))
    if kind == "registers":
        return t.Dinov2WithRegistersModel(t.Dinov2WithRegistersConfig(**DINO_REGISTERS))
    if kind == "siglip":
        text = {**CLIP_PART, "vocab_size": 50}
        return t.SiglipModel(t.SiglipConfig(text_config=text, vision_config=VIT))
    text = {**CLIP_PART, "vocab_size": 50, "projection_dim": 16}
    return t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=VIT, projection_dim=16))


def save_vision_model(kind: str, folder: Path) -> None:
    """Write a model, without an image processor."""
    make_vision_model(kind).save_pretrained(folder)
