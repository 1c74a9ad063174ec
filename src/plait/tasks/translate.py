"""Translates texts sentence by sentence, with a photo if the model uses one."""

from __future__ import annotations

import logging
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from plait.data.cells import in_chunks
from plait.data.readers import read_text
from plait.model import Model
from plait.render.progress import reported, show_progress
from plait.runtime.engines import load
from plait.types import BadCell, PlaitError, UsageError
from plait.util.arguments import checked
from plait.util.files import is_file, is_folder, write_atomically

CHUNK = 256  # lines per batch
SHOWN = 60  # characters of a sentence in a warning
NAMED = 10  # empty lines listed by number

# Lookaheads with back references stand for possessive quantifiers, which Python 3.10 lacks: without
# them, long runs of marks would take quadratic time.
_END = re.compile(
    r"(?<![.!?…])(?=(?P<mark>[.!?…]+))(?P=mark)(?=(?P<close>[\"'”’»)\]]*))(?P=close)"
    r"(?=(?P<gap>\s+))(?P=gap)(?=\S)"
)
_ORDINAL = re.compile(r"(?<!\d)\d{1,2}$|\b[IVX]+$")  # am 3. Oktober, Heinrich VIII. Tudor
_WORD = re.compile(r"[^\W\d_]*$")
_LONGEST = 8  # characters before a mark; more than any abbreviation has
_OPENING = "\"'“”„«»‘‚(¿¡"
_ABBREVIATIONS = {
    "Mr", "Mrs", "Ms", "Dr", "Prof", "St", "Sr", "Jr", "Mt", "Gen", "Col", "Capt", "Lt", "Sgt",
    "Rev", "vs", "Hr", "Fr", "Nr", "Mme", "Mlle",
}  # fmt: skip

log = logging.getLogger("plait")


@checked
def translate(
    model: Model, sentences: Iterable[str], *, photo: str | Path | None = None, **options: Any
) -> Iterator[str]:
    """Translate texts.

    Models are trained on single sentences, so a text is split into sentences (see
    `split_sentences`), and their translations are joined with spaces.

    Args:
        model: a model from text, or text and an image, to text.
        sentences: the texts, consumed lazily. Warnings are logged for sentences that the model
            must cut, and at the end for empty texts.
        photo: the image that all of them are about; None for a missing image.
        **options: decoding options, such as ``beam=5``.

    Returns:
        An iterator over the translations, in order; an empty text's is empty. They are made in
        batches of a few hundred texts.

    Raises:
        UsageError: the model doesn't translate, takes no photo or has no such option, or
            ``sentences`` is a single string.
        BadCell: the photo can't be read; or, on iteration, a text is not a string.

    Examples:
        >>> list(plait.translate(plait.load("my-translator"), ["a red ball"]))
        ['ein roter Ball']
    """
    return _translate(model, sentences, photo, CHUNK, options)


