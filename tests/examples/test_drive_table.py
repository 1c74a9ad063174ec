"""The script that makes the driving recipe's table."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "drive_table.py"
STEP = 50  # ms between two rows


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("drive_table", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def drive(number: int, session: str = "a", start: int = 0) -> list[dict[str, str]]:
    """Rows whose throttle is their number / 1000 and whose steering alternates every 0.5 s."""
    return [
        {
            "image": f"images/{row}.jpg",
            "session": session,
            "time_ms": str(start + STEP * row),
            "throttle": str(row / 1000),
            "steering": str((-1) ** (row // 10)),
        }
        for row in range(number)
    ]


def test_splits_follow_time_and_keep_apart(script: ModuleType) -> None:
    rows = script.make_table(drive(1000), Path("/drive"))
    found = [row["split"] for row in rows]
    # The borders are at rows 700 and 850; 19 rows on each side are within a second.
    near = [""] * 39
    assert found[:681] == ["train"] * 681
    assert found[681:720] == near
    assert found[720:831] == ["val"] * 111
    assert found[831:870] == near
    assert found[870:] == ["test"] * 130
    assert rows[3]["image"] == "/drive/images/3.jpg"


def test_before_is_half_a_second_ago_in_the_same_session(script: ModuleType) -> None:
    second = drive(30, "b", start=30 * STEP)
    rows = script.make_table([*drive(30), *second], Path("/drive"))
    for begin in (0, 30):
        assert {row["throttle_before"] for row in rows[begin : begin + 8]} == {""}
        assert rows[begin + 8]["throttle_before"] == "0.0"  # 0.4 s ago: within the tolerance
        assert rows[begin + 25]["throttle_before"] == "0.015"
        assert rows[begin + 25]["steering_before"] == "-1"


def test_no_value_before_behind_a_hole(script: ModuleType) -> None:
    rows = [*drive(20), *drive(20, start=60_000)]
    table = script.make_table(rows, Path("/drive"))
    assert table[19]["throttle_before"] == "0.009"
    assert table[20]["throttle_before"] == ""
    assert table[30]["throttle_before"] == "0.0"


def test_the_baseline_by_hand(script: ModuleType) -> None:
    cells = [("1", "0"), ("-1", "-1"), ("0", "0.5"), ("0.9", "")]
    table = [{"split": "val", "steering": now, "steering_before": old} for now, old in cells]
    table.append({"split": "test", "steering": "1", "steering_before": "-1"})
    number, error, r2 = script.baseline(table, "val")
    assert (number, error) == (3, pytest.approx(0.5))
    assert r2 == pytest.approx(1 - 1.25 / 2)


def test_it_writes_a_table(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = drive(1000)
    with (tmp_path / "drive.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    script.main(tmp_path / "drive.csv", tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert written[25]["image"] == str((tmp_path / "images/25.jpg").resolve())
    assert [row["steering"] for row in written] == [row["steering"] for row in rows]
    # Its steering changes sign every half second: what it was is always off by 2.
    assert "0.5 s ago, 130 test rows: MAE 2.000" in capsys.readouterr().out
