"""Valid bodies, changed at random: never a fault of the program, never a wait."""

from __future__ import annotations

import gzip
import json
import random
import sys
import time
from collections import Counter
from typing import Any

import httpx
import pandas as pd
import pytest
from api_helpers import ADMIN, INFER, ROW, arrow, input_of, is_problem, npy

from core.http import jobs

ARROW = {**ADMIN, "Content-Type": "application/vnd.apache.arrow.stream"}
NPY = {**ADMIN, "Content-Type": "application/x-npy"}
JSON = {**ADMIN, "Content-Type": "application/json"}
HANG_S = 1.0
_WORDS = [
    b"NaN",
    b"null",
    b"1e999",
    b"-0",
    b"{}",
    b"[]",
    b'""',
    b"\\u0000",
    b"\\ud800",
    b"true",
    b"\x00",
    b"\xff",
    b"'",
]


def _mutated(rng: random.Random, body: bytes) -> bytes:
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(body) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            body = body[:at] + bytes([rng.randrange(256)]) + body[at + 1 :]
        elif kind == 1:
            body = body[:at] + body[at + rng.randint(1, 6) :]
        elif kind == 2:
            body = body[:at] + rng.choice(_WORDS) + body[at:]
        elif kind == 3:
            end = min(at + rng.randint(1, 12), len(body))
            body = body[:end] + body[at:end] * rng.randint(1, 3) + body[end:]
        else:
            body = body[:at]
    return body


def _valid_bodies() -> list[tuple[int, str, dict[str, str], bytes]]:
    """How often, the route, headers, and a body in every form that the route reads."""
    frame = pd.DataFrame([ROW, ROW])
    labelled = frame.assign(target=[0, 1])
    csv = {**ADMIN, "Content-Type": "text/csv"}
    parquet = {**ADMIN, "Content-Type": "application/vnd.apache.parquet"}
    split = {"columns": ["feature1", "feature2"], "index": [0], "data": [[0.1, 2.0]]}
    tensors = {"id": "7", "inputs": [input_of("feature1"), input_of("feature2")], "outputs": [{"name": "prediction"}]}
    part = {"name": "input", "shape": [1, 2], "datatype": "FP64", "parameters": {"binary_data_size": 16}}
    binary_head = json.dumps({"inputs": [part]}).encode()
    binary = {**ADMIN, "Content-Type": "application/octet-stream"}
    labels = {"labels": [{"row_id": "a7", "label": 1}, {"prediction_id": "b", "label": 0}]}
    rows = {"rows": [{**ROW, "_id": "a7", "_time": "2026-03-01T00:00:00Z"}, ROW]}
    drift = {"rows": 9, "seed": 3, "noise": 0.1, "drift": {"kind": "mean_shift"}}
    documents: list[tuple[str, Any]] = [
        ("/predict", ROW),
        ("/predict", rows),
        ("/labels", labels),
        ("/explain", ROW),
        ("/invocations", {"dataframe_split": split}),
        ("/invocations", {"dataframe_records": [ROW, ROW]}),
        ("/invocations", {"instances": [[0.1, 2.0]]}),
        ("/invocations", {"inputs": {"feature1": [0.1], "feature2": [2.0]}}),
        (INFER, tensors),
        (INFER.replace("/infer", "/versions/1/infer"), tensors),
    ]
    plain = frame.to_csv(index=False).encode()
    return [
        *((6, path, JSON, json.dumps(document).encode()) for path, document in documents),
        (6, "/predict", ARROW, arrow(frame)),
        (6, "/predict", NPY, npy(frame.to_numpy())),
        (6, "/invocations", csv, plain),
        (6, INFER, {**binary, "Inference-Header-Content-Length": str(len(binary_head))}, binary_head + bytes(16)),
        (3, "/batches?mode=score", csv, plain),
        (3, "/batches?mode=score", parquet, frame.to_parquet()),
        (3, "/batches?mode=score", {**ADMIN, "Content-Type": ARROW["Content-Type"]}, arrow(frame)),
        # Each accepted batch makes the next one slower, each accepted cycle waits for somebody to run it.
        (1, "/generate", JSON, json.dumps(drift).encode()),
        (1, "/retrain", JSON, b'{"force": false}'),
        (1, "/batches?mode=ingest", csv, labelled.to_csv(index=False).encode()),
        (1, "/batches", csv, gzip.compress(labelled.to_csv(index=False).encode())),
        (1, "/batches", parquet, labelled.to_parquet()),
        (1, "/batches", {**ADMIN, "Content-Type": ARROW["Content-Type"]}, arrow(labelled)),
    ]


@pytest.mark.campaign
def test_no_mutation_of_a_valid_body_is_a_fault_of_ours_or_takes_long(
    shared: httpx.Client, campaign: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "WAIT_S", 0.0)  # cycles are asked for, and nobody is here to run them
    monkeypatch.setattr("core.services.automation.workers.start_worker", lambda ws: None)
    monkeypatch.setattr("core.data.synthetic.MAX_ROWS", 100)
    valid = [given for often, *given in _valid_bodies() for _ in range(often)]
    counted: Counter[int] = Counter()
    longest = 0.0
    for number in campaign.rounds("mutated-bodies", campaign.mutated_bodies):
        rng = random.Random(number)
        path, headers, body = valid[number % len(valid)]
        mutated = _mutated(rng, body)
        took = HANG_S
        for _ in range(5):  # a busy machine is slow once or twice, a body that hangs is always
            if took < HANG_S:
                break
            began = time.perf_counter()
            answer = shared.post(path, headers=headers, content=mutated)
            took = time.perf_counter() - began
        assert took < HANG_S, (number, path, mutated, took)
        assert answer.status_code < 500, (number, path, mutated, answer.text)
        if answer.status_code >= 400:
            is_problem(answer, answer.status_code)
        counted[answer.status_code] += 1
        longest = max(longest, took)
    sys.stdout.write(f"mutated bodies by status: {dict(counted)}, the slowest {longest:.2f} s\n")
