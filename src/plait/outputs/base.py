"""The contract of an output: everything that it knows of cells and answers, without torch.

An output is written once and used by training, serving and the exported model alike. Its network
side is a `plait.nn.base.Head`, built on demand from the same settings and state.

Shapes: B records.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import Self

from plait.config.registry import Component
from plait.outputs.scores import Metrics
from plait.types import BadCell, Branches, Geometry, Prediction, State, UsageError
from plait.util.imports import load
from plait.util.suggest import did_you_mean

if TYPE_CHECKING:
    from plait.nn.base import Head

DOUBTFUL = 0.4
"""An answer is doubtful if it is right with a lower probability than this, unless another limit is
asked for."""

RawOutputs: TypeAlias = Mapping[str, NDArray[Any]]
"""What `Head.raw_outputs` gives, by name, one row per record."""


class Options(BaseModel):
    """How answers are found: each kind of output adds what can be chosen when predicting."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    calibrated_with: ClassVar[Collection[str]] = ()
    """Options that a calibrated confidence depends on: where one is changed, there is none."""

    def changed(self, **options: Any) -> Self:
        """With some of them changed.

        Raises:
            UsageError: there is no such option, or it can't have that value.
        """
        known = type(self).model_fields
        for name in options:
            if name not in known:
                raise no_such_option(name, known)
        try:
            return type(self).model_validate({**self.model_dump(), **options})
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            got = f" is {options[name]!r}: " if name in options else ": "
            what = f"decoding option {name}".rstrip()
            raise UsageError(f"{what}{got}{first['msg'].lower()}") from None


class Steps(Protocol):
    """What runs an output's networks step by step for one batch, in torch or in onnxruntime.

    Shapes: B records, N texts in the making, L tokens, V vocabulary, T input tokens.
    """

    def start(self, raw: RawOutputs, models: Collection[str]) -> Any:
        """The state of the named networks before the first token, one row per record (an engine
        may add other networks)."""

    def step(
        self, tokens: NDArray[np.int64], state: Any
    ) -> tuple[Mapping[str, NDArray[np.float32]], Any]:
        """Append a token (N,) to each text: each network's log-probabilities (N, V) of the next
        token, which the caller may overwrite, and the next state."""

    def select(self, state: Any, rows: NDArray[np.int64]) -> Any:
        """The state of these rows: repeated, reordered, or some left out."""

    def attention(self, raw: RawOutputs, tokens: NDArray[np.int64]) -> Mapping[str, NDArray[Any]]:
        """How much each token (B, L) of finished texts attended to each token of each input, (B, L,
        T) by input; empty where the engine does not know."""


