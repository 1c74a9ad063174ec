from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensors import pad_rows, reader

from plait.modalities.image.pixels import Pixels
from plait.pipeline.cache import HALF, WHOLE, FeatureSpace
from plait.pipeline.inputs import InputReader, cache_features, view_seed
from plait.types import BadCell, PlaitError


def source(folder: Path, size: int = 16) -> InputReader:
    torch.manual_seed(0)
    return reader("image", Pixels(size=size, patch=8, width=8, views=2), folder)


def fill(
    source: InputReader, cells: list[Any], views: int, handle: Any
) -> tuple[FeatureSpace, list[str | None]]:
    features = cache_features(source, cells, views, handle)
    return features.space, list(features.keys)


def stop(row: int, error: BadCell) -> None:
    raise error


def photos(squares: Path) -> list[str]:
    return [path.name for path in sorted(squares.parent.glob("*.png"))[:10]]


def test_rows_come_back_as_they_went_in(tmp_path: Path) -> None:
    space = FeatureSpace("s", (3, 2), folder=tmp_path)
    rows = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float16)
    space.add(dict(zip("ab", rows[:2], strict=True)))
    space.add(dict(zip("cd", rows[2:], strict=True)))
    again = FeatureSpace("s", (3, 2), folder=tmp_path)
    np.testing.assert_array_equal(again.get(["d", "a", "c", "a"]), rows[[3, 0, 2, 0]])
    assert "b" in again
    assert "e" not in again


def test_rows_of_any_length_and_whole_numbers(tmp_path: Path) -> None:
    for dtype in (HALF, WHOLE):
        space = FeatureSpace(dtype.name, (9, 2), dtype, folder=tmp_path)
        rows = {str(n): np.arange(2 * n, dtype=dtype).reshape(n, 2) for n in (3, 0, 9, 1)}
        space.add(rows)
        space.add({"more": np.full((5, 2), 70_000 if dtype == WHOLE else 7, dtype)})
        again = FeatureSpace(dtype.name, (9, 2), dtype, folder=tmp_path)
        for key, row in zip("1039", again.get(list("1039")), strict=True):
            np.testing.assert_array_equal(row, rows[key])
        assert again.get(["more"])[0].tolist() == [[70_000 if dtype == WHOLE else 7] * 2] * 5


def test_a_batch_is_padded_with_zeros() -> None:
    example = np.zeros((4, 2), np.float16)
    rows = [np.ones((2, 2), np.float16), None, np.ones((3, 2), np.float16)]
    padded, lengths = pad_rows(rows, example)
    assert padded.dtype == torch.float32
    assert lengths.tolist() == [2, 0, 3]
    assert padded[..., 0].tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 1]]
    ids, _ = pad_rows([np.array([5, 6], np.int32)], np.zeros(4, np.int32))
    assert ids.dtype == torch.int64
    absent, lengths = pad_rows([None, None], example)
    assert absent.shape == (2, 4, 2)
    assert lengths.tolist() == [0, 0]


def test_large_values_stay_finite() -> None:
    blank = reader("image", Pixels(size=8, patch=8, width=8), Path())
    encoder: Any = blank.engine.encoders["image"]  # type: ignore[attr-defined]
    encoder.prepare = lambda items: [torch.full((1, 1), 1e9)]
    assert float(blank.example[0, 0]) == 65504


def test_a_chunk_cut_short_counts_as_absent(tmp_path: Path) -> None:
    space = FeatureSpace("s", (3,), folder=tmp_path)
    space.add({"a": np.ones(3), "b": np.ones(3)})
    (chunk,) = space.folder.glob("*.rows")
    chunk.write_bytes(chunk.read_bytes()[:-1])
    assert "a" not in FeatureSpace("s", (3,), folder=tmp_path)


