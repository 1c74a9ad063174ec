"""One run of a comparison, in a process of its own: its answers, its time, its memory.

A process of its own because memory is measured by its highest use, which a process never gives
back, and because a run that takes the machine down must not take the others with it. What a run
found is kept as JSON; a comparison that is called again goes on from there.
"""

from __future__ import annotations

import json
import pickle
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from plait.comparison.classical import answer_classically
from plait.config.recipe import Recipe
from plait.data.cells import ErrorPolicy, OnBad
from plait.data.tables import Table
from plait.evaluation.results import Evaluation
from plait.model import Model, load
from plait.network import build_output
from plait.nn.blocks import count_parameters
from plait.outputs.base import Output
from plait.training.train import train
from plait.types import PlaitError, Prediction
from plait.util.digests import digest
from plait.util.files import make_folder, write_atomically

TIMED, WARM = 20, 3  # records answered one at a time for the time, after some that aren't counted
ABOUT = ("about", "command", "expected", "card")
"""A recipe's words that change nothing of a run."""
MIB = 1024.0  # KiB
DIGITS = 12  # of the digest in a folder's name


@dataclass(frozen=True)
class Job:
    """What a run is to do.

    Attributes:
        recipe: what is trained, seed and all; or what the classical baseline takes its inputs from.
        table: its records and their splits, the same for all runs, whatever a recipe's inputs are.
        digest: of the table, by which a result from before is known to be of the same.
        split: whose rows are answered.
        place: the variant's folder, in which each of its runs has one.
        classical: the classical baseline instead of the recipe's network.
        trained: it was trained before, and is to answer another split.
    """

    recipe: Recipe
    table: Table
    digest: str
    split: str
    on_bad: OnBad
    place: Path
    classical: bool = False
    trained: bool = False

    @property
    def depends_on(self) -> dict[str, Any]:
        """What makes two runs the same one: not what a recipe says of itself."""
        return {
            "recipe": self.recipe.model_dump(mode="json", exclude=set(ABOUT)),
            "table": self.digest,
            "on_bad": self.on_bad,
            "classical": self.classical,
        }

    @property
    def folder(self) -> Path:
        """Where the run keeps what it makes: another recipe's or table's run has another one."""
        name = digest(json.dumps(self.depends_on, sort_keys=True))[:DIGITS]
        return self.place / f"seed-{self.recipe.seed}-{name}"

    @property
    def kept(self) -> Path:
        """Where its result is kept."""
        return self.folder / f"{self.split}.json"

    @property
    def package(self) -> Path:
        """Where the trained model is."""
        return self.folder / "model"

    @property
    def outputs(self) -> dict[str, Output]:
        """The recipe's outputs, by name."""
        return {name: build_output(spec) for name, spec in self.recipe.outputs.items()}


@dataclass(frozen=True)
class Result:
    """What a run found.

    Attributes:
        rows: their numbers in the table, from 1, of the records that were answered.
        predictions: by output; references: what they are scored against.
        learned: how many records it learned from.
        parameters: all; trained: those that learned.
        seconds: of training, without reading media and frozen encoders, whose results are kept.
        milliseconds: of one record's answer from its files, the median; None for the baseline.
        memory: MiB, the most that the process took.
        failed: why there is no result; empty where there is one.
        swapped: by input, the predictions with another record's, where there are several inputs.
    """

    rows: list[int] = field(default_factory=list)
    predictions: dict[str, list[Prediction]] = field(default_factory=dict)
    references: dict[str, list[Any]] = field(default_factory=dict)
    learned: int = 0
    parameters: int = 0
    trained: int = 0
    seconds: float = 0.0
    milliseconds: float | None = None
    memory: float = 0.0
    failed: str = ""
    swapped: dict[str, dict[str, list[Prediction]]] = field(default_factory=dict)

    def to_json(self, outputs: Mapping[str, Output]) -> dict[str, Any]:
        """As plain JSON, with what scores need of the outputs' predictions."""

        def plain(found: Mapping[str, list[Prediction]]) -> dict[str, list[dict[str, Any]]]:
            return {name: list(map(outputs[name].store, each)) for name, each in found.items()}

        swapped = {name: plain(found) for name, found in self.swapped.items()}
        return vars(self) | {"predictions": plain(self.predictions), "swapped": swapped}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], outputs: Mapping[str, Output]) -> Result:
        """From `to_json`."""

        def restored(found: Mapping[str, list[Any]]) -> dict[str, list[Prediction]]:
            return {name: list(map(outputs[name].restore, each)) for name, each in found.items()}

        # Results of an earlier plait have no swapped ones.
        swapped = {name: restored(found) for name, found in raw.get("swapped", {}).items()}
        predictions = restored(raw["predictions"])
        return cls(**{**raw, "predictions": predictions, "swapped": swapped})


