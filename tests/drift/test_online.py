"""Detectors on a live stream of errors: how soon they see a rise, and how seldom they see one that is none."""

from __future__ import annotations

import time

import numpy as np
import pytest
from river.drift import ADWIN as RiverADWIN
from river.drift import PageHinkley as RiverPageHinkley

from core.drift.online import ADWIN, DETECTORS, PageHinkley, detect, error_scale
from core.errors import BadInput

CALM = 5_000


def right_and_wrong(seed: int, *parts: tuple[int, float]) -> np.ndarray:
    """0 and 1 with a rate for each part."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.random(n) < rate for n, rate in parts]).astype(np.float64)


def test_a_stream_is_watched_in_one_call() -> None:
    errors = right_and_wrong(1, (3_000, 0.2), (1_000, 0.4))
    (alarm,) = detect(errors)
    assert alarm.detector == "adwin" and 3_000 <= alarm.at < 3_300
    assert alarm.since == pytest.approx(3_000, abs=60)
    assert alarm.before == pytest.approx(errors[: alarm.since].mean())
    assert alarm.after == pytest.approx(errors[alarm.since : alarm.at + 1].mean())


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_step_from_20_to_35_percent_is_seen_within_500_rows(detector: str) -> None:
    delays, starts = [], []
    for seed in range(60):
        alarms = detect(right_and_wrong(seed, (CALM, 0.2), (1_500, 0.35)), detector=detector)
        assert alarms and alarms[0].at >= CALM
        delays.append(alarms[0].at - CALM + 1)
        starts.append(abs(alarms[0].since - CALM))
    # The difference of 500 rows against 5,000 is 7.5 standard errors, the bounds ask for about 5: one in a hundred is late.
    assert np.mean(delays) < 300 and sum(d >= 500 for d in delays) <= 3
    assert np.median(starts) < 40


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_calm_stream_raises_no_alarm_in_100000_rows(detector: str) -> None:
    for seed in range(20):
        assert detect(right_and_wrong(seed, (100_000, 0.2)), detector=detector, rises_only=False) == ()


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_million_rows_a_second(detector: str) -> None:
    errors = right_and_wrong(2, (300_000, 0.2))
    started = time.process_time()
    DETECTORS[detector]().update_many(errors)
    assert 300_000 / (time.process_time() - started) > 1_000_000


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_fall_of_the_error_is_no_alarm_unless_asked_for(detector: str) -> None:
    errors = right_and_wrong(3, (4_000, 0.4), (4_000, 0.1), (4_000, 0.4))
    # The detector starts anew after the fall, or the old rate would hide the rise that follows.
    (rise,) = detect(errors, detector=detector)
    assert rise.at >= 8_000 and rise.before == pytest.approx(0.1, abs=0.03) and rise.after > 0.25
    both = detect(errors, detector=detector, rises_only=False)
    assert [a.after > a.before for a in both] == [False, True] and both[1] == rise


@pytest.mark.parametrize("detector", DETECTORS)
def test_one_row_at_a_time_says_the_same_as_all_at_once(detector: str) -> None:
    errors = right_and_wrong(4, (2_000, 0.1), (1_000, 0.4))
    one, pieces = DETECTORS[detector](), DETECTORS[detector]()
    singly = [i for i, x in enumerate(errors) if one.update(float(x))]
    whole = DETECTORS[detector]().update_many(errors)
    in_pieces = [i * 500 + at for i in range(6) for at in pieces.update_many(errors[i * 500 : (i + 1) * 500])]
    assert singly == whole == in_pieces == [a.at for a in detect(errors, detector=detector)] and len(whole) == 1


def test_adwin_raises_its_alarms_where_rivers_does() -> None:
    errors = right_and_wrong(5, (3_000, 0.1), (2_000, 0.3), (3_000, 0.05), (2_000, 0.5))
    rivers, found = RiverADWIN(), []
    for i, x in enumerate(errors):
        rivers.update(x)
        found += [i] if rivers.drift_detected else []
    assert ADWIN(rises_only=False).update_many(errors) == found and len(found) >= 3


def test_page_hinkley_raises_its_alarms_where_rivers_does() -> None:
    errors = right_and_wrong(6, (12_000, 0.1), (2_000, 0.3), (3_000, 0.05), (2_000, 0.5))
    rivers = RiverPageHinkley(min_instances=1, delta=0.05, threshold=25.0, alpha=1.0)
    found = []
    for i, x in enumerate(errors):
        rivers.update(x)
        found += [i] if rivers.drift_detected else []
    ours = PageHinkley(tolerance=0.05, threshold=25.0, rises_only=False)
    assert ours.update_many(errors) == found and len(found) >= 3


@pytest.mark.parametrize("detector", DETECTORS)
def test_absolute_errors_of_any_size_are_watched(detector: str) -> None:
    rng = np.random.default_rng(7)
    calm, worse = np.abs(rng.normal(size=5_000)), np.abs(rng.normal(0, 2, 1_000))
    for unit in (1e-6, 1.0, 1e9):
        (alarm,) = detect(np.r_[calm, worse] * unit, detector=detector)
        assert 5_000 <= alarm.at < 5_300 and alarm.after > 1.4 * alarm.before
        assert alarm.before == pytest.approx(0.8 * unit, rel=0.1)
    heavy = np.abs(rng.standard_t(2, 20_000))
    assert detect(heavy, detector=detector) == ()


def test_the_scale_is_one_for_right_and_wrong_and_a_few_mean_errors_else() -> None:
    assert error_scale([0, 1, 1]) == error_scale([0.0, 0.0]) == error_scale([]) == 1.0
    assert error_scale([1.0, 3.0]) == pytest.approx(10.0)
    assert error_scale([1e308, 1e308]) < np.inf


@pytest.mark.parametrize("detector", DETECTORS)
def test_streams_without_news_are_answered(detector: str) -> None:
    for errors in ([], [1], [0.0] * 1_000, [1] * 1_000, [3.5] * 1_000, np.array([True, False] * 500)):
        assert detect(errors, detector=detector) == ()


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize(
    ("errors", "seen"),
    [
        ([0.0, np.nan], "Error 1 of 2 is nan"),
        ([np.inf], "Error 0 of 1 is inf"),
        ([0.1, -1.0], "is -1.0"),
        (["a"], "not all numbers"),
        ([10**400], "not all numbers"),
        ([[1.0]], "shape"),
        ([None], "is nan"),
    ],
)
def test_what_is_no_error_is_refused(detector: str, errors: list, seen: str) -> None:
    with pytest.raises(BadInput, match=seen):
        detect(errors, detector=detector)
    with pytest.raises(BadInput, match=seen):
        DETECTORS[detector]().update_many(errors)


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(BadInput, match="choose one of adwin, page_hinkley"):
        detect([0.0], detector="magic")
    with pytest.raises(BadInput, match="'adwin' does not take threshold"):
        detect([0.0], threshold=3.0)
    for make in (
        lambda: ADWIN(delta=0.0),
        lambda: ADWIN(scale=0.0),
        lambda: PageHinkley(threshold=-1.0),
        lambda: PageHinkley(tolerance=np.nan),
    ):
        with pytest.raises(BadInput, match="expected a number"):
            make()
