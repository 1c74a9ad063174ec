"""Photos of a folder, found by a photo or by words.

Each photo is encoded once and captioned once: both are kept by its content, beside the feature
cache, so that a second start reads no photo.

Shapes: N photos, D the captioner's width.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from plait.assistant.intents import DIGITS
from plait.assistant.session import Found
from plait.config import registry
from plait.data.cells import ErrorPolicy, in_chunks
from plait.data.digests import file_digests
from plait.data.images import find_images
from plait.data.rows import Row
from plait.model import Model
from plait.nn.blocks import masked_mean
from plait.package.paths import FILES, find_package
from plait.pipeline.cache import FeatureSpace
from plait.pipeline.features import (
    UNREADABLE,
    PreparedInput,
    Progress,
    as_row,
    fill_cache,
    pad_rows,
    view_key,
)
from plait.types import BadCell, PlaitError
from plait.util.digests import digest
from plait.util.files import write_atomically
from plait.util.paths import cache_folder

Words = Literal["tf-idf", "minilm"]
Floats = NDArray[np.float64]
TOGETHER = 64  # photos between two writes
SMALLEST = 1e-3  # score that counts as found
KEPT = 20_000  # captions at the most, about 2 MB, besides those of the folder that is searched

log = logging.getLogger("plait")

_LITTLE = frozenset(
    re.findall(
        r"\w+",
        """a an the of with in on at by to for from and or is are was were be there where which that
        this these those who me my our your all any some every one ones i do does did have has
        please can you could find show search look looking see want give get list pick photo photos
        picture pictures image images pic pics snapshot snapshots shot shots photograph photographs
        taken contain containing showing folder""",
    )
)
_SUBJECT = re.compile(
    r"\b(?:photo|picture|image|pic|snapshot|shot|photograph|one)s?\s+"
    r"(?:(?:of|with|showing|containing|from|where|taken|that|which|have|has|show|contain|in|at)"
    r"\s+)+(?P<subject>.+)",
    re.I,
)


class PhotoSearch:
    """The photos of a folder as a package with one photo as its input sees and captions them."""

    def __init__(
        self, folder: Path, package: str, model: Model, words: Words, progress: Progress | None
    ) -> None:
        """
        Raises:
            PlaitError: the model is not of that kind.
        """
        kinds = [spec.modality for spec in model.recipe.inputs.values()]
        if kinds != ["image"]:
            raise PlaitError(
                f"photos can't be searched with the model {model.recipe.name}",
                expected="a package under models.caption that takes one photo",
            )
        self.folder, self.model, self.words, self.progress = folder, model, words, progress
        self._input = next(iter(model.recipe.inputs))
        self._source = model.source(self._input, Path())
        with file_digests() as files:
            parts = [files.of(find_package(package) / name) for name in FILES]
        self._package = digest(*parts)
        self._told: set[str] = set()

    def like(self, photo: str, count: int) -> list[Found]:
        """The photos nearest to one by the cosine of their pooled features, itself left out."""
        paths = self._photos()
        rows = self._encode({**paths, (own := self._keys([Path(photo)])[0]): Path(photo)})
        vectors = {key: row / max(float(np.linalg.norm(row)), 1e-12) for key, row in rows.items()}
        if own not in vectors:
            raise PlaitError(f"{photo} can't be read")
        scores = {key: float(vectors[own] @ vectors[key]) for key in paths if key in vectors}
        scores.pop(own, None)
        return [
            Found(photo=str(paths[key]), score=round(near, DIGITS))
            for key, near in _best(scores, count)
        ]

    def of(self, request: str, count: int) -> list[Found]:
        """The photos whose captions are nearest to what a request names."""
        paths = self._photos()
        captions = {key: text for key, text in self._captions(paths).items() if key in paths}
        compare = _by_minilm if self.words == "minilm" else _by_tf_idf
        near = compare(subject(request), list(captions.values()))
        scores = dict(zip(captions, near.tolist(), strict=True))
        return [
            Found(photo=str(paths[key]), score=round(score, DIGITS), caption=captions[key])
            for key, score in _best(scores, count)
            if score > SMALLEST
        ]

    def _photos(self) -> dict[str, Path]:
        """The folder's photos as they are now, by their content."""
        paths = find_images([self.folder])
        found: dict[str, Path] = {}
        for key, path in zip(self._keys(paths), paths, strict=True):
            found.setdefault(key, path)
        return found

    def _keys(self, paths: Sequence[Path]) -> list[str]:
        return [key or UNREADABLE for key in self._source.keys(paths)]

    def _encode(self, paths: dict[str, Path]) -> dict[str, Floats]:
        """The pooled features of each photo that can be read, (D,)."""
        width = self.model.network.encoder(self._input).width
        space = FeatureSpace(digest("pooled", self._package), (1, width))
        with space.lock:
            space.refresh()
            todo = [key for key in paths if key not in space]
            space.make_room(len(todo), paths.keys())
            done = 0
            for chunk in in_chunks(self._pooled(paths, todo), TOGETHER):
                space.add(dict(chunk))
                done += len(chunk)
                self._show("photos", done, len(todo))
        there = [key for key in paths if key in space]
        rows = zip(there, space.get(there), strict=True)
        return {key: row[0].astype(np.float64) for key, row in rows}

    @torch.no_grad()
    def _pooled(self, paths: dict[str, Path], todo: Sequence[str]) -> Iterator[tuple[str, Row]]:
        """(1, D) of each, the mean of the encoder's tokens; bad photos are named and left out."""
        encoder, device = self.model.network.encoder(self._input), self.model.device
        outcomes = self._source.prepare(((paths[key], 0, 0) for key in todo), device)
        for key, outcome in zip(todo, outcomes, strict=True):
            if isinstance(outcome, BadCell):
                self._tell(str(outcome))
                continue
            prepared, lengths = pad_rows([outcome], outcome)
            tokens = encoder(prepared.to(device), lengths.to(device))
            yield key, as_row(masked_mean(tokens.values, tokens.mask))

    def _captions(self, paths: dict[str, Path]) -> dict[str, str]:
        """Each photo's caption by its key; kept for the next start, the last used at the end."""
        file = cache_folder() / "captions" / f"{self._package}.json"
        kept: dict[str, str] = {}
        with suppress(OSError, ValueError):
            kept = json.loads(file.read_text(encoding="utf-8"))
        todo = [key for key in paths if key not in kept]
        done = 0
        for chunk in in_chunks(todo, TOGETHER):
            kept |= self._caption({key: paths[key] for key in chunk})
            done += len(chunk)
            self._show("captions", done, len(todo))
            _write(file, _newest(kept, paths))
        return kept

    def _caption(self, paths: dict[str, Path]) -> dict[str, str]:
        bad = ErrorPolicy("skip", in_table=False)
        found = list(self.model.predict_many(paths.values(), bad=bad))
        for line in bad.failures:
            self._tell(line)
        return {
            key: str(prediction.value)
            for row, (key, prediction) in enumerate(zip(paths, found, strict=True))
            if (row, self._input) not in bad.met
        }

    def _tell(self, line: str) -> None:
        """Name a photo that can't be read, once."""
        if line not in self._told:
            self._told.add(line)
            log.warning(line)

    def _show(self, what: str, done: int, total: int) -> None:
        if self.progress:
            self.progress(what, done, total)


