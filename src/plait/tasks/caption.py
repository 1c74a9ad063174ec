"""What the command ``caption`` does: photos, folders of photos and videos in, captions out. They
are printed or written as CSV or JSON, and drawn below the photos or written into them.

Of a video, each scene is captioned: some of its frames are, and the caption that agrees most with
the others is the scene's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, islice, tee
from pathlib import Path
from typing import Any, TypeAlias

import cv2

from plait.data.cells import Collected, ErrorPolicy, check_policy, name_cell
from plait.data.descriptions import ORIGINAL, check_writer, has_place, write_description
from plait.data.images import find_images, open_shown
from plait.data.paths import WebAddress
from plait.data.readers import is_table_name
from plait.data.video import VIDEO as VIDEO_FILE
from plait.data.video import find_scenes
from plait.model import Model
from plait.outputs.base import DOUBTFUL
from plait.render.captioned import captioned
from plait.render.progress import Progress, reported
from plait.runtime.engines import load
from plait.tasks.predict import Answers, PredictSettings, Row, show_failures, to_json, writer
from plait.tasks.wording import alternative_texts, most_agreed, sensible, varied
from plait.types import Alternative, BadCell, Prediction, UsageError
from plait.util.files import write_atomically

PHOTO, VIDEO = "image", "video"
"""The titles of photos and videos in CSV and JSON; the first is the modality that is captioned."""
PLAIN, ALT = "plain", "alt"
STYLES = (PLAIN, ALT)
SIDE = 1200  # pixels of a picture's longer side
MOST_NAMED = 5  # photos in a message
DRAWS, MOST_DRAWS = 8, 64  # samples drawn for each that is wanted, as some are alike; at once
DARING, HOTTEST = (1.25, 1.5), 100.0
"""How many times the temperature samples are drawn again where too few differ, and its limit."""


@dataclass(frozen=True)
class CaptionSettings(PredictSettings):
    """How photos are captioned, and where the captions go."""

    style: str = PLAIN
    explain: Path | None = None  # a folder for pictures of where each word looked
    pictures: Path | None = None  # a folder for pictures of the photos with their captions
    write_metadata: bool = False  # write the captions into the photos
    overwrite: bool = False  # even if they have a description
    sure: float | None = None  # the least confidence of a caption that is not marked

    @property
    def least(self) -> float:
        """The same, or the usual one."""
        return DOUBTFUL if self.sure is None else self.sure


@dataclass(frozen=True)
class Shot:
    """A photo, or a scene of a video.

    Attributes:
        file: the photo's or the video's.
        cell: what the model saw; of a scene, one frame as the bytes of an image.
        span: the scene's start and end in seconds; None for a video that can't be read.
        sure: whether the best caption of each output is likely enough to be right; None if none
            has a confidence.
    """

    file: str | Path
    cell: Any
    span: tuple[float, float] | None = None
    sure: bool | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What identifies it in CSV and JSON."""
        identity: dict[str, Any] = {VIDEO if _is_video(self.file) else PHOTO: str(self.file)}
        if self.span is not None:
            identity |= zip(("start", "end"), (round(time, 2) for time in self.span), strict=True)
        return identity if self.sure is None else identity | {"sure": self.sure}

    @property
    def when(self) -> str:
        """When a scene begins and ends; empty for a photo."""
        return "-".join(map(clock, self.span or ()))

    @property
    def title(self) -> str:
        """What it is called where captions are printed."""
        return f"{self.file} {self.when}" if self.span else str(self.file)


Captioned: TypeAlias = tuple[Shot, Answers | None]
"""A shot and its captions; None if it can't be used."""


def caption_photos(
    paths: Sequence[str | Path],
    model_name: str,
    settings: CaptionSettings,
    progress: Progress | None = None,
) -> None:
    """Caption photos, folders of photos, and videos. Raises UsageError if there is no photo or no
    such model, or the model takes something else, and PlaitError if a file can't be used and the
    policy is ``stop``."""
    _check(paths, model_name, settings)
    policy = ErrorPolicy(check_policy(settings.on_bad), in_table=False)
    model, files = load(model_name, settings.engine), find_images(paths)
    if not files:
        raise UsageError("no photo in " + ", ".join(map(str, paths)))
    wording = _wording(model, settings)
    if settings.sure is not None:
        _check_calibrated(model, wording.options)
    if settings.write_metadata and settings.on_bad == "stop":
        _check_places(files)
    outputs, out = model.parts.outputs, settings.out
    write = writer(out, outputs) if out else None
    if list(model.inputs.values()) != [PHOTO]:
        raise UsageError(
            f"the model {model.name!r} takes {', '.join(model.inputs)}",
            expected="a model with one input, a photo",
            hint="use plait predict MODEL TABLE",
        )
    shots = _chosen(_captioned(files, model, wording.options, policy, progress), model, wording)
    shots = _marked(shots, model, settings.least)
    if settings.explain is not None:
        shots = _explained(shots, model, settings.explain)
    if settings.pictures is not None:
        shots = _drawn(shots, model, settings.pictures, settings.least)
    if settings.write_metadata:
        shots = _described(shots, settings, policy)
    if write is None and not settings.as_json:
        for shot, answers in shots:
            _print(shot, answers or {}, model, settings.least)
    elif write is None:
        print(to_json([(shot.identity, answers) for shot, answers in shots], outputs))
    else:
        rows: list[Row] = []
        try:
            rows.extend((shot.identity, answers) for shot, answers in shots)
        finally:  # what was captioned before an error is not lost
            if rows:
                what = "photos and scenes" if any(map(_is_video, files)) else "photos"
                print(f"{write(rows)} of {len(rows)} {what} captioned, written to {out}")
    show_failures(policy)


