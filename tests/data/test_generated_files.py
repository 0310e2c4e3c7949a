"""Tables as strangers' files write them: what was written is known, so what is read can be held against it.

A layout (separator, line ends, quotation marks, blanks, packing) and columns (numbers in several notations, text that
holds what CSV gives a meaning, ids, instants, columns of nothing) are drawn; the table's values follow from a seed.
"""

from __future__ import annotations

import gzip
import io
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from core.data.cells import MISSING_MARKERS, NO_NUMBER_MARKERS
from core.data.conforming import Conformed, conform
from core.data.files import TableRead, read_table, write_csv
from core.data.inferring import first_schema, infer_schema
from core.records import FeatureSchema

A_ROUND = 100  # examples between two notes of how far a campaign is
BEGIN = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
WORDS = (
    "red", "dark green", "tan", "naïve", "東京", "1.10", "12e4x", "a,b", "a;b", "a\tb", 'say "yes" now', '"quoted"', 'x, "y" , z',
    "two\nlines", "two\r\nlines", "two\rlines", "it's", "'quoted'", "=1+2", "-dash", "@at", "?", "-", "<b>", "007", "#1",
)  # fmt: skip
STRAY = ('4" pipe', '12"', '5" x 7"')  # marks inside a value that need no quotation
NAMES = ("size", "two words", "größe", "a,b", "a;b", 'in "marks"', '4" pipe', "it's", "=sum", "no", "null", "7")


@dataclass(frozen=True)
class Layout:
    """How a table is put into bytes."""

    separator: str
    line_end: str
    mark: bool  # a byte order mark
    quoting: str  # minimal | all | stray: what needs no quotation marks has none, though it holds one
    blanks: str  # none | around | outside (of quotation marks) | last (cell of a file without a last line end)
    closed: bool  # whether the last line has an end
    blank_rows: int
    headers: int  # repetitions
    members: int  # of gzip; 0 = not packed


@dataclass
class Column:
    """A column as it is meant, as it is written, and as a typed file would hold it."""

    name: str
    role: str  # feature | target | id | time | excluded
    kind: str | None  # of a feature or target
    meant: list[Any]  # None = missing
    written: list[str]
    typed: list[Any] = field(default_factory=list)  # empty = as meant


@dataclass(frozen=True)
class Plan:
    """What is drawn; the rows of each part follow from it."""

    layout: Layout
    index: str | None  # name of a first column that counts the rows
    id: tuple[str, str] | None  # name and form
    time: tuple[str, str, bool] | None  # name, form, sorted
    target: tuple[str, str]  # name and kind
    features: tuple[tuple[str, bool], ...]  # kind, with gaps
    odd_name: str
    rows: int
    seed: int


# --- values ---------------------------------------------------------------------------------------------------------


def number(rng: Random, notation: str, *, first: bool) -> tuple[float, str]:
    """A number and how it is written; the first of a column shows its decimal mark."""
    whole = rng.choice((rng.randrange(10), rng.randrange(1000), rng.randrange(1000, 10_000_000)))
    fraction = f"{rng.randrange(1, 100):02d}"
    minus = "-" if rng.random() < 0.3 else ""
    meant = float(f"{minus}{whole}.{fraction}")
    if notation == "plain":
        if rng.random() < 0.2 and not first:
            value = rng.uniform(-1, 1) * 10.0 ** rng.randrange(-12, 12)
            return value, rng.choice((repr(value), f"{value:.17e}"))
        return meant, f"{minus}{whole}.{fraction}"
    if notation == "comma":
        return meant, f"{minus}{whole:,}.{fraction}".replace(",", " ").replace(".", ",").replace(" ", rng.choice(". "))
    if notation == "comma, bare":
        return meant, f"{minus}{whole},{fraction}"
    if notation == "point":
        return meant, f"{minus}{whole:,}.{fraction}"
    if notation == "dollar":
        return meant, rng.choice((f"{minus}${whole:,}.{fraction}", f"{minus}{whole}.{fraction}"))
    if notation == "euro":
        return meant, f"{minus}{whole},{fraction}" + rng.choice((" €", "€"))
    if notation == "percent":
        return meant, f"{minus}{whole}.{fraction}" + rng.choice((" %", "%"))
    assert notation == "brackets"
    return meant, f"({whole}.{fraction})" if minus else f"{whole}.{fraction}"


