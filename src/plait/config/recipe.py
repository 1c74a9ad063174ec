"""What the user writes: a recipe, checked whole before any data is read.

Every error of a recipe is reported together, each with its path, what it got and what it
accepts. The checked recipe carries every default resolved, and is saved so.
"""

from __future__ import annotations

import copy
import importlib.resources
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from plait.config import registry
from plait.config.aliases import rename, warn_of_old_names
from plait.config.component import Nested, UserFile
from plait.config.overrides import override
from plait.data.cells import OnBad
from plait.types import ColumnName, Overlap, UsageError, column_text
from plait.util.suggest import did_you_mean

Settings = dict[str, Any]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _doc(text: str, **limits: Any) -> Any:
    return Field(description=text, **limits)


def _column(value: Any) -> Any:
    """Says in one line what pydantic would say of text and list apart."""
    names = value if isinstance(value, (list, tuple)) else [value]
    if value is not None and not (names and all(isinstance(name, str) for name in names)):
        raise PydanticCustomError("column", "expected a column's name, or a list of names")
    return value


LearnWith = Annotated[
    str | None,
    _doc(
        "inputs.NAME or outputs.NAME, whose column is learned from too: one vocabulary for both, "
        "where their settings are the same"
    ),
]


class InputSpec(_Section):
    """One input: what kind it is, where it stands in the table, how it is represented."""

    modality: Annotated[str, _doc("kind of data")]
    column: Annotated[
        str | list[str] | None,
        BeforeValidator(_column),
        _doc("column of the table; a list where the modality reads several; guessed when null"),
    ] = None
    learn_with: LearnWith = None
    representation: Annotated[Settings, _doc("the representation: kind and its settings")]


class OutputSpec(_Section):
    """One output: what to predict, from which column."""

    kind: Annotated[str, _doc("kind of output")]
    column: Annotated[str | None, _doc("column of the table; guessed when null")] = None
    learn_with: LearnWith = None
    weight: Annotated[
        float, _doc("of its loss, and of its score in the choice of the best weights", gt=0)
    ] = 1.0
    settings: Annotated[Settings, _doc("the output's settings")] = Field(default_factory=dict)


class DataSpec(_Section):
    """How the table is split, and what happens to bad cells."""

    split: Annotated[str | None, _doc("column that names each row's split; guessed")] = None
    ratios: Annotated[
        tuple[float, float, float], _doc("train, val, test where there is no split column")
    ] = (0.8, 0.1, 0.1)
    overlap: Annotated[
        Overlap,
        _doc("a photo in two splits of the column: an error, left out of train, or left in both"),
    ] = "stop"
    rows: Annotated[
        int | None, _doc("training rows at the most, drawn by the recipe's seed", ge=1)
    ] = None
    group: Annotated[str | None, _doc("rows equal in this column stay in one split")] = None
    on_bad: Annotated[OnBad, _doc("what to do with a cell that can't be used")] = "stop"


class ReinforceSpec(_Section):
    """The second stage: optimise the free-running score itself."""

    epochs: Annotated[int, _doc("epochs; 0 leaves the stage out", ge=0)] = 0
    learning_rate: Annotated[float, _doc("peak learning rate", gt=0)] = 1e-4
    encoder_rate: Annotated[
        float, _doc("pretrained layers' learning rate, as a share of the peak", ge=0)
    ] = 0.0
    samples: Annotated[int, _doc("sampled answers a record", ge=2)] = 5
    batch: Annotated[int, _doc("records a step", ge=1)] = 32


