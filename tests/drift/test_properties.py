"""Whatever two windows hold, drift is measured without an exception, a warning or a NaN."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.drift.distribution import distribution, feature_finding
from core.drift.history import drift_trends
from core.drift.profile import from_bytes, merge, profile, to_bytes
from core.drift.rules import DriftRules, Targets
from core.drift.univariate import headline, measure_drift
from core.plots import distribution_chart, palette
from core.records import Feature, FeatureSchema, to_document
from core.text.reasons import sentence

NUMBERS = st.lists(
    st.one_of(st.just(float("nan")), st.floats(-1e290, 1e290), st.just(float("inf")), st.integers(-3, 3).map(float)),
    max_size=40,
)
WORDS = st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "c"]), st.text(max_size=3)), max_size=40)
SCHEMA = FeatureSchema(
    task="binary", target="y", features=(Feature(name="x", kind="numeric"), Feature(name="c", kind="categorical"))
)


def frame(numbers: list[float], words: list[Any]) -> pd.DataFrame:
    n = min(len(numbers), len(words))
    return pd.DataFrame({"x": np.array(numbers[:n], dtype=np.float64), "c": pd.Series(words[:n], dtype="str")})


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(NUMBERS, WORDS, NUMBERS, WORDS)
def test_any_two_windows_have_an_answer(a: list[float], b: list[Any], c: list[float], d: list[Any]) -> None:
    reference, current = frame(a, b), frame(c, d)
    report = measure_drift(
        reference, current, SCHEMA, targets=Targets(predictions=(b, d)), rules=DriftRules(min_rows=2)
    )
    json.dumps(to_document(report), allow_nan=False)
    profiles = [from_bytes(to_bytes(profile(f, SCHEMA))) for f in (reference, current)]
    for one, other in ((profiles[0], profiles[1]), (profiles[0], current), (reference, profiles[1])):
        json.dumps(to_document(measure_drift(one, other, SCHEMA, rules=DriftRules(min_rows=2))), allow_nan=False)
    drift_trends([*profiles, *profiles], merge(profiles), SCHEMA)
    assert headline(report).endswith(".") and "nan" not in headline(report)
    for score, feature in zip(report.scores, SCHEMA.features, strict=True):
        assert sentence(score.reason) and score.judged >= score.drifted
        for value in (score.statistic, score.p_value, score.effect):
            assert value is None or np.isfinite(value)
        columns = [window[feature.name] for window in (reference, current)]
        if any(not np.isfinite(c).any() if feature.kind == "numeric" else c.isna().all() for c in columns):
            with pytest.raises(ValueError, match="nothing to draw"):
                distribution(*columns, feature)
            continue
        found = distribution(*columns, feature)
        assert abs(sum(found.reference) - 1) < 1e-9 and abs(sum(found.current) - 1) < 1e-9
        assert feature_finding(score, found)
        assert "NaN" not in distribution_chart(found, colors=palette("light")).to_json()
