"""Tiny captioners in transformers' format, one of each family, with random weights: the model, its
tokenizer and its image processor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plait.nn.hub import without_videos

WORDS = (
    "a an the dog cat horse bird man woman boy girl runs sits stands on in at of with red blue "
    "green grass street beach water photo caption en describe one short sentence image what does"
)
CHAT = (
    "{% for m in messages %}{{ m['role'] }} : {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}IMAGE{% else %}{{ c['text'] }}{% endif %} {% endfor %}<eos> "
    "{% endfor %}{% if add_generation_prompt %}assistant : {% endif %}"
)
TEXT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
}  # fmt: skip
VIT = {**TEXT, "image_size": 32, "patch_size": 8}
LARGER = {"blip_2_t5": 1}  # times the usual initial weights; 8 for the others
SQUARE = {"height": 32, "width": 32}
IMAGE, PAD, BOS, EOS, CLS, SEP = "<image>", "<pad>", "<bos>", "<eos>", "[CLS]", "[SEP]"


def tokenizer(*specials: str, bert: bool = False, **named: Any) -> Any:
    """Whole words; the special tokens come first."""
    import transformers as t
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    first = [PAD, BOS, EOS, CLS, SEP, "<unk>", IMAGE, *specials]
    vocabulary = {
        word: i for i, word in enumerate([*first, *WORDS.split(), ":", "user", "assistant"])
    }
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    if bert:
        ids = [(CLS, vocabulary[CLS]), (SEP, vocabulary[SEP])]
        words.post_processor = processors.TemplateProcessing(f"{CLS} $A {SEP}", None, ids)
    made = t.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token=PAD, unk_token="<unk>",
        bos_token=CLS if bert else BOS, eos_token=SEP if bert else EOS, **named,
    )  # fmt: skip
    made.add_special_tokens({"additional_special_tokens": [IMAGE, CLS, SEP, *specials]})
    return made


def ends(of: Any) -> dict[str, int]:
    """The ids that a language model's configuration names."""
    return {"pad_token_id": of.pad_token_id, "bos_token_id": of.bos_token_id,
            "eos_token_id": of.eos_token_id, "vocab_size": len(of)}  # fmt: skip


def blip(folder: Path) -> None:
    import transformers as t

    words = tokenizer(bert=True)
    text = {**TEXT, **ends(words), "bos_token_id": 1, "sep_token_id": words.eos_token_id,
            "encoder_hidden_size": 32,
            "max_position_embeddings": 64, "hidden_dropout_prob": 0.0}  # fmt: skip
    t.BlipForConditionalGeneration(
        t.BlipConfig(
            text_config=text, vision_config={**VIT, "initializer_range": 0.02}, projection_dim=16
        )
    ).save_pretrained(folder)
    t.BlipProcessor(t.BlipImageProcessorPil(size=SQUARE), words).save_pretrained(folder)


def blip_2(folder: Path) -> None:
    import transformers as t

    words = tokenizer()
    opt = t.OPTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, ffn_dim=64,
        max_position_embeddings=64, word_embed_proj_dim=32, **ends(words),
    )  # fmt: skip
    image = words.convert_tokens_to_ids(IMAGE)
    qformer = {**TEXT, "vocab_size": 8, "encoder_hidden_size": 32}
    config = t.Blip2Config(
        vision_config=VIT, qformer_config=qformer, text_config=opt.to_dict(), num_query_tokens=4,
        image_token_index=image,
    )  # fmt: skip
    t.Blip2ForConditionalGeneration(config).save_pretrained(folder)
    pixels = t.BlipImageProcessorPil(size=SQUARE)
    t.Blip2Processor(pixels, words, num_query_tokens=4).save_pretrained(folder)


def blip_2_t5(folder: Path) -> None:
    import transformers as t

    words = tokenizer()
    t5 = t.T5Config(d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, dropout_rate=0.0,
                    decoder_start_token_id=words.pad_token_id, **ends(words))  # fmt: skip
    config = t.Blip2Config(
        vision_config=VIT, qformer_config={**TEXT, "vocab_size": 8, "encoder_hidden_size": 32},
        text_config=t5.to_dict(), num_query_tokens=4,
        image_token_index=words.convert_tokens_to_ids(IMAGE),
    )  # fmt: skip
    t.Blip2ForConditionalGeneration(config).save_pretrained(folder)
    pixels = t.BlipImageProcessorPil(size=SQUARE)
    t.Blip2Processor(pixels, words, num_query_tokens=4).save_pretrained(folder)


