"""A trained model: predict, evaluate, explain, save, load. It cannot exist untrained."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from itertools import repeat, starmap, tee
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plait.config.recipe import Recipe, load_recipe
from plait.data.cells import ErrorPolicy, OnBad, in_chunks
from plait.data.tables import Table, as_table
from plait.data.values import is_missing, plain
from plait.evaluation.predictions import (
    BATCH,
    check_subsets,
    decoding_options,
    predict_batch,
    predict_batches,
    predict_records,
)
from plait.outputs.base import Options, Output
from plait.package.format import (
    HUB,
    Memory,
    Package,
    fingerprint,
    model_name,
    read_package,
    write_package,
)
from plait.pipeline.columns import choose_present_columns
from plait.pipeline.engine import Batch, Engine, Parts, Row, build_parts, padded
from plait.pipeline.inputs import InputReader
from plait.pipeline.records import Preparer
from plait.render.progress import Progress
from plait.types import (
    BadCell,
    ColumnName,
    PlaitError,
    Prediction,
    State,
    Storage,
    UsageError,
    column_names,
)
from plait.util.arguments import checked
from plait.util.imports import needed

if TYPE_CHECKING:
    from plait.evaluation.evaluate import Evaluation
    from plait.explain.attention import Attention
    from plait.explain.explanation import Explanation
    from plait.network import Network

CAPTIONERS = "captioning-hub"
"""The recipe of the Hub's captioners."""
Answers = dict[str, Prediction]
"""One record's predictions by output."""