NOTATIONS = ("plain", "comma", "comma, bare", "point", "dollar", "euro", "percent", "brackets")
KINDS = (
    *NOTATIONS,
    "whole",
    "text",
    "stray",
    "boolean",
    "names",
    "constant",
    "empty",
    "distinct",
    "further id",
    "date",
)


def feature(plan: Plan, rng: Random, name: str, kind: str, gaps: bool, part: int) -> Column:
    """A feature, or what looks like one and is left out."""
    n = plan.rows
    role, means, typed = "feature", "numeric", []
    if kind in NOTATIONS:
        pairs = [number(rng, kind, first=i == 0) for i in range(n)]
        meant, written = [p[0] for p in pairs], [p[1] for p in pairs]
    elif kind == "whole":
        meant = [float(rng.randrange(-5, 500)) for _ in range(n)]
        written = [str(int(v)) for v in meant]
    elif kind == "constant":
        meant, written = [7.5] * n, ["7.5"] * n
    elif kind == "boolean":
        truth = [rng.random() < 0.5 for _ in range(n)]
        meant, means = ["true" if t else "false" for t in truth], "boolean"
        written, typed = [rng.choice((m, m.title(), m.upper())) for m in meant], list(truth)
    elif kind == "names":
        meant, means = [f"{rng.randrange(100):03d}" for _ in range(n)], "categorical"
        written = list(meant)
    elif kind == "empty":
        meant, written, role = [None] * n, [""] * n, "excluded"
    elif kind == "distinct" or (kind == "further id" and plan.id is None):
        meant = [f"{rng.choice(WORDS)} no. {part}-{i}" for i in rng.sample(range(n), n)]
        return Column(name, "excluded", None, meant, list(meant))
    elif kind == "further id":
        many = rng.sample(range(1000), n)
        return Column(f"{name} id", "excluded", None, many, [str(v) for v in many])
    elif kind == "date":  # never in order, so no time of the rows
        days = [BEGIN + timedelta(days=rng.randrange(300)) for _ in range(n)]
        days[0] = BEGIN + timedelta(days=300)
        meant = [f"{d:%Y-%m-%d}" for d in days]
        written, role = list(meant), "excluded"
    else:
        means = "categorical"
        words = WORDS if kind == "text" else (*WORDS, *STRAY)
        meant = [rng.choice(words) for _ in range(n)]
        meant[0] = "red"
        written = list(meant)
    column = Column(name, role, means if role == "feature" else None, meant, written, typed)
    return with_gaps(column, rng) if gaps or kind == "empty" else column


def with_gaps(column: Column, rng: Random) -> Column:
    """Cells taken out, but for the first one; an empty column is written with every mark for missing."""
    markers = MISSING_MARKERS
    if column.kind == "numeric":
        markers = (*MISSING_MARKERS, *NO_NUMBER_MARKERS)
    for i in range(len(column.meant)):
        if column.meant[i] is None or (i and rng.random() < 0.25):
            column.meant[i] = None
            column.written[i] = rng.choice(markers)
            if column.typed:
                column.typed[i] = None
    return column


def ids(plan: Plan, rng: Random, part: int) -> Column:
    assert plan.id is not None
    name, form = plan.id
    numbers = [part * 10_000 + i for i in rng.sample(range(1, 5000), plan.rows)]
    meant = {
        "whole": [str(v) for v in numbers],
        "text": [f"c-{v}" for v in numbers],
        "exponent": [f"{v}e4" for v in numbers],
        "7.0": [str(v) for v in numbers],
        "zeros": [f"{v:08d}" for v in numbers],
    }[form]
    written = [f"{m}.0" for m in meant] if form == "7.0" else list(meant)
    typed: list[Any] = numbers if form == "whole" else [float(v) for v in numbers] if form == "7.0" else meant
    return Column(name, "id", None, meant, written, list(typed))