def _check(paths: Sequence[str | Path], model_name: str, settings: CaptionSettings) -> None:
    """Raises UsageError for what can be seen to be wrong before anything is loaded."""
    for path in paths:
        if is_table_name(str(path)):
            raise UsageError(
                f"{path} is not a photo", expected="photos, folders of photos, or videos",
                hint=f"for the rows of a table: plait predict {model_name} {path}",
            )  # fmt: skip
    if settings.style not in STYLES:
        raise UsageError(f"there is no style {settings.style!r}", expected=" or ".join(STYLES))
    if settings.overwrite and not settings.write_metadata:
        raise UsageError("--overwrite has no effect without --write-metadata", expected="both")
    if settings.write_metadata:
        check_writer()
        if any(map(_is_video, paths)):
            raise UsageError("--write-metadata can't write into videos", expected="photos")


@dataclass(frozen=True)
class Wording:
    """Which of the texts that a model finds are shown, and how they are worded.

    Attributes:
        options: to search with. More texts are sought than are shown: samples, as some will be
            alike, and alternative texts, as the best caption may be too long.
        texts: the outputs that are texts.
        count: how many texts are shown.
        style: one of `STYLES`.
        again: how more samples are drawn while too few differ; empty for the texts of a search.
    """

    options: Mapping[str, Any]
    texts: Sequence[str] = ()
    count: int = 1
    style: str = PLAIN
    again: Sequence[Mapping[str, Any]] = ()

    def choose(self, answers: Answers) -> Answers:
        """The answers to be shown from those that were found."""
        return {**answers} | {name: self._chosen(answers[name]) for name in self.texts}

    def _chosen(self, prediction: Prediction) -> Prediction:
        found = _alternatives(prediction)
        found = alternative_texts(found) if self.style == ALT else found
        if self.again:
            found = varied(sensible(found), self.count)
        return _with_alternatives(prediction, found[: self.count])

    def is_enough(self, shown: Answers) -> bool:
        """Whether there are as many texts as should be shown."""
        return all(1 + len(shown[name].alternatives) == self.count for name in self.texts)


def _wording(model: Model, settings: CaptionSettings) -> Wording:
    """What the settings ask for."""
    options = dict(settings.options)
    texts = [name for name, output in model.parts.outputs.items() if output.answer_type == "text"]
    usual = model.decoding_options(**options)  # checked before any photo is read
    if settings.style == ALT and not texts:
        raise UsageError(
            f"--style {ALT} words texts, and the model answers with {', '.join(model.outputs)}",
            expected="a model with a text output",
        )
    if not texts:
        return Wording(options)
    wanted = usual[texts[0]].model_dump()
    count, sample = wanted.get("num", 1), wanted.get("sample", False)
    if sample and (count > 1 or settings.style == ALT):
        options["num"] = min(DRAWS * count, MOST_DRAWS)
    elif settings.style == ALT and "num" in wanted:
        options["num"] = max(count, wanted.get("beam", 1))
    again = [
        {"num": MOST_DRAWS, "seed": wanted["seed"] ^ number,
         "temperature": min(warmer * wanted["temperature"], HOTTEST)}
        for number, warmer in enumerate(DARING * sample, start=1)
    ]  # fmt: skip
    return Wording(options, texts, count, settings.style, again)


