from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.data import series as module
from plait.data.series import KINDS, Series, open_series, resample
from plait.data.tables import Table
from plait.pipeline.columns import guess_column
from plait.types import BadCell

ROWS = np.array([[1.5, -2.0], [3.0, np.nan], [0.25, 1e3]])
SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "utd_mhad"


def npy(values: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, **options)
    return stream.getvalue()


def parquet(**columns: list[Any]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet

    stream = io.BytesIO()
    pa.parquet.write_table(pa.table(columns), stream)
    return stream.getvalue()


def values(cell: Any, root: Path = Path()) -> np.ndarray:
    return open_series(cell, root).values


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1.5,-2\n3,\n0.25,1e3\n", None),
        ("x,y\n1.5,-2\n3,nan\n0.25,1e3", ("x", "y")),
        ("\ufeffx;y\r\n1,5;-2\r\n3;NA\r\n0,25;1000\r\n", ("x", "y")),
        ("x\ty\n1.5\t-2\n3\tinf\n0.25\t1000", ("x", "y")),
        ("# x y\n", None),
        ("1.5 -2\n\n3   -\n0.25 1000\n", None),
        ('"a, b",y\n1.5,-2\n3,""\n0.25,1000', ("a, b", "y")),
        ("x,x\n1.5,-2\n3,null\n0.25,1000", None),
        ("  \nx,y\n1.5,-2\n \n3,\n\n0.25,1e3\n   ", ("x", "y")),
    ],
    ids=[
        "bare",
        "header",
        "semicolons",
        "tabs",
        "nothing",
        "spaces",
        "quotes",
        "two-alike",
        "lines-of-spaces",
    ],
)
def test_every_way_of_writing_rows(text: str, names: tuple[str, ...] | None) -> None:
    if text == "# x y\n":
        with pytest.raises(BadCell, match="0 rows of 3 channels"):
            open_series(text.encode(), Path())
        return
    found = open_series(text.encode(), Path())
    np.testing.assert_array_equal(found.values, ROWS)
    assert found.names == names


def test_a_row_of_empty_cells_is_a_gap() -> None:
    np.testing.assert_array_equal(values(b"1,2\n,\n3,4\n")[1], [np.nan, np.nan])


@pytest.mark.parametrize("kind", ["<f2", "<f4", "<f8", ">f4", "i1", "<i8", "u2", "?"])
def test_every_kind_of_array(kind: str) -> None:
    numbers = np.arange(6).reshape(3, 2).astype(kind)
    np.testing.assert_array_equal(values(npy(numbers)), numbers.astype(float))


def test_axes_behind_the_first_are_channels() -> None:
    assert values(npy(np.ones(5))).shape == (5, 1)
    cube = np.arange(24.0).reshape(4, 3, 2)
    np.testing.assert_array_equal(values(npy(cube)), cube.reshape(4, 6))
    np.testing.assert_array_equal(values(npy(np.asfortranarray(cube))), cube.reshape(4, 6))


def test_parquet_s_columns_are_channels(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(parquet(x=[1.5, 3, 0.25], y=[-2, None, 1000]))
    found = open_series("a.bin", tmp_path)
    np.testing.assert_array_equal(found.values, ROWS)
    assert found.names == ("x", "y")


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ([1, None, 2.5], [[1], [np.nan], [2.5]]),
        ([[1, 2], [3, None]], [[1, 2], [3, np.nan]]),
        ({"a": [1, 2], "b": [3, None]}, [[1, 3], [2, np.nan]]),
    ],
)
def test_lists_inside_a_table(cell: Any, expected: list[list[float]]) -> None:
    np.testing.assert_array_equal(values(cell), expected)


class Bomb:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("it was unpickled",))


