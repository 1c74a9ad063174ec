"""What the command ``translate`` does: sentences in, sentences out, with a photo where asked."""

from __future__ import annotations

import logging
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from plait.cells import in_chunks
from plait.data.readers import read_text
from plait.files import is_file, write_atomically
from plait.modalities.text.written import Text
from plait.model import Model, load
from plait.types import PlaitError, UsageError

CHUNK = 256  # sentences that are translated at a time
SHOWN = 60  # letters of a sentence that is told of

log = logging.getLogger("plait")


def translate(
    model: Model, sentences: Iterable[str], *, photo: str | Path | None = None, **options: Any
) -> Iterator[str]:
    """Each sentence's translation, in order; that of an empty one is empty.

    Args:
        model: one that makes text of text, or of text and an image.
        sentences: what to translate; of one that can't be read whole a warning is logged.
        photo: what all of them are about; the image is missing where None.
        options: of the decoding, as ``beam=5``.

    Raises:
        UsageError: it is no such model, or it sees no photo.
        BadCell: the photo can't be read.
    """
    return _translated(model, sentences, photo, CHUNK, options)


def _translated(
    model: Model,
    sentences: Iterable[str],
    photo: str | Path | None,
    together: int,
    options: Mapping[str, Any],
) -> Iterator[str]:
    text, image, output = _parts(model)
    if photo is not None and image is None:
        raise UsageError(f"the model {model.recipe.name} sees no photo", mend="leave it out")
    reader = model.parts.modalities[text]
    assert isinstance(reader, Text)
    seen = {image: photo} if image is not None and photo is not None else {}
    for chunk in in_chunks(sentences, together):
        asked = [sentence for sentence in chunk if sentence.strip()]
        for sentence in asked:
            if remark := reader.remark(sentence, model.states[f"inputs.{text}"]):
                log.warning("%s: %s", textwrap.shorten(sentence, SHOWN, placeholder="..."), remark)
        records = [{text: sentence, **seen} for sentence in asked]
        answers = iter(model.answers(records, **options))
        for sentence in chunk:
            yield str(next(answers)[output].value) if sentence.strip() else ""


def _parts(model: Model) -> tuple[str, str | None, str]:
    """The text's and the photo's input, and the text that is said."""
    inputs = model.recipe.inputs
    texts = [name for name, spec in inputs.items() if spec.modality == "text"]
    images = [name for name, spec in inputs.items() if spec.modality == "image"]
    outputs = [name for name, spec in model.recipe.outputs.items() if spec.kind == "text"]
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
    model = load(model_name)
    model.decoding_options(**options)  # checked before anything is read
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


def _lines(given: Sequence[str]) -> Iterator[str]:
    if not given:
        yield from (line.rstrip("\n") for line in sys.stdin)
    for item in given:
        path = Path(item)
        if is_file(path):
            yield from read_text(path).splitlines()
        elif path.suffix.lower() in (".txt", ".gz"):
            raise PlaitError(f"there is no file {item}", mend="check the path")
        else:
            yield item