class TrainingSpec(_Section):
    """The training loop's settings."""

    start: Annotated[
        str | None, _doc("a model whose weights and vocabulary to start from; null is anew")
    ] = None
    epochs: Annotated[int, _doc("most passes over the records", ge=0)] = 20
    patience: Annotated[int, _doc("validations without a better score before stopping", ge=1)] = 4
    validate_every: Annotated[int, _doc("epochs between two validations", ge=1)] = 1
    batch: Annotated[int, _doc("records a step", ge=1)] = 64
    optimizer: Annotated[Literal["adam", "adamw"], _doc("optimizer")] = "adamw"
    learning_rate: Annotated[float, _doc("peak learning rate", gt=0)] = 5e-4
    encoder_rate: Annotated[
        float, _doc("learning rate of pretrained layers, as a share of the peak", ge=0)
    ] = 0.1
    weight_decay: Annotated[float, _doc("AdamW's weight decay", ge=0)] = 0.05
    warmup: Annotated[float, _doc("share of the steps that warm up", ge=0, le=1)] = 0.05
    schedule: Annotated[Literal["cosine", "constant"], _doc("after the warm-up")] = "cosine"
    clip: Annotated[float, _doc("largest norm of the gradient; 0 is none", ge=0)] = 1.0
    averaging: Annotated[
        float, _doc("decay of the weights' moving average; 0 is none", ge=0, lt=1)
    ] = 0.999
    modality_dropout: Annotated[
        float, _doc("how often an input of a record is taken away while learning", ge=0, lt=1)
    ] = 0.0
    token_dropout: Annotated[
        float, _doc("share of each input's tokens left out at random", ge=0, lt=1)
    ] = 0.0
    mixup: Annotated[
        float,
        _doc(
            "mixes fused records and their targets while learning: alpha of mixup; 0 is none", ge=0
        ),
    ] = 0.0
    refit: Annotated[
        bool,
        _doc(
            "at the end, learn anew from training and validation rows together, for as many "
            "epochs as the best weights had; scores are from before"
        ),
    ] = False
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"], _doc("auto: bfloat16 where the processor has it")
    ] = "auto"
    weights: Annotated[
        Literal["float16", "float32"], _doc("how the package keeps them; scored as kept")
    ] = "float16"
    checkpoint_minutes: Annotated[float, _doc("minutes between two checkpoints", gt=0)] = 2.0
    reinforce: Annotated[ReinforceSpec, _doc("optional second stage")] = ReinforceSpec()


class CardSpec(_Section):
    """What the package's card says of the data."""

    data: Annotated[str, _doc("what it was trained on")] = "the user's own table"
    licence: Annotated[str, _doc("terms of the trained weights")] = "as the training data allow"


class Recipe(_Section):
    """What to read, how to represent it, how to fuse, what to predict, how to train."""

    name: Annotated[str, _doc("the recipe's name")]
    about: Annotated[str, _doc("one line")] = ""
    command: Annotated[str, _doc("the command that runs it")] = ""
    expected: Annotated[dict[str, Any], _doc("the scores that it is expected to reach")] = Field(
        default_factory=dict
    )
    seed: Annotated[int, _doc("all randomness comes from it", ge=0)] = 0
    inputs: Annotated[dict[str, InputSpec], _doc("named inputs")]
    fusion: Annotated[Settings, _doc("how inputs are fused")] = Field(
        default_factory=lambda: {"kind": "none"}
    )
    outputs: Annotated[dict[str, OutputSpec], _doc("named outputs")]
    data: Annotated[DataSpec, _doc("splits and bad cells")] = DataSpec()
    training: Annotated[TrainingSpec, _doc("the training loop")] = TrainingSpec()
    card: Annotated[CardSpec, _doc("what the package's card says of the data")] = CardSpec()

    def with_columns(self, columns: Mapping[str, ColumnName]) -> Recipe:
        """The recipe with the columns of some inputs or outputs named.

        Args:
            columns: an input's or output's name -> the column, or several; ``inputs.NAME`` or
                ``outputs.NAME`` where an input and an output have one name.

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
                    + ("an input and an output" if places else "no input or output"),
                    expected=f"one of: {', '.join(map('.'.join, parts))}",
                )
            section, part = places[0]
            if section == "outputs" and not isinstance(column, str):
                raise one_column(name, column)
            data[section][part]["column"] = column
        return Recipe.model_validate(data)

    def to_yaml(self) -> str:
        """The whole recipe, every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def one_column(name: str, column: ColumnName) -> UsageError:
    """The error for several columns where one is read."""
    return UsageError(f"{name} can't read several columns: {column_text(column)}", expected="one")


def shipped() -> list[str]:
    """Names of the recipes that come with plait."""
    folder = importlib.resources.files("plait") / "recipes"
    return sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".yaml"))