class Model:
    """A trained network with everything that it learned from its table.

    `plait.load` and `plait.train` make one. The examples of its methods continue this one.

    Args:
        recipe: with every default resolved.
        parts: the inputs' modalities and the outputs, fitted.
        engine: runs the network.
        scores: the scores it was saved with.
        memory: the records that it learned from.

    The arguments are kept as attributes of the same names.

    Examples:
        >>> model = plait.load("captioner")
        >>> model.inputs, model.outputs
        ({'image': 'image'}, {'caption': 'text'})
    """

    def __init__(
        self,
        recipe: Recipe,
        parts: Parts,
        engine: Engine,
        scores: Mapping[str, Any] | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.recipe, self.parts, self.engine = recipe, parts, engine
        self.scores: dict[str, Any] = dict(scores or {})
        self.memory = memory or Memory()
        self._readers: dict[str, InputReader] = {}

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.recipe.name

    @property
    def output(self) -> str:
        """The name of the only (or first) output."""
        return next(iter(self.recipe.outputs))

    @property
    def inputs(self) -> dict[str, str]:
        """Input name -> modality."""
        return {name: spec.modality for name, spec in self.recipe.inputs.items()}

    @property
    def outputs(self) -> dict[str, str]:
        """Output name -> kind."""
        return {name: spec.kind for name, spec in self.recipe.outputs.items()}

    @property
    def states(self) -> dict[str, State]:
        """What each input and output learned from its column: "inputs.NAME" -> plain JSON."""
        return self.parts.states

    @property
    def network(self) -> Network:
        """The ``nn.Module``.

        Raises:
            UsageError: the model runs as exported graphs.
        """
        network: Network | None = getattr(self.engine, "network", None)
        if network is None:
            raise UsageError(
                f"{self.name} runs as exported graphs (by {self.engine.name}), which can't do this",
                hint="use the engine torch: --engine torch, or leave --engine out",
            )
        return network

    def __repr__(self) -> str:
        inputs, outputs = ", ".join(self.recipe.inputs), ", ".join(self.recipe.outputs)
        return f"<plait.Model {self.recipe.name!r}: {inputs} -> {outputs}>"

    @checked
    def predict(self, record: Any, *, root: str | Path = ".", **options: Any) -> Prediction:
        """One record's prediction, of the first output if there are several.

        Args:
            record: a mapping from input name to cell, or the cell itself if the model has one
                input: a path, a file's bytes, a text. A cell of a table input is itself a mapping,
                from column to value.
            root: relative paths start here.
            **options: of decoding, such as ``beam=5``, ``num=3``, ``sample=True``; and
                ``shares=True`` for each input's share of the answer.

        Returns:
            The prediction: its ``value``, ``score`` and ``alternatives``.

        Raises:
            BadCell: a cell can't be used; the message names it.
            UsageError: there is no such input or option.

        Examples:
            >>> model.predict("photos/astronaut.jpg", beam=1).value
            'a man in a blue shirt is standing on a football'
        """
        cells = self._as_record(record)
        return next(self.predict_batch([cells], root=root, **options))[self.output]

    @checked
    def predict_batch(
        self,
        records: Any,
        *,
        root: str | Path = ".",
        policy: ErrorPolicy | None = None,
        shares: bool = False,
        **options: Any,
    ) -> Iterator[Answers]:
        """Each record's predictions by output, in the records' order; computed in batches, as they
        are asked for.

        Args:
            records: several records, each as for `predict`; or a data frame or `Table`, whose rows
                are answered, with the columns that `evaluate` would read.
            root: as for `predict`.
            policy: counts and names the cells that can't be used, whose inputs are then missing.
                Without, the first one raises.
            shares: also each input's share of every answer (Shapley values).
            **options: of decoding; each goes to every output that has it.

        Returns:
            An iterator over the records' predictions: for each, output -> prediction.

        Raises:
            BadCell: a cell can't be used, and there is no policy.
            UsageError: there is no such input or option, or the answers have no shares.

        Examples:
            >>> photos = ["photos/astronaut.jpg", "photos/rocket.jpg"]
            >>> [answers["caption"].value[:8] for answers in model.predict_batch(photos)]
            ['a man in', 'a view o']
        """
        chosen = self.decoding_options(**options)
        if shares:
            check_subsets(self.parts.outputs)
        each = starmap(self._numbered_record, enumerate(self._records(records), start=1))
        batches = self._batches(each, Path(root), policy)
        for predictions in predict_batches(self.parts, self.engine, batches, chosen, shares):
            for row in zip(*predictions.values(), strict=True):
                yield dict(zip(predictions, row, strict=True))

    answers = predict_batch
    """Its name in version 0.1."""

    @checked
    def predict_table(
        self,
        table: Table,
        columns: Mapping[str, ColumnName],
        *,
        policy: ErrorPolicy | None = None,
        shares: bool = False,
        progress: Progress | None = None,
        **options: Any,
    ) -> Iterator[Answers | None]:
        """Each row's predictions by output, with features from the cache; None for rows without an
        input that can be used, or that the policy skips.

        Args:
            table: its rows.
            columns: input name -> column; the others are missing.
            policy: what happens with cells that can't be used; ``stop`` if not given.
            shares: as for `predict_batch`.
            progress: called while features are computed and rows are answered.
            **options: of decoding.

        Returns:
            An iterator over the rows' predictions, as of `predict_batch`.

        Raises:
            PlaitError: a cell can't be used and the policy is ``stop``.
            UsageError: there is no such column or option, or the answers have no shares.

        Examples:
            >>> table = plait.read_table("photos")
            >>> len([row for row in model.predict_table(table, {"image": "image"}) if row])
            6
        """
        chosen = self.decoding_options(**options)
        if shares:
            check_subsets(self.parts.outputs)
        paths = {f"inputs.{name}": column for name, column in columns.items()}
        preparer = Preparer(self.parts, self.engine, paths, policy or ErrorPolicy(), progress)
        records, left_out = preparer.prepare_inputs(table)
        predictions = predict_records(self.parts, self.engine, records, chosen, shares, progress)
        for row in range(len(table)):
            answers = {name: values[row] for name, values in predictions.items()}
            yield None if row in left_out else answers

    def decoding_options(self, **options: Any) -> dict[str, Options]:
        """How each output's answers are found.

        Args:
            **options: of decoding, which override the recipe's; each goes to every output that
                has it.

        Returns:
            Output name -> all of its options.

        Raises:
            UsageError: no output has such an option, or it can't have that value.

        Examples:
            >>> model.decoding_options(num=2)["caption"].num
            2
        """
        return decoding_options(self.parts, **options)

    @checked
    def unread(self, record: Any, *, root: str | Path = ".") -> dict[str, str]:
        """Which parts of a record's cells the model can't read: the end of a sound that is too
        long, a text in letters that it has never seen.

        Args:
            record: as for `predict`.
            root: as for `predict`.

        Returns:
            Input name -> the unread part, in a few words. Inputs read in full are left out.

        Raises:
            BadCell: a cell can't be used.
            UsageError: there is no such input.

        Examples:
            >>> plait.load("intents").unread({"words": "zqx", "letters": "describe it"})
            {'words': 'none of its words is known from training'}
        """
        folder = Path(root)
        return {
            name: why
            for name, cell in self._as_record(record).items()
            if not is_missing(cell) and (why := self.parts.modalities[name].unread(cell, folder))
        }

    @checked
    def evaluate(
        self,
        table: Any,
        *,
        split: str | None = None,
        columns: Mapping[str, ColumnName] | None = None,
        by: str | None = None,
        on_bad: OnBad = "stop",
        include_training: bool = False,
        progress: Progress | None = None,
        **options: Any,
    ) -> Evaluation:
        """Free-running scores over a table, against all references.

        Args:
            table: a path as for `plait.read_table`, a `Table`, a data frame, a dictionary of
                columns, or a list of records. Inputs without a column are missing.
            split: score only its train, val or test rows, split as in training.
            columns: an input's or output's name -> its column, where the model's own guess is
                wrong.
            by: also the scores of every group of rows that share a value of this column.
            on_bad: what to do with cells that can't be used: ``stop``, ``skip`` or ``missing``.
            include_training: score the records that the model learned from, too. Otherwise they
                are left out, and a warning counts them.
            progress: called while features are computed and answers are found.
            **options: further checks, each off by default: ``subsets=True`` also scores every
                subset of the inputs, ``shares=True`` gives each input's share of every answer,
                ``corruptions=True`` scores inputs made worse in every way that their modality
                knows, ``swapped=True`` scores each input replaced by another record's,
                ``vectors=True`` keeps every record's fused vector, ``slow_metrics=True`` adds
                metrics that run another program (METEOR). The rest are options of
                decoding, such as ``beam=5``.

        Returns:
            The scores with intervals, the predictions and the references.

        Raises:
            PlaitError: a cell can't be used and ``on_bad`` is ``stop``; or no record is left.
            UsageError: there is no column ``by``, or its values differ within a record.

        Examples:
            >>> requests = {"text": ["describe it", "translate it"], "intent": ["caption", "none"]}
            >>> plait.load("intents").evaluate(requests).scores["intent"]["accuracy"]
            0.5
        """
        from plait.evaluation.evaluate import CHECKS, Evaluator  # answers need none

        decoding = {name: value for name, value in options.items() if name not in CHECKS}
        self.decoding_options(**decoding)  # a misspelt one is said before the table is read
        evaluator = Evaluator(
            self.recipe, self.parts, self.engine, self.memory, split, columns or {}, by, on_bad,
            include_training, progress, options,
        )  # fmt: skip
        return evaluator.run(as_table(table, self.recipe.data.missing_texts))

    @checked
    def explain(
        self,
        record: Any,
        *,
        root: str | Path = ".",
        output: str | None = None,
        table: Any = None,
        columns: Mapping[str, ColumnName] | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> Explanation:
        """Why the model answers a record as it does.

        Args:
            record: as for `predict`.
            root: as for `predict`.
            output: which output's answer; the first if not given.
            table: training rows, as for `evaluate`, to find the nearest ones; a package does not
                keep them.
            columns: of the table, as for `evaluate`.
            progress: called while the table's features are computed.
            **options: of decoding.

        Returns:
            The answer with what each input, segment and step contributed to it.

        Raises:
            BadCell: a cell can't be used.
            UsageError: there is no such output, or its answers can't be explained.
            PlaitError: captum is not installed.

        Examples:
            >>> request = {"words": "translate it", "letters": "translate it"}
            >>> plait.load("intents").explain(request).enough
            'With words or letters alone the model keeps this answer.'
        """
        from plait.explain.explainer import Probe, explain  # needs torch
        from plait.explain.neighbours import find_neighbours
        from plait.network import build_network

        cells, name, folder = self._as_record(record), output or self.output, Path(root)
        answering = self._output(name)
        check_subsets({name: answering})
        needed("captum.attr", "explain")  # said before anything is computed
        present = [n for n in self.recipe.inputs if not is_missing(cells.get(n))]
        readers = {n: self.reader(n, folder) for n in present}
        segments = {n: r.modality.segments(cells[n], folder) for n, r in readers.items()}
        [batch] = self._batches([cells], folder, None)
        chosen = self.decoding_options(**options)
        prediction = predict_batch(self.parts, self.engine, batch, chosen)[name][0]
        probe = Probe(batch, segments, readers, name, answering, prediction, chosen[name])
        network = self.network
        untrained = build_network(self.recipe, self.parts, pretrained=False).to(network.device)
        explanation = explain(probe, network, untrained.eval(), self.name)
        with suppress(UsageError):  # the model looks at no picture
            attention = self.attention(cells, prediction, root=root, output=name)
            explanation = replace(explanation, attention=attention)
        if table is None:
            return explanation
        near, others = find_neighbours(
            probe, self.engine, self.recipe, self.parts, table, columns or {}, progress
        )
        return replace(explanation, nearest=near, nearest_other=others)

    @checked
    def attention(
        self,
        record: Any,
        prediction: Prediction,
        *,
        root: str | Path = ".",
        output: str | None = None,
    ) -> Attention:
        """Where an answer looked, in the record's first input that has a picture.

        Args:
            record: as for `predict`.
            prediction: the answer, or one that is made of an alternative's value and details.
            root: as for `predict`.
            output: which output's answer it is; the first if not given.

        Returns:
            The picture, and a map of it for each word of the answer.

        Raises:
            BadCell: a cell can't be used.
            UsageError: as of `check_attention`; or it isn't known where the output looks, or its
                inputs are no pictures.

        Examples:
            >>> prediction = model.predict("photos/astronaut.jpg")
            >>> model.attention("photos/astronaut.jpg", prediction).maps.shape
            (11, 7, 7)
        """
        from plait.explain.attention import Attention

        own = output or self.output
        self.check_attention(own)
        cells, answering = self._as_record(record), self.parts.outputs[own]
        if answering.words(prediction) and not answering.attention(prediction):
            [batch] = self._batches([cells], Path(root), None)
            prediction = answering.with_attention(prediction, *self.engine.run(batch)[own])
        looked = answering.attention(prediction)
        for name in self.recipe.inputs:
            if name not in looked or is_missing(cells.get(name)):
                continue
            grid = self.network.encoder(name).grid
            modality = self.parts.modalities[name]
            pixels = modality.picture(cells[name], Path(root))
            if grid is not None and pixels is not None:
                view = modality.view(pixels)
                return Attention(answering, prediction, name, np.asarray(pixels), view, grid, own)
        raise UsageError(
            f"it isn't known where in a picture the output {own!r} looks",
            expected="a text output with attention, and an image input",
            hint="plait explain shows what each part of an input contributes",
        )

    def check_attention(self, output: str | None = None) -> None:
        """Check, before any record is answered, that the model is of a kind that `attention` can
        look into.

        Args:
            output: as for `attention`.

        Raises:
            UsageError: there is no such output, the model runs as exported graphs, or it is a
                whole model, such as a captioner of the Hub.

        Examples:
            >>> try:
            ...     model.check_attention("title")
            ... except plait.UsageError as error:
            ...     print(error.what)
            the model has no output 'title'
        """
        _ = self.network  # raises for exported graphs
        if self._output(output or self.output).looks_at is not None:
            raise UsageError(
                f"the attention of {self.name} isn't available: it encodes its input itself",
                expected="a model of plait's own networks",
            )

    def _output(self, name: str) -> Output:
        """Raises UsageError if there is no output of that name."""
        if name not in self.recipe.outputs:
            raise UsageError(
                f"the model has no output {name!r}", expected=", ".join(self.recipe.outputs)
            )
        return self.parts.outputs[name]

    def _records(self, records: Any) -> Iterable[Any]:
        """The records of a list or a table, one after the other.

        Raises:
            UsageError: it is one record, or no records.
        """
        if isinstance(records, Table) or (
            hasattr(records, "columns") and hasattr(records, "shape")
        ):
            table = as_table(records, self.recipe.data.missing_texts)
            columns = choose_present_columns(self.recipe, self.parts, table, {})
            rows = zip(*map(table.column, columns.values()), strict=True)
            return (dict(zip(columns, row, strict=True)) for row in rows)
        if isinstance(records, (str, bytes, Path, Mapping)) or not isinstance(records, Iterable):
            raise UsageError(
                f"{records!r:.60} is not a list of records",
                expected="several records, or a data frame",
                hint="predict answers one record; read_table reads the table of a path",
            )
        return records

    def _numbered_record(self, number: int, record: Any) -> Mapping[str, Any]:
        """A record as `_as_record` gives it; an error says which one it is."""
        try:
            return self._as_record(record)
        except UsageError as error:
            what = f"record {number}: {error.what}"
            raise UsageError(what, expected=error.expected, hint=error.hint) from None

    def _as_record(self, record: Any) -> Mapping[str, Any]:
        """The cells of a record by input, as plain values."""
        names, missing = list(self.recipe.inputs), self.recipe.data.missing_texts
        if not isinstance(record, Mapping):
            if len(names) > 1:
                examples = {
                    name: self.parts.modalities[name].example_cell(
                        column_names(spec.column or "column")
                    )
                    for name, spec in self.recipe.inputs.items()
                }
                cells = ", ".join(f"{name!r}: {cell}" for name, cell in examples.items())
                raise UsageError(
                    f"the model takes {', '.join(names)}",
                    expected=f"a mapping from input to cell, such as {{{cells}}}",
                )
            several = isinstance(record, (list, tuple)) and any(
                isinstance(item, (str, bytes, Path, Mapping)) for item in record
            )
            if several:
                raise UsageError(
                    f"{record!r:.60} is several records, or several texts of one",
                    expected=f"one cell, or {{{names[0]!r}: [...]}} for a cell that is a list",
                    hint="predict_batch answers several records",
                )
            record = {names[0]: record}
        if unknown := set(record) - set(names):
            raise UsageError(
                f"unknown input {', '.join(map(str, unknown))}", expected=", ".join(names)
            )
        plain_cells = {name: plain(cell, missing) for name, cell in record.items()}
        if all(map(is_missing, plain_cells.values())):
            raise UsageError(
                "the record has no input", expected=f"one or more of {', '.join(names)}"
            )
        return plain_cells

    def reader(self, name: str, root: Path) -> InputReader:
        """What reads the cells of an input and prepares them for the network. It is kept for the
        next call, as it computes an example of its own.

        Args:
            name: the input's.
            root: relative paths start here.

        Returns:
            The reader.

        Examples:
            >>> from pathlib import Path
            >>> model.reader("image", Path("photos")).name
            'image'
        """
        reader = self._readers.get(name)
        if reader is None or reader.root != root:
            reader = InputReader(name, self.parts.modalities[name], self.engine, root)
            self._readers[name] = reader
        return reader

    def _batches(
        self, records: Iterable[Mapping[str, Any]], root: Path, policy: ErrorPolicy | None
    ) -> Iterator[Batch]:
        """Batches of up to `BATCH` records; every input's cells are read ahead in threads."""
        names = list(self.recipe.inputs)
        with ExitStack() as stack:
            streams = [
                stack.enter_context(closing(self._features(name, copy, root, policy)))
                for name, copy in zip(names, tee(records, len(names)), strict=True)
            ]
            for rows in in_chunks(zip(*streams, strict=True), BATCH):
                prepared, lengths = {}, {}
                for name, column in zip(names, zip(*rows, strict=True), strict=True):
                    example = next((row for row in column if row is not None and len(row)), None)
                    if example is None:
                        example = self.reader(name, root).example
                    prepared[name], lengths[name] = padded(column, example)
                yield Batch(prepared, lengths)

    def _features(
        self, name: str, records: Iterable[Mapping[str, Any]], root: Path,
        policy: ErrorPolicy | None,
    ) -> Generator[Row | None, None, None]:  # fmt: skip
        """An input of each record; None where it is missing or, by the policy, can't be used."""
        cells = map(methodcaller("get", name), records)
        outcomes = self.reader(name, root).rows(zip(cells, repeat(0), repeat(0)))  # the original
        for number, outcome in enumerate(outcomes):
            if not isinstance(outcome, BadCell):
                yield outcome
                continue
            if policy is None:
                raise outcome
            policy.handle(number + 1, name, outcome)
            policy.handled.add((number, name))
            yield None

    @checked
    def save(self, folder: str | Path, *, weights: Storage = "float32") -> Path:
        """Write the package.

        Args:
            folder: it is replaced if it holds a package.
            weights: the type to store them in: float32; float16, half the size; or int8, a
                quarter.

        Returns:
            The folder's path.

        Raises:
            PlaitError: the folder can't be written, or holds something else.
            UsageError: the model runs as exported graphs.
        """
        from plait.package.card import write_card  # not needed to answer
        from plait.package.weights import pack  # torch is slow to import

        tensors = pack(self.network.state_dict(), weights)
        path, how = Path(folder), _preprocessing(self.parts)
        package = Package(path, self.recipe, self.states, self.scores, how, self.memory)
        write_package(package, tensors, write_card(self.recipe, self.scores, self.states))
        return path


def load_model(name_or_path: str | Path, device: str = "cpu", dtype: str | None = None) -> Model:
    """A model that comes with plait, a package's folder, or a captioner of the Hugging Face Hub
    (``hub:NAME``), run by torch.

    Args:
        name_or_path: the model.
        device: where it runs, such as ``cuda``.
        dtype: type of a Hub captioner's weights; that of a package is its own.

    Raises:
        UsageError: there is no such model or device, or the Hub's model doesn't caption.
        PlaitError: the package is incomplete, of another version, or its preprocessing is not
            what this plait would do; the Hub can't be reached.
    """
    from plait.network import TorchEngine, build_network, load_weights, to_device  # need torch

    if str(name_or_path).startswith(HUB):
        return _load_captioner(str(name_or_path), device, dtype or "float32")
    if dtype is not None:
        raise UsageError(
            f"{name_or_path} can't run as {dtype}: a package has a type of its own",
            expected=f"{HUB}NAME",
        )
    package = read_package(name_or_path)
    parts = build_parts(package.recipe, package.states)
    now = _preprocessing(parts)
    if now != package.preprocessing:
        raise PlaitError(
            f"the package {package.folder} was made with another preprocessing",
            expected=f"fingerprint {now}, but it has {package.preprocessing}",
            hint="install the plait that made it, or train it again",
        )
    network = build_network(package.recipe, parts, pretrained=False, drawn=False)
    load_weights(network, package.folder)
    engine = TorchEngine(to_device(network, device))
    return Model(package.recipe, parts, engine, package.scores, package.memory)


def _load_captioner(name: str, device: str, dtype: str) -> Model:
    """The recipe of the Hub's captioners before any training."""
    from plait.network import TorchEngine, build_network, to_device

    settings = {"name": name.removeprefix(HUB), "dtype": dtype, "lora": None, "calibrate": False}
    overrides = {f"outputs.caption.settings.{key}": value for key, value in settings.items()}
    about = {"name": model_name(name), "about": f"hub:{model_name(name)}, as it was published"}
    written = [f"{key}={json.dumps(value)}" for key, value in (about | overrides).items()]
    recipe = load_recipe(CAPTIONERS, written)
    parts = build_parts(recipe)
    fitted = {path: part.fit([], Path()) for path, part in parts.components.items()}
    parts = parts.with_states(fitted)
    return Model(recipe, parts, TorchEngine(to_device(build_network(recipe, parts), device)))


def _preprocessing(parts: Parts) -> str:
    """Digest of how every input is read."""
    return fingerprint({name: part.fingerprint() for name, part in parts.modalities.items()})
