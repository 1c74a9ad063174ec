"""What the command ``translate`` does: sentences in, sentences out, with a photo where asked."""

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
from plait.model import Model, load
from plait.types import BadCell, PlaitError, UsageError
from plait.util.files import is_file, is_folder, write_atomically

CHUNK = 256  # lines that are translated at a time
SHOWN = 60  # letters of a sentence that is told of
NAMED = 10  # empty lines that are told of by number

# Each mark is looked at once, however many follow each other: what a lookahead took is not given
# back (Python 3.10 has no possessive quantifiers).
_END = re.compile(
    r"(?<![.!?…])(?=(?P<mark>[.!?…]+))(?P=mark)(?=(?P<close>[\"'”’»)\]]*))(?P=close)"
    r"(?=(?P<gap>\s+))(?P=gap)(?=\S)"
)
_ORDINAL = re.compile(r"(?<!\d)\d{1,2}$|\b[IVX]+$")  # am 3. Oktober, Heinrich VIII. Tudor
_WORD = re.compile(r"[^\W\d_]*$")
_LONGEST = 8  # letters, more than any abbreviation has
_OPENING = "\"'“”„«»‘‚(¿¡"
_ABBREVIATIONS = {
    "Mr", "Mrs", "Ms", "Dr", "Prof", "St", "Sr", "Jr", "Mt", "Gen", "Col", "Capt", "Lt", "Sgt",
    "Rev", "vs", "Hr", "Fr", "Nr", "Mme", "Mlle",
}  # fmt: skip

log = logging.getLogger("plait")


def translate(
    model: Model, sentences: Iterable[str], *, photo: str | Path | None = None, **options: Any
) -> Iterator[str]:
    """Each text's translation, in order; that of an empty one is empty.

    A text of several sentences is translated sentence by sentence, as models learn from single
    ones, and put together again with spaces (see `split_sentences`).

    Args:
        model: one that makes text of text, or of text and an image.
        sentences: what to translate, read as far as it is needed; of a sentence that can't be read
            whole a warning is logged, and at the end of those that are empty.
        photo: what all of them are about; the image is missing where None.
        options: of the decoding, as ``beam=5``.

    Returns:
        What makes the translations, some hundred texts at a time.

    Raises:
        UsageError: it is no such model, it sees no photo or has no such option, or ``sentences`` is
            a single string.
        BadCell: the photo can't be read; or, later, one of the sentences is no text.
    """
    return _translated(model, sentences, photo, CHUNK, options)


def _translated(
    model: Model,
    sentences: Iterable[str],
    photo: str | Path | None,
    together: int,
    options: Mapping[str, Any],
) -> Iterator[str]:
    """Checks all but the sentences at once."""
    if isinstance(sentences, (str, bytes)):
        raise UsageError("the sentences are a single string", expected="a list of strings")
    text, image, output = _parts(model)
    model.decoding_options(**options)
    seen: dict[str, Any] = {}
    if photo is not None:
        if image is None:
            raise UsageError(f"the model {model.recipe.name} sees no photo", hint="leave it out")
        model.source(image, Path()).read(photo)
        seen = {image: photo}

    def translations() -> Iterator[str]:
        empty: list[int] = []
        for number, chunk in enumerate(in_chunks(sentences, together)):
            parts = [_sentences(line) for line in chunk]
            empty += [number * together + k for k, own in enumerate(parts, start=1) if not own]
            asked = [sentence for own in parts for sentence in own]
            _warn(model, text, asked)
            records = [{text: sentence, **seen} for sentence in asked]
            answers = model.answers(records, **options)
            said = (str(answer[output].value) for answer in answers)
            for own in parts:
                yield " ".join(islice(said, len(own)))
        if empty:
            log.warning("%s, and so is the translation", _are_empty(empty))

    return translations()


def _sentences(line: Any) -> list[str]:
    if not isinstance(line, str):
        raise BadCell(f"{line!r:.60} is no text", expected="a string")
    return split_sentences(line)


