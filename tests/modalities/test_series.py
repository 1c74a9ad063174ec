from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from tensors import as_row, pad_rows

from plait.config.recipe import check_recipe
from plait.data.series import open_series
from plait.modalities.series.base import Sensor, Sums, centred, fill_gaps, warped
from plait.modalities.series.networks import Channels
from plait.modalities.series.sequence import SeriesSequence
from plait.modalities.series.windows import Windows, window_spans, window_statistics
from plait.runtime.engines import load
from plait.training.train import train
from plait.types import BadCell, PlaitError

M = TypeVar("M", bound=Sensor)
RNG = np.random.default_rng(0)
CELLS = [RNG.normal([1e6, 5, 0, -2], 3, (length, 4)).tolist() for length in (9, 4, 17)]
GAPPY = [[1, None], [2, 10], [None, 20], [4, 30], [5, None]]


def learned(modality: M, cells: list[Any] = CELLS) -> M:
    return modality.with_state(modality.fit(cells, Path()))


# --- what is learned ---


def test_means_and_deviations_are_numpy_s() -> None:
    cells = [*CELLS, [[None, 7.0, None, 0.0]] * 3]
    state = learned(SeriesSequence(), cells).state
    rows = np.concatenate([np.array(cell, float) for cell in cells])
    changes = np.concatenate([np.diff(np.array(cell, float), axis=0) for cell in cells])
    np.testing.assert_allclose(state["mean"], np.nanmean(rows, axis=0), rtol=1e-6)
    np.testing.assert_allclose(state["deviation"], np.nanstd(rows, axis=0), rtol=1e-6)
    np.testing.assert_allclose(state["change"], np.nanstd(changes, axis=0), rtol=1e-6)
    assert state["gaps"] == [True, False, True, False]


def test_a_channel_that_never_changes_is_not_divided_by_nothing() -> None:
    sums = Sums(2)
    sums.add(np.array([[0.1, 3.0]] * 7))
    sums.add(np.array([[0.1, np.nan]] * 3))
    assert sums.deviation().tolist() == [1.0, 1.0]


def test_the_channels_of_most_series_count_and_bad_cells_are_left_out() -> None:
    modality = learned(SeriesSequence(), [[1.0, 2.0], "gone.csv", *CELLS])
    assert len(modality.state["mean"]) == 4
    with pytest.raises(BadCell, match="the list has 1 channels; expected 4 as in training"):
        modality.read([1.0, 2.0], Path())
    with pytest.raises(PlaitError, match=r"no training series can be used; gone\.csv is missing"):
        learned(SeriesSequence(), ["gone.csv"])


def test_channels_are_found_by_name() -> None:
    modality = learned(SeriesSequence(), [{"a": [0, 1, 2], "b": [5, 5, 8]}])
    one = modality.read({"a": [0, 1, 2], "b": [5, 5, 8]}, Path())
    other = modality.read({"c": [9, 9, 9], "b": [5, 5, 8], "a": [0, 1, 2]}, Path())
    assert np.array_equal(one, other)
    with pytest.raises(BadCell, match="no channel 'b'"):
        modality.read({"a": [0, 1, 2]}, Path())


# --- what is read ---


def test_standardised_and_cut() -> None:
    modality = learned(SeriesSequence(max_steps=5))
    item = modality.read(CELLS[0], Path())
    rows = np.array(CELLS[0])[:5]
    expected = (rows - modality.state["mean"]) / modality.state["deviation"]
    assert item.shape == (5, 2, 4)
    np.testing.assert_allclose(item[:, 0], expected, atol=1e-5)
    assert (item[:, 1] == 1).all()


def test_gaps_are_interpolated_inside_and_the_mean_at_the_ends() -> None:
    modality = learned(SeriesSequence(), [GAPPY])
    item = modality.read(GAPPY, Path())
    values, measured = item[:, 0], item[:, 1]
    np.testing.assert_allclose(
        values * np.array(modality.state["deviation"]) + np.array(modality.state["mean"]),
        [[1, 20], [2, 10], [3, 20], [4, 30], [5, 20]],
        atol=1e-5,
    )
    assert measured.tolist() == [[1, 0], [1, 1], [0, 1], [1, 1], [1, 0]]


def test_a_channel_without_any_number_is_the_mean() -> None:
    filled = fill_gaps(np.array([[np.nan, 1.0], [np.nan, 2.0]]))
    assert filled.tolist() == [[0, 1], [0, 2]]


def test_a_wild_number_stays_one_that_can_be_kept() -> None:
    modality = learned(SeriesSequence())
    wild = [[1e25, -1e25, float("inf"), 0.0], [0.0, 0.0, 1e40, 0.0], [0.0, 0.0, 1.0, 0.0]]
    item = modality.read(wild, Path())
    assert np.isfinite(modality.augment(item, 1, 7)).all()
    assert item[0, 0, :2].tolist() == [1e4, -1e4]
    assert item[:, 1, 2].tolist() == [0, 0, 1]


