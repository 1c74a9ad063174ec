"""What the command ``caption`` does: photos, folders of photos and videos in, captions out. They
are printed or written as CSV or JSON, and drawn below the photos or written into them.

Of a video, each scene is captioned: some of its frames are, and the caption that agrees most with
the others is the scene's.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby, islice, tee
from pathlib import Path
from typing import Any

import cv2

from plait.data.cells import Collected, ErrorPolicy, check_policy, name_cell
from plait.data.descriptions import ORIGINAL, check_writer, has_place, write_description
from plait.data.images import find_images, open_shown
from plait.data.paths import WebAddress
from plait.data.readers import is_table_name
from plait.data.video import VIDEO as VIDEO_FILE
from plait.data.video import find_scenes
from plait.model import Model
from plait.outputs.base import DOUBTFUL, Output
from plait.render.captioned import captioned
from plait.render.progress import Progress, reported
from plait.runtime.engines import load
from plait.tasks.predict import Answers, AnswerSettings, Row, show_failures, to_json, writer
from plait.tasks.wording import alternative_texts, most_agreed, sensible, varied
from plait.types import Alternative, BadCell, PlaitError, Prediction, UsageError
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
class CaptionSettings(AnswerSettings):
    """How photos are captioned, and where the captions go."""

    style: str = PLAIN
    explain: Path | None = None  # a folder for pictures of where each word looked
    pictures: Path | None = None  # a folder for pictures of the photos with their captions
    write_metadata: bool = False  # write the captions into the photos
    overwrite: bool = False  # even if they have a description
    least_confidence: float | None = None  # captions with less are marked; None: `DOUBTFUL`


@dataclass(frozen=True)
class Shot:
    """A photo, or a scene of a video.

    Attributes:
        file: the photo's or the video's.
        cell: what the model saw; of a scene, one frame as the bytes of an image.
        span: the scene's start and end in seconds; None for a video that can't be read.
    """

    file: str | Path
    cell: Any
    span: tuple[float, float] | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What identifies it in CSV and JSON."""
        identity: dict[str, Any] = {VIDEO if _is_video(self.file) else PHOTO: str(self.file)}
        if self.span is not None:
            identity |= zip(("start", "end"), (round(time, 2) for time in self.span), strict=True)
        return identity

    @property
    def kind(self) -> str:
        """``photo`` or ``scene``."""
        return "scene" if _is_video(self.file) else "photo"

    @property
    def when(self) -> str:
        """When a scene begins and ends; empty for a photo."""
        return "-".join(map(clock, self.span or ()))

    @property
    def title(self) -> str:
        """What it is called where captions are printed."""
        return f"{self.file} {self.when}" if self.span else str(self.file)


@dataclass(frozen=True)
class Captioned:
    """A shot and its captions.

    Attributes:
        shot: the photo or scene.
        answers: its captions by output; None if it can't be used.
        doubts: of each output whose best caption is doubtful, how probable it is that the caption
            is right.
        is_sure: whether no output's best caption is doubtful; None if none has a confidence.
    """

    shot: Shot
    answers: Answers | None
    doubts: Mapping[str, float] = field(default_factory=dict)
    is_sure: bool | None = None

    @property
    def row(self) -> Row:
        """A row of a CSV or JSON file."""
        verdict = {} if self.is_sure is None else {"sure": self.is_sure}
        return self.shot.identity | verdict, self.answers

    def doubt(self, output: str) -> str:
        """What stands before an output's best caption: nothing, unless it is doubtful."""
        probability = self.doubts.get(output)
        return "" if probability is None else f"not sure ({probability:.0%} likely right): "