def _chosen(shots: Iterable[Captioned], model: Model, wording: Wording) -> Iterator[Captioned]:
    """The same, with the captions to be shown."""
    (name,) = model.inputs
    for shot, answers in shots:
        if answers is None:
            yield shot, None
            continue
        shown = wording.choose(answers)
        for again in wording.again:
            if wording.is_enough(shown):
                break
            [more] = model.predict_batch([{name: shot.cell}], **{**wording.options, **again})
            for text in wording.texts:
                found = _alternatives(answers[text]) + _alternatives(more[text])
                found.sort(key=lambda alternative: -alternative.score)
                answers = {**answers, text: _with_alternatives(answers[text], found)}
            shown = wording.choose(answers)
        yield shot, shown


def _alternatives(prediction: Prediction) -> list[Alternative]:
    """All answers of a prediction, best first."""
    first = Alternative(prediction.value, prediction.score, prediction.details)
    return [first, *prediction.alternatives]


def _with_alternatives(prediction: Prediction, found: Sequence[Alternative]) -> Prediction:
    """A prediction with these answers, best first, instead of its own."""
    best, *others = found
    return replace(
        prediction, value=best.value, score=best.score, alternatives=tuple(others),
        details=best.details,
    )  # fmt: skip


def _captioned(
    files: Sequence[str | Path],
    model: Model,
    options: Mapping[str, Any],
    policy: ErrorPolicy,
    progress: Progress | None,
) -> Iterator[Captioned]:
    """The photos and scenes, in the files' order."""
    (name,) = model.inputs
    for is_video, some in groupby(files, _is_video):
        if is_video:
            for number, file in enumerate(some):
                try:
                    yield from _scenes(file, model, options, progress)
                except BadCell as error:
                    policy.handle(number + 1, name, error)
                    yield Shot(file, None), None
            continue
        photos = list(some)
        bad = Collected()  # handled after the photos before it, so that their captions are kept
        records = ({name: photo} for photo in photos)
        found = model.predict_batch(records, policy=bad, **options)
        found = reported(found, "answers", len(photos), progress)
        for number, (photo, answers) in enumerate(zip(photos, found, strict=True)):
            if number in bad.errors:
                policy.handle(number + 1, *bad.errors[number])
            yield Shot(photo, photo), None if number in bad.errors else answers


def _scenes(
    file: str | Path, model: Model, options: Mapping[str, Any], progress: Progress | None
) -> Iterator[Captioned]:
    (name,) = model.inputs
    scenes, again = tee(find_scenes(file, Path(), SIDE, progress))
    frames = ((scene, _encoded(frame)) for scene in again for frame in scene.frames)
    cells, seen = tee(cell for _, cell in frames)
    found = model.predict_batch(({name: cell} for cell in cells), **options)
    for scene in scenes:
        count = len(scene.frames)
        shown, answers = list(islice(seen, count)), list(islice(found, count))
        best = most_agreed([_as_text(answer[model.output].value) for answer in answers])
        yield Shot(file, shown[best], (scene.start, scene.end)), answers[best]


def _is_video(file: str | Path) -> bool:
    return VIDEO_FILE.has_suffix(str(file))


def _marked(shots: Iterable[Captioned], model: Model, least: float) -> Iterator[Captioned]:
    """The same, each marked as sure or not, by its texts; at the end, what the marks mean."""
    doubtful = total = 0
    for shot, answers in shots:
        each = [
            model.parts.outputs[name].calibrated(found) for name, found in (answers or {}).items()
        ]
        known = [p for p in each if p is not None]
        sure = min(known) >= least if known else None
        total, doubtful = total + 1, doubtful + (sure is False)
        yield replace(shot, sure=sure), answers
    if doubtful:
        what = f"{doubtful} of {total} photos" if total > 1 else "the photo"
        print(f"not sure: {what} may show something that the model has not learned",
              file=sys.stderr)  # fmt: skip


def _check_calibrated(model: Model, options: Mapping[str, Any]) -> None:
    """Raises UsageError for a model or a search whose captions have no confidence."""
    if not any(model.engine.fitted(name).get("confidence") for name in model.outputs):
        raise UsageError(
            f"the model {model.name!r} has no calibrated confidence, which --sure needs",
            hint="train a model with calibrate: true, as the recipes captioning and captioning-hub "
            "have it, and with validation records",
        )
    fixed = {n for own in model.decoding_options().values() for n in own.calibrated_with}
    if changed := sorted(fixed & options.keys()):
        raise UsageError(
            "--sure is calibrated for the model's own search",
            hint=f"leave out {' and '.join(changed)}",
        )


def _check_places(files: Sequence[str | Path]) -> None:
    """Raises UsageError, before any photo is changed, if some can't hold a description."""
    unfit = [
        name_cell(file) for file in files
        if isinstance(file, WebAddress) or (isinstance(file, Path) and not has_place(file))
    ]  # fmt: skip
    if unfit:
        raise UsageError(
            f"{len(unfit)} of {len(files)} photos can't hold a description: "
            + ", ".join(unfit[:MOST_NAMED]) + ", ..." * (len(unfit) > MOST_NAMED),
            expected="JPEG, PNG, WebP or TIFF images on this machine",
            hint="--on-bad skip writes into the others",
        )  # fmt: skip


