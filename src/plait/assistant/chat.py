"""The assistant in a terminal: lines in, answers with their evidence out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from plait.assistant.answers import said
from plait.assistant.dialogue import Assistant
from plait.assistant.session import Turn
from plait.data.audio import has_sound_suffix
from plait.data.images import has_image_suffix
from plait.render.console import console, errors
from plait.tasks.translate import SHOWN
from plait.types import PlaitError, UsageError
from plait.util.files import is_file
from plait.util.suggest import did_you_mean

PROMPT = "> "
SPEAKER = "espeak-ng"
LEAVE = {"/quit", "/exit", "quit", "exit", "bye", "goodbye"}
LEAST = 0.05  # probability of another intent or answer that is worth showing
HELP = """\
Ask in your own words:
  what is in this photo            a caption
  how many dogs are there          an answer, where there is a model for questions
  translate it                     the last answer, where there is a model for translation
  find photos like this            by how they look
  find photos of a dog on a beach  by what their captions say
Commands:
  PATH, /photo PATH   speak of this photo from now on
  /hear PATH          listen to a request in a recording
  /why [FOLDER]       draw what the last answer goes by
  /save FILE          write what was said, as JSON lines
  /help
  /quit, or quit, exit, bye"""


def chat(
    source: Path | None,
    *,
    say: str | None,
    hear: Path | None,
    photo: Path | None,
    photos: Path | None,
    why: Path | None,
    session: Path | None,
    speak: bool,
    as_json: bool,
) -> int:
    """Talk until the input ends, or answer one request; gives the exit code."""
    if say is not None and hear is not None:
        raise UsageError("--say and --hear are two requests", expected="one of them")
    if why is not None and say is None and hear is None:
        raise UsageError(
            "--why draws what one answer goes by",
            expected="--say or --hear",
            hint="in a talk type /why",
        )
    assistant = Assistant(source, photos=photos, session=session, progress=_progress)
    terminal = Terminal(assistant, speak, as_json)
    if say is None and hear is None:
        return terminal.talk(photo)
    if hear is not None:
        turn = assistant.hear(hear, photo=photo)
    else:
        turn = assistant.say(say or "", photo=photo)
    terminal.show(turn)
    if why is not None and turn.ok:
        terminal.why(str(why))
    return 0 if turn.ok else 1


def _progress(what: str, done: int, total: int) -> None:
    """One line that is written over, on a terminal's error stream."""
    if sys.stderr.isatty():
        line = f"{what}: {done} of {total}"
        errors.print(" " * len(line) if done == total else line, end="\r")


class Terminal:
    """Reads requests and commands, and shows turns."""

    def __init__(self, assistant: Assistant, speak: bool, as_json: bool) -> None:
        """``speak``: also say answers aloud; ``as_json``: a turn is a line of JSON."""
        self.assistant, self.as_json = assistant, as_json
        self.speaker = shutil.which(SPEAKER) if speak else None
        if speak and self.speaker is None:
            errors.print(f"{SPEAKER} is not installed: answers are written only")
        self._commands: dict[str, Callable[[str], None]] = {
            "/photo": lambda path: self.show(self.assistant.show(wanted("/photo", path))),
            "/hear": lambda path: self.show(self.assistant.hear(wanted("/hear", path))),
            "/why": self.why,
            "/save": lambda file: self._save(wanted("/save", file)),
            "/help": lambda _: self._tell(HELP),
        }

    def talk(self, photo: Path | None = None) -> int:
        """Until the input ends or the user leaves."""
        with suppress(ImportError):
            import readline  # noqa: F401  (lines can be edited and called back)
        if sys.stdin.isatty() and not self.as_json:
            self._tell("Give a photo's path and ask about it; /help says what else.")
        if photo is not None:
            self.show(self.assistant.show(photo))
        for line in _lines():
            if self._leaves(line):
                break
            try:
                self._line(line)
            except PlaitError as error:
                self._tell(str(error))
        return 0

    def _leaves(self, line: str) -> bool:
        """Whether the user goes; "bye" may also be the text that was asked for."""
        last = self.assistant.session.last
        waits = last is not None and last.waits == "text"
        said = line.lower().rstrip(".!")
        return said in LEAVE and (said.startswith("/") or not waits)

    def show(self, turn: Turn) -> None:
        """An answer and what it goes by."""
        if self.as_json:
            print(turn.model_dump_json(), flush=True)
            return
        if turn.recording and turn.request:
            console.print(f"heard: {turn.request}", style="dim", soft_wrap=True)
        if turn.found:
            for place, found in enumerate(turn.found, start=1):
                caption = f"  {said(found.caption)}" if found.caption else ""
                console.print(f"{place}. {found.photo}  {found.score:.2f}{caption}", soft_wrap=True)
        else:
            style = None if turn.ok else "yellow"
            console.print(turn.answer, style=style, soft_wrap=True)
        for line in evidence(turn):
            console.print(f"  {line}", style="dim", soft_wrap=True)
        self._speak(turn.answer)

    def _speak(self, text: str) -> None:
        """Say it aloud; where that fails say so, and try no more."""
        if self.speaker is None:
            return
        if complaint := spoken(self.speaker, text):
            errors.print(f"{SPEAKER} can't speak: {complaint}; answers are written only")
            self.speaker = None

    def _line(self, line: str) -> None:
        """A path alone, a command, or a request."""
        path = as_path(line)
        command, _, rest = line.partition(" ")
        if path is not None and has_sound_suffix(path):
            self.show(self.assistant.hear(path))
        elif path is not None:
            self.show(self.assistant.show(path))
        elif command in self._commands:
            self._commands[command](unquoted(rest))
        elif command.startswith("/"):
            known = [*self._commands, "/quit"]
            raise PlaitError(
                f"there is no command {command}",
                expected=f"one of: {', '.join(known)}",
                hint=did_you_mean(command, known),
            )
        else:
            self.show(self.assistant.say(line))

    def why(self, folder: str) -> None:
        """Draw what the last answer goes by."""
        path = self.assistant.why(folder or ".")
        if self.as_json:
            print(json.dumps({"why": str(path)}), flush=True)
        else:
            self._tell(f"what the answer goes by: {path}")

    def _save(self, file: str) -> None:
        """Never over anything else."""
        session = self.assistant.session
        if Path(file).exists() and not (is_file(Path(file)) and session.goes_on(file)):
            raise UsageError(
                f"{file} is there already and holds something else", expected="a new name"
            )
        session.save(file)
        self._tell(f"{len(session.turns)} turns written to {file}")

    def _tell(self, text: str) -> None:
        """A word of the program's own, which is no turn."""
        (errors if self.as_json else console).print(text, style="dim", soft_wrap=True)


