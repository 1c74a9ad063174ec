"""`hub:NAME`: the tokens of any audio encoder of the transformers library.

NAME is a model's name on the Hugging Face hub or a local folder in its format (wav2vec 2.0,
HuBERT, WavLM, Whisper's encoder, AST...). The weights' origin and licence are the model's own.
What the model is fed is made by its own feature extractor, whose settings a package keeps.

Shapes: N samples, T tokens, D width.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from plait.config.registry import register
from plait.modalities.audio.base import (
    NOISE,
    SHORTEST,
    SPEED,
    Longest,
    Noise,
    Rate,
    Sound,
    Speed,
    Trim,
    Views,
)
from plait.modalities.audio.layers import zero_behind
from plait.modalities.base import Encoder
from plait.nn.blocks import freeze, length_mask
from plait.nn.pretrained import (
    HubName,
    HubTrain,
    build_extractor,
    build_model,
    load_config,
    load_extractor,
    probe,
    refuse_missing,
)
from plait.types import PlaitError, State, Tokens

AST_FRAMES = 100  # a second


@register("audio", "hub")
class HubSound(Sound):
    """Any audio encoder of the Hugging Face hub, or of a local folder in its format."""

    exported = False

    def __init__(
        self,
        *,
        name: HubName,
        train: HubTrain = "frozen",
        rate: Rate = 16000,
        longest: Longest = 10.0,
        trim: Trim = False,
        views: Views = 1,
        speed: Speed = SPEED,
        noise: Noise = NOISE,
    ) -> None:
        super().__init__(rate, longest, trim, views, speed, noise)
        self.name, self.trained = name, train

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The model's architecture and its feature extractor, so that a package needs no hub.

        Raises:
            PlaitError: there is no such model, or it hears another rate or shorter sounds only.
        """
        config, extractor = load_config(self.name), load_extractor(self.name)
        self._check(extractor)
        # Left-out layers and masked stretches are for pretraining; the latter, longer than some
        # sounds, would be errors.
        off = {"apply_spec_augment": False, "layerdrop": 0.0, "encoder_layerdrop": 0.0}
        config |= {key: value for key, value in off.items() if key in config}
        return {"config": config, "extractor": extractor}

    def _check(self, extractor: State) -> None:
        if extractor["sampling_rate"] != self.rate:
            raise PlaitError(
                f"hub:{self.name} hears {extractor['sampling_rate']:,} samples a second",
                hint=f"set the representation's rate to {extractor['sampling_rate']}",
            )
        window = window_samples(extractor)
        if window and self.most > window:
            raise PlaitError(
                f"hub:{self.name} hears {window / self.rate:g} seconds at the most",
                hint=f"set the representation's longest to {window / self.rate:g}",
            )

    def pace(self, state: State) -> float:
        """By the strides of wav2vec 2.0 and its like, or by Whisper's window."""
        config = state["config"]
        if "conv_stride" in config:
            return math.prod(config["conv_stride"]) / self.rate
        if window := state["extractor"].get("n_samples"):
            places: int = config.get("max_source_positions", 0)
            return window / self.rate / places if places else 0.0
        return 0.0

    def fingerprint(self, state: State) -> str:
        """As any sound's, with the feature extractor."""
        return json.dumps([super().fingerprint(state), state["extractor"]])

    def encoder(self, state: State, pretrained: bool) -> Encoder:
        """The model; its weights come from the hub or the folder only if ``pretrained``."""
        return HubSoundEncoder(self, state, pretrained)


def window_samples(extractor: State) -> int | None:
    """The length in samples that a model always hears, with silence behind shorter sounds; None
    where it hears each sound as long as it is."""
    if extractor["feature_extractor_type"] == "ASTFeatureExtractor":
        return extractor["max_length"] * extractor["sampling_rate"] // AST_FRAMES
    return extractor.get("n_samples")


