"""Two raw frames, or files, held against each other: whatever they hold, each column has a named result."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core import cli
from core.drift.encode import LARGEST, encoded
from core.drift.frames import compare_frames
from core.errors import BadInput
from core.records import DriftScore, to_document
from core.text.reasons import sentence

RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=400)
WORDS = RNG.choice(["a", "b", "c"], 400)
IDS = [f"id {i}" for i in range(60_000)]

# What the reference's column holds, what the current one does (None = no such column), and what is said.
ODD: dict[str, tuple[Any, Any, str]] = {
    "no row": (NUMBERS, NUMBERS[:0], "not tested: 400 and 0 rows; needs 30 in each window"),
    "one row": (NUMBERS, NUMBERS[:1], "not tested: 400 and 1 rows; needs 30 in each window"),
    "few rows": (WORDS, WORDS[:29], "not tested: 400 and 29 rows; needs 30 in each window"),
    "all missing twice": (NUMBERS * np.nan, NUMBERS * np.nan, "not tested: every value is missing in both windows"),
    "all missing now": (NUMBERS, NUMBERS * np.nan, "missing in 0 % → 100 % of rows"),
    "nothing but None": (WORDS, [None] * 400, "missing in 0 % → 100 % of rows"),
    "filled now": (NUMBERS * np.nan, NUMBERS, "missing in 100 % → 0 % of rows"),
    "a constant": (np.ones(400), np.ones(90), "not tested: constant: 1.00 in every row of both windows"),
    "a constant word": (["a"] * 400, ["a"] * 90, "not tested: constant: 'a' in every row of both windows"),
    "another constant": (np.ones(400), np.zeros(90), "KS distance 1.00, above the minimum effect 0.02"),
    "infinite": (NUMBERS, np.where(NUMBERS > 0, np.inf, NUMBERS), "above the minimum effect"),
    "infinite throughout": (NUMBERS + np.inf, NUMBERS + np.inf, "not tested: constant: inf in every row"),
    "new": (None, NUMBERS, "not tested: a new column: it is only in the current window"),
    "vanished": (WORDS, None, "not tested: the column is gone: it is only in the reference window"),
    "text now": (NUMBERS, WORDS, "not tested: text where numbers were expected in the current window"),
    "numbers now": (WORDS, NUMBERS, "not tested: another type: numbers where text was expected in the current window"),
    "booleans now": (NUMBERS, WORDS == "a", "not tested: bool where numbers were expected in the current window"),
    "mixed now": (NUMBERS, [1.5, "x"] * 50, "not tested: mixed types: 50 of 100 values are not numbers"),
    "ids": (IDS, IDS[::-1], "not tested: 60,000 different values, more than 50,000: an id or free text"),
    "some ids": (IDS[:400], IDS[400:800], "not tested: none of its 800 categories has enough rows"),
    "the same rows twice": (NUMBERS, np.tile(NUMBERS, 2), "KS distance 0.00, minimum effect 0.02"),
    "beyond doubles": (
        NUMBERS,
        [10**400] * 90,
        "not tested: whole numbers outside the range of doubles in the current window",
    ),
    "once beyond doubles": (
        [-(10**400), *NUMBERS],
        NUMBERS,
        "not tested: whole numbers outside the range of doubles in the re",
    ),
    "the empty text": ([""] * 200 + ["b"] * 200, [""] * 300 + ["b"] * 100, "'' 50 % → 75 %"),
}


def frame(cells: Any) -> pd.DataFrame:
    """A frame with that column and a steady one beside it."""
    n = 400 if cells is None else len(cells)
    steady = np.resize(NUMBERS, n)
    return pd.DataFrame({"steady": steady} if cells is None else {"x": cells, "steady": steady})


def verdict(scores: tuple[DriftScore, ...], name: str = "x") -> DriftScore:
    return next(s for s in scores if s.name == name)


@pytest.mark.parametrize("case", ODD)
def test_odd_columns_have_a_named_result(case: str) -> None:
    before, after, said = ODD[case]
    _, report = compare_frames(frame(before), frame(after))
    json.dumps(to_document(report), allow_nan=False)
    score = verdict(report.scores)
    assert said in sentence(score.reason)
    assert score.judged == (not said.startswith("not tested"))
    assert report.drifted == (("x",) if "→" in said or "above" in said else ())
    # The column beside it is judged as always, where there are rows at all.
    assert verdict(report.scores, "steady").judged == (after is None or len(after) >= 30)


@pytest.mark.parametrize(
    "case", sorted(ODD.keys() - {"no row", "mixed now", "beyond doubles", "once beyond doubles"})
)  # files cannot hold these
def test_odd_files_have_the_same_named_result(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after, said = ODD[case]
    paths = [tmp_path / "june.parquet", tmp_path / "july.parquet"]
    for path, cells in zip(paths, (before, after), strict=True):
        frame(cells).to_parquet(path)
    code = cli.main(["drift", *map(str, paths), "--json", "--fail-on-drift"])
    printed = {f["name"]: f["reason"] for f in json.loads(capsys.readouterr().out)["features"]}
    assert said in printed["x"]
    assert code == (3 if "→" in said or "above" in said else 0)


def test_a_file_without_rows_is_refused_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "june.csv").write_text("x\n" + "\n".join(map(str, NUMBERS)))
    (tmp_path / "july.csv").write_text("x\n")
    assert cli.main(["drift", str(tmp_path / "june.csv"), str(tmp_path / "july.csv")]) != 0
    assert "july.csv" in capsys.readouterr().err


def test_demo_what_moved_between_two_frames() -> None:
    before = pd.DataFrame({"size": NUMBERS, "site": WORDS, "y": NUMBERS > 0})
    after = before.assign(size=NUMBERS + 1, y=NUMBERS > 0.8)
    schema, report = compare_frames(before, after, target="y")
    assert [(f.name, f.kind) for f in schema.features] == [("size", "numeric"), ("site", "categorical")]
    assert report.drifted == ("size",) and report.label is not None and report.label.drifted


def test_numbers_as_column_names_are_text() -> None:
    _, report = compare_frames(pd.DataFrame({0: NUMBERS, 1: WORDS}), pd.DataFrame({0: NUMBERS + 1, 1: WORDS}))
    assert [(s.name, s.judged, s.drifted) for s in report.scores] == [("0", True, True), ("1", True, False)]


def test_labels_of_a_regression_that_arrived_as_text_are_numbers() -> None:
    before = pd.DataFrame({"x": NUMBERS, "y": NUMBERS * 10})
    _, report = compare_frames(before, before.assign(y=(NUMBERS * 10 + 20).astype(str)), target="y")
    assert report.label is not None and report.label.drifted and report.label.test == "Kolmogorov-Smirnov"


def test_names_that_do_not_fit_are_refused() -> None:
    doubled = pd.DataFrame(np.zeros((40, 2)), columns=["x", "x"])
    with pytest.raises(BadInput, match="The current has two columns named 'x'"):
        compare_frames(frame(NUMBERS), doubled)
    with pytest.raises(BadInput, match="The reference has two columns named '1'"):
        compare_frames(pd.DataFrame({1: NUMBERS, "1": NUMBERS}), frame(NUMBERS))
    with pytest.raises(BadInput, match=r"no column 'y'. Name one of: 'x', 'steady'"):
        compare_frames(frame(NUMBERS), frame(NUMBERS), target="y")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["yes"] * 400, "not tested: Target 'y' has one class only ('yes'), expected at least two"),
        ([np.nan] * 400, "not tested: Target 'y' has no value in any row"),
    ],
)
def test_a_target_that_cannot_be_taken_leaves_the_features_judged(labels: list[Any], said: str) -> None:
    before = frame(NUMBERS).assign(y=labels)
    _, report = compare_frames(before, before.assign(x=NUMBERS + 1, y=["no"] * 400), target="y")
    assert report.drifted == ("x",)
    assert report.label is not None
    assert not report.label.judged and not report.label.drifted
    assert sentence(report.label.reason).startswith(said)
    json.dumps(to_document(report), allow_nan=False)


def test_labels_beyond_doubles_leave_the_features_judged() -> None:
    before = frame(NUMBERS).assign(y=NUMBERS)
    huge = pd.Series([10**400, *NUMBERS[1:]], dtype=object)
    _, report = compare_frames(before, before.assign(x=NUMBERS + 1, y=huge), target="y")
    assert report.drifted == ("x",) and report.label is not None and not report.label.judged
    assert (
        sentence(report.label.reason) == "not tested: whole numbers outside the range of doubles in the current window"
    )


def test_what_distinguishes_windows_takes_numbers_beyond_doubles_as_large_ones() -> None:
    after = frame(pd.Series([10**400, -(10**400), *NUMBERS[2:]], dtype=object))
    schema, _ = compare_frames(frame(NUMBERS), frame(NUMBERS))
    matrix, is_current, _ = encoded(frame(NUMBERS), after, schema)
    assert (
        matrix[is_current][:2, 0].tolist() == [LARGEST, -LARGEST] and (matrix[is_current][2:, 0] == NUMBERS[2:]).all()
    )


def test_rows_that_are_all_of_new_categories_are_found_however_few_each_has() -> None:
    before, after = ([f"{side}{i % 200}" for i in range(600)] for side in "cd")
    _, report = compare_frames(pd.DataFrame({"x": before}), pd.DataFrame({"x": after}))
    score = verdict(report.scores)
    assert score.drifted and (score.new_share, score.vanished_share) == (1.0, 1.0)
    assert "new categories 1.00, above the minimum effect" in sentence(score.reason)
    assert "values not tested: none of its 400 categories has enough rows" in sentence(score.reason)
    _, steady = compare_frames(pd.DataFrame({"x": before}), pd.DataFrame({"x": before[::-1]}))
    assert not verdict(steady.scores).drifted


def drift_command(tmp_path: Path, before: pd.DataFrame, after: pd.DataFrame, *options: str) -> int:
    paths = [tmp_path / "june.csv", tmp_path / "july.csv"]
    for path, rows in zip(paths, (before, after), strict=True):
        rows.to_csv(path, index=False)
    return cli.main(["drift", *map(str, paths), *options])


def test_too_few_rows_for_a_classifier_keep_the_verdicts_on_the_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = pd.DataFrame({"x": NUMBERS}), pd.DataFrame({"x": NUMBERS[:60] + 2})
    assert drift_command(tmp_path, before, after, "--multivariate", "--explain", "--fail-on-drift") == 3
    said = capsys.readouterr().out
    assert "1 of 1 feature drifted: x." in said
    assert "All features together: not judged: A domain classifier in each window needs 100 rows, found 60." in said
    assert drift_command(tmp_path, before, after, "--multivariate", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["drifted_features"] == ["x"]
    assert (document["multivariate"]["drifted"], document["multivariate"]["auc"]) == (False, None)


def test_the_classifier_and_the_labels_are_reported_without_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = pd.DataFrame({"x": NUMBERS, "y": np.where(NUMBERS > 0, "yes", "no")})
    after = pd.DataFrame({"x": NUMBERS + 3, "y": np.where(NUMBERS > 1, "yes", "no")})
    assert drift_command(tmp_path, before, after, "--multivariate", "--target", "y") == 0
    said = capsys.readouterr().out
    assert "All features together: the windows are distinguishable, by x (AUC 0.9" in said
    assert "Labels: total variation" in said and "above the minimum effect" in said
    assert drift_command(tmp_path, before, before, "--multivariate", "--target", "y") == 0
    said = capsys.readouterr().out
    assert "All features together: the windows are not distinguishable with confidence (AUC" in said
    assert "Labels: total variation 0.00" in said


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("order number", lambda rng, n: np.arange(10_000 + n, 10_400 + n)),
        ("gaps between", lambda rng, n: np.cumsum(rng.integers(1, 9, 400)) + 9 * n),
        ("seconds since 1970", lambda rng, n: 1.7e9 + np.cumsum(rng.exponential(3.0, 400)) + 1e5 * n),
        ("whole-number float", lambda rng, n: np.arange(400.0) + n),
        ("hash", lambda rng, n: rng.permutation(10**9 + 7 * np.arange(400) + n)),
        ("from a file of cells", lambda rng, n: pd.Series(np.arange(400) + n).astype(str)),
    ],
)
def test_numbers_that_name_or_count_the_rows_are_not_judged(name: str, values: Callable[..., Any]) -> None:
    rng = np.random.default_rng(0)
    before, after = (pd.DataFrame({"x": rng.normal(size=400), name: values(rng, n)}) for n in (0, 400))
    _, report = compare_frames(before, after)
    reported = {s.name: s for s in report.scores}
    assert not reported[name].judged and not reported[name].drifted and reported[name].reason.code == "not_judged"
    assert reported["x"].judged


@pytest.mark.parametrize(
    "values",
    [
        lambda rng, n: np.sort(rng.normal(size=400)) + n / 200,  # sorted by a measurement
        lambda rng, n: rng.integers(0, 1_000, 400) + n,  # whole numbers, some of them twice
        lambda rng, n: rng.normal(size=400) + n,
    ],
)
def test_measurements_are_judged(values: Callable[..., Any]) -> None:
    rng = np.random.default_rng(0)
    before, after = (pd.DataFrame({"m": values(rng, n)}) for n in (0, 400))
    _, report = compare_frames(before, after)
    assert report.scores[0].judged and report.scores[0].drifted


def test_the_windows_are_not_distinguished_by_a_row_number(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i, name in enumerate(("before", "after")):
        frame = pd.DataFrame(
            {"x": rng.normal(size=400), "sequence": np.arange(400) + 400 * i, "y": rng.normal(size=400)}
        )
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    cli.main(
        [
            "drift",
            str(tmp_path / "before.csv"),
            str(tmp_path / "after.csv"),
            "--target",
            "y",
            "--multivariate",
            "--json",
        ]
    )
    printed = json.loads(capsys.readouterr().out)
    assert not printed["multivariate"]["drifted"]
    assert "sequence" not in printed["multivariate"]["features"]