def caption_photos(
    paths: Sequence[str | Path],
    model_name: str,
    settings: CaptionSettings,
    progress: Progress | None = None,
) -> None:
    """Caption photos, folders of photos, and videos. Raises UsageError if there is no photo or no
    such model, or the model takes something else or can't do what the settings ask for, and
    PlaitError if a file can't be used and the policy is ``stop``."""
    _check(paths, model_name, settings)
    policy = ErrorPolicy(check_policy(settings.on_bad), in_table=False)
    model, files = load(model_name, settings.engine), find_images(paths)
    if not files:
        raise UsageError("no photo in " + ", ".join(map(str, paths)))
    options, wordings = _wordings(model, settings)
    _check_model(model, options, settings)
    if settings.write_metadata and settings.on_bad == "stop":
        _check_places(files)
    outputs, out = model.parts.outputs, settings.out
    write = writer(out, outputs) if out else None
    found = _chosen(_captioned(files, model, options, policy, progress), model, options, wordings)
    found = _marked(found, model, settings.least_confidence)
    if settings.explain is not None:
        found = _explained(found, model, settings.explain)
    if settings.pictures is not None:
        found = _drawn(found, settings.pictures)
    if settings.write_metadata:
        found = _described(found, settings, policy)
    answered = 0
    if write is None and not settings.as_json:
        for one in found:
            _print(one)
            answered += one.answers is not None
    else:
        rows, kinds, stopped = list[Row](), Counter[str](), True
        try:
            for one in found:
                rows.append(one.row)
                kinds[one.shot.kind] += 1
                answered += one.answers is not None
            stopped = False
        finally:  # what was captioned before an error is not lost
            if write is None:
                print(to_json(rows, outputs))
            elif rows and stopped:
                print(f"{write(rows):,} captioned before the error, written to {out}")
            elif rows:
                print(f"{_of_all(write(rows), kinds)} captioned, written to {out}")
    show_failures(policy)
    if not answered:
        raise PlaitError(
            "nothing could be captioned", expected="at least one photo that can be used"
        )


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


def _check_model(model: Model, options: Mapping[str, Any], settings: CaptionSettings) -> None:
    """Raises UsageError, before any photo is captioned, for a model that can't do what is asked
    for."""
    if list(model.inputs.values()) != [PHOTO]:
        raise UsageError(
            f"the model {model.name!r} takes {', '.join(model.inputs)}",
            expected="a model with one input, a photo",
            hint="use plait predict MODEL TABLE",
        )
    if settings.least_confidence is not None:
        _check_calibrated(model, options)
    if settings.explain is not None:
        model.check_attention()


@dataclass(frozen=True)
class Wording:
    """Which of the texts that an output finds are shown, and how they are worded.

    Attributes:
        count: how many are shown.
        style: one of `STYLES`.
        redraws: options of further searches for samples, to be made one after the other until
            enough of them differ; empty if texts are not sampled.
    """

    count: int = 1
    style: str = PLAIN
    redraws: Sequence[Mapping[str, Any]] = ()

    def choose(self, prediction: Prediction, output: Output, fill: bool = False) -> Prediction:
        """The texts to be shown from those that an output found; ``fill`` takes samples that say
        what nobody expects, too, if there are too few others."""
        found = _alternatives(prediction)
        found = alternative_texts(found) if self.style == ALT else found
        if self.redraws:
            likely = sensible(found, output.expected_words(prediction))
            if fill and len(likely) < self.count:
                likely += [caption for caption in sensible(found) if caption not in likely]
            found = varied(likely, self.count)
        return _with_alternatives(prediction, found[: self.count])

    def is_enough(self, shown: Prediction) -> bool:
        """Whether there are as many texts as should be shown."""
        return 1 + len(shown.alternatives) == self.count


def _wordings(model: Model, settings: CaptionSettings) -> tuple[dict[str, Any], dict[str, Wording]]:
    """The options to search with, and how each text output's texts are worded. More texts are
    sought than are shown: samples, as some will be alike, and alternative texts, as the best
    caption may be too long."""
    options = dict(settings.options)
    usual = model.decoding_options(**options)  # checked before any photo is read
    outputs = model.parts.outputs
    texts = [name for name, output in outputs.items() if output.answer_type == "text"]
    if settings.style == ALT and not texts:
        raise UsageError(
            f"--style {ALT} words texts, and the model answers with {', '.join(model.outputs)}",
            expected="a model with a text output",
        )
    wordings, sought = dict[str, Wording](), list[int]()
    for name in texts:
        wanted = usual[name].model_dump()
        count, sample = wanted.get("num", 1), wanted.get("sample", False)
        if sample and (count > 1 or settings.style == ALT):
            sought.append(min(DRAWS * count, MOST_DRAWS))
        elif settings.style == ALT and "num" in wanted:
            sought.append(max(count, wanted.get("beam", 1)))
        redraws = [
            {"num": MOST_DRAWS, "seed": wanted["seed"] ^ number,
             "temperature": min(warmer * wanted["temperature"], HOTTEST)}
            for number, warmer in enumerate(DARING * sample, start=1)
        ]  # fmt: skip
        wordings[name] = Wording(count, settings.style, redraws)
    if sought:  # an option is the same for all outputs: enough for each of them
        options["num"] = max(*sought, *(wording.count for wording in wordings.values()))
    return options, wordings


