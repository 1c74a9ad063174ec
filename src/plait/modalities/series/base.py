"""What all representations of a sensor series share: reading, standardising, augmenting.

Shapes: T rows as recorded, L steps as read, C channels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, WithJsonSchema
from torch import Tensor

from plait.data.media import MediaInfo, load_bytes, sent_bytes
from plait.data.series import KINDS, Channel, Series
from plait.modalities.base import Modality
from plait.modalities.segments import Grid, Kept, Segments, along
from plait.modalities.series.reading import open_even, standardised
from plait.types import BadCell, PlaitError, State, UsageError

READING_VERSION = 1  # raise it when the same file would give other numbers: old caches must miss
KNOTS = 5  # places between which a warped series' speed changes
NOISE = 0.1  # standard deviations, at strength 1
SHORTEST = 0.8  # of a warped series, as a share of it
LANES, MOMENTS = 12, 10  # of a layout, at the most
WIDE, HIGH = 480, 44  # what it measures, and a lane of it
DIGITS = 7  # that are kept of means and deviations

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
"""A series that is sent, as JSON Schema: a file, numbers, rows of them, or channels."""

# Settings that every representation takes.
Time = Annotated[
    Channel | None, Field(description="channel that holds the time; null: rows are evenly spaced")
]
Rate = Annotated[
    float | None, Field(gt=0, description="steps a unit of time, to which it is resampled")
]
Centre = Annotated[
    list[Channel] | None,
    Field(description="channels of a point (a hip's x, y, z) taken from all points in turn"),
]
Longest = Annotated[int, Field(ge=2, le=100_000, description="steps; longer series are cut")]
Jitter = Annotated[float, Field(ge=0, le=10, description="noise in an augmented view, deviations")]
Scale = Annotated[
    float, Field(ge=0, lt=1, description="spread of each channel's factor in an augmented view")
]
Warp = Annotated[float, Field(ge=0, lt=1, description="spread of speed in an augmented view")]
Views = Annotated[
    int, Field(ge=1, le=16, description="augmented versions (noise, scale, speed) to cache")
]


class Sensor(Modality):
    """Reads a series to (L, 2, C) float32: each channel standardised, and where it was measured.

    The second of the two is 1 where there is a measurement and 0 in a gap. Values in a gap are
    interpolated linearly between the measurements round it; before the first and after the last
    one, and in a channel without any, they are 0, the training rows' mean.
    """

    media = True
    corruptions = ("noise",)
    fits_on_files = True

    def __init__(
        self,
        time: Channel | None,
        rate: float | None,
        centre: list[Channel] | None,
        longest: int,
        jitter: float,
        scale: float,
        warp: float,
        views: int,
    ) -> None:
        if (time is None) != (rate is None):
            raise UsageError("a series has a time channel or a rate, and not the other",
                             expected="both settings, time and rate, or none")  # fmt: skip
        self.time, self.rate, self.centre, self.longest = time, rate, centre or [], longest
        self.jitter, self.scale, self.warp, self.views = jitter, scale, warp, views

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The channels, each one's mean and standard deviation over its measurements, the standard
        deviation of its change from step to step, and whether it has gaps.

        Where series differ in their channels, those of most series count.

        Raises:
            PlaitError: no series can be used.
        """
        found: dict[tuple[str, ...] | int, Moments] = {}
        wrong = "there is none"
        for cell in cells:
            try:
                series = self._open(cell, root)
            except BadCell as error:
                wrong = str(error)
                continue
            count = series.values.shape[1]
            found.setdefault(series.names or count, Moments(count)).add(series.values)
        if not found:
            raise PlaitError(f"no training series can be used; {wrong}")
        key, moments = max(found.items(), key=lambda item: item[1].series)
        return {"names": None if isinstance(key, int) else list(key), **moments.to_json()}

    def read(self, cell: Any, root: Path, state: State) -> Tensor:
        """`standardised`, as a tensor."""
        return torch.from_numpy(standardised(self._open(cell, root), state, self.longest))

    def _open(self, cell: Any, root: Path) -> Series:
        return open_even(cell, root, self.time, self.rate, self.centre)

    def reading(self, state: State) -> State:
        """The settings of reading, and the channels with their means and deviations."""
        kept = {name: state[name] for name in ("names", "mean", "deviation")}
        return {
            "kind": "series", "time": self.time, "rate": self.rate, "centre": self.centre,
            "longest": self.longest, **kept,
        }  # fmt: skip

    def content(self, cell: Any, root: Path) -> bytes:
        """The file, or the numbers as they are written."""
        if isinstance(cell, np.ndarray):
            cell = cell.tolist()
        if isinstance(cell, (list, tuple, dict)):
            return repr(cell).encode()
        return load_bytes(cell, root, KINDS)[0]

    def media_info(self, cell: Any, root: Path) -> MediaInfo:
        """Nothing: how many steps there may be is limited when they are read."""
        return MediaInfo()

    def request_type(self, state: State) -> Any:
        """A file; or numbers, as `open_series` takes them."""
        return Annotated[bytes | list[Any] | dict[str, Any], BeforeValidator(sent_bytes),
                         WithJsonSchema(SENT)]  # fmt: skip

    def augment(self, item: Tensor, view: int) -> Tensor:
        """View 0 the series; others noisy, with each channel larger or smaller, and faster here
        and slower there (Um et al. 2017, arXiv:1706.00527).

        What is drawn depends on the view and the numbers alone.
        """
        if view == 0:
            return item
        seed = view * 7919 + int(item.double().abs().sum() * 1000) % 1_000_000_007
        generator = torch.Generator().manual_seed(seed)
        values, measured = warped(item, self.warp, generator).unbind(dim=1)  # (L, C) each
        factors = 1 + self.scale * torch.randn(values.shape[1], generator=generator)
        values = values * factors + self.jitter * torch.randn(values.shape, generator=generator)
        return torch.stack([values, (measured > 0.5).float()], dim=1)

    def corrupt(self, item: Tensor, kind: str, strength: int) -> Tensor:
        """White noise of 0.1 to 1.6 standard deviations of each channel."""
        seed = int(item.double().abs().sum() * 1000) % 1_000_000_007
        noise = torch.randn(item[:, 0].shape, generator=torch.Generator().manual_seed(seed))
        worse = item.clone()
        worse[:, 0] += NOISE * 2 ** (strength - 1) * noise
        return worse

    def example(self, state: State) -> Tensor:
        """Every channel at its mean, as long as series come."""
        ones = torch.ones(self.longest, len(state["mean"]))
        return torch.stack([torch.zeros_like(ones), ones], dim=1)

    def samples(self) -> list[Any]:
        """Two mappings from channel to growing numbers, with the channels that the settings name
        and as many others as make whole points."""
        special = [self.time, *self.centre]
        named = dict.fromkeys(channel for channel in special if isinstance(channel, str))
        count = 2 + max([0, *(channel for channel in special if isinstance(channel, int))])
        while (count + len(named) - (self.time is not None)) % max(1, len(self.centre)):
            count += 1
        names = [*(f"channel {number}" for number in range(count)), *named]
        return [
            {name: [(step + place) / (self.rate or 1) for step in range(8)] for name in names}
            for place in (0, 1)
        ]

    def fingerprint(self, state: State) -> str:
        """All settings of reading and augmenting, and what was learned."""
        settings = [self.time, self.rate, self.centre, self.longest]
        views = [self.jitter, self.scale, self.warp]
        return json.dumps(["series", READING_VERSION, settings, views, state], sort_keys=True)

    def picture(self, cell: Any, root: Path, state: State) -> Tensor | None:
        """None: a series has none."""
        return None

    def segments(self, cell: Any, root: Path, state: State) -> Segments:
        """Moments of the channels, side by side in a lane each; what is hidden is a gap at the
        training rows' mean. Where there are many channels, several share a lane."""
        item = self.read(cell, root, state)
        steps, _, channels = item.shape
        names = state["names"] or [f"channel {n}" for n in range(channels)]
        lanes, times = min(channels, LANES), min(steps, MOMENTS)
        lane = np.arange(channels) * lanes // channels  # of each channel
        moment = np.arange(steps) * times // steps  # of each step

        def keep(kept: Kept) -> Tensor:
            seen = torch.from_numpy(kept.reshape(lanes, times)[lane][:, moment].T)  # (L, C)
            return item * seen[:, None]

        rows = [_joined([n for n, at in zip(names, lane, strict=True) if at == r])
                for r in range(lanes)]  # fmt: skip
        first = [int(np.flatnonzero(moment == n)[0]) for n in range(times)]
        unit = 1 if self.rate is None else self.rate
        columns = [f"{step / unit:.4g}" for step in first]
        return Grid(
            _lines(item[:, 0].numpy(), lane), (WIDE, HIGH * lanes), rows, columns, keep,
            spans=lambda tokens: self.spans(tokens, times),
        )  # fmt: skip

    def spans(self, tokens: int, moments: int) -> NDArray[np.float64]:
        """(T, moments) how much of each of an encoder's tokens lies in each of the moments, which
        are even: the tokens are too, unless a representation says otherwise."""
        return along(tokens, moments)