def _warn(model: Model, text: str, sentences: Iterable[str]) -> None:
    """Tell of those that can't be read whole."""
    for sentence in sentences:
        if why := model.unread({text: sentence}).get(text):
            log.warning("%s: %s", textwrap.shorten(sentence, SHOWN, placeholder="..."), why)


def _are_empty(lines: Sequence[int]) -> str:
    if len(lines) == 1:
        return f"line {lines[0]} is empty"
    more = f" and {len(lines) - NAMED:,} more" if len(lines) > NAMED else ""
    return f"lines {', '.join(map(str, lines[:NAMED]))}{more} are empty"


def split_sentences(text: str) -> list[str]:
    """A text's sentences, none of an empty one.

    A sentence ends at ``.``, ``!``, ``?`` or ``…`` before a space and a capital or an opening
    quote, but not at the point of an abbreviation such as "Dr.", of a single letter, as in "J." and
    "e.g.", or of an ordinal of other languages, as in "3. Oktober".
    """
    found, start = [], 0
    for end in _END.finditer(text):
        after, mark = text[end.end()], end.start()
        before = text[max(start, mark - _LONGEST) : mark]
        word = _WORD.findall(before)[0]
        shortened = word in _ABBREVIATIONS or len(word) == 1 or bool(_ORDINAL.search(before))
        if (after.isupper() or after in _OPENING) and not (end["mark"] == "." and shortened):
            found.append(text[start : end.start("gap")])
            start = end.end("gap")
    return [sentence for part in [*found, text[start:]] if (sentence := part.strip())]


def _parts(model: Model) -> tuple[str, str | None, str]:
    """The text's and the photo's input, and the text that is said."""
    inputs = model.recipe.inputs
    texts = [name for name, spec in inputs.items() if spec.modality == "text"]
    images = [name for name, spec in inputs.items() if spec.modality == "image"]
    outputs = [n for n, output in model.parts.outputs.items() if output.answer_type == "text"]
    if len(texts) != 1 or len(outputs) != 1 or len(texts) + len(images) != len(inputs):
        raise UsageError(
            f"the model {model.recipe.name} makes {', '.join(model.recipe.outputs)} of "
            f"{', '.join(inputs)}",
            expected="a model that makes one text of a text, and perhaps of a photo",
        )
    return texts[0], images[0] if images else None, outputs[0]


def translate_all(
    given: Sequence[str],
    model_name: str,
    photo: Path | None,
    out: Path | None,
    options: Mapping[str, Any],
) -> None:
    """Translate sentences, or text files line by line, or what comes in at the standard input."""
    for item in given:
        _check_given(item)
    model = load(model_name)
    # Who types a line waits for its answer; a file is translated many lines at a time.
    together = 1 if not given and sys.stdin.isatty() else CHUNK
    found = _translated(model, _lines(given), photo, together, options)
    if out is None:
        for sentence in found:
            print(sentence, flush=True)
    else:
        text = "".join(f"{sentence}\n" for sentence in found)
        write_atomically(out, lambda part: part.write_text(text, encoding="utf-8"))
        print(f"written to {out}")


def _check_given(item: str) -> None:
    """Refuse a folder, and what looks like a file's name where there is no such file."""
    path = Path(item)
    if item.strip() and is_folder(path):
        raise PlaitError(f"{item} is a folder", expected="sentences or text files")
    ending = path.suffix.lower()
    named = ending[1:].isalnum() and not ending[1:].isdecimal()
    is_name = len(item.split()) == 1 and (named or "/" in item or "\\" in item)
    if (is_name or ending in (".txt", ".gz")) and not is_file(path):
        raise PlaitError(
            f"there is no file {item}",
            hint="check the path; a sentence can come in at the standard input",
        )


def _lines(given: Sequence[str]) -> Iterator[str]:
    if not given:
        yield from (line.rstrip("\n") for line in sys.stdin)
    for item in given:
        path = Path(item)
        if is_file(path):
            yield from read_text(path).splitlines()
        else:
            yield item
