"""What all representations of a sensor series share: reading, standardising, augmenting.

Shapes: T rows as recorded, L steps as read, C channels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from typing_extensions import Self

from plait.data.cells import MediaInfo, is_sentence, load_bytes, sent_bytes
from plait.data.series import KINDS, NPY, Channel, Series, open_series, resample
from plait.modalities.base import Facts, Item, Match, Modality, item_generator, view_generator
from plait.modalities.segments import Grid, Kept, Segments, along
from plait.types import BadCell, Geometry, PlaitError, State

READING_VERSION = 1  # raise it when the same file would give other numbers: old caches must miss
KNOTS = 5  # places between which a warped series' speed changes
NOISE = 0.1  # standard deviations, at strength 1
SHORTEST = 0.8  # of a warped series, as a share of it
LANES, MOMENTS = 12, 10  # most segments, down and over time
WIDE, HIGH = 480, 44  # of the drawing, and of a lane of it
DIGITS = 7  # that are kept of means and deviations
FARTHEST = 1e4  # deviations from the mean; what lies farther is cut to it

NUMBERS = {"type": "array", "items": {"type": ["number", "null"]}}
SENT = {
    "description": KINDS,
    "anyOf": [
        {"type": "string", "contentEncoding": "base64", "contentMediaType": "text/csv"},
        NUMBERS,
        {"type": "array", "items": NUMBERS},
        {"type": "object", "additionalProperties": NUMBERS},
    ],
}
"""A series in a request, as JSON Schema: a file, numbers, rows of them, or channels."""


class Sensor(Modality):
    """Reads a series to (L, 2, C) float32: each channel standardised, and where it was measured.

    The second of the two is 1 where there is a measurement and 0 in a gap. Values in a gap are
    interpolated linearly between the measurements round it; before the first and after the last
    one, and in a channel without any, they are 0, the training rows' mean.
    """

    facts = Facts(
        column_names=(
            "series", "sensor", "sensors", "signal", "signals", "inertial", "imu",
            "accelerometer", "acceleration", "gyroscope", "skeleton", "ecg", "eeg", "emg",
        ),
        example="'series.csv'",
        files=KINDS,
        accept="text/csv",
        noun="a file",
    )  # fmt: skip
    corruptions = ("noise",)
    fits_on_files = True

    time: Channel | None = Field(None, description="channel of the time; null: even steps")
    rate: float | None = Field(None, gt=0, description="steps per unit of time after resampling")
    centre: list[Channel] | None = Field(
        None, description="channels of a point (a hip's x, y, z) to subtract from all others"
    )
    max_steps: int = Field(1024, ge=2, le=100_000, description="maximum; longer series are cut")
    jitter: float = Field(0.05, ge=0, le=10, description="noise in views, in standard deviations")
    scale: float = Field(0.1, ge=0, lt=1, description="spread of a view's factor for each channel")
    warp: float = Field(0.2, ge=0, lt=1, description="spread of a view's speed")
    views: int = Field(1, ge=1, le=16, description="augmented versions (noise, scale, speed)")

    @model_validator(mode="after")
    def _times_have_a_rate(self) -> Self:
        if (self.time is None) != (self.rate is None):
            raise ValueError(
                "a series has a time channel or a rate, and not the other; expected both settings, "
                "time and rate, or neither"
            )
        return self

    @classmethod
    def recognises(cls, cell: Any) -> Match:
        """Arrays' files, lists and mappings of numbers; any other word may be a file's name."""
        if isinstance(cell, (bytes, str)):
            if NPY.is_certain(cell):
                return "certain"
            return "no" if is_sentence(cell) else "possible"
        if isinstance(cell, Mapping):
            numbers = all(isinstance(c, list) and _are_numbers(c) for c in cell.values())
            return "certain" if cell and numbers else "no"
        return "certain" if isinstance(cell, list) and _are_numbers(cell) else "no"

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The channels, each one's mean and standard deviation over its measurements, the standard
        deviation of its change from step to step, and whether it has gaps.

        Where series differ in their channels, those of most series count.

        Raises:
            PlaitError: no series can be used.
        """
        found: dict[tuple[str, ...] | int, tuple[Sums, Sums]] = {}  # of values, of their changes
        wrong = "there is none"
        for cell in cells:
            try:
                series = self._open(cell, root)
            except BadCell as error:
                wrong = str(error)
                continue
            count = series.values.shape[1]
            level, change = found.setdefault(series.names or count, (Sums(count), Sums(count)))
            level.add(series.values)
            change.add(np.diff(series.values, axis=0))
        if not found:
            raise PlaitError(f"no training series can be used; {wrong}")
        key, (level, change) = max(found.items(), key=lambda item: item[1][0].series)
        sums = level.mean, level.deviation(), change.deviation()
        mean, deviation, changes = ([float(f"{v:.{DIGITS}g}") for v in values] for values in sums)
        return {
            "names": None if isinstance(key, int) else list(key),
            "mean": mean, "deviation": deviation, "change": changes, "gaps": level.gaps.tolist(),
        }  # fmt: skip

    def read(self, cell: Any, root: Path) -> Item:
        """(L, 2, C): standardised values with gaps filled, and 1 where measured; of the channels
        that were learned, by name where both have names.

        Raises:
            BadCell: it lacks one, or has another number of them.
        """
        series, names = self._open(cell, root), self.state["names"]
        count, wanted = series.values.shape[1], len(self.state["mean"])
        if names and series.names:
            series = series.take([series.place(name) for name in names])
        elif count != wanted:
            what = f"{series.name} has {count} channels"
            raise BadCell(what, expected=f"{wanted} as in training")
        apart = series.values[: self.max_steps] - self.state["mean"]
        values = apart / self.state["deviation"]
        filled = fill_gaps(values).clip(-FARTHEST, FARTHEST)
        return np.stack([filled, np.isfinite(values)], axis=1).astype(np.float32)

    def _open(self, cell: Any, root: Path) -> Series:
        series = open_series(cell, root)
        if self.time is not None and self.rate is not None:
            series = resample(series, self.time, self.rate)
        return centred(series, self.centre) if self.centre else series

    def content(self, cell: Any, root: Path) -> bytes:
        """The file, or the numbers as they are written."""
        if isinstance(cell, np.ndarray):
            cell = cell.tolist()
        if isinstance(cell, (list, tuple, dict)):
            return repr(cell).encode()
        return load_bytes(cell, root, KINDS)[0]

    def request_type(self) -> Any:
        """A file; or numbers, as `open_series` takes them."""
        return Annotated[bytes | list[Any] | dict[str, Any], BeforeValidator(sent_bytes),
                         WithJsonSchema(SENT)]  # fmt: skip

    def augment(self, item: Item, view: int, seed: int) -> Item:
        """Noisy, with each channel larger or smaller, and faster here and slower there (Um et al.
        2017, arXiv:1706.00527)."""
        if view == 0:
            return item
        rng = view_generator(view, seed)
        item = warped(item, self.warp, rng)
        values, measured = item[:, 0], item[:, 1]  # (L, C) each
        values = values * (1 + self.scale * rng.standard_normal(values.shape[1]))
        values = values + self.jitter * rng.standard_normal(values.shape)
        return np.stack([values, measured > 0.5], axis=1).astype(np.float32)

    def geometry(self, info: MediaInfo, view: int, seed: int) -> Geometry | None:
        """Units of time, or steps where there is no rate; unknown of a view whose speed wanders."""
        if view and self.warp:
            return None
        return Geometry((1.0,), (0.0,), (self.max_steps / (self.rate or 1.0),))

    def corrupt(self, item: Item, kind: str, strength: int) -> Item:
        """White noise of 0.1 to 1.6 standard deviations of each channel."""
        worse = item.copy()
        noise = item_generator(item).standard_normal(worse[:, 0].shape, np.float32)
        worse[:, 0] += np.float32(NOISE * 2 ** (strength - 1)) * noise
        return worse

    def example(self) -> Item:
        """Every channel at its mean, as long as the longest series."""
        item = np.zeros((self.max_steps, 2, len(self.state["mean"])), np.float32)
        item[:, 1] = 1
        return item

    def samples(self) -> list[Any]:
        """Two mappings from channel to growing numbers, with the channels that the settings name
        and as many others as make whole points."""
        centre = self.centre or []
        special = [self.time, *centre]
        named = dict.fromkeys(channel for channel in special if isinstance(channel, str))
        count = 2 + max([0, *(channel for channel in special if isinstance(channel, int))])
        count += -(count + len(named) - (self.time is not None)) % max(1, len(centre))
        names = [*(f"channel {number}" for number in range(count)), *named]
        return [
            {name: [(step + place) / (self.rate or 1) for step in range(8)] for name in names}
            for place in (0, 1)
        ]

    def fingerprint(self) -> str:
        """All settings of reading and augmenting, and what was learned."""
        settings = [self.time, self.rate, self.centre or [], self.max_steps]
        views = [self.jitter, self.scale, self.warp]
        return json.dumps(["series", READING_VERSION, settings, views, self.state], sort_keys=True)

    def segments(self, cell: Any, root: Path) -> Segments:
        """Moments of the channels, side by side in a lane each; what is hidden is a gap at the
        training rows' mean. Where there are many channels, several share a lane."""
        item = self.read(cell, root)
        steps, _, channels = item.shape
        names = self.state["names"] or [f"channel {n}" for n in range(channels)]
        lanes, times = min(channels, LANES), min(steps, MOMENTS)
        lane = np.arange(channels) * lanes // channels  # of each channel
        moment = np.arange(steps) * times // steps  # of each step

        def perturb(kept: Kept) -> Item:
            seen = kept.reshape(lanes, times)[lane][:, moment].T  # (L, C)
            return item * seen[:, None]

        shared = [[n for n, at in zip(names, lane, strict=True) if at == r] for r in range(lanes)]
        rows = [few[0] if len(few) == 1 else f"{few[0]} … {few[-1]}" for few in shared]
        first = [int(np.flatnonzero(moment == n)[0]) for n in range(times)]
        columns = [f"{step / (self.rate or 1):.4g}" for step in first]
        return Grid(
            _lines(item[:, 0], lane), (WIDE, HIGH * lanes), rows, columns, perturb,
            spans=lambda tokens: self.spans(tokens, times),
        )  # fmt: skip

    def spans(self, tokens: int, moments: int) -> NDArray[np.float64]:
        """(T, moments) how much of each of an encoder's tokens lies in each of the moments, which
        are even: the tokens are too, unless a representation says otherwise."""
        return along(tokens, moments)