class Moments:
    """Mean and deviation of C channels over many series, gaps left out, one series at a time.

    Series are added as Chan, Golub and LeVeque (1979) merge samples, which loses no digits where
    the mean is far from zero.
    """

    def __init__(self, channels: int) -> None:
        self.series = 0
        self.gaps = np.zeros(channels, bool)
        self.level, self.change = Sums(channels), Sums(channels)

    def add(self, values: np.ndarray) -> None:
        """Add (T, C), NaN where nothing was measured."""
        self.series += 1
        self.gaps |= np.isnan(values).any(axis=0)
        self.level.add(values)
        self.change.add(np.diff(values, axis=0))

    def to_json(self) -> State:
        """As a state."""
        return {
            "mean": _rounded(self.level.mean),
            "deviation": _rounded(self.level.deviation()),
            "change": _rounded(self.change.deviation()),
            "gaps": self.gaps.tolist(),
        }


class Sums:
    """Count, mean and summed squared distance from the mean of C channels."""

    def __init__(self, channels: int) -> None:
        self.count, self.mean, self.squares = np.zeros((3, channels))

    def add(self, values: np.ndarray) -> None:
        """Add the numbers among (T, C)."""
        known = np.isfinite(values)
        count = known.sum(axis=0)
        mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1)
        squares = np.where(known, values - mean, 0.0) ** 2
        total = np.maximum(self.count + count, 1)
        apart = mean - self.mean
        self.squares += squares.sum(axis=0) + apart**2 * self.count * count / total
        self.mean += apart * count / total
        self.count += count

    def deviation(self) -> np.ndarray:
        """Standard deviation of each channel; 1 where it never differs."""
        deviation = np.sqrt(self.squares / np.maximum(self.count, 1))
        alike = deviation <= 1e-9 * np.maximum(np.abs(self.mean), 1e-9)
        return np.where(alike, 1.0, deviation)


