"""The assistant itself: requests in, turns out.

assistant = plait.Assistant(photos="holidays")
assistant.say("what is in this photo", photo="photo.jpg").answer
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plait.assistant.answers import (
    Answerer,
    Lacking,
    PackageAnswerer,
    no_model,
    require,
    said,
)
from plait.assistant.config import ROUTER, SPEECH, load_config
from plait.assistant.intents import (
    CAPTION,
    NEITHER,
    NONE,
    SEARCH,
    SIMILAR,
    TRANSLATION,
    about,
    chosen,
    is_own,
    meanings,
    question,
    route,
)
from plait.assistant.phrases import to_translate, unquoted
from plait.assistant.search import PhotoSearch
from plait.assistant.session import Session, Turn
from plait.config import registry
from plait.data.images import has_image_suffix, open_image
from plait.model import Model, load
from plait.pipeline.columns import modality_of
from plait.pipeline.features import Progress
from plait.tasks.transcribe import transcribe
from plait.tasks.transcribers import HUB, Transcriber, open_transcriber
from plait.types import PlaitError, UsageError

NOTHING_ASKED = "The request is empty: ask something, such as: what is in this photo"
QUOTES, STOPS = "\"'()", ".,;:!?"  # round a path in a sentence


class Assistant:
    """Routes requests to trained packages, and keeps what was said.

    Attributes:
        config: which model answers what.
        session: the turns so far.
    """

    def __init__(
        self,
        source: str | Path | Mapping[str, Any] | None = None,
        *,
        photos: str | Path | None = None,
        session: str | Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """
        Args:
            source: a YAML, or what it would hold; none is the assistant that ships with plait.
            photos: folder of photos that are searched, before the YAML's.
            session: file to go on with, to which every turn is added.
            progress: called while photos are read for a search.

        Raises:
            UsageError: the YAML has errors.
            PlaitError: the session can't be read.
        """
        self.config = load_config(source, photos)
        self.session = Session(session)
        self.progress = progress
        self._router: Model = load(self.config.router)
        self._answerers: dict[str, Answerer] = {}
        self._speech: Transcriber | None = None
        self._search: PhotoSearch | None = None

    def say(self, request: str, *, photo: str | Path | None = None) -> Turn:
        """The answer to a request.

        Args:
            request: in the user's words; it may name a photo's path.
            photo: spoken of from now on.

        Raises:
            UsageError: the request is no string.
        """
        if not isinstance(request, str):
            raise UsageError(f"the request is {request!r:.60}", expected="a string")
        return self._turn(request, photo, None)

    def hear(self, recording: str | Path, *, photo: str | Path | None = None) -> Turn:
        """The answer to a spoken request, which the model under ``models.speech`` writes down."""
        path = str(Path(recording).expanduser())
        try:
            if SPEECH not in self.config.models:
                raise no_model(SPEECH, SPEECH)
            if self._speech is None:
                self._speech = open_transcriber(self.config.models[SPEECH])
            parts = list(transcribe(self._speech, path))
            heard = " ".join(part.text for part in parts).strip()
            if not heard:
                raise PlaitError(f"I heard no words in {path}")
            if not any(part.sure for part in parts):
                raise PlaitError(f'I am not sure that I heard words in {path}; as of "{heard}"')
        except PlaitError as error:
            return self._keep(Turn(request="", recording=path, answer=str(error), ok=False))
        return self._turn(heard, photo, path)

    def show(self, photo: str | Path) -> Turn:
        """Speak of a photo from now on; a request that waited for one is answered."""
        last = self.session.last
        try:
            path = _seen(photo)
        except PlaitError as error:
            return self._keep(Turn(request=str(photo), answer=str(error), ok=False))
        if last is not None and last.waits and last.intent is not None:
            return self._keep(self._answered(last.intent, last.model_copy(update={"photo": path})))
        return self._keep(Turn(request=str(photo), answer=f"I see {path}.", photo=path))

    def why(self, folder: str | Path = ".") -> Path:
        """Draw what the last answer goes by, into a folder; gives the picture's path: where the
        model looked for each word, or what each part of its inputs did for the answer.

        Raises:
            PlaitError: nothing was answered yet, it was by a search, or it can't be told of this
                model; for one without attention captum is needed (the extra ``explain``).
        """
        turn = self.session.answered
        if turn is None or turn.intent is None:
            raise PlaitError("there is no answer yet to explain")
        if turn.found:
            raise PlaitError("a search has no picture of why: it goes by the score of each photo")
        stem = Path(turn.photo or turn.recording or "answer").stem
        return self._answerer(turn.intent).explain(turn.inputs, Path(folder) / stem)

    @property
    def able(self) -> list[str]:
        """The intents that it can answer."""
        found = [name for name in self.config.models if name not in (ROUTER, SPEECH)]
        searches = [SIMILAR, SEARCH] if self.config.photos and CAPTION in found else []
        return found + searches

    def _turn(self, request: str, photo: str | Path | None, recording: str | None) -> Turn:
        request, named = _named_photo(request)
        asked = Turn(request=request, answer="", recording=recording, photo=self.session.photo)
        try:
            for path in (photo, named):
                asked = asked.model_copy(update={"photo": _seen(path)}) if path else asked
        except PlaitError as error:
            return self._keep(asked.model_copy(update={"answer": str(error), "ok": False}))
        return self._keep(self._routed(asked))

    def _routed(self, asked: Turn) -> Turn:
        """The request answered, or a question back where it is not clear."""
        if not asked.request.strip():
            return asked.model_copy(update={"answer": NOTHING_ASKED, "ok": False})
        probable = route(self._router, asked.request)
        intent = next(iter(probable))
        sure = probable[intent] >= self.config.confidence
        last = self.session.last
        if last and last.waits == "text" and not (sure and intent == TRANSLATION):
            return self._given_text(last, asked)
        if last and last.choices and not (sure and is_own(asked.request, intent, last.choices)):
            choice = chosen(asked.request, last.choices)
            if choice == NEITHER:
                return _let_be(asked)
            if choice is not None:
                kept = {"request": last.request, "intents": last.intents}
                return self._answered(choice, asked.model_copy(update=kept))
        asked = asked.model_copy(update={"intents": probable})
        choices = meanings(probable, self.able)
        if choices and not sure:
            back = {"answer": question(choices), "choices": choices, "ok": False}
            return asked.model_copy(update=back)
        return self._answered(intent, asked)

    def _given_text(self, last: Turn, asked: Turn) -> Turn:
        """The request that waited for a text, answered with what was said now."""
        if last.intent is None or chosen(asked.request, []) == NEITHER:
            return _let_be(asked)
        asked = asked.model_copy(update={"intents": last.intents})
        return self._answered(last.intent, asked, text=unquoted(asked.request))

    def _answered(self, intent: str, asked: Turn, text: str | None = None) -> Turn:
        """The request answered as this intent, or why it can't be; by the text, where one was
        asked for, or else by what the request says."""
        asked = asked.model_copy(update={"intent": intent, "waits": None, "ok": True})
        try:
            return asked.model_copy(update=self._evidence(intent, asked, text))
        except PlaitError as error:
            waits = error.modality if isinstance(error, Lacking) else None
            return asked.model_copy(update={"answer": str(error), "ok": False, "waits": waits})

    def _evidence(self, intent: str, asked: Turn, text: str | None) -> dict[str, Any]:
        """The answer and what it goes by, as fields of a turn."""
        if intent == NONE:
            return {"answer": f"That is nothing I can do. {self._can()}", "ok": False}
        if intent in (SIMILAR, SEARCH):
            return self._found(intent, asked)
        given = _named_files(asked.request)
        given |= {"image": asked.photo, "audio": asked.recording, "text": text or asked.request}
        if intent == TRANSLATION:
            given["text"] = text or to_translate(asked.request, self._told())
            given["image"] = asked.photo or ""  # a photo helps where there is one
        reply = self._answerer(intent).answer(given)
        doubted = reply.probability is not None and reply.probability < self.config.doubt
        answer = f"perhaps: {reply.answer}" if doubted else reply.answer
        return {**vars(reply), "answer": answer, "model": self.config.models[intent]}

    def _told(self) -> str | None:
        """The last answer that is no translation."""
        for turn in reversed(self.session.turns):
            if turn.value is not None and turn.intent != TRANSLATION:
                return said(turn.value)
        return None

    def _found(self, intent: str, asked: Turn) -> dict[str, Any]:
        search, count = self._photo_search(), self.config.found
        if intent == SIMILAR:
            found = search.like(require("image", {"image": asked.photo}), count)
            nothing = f"There is no other photo in {search.folder} to compare with this one."
        else:
            found = search.of(asked.request, count)
            nothing = f"No photo in {search.folder} has a caption with these words."
        text = ", ".join(f"{one.photo} {one.score:.2f}" for one in found)
        return {
            "answer": text or nothing,
            "ok": bool(found),
            "found": found,
            "model": self.config.models[CAPTION],
        }

    def _answerer(self, intent: str) -> Answerer:
        name = self.config.models.get(intent)
        if name is None:
            raise no_model(about(intent).noun, intent)
        if intent not in self._answerers:
            count = self.config.alternatives
            if name.startswith(HUB):
                from plait.assistant.vision import HubAnswerer  # an optional library

                self._answerers[intent] = HubAnswerer(name.removeprefix(HUB), count)
            else:
                self._answerers[intent] = PackageAnswerer(name, count)
        return self._answerers[intent]

    def _photo_search(self) -> PhotoSearch:
        folder = self.config.photos
        if folder is None:
            raise PlaitError(
                "I have no photos to search; name their folder with --photos, or as photos in "
                "the YAML"
            )
        if self._search is None:
            seen = self._answerer(CAPTION)
            if not isinstance(seen, PackageAnswerer):
                raise PlaitError("photos are searched with a plait package under models.caption")
            package = self.config.models[CAPTION]
            self._search = PhotoSearch(
                folder, package, seen.model, self.config.words, self.progress
            )
        return self._search

    def _can(self) -> str:
        *others, last = [about(name).offer for name in self.able] or ["do nothing yet"]
        return f"I can {', '.join(others)} or {last}." if others else f"I can {last}."

    def _keep(self, turn: Turn) -> Turn:
        """The turn, with the photo spoken of."""
        if turn.photo is None:
            turn = turn.model_copy(update={"photo": self.session.photo})
        return self.session.add(turn)


def _let_be(asked: Turn) -> Turn:
    """What was asked back is not wanted."""
    return asked.model_copy(update={"answer": "All right. What else?", "ok": False})


def _seen(photo: str | Path) -> str:
    """A photo's path. Raises BadCell where it can't be opened."""
    path = str(Path(photo).expanduser())
    open_image(path, Path())
    return path


def _named_files(request: str) -> dict[str, str | None]:
    """The files that a request names, by the modality that recognises them; None of the others."""
    found: dict[str, str | None] = dict.fromkeys(registry.modalities())
    for word in request.split():
        path = word.strip(QUOTES).rstrip(QUOTES + STOPS)
        if kind := modality_of(path):
            found[kind] = path
    return {kind: path for kind, path in found.items() if registry.modality(kind).facts.request}


def _named_photo(request: str) -> tuple[str, str | None]:
    """A request without the path of the photo that it names, and that path."""
    for word in request.split():
        path = word.strip(QUOTES).rstrip(QUOTES + STOPS)
        if has_image_suffix(path):
            return request.replace(word, "this photo").strip(), path
    return request, None
