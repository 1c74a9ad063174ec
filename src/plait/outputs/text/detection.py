"""Which words occur in texts: the targets of `plait.outputs.text.networks.detector`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from plait.data.vocabulary import SPECIALS


def bags_of_words(
    records: Sequence[Sequence[Sequence[int]]], vocabulary: int
) -> NDArray[np.float32]:
    """(R, V): the share of each record's texts, given as token ids, that have the word."""
    bags = np.zeros((len(records), vocabulary), np.float32)
    for row, texts in enumerate(records):
        for token_ids in texts:
            bags[row, sorted(set(token_ids))] += 1 / len(texts)
    bags[:, : len(SPECIALS)] = 0
    return bags


def word_shares(records: Sequence[Sequence[Sequence[int]]], vocabulary: int) -> list[float]:
    """(V): how probable each word is whatever the input, the mean of the records' bags."""
    total = np.zeros(vocabulary, np.float32)
    for record in records:  # one bag at a time, to save memory
        total += bags_of_words([record], vocabulary)[0]
    return [round(share, 6) for share in (total / np.float32(len(records))).tolist()]
