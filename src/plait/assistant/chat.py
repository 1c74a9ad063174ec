"""The assistant in a terminal: requests in, answers and their evidence out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from plait.assistant.answers import TEXT, sentence
from plait.assistant.dialogue import Assistant
from plait.assistant.session import Turn
from plait.data.images import IMAGE
from plait.data.recordings import SOUND
from plait.data.video import VIDEO
from plait.render.console import console, errors
from plait.render.progress import Progress, ProgressLines
from plait.tasks.translate import SHOWN
from plait.types import PlaitError, UsageError
from plait.util.files import is_file
from plait.util.suggest import did_you_mean

PROMPT = "> "
SPEAKER = "espeak-ng"
LEAVE = {"/quit", "/exit", "quit", "exit", "bye", "goodbye"}
LEAST = 0.05  # probability of an alternative that is worth showing
HELP = """\
Ask in your own words:
  what is in this photo            a caption
  how many dogs are there          an answer, if there is a model for questions
  translate it                     the last answer, if there is a model for translation
  find photos like this            by how they look
  find photos of a dog on a beach  by their captions
Commands:
  PATH, /photo PATH   talk about this photo from now on
  /hear PATH          answer a request in a recording
  /why [FOLDER]       draw the reasons for the last answer
  /save FILE          write the conversation as JSON lines
  /help
  /quit, or quit, exit, bye"""


def reading_progress() -> Progress:
    """Shows how many photos are read: on a terminal one line that is overwritten each time,
    elsewhere a line now and then."""
    return _overwrite if sys.stderr.isatty() else ProgressLines(sys.stderr)


def _overwrite(what: str, done: int, total: int) -> None:
    line = f"{what}: {done} of {total}"
    errors.print(" " * len(line) if done == total else line, end="\r")


class Terminal:
    """Reads requests and commands, and shows turns."""

    def __init__(self, assistant: Assistant, speak: bool, as_json: bool) -> None:
        """``speak``: also speak answers; ``as_json``: show each turn as a line of JSON."""
        self.assistant, self.as_json = assistant, as_json
        self.speaker = shutil.which(SPEAKER) if speak else None
        if speak and self.speaker is None:
            errors.print(f"{SPEAKER} is not installed: answers are not spoken")
        self._commands: dict[str, Callable[[str], None]] = {
            "/photo": lambda path: self.show(self.assistant.show(_path("/photo", path))),
            "/hear": lambda path: self.show(self.assistant.hear(_path("/hear", path))),
            "/why": self.why,
            "/save": lambda path: self._save(_path("/save", path)),
            "/help": lambda _: self._note(HELP),
        }

    def converse(self, photo: Path | None = None) -> None:
        """Until the input ends or the user leaves."""
        with suppress(ImportError):
            import readline  # noqa: F401  (lines can be edited and recalled)
        if sys.stdin.isatty() and not self.as_json:
            self._note("Give the path of a photo and ask about it. /help lists what else I can do.")
        if photo is not None:
            self.show(self.assistant.show(photo))
        for line in _lines():
            last = self.assistant.session.last
            word = line.lower().rstrip(".!")
            # "bye" may also be the text that was asked for.
            if word in LEAVE and (word.startswith("/") or not (last and last.waits == TEXT)):
                break
            try:
                self._do(line)
            except PlaitError as error:
                self._note(str(error))

    def _do(self, line: str) -> None:
        path = as_path(line)
        command, _, rest = line.partition(" ")
        if path is not None:
            hear = _is_heard(path)
            self.show(self.assistant.hear(path) if hear else self.assistant.show(path))
        elif command in self._commands:
            self._commands[command](_unquoted(rest))
        elif command.startswith("/"):
            known = [*self._commands, "/quit"]
            raise PlaitError(
                f"there is no command {command}", expected=f"one of: {', '.join(known)}",
                hint=did_you_mean(command, known),
            )  # fmt: skip
        else:
            self.show(self.assistant.say(line))

    def show(self, turn: Turn) -> None:
        """Show an answer and its evidence, and speak it."""
        if self.as_json:
            print(turn.model_dump_json(), flush=True)
            return
        if turn.recording and turn.request:
            console.print(f"heard: {turn.request}", style="dim", soft_wrap=True)
        for place, found in enumerate(turn.found, start=1):
            caption = f"  {sentence(found.caption)}" if found.caption else ""
            console.print(f"{place}. {found.photo}  {found.score:.2f}{caption}", soft_wrap=True)
        if not turn.found:
            console.print(turn.answer, style=None if turn.ok else "yellow", soft_wrap=True)
        for line in evidence(turn):
            console.print(f"  {line}", style="dim", soft_wrap=True)
        if self.speaker and (complaint := _speak(self.speaker, turn.answer)):
            errors.print(f"{SPEAKER} failed: {complaint}; answers are no longer spoken")
            self.speaker = None

    def why(self, folder: str) -> None:
        """Draw the reasons for the last answer."""
        path = self.assistant.why(folder or ".")
        if self.as_json:
            print(json.dumps({"why": str(path)}), flush=True)
        else:
            self._note(f"drawn to {path}")

    def _save(self, file: str) -> None:
        """Save the session, but never over anything else."""
        session, path = self.assistant.session, Path(file)
        if path.exists() and not (is_file(path) and session.continues(path)):
            raise UsageError(f"{file} exists and holds something else", expected="a new name")
        session.save(path)
        count = len(session.turns)
        self._note(f"{count} turn{'s' if count != 1 else ''} written to {file}")

    def _note(self, text: str) -> None:
        """Something that is not part of the conversation."""
        (errors if self.as_json else console).print(text, style="dim", soft_wrap=True)


def evidence(turn: Turn) -> Iterator[str]:
    """The evidence for an answer in a few short lines."""
    parts = []
    of = " likely right" if turn.calibrated else " per word" if turn.steps else ""
    if turn.intent is not None and turn.intents:
        parts.append(f"{turn.intent} {turn.intents[turn.intent]:.0%}")
    if turn.model is not None:
        parts.append(f"by {turn.model}")
    if turn.probability is not None:
        parts.append(f"{turn.probability:.0%}{of}")
    if turn.interval is not None:
        low, high = map(sentence, turn.interval)
        parts.append(f"between {low} and {high}")
    if parts:
        yield ", ".join(parts)
    for value in turn.inputs.values():
        if value not in (turn.request, turn.photo, turn.recording):
            yield f'input: "{textwrap.shorten(value, SHOWN, placeholder="...")}"'
    if turn.note is not None:
        yield f"note: {turn.note}"
    for other in turn.alternatives:
        if other.probability >= LEAST:
            yield f"or: {sentence(other.value)} {other.probability:.0%}{of}"
    if turn.shares:
        shares = (f"{name} {share:+.2f}" for name, share in turn.shares.items())
        yield f"contributions: {', '.join(shares)}"


def _lines() -> Iterator[str]:
    """The lines that the user types, without empty ones."""
    prompt = PROMPT if sys.stdin.isatty() else ""
    with suppress(EOFError):
        while True:
            if line := input(prompt).strip():
                yield line


def _speak(speaker: str, text: str) -> str:
    """Speak a text; returns what went wrong, if anything."""
    try:
        done = subprocess.run(
            [speaker, "--stdin"], input=text.encode(), capture_output=True, check=False
        )
    except OSError as error:
        return error.strerror or "it can't be run"
    lines = done.stderr.decode(errors="replace").splitlines()
    # Without a sound device, the exit code is still 0.
    wrong = [line for line in lines if line.lower().startswith("error")]
    return wrong[-1] if wrong else f"exit code {done.returncode}" if done.returncode else ""


def _unquoted(text: str) -> str:
    """A path as typed or dropped into a terminal, where it is quoted or its spaces are escaped."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text.replace("\\ ", " ")


def _path(command: str, path: str) -> str:
    if not path:
        raise UsageError(f"{command} needs a path")
    return path


def _is_heard(path: str) -> bool:
    return SOUND.has_suffix(path) or VIDEO.has_suffix(path)


def as_path(line: str) -> str | None:
    """The path if a line is nothing else: a file, or one word with the suffix of a photo or a
    recording."""
    path = _unquoted(line)
    if is_file(Path(path).expanduser()):
        return path
    media = IMAGE.has_suffix(path) or _is_heard(path)
    return path if media and len(path.split()) == 1 else None
