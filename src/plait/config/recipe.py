"""The recipe that a user writes, checked completely before any data is read.

All errors of a recipe are reported together, each with its path, its value and the accepted values.
A checked recipe has all defaults filled in, and is saved so.
"""

from __future__ import annotations

import copy
import importlib.resources
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from plait.config import registry
from plait.config.registry import UserFile, nested
from plait.data.cells import OnBad
from plait.data.values import MISSING
from plait.types import ColumnName, Overlap, Storage, UsageError, column_text
from plait.util.arguments import checked
from plait.util.suggest import did_you_mean, listed

log = logging.getLogger("plait")
Settings = dict[str, Any]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _field(default: Any, about: str, **limits: Any) -> Any:
    """A setting with its line of documentation; ``...`` stands for no default."""
    return Field(default, description=about, **limits)


def _column(value: Any) -> Any:
    """One error instead of pydantic's two, for a string and for a list."""
    names = value if isinstance(value, (list, tuple)) else [value]
    if value is not None and not (names and all(isinstance(name, str) for name in names)):
        raise PydanticCustomError("column", "expected a column's name, or a list of names")
    return value


Columns = Annotated[
    str | list[str] | None,
    BeforeValidator(_column),
    Field(description="column of the table, or a list of columns to read together; null: guessed"),
]
FitWith = Annotated[
    str | None,
    Field(
        description="inputs.NAME or outputs.NAME, whose column is fitted together with this one: "
        "they share a vocabulary if their settings are equal"
    ),
]


class InputSpec(_Section):
    """One input: its kind of data, its column, and its representation."""

    modality: str = _field(..., "kind of data")
    column: Columns = None
    fit_with: FitWith = None
    representation: Settings = _field(..., "the representation: its kind and settings")


class OutputSpec(_Section):
    """One output: what to predict, from which column."""

    kind: str = _field(..., "kind of output")
    column: Columns = None
    fit_with: FitWith = None
    weight: float = _field(
        1.0, "weight of its loss, and of its score when the best weights are chosen", gt=0
    )
    settings: Settings = Field(default_factory=dict, description="the output's settings")

    @property
    def component(self) -> Any:
        """The output's class, for the facts that it declares."""
        return registry.find("output", self.kind).cls


class SourceSpec(_Section):
    """Another table to learn from."""

    table: str = _field(..., "a table as plait train takes it")
    weight: float = _field(
        1.0, "how often each of its records is shown in an epoch, on average", gt=0, le=100
    )


class DataSpec(_Section):
    """How the table is split, what else to learn from, and what to do with bad cells."""

    weight: float = _field(
        1.0, "how often each of the table's records is shown in an epoch, on average", gt=0, le=100
    )
    sources: dict[str, SourceSpec] = Field(
        default_factory=dict,
        description="further tables to learn from, by name; they are never validated on",
    )
    split: str | None = _field(
        None, "column with each row's split; null: guessed; random: by ratios"
    )
    ratios: tuple[float, float, float] = _field(
        (0.8, 0.1, 0.1), "shares of train, val and test, without a split column"
    )
    overlap: Overlap = _field(
        "drop",
        "what to do with a photo in two splits: stop, drop it from train, or keep it in both",
    )
    rows: int | None = _field(
        None, "maximum number of training rows, drawn with the recipe's seed", ge=1
    )
    group: str | None = _field(None, "rows with equal values in this column stay in one split")
    on_bad: OnBad = _field("stop", "what to do with a bad cell")
    changed: Literal["restart", "continue"] = _field(
        "restart", "what to do with a run whose files have changed since it began"
    )
    missing: tuple[str, ...] | None = _field(
        None, "texts that stand for an empty cell, such as NA; null: the usual ones"
    )

    @property
    def missing_texts(self) -> frozenset[str]:
        """The texts that stand for an empty cell."""
        return MISSING if self.missing is None else frozenset(self.missing)


