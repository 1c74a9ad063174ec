from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from samples import COLOURS, draw

from plait.data import lazy, readers
from plait.data.lazy import LazyColumn
from plait.data.tables import Table, group_captions, read_table, table_digest
from plait.pipeline.columns import guess_column
from plait.pipeline.profile import profile
from plait.types import PlaitError

CELLS = [b"\x89PNG" + bytes([n]) * (50 + n) if n % 9 else None for n in range(200)]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is large, and a block, are so small that these tables have many."""
    monkeypatch.setattr(lazy, "LARGE", 4000)
    monkeypatch.setattr(lazy, "BLOCK_BYTES", 1000)


def write(path: Path, rows_per_group: int, columns: dict[str, Any] | None = None) -> Path:
    columns = columns or {"image": CELLS, "text": [f"row {n % 7}" for n in range(200)]}
    pq.write_table(pa.table(columns), path, row_group_size=rows_per_group)
    return path


@pytest.fixture(params=[200, 30, 8])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Table:
    return read_table(write(tmp_path / "t.parquet", request.param))


def test_a_large_column_stays_in_its_file(table: Table) -> None:
    column = table.columns["image"]
    assert isinstance(column, LazyColumn)
    assert isinstance(table.columns["text"], list)
    assert list(column) == CELLS
    assert len(column) == len(table) == 200


def test_any_order_gives_the_same_cells(table: Table) -> None:
    column = table.column("image")
    rows = [150, 3, 3, 199, 0, 77, 151, 150]
    assert [column[row] for row in rows] == [CELLS[row] for row in rows]
    assert column[-1] == CELLS[-1]
    assert list(column[5:190:60]) == CELLS[5:190:60]
    with pytest.raises(IndexError):
        column[200]


def test_rows_taken_of_rows_taken(table: Table) -> None:
    taken = table.where(range(10, 200)).where([100, 5, 0])
    assert isinstance(taken.columns["image"], LazyColumn)
    assert list(taken.column("image")) == [CELLS[110], CELLS[15], CELLS[10]]
    assert [taken.number(row) for row in range(3)] == [111, 16, 11]
    assert list(table.where([]).column("image")) == []


def test_another_process_gets_the_column_and_not_its_cells(table: Table) -> None:
    taken = table.where([150, 3, 0])
    sent = pickle.dumps(taken)
    assert len(sent) < 2000
    found = pickle.loads(sent)
    assert isinstance(found.columns["image"], LazyColumn)
    assert list(found.columns["image"]) == [CELLS[150], CELLS[3], CELLS[0]]


def test_threads_share_a_column(table: Table) -> None:
    with ThreadPoolExecutor(4) as pool:
        rows = [(row * 67) % 200 for row in range(200)]
        assert list(pool.map(table.column("image").__getitem__, rows)) == [CELLS[r] for r in rows]


def test_only_a_few_cells_are_kept(tmp_path: Path) -> None:
    column = read_table(write(tmp_path / "t.parquet", 200)).column("image")
    for _ in column:
        assert sum(len(cells) for _, cells in column._blocks._kept) < 50


def test_rows_in_order_read_a_row_group_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    begin = pq.ParquetFile.iter_batches

    def watched(self: Any, *args: Any, **options: Any) -> Any:
        begun.extend(options["row_groups"])
        return begin(self, *args, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    column = read_table(write(tmp_path / "t.parquet", 100)).column("image")
    assert list(column) == CELLS
    assert begun == [0, 1]


def test_lazy_or_not_a_table_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "t.parquet", 60)
    here = read_table(path)
    monkeypatch.setattr(lazy, "LARGE", 1 << 30)
    whole = read_table(path)
    assert isinstance(whole.columns["image"], list)
    assert table_digest(here) == table_digest(whole)
    assert guess_column(here, "image") == guess_column(whole, "image") == "image"
    grouped = [group_captions(t, "image", "text") for t in (here, whole)]
    assert list(grouped[0].column("image")) == list(grouped[1].column("image"))
    assert grouped[0].column("text") == grouped[1].column("text")
    for t in (here, whole):
        assert profile(t, None, "text")["columns"]["image"] == {
            "kind": "image", "empty": 23, "distinct": 177, "emptied": {}, "note": "",
        }  # fmt: skip


def test_the_hubs_struct_and_names_with_dots(tmp_path: Path) -> None:
    files = [bytes([n]) * 90 for n in range(100)]
    cells = [{"bytes": f, "path": None} if f[0] % 2 else {"path": "a.png"} for f in files]
    columns = {"a": cells, "a.b": [str(n) for n in range(100)], "c.d": files}
    found = read_table(write(tmp_path / "t.parquet", 40, columns))
    assert [name for name, c in found.columns.items() if isinstance(c, LazyColumn)] == ["a", "c.d"]
    assert list(found.column("a")) == [f if f[0] % 2 else "a.png" for f in files]
    assert list(found.column("c.d")) == files
    assert found.column("a.b") == list(range(100))


def test_a_file_cut_short_meanwhile_is_a_clear_error(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", 20)
    column = read_table(path).column("image")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(PlaitError, match=r"t\.parquet can no longer be read") as e:
        list(column)
    assert "\n" not in str(e.value)


def test_training_from_a_file_is_training_from_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file

    from plait.training.train import train

    monkeypatch.setattr(lazy, "LARGE", 100)
    names = list(COLOURS)[:2]
    pictures = []
    for number in range(40):
        draw(names[number % 2], "left", number).save(tmp_path / "p.png")
        pictures.append((tmp_path / "p.png").read_bytes())
    labels = [names[n % 2] for n in range(40)]
    path = write(tmp_path / "t.parquet", 7, {"image": pictures, "label": labels})
    (tmp_path / "r.yaml").write_text(
        "{name: r, inputs: {image: {modality: image, representation: {kind: pixels, size: 16,"
        " patch: 8, width: 8}}}, fusion: {kind: none, width: 8}, outputs: {label: {kind: category}}"
        ", training: {epochs: 1, batch: 8}}"
    )
    weights = []
    for name, large in (("lazy", 100), ("whole", 1 << 30)):
        monkeypatch.setattr(lazy, "LARGE", large)
        table = readers.read_parquet([path])[0]
        assert isinstance(table["image"], LazyColumn) == (name == "lazy")
        train(str(tmp_path / "r.yaml"), path, tmp_path / name)
        weights.append(load_file(tmp_path / name / "weights.safetensors"))
    assert all((weights[0][key] == weights[1][key]).all() for key in weights[0])
