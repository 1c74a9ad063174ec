"""Forms, whole and broken."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers import encode_form

from plait.types import UsageError
from plait.web.schema import read_form


def test_files_are_bytes_and_fields_are_strings() -> None:
    parts = {"inputs.photo": b"\x89PNG\r\n\r\n--edgy--edge-\x00", "inputs.words": "grün\r\nund rot",
             "empty": "", 'a"b': b""}  # fmt: skip
    kind, body = encode_form({name.replace('"', "%22"): value for name, value in parts.items()})
    assert dict(read_form(kind, body)) == parts


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from("abc"), st.binary(max_size=80) | st.text("ab\r\n", max_size=9))
)
def test_whatever_is_in_it_comes_out(parts: dict[str, str | bytes]) -> None:
    kind, body = encode_form(parts)
    if parts:
        assert dict(read_form(kind.replace("edge", '"edge"'), body)) == parts


KIND, WHOLE = encode_form({"a": "x", "b": b"yy"})


@pytest.mark.parametrize("length", range(len(WHOLE) - 4))
def test_a_form_that_is_cut_short_is_refused(length: int) -> None:
    with pytest.raises(UsageError):
        list(read_form(KIND, WHOLE[:length]))


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("multipart/form-data", WHOLE, "no boundary"),
        ('multipart/form-data; boundary=""', WHOLE, "no boundary"),
        ("multipart/form-data; boundary=other", WHOLE, "damaged or cut short"),
        (KIND, b"--edge\r\nContent-Type: a/b\r\n\r\nx\r\n--edge--", "no name"),
        (KIND, b"--edge\r\nContent-Disposition: form-data\r\n\r\nx\r\n--edge--", "no name"),
        (KIND, b'--edge\r\nContent-Disposition: form-data; name="a"\r\nx\r\n--edge--', "no name"),
        (KIND, WHOLE.replace(b"x", b"\xff"), "not UTF-8"),
        (KIND, b"--edge\r\n\r\n" * 2000 + b"--edge--", "over 1,000 parts"),
    ],
)
def test_a_broken_form_is_one_clear_line(kind: str, body: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        list(read_form(kind, body))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200))
def test_garbage_raises_nothing_else(body: bytes) -> None:
    for form in (body, b"--edge\r\n" + body + b"\r\n--edge--"):
        try:
            list(read_form(KIND, form))
        except UsageError:
            continue