def centred(series: Series, centre: list[Channel]) -> Series:
    """The series with a point taken from all points, whose coordinates lie side by side; the
    point's own channels stay as they are.

    Raises:
        BadCell: it has no such channels, or its channels can't be divided into such points.
    """
    places, count = [series.place(channel) for channel in centre], series.values.shape[1]
    if count % len(places):
        raise BadCell(
            f"{series.name} has {count} channels", expected=f"points of {len(places)} channels each"
        )
    point = series.values[:, places]  # (T, coordinates)
    values = series.values - np.tile(point, count // len(places))
    values[:, places] = point
    return Series(values, series.names, series.name)


def fill_gaps(values: np.ndarray) -> np.ndarray:
    """(L, C) with NaN -> (L, C) without: interpolated within a gap, 0 at both ends."""
    filled = np.nan_to_num(values, nan=0.0)
    steps = np.arange(len(values))
    for column in np.flatnonzero(np.isnan(values).any(axis=0)):
        known = np.flatnonzero(np.isfinite(values[:, column]))
        if len(known):
            here = values[known, column]
            filled[:, column] = np.interp(steps, known, here, left=0.0, right=0.0)
    return filled


def _are_numbers(cell: Any) -> bool:
    """A number or a gap, or lists of them; only the start of each list is checked."""
    if isinstance(cell, list):
        return bool(cell) and all(map(_are_numbers, cell[:10]))
    return cell is None or isinstance(cell, (int, float))


class Sums:
    """Mean and deviation of C channels over many series, gaps left out, one series at a time.

    Series are added as Chan, Golub and LeVeque (1979) merge samples, which loses no digits where
    the mean is far from zero.

    Attributes:
        series: how many were added.
        gaps: (C,) whether a channel has any.
        count, mean, squares: (C,) of each channel, ``squares`` the summed squared distances from
            the mean.
    """

    def __init__(self, channels: int) -> None:
        self.series, self.gaps = 0, np.zeros(channels, bool)
        self.count, self.mean, self.squares = np.zeros((3, channels))

    def add(self, values: NDArray[np.float64]) -> None:
        """Add (T, C), NaN where nothing was measured."""
        self.series += 1
        self.gaps |= np.isnan(values).any(axis=0)
        known = np.isfinite(values)
        count = known.sum(axis=0)
        mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1)
        squares = np.where(known, values - mean, 0.0) ** 2
        total = np.maximum(self.count + count, 1)
        apart = mean - self.mean
        self.squares += squares.sum(axis=0) + apart**2 * self.count * count / total
        self.mean += apart * count / total
        self.count += count

    def deviation(self) -> NDArray[np.float64]:
        """Standard deviation of each channel; 1 where it never differs."""
        deviation = np.sqrt(self.squares / np.maximum(self.count, 1))
        alike = deviation <= 1e-9 * np.maximum(np.abs(self.mean), 1e-9)
        return np.where(alike, 1.0, deviation)


