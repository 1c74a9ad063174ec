"""Finding photos of a folder by another photo or by words.

Every photo is encoded once and captioned once; both are cached by its content, so a second start
reads no photo.

Shapes: N photos, D the captioner's width.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from plait.assistant.answers import PHOTO
from plait.assistant.phrases import word_set
from plait.assistant.session import DIGITS, Found
from plait.config import registry
from plait.data.cells import ErrorPolicy, in_chunks
from plait.data.digests import file_digests
from plait.data.images import find_images
from plait.data.index import Index
from plait.model import Model
from plait.network import EncoderEngine, as_row
from plait.nn.blocks import masked_mean
from plait.package.format import find_package
from plait.pipeline.cache import FeatureSpace
from plait.pipeline.engine import Row, padded
from plait.pipeline.inputs import UNREADABLE, InputReader, cache_features, view_key
from plait.render.progress import Progress
from plait.types import BadCell, PlaitError
from plait.util.files import cache_folder, digest, write_atomically

Words = Literal["tf-idf", "minilm"]
TOGETHER = 64  # photos between two writes to the cache
LEAST = 1e-3  # score of a photo that counts as found by words
KEPT = 20_000  # cached captions at most, about 2 MB, unless the folder itself has more

log = logging.getLogger("plait")

_STOP_WORDS = word_set(
    """a an the of with in on at by to for from and or is are was were be there where which that
    this these those who me my our your all any some every one ones i do does did have has
    please can you could find show search look looking see want give get list pick photo photos
    picture pictures image images pic pics snapshot snapshots shot shots photograph photographs
    taken contain containing showing folder"""
)
_SUBJECT = re.compile(
    r"\b(?:photo|picture|image|pic|snapshot|shot|photograph|one)s?\s+"
    r"(?:(?:of|with|showing|containing|from|where|taken|that|which|have|has|show|contain|in|at)"
    r"\s+)+(?P<subject>.+)",
    re.I,
)


class PhotoSearch:
    """The photos of a folder, as a captioning package with one photo as its input sees them.

    Raises:
        PlaitError: the model takes something else.
    """

    def __init__(
        self, folder: Path, package: str, model: Model, words: Words, progress: Progress | None
    ) -> None:
        if list(model.inputs.values()) != [PHOTO]:
            raise PlaitError(
                f"the model {model.name} can't search photos",
                expected="a package under models.caption that takes one photo",
            )
        self.folder, self.model, self.words = folder, model, words
        self._report: Progress = progress or (lambda what, done, total: None)
        (self._input,) = model.inputs
        self._reader = model.reader(self._input, Path())
        package_folder = find_package(package)
        with file_digests() as files:
            paths = sorted(path for path in package_folder.iterdir() if path.is_file())
            self._package = digest(*(files.of(path) for path in paths))
        self._index = Index(model=self._package)
        self._reported: set[str] = set()

    def like(self, photo: str, count: int) -> list[Found]:
        """The photos most similar to another one, by the cosine of their pooled features."""
        paths, (own,) = self._photos(), self._keys([Path(photo)])
        index = self._encode({**paths, own: Path(photo)})
        if own not in index:
            raise PlaitError(f"can't read {photo}")
        hits = [hit for hit in index.search(index[own][None], count + 1)[0] if hit.name != own]
        return [
            Found(photo=str(paths[str(hit.name)]), score=round(hit.score, DIGITS))
            for hit in hits[:count]
        ]

    def of(self, request: str, count: int) -> list[Found]:
        """The photos whose captions are nearest to what a request names."""
        paths = self._photos()
        captions = {key: text for key, text in self._captions(paths).items() if key in paths}
        keys, texts = list(captions), list(captions.values())
        rank = _by_minilm if self.words == "minilm" else _by_tf_idf
        return [
            Found(photo=str(paths[keys[at]]), score=round(score, DIGITS), caption=texts[at])
            for at, score in rank(subject(request), texts, count)
            if score > LEAST
        ]

    def _photos(self) -> dict[str, Path]:
        """The folder's photos as they are now, by content key; of copies, the first."""
        paths = list(map(Path, find_images([self.folder])))
        photos = dict[str, Path]()
        for key, path in zip(self._keys(paths), paths, strict=True):
            photos.setdefault(key, path)
        return photos

    def _keys(self, paths: Sequence[Path]) -> list[str]:
        return [key or UNREADABLE for key in self._reader.keys(paths)]

    def _encode(self, paths: dict[str, Path]) -> Index:
        """The pooled features (D,) of each photo that can be read, by its content."""
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
                self._report("photos", done, len(todo))
        self._index.remove([key for key in self._index if key not in paths])
        new = [key for key in paths if key in space and key not in self._index]
        if new:
            self._index.add(new, np.concatenate(space.get(new)))
        return self._index

    @torch.no_grad()
    def _pooled(self, paths: Mapping[str, Path], todo: Sequence[str]) -> Iterator[tuple[str, Row]]:
        """(1, D) mean of the encoder's tokens of each photo that can be read."""
        network = self.model.network
        encoder = network.encoder(self._input)
        outcomes = self._reader.rows((paths[key], 0, 0) for key in todo)
        for key, outcome in zip(todo, outcomes, strict=True):
            if isinstance(outcome, BadCell):
                self._warn(str(outcome))
            elif outcome is not None:
                prepared, lengths = padded([outcome], outcome)
                tokens = encoder(
                    torch.from_numpy(prepared).to(network.device),
                    torch.from_numpy(lengths).to(network.device),
                )
                yield key, as_row(masked_mean(tokens.values, tokens.mask))

    def _captions(self, paths: Mapping[str, Path]) -> dict[str, str]:
        """Captions by key, with those of all these photos that can be read. The cache keeps them in
        the order of their last use, so that the oldest of other folders go first."""
        file = cache_folder() / "captions" / f"{self._package}.json"
        captions: dict[str, str] = {}
        with suppress(OSError, ValueError):
            captions = json.loads(file.read_text(encoding="utf-8"))
        todo, done = [key for key in paths if key not in captions], 0
        for chunk in in_chunks(todo, TOGETHER):
            bad = ErrorPolicy("skip", in_table=False)
            answers = self.model.predict_batch([paths[key] for key in chunk], policy=bad)
            for row, (key, answer) in enumerate(zip(chunk, answers, strict=True)):
                if (row, self._input) not in bad.handled:
                    captions[key] = str(answer[self.model.output].value)
            for line in bad.failures:
                self._warn(line)
            done += len(chunk)
            self._report("captions", done, len(todo))
            others = [key for key in captions if key not in paths]
            used = [key for key in captions if key in paths]
            kept = [*others, *used][-max(KEPT, len(used)) :]
            text = json.dumps({key: captions[key] for key in kept}, ensure_ascii=False)
            write_atomically(file, text)
        return captions

    def _warn(self, line: str) -> None:
        """Name a photo that can't be read, but only once."""
        if line not in self._reported:
            self._reported.add(line)
            log.warning(line)


