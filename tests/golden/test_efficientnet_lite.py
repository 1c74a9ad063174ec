"""The network's numbers equal those of the package `efficientnet-lite-pytorch`."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from plait.modalities.image.base import SIZES, NetworkName
from plait.modalities.image.networks import fold, imagenet_file, lite_layers, load_imagenet


@pytest.mark.parametrize("name", get_args(NetworkName))
@torch.no_grad()
def test_the_map_equals_the_reference_s(name: NetworkName) -> None:
    reference = pytest.importorskip("efficientnet_lite_pytorch")
    theirs = reference.EfficientNet.from_name(f"efficientnet-{name}").eval()
    theirs.load_state_dict(torch.load(imagenet_file(name), weights_only=True))
    ours = lite_layers(name)
    load_imagenet(ours, name)
    size = SIZES[name]
    photo = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    expected = theirs.extract_features(photo)
    torch.testing.assert_close(ours.eval()(photo), expected)
    torch.testing.assert_close(fold(ours)(photo), expected, rtol=1e-3, atol=1e-3)