def recipe_text(name_or_path: str) -> str:
    """The YAML of a shipped recipe, or of the user's file.

    Raises:
        UsageError: there is no such recipe or file.
    """
    if name_or_path in shipped():
        return (importlib.resources.files("plait") / "recipes" / f"{name_or_path}.yaml").read_text(
            encoding="utf-8"
        )
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} and path.is_file():
        return path.read_text(encoding="utf-8")
    raise UsageError(
        f"there is no recipe {name_or_path!r}",
        expected=f"one of: {', '.join(shipped())}, or a .yaml file",
        hint=did_you_mean(name_or_path, shipped()),
    )


def load_recipe(name_or_path: str, overrides: Iterable[str] = ()) -> Recipe:
    """A checked recipe, with overrides applied as by `override`."""
    try:
        raw = yaml.safe_load(recipe_text(name_or_path))
    except yaml.YAMLError as error:
        raise UsageError(f"{name_or_path} is not YAML: {error}") from None
    if not isinstance(raw, dict):
        raise UsageError(f"{name_or_path} holds no recipe", expected="a mapping with 'inputs'")
    written, notes = rename(raw)  # before the overrides, as these name settings too
    warn_of_old_names(name_or_path, notes)
    return check_recipe(override(written, list(overrides)), files=True)


def check_recipe(raw: Mapping[str, Any], files: bool = False, warn: bool = True) -> Recipe:
    """The recipe with every default resolved, and old names of settings replaced by today's.

    Args:
        raw: what the user wrote.
        files: whether the files that are learned from must be there, as for a recipe to train.
        warn: whether a warning names the old names; not of a package, whose recipe nobody edits.

    Raises:
        UsageError: with all of the recipe's errors, one a line.
    """
    problems: list[str] = []
    raw, notes = rename(raw)
    if warn:
        warn_of_old_names("the recipe", notes)
    data: Settings = copy.deepcopy(dict(raw))
    try:
        data = Recipe.model_validate(raw).model_dump()
    except ValidationError as error:
        problems += problem_lines(error, Recipe, "")
    for name, spec in _sections(data, "inputs"):
        at, modality = f"inputs.{name}", spec.get("modality")
        if modality not in registry.modalities():
            problems.append(
                f"{at}.modality: got {modality!r}; only {', '.join(registry.modalities())} "
                + did_you_mean(str(modality), registry.modalities())
            )
        elif isinstance(spec.get("representation"), dict):
            spec["representation"] = _resolve(
                modality, spec["representation"], f"{at}.representation", problems, files
            )
    if isinstance(data.get("fusion"), dict):
        data["fusion"] = _resolve("fusion", data["fusion"], "fusion", problems, files)
    for name, spec in _sections(data, "outputs"):
        settings = {"kind": spec.get("kind"), **(spec.get("settings") or {})}
        resolved = _resolve("output", settings, f"outputs.{name}.settings", problems, files)
        spec["settings"] = {key: value for key, value in resolved.items() if key != "kind"}
    problems += _combinations(data)
    if problems:
        raise UsageError(together("the recipe", problems))
    return Recipe.model_validate(data)


def _sections(data: Settings, name: str) -> list[tuple[str, Settings]]:
    """The named sections below ``inputs`` or ``outputs`` that are sections at all."""
    sections = data.get(name)
    if not isinstance(sections, dict):
        return []
    return [(str(key), value) for key, value in sections.items() if isinstance(value, dict)]


def _combinations(data: Settings) -> list[str]:
    """What is wrong with the sections together."""
    problems = [
        f"{name}: none; expected at least one"
        for name in ("inputs", "outputs")
        if name in data and not data[name]
    ]
    fusion = data.get("fusion")
    inputs = _sections(data, "inputs")
    problems += _wrong_partners(data)
    problems += [
        f"{section}.{name}: a name has no dots and is not empty"
        for section in ("inputs", "outputs")
        for name, _ in _sections(data, section)
        if "." in name or not name
    ]
    training = data.get("training")
    if isinstance(training, dict) and training.get("epochs") == 0 and not training.get("start"):
        problems.append("training.epochs: 0 trains nothing; at least 1, or name a training.start")
    if isinstance(training, dict) and training.get("refit"):
        reinforce = training.get("reinforce")
        if isinstance(reinforce, dict) and reinforce.get("epochs"):
            problems.append("training.refit: can't go with training.reinforce; expected false")
    if isinstance(training, dict) and training.get("mixup"):
        problems += [
            f"training.mixup: the sentences of outputs.{name} can't be mixed; expected 0"
            for name, spec in _sections(data, "outputs")
            if spec.get("kind") == "text"
        ]
    if len(inputs) > 1 and isinstance(fusion, dict) and fusion.get("kind") == "none":
        problems.append("fusion.kind: 'none' takes one input; name a fusion for several")
    return problems