def _lines() -> Iterator[str]:
    """What is typed, line by line, without empty ones."""
    prompt = PROMPT if sys.stdin.isatty() else ""
    with suppress(EOFError):
        while True:
            line = input(prompt).strip()
            if line:
                yield line


def spoken(speaker: str, text: str) -> str:
    """Say a text aloud; gives why it could not be, else an empty string."""
    try:
        done = subprocess.run(
            [speaker, "--stdin"], input=text.encode(), capture_output=True, check=False
        )
    except OSError as error:
        return error.strerror or "it can't be run"
    lines = done.stderr.decode(errors="replace").splitlines()
    # Without a sound device its exit code is 0 all the same.
    wrong = [line for line in lines if line.lower().startswith("error")]
    return wrong[-1] if wrong else f"exit code {done.returncode}" if done.returncode else ""


def unquoted(text: str) -> str:
    """A path as it is typed or dropped into a terminal: quoted, or its spaces escaped."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text.replace("\\ ", " ")


def wanted(command: str, path: str) -> str:
    """The path that a command was given. Raises UsageError where there is none."""
    if not path:
        raise UsageError(f"{command} wants a path")
    return path


def as_path(line: str) -> str | None:
    """The path, where a line is nothing else: of a file, or a word that ends as photos and
    recordings do."""
    path = unquoted(line)
    if is_file(Path(path).expanduser()):
        return path
    media = has_image_suffix(path) or has_sound_suffix(path)
    return path if media and len(path.split()) == 1 else None


def evidence(turn: Turn) -> Iterator[str]:
    """What an answer goes by, in a few short lines."""
    parts, word = [], " a word" if turn.steps else ""
    if turn.intent is not None and turn.intents:
        parts.append(f"{turn.intent} {turn.intents[turn.intent]:.0%}")
    if turn.model is not None:
        parts.append(f"by {turn.model}")
    if turn.probability is not None:
        parts.append(f"{turn.probability:.0%}{word}")
    if turn.interval is not None:
        parts.append(f"between {said(turn.interval[0])} and {said(turn.interval[1])}")
    if parts:
        yield ", ".join(parts)
    told = (turn.request, turn.photo, turn.recording)
    for value in turn.inputs.values():
        if value not in told:
            yield f'of: "{textwrap.shorten(value, SHOWN, placeholder="...")}"'
    if turn.note is not None:
        yield f"note: {turn.note}"
    for other in turn.alternatives:
        if other.probability >= LEAST:
            yield f"or: {said(other.value)} {other.probability:.0%}{word}"
    if turn.shares:
        yield "share of " + ", ".join(f"{name} {share:+.2f}" for name, share in turn.shares.items())
