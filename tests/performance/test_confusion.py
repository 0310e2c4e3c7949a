"""Confusion of classes, counted by hand."""

from __future__ import annotations

import pytest

from core.errors import BadInput
from core.performance.confusion import confusion


def test_confusion_counts_and_shares() -> None:
    true = ["Aedes"] * 10 + ["Culex"] * 10 + ["Musca"] * 20
    pred = ["Aedes"] * 9 + ["Culex"] + ["Culex"] * 10 + ["Musca"] * 15 + ["Culex"] * 5
    found = confusion(true, pred, ["Aedes", "Culex", "Musca"])
    assert found.counts == ((9, 1, 0), (0, 10, 0), (0, 5, 15))
    assert found.shares == ((0.9, 0.1, 0.0), (0.0, 1.0, 0.0), (0.0, 0.25, 0.75))
    assert found.finding == "25 % of Musca are taken for Culex"


def test_confusion_knows_classes_that_were_not_named_and_those_that_do_not_occur() -> None:
    found = confusion([1, 1, 3], [1, 3, 3], [1, 2])
    assert found.classes == ("1", "2", "3")
    assert found.shares[1] == (None, None, None) and found.shares[0] == (0.5, 0.0, 0.5)
    assert confusion(["a", "b"], ["a", "b"], ["a", "b"]).finding == "All 2 rows are right"


@pytest.mark.parametrize("rows_", [([], []), (["a"], ["a", "b"])])
def test_confusion_of_nothing_is_refused(rows_: tuple[list[str], list[str]]) -> None:
    with pytest.raises(BadInput, match="expected as many of each, at least one"):
        confusion(*rows_, ["a", "b"])
