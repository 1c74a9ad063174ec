"""Teacher forcing: a decoder is given the right tokens so far and predicts each next one.

Shapes: N texts, L text tokens, M real tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from plait.data.vocabulary import BOS, EOS, PAD, UNK
from plait.outputs.text.decoders.networks.base import DecoderNetwork, DecoderState

GROUPS, LEAST_GROUP = 4, 32  # texts of similar length run together


def teacher_forced(
    decoder: DecoderNetwork,
    start: DecoderState,
    owners: Sequence[int],
    texts: Sequence[Sequence[int]],
    word_dropout: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a decoder over texts, those of similar length together, to compute little for padding.

    Args:
        decoder: any.
        start: the state of every record.
        owners: each text's record.
        texts: N of them, as token ids with their end tokens.
        word_dropout: share of the previous tokens that the decoder sees as unknown.

    Returns:
        (M, D) the hidden vector before each real token, (M,) that token, (M,) its text.
    """
    device = start.device
    by_length = sorted(range(len(texts)), key=lambda n: len(texts[n]))
    size = max(LEAST_GROUP, -(-len(by_length) // GROUPS))
    parts = []
    for at in range(0, len(by_length), size):
        group = by_length[at : at + size]
        state = start.select(torch.tensor([owners[n] for n in group], device=device))
        inputs = _padded([[BOS, *texts[n][:-1]] for n in group], device)  # (N, L)
        if word_dropout:
            dropped = torch.rand(inputs.shape, device=device) < word_dropout
            inputs = torch.where(dropped & (inputs > EOS), UNK, inputs)
        labels = _padded([texts[n] for n in group], device)
        hidden, _, _ = decoder(inputs, state)  # (N, L, D)
        real = labels != PAD
        numbers = torch.tensor(group, device=device)[:, None].expand_as(labels)
        parts.append((hidden[real], labels[real], numbers[real]))
    hidden, labels, numbers = (torch.cat(part) for part in zip(*parts, strict=True))
    return hidden, labels, numbers


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    tensors = [torch.tensor(row) for row in rows]
    return pad_sequence(tensors, batch_first=True, padding_value=PAD).to(device)
