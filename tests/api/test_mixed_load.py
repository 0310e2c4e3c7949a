"""Everything at once against one API and scheduler: `benchmarks/mixed_load.py`, for seconds here, for half an hour in `make soak`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from patience import limit

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.campaign
@pytest.mark.slow
def test_nothing_fails_and_nothing_answered_is_lost_under_mixed_load(campaign: Any) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "mixed_load.py"), "--minutes", str(campaign.load_minutes)]
    if campaign.progress is None:
        command += ["--connections", "2", "--within", str(limit(4))]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=campaign.load_minutes * 60 + limit(120), check=False
    )
    sys.stdout.write(run.stdout)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    for part in (
        "not in the log 0",
        "errors 0",
        "predict, one row",
        "labels",
        "batches, ingest",
        "with a revoked token",
    ):
        assert part in run.stdout
