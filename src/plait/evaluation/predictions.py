"""Free-running predictions of records: what a user would get, no less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plait.data.tables import Table
from plait.evaluation.shares import input_shares
from plait.outputs.base import Options, Output, no_such_option
from plait.pipeline.engine import Batch, Engine, Parts
from plait.pipeline.inputs import Progress
from plait.pipeline.records import Records
from plait.types import ColumnName, Prediction

BATCH = 64  # records answered at a time

Predictions: TypeAlias = dict[str, list[Prediction]]
"""By output, one per record."""


def decoding_options(parts: Parts, **options: Any) -> dict[str, Options]:
    """See `Model.decoding_options`."""
    known = {n: type(output.options()).model_fields for n, output in parts.outputs.items()}
    together = list(dict.fromkeys(option for fields in known.values() for option in fields))
    for option in options:
        if option not in together:
            raise no_such_option(option, together)
    return {
        name: output.options(**{key: v for key, v in options.items() if key in known[name]})
        for name, output in parts.outputs.items()
    }


def predict_batch(
    parts: Parts,
    engine: Engine,
    batch: Batch,
    options: Mapping[str, Options],
    shares: bool = False,
) -> Predictions:
    """The predictions of a batch's records, found as the options of `decoding_options` say; with
    ``shares`` each tells how much every input added to it."""
    results, predictions = engine.run(batch), {}
    for name, output in parts.outputs.items():
        raw, steps = results[name]
        found = output.decode(raw, engine.fitted(name), options[name], steps)
        if shares:
            each = zip(found, input_shares(engine, batch, name, found), strict=True)
            found = [replace(prediction, shares=share) for prediction, share in each]
        predictions[name] = found
    return predictions


def predict_records(
    parts: Parts,
    engine: Engine,
    records: Records,
    options: Mapping[str, Options] | None = None,
    shares: bool = False,
    progress: Progress | None = None,
) -> Predictions:
    """The predictions of all records, in their order; arguments as of `predict_batch`."""
    chosen = decoding_options(parts) if options is None else options
    predictions: Predictions = {name: [] for name in parts.outputs}
    report = progress or (lambda stage, done, total: None)
    with engine.threads(len(records)):
        report("answers", 0, len(records))
        for batch in records.batches(BATCH):
            for name, values in predict_batch(parts, engine, batch, chosen, shares).items():
                predictions[name].extend(values)
            report("answers", len(next(iter(predictions.values()))), len(records))
    return predictions


def embed_records(
    engine: Engine, records: Records, progress: Progress | None = None
) -> NDArray[np.float32]:
    """(N, D) every record's fused vector, in the records' order."""
    vectors: list[NDArray[np.float32]] = []
    for number, batch in enumerate(records.batches(BATCH), start=1):
        vectors.append(engine.embed(batch))
        if progress:
            progress("vectors", min(number * BATCH, len(records)), len(records))
    return np.concatenate(vectors)


def read_references(
    outputs: Mapping[str, Output],
    table: Table,
    columns: Mapping[str, ColumnName],
    rows: Sequence[int],
) -> dict[str, list[Any]]:
    """By output, the right answers in these rows of a table, as `Output.scorer` takes them; of an
    output without a column, what it makes of an empty cell."""
    references = {}
    for name, output in outputs.items():
        column = columns.get(f"outputs.{name}")
        cells = None if column is None else table.column(column)
        references[name] = [
            output.reference(None if cells is None else cells[row], table.root) for row in rows
        ]
    return references