def _translate(
    model: Model,
    sentences: Iterable[str],
    photo: str | Path | None,
    batch: int,
    options: Mapping[str, Any],
) -> Iterator[str]:
    """Checks everything but the sentences before it returns."""
    if isinstance(sentences, (str, bytes)):
        raise UsageError("the sentences are a single string", expected="a list of strings")
    inputs, name = model.inputs, model.name
    images = [n for n, modality in inputs.items() if modality == "image"]
    texts = [n for n, modality in inputs.items() if modality == "text"]
    outputs = [n for n, output in model.parts.outputs.items() if output.answer_type == "text"]
    if len(texts) != 1 or len(outputs) != 1 or len(texts) + len(images) != len(inputs):
        raise UsageError(
            f"the model {name} goes from {', '.join(inputs)} to {', '.join(model.recipe.outputs)}",
            expected="a model from one text, or one text and an image, to one text",
        )
    (text,), (output,) = texts, outputs
    model.decoding_options(**options)
    shared: dict[str, Any] = {}
    if photo is not None:
        if not images:
            raise UsageError(f"the model {name} takes no photo", hint="leave it out")
        model.parts.modalities[images[0]].read(photo, Path())
        shared = {images[0]: photo}

    def translations() -> Iterator[str]:
        empty: list[int] = []
        for number, chunk in enumerate(in_chunks(sentences, batch)):
            for line in chunk:
                if not isinstance(line, str):
                    raise BadCell(f"{line!r:.60} is not text", expected="a string")
            parts = [split_sentences(line) for line in chunk]
            empty += [number * batch + k for k, own in enumerate(parts, start=1) if not own]
            single = [sentence for own in parts for sentence in own]
            for sentence in single:
                if why := model.unread({text: sentence}).get(text):
                    log.warning("%s: %s", textwrap.shorten(sentence, SHOWN, placeholder="..."), why)
            records = [{text: sentence, **shared} for sentence in single]
            answers = model.predict_batch(records, **options)
            translated = (str(answer[output].value) for answer in answers)
            for own in parts:
                yield " ".join(islice(translated, len(own)))
        if len(empty) == 1:
            log.warning("line %d is empty, and so is the translation", empty[0])
        elif empty:
            lines = ", ".join(map(str, empty[:NAMED]))
            more = f" and {len(empty) - NAMED:,} more" if len(empty) > NAMED else ""
            log.warning("lines %s%s are empty, and so are the translations", lines, more)

    return translations()


def split_sentences(text: str) -> list[str]:
    """Split a text into sentences; an empty text has none.

    A sentence ends at ``.``, ``!``, ``?`` or ``…`` followed by a space and a capital letter or an
    opening quote, but not at the full stop of an abbreviation ("Dr."), of a single letter ("J.",
    "e.g."), or of an ordinal number in other languages ("3. Oktober").
    """
    ended, start = [], 0
    for end in _END.finditer(text):
        after, mark = text[end.end()], end.start()
        before = text[max(start, mark - _LONGEST) : mark]
        word = _WORD.findall(before)[0]
        shortened = word in _ABBREVIATIONS or len(word) == 1 or bool(_ORDINAL.search(before))
        if (after.isupper() or after in _OPENING) and not (end["mark"] == "." and shortened):
            ended.append(text[start : end.start("gap")])
            start = end.end("gap")
    return [sentence for part in [*ended, text[start:]] if (sentence := part.strip())]


def translate_all(
    given: Sequence[str],
    model_name: str,
    photo: Path | None,
    out: Path | None,
    options: Mapping[str, Any],
    engine: str = "torch",
) -> None:
    """Translate sentences, the lines of text files, or the lines of standard input. Shows how many
    lines are done, where it is known how many there are."""
    for item in given:  # no folder, nor what looks like the name of a missing file
        path = Path(item)
        if item.strip() and is_folder(path):
            raise PlaitError(f"{item} is a folder", expected="sentences or text files")
        ending = path.suffix.lower()
        named = ending[1:].isalnum() and not ending[1:].isdecimal()
        is_name = len(item.split()) == 1 and (named or "/" in item or "\\" in item)
        if (is_name or ending in (".txt", ".gz")) and not is_file(path):
            raise PlaitError(
                f"there is no file {item}",
                hint="check the path; to translate it as a sentence, use standard input",
            )
    model = load(model_name, engine)
    with show_progress() as progress:
        if given:
            lines = list(_lines(given))
            translated = _translate(model, lines, photo, CHUNK, options)
            translated = reported(translated, "lines", len(lines), progress)
        else:  # standard input may never end; a typed line is answered at once
            batch = 1 if sys.stdin.isatty() else CHUNK
            translated = _translate(model, _lines(given), photo, batch, options)
        if out is None:
            for sentence in translated:
                print(sentence, flush=True)
        else:
            write_atomically(out, "".join(f"{sentence}\n" for sentence in translated))
            print(f"written to {out}")


def _lines(given: Sequence[str]) -> Iterator[str]:
    if not given:
        yield from (line.rstrip("\n") for line in sys.stdin)
    for item in given:
        path = Path(item)
        if is_file(path):
            yield from read_text(path).splitlines()
        else:
            yield item
