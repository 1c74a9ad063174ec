"""Free-running predictions of records, and their scores: what a user would get, no less."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from plait.explain.shares import input_shares
from plait.features import CachedRecords, Progress
from plait.network import Batch, Network
from plait.types import Prediction


def answer(
    network: Network, batch: Batch, shares: bool = False, **options: Any
) -> dict[str, list[Prediction]]:
    """A batch's predictions for every output, with each input's share where asked for."""
    found = network.predict(batch, **options)
    if not shares:
        return found
    return {
        name: [
            replace(prediction, shares=share)
            for prediction, share in zip(
                predictions, input_shares(network, batch, name, predictions), strict=True
            )
        ]
        for name, predictions in found.items()
    }


def evaluate_records(
    network: Network,
    records: CachedRecords,
    size: int,
    device: torch.device,
    progress: Progress | None = None,
    shares: bool = False,
    **options: Any,
) -> dict[str, list[Prediction]]:
    """Every record's prediction for every output, in the records' order; with each input's share
    of it where asked for."""
    network.eval()
    found: dict[str, list[Prediction]] = {name: [] for name in network.heads}
    for batch in records.batches(size):
        answers = answer(network, batch.to(device), shares, **options)
        for name, predictions in answers.items():
            found[name].extend(predictions)
        if progress:
            progress("answers", len(next(iter(found.values()))), len(records))
    return found
