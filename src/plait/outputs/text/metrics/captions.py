"""How good captions are: the published metrics, with bootstrap intervals over photos."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider_scorer import CiderScorer
from pycocoevalcap.rouge.rouge import Rouge

from plait.outputs.scores import Scorer, interval, resamples
from plait.outputs.text.decoding import Limits
from plait.outputs.text.metrics.base import Scoring
from plait.outputs.text.metrics.ptb import tokenise
from plait.types import PlaitError

Floats = NDArray[np.float64]

ORDERS = 4
_METEOR_CHUNKS = 20  # METEOR's columns: words of caption and reference, chunks, words matched
_METEOR_COLUMNS = (0, 1, _METEOR_CHUNKS, 21, 22)
_SMALL, _TINY = 1e-9, 1e-15  # the published scorer's guards against division by zero


TITLES = {
    "cider": "CIDEr-D",
    "bleu4": "BLEU-4",
    "bleu3": "BLEU-3",
    "bleu2": "BLEU-2",
    "bleu1": "BLEU-1",
    "rouge_l": "ROUGE-L",
    "meteor": "METEOR",
    "distinct": "distinct captions",
    "vocabulary": "words used",
    "mean_length": "words a caption",
}
"""Score -> what people know it by, in the order to show."""


@dataclass(frozen=True)
class _Bootstrap:
    resamples: int
    seed: int


@dataclass(frozen=True)
class CaptionScores:
    """The scores of one caption a photo, against all references of the photo.

    Attributes:
        photos: how many photos were scored.
        bleu1, bleu2, bleu3, bleu4: corpus BLEU, 0 to 1 (Papineni et al., ACL 2002).
        rouge_l: mean ROUGE-L, 0 to 1 (Lin, 2004; beta 1.2).
        cider: mean CIDEr-D on the published scale, about 0 to 10 (arXiv:1411.5726).
        meteor: corpus METEOR 1.5 (Denkowski and Lavie, 2014), or None where it was not computed.
        distinct: share of the captions that are different from each other.
        vocabulary: number of different words in the captions.
        mean_length: words in a caption, on average.
        intervals: by score, its 95 % bootstrap percentile interval over photos.
        photo_cider: (photos,) CIDEr-D of each.
        photo_bleu4: (photos,) BLEU-4 of each, smoothed.
    """

    photos: int
    bleu1: float
    bleu2: float
    bleu3: float
    bleu4: float
    rouge_l: float
    cider: float
    meteor: float | None
    distinct: float
    vocabulary: int
    mean_length: float
    intervals: Mapping[str, tuple[float, float]]
    photo_cider: Floats = field(repr=False, compare=False)
    photo_bleu4: Floats = field(repr=False, compare=False)

    def ranked(self) -> NDArray[np.int64]:
        """(photos,) the photos' positions, best first: by CIDEr-D, ties by smoothed BLEU-4."""
        return np.lexsort((-self.photo_bleu4, -self.photo_cider)).astype(np.int64)

    def to_json(self) -> dict[str, Any]:
        """The scores and intervals as plain JSON, without the values of single photos."""
        single = ("photo_cider", "photo_bleu4", "intervals")
        scores = {name: value for name, value in vars(self).items() if name not in single}
        return scores | {"intervals": {name: list(ends) for name, ends in self.intervals.items()}}


def caption_scores(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    intervals: int = 1000,
    seed: int = 0,
    meteor: bool | None = None,
) -> CaptionScores:
    """Scores one caption a photo against the photo's references.

    Captions are tokenised as in the COCO evaluation (lower case, no punctuation) and scored by
    pycocoevalcap. The intervals come from resampling the photos with replacement (Efron, 1979):
    BLEU and METEOR are computed anew from each resample's summed counts; ROUGE-L, CIDEr-D and
    length are means of the photos' values, so that CIDEr's document frequencies stay those of all
    photos. Distinct captions and vocabulary have no interval: a resample repeats photos.

    Args:
        predictions: one caption a photo; an empty one scores zero.
        references: one caption or more for each photo, in the same order.
        intervals: number of resamples; 0 for no intervals.
        seed: of the resampling.
        meteor: METEOR runs a Java program (seconds to start): True asks for it, False leaves it
            out, None computes it where ``java`` is found.
    """
    single = _Captions(predictions, references)
    bootstrap = _Bootstrap(intervals, seed) if intervals else None
    found: dict[str, tuple[float, float]] = {}
    if bootstrap:
        found |= _bleu_intervals(single.counts, bootstrap)
        found |= _mean_intervals(single.means, bootstrap)
    meteor_score = None
    if _wants_meteor(meteor):
        meteor_score, meteor_interval = _meteor(single.sentences, single.targets, bootstrap)
        found |= meteor_interval
    return CaptionScores(
        photos=len(single.sentences),
        **single(np.arange(len(single.sentences))),
        meteor=meteor_score,
        distinct=len(set(single.sentences)) / len(single.sentences),
        vocabulary=len({word for sentence in single.sentences for word in sentence.split()}),
        intervals=found,
        photo_cider=single.means["cider"],
        photo_bleu4=_smoothed_bleu4(single.counts),
    )


