"""What /openapi.json says is what happens: cases generated from it by schemathesis, every answer put to all of its checks."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from api_helpers import KEY, serving
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema

from core.data.rows import TOO_GREAT
from core.http import jobs

CASES_A_ROUND = 300
MOST_ROWS = 200  # generated ones a request
# Valid by the document, and still refused by what a project holds: no schema can tell such cases beforehand.
DEPENDS_ON_THE_STATE = {
    "labels": "classes of the project",
    "generate": "features of the batches before",
    "batches": "columns of the project",
    "invocations": "features of the project, by place or by name",
    "predictions": "a cursor is one that was handed out",
    "infer": "features of the project; a shape tells how many values there are",
    "infer_version": "as infer",
}
_fresh = itertools.count()


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """A key that serves two requests is refused, as it should be: no two valid ones are alike here."""
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and key and key.isascii() and key.isprintable() and " " not in key:
        case.headers["Idempotency-Key"] = f"{key[:200]}-{next(_fresh)}"


def _document(client: Any, *, by_project: bool) -> dict[str, Any]:
    """The API's own, of the root's or the projects' routes; narrowed to this project's features and to small requests."""
    document: dict[str, Any] = client.get("/openapi.json").json()
    document["paths"] = {
        p: reported for p, reported in document["paths"].items() if p.startswith("/projects/") is by_project
    }
    schemas = document["components"]["schemas"]
    number = {
        "anyOf": [{"type": "number", "exclusiveMinimum": -TOO_GREAT, "exclusiveMaximum": TOO_GREAT}, {"type": "null"}]
    }
    names = ("feature1", "feature2")
    schemas["Row"] |= {
        "properties": dict.fromkeys(names, number),
        "required": list(names),
        "additionalProperties": False,
    }
    schemas["Generate"]["properties"]["rows"]["anyOf"][0]["maximum"] = MOST_ROWS
    schemas["Generate"]["properties"]["rows"]["default"] = MOST_ROWS
    return document


def _config(seed: int, examples: int) -> SchemathesisConfig:
    ids = [name + suffix for name in DEPENDS_ON_THE_STATE for suffix in ("", "_of_project")]
    return SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "auth": {"openapi": {"token": {"bearer": KEY}}},
            "continue-on-failure": True,
            "generation": {"max-examples": examples, "no-shrink": True, "database": "none"},
            "operations": [
                {"include-operation-id": ids, "checks": {"positive_data_acceptance": {"enabled": False}}},
            ],
        }
    )


def _tested(document: dict[str, Any], address: str, config: SchemathesisConfig) -> tuple[Counter[str], list[str]]:
    """Cases and checks by name, and what failed."""
    schema = schemathesis.openapi.from_dict(document, config=config)
    schema.config.base_url = address
    done: Counter[str] = Counter()
    failed: list[str] = []
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            done["cases"] += len(event.recorder.interactions)
            for nodes in event.recorder.checks.values():
                for node in nodes:
                    done[node.name] += 1
                    if node.status == Status.FAILURE and node.failure_info is not None:
                        failed.append(
                            f"{event.recorder.label}: {node.failure_info.failure}\n{node.failure_info.code_sample}"
                        )
        elif isinstance(event, events.NonFatalError | events.FatalError):
            failed.append(
                f"{type(event).__name__}: {event.value if isinstance(event, events.NonFatalError) else event.exception}"
            )
    return done, failed


@pytest.mark.campaign
def test_every_answer_is_as_the_document_says(trained: Path, monkeypatch: pytest.MonkeyPatch, campaign: Any) -> None:
    monkeypatch.setattr(jobs, "WAIT_S", 0.0)  # cycles are asked for, and nobody is here to run them
    monkeypatch.setattr("core.data.synthetic.MAX_ROWS", MOST_ROWS)
    monkeypatch.setattr("core.services.automation.workers.start_worker", lambda ws: None)
    done: Counter[str] = Counter()
    with serving() as client:
        for number in campaign.rounds("contract", -(-campaign.generated_cases // CASES_A_ROUND)):
            document = _document(client, by_project=number % 2 == 1)
            examples = CASES_A_ROUND // sum(map(len, document["paths"].values()))
            counted, failed = _tested(document, str(client.base_url), _config(number, examples))
            assert failed == [], "\n\n".join(failed)
            assert counted["cases"] >= CASES_A_ROUND
            done += counted
        sys.stdout.write(f"contract: {dict(done)}\n")
