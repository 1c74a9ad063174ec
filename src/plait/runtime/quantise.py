"""8-bit integers for an exported model's weights and activations, and what that costs.

The ranges of activations are those that records of a table have (static quantisation, Jacob et al.
2018, arXiv:1712.05877); weights have one scale per channel.
"""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.data.cells import ErrorPolicy, OnBad
from plait.data.tables import Table
from plait.data.values import is_missing
from plait.model import Model
from plait.outputs.scores import interval, resamples
from plait.pipeline.records import open_table, rows_of_split, some_rows
from plait.render.progress import Progress
from plait.runtime.engines import MODEL, QUIET, load_exported, read_about
from plait.types import ColumnName, PlaitError, UsageError
from plait.util.files import new_folder
from plait.util.imports import needed

CALIBRATION = 64  # training records whose activations are looked at
CALLS = 512  # of a graph whose activations are looked at, evenly spread over all its calls
RESAMPLES = 1000
# Clip and Relu too: a scale need not span what they cut off right after the operation.
OPERATIONS = ["Conv", "Gemm", "MatMul", "Clip", "Relu"]

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Loss:
    """What 8 bits cost an output's answers.

    Attributes:
        output: its name.
        title: of the score, the first that early stopping looks at.
        before, after: the score, in float32 by torch and with 8 bits.
        interval: 95 % of ``after`` - ``before``, by the paired bootstrap over records.
        same: share of the answers that stay the same.
        records: how many were scored.
    """

    output: str
    title: str
    before: float
    after: float
    interval: tuple[float, float]
    same: float
    records: int

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.output}, {self.title} on {self.records:,} records: {self.before:.4f} before, "
            f"{self.after:.4f} with 8 bits; difference {self.after - self.before:+.4f} "
            f"(95 % interval {low:+.4f} to {high:+.4f}); {self.same:.1%} of the answers stay"
        )


def quantise(
    model: Model,
    folder: str | Path,
    table: Table | str | Path,
    *,
    columns: Mapping[str, ColumnName] | None = None,
    rows: int | None = None,
    on_bad: OnBad = "stop",
    progress: Progress | None = None,
) -> list[Loss]:
    """Replace an exported model's graphs by 8-bit ones, and measure what is lost.

    Args:
        model: the one that was exported.
        folder: its exported model.
        table: training rows to calibrate with, validation rows to score, split as in training.
        columns: an input's or output's name -> its column, where the guess is not the right one.
        rows: the maximum number of validation records to score; None: all.
        on_bad: what to do with cells of the validation rows that can't be used.
        progress: called while answers are found.

    Returns:
        The loss of each output, which is written to model.json too.

    Raises:
        UsageError: the model has 8 bits already, or the table lacks what is needed.
    """
    about = read_about(Path(folder))
    if "int8" in about:
        raise UsageError(f"{folder} is already in 8 bits", hint="export the model again first")
    records, taken = open_table(model.recipe, model.parts, table, columns or {})
    path, seed = Path(folder), model.recipe.seed
    train, val = (
        rows_of_split(model.recipe, model.parts, records, taken, split)
        for split in ("train", "val")
    )
    seen = records.where(some_rows(train, CALIBRATION, seed))
    calls = _calls(path, list(_cells(seen, taken)), seen.root)
    with TemporaryDirectory() as place:
        made = shutil.copytree(path, Path(place) / "made")
        for file, given in calls.items():
            _quantise(made / file, given)
        scored, exported = records.where(some_rows(val, rows, seed)), load_exported(made)
        losses = _losses(model, scored, exported, progress, columns=columns, on_bad=on_bad)
        about["int8"] = [vars(loss) for loss in losses]
        text = json.dumps(about, ensure_ascii=False, indent=1)
        (made / MODEL).write_text(text, encoding="utf-8")
        with new_folder(path) as part:
            shutil.copytree(made, part, dirs_exist_ok=True)
    return losses


def _cells(table: Table, columns: Mapping[str, ColumnName]) -> Iterator[dict[str, Any]]:
    """Each row as a record of the inputs that have a column."""
    taken = {
        path.removeprefix("inputs."): table.column(column)
        for path, column in columns.items()
        if path.startswith("inputs.")
    }
    for row in range(len(table)):
        yield {name: cells[row] for name, cells in taken.items()}


def _calls(
    folder: Path, records: Sequence[Mapping[str, Any]], root: Path
) -> dict[str, list[Arrays]]:
    """Graph's file -> what it is given while these records are answered."""
    calls: dict[str, list[Arrays]] = {}
    model = load_exported(folder, lambda file, arrays: calls.setdefault(file, []).append(arrays))
    for record in records:
        if not all(map(is_missing, record.values())):
            list(model.predict_batch([record], root=root, policy=ErrorPolicy("missing")))
    if not calls:
        raise PlaitError("no training row has an input that could be used")
    return {
        file: [given[at] for at in sorted({int(k) for k in np.linspace(0, len(given) - 1, CALLS)})]
        for file, given in calls.items()
    }


def _quantise(path: Path, given: Sequence[Arrays]) -> None:
    """Replace a graph by an 8-bit one."""
    library: Any = needed("onnxruntime.quantization", "export")
    shapes: Any = needed("onnxruntime.quantization.shape_inference", "export")

    class Reader(library.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter(given)

        def get_next(self) -> Arrays | None:
            return next(self.rest, None)

    ready, found = path.with_suffix(".ready"), path.with_suffix(".int8")
    try:
        with _silence():
            shapes.quant_pre_process(str(path), str(ready), skip_symbolic_shape=True)
            library.quantize_static(
                str(ready), str(found), Reader(), per_channel=True,
                activation_type=library.QuantType.QUInt8, weight_type=library.QuantType.QInt8,
                op_types_to_quantize=OPERATIONS, extra_options={"MatMulConstBOnly": True},
            )  # fmt: skip
        found.replace(path)
    finally:
        ready.unlink(missing_ok=True)
        found.unlink(missing_ok=True)


@contextmanager
def _silence() -> Iterator[None]:
    """Silence the quantiser's warnings, and what it tells the root logger, which would then be set
    up for everyone."""
    root, runtime = logging.getLogger(), needed("onnxruntime", "export")
    level, handlers = root.level, list(root.handlers)
    root.setLevel(logging.ERROR)
    runtime.set_default_logger_severity(QUIET)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


def _losses(
    model: Model, table: Table, exported: Model, progress: Progress | None, **given: Any
) -> list[Loss]:
    """What the outputs of an exported model lost on a table; ``given`` is for `Model.evaluate`."""
    found = model.evaluate(table, progress=progress, include_training=True, **given)
    kept = table.where(found.rows)
    records, quiet = list(_cells(kept, found.columns)), ErrorPolicy("missing")
    after = list(exported.predict_batch(records, root=kept.root, policy=quiet))
    losses = []
    for name, references in found.references.items():
        output, every = model.parts.outputs[name], np.arange(len(references))
        metric = output.scored_by.best_metrics[0]
        both = found.predictions[name], [answers[name] for answers in after]
        old, new = (output.scorer(predictions, references) for predictions in both)
        same = [output.same(a, b.value) for a, b in zip(*both, strict=True)]
        drawn = resamples(len(references), RESAMPLES, seed=0)
        losses.append(
            Loss(
                output=name,
                title=output.scored_by.titles.get(metric, metric),
                before=old(every)[metric],
                after=new(every)[metric],
                interval=interval([new(rows)[metric] - old(rows)[metric] for rows in drawn]),
                same=float(np.mean(same)),
                records=len(references),
            )
        )
    return losses
