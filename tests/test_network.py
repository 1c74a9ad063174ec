"""Where the parts meet: missing inputs and left-out tokens."""

from __future__ import annotations

import torch

from plait.network import Adapter
from plait.types import Tokens


def tokens() -> Tokens:
    mask = torch.ones(200, 8, dtype=torch.bool)
    mask[0] = False  # missing
    mask[1:, 6:] = False  # padding
    mask[1, 1:] = False  # a record of one token
    return Tokens(torch.randn(200, 8, 4), mask)


def test_tokens_are_left_out_at_random_while_learning_only() -> None:
    adapter, given = Adapter(4, 16, 8, dropout=0.5), tokens()
    used = adapter.eval()(given).mask
    assert torch.equal(used[1:], given.mask[1:])
    assert used[0].tolist() == [True] + [False] * 7  # its "missing" token
    torch.manual_seed(0)
    left = adapter.train()(given).mask
    assert not (left & ~used).any()
    assert 0.4 < left[2:, :6].float().mean() < 0.6
    assert left.any(dim=1).all()  # something is always left
    assert torch.equal(left[:2], used[:2])


def test_without_dropout_all_tokens_stay_while_learning() -> None:
    adapter, given = Adapter(4, 16, 8, dropout=0.0), tokens()
    assert torch.equal(adapter.train()(given).mask, adapter.eval()(given).mask)
