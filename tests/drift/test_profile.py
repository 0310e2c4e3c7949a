"""The profile of a batch is small, plain JSON and right."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from core.drift.profile import TOP, profile
from core.records import Feature, FeatureSchema

SCHEMA = FeatureSchema(
    task="binary",
    target="y",
    features=(
        Feature(name="x", kind="numeric"),
        Feature(name="c", kind="categorical"),
        Feature(name="b", kind="boolean"),
    ),
)


def test_figures_are_those_of_the_rows() -> None:
    x = np.r_[np.arange(1.0, 11.0), np.nan]
    frame = pd.DataFrame(
        {
            "x": x,
            "c": pd.Series(["a"] * 6 + ["b"] * 3 + [None, None], dtype="str"),
            "b": pd.Series(["true"] * 11, dtype="str"),
            "unused": 0,
        }
    )
    found = profile(frame, SCHEMA)
    assert found["rows"] == 11 and list(found["features"]) == ["x", "c", "b"]
    numbers = found["features"]["x"]
    assert numbers["missing"] == 1 and numbers["mean"] == 5.5
    assert numbers["sd"] == pytest.approx(np.std(x[:10], ddof=1), rel=1e-6)
    assert (numbers["quantiles"][0], numbers["quantiles"][5], numbers["quantiles"][-1]) == (1.0, 5.5, 10.0)
    assert found["features"]["c"] == {
        "kind": "categorical", "missing": 2, "distinct": 2, "top": {"a": 6, "b": 3}, "other": 0,
    }  # fmt: skip


def test_nothing_known_is_none_and_plain_json() -> None:
    frame = pd.DataFrame({"x": [np.nan, np.nan], "c": pd.Series([None, None], dtype="str"), "b": ["true", "false"]})
    text = json.dumps(profile(frame, SCHEMA), allow_nan=False)
    assert '"mean": null' in text and '"distinct": 0' in text
    json.dumps(profile(frame.iloc[:0], SCHEMA), allow_nan=False)
    json.dumps(profile(frame.assign(x=[np.inf, 1.0]), SCHEMA), allow_nan=False)


def test_rare_categories_are_counted_together() -> None:
    frame = pd.DataFrame({"x": 1.0, "c": [f"id {i}" for i in range(100)] + ["often"] * 9, "b": "true"})
    words = profile(frame, SCHEMA)["features"]["c"]
    assert words["top"]["often"] == 9 and len(words["top"]) == TOP and words["other"] == 100 - (TOP - 1)
    assert words["distinct"] == 101
