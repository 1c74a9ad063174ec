"""The network of `hub:NAME`: any audio encoder of the transformers library.

Shapes: B records, N samples, T tokens, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from plait.modalities.audio.base import SHORTEST
from plait.modalities.audio.hub import HubSound
from plait.modalities.audio.networks.layers import zero_behind
from plait.nn.base import Encoder
from plait.nn.blocks import freeze, length_mask
from plait.nn.hub import build_extractor
from plait.nn.pretrained import build_features
from plait.types import State, Tokens


class HubSoundEncoder(Encoder):
    """(N,) samples -> Tokens (B, T, D), T as many as the model makes of the sound."""

    pretrained = True

    def __init__(self, sound: HubSound, pretrained: bool) -> None:
        super().__init__()
        state = sound.state
        alone, values = build_features(
            sound.name,
            state["config"],
            pretrained,
            lambda model: Alone(Features(model, state["extractor"])),
            (torch.zeros(sound.max_samples),),
            what=f"hub:{sound.name} can't hear a sound of {sound.max_seconds:g} seconds",
            expected="an audio model with hidden states in order (last_hidden_state)",
            hint="change max_seconds, or name another model",
        )
        self.length, self.width = values.shape
        features = alone.features
        frozen = sound.train == "frozen"
        self.trunk: nn.Module = freeze(features) if frozen else nn.Identity()
        self.top: nn.Module = nn.Identity() if frozen else features

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """(N,) samples each -> (T, D) each, or the samples themselves where all layers learn."""
        with torch.no_grad():
            return list(self.trunk(list(items)))

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """What `prepare` gave -> Tokens (B, T, D)."""
        if isinstance(self.top, Features):
            prepared, lengths = self._tokens(self.top, prepared, lengths)
        return Tokens(zero_behind(prepared, lengths), length_mask(lengths, prepared.shape[1]))

    def _tokens(self, top: Features, sounds: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
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
