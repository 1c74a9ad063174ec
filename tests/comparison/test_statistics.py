"""The paired bootstrap: it finds what is real, and calls noise noise."""

from __future__ import annotations

import numpy as np
import pytest

from plait.comparison import statistics
from plait.comparison.statistics import Difference, PairedBootstrap, Scored, adjust

RECORDS = range(1, 401)


def right(share: float, seed: int, records: range = RECORDS) -> Scored:
    """A run that answers so many records right, at random."""
    hits = np.random.default_rng(seed).random(len(records)) < share
    return Scored(list(records), lambda rows: {"accuracy": float(hits[rows].mean())})


def test_a_real_difference_is_found_and_noise_is_not() -> None:
    runs = {
        "good": [right(0.9, seed) for seed in (1, 2, 3)],
        "bad": [right(0.7, seed) for seed in (4, 5, 6)],
        "also bad": [right(0.7, seed) for seed in (7, 8, 9)],
    }
    bootstrap = PairedBootstrap(runs, "accuracy")
    mean, (low, high) = bootstrap.mean("good")
    assert low < mean < high
    assert mean == pytest.approx(
        np.mean([r.score(np.arange(400))["accuracy"] for r in runs["good"]])
    )
    differences = [bootstrap.difference("good", "bad"), bootstrap.difference("bad", "also bad")]
    assert all(differences)
    real, noise = adjust([d for d in differences if d is not None])
    assert real.real
    assert real.interval[0] > 0
    assert not noise.real


def test_differences_are_paired() -> None:
    """One record more that is right is a difference that unpaired intervals would hide."""
    hits = np.random.default_rng(0).random(400) < 0.5
    more = hits.copy()
    more[np.flatnonzero(~hits)[:20]] = True
    runs = {
        name: [Scored(list(RECORDS), lambda rows, h=h: {"accuracy": float(h[rows].mean())})]
        for name, h in {"less": hits, "more": more}.items()
    }
    bootstrap = PairedBootstrap(runs, "accuracy")
    (_, high), (low, _) = bootstrap.mean("less")[1], bootstrap.mean("more")[1]
    assert low < high  # the intervals of the scores overlap
    found = bootstrap.difference("more", "less")
    assert found is not None
    assert found.mean == pytest.approx(0.05)
    assert found.interval[0] > 0.02


def test_seeds_widen_the_interval() -> None:
    every = [right(share, 1) for share in (0.5, 0.7, 0.9)]
    same = [right(0.7, 1)] * 3
    bootstrap = PairedBootstrap({"seeds differ": every, "seeds agree": same}, "accuracy")
    wide, narrow = (bootstrap.mean(name)[1] for name in ("seeds differ", "seeds agree"))
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])


@pytest.mark.parametrize(("seeds", "most"), [(2, 16), (3, 11)])
def test_seeds_that_differ_more_than_records_make_no_difference_real(
    seeds: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 100 pairs of equal variants 5 are expected to have a p below 0.05. To draw the seeds anew,
    as the records are, gave 25 with two seeds and 13 with three."""
    monkeypatch.setattr(statistics, "RESAMPLES", 200)
    found = 0
    for trial in range(100):
        rng = np.random.default_rng(trial)
        shares = rng.normal(0.5, 0.1, 2 * seeds)
        every = [right(share, 1000 * trial + at) for at, share in enumerate(shares)]
        runs = {"one": every[:seeds], "other": every[seeds:]}
        difference = PairedBootstrap(runs, "accuracy").difference("one", "other")
        found += difference is not None and difference.p < 0.05
    assert found <= most


def test_three_seeds_alone_have_student_s_interval() -> None:
    """0.7 ± 4.303 · 0.1 / √3, where the records make no difference; 4.303 is t's for 95 % and 2
    degrees of freedom."""
    runs = [Scored(list(RECORDS), lambda rows, s=s: {"accuracy": s}) for s in (0.6, 0.7, 0.8)]
    mean, (low, high) = PairedBootstrap({"one": runs}, "accuracy").mean("one")
    assert mean == pytest.approx(0.7)
    assert (low, high) == pytest.approx((0.7 - 0.248, 0.7 + 0.248), abs=0.03)


def test_what_records_explain_is_counted_once() -> None:
    """Seeds that are right in other records, by chance: how much their scores differ tells all that
    there is of chance, and the records' resamples must not add it again. 2.045 is t's for 95 %."""
    runs = [right(0.7, seed) for seed in range(30)]
    scores = [run.score(np.arange(400))["accuracy"] for run in runs]
    low, high = PairedBootstrap({"one": runs}, "accuracy").mean("one")[1]
    expected = 2 * 2.045 * np.std(scores, ddof=1) / np.sqrt(30)
    assert high - low == pytest.approx(expected, rel=0.15)


def test_a_variant_s_own_seeds_decide_where_the_other_has_none() -> None:
    """The baseline is the same whatever the seed; a network with one run is not."""
    runs = {"net": [right(share, 1) for share in (0.6, 0.7, 0.8)], "other": [right(0.6, 2)]}
    widths = []
    for seedless in ({"other"}, set()):
        found = PairedBootstrap(runs, "accuracy", seedless).difference("net", "other")
        assert found is not None
        widths.append(found.interval[1] - found.interval[0])
    assert widths[1] > 1.7 * widths[0]  # √(1/3) becomes √(1/3 + 1), records aside


def test_only_records_that_both_answered_are_compared() -> None:
    runs = {"all": [right(0.5, 1)], "some": [right(0.5, 1, range(301, 501))], "one": [
        right(0.5, 1, range(400, 401))
    ]}  # fmt: skip
    bootstrap = PairedBootstrap(runs, "accuracy")
    found = bootstrap.difference("all", "some")
    assert found is not None
    assert found.records == 100
    assert bootstrap.difference("all", "one") is None


def test_holm_by_hand() -> None:
    """p of 0.01, 0.04, 0.03: times 3, then the larger of that and of 0.03 · 2, 0.04 · 1."""
    given = [Difference(0.1, (0.0, 0.2), p, 10) for p in (0.01, 0.04, 0.03)]
    assert [d.adjusted for d in adjust(given)] == pytest.approx([0.03, 0.06, 0.06])


def test_an_interval_ends_where_the_score_does() -> None:
    """Three seeds that differ much, near the top: draws of seeds would go beyond it."""
    runs = {"good": [right(share, seed) for seed, share in enumerate((0.99, 0.995, 0.96))]}
    assert PairedBootstrap(runs, "accuracy").mean("good")[1][1] > 1
    low, high = PairedBootstrap(runs, "accuracy", limits=(0.0, 1.0)).mean("good")[1]
    assert low < 0.96
    assert high == 1
    runs = {"bad": [right(share, seed) for seed, share in enumerate((0.01, 0.005, 0.06))]}
    assert PairedBootstrap(runs, "accuracy").mean("bad")[1][0] < 0
    assert PairedBootstrap(runs, "accuracy", limits=(0.0, 1.0)).mean("bad")[1][0] == 0
