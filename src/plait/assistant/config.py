"""What an assistant is made of: a small YAML, checked whole before any model is loaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from plait.assistant.intents import (
    ASIDE,
    CAPTION,
    INTENTS,
    QUESTION,
    TRANSLATION,
    intents_of,
)
from plait.config.recipe import problem_lines, together
from plait.package.format import read_package
from plait.tasks.transcribers import HUB, SHIPPED
from plait.types import PlaitError, UsageError
from plait.util.files import is_folder
from plait.util.suggest import did_you_mean

ROUTER, SPEECH = "intents", "speech"
"""The models that answer nothing themselves: one says what is asked, one writes down speech."""


@dataclass(frozen=True)
class Role:
    """What a model must be to answer an intent.

    Attributes:
        needs: the kinds of data that it makes its answer of.
        may: others that are given to it too, where there are any.
        makes: what sort of answer its first output gives; None where any will do.
    """

    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    makes: str | None = None

    def fits(self, takes: Collection[str], makes: str) -> bool:
        """Whether a model is such a one."""
        known = set(takes) <= {*self.needs, *self.may}
        return known and set(self.needs) <= set(takes) and self.makes in (None, makes)

    def __str__(self) -> str:
        of = f"{' and '.join(self.needs)}{', perhaps with ' if self.needs and self.may else ''}"
        return f"a model that makes {self.makes or 'an answer'} of {of}{' or '.join(self.may)}"


ROLES: Mapping[str, Role] = {
    CAPTION: Role(needs=("image",), makes="text"),
    QUESTION: Role(needs=("image", "text")),
    TRANSLATION: Role(needs=("text",), may=("image",), makes="text"),
    SPEECH: Role(needs=("audio",), makes="text"),
}
OWN = Role(may=("image", "text", "audio"))
"""Of an intent that only the user's own package knows."""


class AssistantConfig(BaseModel):
    """Which model answers what, and how sure the assistant must be of what is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: Annotated[
        dict[str, str],
        Field(
            description="an intent -> the package that answers it, or hub:NAME; intents: what "
            "tells the intents apart; speech: what makes a text of a recording"
        ),
    ] = {"caption": "captioner", SPEECH: SHIPPED}
    confidence: Annotated[
        float, Field(ge=0, le=1, description="below this probability of an intent it asks back")
    ] = 0.7
    doubt: Annotated[
        float, Field(ge=0, le=1, description='below this probability an answer is said "perhaps"')
    ] = 0.5
    photos: Annotated[Path | None, Field(description="folder of photos that are searched")] = None
    words: Annotated[
        Literal["tf-idf", "minilm"], Field(description="how words are compared with captions")
    ] = "tf-idf"
    found: Annotated[int, Field(ge=1, le=100, description="photos named by a search")] = 5
    alternatives: Annotated[
        int, Field(ge=0, le=20, description="other answers shown with each answer")
    ] = 2

    @property
    def router(self) -> str:
        """The package that tells what is asked."""
        return self.models.get(ROUTER, ROUTER)


def load_config(
    source: str | Path | Mapping[str, Any] | None, photos: str | Path | None = None
) -> AssistantConfig:
    """A checked assistant; without a source the one made of what ships with plait.

    Args:
        source: a YAML file, whose relative paths start at its own folder, or what such a file
            would hold.
        photos: folder of photos, instead of the source's.

    Raises:
        UsageError: it has errors; all of them are named, one a line.
    """
    file = Path(source) if isinstance(source, (str, Path)) else None
    raw = _read(file) if file else source if isinstance(source, Mapping) else {}
    root = file.parent if file else Path()
    if photos is None:
        return check_config(raw, root)
    folder = Path(photos).expanduser()
    config = check_config({**raw, "photos": folder.absolute()}, root)
    return config.model_copy(update={"photos": folder})


def _read(path: Path) -> Mapping[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"there is no assistant {path}", expected="a YAML file") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise UsageError(f"{path} can't be read as YAML: {why}") from None
    if not isinstance(raw, Mapping):
        raise UsageError(f"{path} holds no assistant", expected="a mapping with 'models'")
    return raw


def check_config(raw: Mapping[str, Any], root: Path) -> AssistantConfig:
    """The assistant with its paths found from ``root``.

    Raises:
        UsageError: with all of its errors, one a line.
    """
    problems: list[str] = []
    try:
        config = AssistantConfig.model_validate(raw)
    except ValidationError as error:
        problems = problem_lines(error, AssistantConfig, "")
        # What stands there all the same is checked below.
        good = {name: raw[name] for name in ("models", "photos") if _well_formed(raw, name)}
        config = AssistantConfig.model_validate(good)
    models = {name: _place(model, root) for name, model in config.models.items()}
    problems += _unknown(models) + _absent(models)
    photos = config.photos and root / config.photos
    if photos and not is_folder(photos):
        problems.append(f"photos: got {str(config.photos)!r}; expected a folder")
    if problems:
        raise UsageError(together("the assistant", problems))
    return config.model_copy(update={"models": models, "photos": photos})


def _well_formed(raw: Mapping[str, Any], name: str) -> bool:
    """Whether there is such a setting, and it is of the right form."""
    try:
        return name in raw and bool(AssistantConfig.model_validate({name: raw[name]}))
    except ValidationError:
        return False


def _place(name: str, root: Path) -> str:
    """A folder's path from ``root``; other names stay."""
    start = HUB if name.startswith(HUB) else ""
    path = root / name.removeprefix(start)
    return f"{start}{path}" if is_folder(path) else name


def _unknown(models: Mapping[str, str]) -> list[str]:
    """Models for what nobody asks."""
    try:
        asked = intents_of(models.get(ROUTER, ROUTER))
    except PlaitError:  # `_absent` says so
        asked = list(INTENTS)
    known = [ROUTER, SPEECH, *(name for name in asked if name not in ASIDE)]
    return [
        f"models.{name}: unknown; accepted: {', '.join(known)}. {did_you_mean(name, known)}".strip()
        for name in models
        if name not in known
    ]


def _absent(models: Mapping[str, str]) -> list[str]:
    """Models that aren't there, or can't do what they are named for."""
    problems = []
    for name, package in models.items():
        try:
            _check_role(name, package)
        except PlaitError as error:
            problems.append(f"models.{name}: {error}")
    return problems


def _check_role(name: str, package: str) -> None:
    """By the package's recipe: no weights are read, and a model of the hub is not looked for."""
    if name == ROUTER and package.startswith(HUB):
        raise UsageError(f"got {package!r}", expected="a plait package")
    if name == ROUTER:
        intents_of(package)
    elif not package.startswith(HUB) and (name, package) != (SPEECH, SHIPPED):
        recipe = read_package(package).recipe
        takes = sorted({spec.modality for spec in recipe.inputs.values()})
        makes = next(iter(recipe.outputs.values())).component.answer_type
        role = ROLES.get(name, OWN)
        if not role.fits(takes, makes):
            raise UsageError(
                f"{package} makes {makes} of {' and '.join(takes)}", expected=str(role)
            )
