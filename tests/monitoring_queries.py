"""What the files under monitoring/ ask of Prometheus, and which series and labels an expression reads and gives."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import promql_parser as promql
import yaml
from api_helpers import ADMIN
from prometheus_client.parser import text_string_to_metric_families

from core.settings import ROOT

PROMETHEUS = ROOT / "monitoring" / "prometheus"
GRAFANA = ROOT / "monitoring" / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
TARGET = frozenset({"instance", "job"})  # what Prometheus adds to every series that it scrapes
FAR_OUT = {"feature1": 1e6, "feature2": 2.0}  # a guard speaks about it
VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")

Labels = Mapping[str, frozenset[str]]  # series -> names of its labels


class Unknown(AssertionError):
    """A series or a label that nothing gives."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """One expression of a panel."""

    dashboard: str
    panel: str
    expr: str
    legend: str

    def filled(self, rate_interval: str = "5m") -> str:
        """With all projects, routes and so on, as Grafana would send it."""
        return filled(self.expr, rate_interval)


def filled(expr: str, rate_interval: str = "5m") -> str:
    """An expression with `All` chosen in each variable."""
    return VARIABLE.sub(lambda m: rate_interval if (m[1] or m[2]) == "__rate_interval" else ".*", expr)


def load(path: Path) -> dict[str, Any]:
    """A dashboard."""
    document = json.loads(path.read_text())
    assert isinstance(document, dict)
    return document


def panel_queries() -> Iterator[Query]:
    """Every expression of every panel."""
    for path in DASHBOARDS:
        for panel in load(path)["panels"]:
            for target in panel.get("targets", ()):
                yield Query(
                    dashboard=path.stem, panel=panel["title"], expr=target["expr"], legend=target["legendFormat"]
                )


def rules(file: str) -> list[dict[str, Any]]:
    """The rules of a file in their order."""
    document = yaml.safe_load((PROMETHEUS / "rules" / file).read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def exposed(text: str) -> dict[str, frozenset[str]]:
    """Series of a /metrics answer with the labels that they have in Prometheus."""
    found: dict[str, frozenset[str]] = {"up": TARGET}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, TARGET) | set(sample.labels)
    return found


def known_series(text: str) -> dict[str, frozenset[str]]:
    """What the program exposes, what the recording rules make of it, and the alerts; each rule is checked on the way."""
    known = exposed(text)
    for rule in rules("recording.yml"):
        known[rule["record"]] = labels_of(rule["expr"], known)
    alerts = frozenset({"alertname", "alertstate"})
    for rule in rules("alerts.yml"):
        alerts |= labels_of(rule["expr"], known) | set(rule["labels"])
    return known | {"ALERTS": alerts}


def labels_of(expr: str, known: Labels) -> frozenset[str]:
    """Names of the labels that an expression's answer has; Unknown where it reads or names what is not there."""
    return _labels(promql.parse(filled(expr)), known)


def _named(names: list[str], there: frozenset[str], where: promql.Expr) -> frozenset[str]:
    if missing := set(names) - there:
        raise Unknown(f"{where.prettify()} names {sorted(missing)}, which is not among {sorted(there)}")
    return frozenset(names)


def _labels(node: Any, known: Labels) -> frozenset[str]:
    match node:
        case promql.VectorSelector():
            if node.name not in known:
                raise Unknown(f"nothing gives the series {node.name}")
            _named([matcher.name for matcher in node.matchers.matchers], known[node.name], node)
            return known[node.name]
        case promql.MatrixSelector():
            return _labels(node.vector_selector, known)
        case promql.AggregateExpr():
            there = _labels(node.expr, known)
            if node.modifier is None:
                return frozenset()
            named = _named(node.modifier.labels, there, node)
            return named if node.modifier.type == promql.AggModifierType.By else there - named
        case promql.Call():
            of_arguments = frozenset[str]().union(*(_labels(argument, known) for argument in node.args))
            if node.func.name == "histogram_quantile":
                _named(["le"], of_arguments, node)
                return of_arguments - {"le"}
            return of_arguments
        case promql.BinaryExpr():
            return _of_two(node, known)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return _labels(node.expr, known)
        case promql.NumberLiteral() | promql.StringLiteral():
            return frozenset()
    raise TypeError(f"not looked into yet: {type(node).__name__}")


def _of_two(node: promql.BinaryExpr, known: Labels) -> frozenset[str]:
    left, right = _labels(node.lhs, known), _labels(node.rhs, known)
    matching = node.modifier.matching if node.modifier is not None else None
    if matching is not None:
        named = _named(matching.labels, left & right, node)
        only = matching.type == promql.LabelModifierType.Include
        if str(node.op) not in ("and", "or", "unless") and node.modifier.card == promql.VectorMatchCardinality.OneToOne:
            return named if only else left - named
    return left | right if str(node.op) == "or" or not left else left


def ask(client: httpx.Client) -> None:
    """Two predictions, one of them guarded, a label by row id, and an address that is not there."""
    rows = client.post("/predict", json={"rows": [{"feature1": 0.1, "feature2": 2.0}, FAR_OUT]}, headers=ADMIN)
    assert rows.status_code == 200, rows.text
    row_id = rows.json()["predictions"][0]["row_id"]
    label = client.post("/labels", json={"labels": [{"row_id": row_id, "label": 1}]}, headers=ADMIN)
    assert label.status_code == 200, label.text
    assert client.get("/nowhere").status_code == 404
