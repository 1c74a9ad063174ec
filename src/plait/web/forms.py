"""Forms with files (multipart/form-data, RFC 7578), taken apart in memory: nothing that a client
sends is written to disk."""

from __future__ import annotations

import re
from collections.abc import Iterator

from plait.types import UsageError

MAX_PARTS = 1000
BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,70})"|([^\s;",]{1,70}))', re.I)
NAME = re.compile(rb';\s*name="([^"\r\n]{0,1000})"', re.I)
FILE = re.compile(rb";\s*filename\*?=", re.I)
DISPOSITION = re.compile(rb"^content-disposition:\s*form-data\s*(;[^\r\n]*)$", re.I | re.M)


def read_form(content_type: str, body: bytes) -> Iterator[tuple[str, bytes | str]]:
    """Each part's name and value, bytes where it is a file and a string where it isn't.

    Raises:
        UsageError: it is damaged or cut short.
    """
    found = BOUNDARY.search(content_type)
    if found is None:
        raise UsageError("the form has no boundary", expected="multipart/form-data; boundary=...")
    boundary = b"\r\n--" + (found[1] or found[2]).encode("latin-1", "replace")
    whole = b"\r\n" + body
    if whole.count(boundary) > MAX_PARTS + 1:
        raise UsageError(f"the form has over {MAX_PARTS:,} parts")
    _before, *parts = whole.split(boundary)
    if not parts or not parts[-1].startswith(b"--"):
        raise UsageError("the form is cut short or damaged", expected="a boundary at its end")
    return map(_part, parts[:-1])


def _part(part: bytes) -> tuple[str, bytes | str]:
    """Of what stands between two boundaries: a line's end, headers, an empty line, the value."""
    headers, empty_line, value = part.partition(b"\r\n\r\n")
    disposition = DISPOSITION.search(headers.replace(b"\r\n", b"\n"))
    name = disposition and NAME.search(disposition[1])
    if not (empty_line and disposition and name):
        raise UsageError("a part of the form has no name", expected='form-data; name="..."')
    try:
        title = name[1].decode().replace("%22", '"')
        return title, value if FILE.search(disposition[1]) else value.decode()
    except UnicodeDecodeError:
        raise UsageError("a part of the form is no UTF-8", hint="send bytes as a file") from None