Sources = Annotated[
    tuple[str, ...] | None,
    Field(description="the data.sources to learn from beside the table; null: none"),
]
StageWeight = Annotated[
    float | None,
    Field(
        gt=0,
        le=100,
        description="weight of the table's own records in this stage; null: data.weight",
    ),
]


class FinetuneSpec(_Section):
    """A stage between the two others, which learns the style of the best texts."""

    epochs: int = _field(0, "epochs; 0 skips the stage", ge=0)
    learning_rate: float = _field(2e-4, "peak learning rate", gt=0)
    encoder_rate: float = _field(
        0.1, "learning rate of pretrained layers, as a share of the peak", ge=0
    )
    sources: Sources = None
    weight: StageWeight = None


class ReinforceSpec(_Section):
    """The last stage of training, which optimises the free-running score itself."""

    sources: Sources = None
    weight: StageWeight = None
    epochs: int = _field(0, "epochs; 0 skips the stage", ge=0)
    learning_rate: float = _field(1e-4, "peak learning rate", gt=0)
    encoder_rate: float = _field(
        0.0, "learning rate of pretrained layers, as a share of the peak", ge=0
    )
    samples: int = _field(5, "sampled answers per record", ge=2)
    temperature: float = _field(
        1.0, "of the samples; below 1 they are nearer to what a search finds", gt=0, le=1
    )
    batch: int = _field(32, "records per step", ge=1)


def _several(value: object) -> object:
    """One name as several; none where the setting is null."""
    return () if value is None else (value,) if isinstance(value, str) else value


class TrainingSpec(_Section):
    """The training loop's settings."""

    start: Annotated[tuple[str, ...], BeforeValidator(_several)] = _field(
        (),
        "models to start from: their words and classes, and the mean of their weights (Wortsman et "
        "al. 2022); none: from scratch",
    )
    epochs: int = _field(20, "maximum number of passes over the records", ge=0)
    patience: int = _field(4, "validations without a better score before stopping", ge=1)
    validate_every: int = _field(1, "epochs between two validations", ge=1)
    batch: int = _field(64, "records per step", ge=1)
    optimizer: Literal["adam", "adamw"] = _field("adamw", "optimizer")
    learning_rate: float = _field(5e-4, "peak learning rate", gt=0)
    encoder_rate: float = _field(
        0.1, "learning rate of pretrained layers, as a share of the peak", ge=0
    )
    weight_decay: float = _field(0.05, "AdamW's weight decay", ge=0)
    warmup: float = _field(0.05, "share of the steps used for the warm-up", ge=0, le=1)
    schedule: Literal["cosine", "constant"] = _field("cosine", "learning rate after the warm-up")
    clip: float = _field(1.0, "maximum norm of the gradient; 0: no limit", ge=0)
    averaging: float = _field(
        0.999, "decay of the moving average of the weights; 0: no average", ge=0, lt=1
    )
    modality_dropout: float = _field(
        0.0, "probability that an input is hidden in training", ge=0, lt=1
    )
    token_dropout: float = _field(
        0.0, "share of each input's tokens that is hidden at random in training", ge=0, lt=1
    )
    mixup: float = _field(
        0.0,
        "alpha of mixup, which mixes fused records and their targets in training; 0: none",
        ge=0,
    )
    refit: bool = _field(
        False,
        "at the end, train again on training and validation rows together, for the best number "
        "of epochs; the scores are those before it",
    )
    precision: Literal["auto", "float32", "bfloat16"] = _field(
        "auto", "auto: bfloat16 if the processor supports it"
    )
    weights: Storage = _field(
        "float16", "type in which the package stores weights; scores are of the stored weights"
    )
    checkpoint_minutes: float = _field(2.0, "minutes between two checkpoints", gt=0)
    finetune: FinetuneSpec = _field(FinetuneSpec(), "optional second stage")
    reinforce: ReinforceSpec = _field(ReinforceSpec(), "optional last stage")


class CardSpec(_Section):
    """What the package's card says about the data."""

    data: str = _field("the user's own table", "the training data")
    licence: str = _field("as the training data allow", "licence of the trained weights")
    notes: str = _field("", "what else to know, in Markdown: scores on other data, known failures")


