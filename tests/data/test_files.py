"""Files that strangers send: read exactly, or refused with one clear message."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data import columns, files, looking
from core.data.files import read_table, write_csv
from core.data.samples import SAMPLES, sample_path
from core.errors import BadInput, ContinualError, NotFound, TooLarge, UnsupportedFormat
from core.records import Problem
from core.settings import ROOT
from core.ui.components.downloads import as_csv

MB = 1_000_000


def read(
    content: bytes | str, name: str = "rows.csv", *, max_bytes: int = MB, target: str | None = None
) -> pd.DataFrame:
    data = content.encode() if isinstance(content, str) else content
    return read_table(data, name=name, max_bytes=max_bytes, target=target).frame


def values(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """The columns as what their cells turn out to be: numbers, or text."""
    kinds = {c: looking.look_at(frame[c], c) for c in frame.columns}
    return {
        c: (columns.numbers(frame[c], c, written=look.written) if look.kind == "numeric" else frame[c]).tolist()
        for c, look in kinds.items()
    }


def parquet(frame: pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    frame.to_parquet(sink, index=False)
    return sink.getvalue()


def arrow(table: pa.Table, *, compression: str | None = None, file: bool = False) -> bytes:
    sink = pa.BufferOutputStream()
    make = pa.ipc.new_file if file else pa.ipc.new_stream
    with make(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def zipped() -> bytes:
    """A hundred megabytes of zeros in a few kilobytes."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.csv", bytes(20 * MB))
    return sink.getvalue()


def read_or_words(content: bytes, name: str) -> tuple[int, str]:
    """Rows read, or the refusal; any other error is a failure."""
    try:
        return len(read(content, name)), ""
    except ContinualError as error:
        return 0, str(error)


