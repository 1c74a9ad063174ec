"""What an assistant is made of: a small YAML, checked as a whole before any model is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from plait.assistant.answers import PHOTO, RECORDING, TEXT
from plait.assistant.intents import CAPTION, QUESTION, TRANSLATION, WITHOUT_MODEL, intents_of
from plait.assistant.search import Words
from plait.config.recipe import problem_lines, together
from plait.package.format import read_package
from plait.tasks.transcribers import HUB, SHIPPED
from plait.types import PlaitError, UsageError
from plait.util.files import is_folder
from plait.util.suggest import did_you_mean

ROUTER, SPEECH = "intents", "speech"
"""Models that answer nothing themselves: one classifies requests, one transcribes speech."""


class Role(NamedTuple):
    """The models that fit an intent: what they need, what they use as well if it is given (both
    modalities), and the kind of their first output; None for any."""

    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    makes: str | None = None


ROLES: Mapping[str, Role] = {
    CAPTION: Role(needs=(PHOTO,), makes="text"),
    QUESTION: Role(needs=(PHOTO, TEXT)),
    TRANSLATION: Role(needs=(TEXT,), may=(PHOTO,), makes="text"),
    SPEECH: Role(needs=(RECORDING,), makes="text"),
}
OWN = Role(may=(PHOTO, TEXT, RECORDING))
"""The role of an intent that only the user's own package knows."""


class AssistantConfig(BaseModel):
    """Which model answers what, and how certain the assistant must be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: Annotated[
        dict[str, str],
        Field(
            description="intent -> the package that answers it, or hub:NAME; also intents: the "
            "package that classifies requests, and speech: the model that transcribes recordings"
        ),
    ] = {"caption": "captioner", SPEECH: SHIPPED}
    confidence: Annotated[
        float, Field(ge=0, le=1, description="ask back if the intent is less probable than this")
    ] = 0.7
    doubt: Annotated[
        float, Field(ge=0, le=1, description='say "perhaps" if the answer is less probable')
    ] = 0.5
    photos: Annotated[Path | None, Field(description="folder of photos to search")] = None
    words: Annotated[Words, Field(description="how words are compared with captions")] = "tf-idf"
    found: Annotated[int, Field(ge=1, le=100, description="photos that a search returns")] = 5
    alternatives: Annotated[
        int, Field(ge=0, le=20, description="other answers to show with each answer")
    ] = 2

    @property
    def router(self) -> str:
        """The package that classifies requests."""
        return self.models.get(ROUTER, ROUTER)


def load_config(
    source: str | Path | Mapping[str, Any] | None, photos: str | Path | None = None
) -> AssistantConfig:
    """A checked configuration; without a source, of what ships with plait.

    Args:
        source: a YAML file, whose relative paths start at its own folder, or what it would hold.
        photos: folder of photos, instead of the source's.

    Raises:
        UsageError: it has errors; the message has a line for each.
    """
    file = Path(source) if isinstance(source, (str, Path)) else None
    raw = _read(file) if file else source if isinstance(source, Mapping) else {}
    root = file.parent if file else Path()
    if photos is None:
        return _check(raw, root)
    folder = Path(photos).expanduser()
    return _check({**raw, "photos": folder.absolute()}, root).model_copy(update={"photos": folder})


def _read(path: Path) -> Mapping[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"there is no assistant {path}", expected="a YAML file") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"can't read {path} as YAML: {reason}") from None
    if not isinstance(raw, Mapping):
        raise UsageError(f"{path} is not an assistant", expected="a mapping with 'models'")
    return raw


def _check(raw: Mapping[str, Any], root: Path) -> AssistantConfig:
    """The configuration, with relative paths starting at ``root``."""
    problems: list[str] = []
    try:
        config = AssistantConfig.model_validate(raw)
    except ValidationError as error:
        problems = problem_lines(error, AssistantConfig, "")
        wrong = {item["loc"][0] for item in error.errors()}
        rest = {name: raw[name] for name in {"models", "photos"} - wrong if name in raw}
        config = AssistantConfig.model_validate(rest)  # so that all errors are reported together
    models = {}
    for name, model in config.models.items():
        prefix = HUB if model.startswith(HUB) else ""
        path = root / model.removeprefix(prefix)
        models[name] = f"{prefix}{path}" if is_folder(path) else model
    intents = [CAPTION, QUESTION, TRANSLATION]
    with suppress(PlaitError):  # `_check_role` reports it
        intents = intents_of(models.get(ROUTER, ROUTER))
    known = [ROUTER, SPEECH, *(name for name in intents if name not in WITHOUT_MODEL)]
    for name in (name for name in models if name not in known):
        hint = did_you_mean(name, known)
        problems.append(f"models.{name}: unknown; accepted: {', '.join(known)}. {hint}".strip())
    for name, package in models.items():
        try:
            _check_role(name, package)
        except PlaitError as error:
            problems.append(f"models.{name}: {error}")
    photos = config.photos and root / config.photos
    if photos and not is_folder(photos):
        problems.append(f"photos: got {str(config.photos)!r}; expected a folder")
    if problems:
        raise UsageError(together("the assistant", problems))
    return config.model_copy(update={"models": models, "photos": photos})


def _check_role(name: str, package: str) -> None:
    """By the package's recipe alone: no weights are read, and the Hub is not asked."""
    if name == ROUTER:
        if package.startswith(HUB):
            raise UsageError(f"got {package!r}", expected="a plait package")
        intents_of(package)
    elif not package.startswith(HUB) and (name, package) != (SPEECH, SHIPPED):
        recipe, (needs, may, makes) = read_package(package).recipe, ROLES.get(name, OWN)
        takes = sorted({spec.modality for spec in recipe.inputs.values()})
        made = next(iter(recipe.outputs.values())).component.answer_type
        if set(needs) <= set(takes) <= {*needs, *may} and makes in (None, made):
            return
        perhaps = ", perhaps with " if needs and may else ""
        inputs = f"{' and '.join(needs)}{perhaps}{' or '.join(may)}"
        raise UsageError(
            f"{package} makes {made} from {' and '.join(takes)}",
            expected=f"a model that makes {makes or 'an answer'} from {inputs}",
        )