def caption_scorer(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Scorer:
    """BLEU, ROUGE-L, CIDEr-D and mean length of any choice of the photos, as `caption_scores`
    gives them and their resamples; CIDEr's document frequencies stay those of all photos."""
    return _Captions(predictions, references)


CAPTIONS = Scoring(
    TITLES,
    ("cider", "bleu4"),  # CIDEr of a single record is always 0
    caption_scorer,
    caption_scores,
    Limits(3, 24, 3),
    most=10.0,
)


class _Captions:
    """What each caption comes to, from which the scores of any choice of photos are made."""

    def __init__(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
        _check(predictions, references)
        words = [tokenise(caption) for caption in predictions]
        self.sentences = [" ".join(caption) for caption in words]
        self.targets = [[" ".join(tokenise(c)) for c in captions] for captions in references]
        if not any(caption for captions in self.targets for caption in captions):
            raise PlaitError("no word in any reference", expected="captions of words")
        self.counts = _bleu_counts(self.sentences, self.targets)
        self.means = {
            "rouge_l": _rouge(self.sentences, self.targets),
            "cider": _cider(self.sentences, self.targets),
            "mean_length": np.array([len(caption) for caption in words], np.float64),
        }

    def __call__(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """The scores of these photos, some of which may be several times among them."""
        bleu = _bleu(self.counts[rows].sum(axis=0))
        return {
            **{f"bleu{order}": float(score) for order, score in enumerate(bleu, start=1)},
            **{name: float(values[rows].mean()) for name, values in self.means.items()},
        }


def _check(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if len(predictions) != len(references):
        raise PlaitError(
            f"{len(predictions)} captions for {len(references)} photos",
            expected="one caption a photo",
        )
    if not predictions:
        raise PlaitError("no captions to score", expected="one photo or more")
    for index, captions in enumerate(references):
        if isinstance(captions, str) or not captions:
            got = "one string" if captions else "none"
            raise PlaitError(f"references of photo {index}: {got}", expected="a list of captions")


def _bleu_counts(sentences: Sequence[str], targets: Sequence[Sequence[str]]) -> Floats:
    """(photos, 10): matches and n-grams of each order, and two lengths."""
    scorer = BleuScorer(n=ORDERS)
    for sentence, captions in zip(sentences, targets, strict=True):
        scorer += (sentence, captions)
    rows = [
        [*counts["correct"], *counts["guess"], counts["testlen"], _closest(counts)]
        for counts in scorer.ctest
    ]
    return np.array(rows, np.float64)


def _closest(counts: Mapping[str, Any]) -> int:
    """The reference length nearest to the caption's; the shorter of two as near."""
    length = counts["testlen"]
    return int(min(counts["reflen"], key=lambda other: (abs(other - length), other)))


def _bleu(totals: Floats) -> Floats:
    """(..., 10) summed counts to (..., 4) BLEU of orders one to four."""
    correct, guess = totals[..., :ORDERS], totals[..., ORDERS : 2 * ORDERS]
    logs = np.log((correct + _TINY) / (guess + _SMALL))
    means = np.cumsum(logs, axis=-1) / np.arange(1, ORDERS + 1)
    scores: Floats = np.exp(means) * _brevity(totals)[..., None]
    return scores


def _brevity(totals: Floats) -> Floats:
    ratio = (totals[..., -2] + _TINY) / (totals[..., -1] + _SMALL)
    return np.exp(np.minimum(0.0, 1.0 - 1.0 / ratio))


def _smoothed_bleu4(counts: Floats) -> Floats:
    """BLEU-4 of single sentences: one more match and n-gram above order one (Lin and Och, 2004)."""
    extra = np.array([0.0, 1.0, 1.0, 1.0])
    correct = counts[:, :ORDERS] + extra
    guess = np.maximum(counts[:, ORDERS : 2 * ORDERS] + extra, 1.0)
    precision = np.prod(correct / guess, axis=1) ** (1 / ORDERS)
    scores: Floats = precision * _brevity(counts)
    return scores


def _rouge(sentences: Sequence[str], targets: Sequence[Sequence[str]]) -> Floats:
    scorer = Rouge()
    pairs = zip(sentences, targets, strict=True)
    return np.array([scorer.calc_score([sentence], list(captions)) for sentence, captions in pairs])


def _cider(sentences: Sequence[str], targets: Sequence[Sequence[str]]) -> Floats:
    scorer = CiderScorer(n=ORDERS, sigma=6.0)
    for sentence, captions in zip(sentences, targets, strict=True):
        scorer += (sentence, captions)
    _, scores = scorer.compute_score()
    return np.asarray(scores, np.float64)


def _resampled(values: Floats, bootstrap: _Bootstrap) -> Floats:
    """(resamples, columns) column sums over photos drawn with replacement."""
    photos = len(values)
    sums = np.zeros((bootstrap.resamples, values.shape[1]))
    draws = resamples(photos, bootstrap.resamples, bootstrap.seed)
    for row, drawn in zip(sums, draws, strict=True):  # one at a time: memory stays small
        row[:] = np.bincount(drawn, minlength=photos) @ values
    return sums


def _bleu_intervals(counts: Floats, bootstrap: _Bootstrap) -> dict[str, tuple[float, float]]:
    scores = _bleu(_resampled(counts, bootstrap))  # (resamples, 4)
    return {f"bleu{order + 1}": interval(scores[:, order]) for order in range(ORDERS)}


def _mean_intervals(
    means: Mapping[str, Floats], bootstrap: _Bootstrap
) -> dict[str, tuple[float, float]]:
    table = np.stack(list(means.values()), axis=1)
    resampled = _resampled(table, bootstrap) / len(table)
    return {name: interval(resampled[:, column]) for column, name in enumerate(means)}


def _wants_meteor(asked: bool | None) -> bool:
    found = shutil.which("java") is not None
    if asked and not found:
        raise PlaitError(
            "METEOR needs Java, and there is no java on the PATH",
            hint="install a Java runtime, or leave METEOR out (meteor=False)",
        )
    return found if asked is None else asked


def _meteor(
    sentences: Sequence[str], targets: Sequence[Sequence[str]], bootstrap: _Bootstrap | None
) -> tuple[float, dict[str, tuple[float, float]]]:
    """Corpus METEOR: its match counts add up over photos, so a resample needs no new matching."""
    with _meteor_program() as program:
        lines = [
            program.ask(" ||| ".join(["SCORE", *captions, sentence]))
            for sentence, captions in zip(sentences, targets, strict=True)
        ]
        counts = _whole(np.array([[float(count) for count in line.split()] for line in lines]))
        score = program.score(counts.sum(axis=0))
        if bootstrap is None:
            return score, {}
        scores = [program.score(totals) for totals in _resampled(counts, bootstrap)]
    return score, {"meteor": interval(np.array(scores))}


def _whole(counts: Floats) -> Floats:
    """A caption equal to a reference is not fragmented: its one chunk is not added to the sum."""
    length, target, chunks, matched, target_matched = counts[:, _METEOR_COLUMNS].T
    equal = (chunks == 1) & (matched == length) & (target_matched == target)
    summable: Floats = counts.copy()
    summable[equal, _METEOR_CHUNKS] = 0.0
    return summable


@dataclass(frozen=True)
class _MeteorProgram:
    """A conversation with the METEOR jar, line by line."""

    process: subprocess.Popen[str]
    errors: IO[str]

    def ask(self, line: str) -> str:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # then the answer is empty, and its error says why
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        return self.answer()

    def answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            said = self.errors.read().strip().splitlines()
            raise PlaitError(
                "METEOR stopped: " + (said[-1] if said else "it gave no reason"),
                hint="leave it out with meteor=False",
            )
        return line

    def score(self, totals: Floats) -> float:
        """METEOR of summed counts; the jar answers with one line a photo and one for all."""
        self.ask("EVAL ||| " + " ".join(map(str, totals.tolist())))
        return float(self.answer())


@contextmanager
def _meteor_program() -> Iterator[_MeteorProgram]:
    spec = find_spec("pycocoevalcap.meteor")
    if spec is None or not spec.submodule_search_locations:
        raise PlaitError("pycocoevalcap is without its METEOR program", hint="install it anew")
    folder = Path(next(iter(spec.submodule_search_locations)))
    command = ["java", "-Xmx2G", "-Dfile.encoding=UTF-8", "-jar", str(folder / "meteor-1.5.jar")]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(
            [*command, "-", "-", "-stdio", "-l", "en", "-norm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
        ) as process,
    ):
        try:
            yield _MeteorProgram(process, errors)
        finally:
            process.kill()