def _lines(values: NDArray[np.float32], lane: NDArray[np.int64]) -> str:
    """(L, C) and the lane of each channel -> lines for an SVG, each lane in its own range."""
    places, lines = np.linspace(0, WIDE, len(values)), []
    for number in range(lane.max() + 1):
        inside = values[:, lane == number]
        low, high = float(inside.min()), float(inside.max())
        heights = HIGH * (number + 0.9 - 0.8 * (inside - low) / max(high - low, 1e-9))
        for line in heights.T:
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(places, line, strict=True))
            lines.append(f'<polyline points="{points}" class="line"/>')
    return "".join(lines)


def warped(item: Item, spread: float, rng: np.random.Generator) -> Item:
    """(L, ...) at a speed that wanders, (L', ...), L' at most L: from the first step to the last,
    interpolated linearly."""
    length = len(item)
    share = 1 - (1 - SHORTEST) * rng.random() * bool(spread)
    steps = max(1, round(length * share))
    speeds = np.exp(spread * rng.standard_normal(KNOTS))
    speed = np.interp(np.linspace(0, KNOTS - 1, steps), np.arange(KNOTS), speeds)
    way = np.concatenate([[0.0], np.cumsum(speed[1:])])
    at = way / max(way[-1], 1e-12) * (length - 1)
    before = at.astype(np.int64).clip(max=length - 1)
    after = (before + 1).clip(max=length - 1)
    part = (at - before).reshape(-1, *[1] * (item.ndim - 1))
    return item[before] + (item[after] - item[before]) * part