def test_an_array_is_its_numbers() -> None:
    modality = SeriesSequence()
    arrays = [np.zeros((5000, 2)), np.zeros((5000, 2))]
    arrays[1][2500, 0] = 1e-9
    assert len({modality.content(cell, Path()) for cell in arrays}) == 2
    assert modality.content(arrays[0], Path()) == modality.content(arrays[0].tolist(), Path())


def test_a_point_is_taken_from_all_points() -> None:
    rows = [[10, 20, 1, 2, 5, 5]]
    found = centred(open_series(rows, Path()), [2, 3])
    assert found.values.tolist() == [[9, 18, 1, 2, 4, 3]]
    with pytest.raises(BadCell, match="6 channels; expected points of 4 channels each"):
        centred(open_series(rows, Path()), [0, 1, 2, 3])


def test_time_and_rate_come_together() -> None:
    for settings in ({"time": 0}, {"rate": 5.0}):
        with pytest.raises(ValidationError, match="time channel or a rate"):
            SeriesSequence(**settings)  # type: ignore[arg-type]
    cell = {"x": [0.0, 3.0, 6.0], "t": [0, 1.5, 3]}
    modality = learned(SeriesSequence(time="t", rate=2.0), [cell])
    item = modality.read(cell, Path())
    assert item.shape == (7, 2, 1)
    assert modality.state["mean"] == [3.0]
    assert np.diff(item[:, 0, 0]).std() < 1e-6


# --- views ---


def test_a_view_s_settings_do_what_they_say() -> None:
    item = np.stack([RNG.normal(size=(400, 3)), np.ones((400, 3))], 1).astype(np.float32)
    nothing = SeriesSequence(jitter=0, scale=0, warp=0)
    np.testing.assert_allclose(nothing.augment(item, 1, 7), item)
    jittered = SeriesSequence(jitter=0.3, scale=0, warp=0).augment(item, 1, 7)
    assert (jittered - item)[:, 0].std() == pytest.approx(0.3, rel=0.1)
    scaled = SeriesSequence(jitter=0, scale=0.5, warp=0).augment(item, 1, 7)
    factors = scaled[:, 0] / item[:, 0]
    np.testing.assert_allclose(factors, factors[:1].repeat(400, 0), rtol=1e-3, atol=1e-3)
    assert len(set(factors[0].tolist())) == 3


def test_a_warped_series_goes_from_end_to_end() -> None:
    item = np.linspace(0, 1, 50)[:, None]
    for seed in range(5):
        found = warped(item, 0.5, np.random.default_rng(seed))
        assert 40 <= len(found) <= 50
        assert found[0] == 0
        assert found[-1] == pytest.approx(1, abs=1e-5)
        steps = np.diff(found, axis=0)
        assert (steps > 0).all()
        assert steps.max() / steps.min() > 1.2


def test_gaps_stay_gaps_in_a_view() -> None:
    cell = [[float(step), None if 20 <= step < 30 else 1.0 + step % 2] for step in range(50)]
    modality = learned(SeriesSequence(jitter=0, scale=0, warp=0.3), [cell])
    view = modality.augment(modality.read(cell, Path()), 3, 7)
    assert 0.1 < 1 - view[:, 1, 1].mean() < 0.3
    assert set(view[:, 1].ravel().tolist()) == {0.0, 1.0}


# --- channels, statistics ---


def test_changes_and_gaps_are_channels_by_hand() -> None:
    modality = learned(SeriesSequence(), [GAPPY])
    item = torch.from_numpy(modality.read(GAPPY, Path()))
    channels = Channels(modality.state, True)(item)
    assert channels.shape == (5, 6)
    change = np.std([1, 1])  # of the first channel: from 1 to 2 and from 4 to 5
    assert change == 0  # so that the deviation of change counts as 1
    np.testing.assert_allclose(channels[:, 2], [0, 1, 0, 0, 1], atol=1e-5)
    assert torch.equal(channels[:, 4:], item[:, 1])
    assert Channels(learned(SeriesSequence()).state, False)(torch.ones(3, 2, 4)).shape == (3, 4)


def test_statistics_are_scipy_s() -> None:
    modality = learned(Windows(windows=3))
    item = modality.read(CELLS[2], Path())
    factor = np.array(modality.factor)
    found = modality.prepare(item).reshape(3, 7, 4)
    for window, (start, end) in zip(found, [(0, 8), (4, 13), (8, 17)], strict=True):
        values = item[start:end, 0].astype(float)
        steps = np.arange(len(values)) / (len(values) - 1)
        slopes = [stats.linregress(steps, column).slope for column in values.T]
        rough = np.sqrt((np.diff(values, axis=0) ** 2).mean(axis=0)) * factor
        expected = [values.mean(0), values.std(0), values.min(0), values.max(0), slopes, rough,
                    np.ones(4)]  # fmt: skip
        np.testing.assert_allclose(window, np.stack(expected), rtol=1e-3, atol=1e-4)


