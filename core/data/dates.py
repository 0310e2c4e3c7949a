"""A column of instants in UTC: from dates and times as text, from digits, or from pandas datetimes."""

from __future__ import annotations

import re
from datetime import date, datetime

import numpy as np
import pandas as pd
from pandas.api import types

from core.data import cells
from core.data.cells import refusal, shown
from core.data.columns import bad_cells
from core.errors import FieldProblem
from core.records import Problem

_DAY = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})((?:[ T].+)?)")
_DIGITS = r"\d{8,19}(?:\.\d+)?"
_ZONE = r"(?:Z|[+-]\d{2}:?\d{2})\s*$"


def instants(
    series: pd.Series,
    name: str,
    *,
    day_first: bool | None = None,
    latest: datetime | None = None,
    problems: list[Problem] | None = None,
) -> pd.DatetimeIndex:
    """Instants in UTC, microseconds: ISO 8601 (without a zone = UTC), Unix seconds to nanoseconds, or 20260301 12:00.

    Args:
        day_first: how 03/04/2026 is read; None = as the column shows, and refused if it is ambiguous.
        latest: no instant lies after it; None = no limit but the year 9999.
        problems: receives what was assumed.

    Raises:
        BadInput: missing or unreadable ones, digits with more than one meaning, instants before 1900 or after `latest`.
    """
    notes: list[Problem] = [] if problems is None else problems
    plain = series.reset_index(drop=True)
    if types.is_datetime64_any_dtype(plain.dtype):
        index = _of_dates(plain)
        if plain.dt.tz is None and plain.notna().any():
            notes.append(_assumed("zone_assumed", name, plain))
    elif types.is_numeric_dtype(plain.dtype) and not types.is_bool_dtype(plain.dtype):
        whole = plain.map(lambda v: cells.as_text(v), na_action="ignore").astype("str")
        index = _of_digits(whole, name, notes)
    else:
        words = plain.map(lambda v: v.strip() if isinstance(v, str) else v.isoformat() if isinstance(v, date) else None)
        words = pd.Series([w if isinstance(w, str) else None for w in words], dtype="str")
        known = words.dropna()
        if len(known) and known.str.fullmatch(_DIGITS).all():
            index = _of_digits(words, name, notes)
        elif len(known) and known.str.fullmatch(_DAY.pattern).all():
            index = _of_days(words, name, day_first)
        else:
            index = pd.DatetimeIndex(pd.to_datetime(words, utc=True, format="ISO8601", errors="coerce"))
            if len(known) and not known.str.contains(_ZONE, regex=True).any():
                notes.append(_assumed("zone_assumed", name, words))
    bad = np.asarray(index.isna())
    if bad.any():
        raise bad_cells(name, plain, bad, "an instant such as 2026-03-01T12:00:00Z")
    early = np.asarray(index < pd.Timestamp(cells.EARLIEST))
    if early.any():
        raise bad_cells(name, plain, early, "an instant of 1900 or later")
    if latest is not None:
        late = np.asarray(index > pd.Timestamp(latest))
        if late.any():
            when = f"an instant before {latest:%Y-%m-%d %H:%M} UTC: rows from the future are not accepted. Write the time zone of local times, e.g. +01:00"
            raise bad_cells(name, plain, late, when)
    return index.as_unit("us").rename(None)


def shows_day_first(series: pd.Series) -> bool | None:
    """Whether 03/04/2026 means the third of April in a column; None if it has no such dates.

    Raises:
        BadInput: the column could be read both ways, or neither.
    """
    words = pd.Series([v.strip() if isinstance(v, str) else None for v in series], dtype="str")
    known = words.dropna()
    if not len(known) or not known.str.fullmatch(_DAY.pattern).all():
        return None
    return _day_first(known, str(series.name))


def _assumed(code: str, name: str, values: pd.Series) -> Problem:
    known = values.dropna()
    return Problem(code=code, column=name, count=len(known), example=str(known.iloc[0]))


def _of_dates(series: pd.Series) -> pd.DatetimeIndex:
    """pandas datetimes; those outside Python's range of years become NaT and are refused."""
    micros = series.dt.tz_convert("UTC").dt.tz_localize(None) if series.dt.tz is not None else series
    years = micros.dt.year
    return pd.DatetimeIndex(micros.where(years.between(1, 9999))).tz_localize("UTC")


def _of_digits(words: pd.Series, name: str, notes: list[Problem]) -> pd.DatetimeIndex:
    """Numbers as instants, by the one meaning that fits all of them."""
    distinct = words.dropna().unique()
    meanings = {w: cells.readings(w.partition(".")[0]) for w in distinct}
    common = set.intersection(*(set(r) for r in meanings.values())) if meanings else set()
    if len(common) > 1:
        first = distinct[0]
        both = " or ".join(f"{meanings[first][r]:%Y-%m-%d %H:%M:%S} ({r})" for r in sorted(common))
        problem = FieldProblem(
            f"column {name}", f"{shown(first)}, which may mean {both}", "ISO 8601, as 2026-03-01T12:00:00Z"
        )
        raise refusal(f"The instants of '{name}' are ambiguous", [problem])
    if not common:
        return pd.DatetimeIndex([pd.NaT] * len(words), tz="UTC")
    reading = common.pop()
    notes.append(
        Problem(
            code="digits_as_time",
            column=name,
            count=len(words),
            example=f"{distinct[0]} = {meanings[distinct[0]][reading]:%Y-%m-%dT%H:%M:%SZ}",
        )
    )
    if reading == "calendar":
        return pd.DatetimeIndex(words.map({w: r[reading] for w, r in meanings.items()}), tz="UTC")
    power = {"seconds": 6, "milliseconds": 3, "microseconds": 0, "nanoseconds": -3}[reading]
    whole = words.map({w: _micros(w, power) for w in distinct})
    out = np.full(len(words), np.datetime64("NaT", "us"), dtype="datetime64[us]")
    there = whole.notna().to_numpy()
    out[there] = whole[there].to_numpy().astype(np.int64).astype("datetime64[us]")
    return pd.DatetimeIndex(pd.Series(out).dt.tz_localize("UTC"))


def _micros(digits: str, power: int) -> int:
    whole, _, rest = digits.partition(".")
    n = int(whole) * 10**power if power >= 0 else int(whole) // 10**-power
    return n + int((rest + "0" * power)[:power] or 0) if power > 0 else n


def _of_days(words: pd.Series, name: str, day_first: bool | None) -> pd.DatetimeIndex:
    if day_first is None:
        day_first = _day_first(words.dropna(), name)
    parts = words.str.extract(_DAY)
    day, month = (parts[0], parts[1]) if day_first else (parts[1], parts[0])
    iso = parts[2] + "-" + month.str.zfill(2) + "-" + day.str.zfill(2) + parts[3].fillna("")
    iso = iso.str.replace(r"([ T])(\d):", r"\g<1>0\2:", regex=True)
    return pd.DatetimeIndex(pd.to_datetime(iso, utc=True, format="ISO8601", errors="coerce"))


def _day_first(known: pd.Series, name: str) -> bool:
    parts = known.str.extract(_DAY)
    first, second = parts[0].astype(int), parts[1].astype(int)
    if (first > 12).any() and not (second > 12).any():
        return True
    if (second > 12).any() and not (first > 12).any():
        return False
    both = bool((first > 12).any())
    seen = f"{shown(known.iloc[0])}, and {'the column has days and months in both places' if both else 'no day after the twelfth shows which is the month'}"
    raise refusal(
        f"The dates of '{name}' are ambiguous",
        [FieldProblem(f"column {name}", seen, "ISO 8601, as 2026-03-01")],
    )
