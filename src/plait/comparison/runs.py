"""One run of a comparison, in its own process: its answers, its time, its memory.

Its own process because memory is measured by its peak, which never falls again within a process,
and because a run that crashes must not take the others with it. A run's result is kept as JSON; a
comparison that is called again continues from there.
"""

from __future__ import annotations

import json
import pickle
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from plait.comparison.results import Result
from plait.config.recipe import Recipe
from plait.data.cells import ErrorPolicy, OnBad
from plait.data.tables import Table
from plait.evaluation.evaluate import Evaluation
from plait.model import Model, load_model
from plait.nn.blocks import count_parameters
from plait.outputs.base import Output
from plait.pipeline.engine import build_output
from plait.training.train import train
from plait.types import PlaitError
from plait.util.files import digest, make_folder, write_atomically

TIMED, WARM = 20, 3  # records that are answered one at a time and timed, after some that are not
ABOUT = {"about", "command", "expected", "card"}
"""Fields of a recipe that do not change a run."""
MIB = 1024.0  # KiB
DIGITS = 12  # of the digest in a folder's name


@dataclass(frozen=True)
class Job:
    """What a run does: learn from a table, and answer the records of a split."""

    recipe: Recipe  # with its seed
    table: Table  # the records and their splits, the same for all runs, whatever their inputs
    digest: str  # of the table and its sources: an earlier result must be of the same ones
    split: str
    on_bad: OnBad
    variant_folder: Path  # in which each of the variant's runs has a folder

    @property
    def depends_on(self) -> dict[str, Any]:
        """What makes two runs the same."""
        return {
            "recipe": self.recipe.model_dump(mode="json", exclude=ABOUT),
            "table": self.digest,
            "on_bad": self.on_bad,
        }

    @property
    def folder(self) -> Path:
        """The run's folder; a run of another recipe or table has another one."""
        name = digest(json.dumps(self.depends_on, sort_keys=True))[:DIGITS]
        return self.variant_folder / f"seed-{self.recipe.seed}-{name}"

    @property
    def kept(self) -> Path:
        """The file of its result."""
        return self.folder / f"{self.split}.json"

    @property
    def package(self) -> Path:
        """The folder of the trained model."""
        return self.folder / "model"

    @property
    def outputs(self) -> dict[str, Output]:
        """The recipe's outputs, by name."""
        return {name: build_output(spec) for name, spec in self.recipe.outputs.items()}


def finished(job: Job) -> Result | None:
    """The result of the same run, if it was finished before."""
    if not job.kept.is_file():
        return None
    raw = json.loads(job.kept.read_text(encoding="utf-8"))
    return Result.from_json(raw["result"], job.outputs)


def run(job: Job, seconds: float | None) -> Result | None:
    """Run a job in its own process; None where it was not finished in time (it can continue later).

    A `PlaitError` of the run becomes its result, and so does a crash.
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
    """The process of a run: reads a job from its input, and keeps the result."""
    job: Job = pickle.load(sys.stdin.buffer)
    keep(job, answered(job))


def keep(job: Job, result: Result) -> None:
    """Write a result where `finished` looks for it."""
    content = json.dumps({"job": job.depends_on, "result": result.to_json(job.outputs)})
    write_atomically(job.kept, content)


def answered(job: Job) -> Result:
    """Run a job in this process; a `PlaitError` becomes the result."""
    try:
        result = _trained(job)
    except PlaitError as error:
        return Result(failed=str(error))
    return replace(result, memory=memory())


def _trained(job: Job) -> Result:
    if job.package.is_dir():  # trained before: now it answers another split
        model = load_model(job.package)
    else:
        model = train(job.recipe, job.table, job.package, on_bad=job.on_bad)
    several = len(model.recipe.inputs) > 1
    evaluation = model.evaluate(job.table, split=job.split, swapped=several, on_bad=job.on_bad)
    swapped = evaluation.swapped.items()
    return Result(
        rows=[evaluation.table.number(row) for row in evaluation.rows],
        predictions=dict(evaluation.predictions),
        references=dict(evaluation.references),
        swapped={name: dict(ablation.predictions) for name, ablation in swapped},
        learned=model.scores["trained"]["records"],
        parameters=count_parameters(model.network),
        trained=count_parameters(model.network, trainable=True),
        seconds=model.scores["trained"]["seconds"],
        milliseconds=_milliseconds(model, evaluation),
    )


def _milliseconds(model: Model, evaluation: Evaluation) -> float:
    """Median time to answer one of the scored records from its files."""
    table, columns = evaluation.table, evaluation.columns
    cells = {name: table.column(columns[f"inputs.{name}"]) for name in model.recipe.inputs}
    times = []
    for row in evaluation.rows[: WARM + TIMED]:
        record = {name: column[row] for name, column in cells.items()}
        begun = time.perf_counter()
        list(model.predict_batch([record], root=table.root, policy=ErrorPolicy("missing")))
        times.append(time.perf_counter() - begun)
    return median(times[WARM:] or times) * 1000


def memory() -> float:
    """Peak memory of this process in MiB. Linux's ``ru_maxrss`` starts at what the parent process
    held when it started this one; ``VmHWM`` starts at 0 with the program."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    peak = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
    return float(peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / MIB