class Recipe(_Section):
    """What to read, how to represent and fuse it, what to predict, and how to train.

    Attributes:
        name: the recipe's name.
        about: a description in one line.
        command: the command that runs it.
        expected: the expected scores.
        seed: of all randomness.
        inputs: input name -> its modality, column and representation.
        fusion: how inputs are fused: a kind and its settings.
        outputs: output name -> its kind, column, weight and settings.
        data: splits and bad cells.
        training: the training loop.
        card: what the package's card says about the data.

    Examples:
        >>> list(plait.load_recipe("captioning").inputs)
        ['image']
    """

    name: str = _field(..., "the recipe's name")
    about: str = _field("", "a description in one line")
    command: str = _field("", "the command that runs it")
    expected: dict[str, Any] = Field(default_factory=dict, description="the expected scores")
    seed: int = _field(0, "seed of all randomness", ge=0)
    inputs: dict[str, InputSpec] = _field(..., "named inputs")
    fusion: Settings = Field(
        default_factory=lambda: {"kind": "none"}, description="how inputs are fused"
    )
    outputs: dict[str, OutputSpec] = _field(..., "named outputs")
    data: DataSpec = _field(DataSpec(), "splits and bad cells")
    training: TrainingSpec = _field(TrainingSpec(), "the training loop")
    card: CardSpec = _field(CardSpec(), "what the package's card says about the data")

    @checked
    def with_columns(self, columns: Mapping[str, ColumnName]) -> Recipe:
        """The recipe with the columns of some inputs or outputs set.

        Args:
            columns: input or output -> column or columns; ``inputs.NAME`` or ``outputs.NAME`` if
                an input and an output have the same name.

        Raises:
            UsageError: there is no such input or output, or it reads one column only.
        """
        data = self.model_dump()
        parts = [(section, part) for section in ("inputs", "outputs") for part in data[section]]
        for name, column in columns.items():
            places = [place for place in parts if name in (place[1], ".".join(place))]
            if len(places) != 1:
                raise UsageError(
                    f"column {name}={column_text(column)}: {name!r} is "
                    + ("an input and an output" if places else "neither an input nor an output"),
                    expected=f"one of: {', '.join(map('.'.join, parts))}",
                )
            section, part = places[0]
            reads_one = section == "outputs" and self.outputs[part].component.columns == "one"
            if reads_one and not isinstance(column, str):
                raise one_column(name, column)
            data[section][part]["column"] = column
        return Recipe.model_validate(data)

    def to_yaml(self) -> str:
        """The whole recipe, with every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def one_column(name: str, column: ColumnName) -> UsageError:
    """The error for several columns where only one is possible."""
    return UsageError(f"{name} can't read several columns: {column_text(column)}", expected="one")


def shipped() -> list[str]:
    """The names of the shipped recipes."""
    folder = importlib.resources.files("plait") / "recipes"
    return sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".yaml"))


def recipe_text(name_or_path: str) -> str:
    """The YAML of a shipped recipe or of a file. Raises UsageError if there is no such recipe or
    file."""
    if name_or_path in shipped():
        folder = importlib.resources.files("plait") / "recipes"
        return (folder / f"{name_or_path}.yaml").read_text(encoding="utf-8")
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} and path.is_file():
        return path.read_text(encoding="utf-8")
    raise UsageError(
        f"there is no recipe {name_or_path!r}",
        expected=f"one of: {', '.join(shipped())}, or a .yaml file",
        hint=did_you_mean(name_or_path, shipped()),
    )


@checked
def load_recipe(recipe: str | Path | Mapping[str, Any], overrides: Iterable[str] = ()) -> Recipe:
    """Load and check a recipe.

    Args:
        recipe: a shipped recipe's name, a YAML file, or what such a file holds.
        overrides: settings to change, as ``path=value``; see `override`.

    Returns:
        The recipe with every default filled in.

    Raises:
        UsageError: there is no such recipe or setting; one line for each error in it.

    Examples:
        >>> plait.load_recipe("captioning", ["training.epochs=5"]).training.epochs
        5
    """
    raw: Any = recipe
    name = str(recipe) if isinstance(recipe, (str, Path)) else "the recipe"
    if isinstance(recipe, (str, Path)):
        try:
            raw = yaml.safe_load(recipe_text(name))
        except yaml.YAMLError as error:
            raise UsageError(f"{name} is not YAML: {error}") from None
    if not isinstance(raw, Mapping):
        raise UsageError(f"{name} is not a recipe", expected="a mapping with inputs, outputs...")
    written, notes = rename(raw)  # before the overrides, as these name settings too
    _warn_of_old_names(name, notes)
    return check_recipe(override(written, list(overrides)), files=True)


def check_recipe(raw: Mapping[str, Any], files: bool = False, warn: bool = True) -> Recipe:
    """Check a recipe, fill in all defaults, and replace old names of settings.

    Args:
        raw: what the user wrote.
        files: whether files that the recipe names must exist, as for training.
        warn: whether a warning names the old names; not of a package, whose recipe nobody edits.

    Raises:
        UsageError: the recipe has errors; the message has one line for each.
    """
    data, notes = rename(raw)
    if warn:
        _warn_of_old_names("the recipe", notes)
    problems: list[str] = []
    try:
        data = Recipe.model_validate(data).model_dump()
    except ValidationError as error:
        problems += problem_lines(error, Recipe, "")
    modalities = registry.modalities()
    for name, spec in _sections(data, "inputs"):
        at, modality, settings = f"inputs.{name}", spec.get("modality"), spec.get("representation")
        if modality not in modalities:
            only = listed(str(modality), modalities)
            problems.append(f"{at}.modality: got {modality!r}; expected one of: {only}")
        elif isinstance(settings, dict):
            resolved = _resolve(modality, settings, f"{at}.representation", problems, files)
            spec["representation"] = resolved
    if isinstance(data.get("fusion"), dict):
        data["fusion"] = _resolve("fusion", data["fusion"], "fusion", problems, files)
    for name, spec in _sections(data, "outputs"):
        settings = {"kind": spec.get("kind"), **(spec.get("settings") or {})}
        spec["settings"] = _resolve("output", settings, f"outputs.{name}.settings", problems, files)
        spec["kind"] = spec["settings"].pop("kind")  # without the NAME of hub:NAME
    problems += [*_wrong_names(data), *_unsupported(data), *_wrong_training(data)]
    if problems:
        raise UsageError(together("the recipe", problems))
    return Recipe.model_validate(data)


def _sections(data: Settings, name: str) -> list[tuple[str, Settings]]:
    """The valid sections below ``inputs`` or ``outputs``, by name."""
    found = data.get(name)
    specs = found.items() if isinstance(found, dict) else ()
    return [(str(key), spec) for key, spec in specs if isinstance(spec, dict)]


def _wrong_names(data: Settings) -> Iterator[str]:
    """Errors in what inputs and outputs are called, by themselves and by their partners."""
    parts = {
        f"{section}.{name}": spec
        for section in ("inputs", "outputs")
        for name, spec in _sections(data, section)
    }
    for section in ("inputs", "outputs"):
        if section in data and not data[section]:
            yield f"{section}: empty; expected at least one"
    for path, spec in parts.items():
        partner, others = spec.get("fit_with"), set(parts) - {path}
        if partner is not None and partner not in others:
            only = listed(str(partner), sorted(others))
            yield f"{path}.fit_with: got {partner!r}; expected one of: {only}"
        name = path.partition(".")[2]
        if "." in name or not name:
            yield f"{path}: a name must not be empty or contain dots"


def _wrong_training(data: Settings) -> Iterator[str]:
    """Errors in the combination of training's settings."""
    training, data_spec = data.get("training"), data.get("data")
    if not isinstance(training, dict):
        return
    sources = data_spec.get("sources") if isinstance(data_spec, dict) else None
    for stage in ("finetune", "reinforce"):
        spec = training.get(stage)
        wanted = spec.get("sources") if isinstance(spec, dict) else None
        for name in wanted if isinstance(wanted, (list, tuple)) else ():
            if name not in (sources or {}):
                known = (
                    f"one of: {listed(str(name), sorted(sources))}" if sources else "data.sources"
                )
                yield f"training.{stage}.sources: got {name!r}; expected {known}"
    if training.get("epochs") == 0 and not training.get("start"):
        yield "training.epochs: 0 trains nothing; expected at least 1, or a training.start"
    for stage in ("finetune", "reinforce"):
        spec = training.get(stage)
        if training.get("refit") and isinstance(spec, dict) and spec.get("epochs"):
            yield f"training.refit: can't be combined with training.{stage}; expected false"