def _explained(shots: Iterable[Captioned], model: Model, folder: Path) -> Iterator[Captioned]:
    """The same; on the way, a picture of each answer's attention is written."""
    path = _namer(folder)
    for shot, answers in shots:
        if answers is not None:
            model.attention(shot.cell, answers[model.output]).save(path(shot))
        yield shot, answers
    print(f"attention pictures are in {folder}", file=sys.stderr)


def _drawn(
    shots: Iterable[Captioned], model: Model, folder: Path, least: float
) -> Iterator[Captioned]:
    """The same; on the way, a picture of each with its captions is written."""
    path = _namer(folder)
    for shot, answers in shots:
        if answers is not None:
            lines = [
                line if rank else _doubt(model, name, found, least) + line
                for name, found in answers.items()
                for rank, line in enumerate(_lines(found))
            ]
            note = f"{Path(shot.file).name} {shot.when}" if shot.span else ""
            picture = captioned(open_shown(shot.cell, Path(), SIDE), lines, note)
            write_atomically(path(shot), partial(picture.save, format="PNG"))
        yield shot, answers
    print(f"pictures with captions are in {folder}", file=sys.stderr)


def _namer(folder: Path) -> Callable[[Shot], Path]:
    """Gives every shot the path of a picture in the folder, each another one."""
    used: set[str] = set()

    def path(shot: Shot) -> Path:
        file = Path(name_cell(shot.file))
        stem = file.stem
        if shot.span is not None:
            minutes, seconds = divmod(int(shot.span[0]), 60)
            stem += f"-{minutes}m{seconds:02}s"
        for parent in file.absolute().parents:  # as many of them as make it unique
            if stem in used:
                stem = f"{parent.name}-{stem}"
        while stem in used:  # a.png and a.jpg in one folder
            stem += "_"
        used.add(stem)
        return folder / f"{stem}.png"

    return path


def _described(
    shots: Iterable[Captioned], settings: CaptionSettings, policy: ErrorPolicy
) -> Iterator[Captioned]:
    """The same; on the way, the first caption of each photo is written into it."""
    written = left = doubtful = number = 0
    for number, (shot, answers) in enumerate(shots):
        doubtful += shot.sure is False
        text = "" if answers is None else _lines(next(iter(answers.values())))[0]
        if text and shot.sure is not False:
            try:
                if not isinstance(shot.file, Path):
                    raise BadCell(
                        f"no description can be written into {name_cell(shot.file)}",
                        expected="a file on this machine",
                    )
                is_alt, again = settings.style == ALT, settings.overwrite
                original = write_description(shot.file, text, alternative=is_alt, overwrite=again)
                written, left = written + (original is not None), left + (original is None)
            except BadCell as error:
                policy.handle(number + 1, PHOTO, error)
        yield shot, answers
    total = f"{number + 1} photos"
    kept = f"; the originals are kept as NAME{ORIGINAL}" if written else ""
    print(f"captions written into {written} of {total}{kept}", file=sys.stderr)
    if doubtful:
        print(
            f"{doubtful} of {total} are left out, as their captions are not sure", file=sys.stderr
        )
    if left:
        why = "already have a description and were left as they are"
        print(f"{left} of {total} {why}; --overwrite replaces it", file=sys.stderr)


def _doubt(model: Model, name: str, prediction: Prediction, least: float) -> str:
    """What stands before a caption that is likely to be wrong."""
    output = model.parts.outputs[name]
    if not output.is_doubtful(prediction, least):
        return ""
    return f"not sure ({output.calibrated(prediction):.0%} likely right): "


def _print(shot: Shot, answers: Answers, model: Model, least: float) -> None:
    for output, prediction in answers.items():
        start = f"{shot.title}, {output}: " if len(answers) > 1 else f"{shot.title}: "
        start += _doubt(model, output, prediction, least)
        for rank, line in enumerate(_lines(prediction)):
            print(f"{' ' * len(start) if rank else start}{line}")
    sys.stdout.flush()


def _lines(prediction: Prediction) -> list[str]:
    return list(map(_as_text, [prediction.value, *(a.value for a in prediction.alternatives)]))


def _as_text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _encoded(frame: Any) -> bytes:
    """(H, W, 3) RGB -> a PNG file."""
    return cv2.imencode(".png", frame[:, :, ::-1])[1].tobytes()


def clock(seconds: float) -> str:
    """A time as players show it: 0:04, 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
