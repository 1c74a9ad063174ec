"""Digests of content, by which computed results are named."""

from __future__ import annotations

import hashlib


def digest(*parts: bytes | str | memoryview) -> str:
    """Hex digest of the parts; their boundaries count too."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        state.update(len(raw).to_bytes(8, "little"))
        state.update(raw)
    return state.hexdigest()
