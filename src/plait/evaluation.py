"""Free-running predictions of records, and their scores: what a user would get, no less."""

from __future__ import annotations

from typing import Any

import torch

from plait.features import CachedRecords, Progress
from plait.network import Network
from plait.types import Prediction


def evaluate_records(
    network: Network,
    records: CachedRecords,
    size: int,
    device: torch.device,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, list[Prediction]]:
    """Every record's prediction for every output, in the records' order."""
    network.eval()
    found: dict[str, list[Prediction]] = {name: [] for name in network.heads}
    for batch in records.batches(size):
        for name, predictions in network.predict(batch.to(device), **options).items():
            found[name].extend(predictions)
        if progress:
            progress("answers", len(next(iter(found.values()))), len(records))
    return found
