"""The HTML report stands alone and takes no text from data for markup."""

from __future__ import annotations

import re
from datetime import datetime

import numpy as np
import pandas as pd

from core.drift.distribution import distribution
from core.drift.univariate import measure_drift
from core.records import Feature, FeatureSchema, Policy
from core.services.monitoring.reports import drift_page

EVIL = "<script>alert(1)</script>"


def page(now: datetime) -> str:
    rng = np.random.default_rng(0)
    schema = FeatureSchema(
        task="binary",
        target="y",
        features=(
            Feature(name=EVIL, kind="numeric"),
            Feature(name="site", kind="categorical"),
            Feature(name="flat", kind="numeric"),
        ),
    )
    frames = [
        pd.DataFrame({EVIL: rng.normal(m, 1, 400), "site": rng.choice([EVIL, "b"], 400), "flat": 1.0}) for m in (0, 2)
    ]
    report = measure_drift(*frames, schema)
    drawn = {f.name: distribution(frames[0][f.name], frames[1][f.name], f) for f in schema.features[:2]}
    return drift_page(report, project=f"Flies {EVIL}", policy=Policy(name="balanced"), made_at=now, distributions=drawn)


def test_the_report_holds_the_findings(now: datetime) -> None:
    made = page(now)
    assert made.startswith("<!doctype html>") and made.count("<svg") == 2
    assert "1 of 2 features drifted" in made and "not tested: constant" in made
    assert "above 0.02" in made and "nan" not in re.sub("<[^>]*>", " ", made).lower().split()


def test_the_report_asks_for_nothing_and_escapes_what_data_says(now: datetime) -> None:
    made = page(now)
    assert "<script" not in made and "&lt;script&gt;" in made
    assert not re.search(r"https?://|src=|@import|url\(", made)