def _chosen(
    found: Iterable[Captioned],
    model: Model,
    options: Mapping[str, Any],
    wordings: Mapping[str, Wording],
) -> Iterator[Captioned]:
    """The same, with the captions to be shown."""
    (name,) = model.inputs
    for one in found:
        if one.answers is None:
            yield one
            continue
        shown = dict(one.answers)
        for text, wording in wordings.items():
            output, every = model.parts.outputs[text], shown[text]
            shown[text] = wording.choose(every, output)
            for redraw in wording.redraws:
                if wording.is_enough(shown[text]):
                    break
                [more] = model.predict_batch([{name: one.shot.cell}], **{**options, **redraw})
                found_now = _alternatives(every) + _alternatives(more[text])
                found_now.sort(key=lambda alternative: -alternative.score)
                every = _with_alternatives(every, found_now)
                shown[text] = wording.choose(every, output)
            if not wording.is_enough(shown[text]):
                shown[text] = wording.choose(every, output, fill=True)
        yield replace(one, answers=shown)


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
                    yield Captioned(Shot(file, None), None)
            continue
        photos = list(some)
        bad = Collected()  # handled after the photos before it, so that their captions are kept
        records = ({name: photo} for photo in photos)
        found = model.predict_batch(records, policy=bad, **options)
        found = reported(found, "answers", len(photos), progress)
        for number, (photo, answers) in enumerate(zip(photos, found, strict=True)):
            if number in bad.errors:
                policy.handle(number + 1, *bad.errors[number])
            yield Captioned(Shot(photo, photo), None if number in bad.errors else answers)


def _scenes(
    file: str | Path, model: Model, options: Mapping[str, Any], progress: Progress | None
) -> Iterator[Captioned]:
    (name,) = model.inputs
    # Many frames are read before the first is answered: until then they wait as files, which are
    # much smaller than decoded frames.
    encoded = (
        (scene.start, scene.end, list(map(_encoded, scene.frames)))
        for scene in find_scenes(file, Path(), SIDE, progress)
    )
    scenes, again = tee(encoded)
    found = model.predict_batch(({name: cell} for *_, cells in again for cell in cells), **options)
    for start, end, cells in scenes:
        answers = list(islice(found, len(cells)))
        best = most_agreed([_as_text(answer[model.output].value) for answer in answers])
        yield Captioned(Shot(file, cells[best], (start, end)), answers[best])


def _is_video(file: str | Path) -> bool:
    return VIDEO_FILE.has_suffix(str(file))


def _marked(
    found: Iterable[Captioned], model: Model, least_confidence: float | None
) -> Iterator[Captioned]:
    """The same, with their doubts; at the end, what these mean."""
    limit = DOUBTFUL if least_confidence is None else least_confidence
    kinds, doubtful = Counter[str](), 0
    for one in found:
        probabilities = {
            name: probability
            for name, prediction in (one.answers or {}).items()
            if (probability := model.parts.outputs[name].calibrated(prediction)) is not None
        }
        doubts = {name: p for name, p in probabilities.items() if p < limit}
        one = replace(one, doubts=doubts, is_sure=not doubts if probabilities else None)
        kinds[one.shot.kind] += 1
        doubtful += bool(doubts)
        yield one
    if doubtful:
        what = _of_all(doubtful, kinds) if kinds.total() > 1 else f"the {next(iter(kinds))}"
        print(f"not sure: {what} may show something that the model has not learned",
              file=sys.stderr)  # fmt: skip