def finished(job: Job) -> Result | None:
    """The result of the same run, from before; None where it was never finished."""
    if not job.kept.is_file():
        return None
    raw = json.loads(job.kept.read_text(encoding="utf-8"))
    return Result.from_json(raw["result"], job.outputs)


def run(job: Job, seconds: float | None) -> Result | None:
    """Do it in a process of its own; None where it was not finished in time (it can go on later).

    A `PlaitError` of the run becomes its result, and so does that it was killed or crashed.
    """
    make_folder(job.folder)
    command = [sys.executable, "-c", "from plait.comparison.runs import main; main()"]
    with (job.folder / "run.log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        try:
            process.communicate(pickle.dumps(job), timeout=seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            process.kill()
            process.wait()
    if process.returncode or finished(job) is None:
        memory = "there may be too little memory"
        why = f"ended without a result (exit code {process.returncode}; {memory}), see {log.name}"
        keep(job, Result(failed=why))
    return finished(job)


def main() -> None:
    """The process: a job comes in, its result is kept."""
    job: Job = pickle.load(sys.stdin.buffer)
    keep(job, answered(job))


def answered(job: Job) -> Result:
    """Do it here; a `PlaitError` becomes the result."""
    try:
        return _classical(job) if job.classical else _trained(job)
    except PlaitError as error:
        return Result(failed=str(error))


def keep(job: Job, result: Result) -> None:
    """Write a result where `finished` looks for it."""
    content = json.dumps({"job": job.depends_on, "result": result.to_json(job.outputs)})
    write_atomically(job.kept, lambda part: part.write_text(content, encoding="utf-8"))


def _classical(job: Job) -> Result:
    found = answer_classically(job.recipe, job.table, job.split, ErrorPolicy(job.on_bad))
    return Result(
        rows=found.rows,
        predictions=dict(found.predictions),
        references=dict(found.references),
        learned=found.learned,
        parameters=found.parameters,
        trained=found.parameters,
        seconds=found.seconds,
        memory=memory(),
    )


def _trained(job: Job) -> Result:
    if job.trained:
        model = load(job.package)
    else:
        model = train(job.recipe, job.table, job.package, on_bad=job.on_bad)
    several = len(model.recipe.inputs) > 1
    found = model.evaluate(job.table, split=job.split, swapped=several, on_bad=job.on_bad)
    return Result(
        rows=[found.table.number(row) for row in found.rows],
        predictions=dict(found.predictions),
        references=dict(found.references),
        swapped={name: dict(again.predictions) for name, again in found.swapped.items()},
        learned=model.scores["trained"]["records"],
        parameters=count_parameters(model.network),
        trained=count_parameters(model.network, trainable=True),
        seconds=model.scores["trained"]["seconds"],
        milliseconds=_milliseconds(model, found),
        memory=memory(),
    )


def _milliseconds(model: Model, found: Evaluation) -> float:
    """The median time of one record's answer, from its files; of records that were scored."""
    table = found.table
    cells = {name: table.column(found.columns[f"inputs.{name}"]) for name in model.recipe.inputs}
    times = []
    for row in found.rows[: WARM + TIMED]:
        record = {name: column[row] for name, column in cells.items()}
        begun = time.perf_counter()
        model.predict(record, root=table.root, bad=ErrorPolicy("missing"))
        times.append(time.perf_counter() - begun)
    return median(times[WARM:] or times) * 1000


def memory() -> float:
    """MiB that this process took at the most. Linux's ``ru_maxrss`` is no less than what the
    process that started it held then; ``VmHWM`` begins anew with the program."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    peak = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
    return float(peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / MIB
