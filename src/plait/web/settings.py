"""Every limit of the server with its default, and the keys that clients need."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from plait.data.cells import MediaInfo
from plait.types import BadCell, UsageError

MEGABYTE = 1_000_000
KEY_LENGTH = 16  # characters of the shortest key that can't simply be guessed


@dataclass(frozen=True)
class Settings:
    """How much a client may send, how long everything may take, and who may ask."""

    request_bytes: int = 20 * MEGABYTE  # largest request body
    held_bytes: int = 256 * MEGABYTE  # largest size of all request bodies in memory together
    pixels: int = 40 * MEGABYTE  # largest picture, or frame of a video
    seconds: float = 120.0  # longest sound or video
    records: int = 64  # most records in a batch request
    beams: int = 10  # widest beam search, and most sentences that it returns
    queue: int = 128  # most records that wait for the model; requests for more are turned away
    # Most records that one thread answers together. Few enough that, with 32 clients and two
    # threads, the requests for the next batch arrive while this one is computed.
    batch: int = 11
    gather: float = 0.004  # seconds without a further record after which a batch starts
    timeout: float = 30.0  # seconds that a request waits for its answer
    read_timeout: float = 20.0  # seconds that a client may take to send its request
    hosts: frozenset[str] = frozenset()  # own names, besides IP addresses; empty for any name
    keys: tuple[bytes, ...] = field(default=(), repr=False)  # digests; empty if none is needed

    def check_size(self, media: MediaInfo) -> None:
        """Raise BadCell if a file claims to hold more than is allowed."""
        if media.pixels > self.pixels:
            raise BadCell(
                f"{media.pixels:,} pixels", expected=f"at most {self.pixels:,}",
                hint="scale it down first",
            )  # fmt: skip
        if media.seconds > self.seconds:
            raise BadCell(
                f"{media.seconds:,.0f} seconds", expected=f"at most {self.seconds:,.0f}",
                hint="cut it into pieces",
            )  # fmt: skip

    def accepts(self, key: str) -> bool:
        """Whether this is one of the keys; takes equally long whichever it resembles."""
        given = _digest(key)
        return sum(hmac.compare_digest(given, known) for known in self.keys) > 0


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def read_keys(lines: Iterable[str]) -> tuple[bytes, ...]:
    """The digests of keys, one a line; empty lines and lines starting with # are ignored. Raises
    UsageError if there is no key, or one is so short that it could be guessed."""
    stripped = (line.strip() for line in lines)
    keys = [line for line in stripped if line and not line.startswith("#")]
    if not keys:
        raise UsageError("there is no key", expected="one per line")
    if any(len(key) < KEY_LENGTH for key in keys):
        raise UsageError("a key is too short", expected=f"at least {KEY_LENGTH} characters")
    return tuple(map(_digest, keys))


def keys_of_file(path: Path) -> tuple[bytes, ...]:
    """The digests of the keys in a file. Raises UsageError if it can't be read."""
    try:
        return read_keys(path.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise UsageError(f"can't read the keys in {path} ({reason})") from None
