"""Inception-ResNet-v2 without its classifier, and how to fill it with Keras' weights.

Paper: Szegedy, Ioffe, Vanhoucke, Alemi (2016), "Inception-v4, Inception-ResNet and the Impact of
Residual Connections on Learning", arXiv:1602.07261.

This is the variant that keras.applications.InceptionResNetV2(include_top=False) builds, which
differs from the paper's figures in widths and in the stem: batch norm without gamma and with
epsilon 1e-3, residual scales 0.17, 0.10 and 0.20, a last block without scale and activation, and
a closing 1x1 convolution to 1536 channels.

Weights: none are in the box. Keras publishes them (Apache-2.0, trained on ImageNet) as
``inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from plait.types import PlaitError
from plait.util.imports import needed

INPUT_SIZE = 299
"""Height and width of the photo; its values are RGB scaled to [-1, 1]."""
GRID = 8
"""Height and width of the map that a photo of INPUT_SIZE gives."""
CHANNELS = 1536

BATCH_NORM_EPSILON = 1e-3
KERAS_MOMENTUM = 0.99  # Keras' share of the old mean; torch counts the share of the new one

KERAS_FILE = "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5"

# Each block is a row of branches, side by side; each branch a row of steps. A step is a pooling, or
# a convolution: channels out, kernel height, kernel width and, where it halves the map, stride 2.
Step = str | tuple[int, int, int] | tuple[int, int, int, int]
Block = Sequence[Sequence[Step]]
MAX, MEAN = "max", "mean"

MIXED_5B: Block = [  # 192 channels -> 320
    [(96, 1, 1)],
    [(48, 1, 1), (64, 5, 5)],
    [(64, 1, 1), (96, 3, 3), (96, 3, 3)],
    [MEAN, (64, 1, 1)],
]
BLOCK35: Block = [
    [(32, 1, 1)],
    [(32, 1, 1), (32, 3, 3)],
    [(32, 1, 1), (48, 3, 3), (64, 3, 3)],
]
MIXED_6A: Block = [  # 320 -> 1088
    [(384, 3, 3, 2)],
    [(256, 1, 1), (256, 3, 3), (384, 3, 3, 2)],
    [MAX],
]
BLOCK17: Block = [
    [(192, 1, 1)],
    [(128, 1, 1), (160, 1, 7), (192, 7, 1)],
]
MIXED_7A: Block = [  # 1088 -> 2080
    [(256, 1, 1), (384, 3, 3, 2)],
    [(256, 1, 1), (288, 3, 3, 2)],
    [(256, 1, 1), (288, 3, 3), (320, 3, 3, 2)],
    [MAX],
]
BLOCK8: Block = [
    [(192, 1, 1)],
    [(192, 1, 1), (224, 1, 3), (256, 3, 1)],
]


class ShiftNorm(nn.Module):
    """Batch norm that learns a shift and no gain: Keras' BatchNormalization(scale=False).

    A ReLU and a convolution follow, and the convolution can learn the gain.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        gain = torch.ones_like(self.beta)  # cuDNN wants one, though it is always 1
        return F.batch_norm(
            values, self.mean, self.variance, gain, self.beta, self.training,
            1 - KERAS_MOMENTUM, BATCH_NORM_EPSILON,
        )  # fmt: skip


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, ReLU.

    Padding is Keras' "same" for odd kernels at stride 1; with ``valid``, as in all of the network's
    strided convolutions, there is none at all.
    """

    def __init__(
        self, ins: int, outs: int, height: int, width: int, stride: int = 1, *, valid: bool = False
    ) -> None:
        super().__init__()
        padding = (0, 0) if valid or stride > 1 else (height // 2, width // 2)
        self.conv = nn.Conv2d(ins, outs, (height, width), stride, padding, bias=False)
        self.norm = ShiftNorm(outs)

    def forward(self, values: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C, H', W')."""
        return F.relu(self.norm(self.conv(values)))


