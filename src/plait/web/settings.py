"""What the server allows, and whom: every limit once, with its default."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from plait.data.media import MediaInfo
from plait.types import BadCell, UsageError

MEGABYTE = 1_000_000
LEAST_KEY = 16  # letters


@dataclass(frozen=True)
class Settings:
    """How much a client may send, how much may wait, and for how long.

    Attributes:
        request_bytes: of a request's body.
        held_bytes: of all requests' that are under way.
        pixels: of a picture, or of a video's frame.
        seconds: of a sound or a video.
        records: of a batch request.
        beams: of a text's search, and sentences that it may find.
        waiting: records that wait for the model; more are turned away.
        batch: records that a thread answers together; so few that while two threads answer some of
            32 clients the others' requests are there.
        gather: seconds without a further one, after which those that wait are answered.
        timeout: seconds that a request waits for its answer.
        reading: seconds that a client may take to send its request.
        hosts: names that the server is called by beside its addresses; empty where all are right.
        keys: digests of the keys, one of which a client must name; empty where none is needed.
    """

    request_bytes: int = 20 * MEGABYTE
    held_bytes: int = 256 * MEGABYTE
    pixels: int = 40 * MEGABYTE
    seconds: float = 120.0
    records: int = 64
    beams: int = 10
    waiting: int = 128
    batch: int = 11
    gather: float = 0.004
    timeout: float = 30.0
    reading: float = 20.0
    hosts: frozenset[str] = frozenset()
    keys: tuple[bytes, ...] = field(default=(), repr=False)

    def check(self, extent: MediaInfo) -> None:
        """Raises BadCell where a file claims to hold more than is allowed here."""
        if extent.pixels > self.pixels:
            raise BadCell(
                f"{extent.pixels:,} pixels", expected=f"{self.pixels:,} at the most",
                hint="scale it down first",
            )  # fmt: skip
        if extent.seconds > self.seconds:
            raise BadCell(
                f"{extent.seconds:,.0f} seconds", expected=f"{self.seconds:,.0f} at the most",
                hint="cut it into pieces",
            )  # fmt: skip

    def admits(self, key: str) -> bool:
        """Whether a key is one of those; in a time that doesn't tell how nearly it is."""
        given = digest(key)
        # All are compared, and none of the results decides anything before the last.
        return sum(hmac.compare_digest(given, known) for known in self.keys) > 0


def digest(key: str) -> bytes:
    """What is kept of a key: all are of one length."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def read_keys(lines: Sequence[str]) -> tuple[bytes, ...]:
    """The digests of keys, one a line; empty lines and those after # count for nothing.

    Raises:
        UsageError: there is none, or one is short enough to be guessed.
    """
    keys = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not keys:
        raise UsageError("there is no key", expected="one a line")
    if any(len(key) < LEAST_KEY for key in keys):
        raise UsageError("a key is short", expected=f"{LEAST_KEY} letters at least")
    return tuple(digest(key) for key in keys)


def keys_of_file(path: Path) -> tuple[bytes, ...]:
    """The digests of the keys in a file. Raises UsageError where it can't be read."""
    try:
        return read_keys(path.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"the keys in {path} can't be read ({why})") from None