def test_a_hit_equals_a_miss(squares: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = photos(squares)
    space, keys = fill(source(squares.parent), names, 2, stop)
    first = space.get([f"{key}.{view}" for key in keys for view in (0, 1)])
    items = [
        (name, view, view_seed(str(key)))
        for name, key in zip(names, keys, strict=True)
        for view in (0, 1)
    ]
    direct = np.stack(list(source(squares.parent).rows(items)))
    np.testing.assert_array_equal(first, direct)

    def never(*args: object) -> None:
        raise AssertionError("a cached photo was read")

    monkeypatch.setattr(Pixels, "read", never)
    space, again = fill(source(squares.parent), names, 2, stop)
    assert again == keys
    np.testing.assert_array_equal(first, space.get([f"{k}.{v}" for k in keys for v in (0, 1)]))


def test_the_key_is_content_preprocessing_and_weights(squares: Path, tmp_path: Path) -> None:
    (tmp_path / "renamed.png").write_bytes((squares.parent / "000.png").read_bytes())
    (tmp_path / "001.png").write_bytes((squares.parent / "002.png").read_bytes())
    here, there = source(squares.parent), source(tmp_path)
    assert here.keys(["000.png"]) == there.keys(["renamed.png"])
    assert here.keys(["001.png"]) != there.keys(["001.png"])
    assert here.space().folder == there.space().folder
    assert source(tmp_path, size=24).space().folder != here.space().folder


def test_bad_photos_by_policy(squares: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no photo at all")
    good = str(squares.parent / "000.png")
    cells = [good, "bad.png", None, "gone.png", "bad.png"]
    with pytest.raises(BadCell, match=r"bad\.png"):
        fill(source(tmp_path), cells, 1, stop)
    met: dict[int, str] = {}
    _, keys = fill(source(tmp_path), cells, 2, lambda row, error: met.update({row: str(error)}))
    assert [key is not None for key in keys] == [True, False, False, False, False]
    assert sorted(met) == [1, 3, 4]  # an empty cell is no bad cell
    assert "gone.png" in met[3]


def test_prepare_gives_the_error_of_a_bad_cell(squares: Path, tmp_path: Path) -> None:
    good = str(squares.parent / "000.png")
    outcomes = list(source(tmp_path).rows([(good, 0, 0), ("gone.png", 0, 0), (good, 0, 0)]))
    assert isinstance(outcomes[1], BadCell)
    np.testing.assert_array_equal(outcomes[0], outcomes[2])


FILL = """
import sys, torch
from pathlib import Path
from plait.modalities.image.pixels import Pixels
from plait.network import EncoderEngine
from plait.pipeline.inputs import InputReader, cache_features
folder = Path(sys.argv[1])
modality = Pixels(size=16, patch=8, width=8, views=2)
engine = EncoderEngine({"image": modality.encoder(True)}, torch.device("cpu"))
names = [p.name for p in sorted(folder.glob("*.png"))]
made = cache_features(InputReader("image", modality, engine, folder), names, 2, None)
print(sum(float(row.astype("f8").sum()) for row in made.space.get([f"{k}.1" for k in made.keys])))
"""


def test_two_processes_fill_one_cache(squares: Path) -> None:
    command = [sys.executable, "-c", FILL, str(squares.parent)]
    running = [
        subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    sums = {process.communicate()[0] for process in running}
    assert all(process.returncode == 0 for process in running)
    assert len(sums) == 1
    (space,) = (Path(os.environ["PLAIT_CACHE"]) / "features").iterdir()
    rows = sum(path.stat().st_size for path in space.glob("*.rows")) // (3 * 16 * 16 * 2)
    assert rows == 2 * len(list(squares.parent.glob("*.png")))  # nothing was computed twice


def test_too_little_disk(tmp_path: Path) -> None:
    space = FeatureSpace("s", (1 << 20,), folder=tmp_path)
    with pytest.raises(PlaitError, match="GB of disk"):
        space.make_room(1 << 30)


def filled(name: str, folder: Path, chunks: int) -> FeatureSpace:
    space = FeatureSpace(name, (512,), folder=folder)
    for chunk in range(chunks):
        space.add({f"{chunk}": np.ones(512)})
    return space


def test_short_rows_need_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of ten terms of a vocabulary of a million takes no more than its terms."""
    monkeypatch.setenv("PLAIT_CACHE_GB", "0.1")
    space = FeatureSpace("s", (1_000_000, 2), WHOLE, folder=tmp_path)
    with pytest.raises(PlaitError, match=r"need 8\.0 GB"):
        space.make_room(1000)
    space.add({str(n): np.ones((10, 2), WHOLE) for n in range(300)})
    space.make_room(1000)
    with pytest.raises(PlaitError, match=r"need 0\.8 GB"):
        space.make_room(10_000_000)


def test_the_longest_unused_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, busy, new = (filled(name, tmp_path, 1) for name in ("old", "busy", "new"))
    os.utime(old.folder, (1, 1))
    monkeypatch.setenv("PLAIT_CACHE_GB", str(4000 / 2**30))
    new.make_room(1, {"0"})
    assert not old.folder.exists()
    assert busy.folder.exists()
    assert "0" in new


def test_a_space_is_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = filled("s", tmp_path, 6)
    monkeypatch.setenv("PLAIT_CACHE_GB", str(4000 / 2**30))
    space.make_room(1, {"5"})
    assert "5" in space
    assert sum(str(i) in space for i in range(6)) < 4
    assert "0" not in FeatureSpace("s", (512,), folder=tmp_path)
    with pytest.raises(PlaitError, match="PLAIT_CACHE_GB"):
        space.make_room(10, {"5"})


def test_a_damaged_chunk_is_no_feature(tmp_path: Path) -> None:
    space = filled("s", tmp_path, 1)
    (chunk,) = space.folder.glob("*.rows")
    chunk.write_bytes(b"short")
    with pytest.raises(PlaitError, match="damaged"):
        space.get(["0"])


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "features").write_text("a file")
    with pytest.raises(PlaitError, match="can't be written"):
        FeatureSpace("s", (1,), folder=tmp_path)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = FeatureSpace("s", (3,), folder=tmp_path)

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(PlaitError, match="No space left"):
        space.add({"a": np.ones(3)})
    assert not list(space.folder.glob("*.rows"))
    assert not list(space.folder.glob("*.part"))
