"""Fits networks without gradients: linear models of the inputs' plain vectors."""

from __future__ import annotations

import time
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plait.fusion.linear import LinearFusion
from plait.fusion.networks import Standardised
from plait.network import Network
from plait.nn.base import VectorEncoder
from plait.pipeline.records import Records
from plait.training.loop import LoopState, Report, Scorer
from plait.util.imports import needed

BATCH = 64  # records made vectors at a time


class Fitter:
    """Fits a network's linear models, with the verbs of `Trainer`; a fit that is interrupted is
    begun again, as it takes seconds.

    Args:
        network: whose fusion is fitted at once.
        train: the records to learn from.
        validation: scores the penalties; None to fit with those that are given.
        folder: of the run.
        report: called with each line of the log.
        penalties: output -> penalty, without a validation.
        weights: (N,) how much each record counts; None: all alike.
    """

    resumed = False

    def __init__(
        self,
        network: Network,
        fusion: LinearFusion,
        train: Records,
        validation: Scorer | None,
        folder: Path,
        report: Report | None = None,
        weights: NDArray[np.float64] | None = None,
        penalties: Mapping[str, float] | None = None,
    ) -> None:
        self.network, self.fusion, self.folder = network, fusion, folder
        self.train, self.validation, self.report = train, validation, report
        self.weights = np.ones(len(train)) if weights is None else weights
        self.penalties = dict(penalties or {})
        self.progress = LoopState()

    @property
    def chosen(self) -> dict[str, Any]:
        """The arguments of a fit without validation: the best penalties."""
        return {"penalties": self.penalties}

    @torch.no_grad()
    def run(self) -> Network:
        """Fit; of the penalties, each output keeps the one whose answers to the validation records
        score best, the strongest of equals."""
        started, network = time.monotonic(), self.network.eval()
        standardise(network, self.train)
        x = joined_vectors(network, self.train)
        if self.validation is None:
            for name, penalty in self.penalties.items():
                self._fit(name, x, penalty)
        else:
            self._choose(x, self.validation)
        each = ", ".join(f"{name} {penalty:g}" for name, penalty in self.penalties.items())
        self.progress.best_at = f"penalty {each}"
        self.progress.seconds = time.monotonic() - started
        self.progress.finished = True
        return network

    def _fit(self, name: str, x: Any, penalty: float) -> None:
        targets, head = list(self.train.targets[name]), self.network.head(name)
        head.fit_linear(x, targets, self.weights, penalty, self.fusion.loss)

    def _choose(self, x: Any, validation: Scorer) -> None:
        best: dict[str, list[float]] = {}
        weights: dict[str, dict[str, Tensor]] = {}
        penalties = sorted(self.fusion.penalties, reverse=True)
        for number, penalty in enumerate(penalties, start=1):
            for name in self.train.targets:
                self._fit(name, x, penalty)
            scores = validation.by_output(self.network)
            for name, score in scores.items():
                if name not in best or score > best[name]:
                    best[name], self.penalties[name] = score, penalty
                    weights[name] = deepcopy(self.network.head(name).state_dict())
            if self.report:
                self.report({"event": "fitted", "penalty": penalty, "done": number,
                             "of": len(penalties), "scores": scores})  # fmt: skip
        for name, kept in weights.items():
            self.network.head(name).load_state_dict(kept)


@torch.no_grad()
def standardise(network: Network, records: Records) -> None:
    """Fit every input's `Standardised` to the records that have the input; vectors that are
    ``scaled`` stay as they are."""
    moments = {
        name: Moments(encoder.width)
        for name, encoder in network.encoders.items()
        if isinstance(encoder, VectorEncoder) and not encoder.scaled
    }
    for batch in records.batches(BATCH) if moments else ():
        prepared, lengths = network.tensors(batch)
        for name, found in moments.items():
            tokens = network.encoder(name)(prepared[name], lengths[name])
            found.add(tokens.values[tokens.mask])
    for name, found in moments.items():
        adapter = network.adapters[name]
        assert isinstance(adapter, Standardised)
        adapter.fit(*found.result())


class Moments:
    """Mean and deviation of vectors (D,) of which only sums are kept.

    The sums are of differences from the first vector: of large numbers that hardly differ, the
    squares would leave nothing.
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self.first: Tensor | None = None
        self.sums = torch.zeros(2, width, dtype=torch.float64)

    def add(self, vectors: Tensor) -> None:
        """Count these, (N, D), too."""
        if not len(vectors):
            return
        if self.first is None:
            self.first = vectors[0].double().cpu()
        apart = vectors.double().cpu() - self.first
        self.count += len(vectors)
        self.sums += torch.stack([apart.sum(dim=0), (apart**2).sum(dim=0)])

    def result(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation, (D,) each; zeros and ones of no vector at all."""
        if self.first is None:
            return torch.zeros(self.sums.shape[1]), torch.ones(self.sums.shape[1])
        mean, square = self.sums / self.count
        return (self.first + mean).float(), (square - mean**2).clamp(min=0).sqrt().float()


def joined_vectors(network: Network, records: Records) -> Any:
    """(N, D) what the heads get of all records, as a scipy matrix."""
    sparse = needed("scipy.sparse", "classical")
    rows = [
        sparse.csr_matrix(network.fuse(batch).pooled.cpu().numpy())
        for batch in records.batches(BATCH)
    ]
    return sparse.vstack(rows, format="csr")
