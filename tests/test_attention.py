"""Attention's precision."""

from __future__ import annotations

import torch

from plait.blocks import Attention


def test_attention_learns_alike_in_bfloat16_and_float32() -> None:
    torch.manual_seed(0)
    attention = Attention(16, 2)
    tokens, mask = torch.randn(3, 5, 16), torch.arange(5) < torch.tensor([[5], [3], [1]])
    found = []
    for reduced in (False, True):
        attention.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            out = attention(tokens, attention.keys_values(tokens), mask)
            out.float().square().sum().backward()
        grad = attention.key_value.weight.grad
        assert grad is not None
        found.append((out.detach().float(), grad.clone()))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0.05, atol=0.02)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=0.1, atol=0.1)
    assert found[0][1].abs().max() > 0.5  # so that the tolerance says something