class Output(Component, ABC):
    """One thing to predict: its targets, its answers, how they are shown and scored.

    The class attributes are facts that recipes, training, comparisons and reports go by; none of
    them asks which output it is.
    """

    columns: ClassVar[Literal["one", "several", "none"]] = "one"
    """How many columns of the table a target is read from."""
    media: ClassVar[bool] = False
    """Whether a cell is a file or its bytes, as `Modality.media` says of an input."""
    bound: ClassVar[bool] = False
    """Whether targets move with the geometry of the one input that they lie in (boxes)."""
    branches: ClassVar[bool] = True
    """Whether it answers for each branch of a fusion with branches."""
    looks_at: ClassVar[str | None] = None
    """Of a whole model, which encodes its one input itself: the representation that it needs there,
    and finds in `Fused.prepared`."""
    stored: ClassVar[bool] = False
    """Whether targets are arrays (L, ...) of numbers that are kept in the feature cache rather than
    in memory; `content` and `fingerprint` then name them."""
    mixup: ClassVar[bool] = True
    """Whether its loss makes sense for two records mixed."""
    subsets: ClassVar[bool] = True
    """Whether it answers with any subset of the inputs."""
    several_answers: ClassVar[bool] = False
    """Whether a record may have several right answers: rows with the same input are then one
    record, with all of their answers."""
    linear: ClassVar[bool] = False
    """Whether a linear model of one vector can give its answers, so that comparisons have a
    classical baseline; its head then has `Head.make_linear`."""
    validated_by: ClassVar[Literal["answers", "loss"]] = "answers"
    """What early stopping goes by: the scores of free-running answers, or the loss."""
    shows_score: ClassVar[bool] = True
    """Whether a prediction's score is worth showing beside its value."""
    options_type: ClassVar[type[Options]] = Options
    """What `options` returns."""
    unused_options: ClassVar[Collection[str]] = ()
    """Names of `options` that this output, as it is, has no use for."""
    answer_type: ClassVar[str] = ""
    """What sort of thing an answer is, for whoever passes it on: ``text``, ``category``, ``labels``
    or ``number``; other outputs may name a sort of their own."""
    head_class: ClassVar[str]
    """Full name of the `Head`, which is built from the output, ``width``, ``branches``, ``inputs``
    and ``pretrained`` (see `head`)."""
    scored_by: ClassVar[type[Metrics]]
    """What scores its answers: the metrics' titles, which of them decide, and the scores."""

    # Targets ---------------------------------------------------------------------------------

    @abstractmethod
    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """What must be known of the training cells (classes, a vocabulary), as plain JSON. Cells
        that can't be used are left out; `read` names them. Relative paths start at ``root``.

        Raises:
            PlaitError: nothing can be learned from the cells.
        """

    def fit_inputs(self, state: State, tag_names: Mapping[str, Sequence[str]]) -> State:
        """What `fit` returned, with what must be known of the inputs: the names of the tags of
        those that give some (`Modality.tag_names`), by input."""
        return state

    @abstractmethod
    def read(self, cell: Any, root: Path) -> Any:
        """A cell's target.

        Raises:
            BadCell: the cell is empty or of a wrong kind.
            UnseenLabel: no training row has such an answer.
        """

    def content(self, cell: Any, root: Path) -> bytes:
        """What a cell holds, which names its stored target in the cache; raises BadCell if there is
        nothing to read."""
        return repr(cell).encode()

    def fingerprint(self) -> str:
        """Changes when what `read` returns would; part of a stored target's key."""
        return json.dumps([type(self).__name__, self.model_dump(mode="json"), self.state])

    def bound_input(self, inputs: Sequence[str]) -> str:
        """The input that targets move with, if the output is ``bound``; the first by default."""
        return inputs[0]

    def move(self, target: Any, geometry: Geometry) -> Any:
        """The target after its input was augmented; the target itself unless it is `bound`."""
        return target

    def collate(self, targets: Sequence[Any]) -> Any:
        """The targets of a batch as `Head.loss` takes them."""
        return list(targets)

    @abstractmethod
    def samples(self) -> list[Any]:
        """Two made-up cells or more, of which `fit` makes as much as the settings allow."""

    @abstractmethod
    def example(self) -> Any:
        """A made-up target, as `read` gives them."""

    def reference(self, cell: Any, root: Path) -> Any:
        """A cell's right answer, as `scorer` takes it; by default its target."""
        return self.read(cell, root)

    # Answers ---------------------------------------------------------------------------------

    def options(self, **options: Any) -> Options:
        """The recipe's way of decoding with ``options`` changed; see `Options.changed`."""
        return self.options_type().changed(**options)

    @abstractmethod
    def decode(
        self, raw: RawOutputs, fitted: State, options: Any, steps: Steps | None = None
    ) -> list[Prediction]:
        """Free-running answers, one per record, of `Head.raw_outputs`, `Head.fitted` and `options`;
        ``steps`` runs the decoder of answers that are made step by step."""

    def to_cell(self, value: Any) -> str | int | float | bool:
        """An answer as a cell of a table, which `read` reads again."""
        return value

    def extra_cells(self, prediction: Prediction) -> dict[str, Any]:
        """Further cells beside the answer's, by what is added to its column's name."""
        return {}

    @property
    def choices(self) -> Sequence[Any] | None:
        """All that a fitted output chooses its answers from (classes, labels); None for others."""
        return None

    def to_json(self, prediction: Prediction, digits: int | None = None) -> dict[str, Any]:
        """A prediction as plain JSON: its value, score, alternatives, details, and shares; scores,
        probabilities and shares to so many decimals, or with all."""
        answers: list[Any] = [prediction, *prediction.alternatives]
        first, *others = ({"value": a.value, "score": rounded(a.score, digits)} for a in answers)
        shares = {name: rounded(share, digits) for name, share in prediction.shares.items()}
        found = {**first, "alternatives": others, **self.details_json(prediction, digits)}
        return found | ({"shares": shares} if shares else {})

    def details_json(self, prediction: Prediction, digits: int | None) -> dict[str, Any]:
        """The part of `to_json` that this kind of output adds."""
        return {}

    def draw(self, prediction: Prediction, picture: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        """The answer drawn on a picture (H, W, 3); None for answers that lie in no picture."""
        return None

    def same(self, prediction: Prediction, value: Any) -> bool:
        """Whether ``value`` is as good as the same answer."""
        return bool(prediction.value == value)

    def confidence(self, prediction: Prediction) -> float | None:
        """How probable the answer is to the model, 0 to 1; None where it doesn't say."""
        return None

    def calibrated(self, prediction: Prediction) -> float | None:
        """How probable it is that the answer is right, 0 to 1, as fitted to validation records;
        None where nothing was fitted."""
        return None

    def is_calibrated(self, fitted: State) -> bool:
        """Whether `calibrated` knows how probable answers are to be right, with this
        `Head.fitted`."""
        return False

    def is_doubtful(self, prediction: Prediction, least_confidence: float = DOUBTFUL) -> bool:
        """Whether the answer is right with a lower probability than ``least_confidence``; no if
        nothing was fitted."""
        probability = self.calibrated(prediction)
        return probability is not None and probability < least_confidence

    def clues(self, prediction: Prediction) -> Mapping[str, Mapping[str, float]]:
        """What the answer rests on besides the inputs themselves: by title the words that were
        found in them, and each one's weight, 0 to 1, in the order in which they are shown."""
        return {}

    def expected_words(self, prediction: Prediction) -> Mapping[str, float]:
        """Words that the model expects of any answer to the record, whatever it says, and how
        probable each is; improbable ones are left out. Empty where the model doesn't tell."""
        return {}

    def probabilities(self, prediction: Prediction) -> Mapping[Any, float]:
        """Of everything that the output can answer (classes, labels) the probability, the likeliest
        first; empty where there is no such list."""
        return {}

    def bounds(self, prediction: Prediction) -> tuple[float, float] | None:
        """Between which numbers the right answer is likely to be; None where it doesn't say."""
        return None

    def words(self, prediction: Prediction) -> Sequence[str]:
        """The steps that an answer is made in; empty where it is made in one."""
        return ()

    def attention(self, prediction: Prediction) -> Mapping[str, NDArray[np.float32]]:
        """Where each of the `words` looked: input -> (L, T); empty where this is not known."""
        return {}

    def with_attention(
        self, prediction: Prediction, raw: RawOutputs, steps: Steps | None
    ) -> Prediction:
        """An answer to the only record of these raw outputs with its `attention`, which `decode`
        finds for the best answers alone; as it is where this is not known."""
        return prediction

    def store(self, prediction: Prediction) -> dict[str, Any]:
        """All of a prediction that scores depend on, as plain JSON."""
        return {"value": prediction.value, "score": prediction.score}

    def restore(self, raw: Mapping[str, Any]) -> Prediction:
        """The prediction of `store`, also as JSON gives it back."""
        value = raw["value"]
        return Prediction(tuple(value) if isinstance(value, list) else value, raw["score"])

    def scorer(self, predictions: Sequence[Prediction], references: Sequence[Any]) -> Metrics:
        """What scores any choice of these records: all of them for early stopping, resamples of
        them for comparisons."""
        return self.scored_by(predictions, references)

    def ngrams(self) -> tuple[Any, Sequence[str]] | None:
        """An n-gram model of its texts and the units that it counts, to be written for other tools;
        None where it has none."""
        return None

    # The network side ------------------------------------------------------------------------

    def check_exportable(self) -> None:
        """Raises UsageError if answers can't be made without torch."""

    def head(
        self, width: int, inputs: Sequence[str], pretrained: bool, branches: Branches | None = None
    ) -> Head:
        """The network of a fitted output.

        Args:
            width: of the fusion's vectors.
            inputs: names of the model's inputs.
            pretrained: whether to start from pretrained weights; a package's own replace them all.
            branches: of a fusion that has them; the head then answers for each.
        """
        return load(self.head_class)(self, width, branches, inputs, pretrained)


def usable(cells: Iterable[Any], read: Callable[[Any], Any]) -> Iterator[Any]:
    """What ``read`` makes of the cells, without those that can't be used."""
    for cell in cells:
        try:
            value = read(cell)
        except BadCell:
            continue
        yield value


def rounded(value: float, digits: int | None) -> float:
    """To so many decimals; as it is where ``digits`` is None."""
    return value if digits is None else round(value, digits)


def no_such_option(name: str, known: Collection[str]) -> UsageError:
    """The error of an option that no output has."""
    expected = f"one of: {', '.join(known)}" if known else "none for such an answer"
    what = f"there is no decoding option {name!r}"
    return UsageError(what, expected=expected, hint=did_you_mean(name, known))
