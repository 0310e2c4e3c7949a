"""Numbers, instants and names as people read them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from core import words
from core.records import Score, as_written
from core.text import scores

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
GOOD = Score(metric="accuracy", value=0.887, low=0.86, high=0.915, n=500, method="Wilson 95 %")


@pytest.mark.parametrize(
    ("value", "shown"), [(0.8874, "0.887"), (-0.5, "\u22120.500"), (1234.56, "1,234.6"), (None, "\u2013")]
)
def test_a_number_has_three_decimals_or_fewer(value: float | None, shown: str) -> None:
    assert words.number(value) == shown


def test_a_part_of_an_answer_has_three_figures() -> None:
    assert [words.three_figures(v) for v in (0.2149, -1.4, 12_345.0)] == ["0.215", "\u22121.4", "1.23e+04"]
    assert [words.contribution(v) for v in (0.2149, -1.4, 12_345.0)] == ["+0.215", "\u22121.4", "+12,345"]


def test_a_score_is_reported_with_its_doubt() -> None:
    assert words.interval(GOOD) == "0.860\u20130.915"
    assert scores.interval_text(GOOD).endswith("n = 500")
    alike = scores.interval_text(replace(GOOD, n_effective=90.4))
    assert alike.endswith("n = 500, equivalent to 90 independent rows")
    assert (
        scores.interval_text(Score(metric="r2", value=None, reason=as_written("One row only.")))
        == "not measured: One row only."
    )


def test_a_difference_is_reported_in_points_only_where_the_metric_is_a_share() -> None:
    assert words.points(0.041, "accuracy") == "+4.1 points"
    assert words.points(-0.041, "kappa") == "\u22120.041"


@pytest.mark.parametrize(
    ("passed", "shown"),
    [
        (timedelta(seconds=20), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(hours=5), "5 hours ago"),
        (timedelta(days=3), "27 Feb, 13:00"),
        (timedelta(days=300), "6 May 2025, 14:00"),
    ],
)
def test_under_a_day_an_instant_is_relative(passed: timedelta, shown: str) -> None:
    assert words.ago(NOW - passed, NOW, ZoneInfo("Europe/Paris")) == shown


def test_text_of_a_user_is_taken_literally() -> None:
    assert words.plain("**bold** <b> [x](y)\nnext") == r"\*\*bold\*\* \<b\> \[x\]\(y\) next"


@pytest.mark.parametrize(
    "name", ["http://evil.test/a", "HTTPS://evil.test", "ftp://x", "www.evil.test", "a_WWW.evil.test", "me@evil.test"]
)
def test_an_address_in_a_name_is_no_link(name: str) -> None:
    shown = words.plain(name)
    read = re.sub(r"\\(?=[^a-zA-Z0-9\s])", "", shown)  # as a reader of markdown takes escapes away
    assert not re.search(r"://|www\.|@\w", read, re.IGNORECASE)
    assert read.replace(words.JOINER, "") == name


def test_a_standing_names_side_and_threshold() -> None:
    state, sentence = scores.score_state(GOOD, 0.8, "accuracy")
    assert state == "well"
    assert "0.887" in sentence
    assert "above the threshold of 0.80" in sentence
    assert scores.score_state(GOOD, 0.9, "accuracy")[0] == "bad"
    assert scores.score_state(Score(metric="mae", value=2.0, n=500), 1.0, "mae")[0] == "bad"
    assert scores.score_state(None, 0.8, "accuracy")[0] == "unknown"


def test_a_handful_of_rows_is_shown_and_not_judged() -> None:
    state, sentence = scores.score_state(Score(metric="accuracy", value=0.0, n=1), 0.8, "accuracy", least=100)
    assert state == "unknown"
    assert "At least 100 rows are needed" in sentence


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0.000"),
        (0.81234, "0.812"),
        (-12.5, "-12.500"),
        (999_999.0, "999999.000"),
        (1e6, "1e+06"),
        (1.23456e75, "1.235e+75"),
        (-1.7e200, "-1.7e+200"),
        (0.0001, "0.000"),
        (0.00003, "3e-05"),
    ],
)
def test_a_score_of_any_size_is_a_short_text(value: float, shown: str) -> None:
    assert words.plain_score(value) == shown
    assert len(words.number(value)) <= 11