CLAIM = npy(np.zeros(4)).replace(b"(4,), }" + b" " * 12, b"(4000000000000,), }")
BAD: dict[str, tuple[Any, str]] = {
    "empty": (b"", r"empty \(0 bytes\)"),
    "ragged": (b"1,2\n3\n", "line 2 has 1 cells; expected 2"),
    "word": (b"x,y\n1,2\n3,dog\n", "line 3 contains 'dog'"),
    "header": (b"x,y\n", "0 rows of 2 channels"),
    "gaps": (b"x,y\n,\n", "no numbers"),
    "binary": (b"\x89PNG\r\n\x1a\n\xff\xd8" * 9, "not a text file of numbers"),
    "wide": (b"1," * 5000 + b"1\n", "5,001 channels"),
    "pickle": (npy(np.array([Bomb()], object), allow_pickle=True), "pickled objects"),
    "bare pickle": (pickle.dumps([1.0]), "not a text file of numbers"),
    "complex": (npy(np.ones(3, complex)), "contains complex128"),
    "words": (npy(np.array(["a"])), "contains <U1"),
    "fields": (npy(np.zeros(3, "i4,f4")), "contains "),
    "scalar": (npy(np.float32(3)), "a single number"),
    "no rows": (npy(np.zeros((0, 3))), "0 rows of 3 channels"),
    "no channels": (npy(np.zeros((3, 0))), "3 rows of 0 channels"),
    "cut": (npy(np.zeros(40))[:-9], "damaged NPY"),
    "claim": (CLAIM, r"has the shape \(4000000000000,\)"),
    "parquet of words": (parquet(x=["a"]), "column 'x' contains string"),
    "parquet cut": (parquet(x=[1.0])[:-9], "damaged Parquet"),
    "ragged list": ([[1, 2], [3]], "rows of 1 to 2 numbers"),
    "list of words": (["a", "b"], "something other than numbers"),
    "list of both": ([1, [2]], "rows of 0 to 1 numbers"),
    "mapping": ({"a": [1], "b": [1, 2]}, "1 to 2 numbers"),
    "empty mapping": ({}, "0 rows"),
    "deep mapping": ({"a": [[1, 2]]}, "contain lists"),
    "nothing": (None, "the cell is empty"),
    "number": (7, "the cell contains 7"),
}  # fmt: skip


