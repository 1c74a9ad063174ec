"""The network's numbers equal those of the package `efficientnet-lite-pytorch`."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from plait.modalities.image.cnn import SIZES
from plait.nn import efficientnet_lite as lite


@pytest.mark.parametrize("name", get_args(lite.Name))
@torch.no_grad()
def test_the_map_equals_the_reference_s(name: lite.Name) -> None:
    reference = pytest.importorskip("efficientnet_lite_pytorch")
    theirs = reference.EfficientNet.from_name(f"efficientnet-{name}").eval()
    theirs.load_state_dict(torch.load(lite._weights(name), weights_only=True))
    ours = lite.layers(name)
    lite.load_imagenet(ours, name)
    size = SIZES[name]
    photo = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    expected = theirs.extract_features(photo)
    torch.testing.assert_close(ours.eval()(photo), expected)
    torch.testing.assert_close(lite.fold(ours)(photo), expected, rtol=1e-3, atol=1e-3)
