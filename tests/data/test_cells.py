"""Cells as strangers write them: what they mean, and where that is not clear."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.data import columns, dates, looking
from core.data.cells import as_category, as_id, guarded, instant, label_of, readings, unguarded
from core.data.conforming import conform
from core.data.files import read_table
from core.data.inferring import first_schema
from core.data.problems import text_of
from core.data.roles import guess_roles
from core.errors import BadInput, UnsupportedFormat
from core.records import Problem


def read(text: str, name: str = "rows.csv") -> pd.DataFrame:
    return read_table(text.encode(), name=name, max_bytes=10_000_000).frame


def column(*values: str) -> pd.Series:
    """The cells of one column of a file."""
    quoted = ['"' + v.replace('"', '""') + '"' for v in values]
    return read("x,other\n" + "".join(f"{v},1\n" for v in quoted))["x"]


def numbers_in(*values: str) -> list[float] | str:
    """The numbers of such a column, or the code of the problem for which it is none."""
    cells = column(*values)
    look = looking.look_at(cells, "x")
    if look.kind != "numeric":
        return look.problem.code if look.problem is not None else look.kind
    return columns.numbers(cells, "x", written=look.written).tolist()


@pytest.mark.parametrize(
    "marker", ["NA", "N/A", "n/a", "None", "#N/A", "<NA>", r"\N", "NaT", "?", "-", "--", "#DIV/0!"]
)
def test_one_missing_cell_leaves_a_column_of_numbers_what_it_is(marker: str) -> None:
    cells = column("1.5", marker, "3", *map(str, range(20)))
    look = looking.look_at(cells, "x")
    assert look.kind == "numeric"
    assert np.isnan(columns.numbers(cells, "x", written=look.written)[1])


def test_a_mark_that_is_missing_only_among_numbers_is_a_category_elsewhere() -> None:
    assert columns.texts(column("?", "a", "N/A"), "x").tolist()[:2] == ["?", "a"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1,234", "999"], [1234.0, 999.0]),  # a thousand has a comma, below it none
        (["1,234.50", "7.25"], [1234.5, 7.25]),
        (["1,234,567", "12"], [1234567.0, 12.0]),
        (["1.234", "999,5", "12"], [1234.0, 999.5, 12.0]),
        (["1.234,5", "2.000,0", "3,5"], [1234.5, 2000.0, 3.5]),
        (["1,5", "2,25"], [1.5, 2.25]),
        (["0,123", "0,456"], [0.123, 0.456]),
        (["1 234", "12 345 678"], [1234.0, 12345678.0]),
        (["1\u202f234,5", "7,5"], [1234.5, 7.5]),
        (["$1,234.50", "$2", "-$3.5"], [1234.5, 2.0, -3.5]),
        (["12 €", "1,5 €"], [12.0, 1.5]),
        (["50%", "12.5 %"], [50.0, 12.5]),
        (["(12.5)", "3.5"], [-12.5, 3.5]),
        (["+5", "-3", "1e3"], [5.0, -3.0, 1000.0]),
        (["1,234", "5,678"], "ambiguous_numbers"),
        (["1.5", "2,5"], "nearly_numbers"),
        (["50%", "0.5"], "mixed_units"),
        (["$5", "€6"], "mixed_units"),
        (["007", "012"], "categorical"),
        (["0x1F", "0x20"], "categorical"),
        (["12345678901234567", "1"], "categorical"),
        (["true", "FALSE"], "boolean"),
        ([*map(str, range(30)), "about 7"], "nearly_numbers"),
        (["a", "1", "b", "c"], "categorical"),
    ],
)
def test_numbers_as_people_write_them(values: list[str], expected: Any) -> None:
    assert numbers_in(*values) == expected


def test_a_column_that_is_ambiguous_follows_the_others_of_its_file() -> None:
    schema, said = first_schema(read("a;b;y\n1,234;0,5;u\n5,678;1,5;v\n"), target="y")
    assert [(f.kind, f.written.decimal) for f in schema.features] == [("numeric", ",")] * 2
    assert {p.code for p in said} == {"numbers_written"}


def test_a_later_file_is_read_as_the_first_one_wrote_its_numbers() -> None:
    schema, _ = first_schema(read("a;y\n999,5;u\n1,5;v\n"), target="y")
    assert conform(read("a;y\n1,234;u\n"), schema).X["a"].tolist() == [1.234]
    assert conform(read("a,y\n1234.5,u\n2.0,v\n"), schema).X["a"].tolist() == [1234.5, 2.0]  # a download, sent back
    with pytest.raises(BadInput, match="a number with a decimal comma"):
        conform(read("a;y\n1,5;u\n1,234.5;u\n"), schema)


@pytest.mark.parametrize(
    ("first", "later", "kind", "expected"),
    [
        (["True", "False", "unknown"], ["True", "False", "True"], "categorical", ["True", "False", "True"]),
        (["1.10", "1.9", "2.0-beta"], ["1.10", "1.9", "1.10"], "categorical", ["1.10", "1.9", "1.10"]),
        (["1", "2", "x"], ["1", "2", "1.0"], "categorical", ["1", "2", "1"]),
        (["12e4", "a", "b"], ["12e4", "1e2", "100"], "categorical", ["12e4", "1e2", "100"]),
    ],
)
def test_a_later_column_is_read_by_the_schema_and_never_looked_at_anew(
    first: list[str], later: list[str], kind: str, expected: list[str]
) -> None:
    def table(values: list[str]) -> pd.DataFrame:
        return read("c,n,y\n" + "".join(f"{v},{i}.5,{'uv'[i % 2]}\n" for i, v in enumerate(values)))

    schema, _ = first_schema(table(first), target="y")
    assert schema.features[0].kind == kind
    taken = conform(table(later), schema)
    assert taken.X["c"].tolist() == expected


def test_ids_stay_as_they_stand_and_only_whole_numbers_lose_their_point() -> None:
    assert [as_id(v) for v in ("12e4", "1e2", "100", "7.0", 7.0, 7, "7.10", "007", " k3 ", "007.0")] == [
        "12e4", "1e2", "100", "7", "7", "7", "7.10", "007", "k3", "007.0",
    ]  # fmt: skip
    assert as_id(1234567890123456.0) == "1234567890123456"


def test_categories_keep_to_the_spelling_that_is_known() -> None:
    assert as_category(True, ("True", "False")) == "True"
    assert as_category("7.0", ("7", "8")) == "7"
    assert as_category("9.0", ("7", "8")) == "9"
    assert as_category("9.0", ("7", "x")) == "9.0"
    assert as_category(" a ", ("a",)) == "a"


@pytest.mark.parametrize("value", ["inf", "1e400", "1.5", "x", float("inf"), True])
def test_what_is_no_whole_number_is_no_class_among_them(value: Any) -> None:
    with pytest.raises((ValueError, OverflowError)):
        label_of(value, "binary", (0, 1))


def test_missing_labels_are_none_and_great_ones_no_number() -> None:
    assert [label_of(v, "binary", ("no", "yes")) for v in ("NA", "nan", "", " yes ")] == [None, None, None, "yes"]
    assert label_of("-", "regression", ()) is None
    with pytest.raises(ValueError, match="finite"):
        label_of(1e200, "regression", ())


def test_values_too_great_for_models_are_missing_and_said() -> None:
    said: list[Problem] = []
    values = columns.numbers(column("1.7976931348623157e308", "1", "inf", "3.4e37"), "x", problems=said)
    assert np.isnan(values).tolist() == [True, False, True, False]
    assert [(p.code, p.count) for p in said] == [("infinite", 1), ("too_great", 1)]


@pytest.mark.parametrize("text", ["=1+1", "+a", "-iHP9", "@x", "'=a", "''+b"])
def test_what_a_download_guards_an_upload_takes_back(text: str) -> None:
    assert guarded(text) == f"'{text}"
    assert unguarded(guarded(text)) == text
    assert read(f'c,n\n"{guarded(text)}",1\n')["c"].tolist() == [text]


# --- rows ------------------------------------------------------------------------------------------------------------


def test_a_quotation_mark_inside_an_unquoted_value_is_text() -> None:
    frame = read('id,width",y\n1,2,yes\n2,3,no\n3,4" ,yes\n4,5,no\n5,6,yes\n')
    assert list(frame.columns) == ["id", 'width"', "y"]
    assert frame['width"'].tolist() == ["2", "3", '4"', "5", "6"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('a,b\n"1,2\n3,4\n5,6\n', "line 2"),
        ('a,b\n1,2\n3,"4\n5,6\n', "line 3"),
        ('a,b\n1,2\n"3"x,4\n5,6\n', "line 3"),
        ('"a,b\n1,2\n', "header"),
    ],
)
def test_a_quotation_mark_that_is_not_closed_is_refused_with_its_line(text: str, line: str) -> None:
    with pytest.raises(BadInput, match=line):
        read(text)


def test_blanks_between_separators_and_quotation_marks_do_not_count() -> None:
    assert read('a, b\n1, "x, y"\n2, "z" \n').to_dict("list") == {"a": ["1", "2"], "b": ["x, y", "z"]}


def test_values_whose_lines_look_like_rows_are_said() -> None:
    found = read_table(b'a,b,c\n1,2,3\n4,"5,6\n7,8",9\n10,11,12\n', name="r.csv", max_bytes=1000)
    assert len(found.frame) == 3
    assert [(p.code, p.count, p.example) for p in found.problems] == [("lines_in_value", 1, "line 3")]
    prose = read_table(b'a,b,c\n1,"Dear all,\nhello",3\n', name="r.csv", max_bytes=1000)
    assert prose.problems == ()


def test_rows_that_are_none_are_left_out_and_said() -> None:
    found = read_table(b"x,y\n1,a\n,\nx,y\n2,b\n ,  \n", name="r.csv", max_bytes=1000)
    assert found.frame.to_dict("list") == {"x": ["1", "2"], "y": ["a", "b"]}
    assert [(p.code, p.count, p.example) for p in found.problems] == [
        ("blank_rows", 2, "row 2"),
        ("repeated_header", 1, "row 3"),
    ]
    assert all(text_of(p) for p in found.problems)


def test_bytes_behind_a_gzip_stream_are_refused_but_padding_is_not() -> None:
    import gzip

    packed = gzip.compress(b"a,b\n1,2\n")
    assert len(read_table(packed + bytes(512), name="a.csv.gz", max_bytes=1000).frame) == 1
    with pytest.raises(UnsupportedFormat, match="after its gzip stream"):
        read_table(packed + b"\x1f\x00rest", name="a.csv.gz", max_bytes=1000)


def test_a_line_end_in_quotation_marks_stays_whole_wherever_it_stands() -> None:
    rows = 250_000
    text = "i,s\r\n" + "".join(f'{i},"line one\r\nline two"\r\n' for i in range(rows))
    frame = read_table(text.encode(), name="a.csv", max_bytes=100_000_000).frame
    assert frame["s"].unique().tolist() == ["line one\r\nline two"]
    assert len(frame) == rows


# --- roles -----------------------------------------------------------------------------------------------------------


def test_index_columns_ids_dates_and_empty_columns_are_no_features_and_said() -> None:
    n = 60
    frame = read(
        ",PassengerId,when,seen on,note,x,y\n"
        + "".join(
            f"{i},{i + 900},2026-01-{i % 28 + 1:02d},2026-{i // 28 + 1:02d}-{i % 28 + 1:02d},,{i % 7}.5,{'uv'[i % 2]}\n"
            for i in range(n)
        )
    )
    roles = guess_roles(frame)
    assert (roles.target, roles.id_column, roles.time_column) == ("y", "PassengerId", "seen on")
    assert roles.excluded == ("Unnamed: 0", "when", "note")
    assert [p.code for p in roles.problems] == [
        "index_column", "target_assumed", "id_assumed", "time_assumed", "date_column", "empty_column",
    ]  # fmt: skip
    assert all(text_of(p) for p in roles.problems)


def test_what_is_named_goes_before_what_is_guessed() -> None:
    frame = read("id,day,x,y\n" + "".join(f"{i},2026-01-{i + 1:02d},{i}.5,{i % 2}\n" for i in range(9)))
    none = guess_roles(frame, target="x", id_column="", time_column="", features=("id", "day"))
    assert (none.target, none.id_column, none.time_column, none.excluded) == ("x", None, None, ())
    with pytest.raises(BadInput, match=r"column ID is not there \('id' is\)"):
        guess_roles(frame, id_column="ID")
    with pytest.raises(BadInput, match="cannot be excluded"):
        guess_roles(frame, target="y", exclude=("y",))


def test_a_number_that_counts_is_a_feature_unless_it_is_named_as_an_index() -> None:
    frame = read("age,row,y\n" + "".join(f"{i},{i},{i % 2}\n" for i in range(80)))
    roles = guess_roles(frame)
    assert (roles.id_column, roles.excluded) == (None, ("row",))


def test_labels_under_the_target_in_another_case_are_refused_with_the_name() -> None:
    schema, _ = first_schema(read("x,y\n1.5,a\n2.5,b\n"), target="y")
    with pytest.raises(BadInput, match=r"not there \('Y' is\)"):
        conform(read("x,Y\n1.5,a\n"), schema)


# --- time ------------------------------------------------------------------------------------------------------------


def test_digits_with_more_than_one_reading_are_refused_with_both() -> None:
    assert set(readings("202401021530")) == {"milliseconds", "calendar"}
    frame = read("t,x\n202401021530,1\n202401021531,2\n")
    with pytest.raises(BadInput, match=r"2024-01-02 15:30:00 \(calendar\) or 1976-.* \(milliseconds\)"):
        dates.instants(frame["t"], "t")
    clear = read("t,x\n20240102153000,1\n20240102153100,2\n")
    assert dates.instants(clear["t"], "t")[0] == pd.Timestamp("2024-01-02T15:30:00Z")


@pytest.mark.parametrize("text", ["1770000500", 1770000500, 1770000500.0, 1770000500000, "2026-02-02T02:48:20Z"])
def test_an_instant_of_a_request_is_read_as_in_a_file(text: Any) -> None:
    assert instant(text).isoformat() == "2026-02-02T02:48:20+00:00"


def test_days_are_read_as_the_column_shows_or_refused() -> None:
    assert dates.instants(column("13/04/2026", "01/05/2026"), "x")[1] == pd.Timestamp("2026-05-01T00:00:00Z")
    assert dates.instants(column("04/13/2026", "05/01/2026 9:30"), "x")[1] == pd.Timestamp("2026-05-01T09:30:00Z")
    with pytest.raises(BadInput, match="ambiguous"):
        dates.instants(column("03/04/2026", "05/06/2026"), "x")
    schema, _ = first_schema(read("t,x,y\n13/04/2026,1.5,a\n14/04/2026,2,b\n"), target="y", time_column="t")
    assert schema.day_first is True
    taken = conform(read("t,x,y\n03/05/2026,1,a\n"), schema)
    assert taken.times is not None
    assert taken.times[0] == pd.Timestamp("2026-05-03T00:00:00Z")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["1899-12-31T00:00:00Z"], "an instant of 1900 or later"),
        (["2026-01-01T05:00:00Z"], "rows from the future are not accepted"),
    ],
)
def test_instants_that_cannot_be_are_refused(values: list[str], words: str) -> None:
    latest = pd.Timestamp("2026-01-01T04:00:00Z").to_pydatetime()
    with pytest.raises(BadInput, match=words):
        dates.instants(column(*values), "x", latest=latest)


def test_a_zone_that_was_assumed_is_said() -> None:
    said: list[Problem] = []
    dates.instants(column("2026-01-01 12:00", "2026-01-02 12:00"), "x", problems=said)
    dates.instants(column("2026-01-01T12:00:00+01:00"), "x", problems=said)
    assert [(p.code, p.count) for p in said] == [("zone_assumed", 2)]
