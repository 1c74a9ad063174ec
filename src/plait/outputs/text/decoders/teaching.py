"""Teacher forcing: a decoder is shown the right words so far, and foretells each next one.

Shapes: N sentences, L words, M real words, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from plait.data.vocabulary import BOS, EOS, PAD, UNK
from plait.outputs.text.decoders.base import Decoder, DecoderState

GROUPS, LEAST_GROUP = 4, 32  # sentences of like length run together


def real_words(
    decoder: Decoder,
    start: DecoderState,
    owners: Sequence[int],
    sentences: Sequence[Sequence[int]],
    hidden_share: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden vectors (M, D) that foretell a real word, those words (M,), their sentences (M,).

    Sentences of like length run together, so that little is computed for padding.

    Args:
        start: the state of every record.
        owners: each sentence's record.
        sentences: ids, with their end tokens.
        hidden_share: of the words so far that the decoder is not shown.
    """
    device = start.device
    by_length = sorted(range(len(sentences)), key=lambda n: len(sentences[n]))
    size = max(LEAST_GROUP, -(-len(by_length) // GROUPS))
    found = []
    for at in range(0, len(by_length), size):
        group = by_length[at : at + size]
        state = start.select(torch.tensor([owners[n] for n in group], device=device))
        inputs = _padded([[BOS, *sentences[n][:-1]] for n in group], device)  # (N, L)
        if hidden_share:
            hidden_words = torch.rand(inputs.shape, device=device) < hidden_share
            inputs = torch.where(hidden_words & (inputs > EOS), UNK, inputs)
        labels = _padded([sentences[n] for n in group], device)
        hidden, _, _ = decoder(inputs, state)  # (N, L, D)
        real = labels != PAD
        numbers = torch.tensor(group, device=device)[:, None].expand_as(labels)
        found.append((hidden[real], labels[real], numbers[real]))
    hidden, labels, numbers = (torch.cat(part) for part in zip(*found, strict=True))
    return hidden, labels, numbers


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    tensors = [torch.tensor(row) for row in rows]
    return pad_sequence(tensors, batch_first=True, padding_value=PAD).to(device)