def git(folder: Path) -> None:
    import transformers as t

    words = tokenizer(bert=True)
    config = t.GitConfig(
        vision_config=VIT, **TEXT, max_position_embeddings=64, **ends(words),
        num_image_with_embedding=None,
    )  # fmt: skip
    t.GitForCausalLM(config).save_pretrained(folder)
    pixels = t.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE)
    t.GitProcessor(pixels, words).save_pretrained(folder)


def vision_encoder_decoder(folder: Path) -> None:
    import transformers as t

    words = tokenizer()
    gpt = t.GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=64, add_cross_attention=True,
                       is_decoder=True, **ends(words))  # fmt: skip
    config = t.VisionEncoderDecoderConfig.from_encoder_decoder_configs(t.ViTConfig(**VIT), gpt)
    config.decoder_start_token_id = words.bos_token_id
    config.pad_token_id, config.eos_token_id = words.pad_token_id, words.eos_token_id
    t.VisionEncoderDecoderModel(config=config).save_pretrained(folder)
    t.ViTImageProcessorPil(size=SQUARE).save_pretrained(folder)
    words.save_pretrained(folder)


def florence2(folder: Path) -> None:
    import transformers as t

    words = tokenizer(image_token=IMAGE)
    bart = t.BartConfig(
        d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64,
        max_position_embeddings=64, decoder_start_token_id=words.eos_token_id,
        forced_eos_token_id=None, **ends(words),
    )  # fmt: skip
    vision = {
        "depths": (1, 1), "patch_size": (7, 3), "patch_stride": (4, 2), "patch_padding": (3, 1),
        "patch_prenorm": (False, True), "embed_dim": (16, 32), "num_heads": (2, 2),
        "num_groups": (2, 2), "window_size": 4, "projection_dim": 32, "drop_path_rate": 0.0,
    }  # fmt: skip
    config = t.Florence2Config(
        vision_config=vision, text_config=bart.to_dict(),
        image_token_id=words.convert_tokens_to_ids(IMAGE),
    )  # fmt: skip
    model = t.Florence2ForConditionalGeneration(config)
    model.generation_config.forced_bos_token_id = words.bos_token_id  # as published
    model.save_pretrained(folder)
    pixels = t.CLIPImageProcessorPil(size=SQUARE, do_center_crop=False)
    pixels.image_seq_length = 17
    t.Florence2Processor(pixels, words).save_pretrained(folder)


def smolvlm(folder: Path) -> None:
    import transformers as t

    own = ["<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
    parts = [f"<row_{i}_col_{j}>" for i in (1, 2) for j in (1, 2)]
    words = tokenizer(*own, *parts)
    llama = {**TEXT, "model_type": "llama", "max_position_embeddings": 512, **ends(words),
             "num_key_value_heads": 2}  # fmt: skip
    config = t.SmolVLMConfig(
        vision_config={**VIT, "patch_size": 8}, text_config=llama, scale_factor=2,
        image_token_id=words.convert_tokens_to_ids(IMAGE), pad_token_id=words.pad_token_id,
    )  # fmt: skip
    t.SmolVLMForConditionalGeneration(config).save_pretrained(folder)
    edge = {"longest_edge": 32}
    pixels = t.SmolVLMImageProcessorPil(size={"longest_edge": 64}, max_image_size=edge)
    without_videos(t.SmolVLMProcessor)(
        pixels, words, None, image_seq_len=4, chat_template=CHAT.replace("IMAGE", IMAGE)
    ).save_pretrained(folder)


def idefics3(folder: Path) -> None:
    import transformers as t

    own = ["<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
    parts = [f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7)]
    words = tokenizer(*own, *parts)
    llama = {**TEXT, "model_type": "llama", "max_position_embeddings": 512, **ends(words),
             "num_key_value_heads": 2}  # fmt: skip
    config = t.Idefics3Config(
        vision_config=VIT, text_config=llama, scale_factor=2,
        image_token_id=words.convert_tokens_to_ids(IMAGE), pad_token_id=words.pad_token_id,
    )  # fmt: skip
    t.Idefics3ForConditionalGeneration(config).save_pretrained(folder)
    edge = {"longest_edge": 32}
    pixels = t.Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size=edge)
    t.Idefics3Processor(
        pixels, words, image_seq_len=4, chat_template=CHAT.replace("IMAGE", IMAGE)
    ).save_pretrained(folder)