def _newest(captions: dict[str, str], used: Collection[str]) -> dict[str, str]:
    """Those that are used, and before them the newest others."""
    others = [key for key in captions if key not in used]
    there = [key for key in captions if key in used]
    dropped = max(len(others) - max(KEPT - len(there), 0), 0)
    return {key: captions[key] for key in [*others[dropped:], *there]}


def _write(file: Path, captions: dict[str, str]) -> None:
    text = json.dumps(captions, ensure_ascii=False)
    write_atomically(file, lambda part: part.write_text(text, encoding="utf-8"))


def _best(scores: dict[str, float], count: int) -> list[tuple[str, float]]:
    return sorted(scores.items(), key=lambda item: -item[1])[:count]


def subject(request: str) -> str:
    """What a request looks for: ``find photos of a dog`` -> ``a dog``."""
    found = _SUBJECT.search(request)
    return found["subject"] if found else request


def terms(text: str) -> list[str]:
    """The words that tell captions apart, without the s of a plural."""
    words = re.findall(r"\w+", text.lower())
    return [_singular(word) for word in words if word not in _LITTLE]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _by_tf_idf(text: str, captions: Sequence[str]) -> Floats:
    """(N,) cosine of TF-IDF weights, of the terms that captions have."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # slow to import

    counter = TfidfVectorizer(analyzer=terms, sublinear_tf=True)
    try:
        weights = counter.fit_transform(captions)
    except ValueError:  # no caption has a term at all
        return np.zeros(len(captions))
    return (weights @ counter.transform([text]).T).toarray()[:, 0]


def _by_minilm(text: str, captions: Sequence[str]) -> Floats:
    """(N,) cosine of the sentence encoder's vectors (Reimers and Gurevych 2019)."""
    bad = ErrorPolicy("stop", in_table=False)
    space, keys = fill_cache(
        _minilm(), [text, *captions], 1, lambda row, error: bad.handle(row, "captions", error),
        torch.device("cpu"),
    )  # fmt: skip
    rows = space.get([view_key(key, 0) for key in keys if key is not None])
    vectors = np.concatenate(rows).astype(np.float64)  # (1 + N, D)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors[1:] @ vectors[0]


@cache
def _minilm() -> PreparedInput:
    settings = {"kind": "word-vectors", "vectors": "minilm", "sequence_encoder": "mean"}
    modality = registry.build("text", settings)
    state = modality.fit(["a sentence"], Path())  # nothing is learned of it
    encoder = modality.with_state(state).encoder(pretrained=True)
    return PreparedInput("sentences", modality, encoder, state, Path())
