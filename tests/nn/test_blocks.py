"""Attention and sequence encoders: precision, padding."""

from __future__ import annotations

import pytest
import torch

from plait.nn.blocks import Attention, GruEncoder


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


@pytest.mark.parametrize("width", [8, 9])
def test_a_gru_reads_a_record_alike_alone_and_before_padding(width: int) -> None:
    torch.manual_seed(0)
    encoder = GruEncoder(width, 2, 0.3, 0).eval()
    tokens = torch.randn(3, 6, width)
    mask = torch.arange(6) < torch.tensor([[6], [2], [0]])
    together = encoder(tokens, mask)
    for row, length in ((0, 6), (1, 2)):
        alone = encoder(tokens[row : row + 1, :length], mask[row : row + 1, :length])
        torch.testing.assert_close(together[row, :length], alone[0])
    garbage = torch.where(mask[..., None], tokens, 1e9)
    torch.testing.assert_close(encoder(garbage, mask)[mask], together[mask])


def test_a_gru_reads_both_ways() -> None:
    torch.manual_seed(0)
    encoder = GruEncoder(8, 1, 0.0, 0).eval()
    tokens, mask = torch.randn(1, 5, 8), torch.ones(1, 5, dtype=torch.bool)
    other = tokens.clone()
    other[0, 2] += 1
    assert (encoder(tokens, mask) - encoder(other, mask)).abs().amax(-1).gt(1e-3).all()


def test_a_gru_says_what_packed_sequences_say() -> None:
    torch.manual_seed(0)
    encoder, lengths = GruEncoder(8, 2, 0.0, 0).eval(), torch.tensor([4, 6, 1])
    whole = torch.nn.GRU(8, 4, 2, batch_first=True, bidirectional=True)
    state = {
        f"{name.removesuffix('0')}{layer}{way}": values
        for layer in range(2)
        for way, part in (("", encoder.on[layer]), ("_reverse", encoder.back[layer]))
        for name, values in part.state_dict().items()
    }
    whole.load_state_dict(state)
    tokens = torch.randn(3, 6, 8)
    packed = torch.nn.utils.rnn.pack_padded_sequence(tokens, lengths, True, enforce_sorted=False)
    read = torch.nn.utils.rnn.pad_packed_sequence(whole(packed)[0], True, 0.0, 6)[0]
    mask = torch.arange(6) < lengths[:, None]
    torch.testing.assert_close(encoder(tokens, mask)[mask], encoder.out(read)[mask])