def _unsupported(data: Settings) -> Iterator[str]:
    """Errors where the recipe asks for what its fusion or outputs don't support."""
    inputs, training = [name for name, _ in _sections(data, "inputs")], data.get("training")
    mixup = isinstance(training, dict) and training.get("mixup")
    branches, at_once = None, False
    with suppress(KeyError, TypeError, UsageError, ValidationError):  # reported elsewhere
        fusion = registry.build("fusion", data["fusion"])
        at_once = fusion.fitted_at_once
        if len(inputs) > 1 and not fusion.several_inputs:
            kind = data["fusion"]["kind"]
            yield f"fusion.kind: {kind!r} takes one input; choose another fusion for several"
        try:
            branches = fusion.branches(inputs)
        except UsageError as error:
            yield f"fusion: {error}"
    for name, spec in _sections(data, "outputs"):
        at, column = f"outputs.{name}", spec.get("column")
        with suppress(UsageError):  # an unknown output is reported elsewhere
            output: Any = registry.find("output", str(spec.get("kind"))).cls
            if mixup and not output.mixup:
                yield f"training.mixup: the targets of {at} can't be mixed; expected 0"
            if at_once and not output.linear:
                yield f"fusion: {at} can't be fitted at once; choose another fusion"
            if branches and not output.branches:
                yield f"fusion: {at} can't answer for each branch; choose another fusion"
            if column is not None and output.columns == "none":
                yield f"{at}.column: got {column!r}; expected null, as it reads no column"
            if isinstance(column, list) and output.columns == "one":
                yield f"{at}.column: got {column!r}; expected one column"
            read = [
                (s.get("representation") or {}).get("kind") for _, s in _sections(data, "inputs")
            ]
            if output.looks_at is not None and read != [output.looks_at]:
                yield (
                    f"{at}: {spec['kind']!r} is a whole model; expected one input, with the "
                    f"representation {output.looks_at!r}"
                )