def subject(request: str) -> str:
    """What a request looks for: ``find photos of a dog`` -> ``a dog``."""
    match = _SUBJECT.search(request)
    return match["subject"] if match else request


def terms(text: str) -> list[str]:
    """The words that tell captions apart, without a plural's s."""
    words = [word for word in re.findall(r"\w+", text.lower()) if word not in _STOP_WORDS]
    return [re.sub(r"(?<=\w\w[^\Ws])s$", "", word) for word in words]


def _by_tf_idf(text: str, captions: Sequence[str], count: int) -> list[tuple[int, float]]:
    """The places and scores of the captions with the highest cosine of their terms' TF-IDF weights
    with the text's, the highest first."""
    counted = [Counter(terms(caption)) for caption in captions]
    captions_with = Counter(term for counts in counted for term in counts)

    def weigh(counts: Counter[str]) -> dict[str, float]:
        weights = {
            term: (1 + math.log(n))
            * (1 + math.log((1 + len(captions)) / (1 + captions_with[term])))
            for term, n in counts.items()
            if term in captions_with
        }
        length = math.sqrt(sum(weight**2 for weight in weights.values()))
        return {term: weight / length for term, weight in weights.items()}

    query = weigh(Counter(terms(text)))
    cosines = [
        sum(weight * query.get(term, 0.0) for term, weight in weigh(counts).items())
        for counts in counted
    ]
    return sorted(enumerate(cosines), key=lambda hit: -hit[1])[:count]


def _by_minilm(text: str, captions: Sequence[str], count: int) -> list[tuple[int, float]]:
    """As `_by_tf_idf`, by the sentence encoder's vectors (Reimers and Gurevych 2019)."""
    policy = ErrorPolicy("stop", in_table=False)
    features = cache_features(
        _minilm(), [text, *captions], 1, lambda row, error: policy.handle(row, "captions", error)
    )
    keys = [view_key(key, 0) for key in features.keys if key is not None]
    vectors = np.concatenate(features.space.get(keys)).astype(np.float32)  # (1 + N, D)
    index = Index()
    index.add(range(len(captions)), vectors[1:])
    return [(int(hit.name), hit.score) for hit in index.search(vectors[:1], count)[0]]


@cache
def _minilm() -> InputReader:
    modality: Any = registry.build("text", {"kind": "word-vectors", "vectors": "minilm",
                                            "sequence_encoder": "mean"})  # fmt: skip
    fitted = modality.with_state(modality.fit(["a sentence"], Path()))  # the same for any text
    engine = EncoderEngine(
        {"sentences": fitted.encoder(pretrained=True).eval()}, torch.device("cpu")
    )
    return InputReader("sentences", fitted, engine, Path())
