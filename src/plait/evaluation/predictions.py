"""Free-running predictions of records, what a user would get and no less; and how much each input
added to them: Shapley values over the inputs, and how pairs work together.

An input's share is how much it adds to the model's support for its answer, averaged over all orders
in which the inputs could be given (Shapley 1953; Lundberg and Lee 2017, arXiv:1705.07874). The
others are missing, as in training with missing inputs. A record's shares sum to the support with
all of its inputs minus the support with none.

Shapes: N or B records, M inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, combinations, islice
from math import factorial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plait.data.tables import Table
from plait.outputs.base import Options, Output, no_such_option
from plait.pipeline.engine import Batch, Engine, Parts
from plait.pipeline.inputs import ahead
from plait.pipeline.records import Records
from plait.render.progress import Progress
from plait.types import ColumnName, Prediction, UsageError

BATCH = 64  # records answered at a time
MAX_INPUTS = 8  # 256 subsets
Floats = NDArray[np.float64]
Subset = frozenset[str]
Pair = tuple[str, str]

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


def predict_batches(
    parts: Parts,
    engine: Engine,
    batches: Iterable[Batch],
    options: Mapping[str, Options],
    shares: bool = False,
) -> Iterator[Predictions]:
    """Each batch's predictions, in order; arguments as of `predict_batch`.

    Where the engine can, batches are answered side by side, a core each: the many small steps of a
    search make little use of a second core. A batch without others has all cores, as far as it is
    worth them.
    """

    def answer(batch: Batch) -> Predictions:
        return predict_batch(parts, engine, batch, options, shares)

    def answer_alone(batch: Batch) -> Predictions:
        with engine.threads(len(batch)):
            return answer(batch)

    coming = iter(batches)
    if engine.side_by_side < 2:
        yield from map(answer_alone, coming)
        return
    first = list(islice(coming, 1))
    try:
        first += islice(coming, 1)
    except Exception:  # of a later record: those before it are answered all the same
        yield from map(answer_alone, first)
        raise
    if len(first) < 2:
        yield from map(answer_alone, first)
        return
    with ThreadPoolExecutor(engine.side_by_side, initializer=engine.start_worker) as pool:
        yield from ahead(pool, answer, chain(first, coming), most=engine.side_by_side)


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
    report("answers", 0, len(records))
    for found in predict_batches(parts, engine, records.batches(BATCH), chosen, shares):
        for name, values in found.items():
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


def input_shares(
    engine: Engine, batch: Batch, output: str, predictions: Sequence[Prediction]
) -> list[dict[str, float]]:
    """For each record, by input, its share of the model's support for the predicted answer. Raises
    UsageError if the model has more than eight inputs, or the engine can't tell."""
    names = list(batch.lengths)
    answers = [prediction.value for prediction in predictions]
    rows = shapley(names, supports(engine, batch, output, answers)).tolist()
    return [dict(zip(names, row, strict=True)) for row in rows]


def check_subsets(outputs: Mapping[str, Output]) -> None:
    """Raises UsageError for an output that needs every input: its answers have no shares."""
    for name, output in outputs.items():
        if not output.subsets:
            raise UsageError(
                f"the output {name!r} can't answer when an input is missing, so its answers have "
                "no shares and no explanation",
                expected="a model of plait's own networks",
            )


def supports(
    engine: Engine, batch: Batch, output: str, answers: Sequence[Any]
) -> dict[Subset, Floats]:
    """(B,) the support for the answers by every subset of the inputs; raises as `input_shares`."""
    names = list(batch.lengths)
    if len(names) > MAX_INPUTS:
        raise UsageError(f"shares of {len(names)} inputs", expected=f"at most {MAX_INPUTS}")
    return {s: engine.support(batch.with_inputs(s), output, answers) for s in subsets(names)}


def subsets(names: Sequence[str]) -> list[Subset]:
    """All subsets, the empty one first."""
    sizes = range(len(names) + 1)
    return [frozenset(chosen) for size in sizes for chosen in combinations(names, size)]


def shapley(names: Sequence[str], values: Mapping[Subset, Floats]) -> Floats:
    """(B, M) from the value (B,) of every subset:

    sum over the subsets S without i of |S|! (M - |S| - 1)! / M! · (v(S + i) - v(S)).
    """
    count = len(names)
    columns = []
    for name in names:
        column = np.zeros_like(values[frozenset()])
        for subset, value in values.items():
            if name not in subset:
                size = len(subset)
                weight = factorial(size) * factorial(count - size - 1) / factorial(count)
                column += weight * (values[subset | {name}] - value)
        columns.append(column)
    return np.stack(columns, axis=1)


def interactions(names: Sequence[str], values: Mapping[Subset, Floats]) -> dict[Pair, Floats]:
    """Pair of inputs -> (B,) what they are worth together beyond what each is worth alone: the
    Shapley interaction index (Grabisch and Roubens 1999, "An axiomatic approach to the concept of
    interaction among players in cooperative games", Int. J. Game Theory 28),

    sum over the subsets S without i and j of |S|! (M - |S| - 2)! / (M - 1)!
    · (v(S + i + j) - v(S + i) - v(S + j) + v(S)).

    Positive where they need each other, negative where one could stand for the other.
    """
    count, found = len(names), {}
    for one, other in combinations(names, 2):
        total = np.zeros_like(values[frozenset()])
        for subset, value in values.items():
            if not subset & {one, other}:
                size = len(subset)
                weight = factorial(size) * factorial(count - size - 2) / factorial(count - 1)
                both = values[subset | {one, other}]
                total += weight * (both - values[subset | {one}] - values[subset | {other}] + value)
        found[one, other] = total
    return found
