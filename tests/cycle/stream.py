"""Rows of one linear concept, for the tests of the loop."""

from __future__ import annotations

import numpy as np
import pandas as pd

BATCH = 200


def stream(start: int, n: int = BATCH, *, flipped: bool = False) -> pd.DataFrame:
    """Rows of a fixed linear concept; flipped, it is the opposite one."""
    rng = np.random.default_rng(start + 7)
    frame = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    above = frame["a"] + frame["b"] > 0
    frame["y"] = (above ^ flipped).astype(int)
    return frame