def _resolve(kind: str, settings: Settings, at: str, problems: list[str], files: bool) -> Settings:
    """A component's settings with defaults filled in. Errors are added to ``problems``; with
    ``files``, missing files are errors."""
    name = settings.get("kind")
    if not isinstance(name, str):
        problems.append(f"{at}.kind: missing; expected one of: {', '.join(registry.names(kind))}")
        return settings
    try:
        component = registry.find(kind, name)
        settings = registry.canonical(kind, settings)
        given = {key: value for key, value in settings.items() if key != "kind"}
        built = component.cls.model_validate(given)
    except UsageError as error:
        problems.append(f"{at}.kind: {error}")
        return settings
    except ValidationError as error:
        problems += problem_lines(error, component.cls, at)
        return settings
    resolved: Settings = {"kind": component.name}
    for key, field in component.cls.model_fields.items():
        value = getattr(built, key)
        if isinstance(value, BaseModel):
            value = value.model_dump(mode="json")
        if (inner := nested(field)) and value is not None:
            value = _resolve(inner.kind, value, f"{at}.{key}", problems, files)
            if (wrong := value.get("kind")) in inner.but:
                fit = [name for name in registry.names(inner.kind) if name not in inner.but]
                problems.append(
                    f"{at}.{key}.kind: got {wrong!r}; expected one of: {', '.join(fit)}"
                )
        named = files and value is not None and UserFile() in field.metadata
        if named and not Path(value).is_file():
            problems.append(f"{at}.{key}: there is no file {value}")
        resolved[key] = value
    return resolved