FORMS: dict[str, Callable[[datetime], str]] = {
    "zone": lambda t: f"{t:%Y-%m-%dT%H:%M:%SZ}",
    "offset": lambda t: f"{t + timedelta(hours=2):%Y-%m-%dT%H:%M:%S}+02:00",
    "fraction": lambda t: f"{t:%Y-%m-%dT%H:%M:%S.%f}Z",
    "space": lambda t: f"{t:%Y-%m-%d %H:%M:%S}",
    "slashes": lambda t: f"{t:%Y/%m/%d %H:%M}",
    "day": lambda t: f"{t:%Y-%m-%d}",
    "day first": lambda t: f"{t:%d/%m/%Y %H:%M}",
    "points": lambda t: f"{t.day}.{t.month}.{t.year}",
    "month first": lambda t: f"{t:%m/%d/%Y %H:%M:%S}",
    "seconds": lambda t: str(int(t.timestamp())),
    "milliseconds": lambda t: str(int(t.timestamp()) * 1000),
    "microseconds": lambda t: str(int(t.timestamp()) * 1_000_000),
    "compact": lambda t: f"{t:%Y%m%d%H%M%S}",
}
DIGITS = ("seconds", "milliseconds", "microseconds", "compact")


def instants(plan: Plan, rng: Random, part: int) -> Column:
    """Times of the rows: named as such, or dates that never go back; others are none."""
    assert plan.time is not None
    name, form, in_order = plan.time
    step = timedelta(days=1) if form in ("day", "points") else timedelta(hours=7)
    # A second part of twelve days or fewer does not show which number is the month: the first one does.
    many = [BEGIN + part * timedelta(days=400) + step * (i // (10 if part else 1)) for i in range(plan.rows)]
    if form in ("day", "points"):
        many = [t.replace(hour=0) for t in many]
    if not in_order:
        many = [many[-1], *many[:-1]]
    written = [FORMS[form](t) for t in many]
    is_time = in_order or name.lower() in ("date", "time", "timestamp", "created_at")
    return Column(name, "time" if is_time else "excluded", None, many if is_time else written, written, many)


def target(plan: Plan, rng: Random) -> Column:
    name, kind = plan.target
    n = plan.rows
    if kind == "regression":
        pairs = [number(rng, "plain", first=True) for _ in range(n)]
        return Column(name, "target", kind, [p[0] for p in pairs], [p[1] for p in pairs])
    classes: tuple[Any, ...] = {"text": ("no", "yes", 'a "b"'), "boolean": (False, True), "whole": (0, 1, 12)}[kind]
    meant = [classes[i % len(classes)] for i in range(n)]
    rng.shuffle(meant)
    column = Column(name, "target", kind, list(meant), [str(v) for v in meant], list(meant))
    column.meant[:2] = column.typed[:2] = list(classes[:2])
    column.written[:2] = [str(v) for v in classes[:2]]
    for i in range(len(classes), n):  # labels that have not come
        if rng.random() < 0.1 and sum(v == column.meant[i] for v in column.meant) > 2:
            column.meant[i] = column.typed[i] = None
            column.written[i] = rng.choice(MISSING_MARKERS)
    return column


def columns_of(plan: Plan, part: int) -> list[Column]:
    """The columns of the first or second part, in the order of the file."""
    rng = Random(f"{plan.seed} {part}")
    found: list[Column] = []
    if plan.index is not None:
        counted = list(range(plan.rows))
        found.append(
            Column(plan.index, "excluded", None, [str(i) for i in counted], [str(i) for i in counted], list(counted))
        )
    if plan.id is not None:
        found.append(ids(plan, rng, part))
    if plan.time is not None:
        found.append(instants(plan, rng, part))
    found.append(feature(plan, rng, "never missing", "plain", False, part))
    for i, (kind, gaps) in enumerate(plan.features):
        name = plan.odd_name if i == 0 else f"{kind} {i}"
        found.append(feature(plan, rng, name, kind, gaps, part))
    return [*found, target(plan, rng)]


# --- files ----------------------------------------------------------------------------------------------------------


def cell(text: str, layout: Layout, rng: Random) -> str:
    """A cell with the quotation marks that it needs, or has anyway."""
    inner = f" {text} " if layout.blanks == "around" and rng.random() < 0.5 else text
    needs = (
        any(c in inner for c in "\r\n" + layout.separator) or inner.startswith('"') or inner.lstrip().startswith('"')
    )
    if layout.quoting != "stray":
        needs = needs or '"' in inner
    quoted = needs or layout.quoting == "all"
    whole = '"' + inner.replace('"', '""') + '"' if quoted else inner
    return f"{' ' * rng.randrange(3)}{whole}{' ' * rng.randrange(3)}" if layout.blanks == "outside" else whole


def written(made: list[Column], layout: Layout, rng: Random) -> tuple[bytes, dict[str, int]]:
    """The bytes of the file, and how many of its lines are no rows."""
    header = [c.name for c in made]

    def line(texts: list[str]) -> str:
        return layout.separator.join(cell(t, layout, rng) for t in texts)

    rows = [line([c.written[i] for c in made]) for i in range(len(made[0].written))]
    for _ in range(layout.blank_rows):
        rows.insert(rng.randrange(len(rows)), layout.separator * (len(made) - 1))
    for _ in range(layout.headers):
        rows.insert(rng.randrange(len(rows)), line(header))
    text = layout.line_end.join([line(header), *rows])
    if layout.blanks == "last":
        text += "  "
    elif layout.closed:
        text += layout.line_end
    data = (b"\xef\xbb\xbf" if layout.mark else b"") + text.encode()
    no_rows = {"blank_rows": layout.blank_rows, "repeated_header": layout.headers}
    if not layout.members:
        return data, no_rows
    at = [0, *sorted(rng.randrange(len(data)) for _ in range(layout.members - 1)), len(data)]
    return b"".join(gzip.compress(data[a:b], 1) for a, b in itertools.pairwise(at)), no_rows


def read(data: bytes, name: str) -> TableRead:
    return read_table(data, name=name, max_bytes=10_000_000)


def typed_file(made: list[Column]) -> bytes:
    """The same table as Parquet."""
    frame = pd.DataFrame({c.name or "Unnamed: 0": pd.Series(c.typed or c.meant) for c in made})
    sink = io.BytesIO()
    frame.to_parquet(sink, index=False)
    return sink.getvalue()


# --- what must hold -------------------------------------------------------------------------------------------------


def check_roles(schema: FeatureSchema, made: list[Column]) -> None:
    names = {role: [c.name or "Unnamed: 0" for c in made if c.role == role] for role in ("id", "time", "target")}
    assert schema.target == names["target"][0]
    assert [schema.id_column] == (names["id"] or [None])
    assert [schema.time_column] == (names["time"] or [None])
    assert set(schema.excluded) == {c.name or "Unnamed: 0" for c in made if c.role == "excluded"}
    assert [(f.name, f.kind) for f in schema.features] == [(c.name, c.kind) for c in made if c.role == "feature"]
    kind = next(c.kind for c in made if c.role == "target")
    assert (schema.task == "regression") == (kind == "regression")


def check_rows(taken: Conformed, made: list[Column]) -> None:
    """Every cell as it was meant."""
    for c in made:
        if c.role == "feature":
            found = taken.X[c.name]
            expected = [np.nan if v is None else v for v in c.meant]
            if c.kind == "numeric":
                np.testing.assert_array_equal(found.to_numpy(), np.array(expected, dtype=float), err_msg=c.name)
            else:
                text = [None if pd.isna(v) else v for v in found]
                assert text == c.meant, [
                    (c.name, *pair) for pair in zip(text, c.meant, strict=True) if pair[0] != pair[1]
                ]
        elif c.role == "target":
            assert taken.y is not None
            labels = taken.y.tolist()
            assert labels == c.meant
            assert {type(v) for v in labels} == {type(v) for v in c.meant}
        elif c.role == "id":
            assert taken.ids == c.meant
        elif c.role == "time":
            assert taken.times is not None
            assert list(taken.times) == c.meant


def check_again(taken: Conformed, schema: FeatureSchema) -> None:
    """The rows as a download has them are the same rows when they are read again."""
    frame = taken.X.copy()
    frame.insert(0, "_row", [str(i) + "x" for i in range(len(frame))] if taken.ids is None else taken.ids)
    frame[schema.target] = taken.y
    again = read(write_csv(frame), "again.csv")
    assert again.problems == ()
    kinds = {f.name: f.kind for f in schema.features}
    task: Any = "regression" if schema.task == "regression" else "classification"
    own = infer_schema(again.frame, target=schema.target, id_column="_row", task=task, kinds=kinds)
    found = conform(again.frame, own)
    assert_frame_equal(found.X, taken.X)
    assert taken.y is not None and found.y is not None
    assert [str(v) for v in found.y] == [str(v) for v in taken.y]


def check(plan: Plan) -> None:
    name = "rows.csv.gz" if plan.layout.members else "rows.tsv" if plan.layout.separator == "\t" else "rows.csv"
    first, second = columns_of(plan, 0), columns_of(plan, 1)
    data, no_rows = written(first, plan.layout, Random(plan.seed))
    got = read(data, name)
    assert {p.code: p.count for p in got.problems if p.code in no_rows} == {k: n for k, n in no_rows.items() if n}
    assert len(got.frame) == plan.rows
    assert got.frame.columns.tolist() == [c.name or "Unnamed: 0" for c in first]
    schema, _ = first_schema(got.frame)
    check_roles(schema, first)
    taken = conform(got.frame, schema)
    check_rows(taken, first)
    check_again(taken, schema)

    later = conform(read(written(second, plan.layout, Random(plan.seed + 1))[0], name).frame, schema)
    check_rows(later, second)
    assert later.X.dtypes.tolist() == taken.X.dtypes.tolist()

    typed = read(typed_file(first), "rows.parquet").frame
    typed_schema, _ = first_schema(typed)
    check_roles(typed_schema, first)
    same = conform(typed, typed_schema)
    assert_frame_equal(same.X, taken.X)
    check_rows(same, first)
    assert_frame_equal(conform(typed, schema).X, taken.X)


LAYOUTS = st.builds(
    Layout,
    separator=st.sampled_from((",", ";", "\t")),
    line_end=st.sampled_from(("\n", "\r\n", "\r")),
    mark=st.booleans(),
    quoting=st.sampled_from(("minimal", "all", "stray")),
    blanks=st.sampled_from(("none", "none", "around", "outside", "last")),
    closed=st.booleans(),
    blank_rows=st.sampled_from((0, 0, 1, 3)),
    headers=st.sampled_from((0, 0, 1, 2)),
    members=st.sampled_from((0, 0, 1, 3)),
)


@st.composite
def plans(draw: Any) -> Plan:
    layout = draw(LAYOUTS)
    # Blanks outside of marks are understood only where every mark opens a value, closes one or is doubled.
    if layout.quoting == "stray" and layout.blanks == "outside":
        layout = Layout(**{**vars(layout), "blanks": "around"})
    target_name = draw(st.sampled_from(("y", "Target", "label", "CLASS", "outcome")))
    return Plan(
        layout=layout,
        index=draw(st.sampled_from((None, None, "", "Unnamed: 0", "row"))),
        id=draw(
            st.none()
            | st.tuples(
                st.sampled_from(("id", "customer_id", "PassengerId", "Serial No.", "uuid")),
                st.sampled_from(("whole", "text", "exponent", "7.0", "zeros")),
            )
        ),
        time=draw(
            st.none()
            | st.tuples(
                st.sampled_from(("time", "created_at", "Date", "when")), st.sampled_from(list(FORMS)), st.booleans()
            ).filter(lambda t: t[1] not in DIGITS or (t[2] and t[0] != "when"))
        ),
        target=(target_name, draw(st.sampled_from(("text", "boolean", "whole", "regression")))),
        features=tuple(draw(st.lists(st.tuples(st.sampled_from(KINDS), st.booleans()), min_size=1, max_size=5))),
        odd_name=draw(st.sampled_from(NAMES)),
        rows=draw(st.sampled_from((50, 60))),
        seed=draw(st.integers(0, 2**16)),
    )


def checked(number_of_round: int) -> int:
    """How many tables of one round were held against what was written."""
    seen: list[Plan] = []

    @seed(number_of_round)
    @settings(max_examples=A_ROUND, phases=[Phase.generate], derandomize=False, suppress_health_check=list(HealthCheck))
    @given(plans())
    def one(plan: Plan) -> None:
        seen.append(plan)
        check(plan)

    one()
    return len(seen)


@pytest.mark.campaign
def test_a_table_is_read_as_it_was_written(campaign: Any) -> None:
    for number_of_round in campaign.rounds("generated-files", -(-campaign.generated_cases // A_ROUND)):
        assert checked(number_of_round) >= A_ROUND
