"""The conversation so far with all evidence, saved as one JSON line for each turn.

All that the assistant remembers (the photo, a question that it asked, its last answer) is read from
the turns, so a saved session continues as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from plait.types import PlaitError
from plait.util.files import write_atomically

DIGITS = 4  # of probabilities and scores


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
        caption: of the photo, if captions were searched.
    """

    photo: str
    score: float
    caption: str | None = None


class Turn(_Line):
    """A request, its answer, and the evidence for it.

    Attributes:
        request: what the user asked: the text of a spoken request; the original request if the user
            has just chosen one of its meanings.
        answer: what the assistant says.
        ok: whether that answers the request; False if the assistant asks back, needs something, or
            reports that something is wrong or was not found.
        photo: the photo that the conversation is about.
        recording: the recording of a spoken request.
        intent: what the request asks for; None if it was not classified.
        waits: what the request waits for, ``image`` or ``text``: it is answered once that is given.
        intents: the probability of every intent, the most probable first.
        choices: the intents that the user is asked to choose from.
        model: who answered: a package or ``hub:NAME``.
        inputs: what the model was given.
        value: the model's answer, as it gave it.
        probability: of the answer; for a text that was not ``calibrated``, the geometric mean over
            its words.
        calibrated: whether it is the probability that the answer is right, as fitted to validation
            records.
        steps: words or word pieces of a text; 0 for an answer that was not made step by step.
        alternatives: other answers, best first.
        interval: low and high end of a number's interval.
        shares: the contribution of each input, for models with several.
        note: which part of its text the model can't read.
        found: photos, best first.
    """

    request: str
    answer: str
    ok: bool = True
    photo: str | None = None
    recording: str | None = None
    intent: str | None = None
    waits: str | None = None
    intents: dict[str, float] = {}
    choices: list[str] = []
    model: str | None = None
    inputs: dict[str, str] = {}
    value: Any = None
    probability: float | None = None
    calibrated: bool = False
    steps: int = 0
    alternatives: list[Other] = []
    interval: tuple[float, float] | None = None
    shares: dict[str, float] = {}
    note: str | None = None
    found: list[Found] = []

    def changed(self, **fields: Any) -> Turn:
        """A copy with some fields changed."""
        return self.model_copy(update=fields)


class Session:
    """The turns so far; with a file, each new turn is appended to it."""

    def __init__(self, file: str | Path | None = None) -> None:
        """Continues with the file's turns if it exists.

        Raises:
            PlaitError: the file can't be read, or is not a session.
        """
        self.file = Path(file) if file is not None else None
        self.turns: list[Turn] = []
        if self.file is None or not self.file.exists():
            return
        try:
            lines = self.file.read_text(encoding="utf-8").rstrip("\n").split("\n")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise PlaitError(f"can't read the session {self.file}: {reason}") from None
        for number, line in enumerate(filter(None, lines), start=1):
            try:
                self.turns.append(Turn.model_validate_json(line))
            except ValidationError as error:
                first = error.errors()[0]
                field = ".".join(map(str, first["loc"]))
                raise PlaitError(
                    f"line {number} of {self.file} is not a turn: {field} {first['msg']}",
                    expected="a file written by plait chat",
                ) from None

    @property
    def last(self) -> Turn | None:
        """The last turn, in which the assistant may have asked back."""
        return self.turns[-1] if self.turns else None

    @property
    def photo(self) -> str | None:
        """The photo that the conversation is about."""
        return self.last.photo if self.last else None

    @property
    def answered(self) -> Turn | None:
        """The last turn in which a model answered or a search found photos."""
        turns = (turn for turn in reversed(self.turns) if turn.value is not None or turn.found)
        return next(turns, None)

    def add(self, turn: Turn) -> Turn:
        """Add a turn, also to the file."""
        self.turns.append(turn)
        if self.file is not None:
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                with self.file.open("a", encoding="utf-8") as file:
                    file.write(_lines([turn]))
            except OSError as error:
                raise PlaitError(f"can't write {self.file}: {error.strerror}") from None
        return turn

    def save(self, path: str | Path) -> None:
        """Write all turns to a file, in place of what it held.

        Raises:
            PlaitError: the file can't be written.
        """
        write_atomically(Path(path), _lines(self.turns))

    def continues(self, path: str | Path) -> bool:
        """Whether a file holds nothing but the first turns of this session."""
        whole = _lines(self.turns).encode()
        try:
            with Path(path).open("rb") as file:
                return whole.startswith(file.read(len(whole) + 1))
        except OSError:
            return False


def _lines(turns: Iterable[Turn]) -> str:
    """Turns as lines of a saved session."""
    return "".join(f"{turn.model_dump_json(exclude_defaults=True)}\n" for turn in turns)