WIDE = ",".join(f"c{i}" for i in range(10_000))
MALFORMED: dict[str, tuple[bytes | str, str, type[ContinualError], str]] = {
    "no header": ("1.5,2\n3,4\n", "a.csv", BadInput, "no header line"),
    "ragged rows": ("a,b\n1,2\n3\n4,5,6\n", "a.csv", BadInput, "line 3 has 1 field, expected 2"),
    "ragged rows below a text of several lines": ('a,b\n1,"x\ny"\n3\n', "a.csv", BadInput, "line 4 has 1 field"),
    "duplicate columns": ("a,b,a\n1,2,3\n", "a.csv", BadInput, r"column a is there 2 times \(columns 1, 3\)"),
    "a blank name": ("a, ,c\n1,2,3\n", "a.csv", BadInput, "column 2 is without a name"),
    "wrong encoding": ("a,b\ncafé,1\n".encode("latin-1"), "a.csv", BadInput, r"byte 0xe9 at position 7 \(line 2\)"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "a.csv", BadInput, "UTF-16, expected UTF-8"),
    "an open quotation mark": ('a,b\n"1,2\n3,4\n', "a.csv", BadInput, "not closed"),
    "0 rows": ("a,b\n", "a.csv", BadInput, "header line but no row"),
    "0 rows, blank lines": ("a,b\n\n\n", "a.csv", BadInput, "header line but no row"),
    "an empty file": (b"", "a.csv", BadInput, "is empty"),
    "blank lines only": ("\n \n", "a.csv", BadInput, "only blank lines"),
    "10,000 columns": (WIDE + "\n" + WIDE + "\n", "a.csv", TooLarge, "10,000 columns, expected at most 2,000"),
    "too big": (b"a,b\n" + b"1,2\n" * MB, "a.csv", TooLarge, "4.0 MB, expected at most 1.0 MB"),
    "a zip bomb named .parquet": (zipped(), "a.parquet", UnsupportedFormat, "named as Parquet but holds a zip archive"),
    "a gzip bomb": (gzip.compress(bytes(20 * MB)), "a.csv.gz", TooLarge, "unpacks to more than 10.0 MB"),
    "gzip that is cut off": (gzip.compress(b"a,b\n1,2\n" * 99)[:-9], "a.csv.gz", UnsupportedFormat, "truncated"),
    "gzip that is damaged": (b"\x1f\x8b\x08" + b"\0" * 40, "a.csv.gz", UnsupportedFormat, "damaged"),
    "gzip named .csv": (gzip.compress(b"a,b\n1,2\n"), "a.csv", UnsupportedFormat, "named as CSV text but holds gzip"),
    "text named .parquet": ("a,b\n1,2\n", "a.parquet", UnsupportedFormat, "named as Parquet but holds CSV text"),
    "Parquet named .csv": (parquet(pd.DataFrame({"a": [1]})), "a.csv", UnsupportedFormat, "but holds Parquet"),
    "Parquet that is cut off": (parquet(pd.DataFrame({"a": [1]}))[:-20], "a.parquet", UnsupportedFormat, "damaged"),
    "Parquet without rows": (parquet(pd.DataFrame({"a": [1]})[:0]), "a.parquet", BadInput, "no row"),
    "Parquet of lists": (parquet(pd.DataFrame({"a": [[1]]})), "a.parquet", BadInput, "column a is list"),
    "Parquet of many equal rows": (
        parquet(pd.DataFrame({f"c{i}": np.zeros(200_000) for i in range(10)})), "a.parquet", TooLarge, "200,000 rows"
    ),
    "Parquet with one long text in many rows": (
        parquet(pd.DataFrame({"a": ["x" * 10_000] * 20_000})), "a.parquet", TooLarge, "unpacks to more"
    ),
    "Arrow that unpacks to too much": (
        arrow(pa.table({"a": ["x" * 1000] * 20_000}), compression="zstd"), "a.arrow", TooLarge, r"20\.\d MB"
    ),
    "Arrow that is damaged": (b"\xff\xff\xff\xff\x10\0\0\0" + b"\1" * 40, "a.arrow", UnsupportedFormat, "damaged"),
    "a workbook": (zipped(), "a.xlsx", UnsupportedFormat, "an Excel file is one"),
    "a pickle": (b"\x80\x04\x95\0\0\0\0", "a.csv", UnsupportedFormat, "a pickle"),
    "binary data": (b"a,b\n\0\1\2", "a.csv", UnsupportedFormat, "binary data"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_gets_one_clear_message(case: str) -> None:
    content, name, error, words = MALFORMED[case]
    with pytest.raises(error, match=words) as caught:
        read(content, name)
    assert name in str(caught.value)
    assert len(str(caught.value)) < 600


def test_the_cells_of_a_csv_file_stay_text_until_somebody_asks_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("\ufeffn, x ,site,ok,code\n1,0.5,east,true,007\n2,,NA,False,008\n", encoding="utf-8")
    frame = read_table(path, name=path.name, max_bytes=MB).frame
    assert frame.to_dict("list") == {
        "n": ["1", "2"],
        "x": ["0.5", None],
        "site": ["east", None],
        "ok": ["true", "False"],
        "code": ["007", "008"],
    }
    assert [looking.kind_of(frame[c]) for c in frame.columns] == [
        "numeric",
        "numeric",
        "categorical",
        "boolean",
        "categorical",
    ]


ODD = {
    "a tab before the first name": ("\ta\n0\t1\n1\t2\n", {"Unnamed: 0": ["0", "1"], "a": ["1", "2"]}),
    "blanks before and behind names in quotation marks": ('"a", "b" , "c"\n1,2,3\n', {"a": ["1"], "b": ["2"], "c": ["3"]}),
    "blanks outside of quotation marks, and marks inside": (
        'a,b\n "x, ""y"" , z" ,1\n"u",2\n', {"a": ['x, "y" , z', "u"], "b": ["1", "2"]}
    ),
    "a blank behind the very last value": ("a,b\n1,x\n2,x ", {"a": ["1", "2"], "b": ["x", "x"]}),
    "a repeated header whose first name is that of an index": (
        "Unnamed: 0,a\n0,1\nUnnamed: 0,a\n1,2\n", {"Unnamed: 0": ["0", "1"], "a": ["1", "2"]}
    ),
    "a repeated header with a name that reads as missing": ("a,null\n0,1\na,null\n1,2\n", {"a": ["0", "1"], "null": ["1", "2"]}),
}  # fmt: skip


@pytest.mark.parametrize("case", ODD)
def test_odd_files_are_read_as_they_are_meant(case: str) -> None:
    content, expected = ODD[case]
    assert {name: cells.tolist() for name, cells in read(content).items()} == expected


def test_a_lone_carriage_return_in_a_value_comes_back_from_a_download() -> None:
    frame = pd.DataFrame({"a": ["one\rtwo", None, "three"], "b": [1.5, 3.0, np.nan]})
    again = read(write_csv(frame))
    assert again["a"].isna().tolist() == [False, True, False]
    assert again["a"].dropna().tolist() == ["one\rtwo", "three"]
    assert again["b"].fillna("").tolist() == ["1.5", "3.0", ""]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_separator_and_line_ends_are_found(separator: str, line_end: str) -> None:
    lines = [["a", "b"], ["1", "x"], ["2", "y"]]
    frame = read(line_end.join(separator.join(line) for line in lines))
    assert frame.to_dict("list") == {"a": ["1", "2"], "b": ["x", "y"]}


def test_numbers_with_a_decimal_comma_are_numbers_in_a_semicolon_file() -> None:
    assert values(read("a;b\n1,5;x\n-2,25;y\n"))["a"] == [1.5, -2.25]


def test_a_first_line_that_holds_the_target_is_a_header_even_of_digits() -> None:
    assert list(read("0,1,2,y\n1,2,3,0\n", target="y").columns) == ["0", "1", "2", "y"]
    assert list(read("0,1,2\n1,2,3\n", target="2").columns) == ["0", "1", "2"]
    with pytest.raises(BadInput, match="no header line"):
        read("0,1,2\n1,2,3\n")


def test_missing_markers_blanks_and_infinities_do_not_turn_a_number_column_into_text() -> None:
    frame = read('a,b,c\n 1.5 ,inf,""\nNA,-Infinity,"2"\n null,1e400,NaN\n')
    assert frame["a"].isna().tolist() == [False, True, True]
    assert [looking.kind_of(frame[c]) for c in "abc"] == ["numeric"] * 3
    said: list[Problem] = []
    assert np.isnan(columns.numbers(frame["b"], "b", problems=said)).all()
    assert [(p.code, p.count) for p in said] == [("infinite", 3)]
    assert values(frame)["c"][1] == 2.0


def test_what_looks_like_a_number_but_is_a_name_stays_text() -> None:
    frame = read("zip,hexa,long,day\n01234,0x1F,12345678901234567890,2026-03-01\n55555,0x20,1,2026-03-02\n")
    assert {looking.kind_of(frame[c]) for c in frame.columns} == {"categorical"}
    assert frame["zip"].tolist() == ["01234", "55555"]
    assert frame["hexa"].tolist() == ["0x1F", "0x20"]
    assert frame["long"].tolist() == ["12345678901234567890", "1"]
    assert frame["day"].tolist() == ["2026-03-01", "2026-03-02"]


def test_sql_and_html_in_a_column_name_are_just_a_name() -> None:
    names = ["'; DROP TABLE users; --", "<script>alert(1)</script>", "a b\nc", "${x}"]
    frame = pd.DataFrame([[1, 2, 3, 4]], columns=names)
    assert list(read(frame.to_csv(index=False)).columns) == names
    assert list(read(parquet(frame), "a.parquet").columns) == names


def test_parquet_is_read_as_pandas_reads_it() -> None:
    frame = pd.DataFrame(
        {"x": [1.0, np.nan, 3.0], "c": ["a", None, "b"], "n": [1, 2, 3], "t": pd.date_range("2026-01-01", periods=3)}
    )
    content = parquet(frame)
    pd.testing.assert_frame_equal(read(content, "a.parquet"), pd.read_parquet(io.BytesIO(content)))


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("file", [False, True])
def test_arrow_streams_and_files_are_read(compression: str | None, file: bool) -> None:
    table = pa.table(
        {"x": [1.5, None], "c": pa.array(["a", "b"]).dictionary_encode(), "d": pa.array([1, 2], pa.decimal128(5))}
    )
    frame = read(arrow(table, compression=compression, file=file), "a.arrow")
    assert frame["c"].tolist() == ["a", "b"]
    assert frame["d"].tolist() == [1.0, 2.0]


def test_a_table_of_too_many_columns_is_refused_before_it_is_decoded() -> None:
    wide = pd.DataFrame(np.zeros((1, 2500))).add_prefix("c")
    for content, name in (parquet(wide), "a.parquet"), (arrow(pa.Table.from_pandas(wide)), "a.arrow"):
        with pytest.raises(TooLarge, match="2,500 columns, expected at most 2,000"):
            read(content, name, max_bytes=5 * MB)


def test_a_gzip_of_several_members_is_read_whole() -> None:
    assert read(gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"3,4\n"), "a.csv.gz")["b"].tolist() == ["2", "4"]


def test_a_file_that_is_not_there_is_said() -> None:
    with pytest.raises(NotFound, match=r"no file gone\.csv"):
        read_table(Path("gone.csv"), name="gone.csv", max_bytes=MB)


@given(
    st.binary(max_size=300),
    st.sampled_from(["a.csv", "a.csv.gz", "a.parquet", "a.arrow", "a"]),
    st.sampled_from([b"", b"PAR1", b"\xff\xff\xff\xff", b"ARROW1\0\0", b"\x1f\x8b\x08\0"]),
)
def test_any_bytes_are_read_or_refused_by_name(content: bytes, name: str, magic: bytes) -> None:
    rows, reported = read_or_words(magic + content, name)
    assert (rows > 0) != bool(reported)


@given(st.binary(min_size=1, max_size=3), st.integers(min_value=0), st.sampled_from(["parquet", "arrow"]))
def test_damaged_tables_are_read_or_refused_by_name(change: bytes, place: int, kind: str) -> None:
    table = pd.DataFrame({"x": [1.5, 2.5], "c": ["a", "b"]})
    whole = bytearray(parquet(table) if kind == "parquet" else arrow(pa.Table.from_pandas(table), compression="zstd"))
    at = place % len(whole)
    whole[at : at + len(change)] = change
    rows, reported = read_or_words(bytes(whole), f"a.{kind}")
    assert (rows > 0) != bool(reported)


def test_a_download_cannot_run_in_a_spreadsheet() -> None:
    frame = pd.DataFrame({"=cmd": ["=1+1", "@x", "-5", "+a", None, "plain"], "n": [-1.5, 2, 3, 4, 5, np.nan]})
    assert write_csv(frame).decode().splitlines() == [
        "'=cmd,n",
        "'=1+1,-1.5",
        "'@x,2.0",
        "-5,3.0",
        "'+a,4.0",
        ",5.0",
        "plain,",
    ]


@given(
    st.lists(
        st.tuples(st.floats(-1e38, 1e38), st.text("abc ,;\"\n'é=+-@", min_size=1, max_size=6)),
        min_size=1,
        max_size=20,
    )
)
def test_what_is_written_is_read_back(rows: list[tuple[float, str]]) -> None:
    frame = pd.DataFrame(rows, columns=["x", "words"])
    again = read(write_csv(frame))
    assert values(again)["x"] == frame["x"].tolist()
    assert again["words"].fillna("").tolist() == [w.strip() for w in frame["words"]]


def test_the_sample_is_there_whole_and_named() -> None:
    sample, path = SAMPLES["insects"], sample_path("insects")
    frame = read_table(path, name=path.name, max_bytes=10 * MB, target=sample.target).frame
    assert list(frame.columns) == [f"sensor_{i:02d}" for i in range(1, 34)] + ["y"]
    assert frame["y"].value_counts().to_dict() == dict.fromkeys(["2", "3", "4", "5", "11", "12"], 4025)
    assert hashlib.sha256(path.read_bytes()).hexdigest() in (path.parent / "README.md").read_text()
    with pytest.raises(NotFound, match="insects"):
        sample_path("birds")


def test_a_download_cannot_be_run_by_a_spreadsheet() -> None:
    attacks = ["=1+1", "+cmd|' /C calc'!A1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x","y")', "="]
    written = write_csv(pd.DataFrame({"=name": pd.Series([*attacks, 1, None, "-5"], dtype=object)})).decode()
    rows = list(csv.reader(io.StringIO(written, newline="")))
    assert [row[0] for row in rows] == ["'=name", *(f"'{text}" for text in attacks), "1", "", "-5"]


def test_a_table_of_a_page_is_written_by_the_same_writer() -> None:
    rows = [{"=feature": "=1+1", "score": 0.5}, {"=feature": "a", "later": ["x", 1]}]
    written = as_csv(rows).decode()
    assert written.splitlines() == ["'=feature,score,later", "'=1+1,0.5,", 'a,,"[""x"", 1]"']


def test_downloads_have_one_writer() -> None:
    writes = re.compile(r"\.to_csv\(|\bcsv\.writer\b|DictWriter|arrow_csv\.write_csv|pa\.csv\.write")
    ours = [*(ROOT / "core").rglob("*.py"), *(ROOT / "pages").glob("*.py"), ROOT / "Home.py", ROOT / "api.py"]
    assert len(ours) > 50
    assert [p.name for p in ours if writes.search(p.read_text(encoding="utf-8"))] == ["files.py"]


def codes(text: str, rows: int) -> bytes:
    """A packed Arrow stream of one text by its code."""
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype="int8")), pa.array([text]))
    sink = io.BytesIO()
    batch = pa.record_batch([column], names=["a"])
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


