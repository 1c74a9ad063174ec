"""A trained model: predict, evaluate, save, load. It cannot exist untrained.

model = plait.load("captioner")
model.predict("photo.jpg").value
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from plait.config import registry
from plait.config.recipe import Recipe
from plait.data.cells import ErrorPolicy, OnBad, is_missing
from plait.data.tables import Table, read_table
from plait.evaluation.predictions import (
    Group,
    answer,
    embed_records,
    evaluate_records,
    score_groups,
)
from plait.evaluation.results import Again, Corrupted, Evaluation, Lost
from plait.explain.attention import Attention
from plait.explain.explanation import Explanation, explain
from plait.explain.neighbours import find_neighbours
from plait.explain.probe import Probe
from plait.modalities.base import Modality
from plait.network import Batch, Network, Parts, build_network, build_parts
from plait.outputs.base import Output
from plait.outputs.options import Options
from plait.package.card import write_card
from plait.package.format import Package, fingerprint, read_package, write_package
from plait.pipeline.features import (
    CachedRecords,
    Corruption,
    PreparedInput,
    Progress,
    few_threads,
    pad_rows,
)
from plait.pipeline.records import (
    Preparer,
    nothing_left,
    open_table,
    rows_of_split,
    warn_of_learned,
    warn_of_unread,
)
from plait.types import BadCell, ColumnName, PlaitError, Prediction, State, UsageError, column_names
from plait.util.imports import needed

PREDICT_BATCH = 64
STRENGTHS = range(1, 6)  # of corruptions
Predictions = dict[str, list[Prediction]]

log = logging.getLogger("plait")


class Model:
    """A trained network with everything that it learned from its table.

    Attributes:
        recipe: with every default resolved.
        states: what each input and output learned from its column.
        scores: the scores it was saved with.
    """

    def __init__(
        self,
        recipe: Recipe,
        states: Mapping[str, State],
        network: Network,
        scores: Mapping[str, Any],
    ) -> None:
        self.recipe, self.states, self.scores = recipe, states, scores
        self.parts: Parts = build_parts(recipe).fitted(states)
        self.network = network.eval()
        self.device = next(network.parameters()).device
        self._sources: dict[str, PreparedInput] = {}

    @property
    def output(self) -> str:
        """The name of the only (or first) output."""
        return next(iter(self.recipe.outputs))

    @property
    def name(self) -> str:
        """The recipe's."""
        return self.recipe.name

    @property
    def inputs(self) -> dict[str, str]:
        """Input -> modality."""
        return {name: spec.modality for name, spec in self.recipe.inputs.items()}

    @property
    def outputs(self) -> dict[str, str]:
        """Output -> kind."""
        return {name: spec.kind for name, spec in self.recipe.outputs.items()}

    def output_of(self, name: str) -> Output:
        """The output of that name, which knows how its answers are shown."""
        return self.parts.outputs[name]

    def __repr__(self) -> str:
        inputs, outputs = ", ".join(self.recipe.inputs), ", ".join(self.recipe.outputs)
        return f"<plait.Model {self.recipe.name!r}: {inputs} -> {outputs}>"

    def predict(self, record: Any, *, root: str | Path = ".", **options: Any) -> Prediction:
        """One record's answer, of the first output where there are several.

        Args:
            record: a mapping from input name to cell, or the cell itself where the model has
                one input: a path, a file's bytes, a text. The cell of a table is itself a
                mapping, from column to value.
            root: relative paths start here.
            options: of the output's decoding, such as ``beam=5``, ``num=3``, ``sample=True``;
                ``shares=True`` for each input's share of the answer.

        Raises:
            BadCell: the cell can't be used; the message names it.
        """
        return next(iter(self.predict_many([record], root=root, **options)))

    def predict_many(
        self,
        records: Iterable[Any],
        *,
        root: str | Path = ".",
        bad: ErrorPolicy | None = None,
        first_row: int = 0,
        shares: bool = False,
        **options: Any,
    ) -> Iterator[Prediction]:
        """The first output's answers in the records' order, made in batches; as `answers`."""
        first = self.output
        found = self.answers(
            records, root=root, bad=bad, first_row=first_row, shares=shares, **options
        )
        return (answer[first] for answer in found)

    def answers(
        self,
        records: Iterable[Any],
        *,
        root: str | Path = ".",
        bad: ErrorPolicy | None = None,
        first_row: int = 0,
        shares: bool = False,
        **options: Any,
    ) -> Iterator[dict[str, Prediction]]:
        """Each record's answers by output, in the records' order, made in batches; with ``shares``
        also each input's share of the answers (Shapley values, see `plait.evaluation.shares`).

        An option goes to every output that has it.

        With ``bad`` of policy ``skip`` or ``missing``, records with a bad cell answer as if the
        input were missing, and are named in ``bad`` (rows count from ``first_row``); without,
        they raise.
        """
        todo = [self._as_record(record) for record in records]
        for start in range(0, len(todo), PREDICT_BATCH):
            batch = self._batch(
                todo[start : start + PREDICT_BATCH], Path(root), first_row + start, bad
            )
            with few_threads(len(todo)):
                found = answer(self.network, batch.to(self.device), shares, **options)
            for row in zip(*found.values(), strict=True):
                yield dict(zip(found, row, strict=True))

    def decoding_options(self, **options: Any) -> dict[str, Options]:
        """How each output's answers are found, with ``options`` overriding the recipe's.

        Raises:
            UsageError: no output has such an option, or it can't have that value.
        """
        return self.network.decoding_options(**options)

    def explain(
        self,
        record: Any,
        *,
        root: str | Path = ".",
        output: str | None = None,
        table: Table | str | Path | None = None,
        columns: Mapping[str, ColumnName] | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> Explanation:
        """Why the model answers a record as it does: `plait.explain.explanation`.

        Args:
            record: as for `predict`.
            root: relative paths start here.
            output: which output's answer; the first if not given.
            table: training rows, of which the nearest are found; they are not kept in a package.
            columns: of the table, as for `evaluate`.
            progress: called while the table's features are computed.
            options: of the decoding.

        Raises:
            BadCell: a cell can't be used.
            UsageError: there is no such output.
            PlaitError: captum is not installed.
        """
        cells, asked = self._as_record(record), output or self.output
        if asked not in self.recipe.outputs:
            raise UsageError(
                f"the model has no output {asked!r}", expected=", ".join(self.recipe.outputs)
            )
        needed("captum.attr", "explain")  # said before anything is computed
        there = [name for name in self.recipe.inputs if not is_missing(cells.get(name))]
        sources = {name: self.source(name, Path(root)) for name in there}
        layouts = {n: s.modality.segments(cells[n], s.root) for n, s in sources.items()}
        batch = self._batch([cells], Path(root), 0, None).to(self.device)
        prediction = self.network.predict(batch, **options)[asked][0]
        probe = Probe(batch, layouts, sources, asked, self.output_of(asked), prediction, options)
        found = explain(probe, self.network, self._unlearned, self.recipe.name)
        found = replace(found, attention=self._attention(cells, asked, prediction, Path(root)))
        if table is None:
            return found
        near, others = find_neighbours(
            probe, self.network, self.recipe, self.parts, self.states, table, columns or {},
            progress,
        )  # fmt: skip
        return replace(found, nearest=near, others=others)

    def _unlearned(self) -> Network:
        """The same network with random weights in all that learns."""
        network = build_network(self.recipe, self.parts, self.states, pretrained=False)
        return network.to(self.device).eval()

    def attention(
        self,
        record: Any,
        prediction: Prediction,
        *,
        root: str | Path = ".",
        output: str | None = None,
    ) -> Attention:
        """Where an answer that was given looked, in the record's first input with a picture.

        Args:
            record, root: as for `predict`.
            prediction: the answer.
            output: which output's answer it is; the first if not given.

        Raises:
            UsageError: no input of the model has a picture and places that it looks at.
        """
        found = self._attention(
            self._as_record(record), output or self.output, prediction, Path(root)
        )
        if found is None:
            raise UsageError("the model looks at no place of a picture", expected="an image input")
        return found

    def _attention(
        self, cells: Mapping[str, Any], output: str, prediction: Prediction, root: Path
    ) -> Attention | None:
        asked = self.output_of(output)
        looked = asked.attention(prediction)
        for name in self.recipe.inputs:
            source, grid = self.source(name, root), self.network.encoder(name).grid
            if grid is None or is_missing(cells.get(name)) or name not in looked:
                continue
            pixels = source.modality.picture(cells[name], root)
            if pixels is not None:
                return Attention(asked, prediction, name, np.asarray(pixels), grid)
        return None

    def _as_record(self, record: Any) -> Mapping[str, Any]:
        names = list(self.recipe.inputs)
        if not isinstance(record, Mapping):
            if len(names) > 1:
                raise UsageError(
                    f"the model takes {', '.join(names)}",
                    expected=f"a mapping from input to cell, such as {_example(self.recipe)}",
                )
            return {names[0]: record}
        if not record:
            raise UsageError(
                "no input in the record", expected=f"one at least of: {', '.join(names)}"
            )
        unknown = set(record) - set(names)
        if unknown:
            raise UsageError(
                f"unknown input {', '.join(sorted(unknown))}", expected=", ".join(names)
            )
        return record

    def unread(self, record: Any, *, root: str | Path = ".") -> dict[str, str]:
        """By input, what of a record's cells is not read whole, or not understood, as a few words:
        a sound longer than the model hears, a text in letters that it has never seen."""
        folder = Path(root)
        found = {
            name: self.source(name, folder).modality.unread(cell, folder)
            for name, cell in self._as_record(record).items()
            if not is_missing(cell)
        }
        return {name: why for name, why in found.items() if why}

    def _batch(
        self, records: Sequence[Mapping[str, Any]], root: Path, start: int, bad: ErrorPolicy | None
    ) -> Batch:
        prepared, lengths = {}, {}
        for name in self.recipe.inputs:
            source = self.source(name, root)
            cells = [record.get(name) for record in records]
            there = [row for row, cell in enumerate(cells) if not is_missing(cell)]
            values: dict[int, Any] = {}
            outcomes = source.prepare([(cells[row], 0, 0) for row in there], self.device)
            for row, outcome in zip(there, outcomes, strict=True):
                if not isinstance(outcome, BadCell):
                    values[row] = outcome
                elif bad is None:
                    raise outcome
                else:
                    bad.handle(start + row + 1, name, outcome)
                    bad.met.add((start + row, name))
            first = next((row for row in values.values() if len(row)), None)
            example = source.example(self.device) if first is None else first
            rows = [values.get(row) for row in range(len(records))]
            prepared[name], lengths[name] = pad_rows(rows, example)
        return Batch(prepared, lengths, {})

    def source(self, name: str, root: Path) -> PreparedInput:
        """Reads and prepares the cells of an input; kept, as it computes an example of its own."""
        kept = self._sources.get(name)
        if kept is None or kept.root != root:
            modality, state = self.parts.modalities[name], self.states[f"inputs.{name}"]
            kept = PreparedInput(name, modality, self.network.encoder(name), state, root)
            self._sources[name] = kept
        return kept

    def evaluate(
        self,
        table: Table | str | Path,
        *,
        split: str | None = None,
        columns: Mapping[str, ColumnName] | None = None,
        subsets: bool = False,
        shares: bool = False,
        corruptions: bool = False,
        swapped: bool = False,
        by: str | None = None,
        vectors: bool = False,
        on_bad: OnBad = "stop",
        progress: Progress | None = None,
        **options: Any,
    ) -> Evaluation:
        """Free-running scores over a table, against all references.

        Args:
            table: a table, or what `read_table` takes. Inputs for which it has no column are
                missing.
            split: only its rows: train, val or test. Without, a warning counts the rows that the
                model learned from, where the table tells.
            columns: an input's or output's name -> its column, where the model's own guess is
                not the right one.
            subsets: also the scores with every subset of the inputs, the others missing, and how
                much is lost by that.
            shares: also each input's share of every answer.
            corruptions: also the scores with each input made worse, in every way that its
                modality knows, at five strengths.
            swapped: also the scores where each input in turn is that of another record, drawn at
                random: what is lost is what the model takes from it.
            by: also the scores of every group of rows that share a value of this column.
            vectors: also every record's fused vector.
            on_bad: what to do with cells that can't be used.
            progress: called while features are computed and answers are found.
            options: of the output's decoding, such as ``beam=5``.

        Raises:
            PlaitError: a cell can't be used and ``on_bad`` is ``stop``; or no record is left.
            UsageError: there is no column ``by``, or it differs within a record.
        """
        recipe = self.recipe.with_columns(columns or {})
        opened = table if isinstance(table, Table) else read_table(table)
        rows, taken = open_table(recipe, self.parts, opened, columns or {})
        _check_groups(by, opened, rows)
        if split is not None:
            if split == "val" and recipe.training.refit:
                log.warning("the model has learned from the validation rows too (training.refit)")
            rows = rows.where(rows_of_split(recipe, self.parts, rows, taken, split))
        elif not opened.records:  # those of a training run are its validation rows
            warn_of_learned(recipe, self.parts, rows, taken)
        if not opened.records:
            warn_of_unread(self.parts, self.states, rows, taken)
        bad = ErrorPolicy(on_bad)
        preparer = Preparer(self.parts, self.states, self.network, taken, bad, progress)
        records, kept = preparer.prepare(rows, views=False)
        if not kept:
            raise nothing_left("can be scored", bad)
        references = {
            name: [
                output.reference(rows.column(taken[f"outputs.{name}"])[row], rows.root)
                for row in kept
            ]
            for name, output in self.parts.outputs.items()
        }

        def scored(
            records: CachedRecords, shares: bool = False
        ) -> tuple[Predictions, dict[str, Any]]:
            found = evaluate_records(
                self.network, records, PREDICT_BATCH, self.device, progress, shares, **options
            )
            if progress:
                progress("scores", 0, 1)  # some take seconds to start
            return found, {
                name: output.scores(found[name], references[name])
                for name, output in self.parts.outputs.items()
            }

        found, scores = scored(records, shares)
        whole = {
            name: output.scorer(found[name], references[name])
            for name, output in self.parts.outputs.items()
        }

        def again(other: CachedRecords) -> Again:
            theirs, then = scored(other)
            lost = {
                name: Lost.between(
                    output.best_metrics[0],
                    whole[name],
                    output.scorer(theirs[name], references[name]),
                    len(kept),
                )
                for name, output in self.parts.outputs.items()
            }
            return Again(theirs, then, lost)

        each = {
            subset: again(records.with_inputs(subset))
            if len(subset) < len(self.recipe.inputs)
            else Again(found, scores, {})
            for subset in (_subsets(list(self.recipe.inputs)) if subsets else [])
        }
        others = {name: again(records.with_swapped(name)) for name in self.recipe.inputs if swapped}
        worse = [
            Corrupted(name, how, scored(preparer.corrupted(rows, records, kept, name, how))[1])
            for name, modality in self.parts.modalities.items()
            for how in _corruptions(modality)
            if corruptions
        ]
        groups: list[Group] = []
        if by is not None:
            cells = rows.column(by)
            set_metrics = {name: output.set_metrics for name, output in self.parts.outputs.items()}
            groups = score_groups(whole, [cells[row] for row in kept], set_metrics)
        return Evaluation(
            rows,
            taken,
            kept,
            found,
            references,
            scores,
            bad.failures,
            each,
            worse,
            by,
            groups,
            others,
            embed_records(self.network, records, PREDICT_BATCH, self.device, progress)
            if vectors
            else None,
            self.parts.outputs,
        )

    def save(self, folder: str | Path, *, half: bool = False) -> Path:
        """Write the package; ``half`` keeps the weights as float16, half the size."""
        tensors = {
            name: (value.half() if half and value.is_floating_point() else value)
            .detach()
            .cpu()
            .contiguous()
            for name, value in self.network.state_dict().items()
        }
        path = Path(folder)
        write_package(
            path,
            self.recipe,
            self.states,
            tensors,
            self.scores,
            preprocessing(self.parts, self.states),
            write_card(self.recipe, self.scores),
        )
        return path


def _example(recipe: Recipe) -> str:
    """A record of all inputs, as Python writes it."""
    cells = {
        name: registry.modality(spec.modality).example_cell(column_names(spec.column or "column"))
        for name, spec in recipe.inputs.items()
    }
    return "{" + ", ".join(f"{name!r}: {cell}" for name, cell in cells.items()) + "}"


def _check_groups(by: str | None, table: Table, records: Table) -> None:
    """Raises UsageError unless each record has one value of the column."""
    if by is None:
        return
    table.column(by)  # raises where there is none
    if by not in records.columns:
        raise UsageError(
            f"rows of {table.path} that are one record differ in the column {by!r}",
            expected="a column that is the same in all rows of a record",
        )


def _subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """All but the empty one, the single inputs first."""
    return [s for size in range(1, len(names) + 1) for s in combinations(names, size)]


def _corruptions(modality: Modality) -> list[Corruption]:
    return [Corruption(k, strength) for k in modality.corruptions for strength in STRENGTHS]


def load(name_or_path: str | Path) -> Model:
    """A model that comes with plait, or a package's folder.

    Raises:
        PlaitError: the package is incomplete, of another version, or its preprocessing is not
            what this plait would do.
    """
    package = read_package(name_or_path)
    parts = build_parts(package.recipe)
    now = preprocessing(parts, package.states)
    if now != package.preprocessing:
        raise PlaitError(
            f"the package {package.folder} was made with another preprocessing",
            expected=f"fingerprint {now}, it has {package.preprocessing}",
            hint="install the plait that made it, or train it again",
        )
    network = build_network(package.recipe, parts, package.states, pretrained=False)
    try:
        network.load_state_dict(_tensors(package))
    except RuntimeError as error:
        raise PlaitError(
            f"the weights of {package.folder} do not fit its recipe: "
            + " ".join(str(error).split())[:200],
            hint="install the plait that made it, or train it again",
        ) from None
    return Model(package.recipe, package.states, network, package.scores)


def _tensors(package: Package) -> dict[str, Tensor]:
    try:
        tensors = load_file(package.folder / "weights.safetensors")
    except Exception as error:  # safetensors has its own error class a version
        raise PlaitError(
            f"the weights of {package.folder} are damaged: {error}", hint="copy the package again"
        ) from None
    return {k: v.float() if v.dtype == torch.float16 else v for k, v in tensors.items()}


def preprocessing(parts: Parts, states: Mapping[str, State]) -> str:
    """Digest of how every input is read."""
    return fingerprint(
        {
            name: modality.with_state(states[f"inputs.{name}"]).fingerprint()
            for name, modality in parts.modalities.items()
        }
    )