def _wrong_partners(data: Settings) -> list[str]:
    parts = {
        f"{section}.{name}": spec
        for section in ("inputs", "outputs")
        for name, spec in _sections(data, section)
    }
    return [
        f"{path}.learn_with: got {partner!r}; only {', '.join(sorted(set(parts) - {path}))}. "
        + did_you_mean(str(partner), set(parts) - {path})
        for path, spec in parts.items()
        if (partner := spec.get("learn_with")) is not None and partner not in set(parts) - {path}
    ]


def _resolve(kind: str, settings: Settings, at: str, problems: list[str], files: bool) -> Settings:
    """A component's settings with its defaults filled in; what is wrong goes to ``problems``, what
    can't be read among it where ``files`` are asked for."""
    name = settings.get("kind")
    if not isinstance(name, str):
        problems.append(f"{at}.kind: missing; one of: {', '.join(registry.names(kind))}")
        return settings
    try:
        component = registry.find(kind, name)
        settings = registry.canonical(kind, settings)
        rest = {key: value for key, value in settings.items() if key != "kind"}
        model = component.schema.model_validate(rest)
    except UsageError as error:
        problems.append(f"{at}.kind: {error}")
        return settings
    except ValidationError as error:
        problems.extend(problem_lines(error, component.schema, at))
        return settings
    resolved: Settings = {"kind": component.name}
    for key, field in component.schema.model_fields.items():
        value = getattr(model, key)
        nested = next((m for m in field.metadata if isinstance(m, Nested)), None)
        if isinstance(value, BaseModel):
            value = value.model_dump(mode="json")
        if nested and value is not None:
            value = _resolve(nested.kind, value, f"{at}.{key}", problems, files)
            problems += _out_of_place(value, nested, f"{at}.{key}")
        if files and value is not None and any(isinstance(m, UserFile) for m in field.metadata):
            problems += [] if Path(value).is_file() else [f"{at}.{key}: there is no file {value}"]
        resolved[key] = value
    return resolved


def _out_of_place(settings: Settings, nested: Nested, at: str) -> list[str]:
    """What names a component that can't stand there."""
    if settings.get("kind") not in nested.but:
        return []
    fit = [name for name in registry.names(nested.kind) if name not in nested.but]
    return [f"{at}.kind: got {settings['kind']!r}; only {', '.join(fit)} here"]


def problem_lines(error: ValidationError, model: type[BaseModel], at: str) -> list[str]:
    """One line an error: path, what was given, what is accepted, did you mean."""
    lines = []
    for item in error.errors():
        path = ".".join(str(part) for part in (at, *item["loc"]) if str(part))
        if item["type"] == "extra_forbidden":
            known = _fields_at(model, item["loc"][:-1])
            hint = did_you_mean(str(item["loc"][-1]), known)
            lines.append(f"{path}: unknown setting; accepted: {', '.join(known)}. {hint}".strip())
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
        if part not in fields:  # the name of an input or an output
            continue
        annotation = fields[part].annotation
        model = next(
            (a for a in (*getattr(annotation, "__args__", ()), annotation)
             if hasattr(a, "model_fields")),
            model,
        )  # fmt: skip
    return list(getattr(model, "model_fields", {}))


def together(what: str, problems: list[str]) -> str:
    """All errors of what the user wrote, one a line."""
    if len(problems) == 1:
        return f"{what} has an error: {problems[0]}"
    return f"{what} has {len(problems)} errors:\n  " + "\n  ".join(problems)