def _lines(values: NDArray[np.float64], lane: NDArray[np.int64]) -> str:
    """(L, C) and the lane of each channel -> lines for an SVG, each lane in its own range."""
    places, found = np.linspace(0, WIDE, len(values)), []
    for number in range(lane.max() + 1):
        inside = values[:, lane == number]
        low, high = float(inside.min()), float(inside.max())
        heights = HIGH * (number + 0.9 - 0.8 * (inside - low) / max(high - low, 1e-9))
        for line in heights.T:
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(places, line, strict=True))
            found.append(f'<polyline points="{points}" class="line"/>')
    return "".join(found)


def _joined(names: list[str]) -> str:
    """One name, or the first and the last of several."""
    return names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]


def warped(item: Tensor, spread: float, generator: torch.Generator) -> Tensor:
    """(L, ...) at a speed that wanders, (L', ...), L' at most L: from the first step to the last,
    interpolated linearly."""
    length = len(item)
    share = 1 - (1 - SHORTEST) * float(torch.rand(1, generator=generator)) * bool(spread)
    steps = max(1, round(length * share))
    speeds = torch.exp(spread * torch.randn(KNOTS, generator=generator))
    speed = np.interp(np.linspace(0, KNOTS - 1, steps), np.arange(KNOTS), speeds.numpy())
    way = np.concatenate([[0.0], np.cumsum(speed[1:])])
    at = torch.from_numpy(way / max(way[-1], 1e-12) * (length - 1)).float()
    before = at.long().clamp(max=length - 1)
    after = (before + 1).clamp(max=length - 1)
    part = (at - before).reshape(-1, *[1] * (item.ndim - 1))
    return torch.lerp(item[before], item[after], part)
