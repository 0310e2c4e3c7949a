"""Servers that the API is compared with, as small as they can be: `uvicorn baselines:bare` and the like.

`bare`: FastAPI with a pydantic body, a bearer check and a constant answer. `decoding`: the same for 10,000 x 20 rows.
`plain`: what is usually written first: a frame, `predict_proba` and one committed SQLite row per request.
"""

from __future__ import annotations

import hmac
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, create_model

TOKEN = os.environ.get("BASELINE_TOKEN", "")
_bearer = HTTPBearer()
_CREDENTIALS = Depends(_bearer)


def check(credentials: HTTPAuthorizationCredentials = _CREDENTIALS) -> None:
    """Let in whoever knows the token."""
    if not hmac.compare_digest(credentials.credentials.encode(), TOKEN.encode()):
        raise HTTPException(401)


class Row(BaseModel):
    """Two features."""

    feature1: float
    feature2: float


class Answer(BaseModel):
    """A class and its probability."""

    prediction: int
    probability: float


bare = FastAPI()


@bare.post("/predict", dependencies=[Depends(check)])
async def constant(row: Row) -> Answer:
    """The same for every row."""
    return Answer(prediction=1, probability=0.7)


_fields: Any = {f"feature{j + 1}": (float, ...) for j in range(20)}
WideRow: Any = create_model("WideRow", **_fields)


class WideRows(BaseModel):
    """Many rows of twenty features."""

    rows: list[WideRow]


decoding = FastAPI()


@decoding.post("/predict", dependencies=[Depends(check)])
async def counted(body: WideRows) -> dict[str, int]:
    """How many rows there are."""
    return {"rows": len(body.rows)}


plain = FastAPI()
_lock = threading.Lock()
_held: dict[str, Any] = {}


def _model() -> Any:
    with _lock:
        if not _held:
            import skops.io

            path = os.environ["BASELINE_MODEL"]
            _held["model"] = skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
            _held["log"] = sqlite3.connect(Path(path).with_suffix(".db"), check_same_thread=False)
            _held["log"].execute("CREATE TABLE IF NOT EXISTS log (feature1 REAL, feature2 REAL, prediction INTEGER)")
    return _held["model"]


@plain.post("/predict", dependencies=[Depends(check)])
def predicted(row: Row) -> Answer:
    """The model's answer, logged."""
    import pandas as pd

    model = _model()
    chances = model.predict_proba(pd.DataFrame([row.model_dump()]))[0]
    place = int(chances.argmax())
    with _lock:
        values = (row.feature1, row.feature2, place)
        _held["log"].execute("INSERT INTO log VALUES (?, ?, ?)", values)
        _held["log"].commit()
    return Answer(prediction=int(model.classes_[place]), probability=float(chances[place]))
