"""What outputs' heads are given in tests, and their free-running answers."""

from __future__ import annotations

from typing import Any

import torch

from plait.nn.base import Arrays, Head
from plait.outputs.base import Output
from plait.types import Fused, Prediction, Tokens


def fused(pooled: torch.Tensor) -> Fused:
    """Records of one token, which is their pooled vector."""
    tokens = Tokens(pooled[:, None], torch.ones(len(pooled), 1, dtype=torch.bool))
    return Fused(pooled, tokens, {"a": tokens})


@torch.no_grad()
def decode(output: Output, head: Head, given: Fused, **options: Any) -> list[Prediction]:
    """As a network does it."""
    raw = head.raw_outputs(given)
    steps = head.stepper(given, raw)
    return output.decode(Arrays(raw), head.fitted(), output.options(**options), steps)