class HubSoundEncoder(Encoder):
    """(N,) samples -> Tokens (B, T, D), T as many as the model makes of the sound."""

    pretrained = True

    def __init__(self, sound: HubSound, state: State, pretrained: bool) -> None:
        super().__init__()
        model, missing = build_model("AutoModel", sound.name, state["config"], pretrained)
        features = Features(model, state["extractor"]).eval()
        values, used = _probe(sound, features)
        refuse_missing(sound.name, model, missing, used)
        self.length, self.width = values.shape
        for p in features.parameters():  # the vector for masked stretches, say, is never used here
            p.requires_grad_(id(p) in used)
        frozen = sound.trained == "frozen"
        self.trunk: nn.Module = freeze(features) if frozen else nn.Identity()
        self.top: nn.Module = nn.Identity() if frozen else features

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """(N,) samples each -> (T, D) each, or the samples themselves where all layers learn."""
        with torch.no_grad():
            return list(self.trunk(list(items)))

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """What `prepare` gave -> Tokens (B, T, D)."""
        if isinstance(self.top, Features):
            prepared, lengths = self._learned(self.top, prepared, lengths)
        return Tokens(zero_behind(prepared, lengths), length_mask(lengths, prepared.shape[1]))

    def _learned(self, top: Features, sounds: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N) samples -> (B, T, D), and how many of the T are real, (B,)."""
        present = lengths > 0
        found = top([row[:n] for row, n in zip(sounds, lengths.tolist(), strict=True) if n])
        counts = torch.zeros_like(lengths)
        counts[present] = counts.new_tensor([len(values) for values in found])
        values = sounds.new_zeros(len(sounds), max(1, int(counts.max())), self.width)
        if found:
            values[present] = pad_sequence(found, batch_first=True).to(values.dtype)
        return values, counts


class Features(nn.Module):
    """(N,) samples each -> (T, D) each: the model's last hidden states.

    Only what has the same length goes through the model at once: several models normalise over
    time and would otherwise hear the silence behind the shorter sounds.
    """

    def __init__(self, model: Any, extractor: State) -> None:
        super().__init__()
        self.model: nn.Module = model.get_encoder() if model.config.is_encoder_decoder else model
        self.extract = build_extractor(extractor)
        self.rate = extractor["sampling_rate"]
        # Of a spectrogram's patches none lies behind the sound: they are not in order of time.
        self.window = extractor.get("n_samples")

    def forward(self, sounds: Sequence[Tensor]) -> list[Tensor]:
        """(N,) each -> (T, D) each, on the model's device."""
        features = [self._features(sound) for sound in sounds]
        out: dict[int, Tensor] = {}
        for shape in {f.shape for f in features}:
            same = [i for i, f in enumerate(features) if f.shape == shape]
            values = self.model(torch.stack([features[i] for i in same])).last_hidden_state
            for i, value in zip(same, values, strict=True):
                out[i] = value[: self._real(len(sounds[i]), len(value))]
        return [out[i] for i in range(len(sounds))]

    def _features(self, sound: Tensor) -> Tensor:
        lacking = max(0, round(SHORTEST * self.rate) - len(sound))
        heard = nn.functional.pad(sound.float(), (0, lacking)).cpu().numpy()
        found = self.extract(heard, sampling_rate=self.rate, return_tensors="pt")
        return found[self.extract.model_input_names[0]][0].to(sound.device)

    def _real(self, samples: int, tokens: int) -> int:
        """How many of the tokens lie within the sound; the others are the window's silence."""
        return math.ceil(tokens * samples / self.window) if self.window else tokens


def _probe(sound: HubSound, features: Features) -> tuple[Tensor, set[int]]:
    """The tokens of the longest sound (T, D), and the ``id`` of the parameters they depend on."""
    return probe(
        Alone(features),
        torch.zeros(sound.most),
        what=f"hub:{sound.name} can't hear a sound of {sound.longest:g} seconds",
        expected="an audio model with hidden states in order (last_hidden_state)",
        hint="change longest, or name another model",
    )


class Alone(nn.Module):
    """`Features` of one sound."""

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.features = features

    def forward(self, sound: Tensor) -> Tensor:
        """(N,) -> (T, D)."""
        (values,) = self.features([sound])
        if values.ndim != 2:
            raise ValueError(f"its hidden states are no sequence but {tuple(values.shape)}")
        return values