def problem_lines(error: ValidationError, model: type[BaseModel], at: str) -> list[str]:
    """One line per error: path, value, accepted values, suggestion."""
    lines = []
    for item in error.errors():
        path = ".".join(str(part) for part in (at, *item["loc"]) if str(part))
        if item["type"] == "extra_forbidden":
            known = listed(str(item["loc"][-1]), _fields_at(model, item["loc"][:-1]))
            lines.append(f"{path}: unknown setting; expected one of: {known}")
        elif item["type"] == "missing":
            lines.append(f"{path}: missing")
        elif item["type"] == "value_error":  # raised by a check of the component's own
            lines.append(f"{path}: {item['msg'].removeprefix('Value error, ')}")
        else:
            lines.append(f"{path}: got {item['input']!r}; {item['msg'].lower()}")
    return lines


def _fields_at(model: Any, loc: tuple[Any, ...]) -> list[str]:
    for part in loc:
        fields = getattr(model, "model_fields", {})
        if part not in fields:  # the name of an input or output
            continue
        annotation = fields[part].annotation
        model = next(
            (a for a in (*getattr(annotation, "__args__", ()), annotation)
             if hasattr(a, "model_fields")),
            model,
        )  # fmt: skip
    return list(getattr(model, "model_fields", {}))


def together(what: str, problems: list[str]) -> str:
    """One message for all errors, with a line for each."""
    if len(problems) == 1:
        return f"{what} has an error: {problems[0]}"
    return f"{what} has {len(problems)} errors:\n  " + "\n  ".join(problems)


# Old names and overrides -----------------------------------------------------------------------

ALIASES: Mapping[str, Mapping[str, str]] = {
    "audio/*": {"longest": "max_seconds", "reader": "sequence_encoder"},
    "fusion/hybrid": {"own": "branch_loss_weight"},
    "image/*": {"fit": "resize"},
    "inputs": {"learn_with": "fit_with"},
    "output/text": {
        "scores": "metrics",
        "longest": "max_length",
        "at_a_time": "texts_per_step",
        "smoothing": "label_smoothing",
        "ctc": "ctc_weight",
        "language": "language_model",
        "detect": "detected_words",
        "detection": "detection_weight",
    },
    "outputs": {"learn_with": "fit_with"},
    "series/*": {
        "longest": "max_steps",
        "reader": "sequence_encoder",
        "hide": "channel_dropout",
    },
    "text/*": {"longest": "max_length", "reader": "sequence_encoder"},
    "text/bag-of-words": {"of": "unit", "shortest": "min_n", "longest": "max_n"},
    "video/*": {"fit": "resize", "reader": "sequence_encoder"},
}
"""Place of a setting -> its old name -> its new name. The place is "KIND/NAME" of a component,
"KIND/*" for all of a kind, or a section of the recipe such as "inputs"."""


def rename(raw: Mapping[str, Any]) -> tuple[Settings, list[str]]:
    """A copy of a recipe with today's names of its settings, and a note on each that had an old
    one. If a setting has both names, the value of the old one counts: an override added it."""
    recipe, notes = copy.deepcopy(dict(raw)), list[str]()

    def rename_keys(settings: Settings, at: str, place: str) -> None:
        for old, new in ALIASES.get(place, {}).items():
            if old in settings:
                settings[new] = settings.pop(old)
                notes.append(f"{at}.{old} is now {new}")

    for section in ("inputs", "outputs"):
        for name, spec in _sections(recipe, section):
            rename_keys(spec, f"{section}.{name}", section)
    for path, kind, name, settings in _components(recipe):
        rename_keys(settings, path, f"{kind}/{name.split(':', 1)[0]}")
        rename_keys(settings, path, f"{kind}/*")
    return recipe, notes


