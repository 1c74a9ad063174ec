"""Exports a model's n-gram language model as an ARPA file, for other tools."""

from __future__ import annotations

from pathlib import Path

from plait.model import Model
from plait.outputs.text.lm.arpa import write_arpa
from plait.types import UsageError
from plait.util.arguments import checked


@checked
def export_arpa(model: Model, path: str | Path, *, output: str | None = None) -> None:
    """Write the n-gram language model of a text output as an ARPA file.

    Its words are the output's units: words, characters (with ▁ for the space) or subwords.

    Args:
        model: a model with a text output whose `language_model` is made of n-grams.
        path: the file to write; gzipped if its name ends in ``.gz``.
        output: the name of the output; needed only if several have an n-gram model.

    Raises:
        UsageError: the model has no n-gram model, or ``output`` doesn't name one.
        PlaitError: a unit can't be written in this format, or the file can't be written.

    Examples:
        >>> plait.export_arpa(plait.load("my-speech"), "words.arpa.gz")
    """
    each = {name: output.ngrams() for name, output in model.parts.outputs.items()}
    ngrams = {name: own for name, own in each.items() if own is not None}
    if not ngrams:
        raise UsageError(
            f"the model {model.recipe.name} has no n-gram model",
            expected="one with a text output trained with language_model: {kind: ngram}",
        )
    if output is None and len(ngrams) == 1:
        output = next(iter(ngrams))
    if output not in ngrams:
        raise UsageError(
            f"the model {model.recipe.name} has n-gram models for {', '.join(ngrams)}",
            expected="one of these outputs" + (f", not {output!r}" if output else ""),
        )
    write_arpa(Path(path), *ngrams[output])
