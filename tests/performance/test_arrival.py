"""The label-arrival curve against published values and plain counting, and what is still due."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest

from core.errors import BadInput
from core.performance.arrival import arrival_curve, due_by_day, share_within
from core.performance.proportions import wilson

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def test_demo_half_of_the_labels_come_within_a_day() -> None:
    stored = [ago(days=10)] * 100
    labelled = [at + timedelta(hours=h) for at, h in zip(stored, range(1, 96), strict=False)] + [None] * 5
    found = arrival_curve(stored, labelled, NOW)
    assert (found.n, found.n_waiting, found.median_s) == (100, 5, 50 * 3600)
    assert found.share_arrived[-1] == pytest.approx(0.95) and found.followed_s == 10 * 86_400
    assert found.finding == "Half of the labels come within 2 days, 9 of 10 within 4 days"


def test_the_curve_is_kaplan_and_meiers_with_greenwoods_variance() -> None:
    # Remission times of leukaemia patients under 6-MP in weeks (Freireich 1963), + still in remission:
    # Kalbfleisch and Prentice 2002 give S = 0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448, s.e. as below.
    came = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    waiting = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    stored = [ago(weeks=w) for w in came + waiting]
    # Those that came were stored long before, so that only their own delay counts.
    stored[: len(came)] = [ago(weeks=100)] * len(came)
    labelled = [ago(weeks=100) + timedelta(weeks=w) for w in came] + [None] * len(waiting)
    found = arrival_curve(stored, labelled, NOW)
    week = 7 * 86_400
    assert [d / week for d in found.delays_s] == [6, 7, 10, 13, 16, 22, 23]
    assert [1 - s for s in found.share_arrived] == pytest.approx(
        [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448], abs=5e-4
    )
    errors = [0.0764, 0.0869, 0.0963, 0.1068, 0.1141, 0.1282, 0.1346]
    for share, low, high, error in zip(found.share_arrived, found.low, found.high, errors, strict=True):
        rows = share * (1 - share) / error**2  # Rothman 1978: as many rows as have this variance
        assert (low, high) == pytest.approx(wilson(share * rows, rows), abs=1e-3)
    assert found.median_s == 23 * week


def test_without_waiting_rows_it_is_plain_counting() -> None:
    rng = np.random.default_rng(0)
    delays = rng.integers(0, 50, 200)
    found = arrival_curve([ago(days=1)] * 200, [ago(days=1) + timedelta(seconds=int(d)) for d in delays], NOW)
    for d, share, low, high in zip(found.delays_s, found.share_arrived, found.low, found.high, strict=True):
        k = int((delays <= d).sum())
        assert share == pytest.approx(k / 200)
        assert (low, high) == pytest.approx(wilson(k, 200), abs=1e-9)
    assert list(found.share_arrived) == sorted(found.share_arrived) and found.share_arrived[-1] == pytest.approx(1.0)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    held, runs, at = 0, 300, 86_400.0
    truth = 1 - math.exp(-at / 100_000)
    for _ in range(runs):
        ages, delays = rng.uniform(0, 300_000, 120), rng.exponential(100_000, 120)
        stored = [NOW - timedelta(seconds=a) for a in ages]
        found = arrival_curve(stored, [s + timedelta(seconds=d) for s, d in zip(stored, delays, strict=True)], NOW)
        i = int(np.searchsorted(found.delays_s, at, "right")) - 1
        held += found.low[i] <= truth <= found.high[i]
    # 95 % of 300, four standard deviations (3.8 runs each) allowed below.
    assert held >= 0.95 * runs - 4 * math.sqrt(runs * 0.95 * 0.05)


def test_labels_that_come_with_their_rows_have_no_delay() -> None:
    found = arrival_curve([ago(hours=3)] * 4, [ago(hours=3)] * 3 + [ago(hours=9)], NOW)
    assert (found.delays_s, found.share_arrived, found.median_s) == ((0.0,), (1.0,), 0.0)
    assert found.low == pytest.approx((wilson(4, 4)[0],)) and found.high == (1.0,)
    assert found.finding == "Every label arrived with its row"


def test_what_is_later_than_now_is_not_known_yet() -> None:
    stored = [ago(hours=2), ago(hours=2), ago(hours=-1)]
    found = arrival_curve(stored, [ago(hours=1), ago(hours=-1), None], NOW)
    assert (found.n, found.n_waiting, found.delays_s) == (2, 1, (3600.0,))


def test_nothing_and_no_label_yet_have_their_words() -> None:
    none = arrival_curve([], [], NOW)
    assert (none.n, none.delays_s, none.median_s, none.finding) == (0, (), None, "No row yet")
    waiting = arrival_curve([ago(days=1)] * 7, [None] * 7, NOW)
    assert waiting.finding == "No label has come yet for 7 rows" and waiting.n_waiting == 7
    few = arrival_curve([ago(days=2)] * 10, [ago(days=2) + timedelta(hours=1)] * 3 + [None] * 7, NOW)
    assert few.median_s is None and few.finding == "30\u202f% of the labels arrived within 60\u202fmin"


def test_bad_instants_are_refused() -> None:
    with pytest.raises(BadInput, match="1 rows but 2 label instants"):
        arrival_curve([NOW], [None, None], NOW)
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(BadInput, match="has no time zone"):
        arrival_curve([naive], [None], NOW)
    with pytest.raises(BadInput, match="has no time zone"):
        due_by_day([naive], arrival_curve([], [], NOW), NOW)


# --- due ----------------------------------------------------------------------------------------------------------


def test_due_labels_are_counted_by_the_day_of_their_row_with_what_will_still_come() -> None:
    # Half come after one day, a quarter after three, the rest never.
    old = [ago(days=9)] * 100
    labelled = [ago(days=8)] * 50 + [ago(days=6)] * 25 + [None] * 25
    curve = arrival_curve(old, labelled, NOW)
    due = due_by_day([ago(hours=2)] * 8 + [ago(days=2)] * 6 + [ago(days=5)] * 4, curve, NOW)
    assert [(d.day, d.rows) for d in due] == [
        (date(2026, 3, 20), 8),
        (date(2026, 3, 18), 6),
        (date(2026, 3, 15), 4),
    ]
    # 0.75 of new rows; 0.25 of the 0.5 that are left after two days; none after three.
    assert [d.expected for d in due] == pytest.approx([8 * 0.75, 6 * 0.5, 0.0])
    assert share_within(curve, np.array([0.0, 86_400.0, 1e9])) == pytest.approx([0.0, 0.5, 0.75])


def test_a_day_is_that_of_the_zone() -> None:
    curve = arrival_curve([], [], NOW)
    late = [datetime(2026, 3, 19, 23, 30, tzinfo=UTC)]
    assert due_by_day(late, curve, NOW)[0].day == date(2026, 3, 19)
    assert due_by_day(late, curve, NOW, zone=timezone(timedelta(hours=1)))[0].day == date(2026, 3, 20)


def test_what_the_curve_does_not_determine_is_none_with_a_reason() -> None:
    none = due_by_day([ago(days=1)], arrival_curve([ago(days=1)], [None], NOW), NOW)
    assert none[0].expected is None and none[0].reason == "no label has come yet"
    short = arrival_curve([ago(hours=5)] * 2, [ago(hours=4), None], NOW)
    older = due_by_day([ago(days=3)], short, NOW)
    assert older[0].expected is None and "longer than any row" in older[0].reason
    assert due_by_day([], short, NOW) == () == due_by_day([ago(days=-1)], short, NOW)