def _components(raw: Settings) -> Iterator[tuple[str, str, str, Settings]]:
    """The path, kind, name and settings of each component of a recipe that may have errors. A
    component's inner ones follow it, and are looked for only then: its settings may be changed."""
    for at, spec in _sections(raw, "inputs"):
        yield from _with_inner(
            f"inputs.{at}.representation", spec.get("modality"), spec.get("representation")
        )
    for at, spec in _sections(raw, "outputs"):
        yield from _with_inner(
            f"outputs.{at}.settings", "output", spec.get("settings"), spec.get("kind")
        )
    yield from _with_inner("fusion", "fusion", raw.get("fusion"))


def _with_inner(
    path: str, kind: Any, settings: Any, name: Any = None
) -> Iterator[tuple[str, str, str, Settings]]:
    if not isinstance(settings, dict) or not isinstance(kind, str):
        return
    name = str(settings.get("kind") if name is None else name)
    yield path, kind, name, settings
    if any(isinstance(value, dict) for value in settings.values()):
        with suppress(UsageError):  # there is no such component: reported by the check
            fields = registry.find(kind, name).cls.model_fields
            for key, value in settings.items():
                if inner := nested(fields.get(key)):
                    yield from _with_inner(f"{path}.{key}", inner.kind, value)


def _warn_of_old_names(what: str, notes: list[str]) -> None:
    if notes:
        log.warning("%s uses old names of settings: %s", what, ", ".join(notes))


def override(raw: Settings, overrides: Sequence[str]) -> Settings:
    """A copy of a recipe with overrides ``path=value``; values are YAML.

    If a component's kind is overridden, settings that only the old kind has are dropped, with a
    warning.

    Raises:
        UsageError: an override is not a valid setting.
    """
    changed = copy.deepcopy(raw)
    problems = [problem for item in overrides if (problem := _set(changed, item))]
    if problems:
        raise UsageError("; ".join(problems), expected="path=value")
    paths = [item.partition("=")[0].strip() for item in overrides]
    for path in paths:
        place, _, last = path.rpartition(".")
        old, new = _at(raw, path), _at(changed, path)
        if last == "kind" and old not in (None, new):
            if place.startswith("outputs.") and place.count(".") == 1:
                place += ".settings"
            kept = {p[len(place) + 1 :].split(".")[0] for p in paths if p.startswith(f"{place}.")}
            foreign = sorted(_foreign(changed, place) - kept - {"kind"})
            for name in foreign:
                del _at(changed, place)[name]
            if foreign:
                dropped = ", ".join(foreign)
                log.warning("%s=%s: dropped the settings of %s: %s", path, new, old, dropped)
    return changed


def _set(raw: Settings, override: str) -> str:
    """Apply one override ``a.b.c=value``; returns its error, or an empty string."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        return f"--set {override!r} is not a setting"
    *parents, last = path.strip().split(".")
    node: Any = raw
    for part in parents:
        node = node.setdefault(part, {}) if isinstance(node, dict) else None
        if not isinstance(node, dict):
            return f"--set {path}: {part!r} has no settings"
    try:
        node[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        return f"--set {path}: {text!r} is not YAML"
    return ""


def _at(raw: Any, path: str) -> Any:
    """The value at this path; None if there is none."""
    for part in path.split("."):
        raw = raw.get(part) if isinstance(raw, dict) else None
    return raw


def _foreign(raw: Settings, path: str) -> set[str]:
    """The settings at a path that their component doesn't have, or whose values it refuses."""
    for at, kind, name, settings in _components(raw):
        if at == path:
            try:
                known = {key: value for key, value in settings.items() if key != "kind"}
                registry.find(kind, name).cls.model_validate(known)
            except UsageError:  # reported by the check
                return set()
            except ValidationError as error:
                return {str(e["loc"][0]) for e in error.errors() if e["loc"]} & set(settings)
    return set()