TWO_MB = 2 * MB
PACKED = {
    "gzip of rows": (gzip.compress(b"a,b\n" + b"1,2\n" * MB), True),
    "gzip of two members": (gzip.compress(b"a\n" + b"1\n" * (MB // 2)) * 2, True),
    "a little gzip": (gzip.compress(b"a,b\n" + b"1,2\n" * 1000), False),
    "gzip that is damaged": (gzip.compress(bytes(MB))[:-9], False),
    "one long text in every row": (parquet(pd.DataFrame({"a": pd.Categorical(["x" * 1000] * 10_000)})), True),
    "the same as plain text": (parquet(pd.DataFrame({"a": ["x" * 1000] * 10_000})), True),
    "equal numbers": (parquet(pd.DataFrame({"a": np.zeros(MB)})), True),
    "a few numbers": (parquet(pd.DataFrame({"a": np.arange(1000.0)})), False),
    "Parquet that is damaged": (b"PAR1" + bytes(100) + b"PAR1", False),
    "codes of one long text": (codes("x" * 1000, 10_000), True),
    "codes of short texts": (codes("x", 10_000), False),
    "packed Arrow": (codes("x" * (4 * MB), 1), True),
    "a CSV file of that size": (b"a\n" + b"1\n" * MB, True),
    "a smaller CSV file": (b"a\n1\n", False),
}


@pytest.mark.parametrize("case", PACKED)
def test_what_a_small_file_unpacks_to_is_counted(tmp_path: Path, case: str) -> None:
    content, large = PACKED[case]
    (tmp_path / "upload").write_bytes(content)
    assert files.unpacks_beyond(tmp_path / "upload", TWO_MB - 10) is large


def test_counting_and_unpacking_hold_little_more_than_the_content(tmp_path: Path) -> None:
    size = 64 * MB
    packed = gzip.compress(b"a\n" + b"1\n" * (size // 2), compresslevel=1)
    (tmp_path / "upload").write_bytes(packed)
    tracemalloc.start()
    try:
        assert not files.unpacks_beyond(tmp_path / "upload", size + 10)
        assert tracemalloc.get_traced_memory()[1] < 4 * MB + len(packed)
        tracemalloc.reset_peak()
        assert len(files._gunzip(packed, "rows.csv.gz", size + 10)) == size + 2
        assert tracemalloc.get_traced_memory()[1] < 1.3 * size
    finally:
        tracemalloc.stop()
