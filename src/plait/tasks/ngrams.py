"""A trained model's n-gram model of its texts as an ARPA file, for other tools."""

from __future__ import annotations

from pathlib import Path

from plait.model import Model, load
from plait.outputs.text.lm.arpa import write_arpa
from plait.types import UsageError


def export_arpa(model: Model, path: str | Path, *, output: str | None = None) -> None:
    """Write the n-gram model that guides a text of the model, gzipped if the name ends in .gz.

    Its words are the output's units: words, letters with ▁ for the space, or subwords.

    Args:
        model: one whose text has an n-gram `language_model`, learned or read from a file.
        path: the ARPA file.
        output: the text's name, where several have such a model.

    Raises:
        UsageError: there is no such model, or several and ``output`` says none of them.
        PlaitError: a unit can't be in such a file, or the file can't be written.
    """
    each = {name: asked.ngrams() for name, asked in model.parts.outputs.items()}
    found = {name: ngrams for name, ngrams in each.items() if ngrams is not None}
    if not found:
        raise UsageError(
            f"the model {model.recipe.name} has no n-gram model",
            expected="one with a text output trained with language_model: {kind: ngram}",
        )
    if output is None and len(found) == 1:
        output = next(iter(found))
    if output not in found:
        raise UsageError(
            f"the model {model.recipe.name} has an n-gram model of {', '.join(found)}",
            expected="an output of these, named" + (f", not {output!r}" if output else ""),
        )
    write_arpa(Path(path), *found[output])


def export(model_name: str, path: Path, output: str | None) -> None:
    """What the command ``arpa`` does."""
    export_arpa(load(model_name), path, output=output)
    print(f"written to {path}")