def test_statistics_count_measurements_only() -> None:
    values = torch.tensor([0.0, 2.0, 99.0, 6.0, 99.0, 10.0])[:, None]
    measured = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, 1.0])[:, None]
    item = torch.stack([values, measured], dim=1).numpy()
    mean, deviation, least, largest, slope, rough, share = window_statistics(item, [1.0], 1)[0]
    known = np.array([0.0, 2.0, 6.0, 10.0])
    assert float(mean) == pytest.approx(known.mean())
    assert float(deviation) == pytest.approx(known.std())
    assert (float(least), float(largest)) == pytest.approx((0, 10), abs=1e-5)
    line = stats.linregress(np.array([0, 1, 3, 5]) / 5, known)
    assert float(slope) == pytest.approx(line.slope)
    assert (float(rough), float(share)) == pytest.approx((2, 4 / 6))


@pytest.mark.parametrize("length", [1, 2, 3, 10, 99])
def test_windows_cover_any_length(length: int) -> None:
    spans = window_spans(length, 8)
    assert len(spans) == 8
    assert spans[0][0] == 0
    assert spans[-1][1] == length
    assert all(start < end <= length for start, end in spans)
    assert all(b[0] <= a[1] for a, b in pairwise(spans))


# --- the network ---


@pytest.mark.parametrize("kind", ["gru", "cnn", "transformer"])
def test_order_matters(kind: Any) -> None:
    modality = learned(SeriesSequence(sequence_encoder=kind, width=16))
    torch.manual_seed(0)
    encoder = modality.encoder(True).eval()
    items = [torch.from_numpy(modality.read(cell, Path())) for cell in (CELLS[2], CELLS[2][::-1])]
    rows = [as_row(features) for features in encoder.prepare(items)]
    pooled = encoder(*pad_rows(rows, rows[0])).values.mean(dim=1)
    assert not torch.allclose(pooled[0], pooled[1], atol=1e-2)


def test_channels_are_hidden_while_learning_only() -> None:
    modality = learned(
        SeriesSequence(channel_dropout=0.5, width=16, dropout=0.0, differences=False)
    )
    encoder = modality.encoder(True)
    prepared, lengths = torch.randn(1, 8, 4), torch.tensor([8])
    encoder.train()
    torch.manual_seed(0)
    assert not torch.equal(*(encoder(prepared, lengths).values for _ in range(2)))
    encoder.eval()
    assert torch.equal(*(encoder(prepared, lengths).values for _ in range(2)))


@pytest.mark.parametrize(
    "settings",
    [{}, {"time": "t", "rate": 5.0}, {"time": 1, "rate": 0.5, "centre": [3, "y", 5]},
     {"centre": ["x", "y"]}],
    ids=["plain", "time", "places", "names"],
)  # fmt: skip
def test_samples_fit_any_settings(settings: dict[str, Any]) -> None:
    unfitted = Windows(**settings)
    modality = learned(unfitted, unfitted.samples())
    for cell in modality.samples():
        assert len(modality.read(cell, Path())) >= 2


def test_everything_that_changes_a_record_changes_the_fingerprint() -> None:
    state = learned(SeriesSequence()).state
    changes: list[dict[str, Any]] = [
        {}, {"max_steps": 9}, {"centre": [0, 1]}, {"jitter": 0.5}, {"scale": 0.5}, {"warp": 0.5},
        {"time": 0, "rate": 1.0}, {"time": 0, "rate": 2.0},
    ]  # fmt: skip
    found = {SeriesSequence(**settings).with_state(state).fingerprint() for settings in changes}
    assert len(found) == len(changes)


def test_a_table_of_lists_is_learned(tmp_path: Path) -> None:
    """Slow and fast waves, of any length, with gaps, some of them missing."""
    rng, rows = np.random.default_rng(0), []
    for number in range(60):
        fast = number % 2
        steps = np.arange(rng.integers(20, 40)) * (1.5 if fast else 0.3) + rng.uniform(0, 6)
        wave = [None if rng.random() < 0.1 else float(v) for v in np.sin(steps)]
        rows.append({"wave": None if number == 5 else wave, "kind": ("slow", "fast")[fast],
                     "split": "val" if number >= 40 else "train"})  # fmt: skip
    table = tmp_path / "waves.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = check_recipe(
        {
            "name": "waves",
            "inputs": {
                "wave": {
                    "modality": "series",
                    "representation": {"kind": "sequence", "width": 16, "strides": [2]},
                }
            },
            "fusion": {"kind": "none", "width": 16},
            "outputs": {"kind": {"kind": "category"}},
            "training": {
                "epochs": 6,
                "validate_every": 6,
                "batch": 8,
                "learning_rate": 0.01,
                "averaging": 0.5,
            },
        }
    )
    model = train(recipe, table, tmp_path / "model", on_bad="skip")
    assert model.predict({"wave": rows[40]["wave"]}).value == "slow"
    again = load(tmp_path / "model")
    found = [again.predict({"wave": row["wave"]}).value for row in rows[40:]]
    assert found == [row["kind"] for row in rows[40:]]
