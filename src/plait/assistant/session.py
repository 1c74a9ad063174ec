"""What was said so far, with all evidence; one JSON line a turn.

Everything that the assistant remembers (the photo, a question it asked back, the last answer) is
read from the turns, so that a session that was saved goes on as if it had never stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from plait.types import PlaitError
from plait.util.files import write_atomically


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Other(_Line):
    """An answer that was not the best.

    Attributes:
        value: the answer.
        probability: as in `Turn`.
    """

    value: Any
    probability: float


class Found(_Line):
    """A photo that a search found.

    Attributes:
        photo: its path.
        score: cosine similarity, at most 1.
        caption: of the photo, where captions were searched.
    """

    photo: str
    score: float
    caption: str | None = None


class Turn(_Line):
    """A request, its answer, and what the answer goes by.

    Attributes:
        request: what was asked; of a recording, what was heard; where the user has chosen one of
            several meanings, the request that was meant.
        answer: what is said to the user.
        ok: whether it answers; else it asks back, or says what is lacking, wrong or not found.
        photo: the photo spoken of.
        recording: what was listened to, where the request was spoken.
        intent: what was asked for; None where nothing was routed.
        waits: what it lacks, and is answered with as soon as that is given.
        intents: the probability of every intent, the likeliest first.
        choices: the intents among which the user is asked to choose.
        model: who answered: a package or ``hub:NAME``.
        inputs: what it was given.
        value: its answer as it gave it.
        probability: of the answer; where it has steps the geometric mean of theirs.
        steps: the words or word pieces of a sentence; 0 where it was not made step by step.
        alternatives: other answers, best first.
        interval: between which a number is, as often as the model's recipe says.
        shares: each input's share of the answer, for models with several.
        note: what of its text the model can't read.
        found: photos, the best first.
    """

    request: str
    answer: str
    ok: bool = True
    photo: str | None = None
    recording: str | None = None
    intent: str | None = None
    waits: str | None = None
    intents: dict[str, float] = Field(default_factory=dict)
    choices: list[str] = Field(default_factory=list)
    model: str | None = None
    inputs: dict[str, str] = Field(default_factory=dict)
    value: Any = None
    probability: float | None = None
    steps: int = 0
    alternatives: list[Other] = Field(default_factory=list)
    interval: tuple[float, float] | None = None
    shares: dict[str, float] = Field(default_factory=dict)
    note: str | None = None
    found: list[Found] = Field(default_factory=list)


class Session:
    """The turns so far; with a file, each is added to it as soon as it is made."""

    def __init__(self, file: str | Path | None = None) -> None:
        """Goes on with the file's turns where there is one.

        Raises:
            PlaitError: the file can't be read, or holds something else.
        """
        self.file = Path(file) if file is not None else None
        self.turns: list[Turn] = []
        if self.file is not None and self.file.exists():
            self.turns = read_turns(self.file)

    @property
    def photo(self) -> str | None:
        """The photo spoken of."""
        return self.turns[-1].photo if self.turns else None

    @property
    def last(self) -> Turn | None:
        """The last turn: the assistant may have asked back in it."""
        return self.turns[-1] if self.turns else None

    @property
    def answered(self) -> Turn | None:
        """The last turn in which a model answered a request, or a search found photos."""
        return next(filter(_answers, reversed(self.turns)), None)

    def add(self, turn: Turn) -> Turn:
        """Keep a turn."""
        self.turns.append(turn)
        if self.file is not None:
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                with self.file.open("a", encoding="utf-8") as file:
                    file.write(_line(turn))
            except OSError as error:
                raise PlaitError(f"{self.file} can't be written: {error.strerror}") from None
        return turn

    def save(self, path: str | Path) -> None:
        """Write all turns, over what the file held.

        Raises:
            PlaitError: the file can't be written.
        """
        text = "".join(map(_line, self.turns))
        write_atomically(Path(path), lambda part: part.write_text(text, encoding="utf-8"))

    def goes_on(self, path: str | Path) -> bool:
        """Whether a file holds nothing but this session's first turns."""
        kept = "".join(map(_line, self.turns)).encode()
        try:
            with Path(path).open("rb") as file:
                return kept.startswith(file.read(len(kept) + 1))
        except OSError:
            return False


def _answers(turn: Turn) -> bool:
    return turn.value is not None or bool(turn.found)


def _line(turn: Turn) -> str:
    return turn.model_dump_json(exclude_defaults=True) + "\n"


def read_turns(path: Path) -> list[Turn]:
    """The turns of a saved session.

    Raises:
        PlaitError: the file can't be read, or a line is no turn.
    """
    try:
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise PlaitError(f"the session {path} can't be read: {why}") from None
    turns = []
    for number, line in enumerate(filter(None, lines), start=1):
        try:
            turns.append(Turn.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(map(str, first["loc"]))
            raise PlaitError(
                f"line {number} of {path} is no turn of a session: {at} {first['msg']}".strip(),
                expected="a file written by plait chat",
            ) from None
    return turns