class Branches(nn.Module):
    """Runs a block's branches on one map and concatenates their channels."""

    def __init__(self, channels: int, block: Block) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_chain(channels, steps) for steps in block)

    def forward(self, values: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, sum of the branches' channels, H', W')."""
        return torch.cat([branch(values) for branch in self.branches], dim=1)


def _chain(channels: int, steps: Sequence[Step]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for step in steps:
        if not isinstance(step, str):
            layers.append(ConvNorm(channels, *step))
            channels = step[0]
        elif step == MAX:
            layers.append(nn.MaxPool2d(3, stride=2))
        else:
            # TensorFlow's "same" average pooling does not count the padding at the borders.
            layers.append(nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False))
    return nn.Sequential(*layers)


class Residual(nn.Module):
    """An Inception-ResNet block: x + scale * up(branches(x)), then ReLU unless it is the last.

    ``up`` is linear (with bias, no batch norm); the scale keeps deep stacks stable (section 3.3
    of the paper).
    """

    def __init__(self, channels: int, block: Block, scale: float, last: bool = False) -> None:
        super().__init__()
        self.mixed = Branches(channels, block)
        self.up = nn.Conv2d(sum(int(steps[-1][0]) for steps in block), channels, 1)
        self.scale, self.last = scale, last

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        total: Tensor = values + self.scale * self.up(self.mixed(values))
        return total if self.last else F.relu(total)


class InceptionResNetV2(nn.Module):
    """The convolutional part of Inception-ResNet-v2, equal to Keras' (arXiv:1602.07261).

    Its convolutions are made in the order in which Keras makes them, and blocks bear Keras' names;
    ``keras_layers`` relies on both.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvNorm(3, 32, 3, 3, stride=2),  # (B, 32, 149, 149)
            ConvNorm(32, 32, 3, 3, valid=True),  # (B, 32, 147, 147)
            ConvNorm(32, 64, 3, 3),
            nn.MaxPool2d(3, stride=2),  # (B, 64, 73, 73)
            ConvNorm(64, 80, 1, 1),
            ConvNorm(80, 192, 3, 3, valid=True),  # (B, 192, 71, 71)
            nn.MaxPool2d(3, stride=2),
        )
        self.mixed_5b = Branches(192, MIXED_5B)
        self.block35 = nn.Sequential(*(Residual(320, BLOCK35, scale=0.17) for _ in range(10)))
        self.mixed_6a = Branches(320, MIXED_6A)
        self.block17 = nn.Sequential(*(Residual(1088, BLOCK17, scale=0.10) for _ in range(20)))
        self.mixed_7a = Branches(1088, MIXED_7A)
        self.block8 = nn.Sequential(
            *(Residual(2080, BLOCK8, scale=0.20) for _ in range(9)),
            Residual(2080, BLOCK8, scale=1.0, last=True),
        )
        self.conv_7b = ConvNorm(2080, CHANNELS, 1, 1)

    def forward(self, photos: Tensor) -> Tensor:
        """(B, 3, 299, 299) float in [-1, 1] -> (B, 1536, 8, 8) float, none below zero."""
        values = self.mixed_5b(self.stem(photos))  # (B, 192, 35, 35) -> (B, 320, 35, 35)
        values = self.mixed_6a(self.block35(values))  # (B, 1088, 17, 17)
        values = self.mixed_7a(self.block17(values))  # (B, 2080, 8, 8)
        features: Tensor = self.conv_7b(self.block8(values))  # (B, 1536, 8, 8)
        return features


# Weights --------------------------------------------------------------------------------------

KerasWeight = tuple[str, str]
"""Where Keras keeps a weight: (layer's name, weight's name), as ("conv2d_7", "kernel")."""

NORM_WEIGHTS = {"beta": "beta", "mean": "moving_mean", "variance": "moving_variance"}
"""A batch norm's weights: our names -> Keras' names."""

NUMBERED = re.compile(r"(conv2d|batch_normalization)(?:_(\d+))?")
"""The names Keras gives to layers that were given none; the first one may bear no number."""


def keras_layers(net: InceptionResNetV2) -> dict[str, KerasWeight]:
    """For each entry of the net's state dict, where a freshly made Keras model keeps it.

    Keras numbers the nameless layers in the order of their making, so this is a plain walk; only
    the residual blocks' ``up`` and the closing ``conv_7b`` have names of their own.
    """
    places: dict[str, KerasWeight] = {}
    count = 0
    for path, module in net.named_modules():
        if isinstance(module, Residual):
            kind, place = path.split(".")  # "block35.0" is Keras' "block35_1"
            layer = f"{kind}_{int(place) + 1}_conv"
            places |= {f"{path}.up.weight": (layer, "kernel"), f"{path}.up.bias": (layer, "bias")}
        elif isinstance(module, ConvNorm):
            suffix = f"_{count}" if count else ""
            conv, norm = f"conv2d{suffix}", f"batch_normalization{suffix}"
            if module is net.conv_7b:
                conv, norm = "conv_7b", "conv_7b_bn"
            places[f"{path}.conv.weight"] = (conv, "kernel")
            for ours, keras in NORM_WEIGHTS.items():
                places[f"{path}.norm.{ours}"] = (norm, keras)
            count += 1
    return places


def load_weights(net: InceptionResNetV2, path: str | Path) -> None:
    """Fills the net from Keras' published .h5 file or from a .safetensors file of its state dict.

    The net is changed only after the whole file has been found right.

    Raises:
        PlaitError: the file is missing, of another kind, damaged, or of another network.
    """
    path = Path(path)
    if not path.is_file():
        raise _wrong(path, "is a directory" if path.is_dir() else "does not exist")
    if path.suffix.lower() in (".h5", ".hdf5"):
        state = _read_keras(path, net)
    elif path.suffix.lower() == ".safetensors":
        try:
            state = load_file(path)
        except (SafetensorError, OSError) as error:
            raise _wrong(path, f"cannot be read ({error})") from error
    else:
        raise _wrong(path, f"ends in {path.suffix!r}")
    _check(state, net.state_dict(), path)
    net.load_state_dict(state)


def _wrong(path: Path, what: str, hint: str = "") -> PlaitError:
    return PlaitError(
        f"weights of inception-resnet-v2: {path} {what}",
        expected="Keras' .h5 file of InceptionResNetV2 or a .safetensors file of plait's own",
        hint=hint or f"give the path of {KERAS_FILE}, which Keras publishes",
    )


def _check(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Refuses a state that lacks or adds an entry, or has one of another shape or not finite."""
    missing, unknown = wanted.keys() - state.keys(), state.keys() - wanted.keys()
    if missing or unknown:
        lists = f"{_few('missing', missing)}; {_few('unknown', unknown)}"
        raise _wrong(path, f"is of another network (weights: {lists})")
    for name, value in state.items():
        if value.shape != wanted[name].shape:
            got, want = tuple(value.shape), tuple(wanted[name].shape)
            raise _wrong(path, f"is of another network ({name} is {got} and should be {want})")
        if not (value.is_floating_point() and bool(value.isfinite().all())):
            raise _wrong(path, f"is damaged ({name} is not all finite floats)")


def _few(word: str, names: Iterable[str]) -> str:
    """As "missing 3: a, b, ..."."""
    names = sorted(names)
    listed = ", ".join([*names[:2], *(["..."] if len(names) > 2 else [])])
    return f"{word} {len(names)}: {listed}" if names else f"{word} none"


def _read_keras(path: Path, net: InceptionResNetV2) -> dict[str, Tensor]:
    """The state dict that Keras' file holds, right or not: ``_check`` judges it."""
    h5py = needed("h5py", "keras")
    ours = {place: name for name, place in keras_layers(net).items()}
    state: dict[str, Tensor] = {}
    try:
        with h5py.File(path, "r") as file:
            # The published file holds the layers at its top, a whole saved model one group down.
            for place, value in _keras_weights(file.get("model_weights", file), h5py, path):
                # Other named layers (the classifier of the whole network) are no concern of ours,
                # but one numbered layer too many means that the walk went astray.
                if place in ours or NUMBERED.fullmatch(place[0]):
                    array = np.asarray(value[()], dtype=np.float32)
                    if array.ndim == 4:  # (H, W, C_in, C_out) -> (C_out, C_in, H, W)
                        array = array.transpose(3, 2, 0, 1)
                    name = ours.get(place, "/".join(place))
                    state[name] = torch.from_numpy(np.ascontiguousarray(array))
    except (OSError, RuntimeError) as error:  # h5py raises either for a damaged file
        raise _wrong(path, f"cannot be read as HDF5 ({error})") from error
    return state


def _keras_weights(layers: Any, h5py: Any, path: Path) -> Iterator[tuple[KerasWeight, Any]]:
    """All data sets of the file by layer (numbered as in a fresh model) and weight."""
    if "conv_7b" not in layers:
        # Keras 3's .weights.h5 names layers after their class, so their order is lost.
        hint = "save it from Keras with model.save('NAME.h5')" if "layers" in layers else ""
        raise _wrong(path, "does not name its layers as InceptionResNetV2 (no conv_7b)", hint)
    names: list[str] = []
    layers.visit(names.append)
    fresh = _renumbered(layers)
    for name in names:
        # As conv2d_1/conv2d_1/kernel:0, where Keras 3 leaves out ":0".
        if isinstance(item := layers[name], h5py.Dataset):
            layer, _, rest = name.partition("/")
            weight = rest.rpartition("/")[2].partition(":")[0]
            yield (fresh.get(layer, layer), weight), item


def _renumbered(names: Iterable[str]) -> dict[str, str]:
    """The file's numbered layers -> the same counted from none: conv2d, conv2d_1, ...

    Old releases of Keras begin at 1, and a model that was not the first of its process begins
    anywhere; the order is that of the making in all of them.
    """
    numbered = [match for name in names if (match := NUMBERED.fullmatch(name))]
    counts: Counter[str] = Counter()
    fresh = {}
    for match in sorted(numbered, key=lambda match: int(match[2] or 0)):
        kind = match[1]
        fresh[match[0]] = f"{kind}_{counts[kind]}" if counts[kind] else kind
        counts[kind] += 1
    return fresh