def paligemma(folder: Path) -> None:
    import transformers as t

    words = tokenizer(image_token=IMAGE)
    pixels = t.SiglipImageProcessorPil(size=SQUARE)
    pixels.image_seq_length = 16
    processor = t.PaliGemmaProcessor(pixels, words)
    gemma = {**TEXT, "model_type": "gemma", "max_position_embeddings": 128, "head_dim": 16,
             "num_key_value_heads": 1, **ends(words)}  # fmt: skip
    config = t.PaliGemmaConfig(
        vision_config={**VIT, "model_type": "siglip_vision_model", "vision_use_head": False},
        text_config=gemma, projection_dim=32, hidden_size=32,
        image_token_index=words.convert_tokens_to_ids(IMAGE),
    )  # fmt: skip
    t.PaliGemmaForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)


def _qwen(folder: Path, generation: str) -> None:
    import transformers as t

    own = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    words = tokenizer(*own)
    ids = {name: words.convert_tokens_to_ids(token) for name, token in zip(
        ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id"), own,
        strict=True)}  # fmt: skip
    text = {**TEXT, "num_key_value_heads": 2, "max_position_embeddings": 512, **ends(words),
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3],
                                "rope_theta": 10000.0}}  # fmt: skip
    vision = {"depth": 2, "num_heads": 2, "patch_size": 8, "spatial_merge_size": 2}
    if generation == "2":
        vision |= {"embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2}
    else:
        vision |= {"hidden_size": 32, "out_hidden_size": 32, "intermediate_size": 64,
                   "fullatt_block_indexes": [1], "window_size": 32}  # fmt: skip
    name = "Qwen2VL" if generation == "2" else "Qwen2_5_VL"
    config = getattr(t, f"{name}Config")(vision_config=vision, text_config=text, **ids)
    getattr(t, f"{name}ForConditionalGeneration")(config).save_pretrained(folder)
    pixels = t.Qwen2VLImageProcessorPil(
        patch_size=8, merge_size=2, size={"shortest_edge": 16 * 16, "longest_edge": 64 * 64}
    )
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    cls = without_videos(getattr(t, f"{name}Processor"))
    cls(pixels, words, None, chat_template=CHAT.replace("IMAGE", image)).save_pretrained(folder)


def qwen2_vl(folder: Path) -> None:
    _qwen(folder, "2")


def qwen2_5_vl(folder: Path) -> None:
    _qwen(folder, "2.5")


FAMILIES: dict[str, Callable[[Path], None]] = {
    make.__name__: make
    for make in (
        blip, blip_2, blip_2_t5, git, vision_encoder_decoder, florence2, smolvlm, idefics3,
        paligemma, qwen2_vl, qwen2_5_vl,
    )
}  # fmt: skip


def save_captioner(family: str, folder: Path) -> Path:
    """Write an untrained captioner; its weights are large enough that captions differ."""
    from safetensors.torch import load_file, save_file

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    FAMILIES[family](folder)
    weights = load_file(folder / "model.safetensors")
    times = LARGER.get(family, 8)
    larger = {name: value * (times if value.ndim > 1 else 1) for name, value in weights.items()}
    save_file(larger, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def photos(folder: Path) -> list[Path]:
    """Noise of three shapes and colours."""
    from PIL import Image

    rng, paths = np.random.default_rng(0), []
    shapes = {"wide": (40, 60), "high": (64, 24), "square": (50, 50)}
    for at, (name, shape) in enumerate(shapes.items()):
        colour = np.roll((250, 60, 10), at)
        pixels = (rng.random((*shape, 3)) * colour).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
        paths.append(folder / f"{name}.png")
    return paths
