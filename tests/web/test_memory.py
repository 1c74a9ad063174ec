"""Nothing of a request stays behind its answer, whatever the answer is."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import FrameType

import pytest
from servers import Running, png


@pytest.fixture
def circles() -> Iterator[list[object]]:
    """What only the collector frees, which is off meanwhile; filled by `gc.collect`."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("photo", [png(), png()[:900], b"no picture", b"\xff\xd8\xff" + bytes(99)])
def test_no_frame_that_held_a_file_waits_to_be_collected(
    served: Running, photo: bytes, circles: list[object]
) -> None:
    for _ in range(3):
        served.form("/models/both/predict", {"inputs.photo": photo})
    gc.collect()
    frames = [o.f_code.co_name for o in circles if isinstance(o, FrameType)]
    assert not [name for name in frames if "test" not in name]