def test_a_parquet_of_words_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file may hold the same long text a million times."""
    import pyarrow.parquet

    def read(*_: Any, **__: Any) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr(pyarrow.parquet.ParquetFile, "read", read)
    with pytest.raises(BadCell, match="column 'x' contains string"):
        open_series(parquet(x=["a" * 1000] * 1000), Path())


@pytest.mark.parametrize(("cell", "words"), BAD.values(), ids=BAD.keys())
def test_a_bad_series_is_one_clear_line(cell: Any, words: str) -> None:
    with pytest.raises(BadCell, match=words) as error:
        open_series(cell, Path())
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadCell, match=r"gone\.csv is missing"):
        open_series("gone.csv", tmp_path)


@pytest.mark.parametrize(
    "cell", [b"1\n" * 30, npy(np.zeros(30)), [0.0] * 30, parquet(x=[0.0] * 30)]
)
def test_too_long(cell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STEPS", 20)
    with pytest.raises(BadCell, match=r"(21|30) rows of 1 channels; expected at most 20 rows"):
        open_series(cell, Path())


@settings(max_examples=100, deadline=None)
@given(
    start=st.sampled_from([b"", b"1,2\n", npy(ROWS)[:60], npy(ROWS)[:120], parquet(x=[1.0])[:200]]),
    data=st.binary(max_size=200),
)
def test_no_bytes_crash(start: bytes, data: bytes) -> None:
    message, found = "", None
    try:
        found = open_series(start + data, Path())
    except BadCell as error:
        message = str(error)
    assert "\n" not in message
    assert found is None or min(found.values.shape) > 0


# --- channels and time ---


def test_a_channel_by_name_or_place() -> None:
    found = open_series({"a": [1], "b": [2]}, Path())
    assert (found.place("b"), found.place(0)) == (1, 0)
    for channel in ("c", 2, -1):
        with pytest.raises(BadCell, match=f"no channel {channel!r}; expected one of: a, b"):
            found.place(channel)
    with pytest.raises(BadCell, match="expected 0 to 1"):
        open_series([[1, 2]], Path()).place("a")


def test_resampling_is_linear_interpolation() -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.05, 0.15, 40)) + 100
    rows = np.stack([rng.normal(size=40), times, rng.normal(size=40)], axis=1)
    found = resample(Series(rows, ("x", "t", "y"), "it"), "t", 20.0)
    grid = times[0] + np.arange(int((times[-1] - times[0]) * 20) + 1) / 20
    expected = np.stack([np.interp(grid, times, rows[:, i]) for i in (0, 2)], axis=1)
    measured = np.isfinite(found.values)
    np.testing.assert_allclose(found.values[measured], expected[measured])
    assert measured.mean() > 0.95
    assert found.names == ("x", "y")


def test_a_hole_in_time_is_a_gap() -> None:
    rows = [[0, 0.0, 1], [1, 2.0, 1], [2, 4.0, None], [3, 6, 1], [9, 18, 1], [10, 20, 1]]
    found = resample(open_series(rows, Path()), 0, 2.0)
    x, y = found.values.T
    assert np.flatnonzero(np.isnan(x)).tolist() == list(range(9, 16))  # 4.5 to 7.5: over 1 s away
    np.testing.assert_allclose(x[np.isfinite(x)], np.arange(21)[np.isfinite(x)])
    assert np.isfinite(y[:9]).all()  # one row missing: its neighbours are 1 s away


def test_rows_without_a_time_or_at_one_time_twice() -> None:
    rows = [[0, 5.0], [None, 99], [1, 6], [1, 99], [2, 7]]
    found = resample(open_series(rows, Path()), 0, 1.0)
    assert found.values.ravel().tolist() == [5, 6, 7]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[0, 1], [2, 1], [1, 1]], "decreases after 2"),
        ([[None, 1], [None, 2]], "has no numbers"),
        ([[0, 1], [1e18, 1]], "rows of 1 channels; expected"),
        ([[0], [1]], "rows of 0 channels"),
    ],
)
def test_times_that_can_t_be_used(rows: list[Any], words: str) -> None:
    with pytest.raises(BadCell, match=words):
        resample(open_series(rows, Path()), 0, 10.0)


# --- guessing ---


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"id": [1], "imu": ["a.csv"]}, "imu"),
        ({"x": ["a.wav"], "y": ["a.npy"]}, "y"),
        ({"x": [["a"]], "y": [[[1, None], [3, 4]]]}, "y"),
        ({"x": [{"a": "b"}], "y": [{"a": [1.0]}]}, "y"),
        ({"x": ["a.csv"], "sensor": ["a text of words"]}, None),
        ({"skeleton": [npy(ROWS)], "y": ["a.npy"]}, "skeleton"),
    ],
)
def test_guess_column(columns: dict[str, list[Any]], found: str | None) -> None:
    assert guess_column(Table(Path("t.csv"), Path(), columns), "series") == found


def test_a_path_of_an_array_is_no_class() -> None:
    table = Table(Path("t.csv"), Path(), {"label": ["a.npy"], "y": ["dog"]})
    assert guess_column(table, "category") == "y"


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the data in {SHARED}")
def test_real_recordings() -> None:
    found = open_series("inertial/a10_s1_t1.csv", SHARED)
    assert found.names == ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
    assert np.isfinite(found.values).all()
    assert open_series("skeleton/a10_s1_t1.npy", SHARED).values.shape[1] == 60


def test_what_is_expected_is_said() -> None:
    with pytest.raises(BadCell) as error:
        open_series(b"", Path())
    assert KINDS in str(error.value)