def _of_all(count: int, kinds: Counter[str]) -> str:
    """``2 of 3 photos and scenes``; ``kinds`` counts the shots of each kind."""
    total = kinds.total()
    names = (kind if total == 1 else f"{kind}s" for kind in sorted(kinds))
    return f"{count:,} of {total:,} {' and '.join(names)}"


def _check_calibrated(model: Model, options: Mapping[str, Any]) -> None:
    """Raises UsageError for a model or a search whose captions have no confidence."""
    calibrated = [
        name for name, output in model.parts.outputs.items()
        if output.is_calibrated(model.engine.fitted(name))
    ]  # fmt: skip
    if not calibrated:
        raise UsageError(
            f"the model {model.name!r} has no calibrated confidence, which --sure needs",
            hint="train a model with calibrate: true, as the recipes captioning and captioning-hub "
            "have it, and with validation records",
        )
    usual, wanted = model.decoding_options(), model.decoding_options(**options)
    changed = {
        option
        for name in calibrated
        for option in usual[name].calibrated_with
        if getattr(wanted[name], option) != getattr(usual[name], option)
    }
    if changed:
        raise UsageError(
            "--sure is calibrated for the model's own search",
            hint=f"leave out {' and '.join(sorted(changed))}",
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


def _explained(found: Iterable[Captioned], model: Model, folder: Path) -> Iterator[Captioned]:
    """The same; on the way, a picture of each answer's attention is written."""
    path = _namer(folder)
    for one in found:
        if one.answers is not None:
            model.attention(one.shot.cell, one.answers[model.output]).save(path(one.shot))
        yield one
    print(f"attention pictures are in {folder}", file=sys.stderr)


def _drawn(found: Iterable[Captioned], folder: Path) -> Iterator[Captioned]:
    """The same; on the way, a picture of each with its captions is written."""
    path = _namer(folder)
    for one in found:
        if one.answers is not None:
            shot = one.shot
            lines = [
                line if rank else one.doubt(output) + line
                for output, prediction in one.answers.items()
                for rank, line in enumerate(_lines(prediction))
            ]
            note = f"{Path(shot.file).name} {shot.when}" if shot.span else ""
            picture = captioned(open_shown(shot.cell, Path(), SIDE), lines, note)
            write_atomically(path(shot), partial(picture.save, format="PNG"))
        yield one
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
    found: Iterable[Captioned], settings: CaptionSettings, policy: ErrorPolicy
) -> Iterator[Captioned]:
    """The same; on the way, the first caption of each photo is written into it."""
    kinds, written, left, doubtful = Counter[str](), 0, 0, 0
    for one in found:
        kinds[one.shot.kind] += 1
        doubtful += one.is_sure is False
        text = "" if one.answers is None else _lines(next(iter(one.answers.values())))[0]
        if text and one.is_sure is not False:
            try:
                original = _describe(one.shot.file, text, settings)
                written, left = written + (original is not None), left + (original is None)
            except BadCell as error:
                policy.handle(kinds.total(), PHOTO, error)
        yield one
    kept = f"; the originals are kept as NAME{ORIGINAL}" if written else ""
    print(f"captions written into {_of_all(written, kinds)}{kept}", file=sys.stderr)
    if doubtful:
        print(f"captions left out of {_of_all(doubtful, kinds)}, as they are not sure",
              file=sys.stderr)  # fmt: skip
    if left:
        print(f"descriptions left as they were in {_of_all(left, kinds)}; --overwrite replaces "
              "them", file=sys.stderr)  # fmt: skip


def _describe(file: str | Path, text: str, settings: CaptionSettings) -> Path | None:
    """Write a caption into a photo. As `write_description`; raises BadCell for a photo that is no
    file, too."""
    if not isinstance(file, Path):
        raise BadCell(
            f"no description can be written into {name_cell(file)}",
            expected="a file on this machine",
        )
    is_alt, again = settings.style == ALT, settings.overwrite
    return write_description(file, text, alternative=is_alt, overwrite=again)


def _print(one: Captioned) -> None:
    answers = one.answers or {}
    for output, prediction in answers.items():
        title = f"{one.shot.title}, {output}" if len(answers) > 1 else one.shot.title
        start = f"{title}: {one.doubt(output)}"
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
