"""What the parts of the pages make of a choice, without a page around them."""

from __future__ import annotations

from typing import Any

import pytest

from core.ui.views.data.generate import KEPT, NONE, asked_drift

LAST = {"kind": "scale", "shape": "abrupt", "size": 2.0}


@pytest.mark.parametrize(
    ("kind", "last", "asked"),
    [
        (NONE, None, None),
        (KEPT, LAST, None),
        (NONE, LAST, {"kind": "scale", "size": 0.0}),
        ("mean_shift", LAST, {"kind": "mean_shift", "shape": "gradual", "size": 1.0}),
    ],
)
def test_a_drift_that_is_left_out_ends_the_last_one(
    kind: str, last: dict[str, Any] | None, asked: dict[str, Any] | None
) -> None:
    assert asked_drift(kind, "gradual", 1.0, last) == asked
