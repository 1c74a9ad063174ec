"""Runs whole captioners of the transformers library: their generation, and what they say of given
texts.

Shapes: B records, N texts, P tokens of the prompt, L tokens of a text, V vocabulary, H × W pixels.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from plait.data.images import unpack_image
from plait.nn.base import THREADS
from plait.nn.hub import FAILURES, load_processor, read_pretrained, transformers
from plait.nn.pretrained import build_model, pinned, refuse_missing
from plait.outputs.hub.families import Family, family_of
from plait.outputs.hub.output import PRESENT, Caption, Generation, HubOutput, Lora
from plait.outputs.text.networks import TextsHead
from plait.outputs.text.output import SPACE
from plait.types import Alternative, Branches, Fused, PlaitError, UsageError
from plait.util.imports import needed

AUTO_CLASS = "AutoModelForImageTextToText"
IGNORED = -100  # the label of padding, as torch's cross-entropy has it
ADAPTER = "lora_"  # part of the names of all weights of peft's adapters


class HubHead(TextsHead):
    """A whole captioner as the head of an output; it reads the photos that the encoder prepared.

    Its state holds the adapters and the calibration alone: the model itself is read from where it
    was published.
    """

    output: HubOutput

    def __init__(
        self,
        output: HubOutput,
        width: int,
        branches: Branches | None,
        inputs: Sequence[str],
        pretrained: bool,
    ) -> None:
        """See `Output.head`. The model is read even if not ``pretrained``: no package holds it."""
        super().__init__(output)
        self.input = inputs[0]
        config = output.state["config"]
        self.dtype: torch.dtype = getattr(torch, output.dtype)
        model, missing = build_model(
            AUTO_CLASS, output.name, config, True, self.dtype, attention=None
        )
        refuse_missing(output.name, model, missing, {id(p) for p in model.parameters()})
        self.model: Any = model.requires_grad_(False)
        name, family = pinned(output.name, config), family_of(config["model_type"])
        self.reader = PromptReader(name, model, family)
        if output.lora is not None:
            add_adapters(self.model, output.lora)
        self.adapters = {n for n, _ in self.model.named_parameters() if ADAPTER in n}
        untyped: Any = self  # torch's hooks have no types
        untyped.register_state_dict_post_hook(leave_out_frozen)
        untyped.register_load_state_dict_pre_hook(fill_in_frozen)
        # Several models keep what they know of a photo between two steps; and a whole model is
        # worth all threads, even for one photo.
        self._turn, self._threads = Lock(), THREADS
        self.train(False)

    def __deepcopy__(self, memo: dict[int, Any]) -> HubHead:
        """The same head with a lock of its own, as locks can't be copied."""
        copied = HubHead(self.output, 0, None, [self.input], True)
        copied.load_state_dict(self.state_dict())
        return copied.to(self.device)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def train(self, mode: bool = True) -> HubHead:
        """Training mode for the adapters' dropout; the model itself stays in evaluation mode."""
        super().train(mode)
        self.model.eval()
        for name, module in self.model.named_modules():
            if f"{ADAPTER}dropout" in name:
                module.train(mode)
        return self

    # Training --------------------------------------------------------------------------------

    def begin(self, targets: Sequence[tuple[str, ...]]) -> None:
        """Raises UsageError if there is nothing to train."""
        if not self.adapters:
            raise UsageError(
                f"hub:{self.output.name} has nothing to train", expected="the setting lora",
                hint="set outputs.NAME.settings.lora={rank: 8}",
            )  # fmt: skip

    def loss(
        self, fused: Fused, targets: Sequence[tuple[str, ...]], branch: str | None = None
    ) -> Tensor:
        """The mean cross-entropy of the tokens, end tokens included, of some texts of each record
        in training, of all otherwise."""
        most = self.output.texts_per_step
        pairs = [
            (row, texts[n])
            for row, texts in enumerate(targets)
            for n in (torch.randperm(len(texts))[:most] if self.training else range(len(texts)))
        ]
        scores, labels = self._scores(fused, [row for row, _ in pairs], [text for _, text in pairs])
        return -scores[labels != IGNORED].mean()

    # Answers ---------------------------------------------------------------------------------

    def raw_outputs(self, fused: Fused) -> dict[str, Tensor]:
        """Which records have a photo."""
        return {PRESENT: fused.prepared[self.input][1] > 0}

    def stepper(self, fused: Fused, raw: Mapping[str, Tensor]) -> HubCaptions:
        """What generates the texts of these records."""
        return HubCaptions(self, fused)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A block in which no other thread runs the model, on all processors."""
        with self._turn:
            before = torch.get_num_threads()
            torch.set_num_threads(self._threads)
            try:
                yield
            finally:
                torch.set_num_threads(before)

    def photos(self, fused: Fused, rows: Sequence[int]) -> list[Image.Image]:
        """The photos of some records.

        Raises:
            UsageError: a record has no photo.
        """
        prepared, lengths = fused.prepared[self.input]
        if not bool((lengths[list(rows)] > 0).all()):
            raise UsageError(
                f"hub:{self.output.name} can't answer without a photo, so its answers have no "
                "shares and no explanation",
                expected="a model of plait's own networks",
            )
        packed = [prepared[row, : int(lengths[row])].cpu().numpy() for row in rows]
        return [Image.fromarray(unpack_image(row)) for row in packed]

    # Explanations ----------------------------------------------------------------------------

    def support(self, fused: Fused, answers: Sequence[Any]) -> Tensor:
        """(B,) the texts' mean log-probability per token, end tokens included."""
        scores, labels = self._scores(fused, range(len(answers)), answers)
        kept = labels != IGNORED
        return ((scores * kept).sum(1) / kept.sum(1)).cpu()

    def steps(self, fused: Fused, answer: Any) -> tuple[Tensor, Tensor]:
        """The mean log-probability per token, and each token's; the end counts in the mean only."""
        count = len(fused.pooled)
        scores, _ = self._scores(fused, range(count), [answer] * count)
        return scores.mean(1).cpu(), scores[:, :-1].cpu()

    def alternatives(self, fused: Fused, answer: Any, count: int) -> list[tuple[Alternative, ...]]:
        """Each token and the likeliest others in its place."""
        logp, labels = self._log_probabilities(fused, [0], [answer])
        found = []
        for token, row in zip(labels[0, :-1].tolist(), logp[0].exp(), strict=False):
            others = [t for t in row.topk(count + 1).indices.tolist() if t != token][:count]
            pieces = self.reader.pieces([token, *others])
            chances = row[[token, *others]].tolist()
            found.append(tuple(map(Alternative, pieces, chances)))
        return found

    def _scores(
        self, fused: Fused, rows: Sequence[int], texts: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """(N, L) the log-probability of each token of N texts, 0 for padding, and their labels."""
        logp, labels = self._log_probabilities(fused, rows, texts)
        chosen = logp.gather(2, labels.clamp(min=0)[..., None])[..., 0]
        return torch.where(labels != IGNORED, chosen, 0.0), labels

    def _log_probabilities(
        self, fused: Fused, rows: Sequence[int], texts: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """(N, L, V) what the model expects at each token of the texts, given those before it, and
        the tokens (N, L), padded with `IGNORED`."""
        photos = self.photos(fused, rows)
        with self.alone(), self.clearly():
            prompt = self.output.options().prompt
            inputs, _ = self.reader.read(photos, prompt, self.device, self.dtype)
            most = self.output.max_length
            ids = [torch.tensor(self.reader.token_ids(text, most)) for text in texts]
            labels = pad_sequence(ids, batch_first=True, padding_value=IGNORED).to(self.device)
            logits = teacher_forced(self.model, inputs, labels, self.reader)
        return logits.float().log_softmax(-1), labels

    @contextmanager
    def clearly(self) -> Iterator[None]:
        """What transformers raises for a model or a photo becomes one clear error."""
        try:
            yield
        except (*FAILURES, TypeError, IndexError, AttributeError) as error:
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise PlaitError(
                f"hub:{self.output.name} can't caption: {first}",
                hint="use another model, a smaller batch or another prompt",
            ) from None


@dataclass(frozen=True)
class HubCaptions:
    """Generates the texts of one batch: `plait.outputs.hub.output.Captions`."""

    head: HubHead
    fused: Fused

    @torch.no_grad()
    def generate(self, rows: Sequence[int], options: Generation) -> list[list[Caption]]:
        """See `Captions.generate`. Sampled texts are drawn photo by photo, so that they don't
        depend on the batch."""
        found: list[list[Caption]] = []
        size = 1 if options.sample else options.batch
        for start in range(0, len(rows), size):
            photos = self.head.photos(self.fused, rows[start : start + size])
            with self.head.alone(), self.head.clearly():
                found += self._generate(photos, options)
        return found

    def _generate(self, photos: Sequence[Image.Image], options: Generation) -> list[list[Caption]]:
        model, reader = self.head.model, self.head.reader
        inputs, whole = reader.read(photos, options.prompt, self.head.device, self.head.dtype)
        with torch.random.fork_rng():
            torch.manual_seed(options.seed)
            out = model.generate(
                **(whole if reader.family.cuts_prompt else inputs), **generation(options)
            )
        beams = getattr(out, "beam_indices", None)
        # Of the model alone: without temperature, and before tokens were forbidden.
        logp = model.compute_transition_scores(
            out.sequences, out.logits, beams, normalize_logits=True
        )
        captions = [
            reader.caption(ids[-logp.shape[1] :], scores.tolist())
            for ids, scores in zip(out.sequences.tolist(), logp.float(), strict=True)
        ]
        each = [captions[at : at + options.num] for at in range(0, len(captions), options.num)]
        if options.sample:
            each = [sorted(own, key=lambda caption: -caption.score) for own in each]
        return each


def generation(options: Generation) -> dict[str, Any]:
    """The options by transformers' names."""
    found: dict[str, Any] = {
        "min_new_tokens": options.min_words, "max_new_tokens": options.max_words,
        "num_return_sequences": options.num, "do_sample": options.sample,
        "output_logits": True, "return_dict_in_generate": True,
        "temperature": None, "top_k": None, "top_p": None,
    }  # fmt: skip
    if options.no_repeat:  # else as the model's authors set it
        found["no_repeat_ngram_size"] = options.no_repeat
    if options.sample:
        sampling = {"temperature": options.temperature, "top_k": options.top_k}
        return found | sampling | {"top_p": options.top_p, "num_beams": 1}
    beams = max(options.beam, options.num)
    penalty = {"length_penalty": options.length_penalty} if beams > 1 else {}
    return found | {"num_beams": beams, **penalty}


class PromptReader:
    """Turns photos and a prompt into a model's input, and token ids into text.

    Attributes:
        family: how the model is asked.
        decodes: whether its decoder attends to an encoder's result; otherwise the text follows the
            prompt.
        start: the token before all others of the decoder.
    """

    def __init__(self, name: str, model: Any, family: Family) -> None:
        library, self.family = transformers(), family
        self.processor: Any = None
        if family.apart:
            self.images = read_pretrained(library.AutoImageProcessor, name)
            self.tokenizer: Any = read_pretrained(library.AutoTokenizer, name)
        else:
            self.processor = load_processor(name)
            self.tokenizer = getattr(self.processor, "tokenizer", None)
        config, how = model.config, model.generation_config
        text = config.get_text_config(decoder=True)
        # Without a tokenizer's files the library makes an empty one.
        if self.tokenizer is None or len(self.tokenizer) < text.vocab_size // 2:
            raise PlaitError(
                f"the model {name!r} comes without its processor or its tokenizer",
                expected="a folder or repository with the files of both",
            )
        self.tokenizer.padding_side = "left"
        # What processors may give beyond what the model reads.
        reads = inspect.signature(model.forward).parameters
        self.unread = {"labels", *({"token_type_ids"} - set(reads))}
        self.decodes = bool(config.is_encoder_decoder or text.is_encoder_decoder)
        sources = (how, config, text)
        bos = first_of((text, how), "bos_token_id")
        self.start = first_of(sources, "decoder_start_token_id") if self.decodes else bos
        # BLIP's end of a text is not what its configuration calls so.
        ends = first_of((text,), "sep_token_id") or first_of(sources, "eos_token_id")
        self.ends: list[int] = ends if isinstance(ends, list) else [ends]
        self.forced: int | None = first_of((how,), "forced_bos_token_id")
        pad = self.tokenizer.pad_token_id
        self.pad: int = self.ends[0] if pad is None else pad
        if how.pad_token_id is None:  # else a warning is logged at every batch
            how.pad_token_id = self.pad

    def read(
        self, photos: Sequence[Image.Image], prompt: str | None, device: Any, dtype: Any
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What the model is given, as its text continues the prompt; and the same as its processor
        makes it, which may close the prompt with an end token."""
        if self.processor is None:
            given = self.images(images=list(photos), return_tensors="pt")
        else:
            chat = getattr(self.processor, "chat_template", None)
            given = self.processor(
                images=[[photo] for photo in photos] if chat else list(photos),
                text=[self._ask(prompt, chat)] * len(photos),
                return_tensors="pt", padding=True, **self.family.options,
            )  # fmt: skip
        whole = {
            name: value.to(device, dtype if value.is_floating_point() else None)
            for name, value in given.items()
            if name not in self.unread
        }
        if not self.family.closes_prompt:
            return whole, whole
        cut = {name: whole[name][:, :-1] for name in ("input_ids", "attention_mask")}
        cut["input_ids"] = cut["input_ids"].clone()
        cut["input_ids"][:, 0] = self.start
        return {**whole, **cut}, whole

    def _ask(self, prompt: str | None, chat: str | None) -> str:
        asked = self.family.prompt if prompt is None else prompt
        if not chat:
            return self.family.before + asked
        content = [{"type": "image"}, {"type": "text", "text": asked}]
        text: str = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], chat_template=chat, tokenize=False,
            add_generation_prompt=True,
        )  # fmt: skip
        return text

    def token_ids(self, text: str, most: int) -> list[int]:
        """A text's tokens as the model generates them, with the end; a long one is cut."""
        first = [] if self.forced is None else [self.forced]
        whole = self.family.between + text
        ids: list[int] = self.tokenizer(whole, add_special_tokens=False)["input_ids"]
        return [*first, *ids, self.ends[0]][:most]

    def caption(self, ids: Sequence[int], scores: Sequence[float]) -> Caption:
        """What generated tokens say: those up to the end, which counts in the score."""
        end = next((at for at, token in enumerate(ids) if token in self.ends), len(ids))
        text = self.tokenizer.decode(ids[:end], skip_special_tokens=True).strip()
        special = set(self.tokenizer.all_special_ids)
        counted = list(scores[: end + 1])
        words = self.pieces([token for token in ids[:end] if token not in special])
        return Caption(text, sum(counted) / len(counted), tuple(words))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """A readable string for each token."""
        return [self.tokenizer.decode([token]).strip() or SPACE for token in ids]


def first_of(sources: Sequence[Any], name: str) -> Any:
    """The attribute of the first of some configurations that has it."""
    values = (getattr(source, name, None) for source in sources)
    return next((value for value in values if value is not None), None)


def teacher_forced(
    model: Any, inputs: Mapping[str, Tensor], labels: Tensor, reader: PromptReader
) -> Tensor:
    """(N, L, V) the logits at each token of N texts, given the prompt and the tokens before it.

    Args:
        model: of transformers.
        inputs: what `PromptReader.read` made of the photos and the prompt.
        labels: (N, L) the texts' tokens, padded with `IGNORED`.
        reader: of the model.
    """
    real = (labels != IGNORED).long()
    ids = labels.masked_fill(real == 0, reader.pad)
    if reader.decodes:
        start = torch.full_like(ids[:, :1], reader.start)
        given = {"decoder_input_ids": torch.cat([start, ids[:, :-1]], dim=1)}
        logits: Tensor = model(
            **inputs, **given, decoder_attention_mask=torch.cat([real[:, :1], real[:, :-1]], dim=1)
        ).logits
        return logits
    extended: dict[str, Any] = dict(inputs)
    # What each token of the text is to models that tell kinds of tokens apart: none of a photo's.
    kinds = {"token_type_ids": torch.ones_like(ids), "mm_token_type_ids": torch.zeros_like(ids)}
    for name, more in {"input_ids": ids, "attention_mask": real, **kinds}.items():
        if name in inputs:
            extended[name] = torch.cat([inputs[name], more], dim=1)
    length = labels.shape[1] + 1
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        extended["logits_to_keep"] = length  # the prompt's would fill the memory
    logits = model(**extended).logits[:, -length:-1]
    return logits


# Adapters ------------------------------------------------------------------------------------


def add_adapters(model: Any, lora: Lora) -> None:
    """Put trainable adapters beside a frozen model's layers, in place."""
    peft = needed("peft", "captioners")
    config = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout,
        target_modules=list(lora.layers or linear_layers(model)),
    )  # fmt: skip
    try:
        with warnings.catch_warnings():  # of layers stored the other way round, as GPT-2's are
            warnings.filterwarnings("ignore", "fan_in_fan_out is set to")
            peft.inject_adapter_in_model(config, model)
    except ValueError as error:
        first = next(iter(str(error).strip().splitlines()), "")
        raise UsageError(
            f"lora.layers {', '.join(lora.layers or ())}: {first}",
            expected="ends of the names of linear layers, such as q_proj",
        ) from None
    for name, parameter in model.named_parameters():
        if ADAPTER in name:  # small, and learned by small steps
            parameter.data = parameter.data.float()


def linear_layers(model: Any) -> list[str]:
    """The names of all linear layers but those that score tokens, whose weights may be those of the
    embedding."""
    linear = (nn.Linear, transformers().pytorch_utils.Conv1D)
    vectors = model.config.get_text_config(decoder=True).vocab_size
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, linear) and vectors not in module.weight.shape
    ]


def leave_out_frozen(head: HubHead, state: dict[str, Any], prefix: str, _: Any) -> None:
    """The state of a head without the weights that are published elsewhere."""
    start = f"{prefix}model."
    for name in list(state):
        if name.startswith(start) and name.removeprefix(start) not in head.adapters:
            del state[name]


def fill_in_frozen(head: HubHead, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Add to such a state what it lacks: the weights that the head has already."""
    for name, value in head.model.state_dict().items():
        state.setdefault(f"{prefix}model.{name}", value)
