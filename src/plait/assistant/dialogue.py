"""The assistant: requests in, turns out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from plait.assistant import answers, intents
from plait.assistant.answers import PHOTO, RECORDING, TEXT
from plait.assistant.config import ROUTER, SPEECH, load_config
from plait.assistant.intents import CAPTION, NEITHER, NONE, SEARCH, SIMILAR, TRANSLATION
from plait.assistant.phrases import to_translate, unquoted
from plait.assistant.search import PhotoSearch
from plait.assistant.session import Session, Turn
from plait.data.images import IMAGE, open_image
from plait.data.paths import find_file
from plait.model import Model
from plait.render.progress import Progress
from plait.runtime.engines import load
from plait.tasks.transcribers import HUB, Transcriber, open_transcriber, transcribe
from plait.types import PlaitError
from plait.util.arguments import checked

DROPPED = "All right. What else?"
QUOTES, STOPS = "\"'()", ".,;:!?"  # around a path in a sentence


class Assistant:
    """Routes requests to trained packages and remembers the conversation.

    Args:
        source: a YAML file, or what it would hold; None for what ships with plait.
        photos: folder of photos to search, instead of the YAML's.
        session: file of a session to continue; every turn is appended to it.
        progress: called while photos are read for a search.

    Attributes:
        config: which model answers what.
        session: the turns so far.

    Raises:
        UsageError: the YAML has errors.
        PlaitError: the session can't be read.

    Examples:
        >>> assistant = plait.Assistant()
        >>> assistant.say("What is in this photo?", photo="photos/astronaut.jpg").answer
        'A man in a blue shirt is standing on a football.'
    """

    @checked
    def __init__(
        self,
        source: str | Path | Mapping[str, Any] | None = None,
        *,
        photos: str | Path | None = None,
        session: str | Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.config = load_config(source, photos)
        self.session = Session(session)
        self.progress = progress
        self._router: Model = load(self.config.router)
        self._answerers: dict[str, answers.Answerer] = {}

    @checked
    def say(self, request: str, *, photo: str | Path | None = None) -> Turn:
        """Answer a request.

        Args:
            request: in the user's words; it may name the path of a photo.
            photo: what the conversation is about from now on.

        Returns:
            The answer with its evidence; what goes wrong is said in it, too.

        Raises:
            UsageError: the request is not a string.
        """
        return self._turn(request, photo, None)

    def hear(self, recording: str | Path, *, photo: str | Path | None = None) -> Turn:
        """Answer a spoken request, transcribed by the model under ``models.speech``."""
        path = str(Path(recording).expanduser())
        try:
            parts = list(transcribe(self._speech, path))
            text = " ".join(part.text for part in parts).strip()
            if not text:
                raise PlaitError(f"I heard no words in {path}")
            if not any(part.sure for part in parts):
                raise PlaitError(
                    f'I am not sure that I heard words in {path}; they may be "{text}"'
                )
        except PlaitError as error:
            return self._add(Turn(request="", recording=path, answer=str(error), ok=False))
        return self._turn(text, photo, path)

    def show(self, photo: str | Path) -> Turn:
        """Talk about another photo from now on; a request that waited for one is answered."""
        last = self.session.last
        try:
            path = _checked(photo)
        except PlaitError as error:
            return self._add(Turn(request=str(photo), answer=str(error), ok=False))
        if last and last.waits and last.intent:
            return self._add(self._answer(last.intent, last.changed(photo=path)))
        return self._add(Turn(request=str(photo), answer=f"I see {path}.", photo=path))

    def why(self, folder: str | Path = ".") -> Path:
        """Draw the reasons for the last answer: where the model looked for each word, or what each
        part of its inputs contributed.

        Returns:
            The path of the picture, within ``folder``.

        Raises:
            PlaitError: nothing was answered yet, the last answer is a search's, or this model can't
                explain it; one without attention needs captum (the extra ``explain``).
        """
        turn = self.session.answered
        if turn is None or turn.intent is None:
            raise PlaitError("there is no answer to explain yet")
        if turn.found:
            raise PlaitError("a search can't be drawn: it ranks photos by the scores it shows")
        stem = Path(turn.photo or turn.recording or "answer").stem
        return self._answerer(turn.intent).explain(turn.inputs, Path(folder) / stem)

    @property
    def able(self) -> list[str]:
        """The intents that it can answer."""
        names = [name for name in self.config.models if name not in (ROUTER, SPEECH)]
        return names + ([SIMILAR, SEARCH] if self.config.photos and CAPTION in names else [])

    def _turn(self, request: str, photo: str | Path | None, recording: str | None) -> Turn:
        named = None
        for word in request.split():
            path = word.strip(QUOTES).rstrip(QUOTES + STOPS)
            if IMAGE.has_suffix(path):
                request, named = request.replace(word, "this photo").strip(), path
                break
        turn = Turn(request=request, answer="", recording=recording, photo=self.session.photo)
        try:
            for given in (photo, named):
                turn = turn.changed(photo=_checked(given)) if given else turn
        except PlaitError as error:
            return self._add(turn.changed(answer=str(error), ok=False))
        return self._add(self._respond(turn))

    def _respond(self, turn: Turn) -> Turn:
        """Answer the request, or ask back if it is not clear."""
        if not turn.request.strip():
            empty = "The request is empty: ask something like: what is in this photo"
            return turn.changed(answer=empty, ok=False)
        probable = intents.route(self._router, turn.request)
        best = next(iter(probable))
        sure = probable[best] >= self.config.confidence
        last = self.session.last
        if last and last.intent and last.waits == TEXT and not (sure and best == TRANSLATION):
            if intents.choose(turn.request, []) == NEITHER:
                return turn.changed(answer=DROPPED, ok=False)
            turn = turn.changed(intents=last.intents)
            return self._answer(last.intent, turn, unquoted(turn.request))
        offered = last.choices if last else []
        if offered and not (sure and intents.is_new_request(turn.request, best, offered)):
            choice = intents.choose(turn.request, offered)
            if choice == NEITHER:
                return turn.changed(answer=DROPPED, ok=False)
            if last and choice is not None:
                turn = turn.changed(request=last.request, intents=last.intents)
                return self._answer(choice, turn)
        turn, choices = turn.changed(intents=probable), intents.candidates(probable, self.able)
        if choices and not sure:
            return turn.changed(answer=intents.ask_back(choices), choices=choices, ok=False)
        return self._answer(best, turn)

    def _answer(self, name: str, turn: Turn, text: str | None = None) -> Turn:
        """Answer the request as this intent, or say why not; ``text`` was given on demand."""
        turn = turn.changed(intent=name, waits=None, ok=True)
        try:
            return self._answered(name, turn, text)
        except PlaitError as error:
            waits = error.needs if isinstance(error, answers.MissingInput) else None
            return turn.changed(answer=str(error), ok=False, waits=waits)

    def _answered(self, name: str, turn: Turn, text: str | None) -> Turn:
        if name == NONE:
            *others, last = [intents.intent(able).offer for able in self.able] or ["do nothing yet"]
            offers = f"{', '.join(others)} or {last}" if others else last
            return turn.changed(answer=f"I can't do that. I can {offers}.", ok=False)
        if name in (SIMILAR, SEARCH):
            return self._found(name, turn)
        given = {PHOTO: turn.photo, RECORDING: turn.recording, TEXT: text or turn.request}
        if name == TRANSLATION:
            said = (
                answers.sentence(earlier.value)
                for earlier in reversed(self.session.turns)
                if earlier.value is not None and earlier.intent != TRANSLATION
            )
            given[TEXT] = text or to_translate(turn.request, next(said, None))
            given[PHOTO] = turn.photo or ""  # a translator uses a photo if there is one
        turn = self._answerer(name).answer(turn, given)
        doubted = turn.probability is not None and turn.probability < self.config.doubt
        answer = f"perhaps: {turn.answer}" if doubted else turn.answer
        return turn.changed(answer=answer, model=self.config.models[name])

    def _found(self, name: str, turn: Turn) -> Turn:
        search, count = self._search, self.config.found
        if name == SIMILAR:
            found = search.like(answers.require(PHOTO, {PHOTO: turn.photo}), count)
            nothing = f"There is no other photo in {search.folder} to compare with this one."
        else:
            found = search.of(turn.request, count)
            nothing = f"No photo in {search.folder} has a caption with these words."
        text = ", ".join(f"{one.photo} {one.score:.2f}" for one in found)
        model = self.config.models[CAPTION]
        return turn.changed(answer=text or nothing, ok=bool(found), found=found, model=model)

    def _answerer(self, name: str) -> answers.Answerer:
        if name not in self._answerers:
            model = self.config.models.get(name)
            if model is None:
                raise _no_model(intents.intent(name).noun, name)
            hub = model.startswith(HUB)
            kind = answers.HubAnswerer if hub else answers.PackageAnswerer
            self._answerers[name] = kind(model.removeprefix(HUB), self.config.alternatives)
        return self._answerers[name]

    @cached_property
    def _speech(self) -> Transcriber:
        if SPEECH not in self.config.models:
            raise _no_model(SPEECH, SPEECH)
        return open_transcriber(self.config.models[SPEECH])

    @cached_property
    def _search(self) -> PhotoSearch:
        if self.config.photos is None:
            raise PlaitError(
                "I have no photos to search; give their folder with --photos, or as photos in the "
                "YAML"
            )
        captioner = self._answerer(CAPTION)
        if not isinstance(captioner, answers.PackageAnswerer):
            raise PlaitError("a search needs a plait package under models.caption")
        return PhotoSearch(
            self.config.photos, self.config.models[CAPTION], captioner.model, self.config.words,
            self.progress,
        )  # fmt: skip

    def _add(self, turn: Turn) -> Turn:
        """Add a turn to the session, with the photo that the conversation is about."""
        return self.session.add(turn if turn.photo else turn.changed(photo=self.session.photo))


def _no_model(noun: str, name: str) -> PlaitError:
    return PlaitError(f"I have no model for {noun}; add one under models.{name}")


def _checked(photo: str | Path) -> str:
    """A photo's path. Raises BadCell if it can't be opened."""
    open_image(photo, Path())
    found = find_file(photo, Path())
    return str(found if isinstance(found, Path) else photo)
