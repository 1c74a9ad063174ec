"""Reads cells as `Modality.reading` describes it: a record's items as arrays.

Everything that is read is read by the same code with torch and without.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.data.audio import open_cut
from plait.data.images import open_resized
from plait.data.texts import TermWeights, as_text
from plait.types import State

Reader = Callable[[Any, Path], NDArray[Any]]
"""A cell, and the folder where relative paths begin -> what `Modality.read` gives. BadCell where
the cell can't be used."""


def _photos(settings: State) -> Reader:
    return lambda cell, root: open_resized(cell, root, settings["size"], settings["fit"])


def _words(settings: State) -> Reader:
    from plait.data.vocabulary import load_vocabulary  # tokenizers are slow to import

    vocabulary, longest = load_vocabulary(settings["vocabulary"]), settings["longest"]
    return lambda cell, root: np.array(vocabulary.encode(as_text(cell))[:longest], np.int32)


def _terms(settings: State) -> Reader:
    weigh = TermWeights(settings)
    return lambda cell, root: weigh(as_text(cell))


def _columns(settings: State) -> Reader:
    from plait.modalities.table.reading import code_columns  # only a table needs the readers

    return lambda cell, root: code_columns(cell, settings["columns"])


def _series(settings: State) -> Reader:
    from plait.modalities.series.reading import open_even, standardised

    def read(cell: Any, root: Path) -> NDArray[np.float32]:
        series = open_even(cell, root, settings["time"], settings["rate"], settings["centre"])
        return standardised(series, settings, settings["longest"])

    return read


def _windows(settings: State) -> Reader:
    from plait.modalities.series.reading import window_statistics

    series = _series(settings)
    return lambda cell, root: window_statistics(
        series(cell, root), settings["factor"], settings["windows"]
    )


def _clips(settings: State) -> Reader:
    from plait.data.video import open_frames

    return lambda cell, root: open_frames(
        cell, root, settings["frames"], settings["size"], settings["fit"]
    )


def _visual_words(settings: State) -> Reader:
    from plait.modalities.image.patterns import Pyramid

    photos, pyramid = _photos(settings), Pyramid.of(settings)
    return lambda cell, root: pyramid(photos(cell, root))


def _table_words(settings: State) -> Reader:
    from plait.modalities.text.numbering import TableWords

    numbering = TableWords(settings["words"], settings["longest"])
    return lambda cell, root: np.array(numbering(as_text(cell)), np.int32)


def _pieces(settings: State) -> Reader:
    from plait.modalities.text.numbering import Pieces

    numbering = Pieces(settings["tokenizer"], settings["longest"])
    return lambda cell, root: np.array(numbering(as_text(cell)), np.int32)


def _sounds(settings: State) -> Reader:
    def read(cell: Any, root: Path) -> NDArray[np.float32]:
        sound = open_cut(cell, root, settings["rate"], settings["most"], settings["trim"])
        return np.pad(sound, (0, max(0, settings["least"] - len(sound))))

    return read


KINDS: dict[str, Callable[[State], Reader]] = {
    "photo": _photos,
    "words": _words,
    "terms": _terms,
    "columns": _columns,
    "series": _series,
    "windows": _windows,
    "sound": _sounds,
    "clip": _clips,
    "visual-words": _visual_words,
    "table-words": _table_words,
    "pieces": _pieces,
}


def make_reader(settings: State) -> Reader:
    """The reader that a `Modality.reading` describes."""
    return KINDS[settings["kind"]](settings)
