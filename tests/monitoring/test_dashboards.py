"""The dashboards ask only for what the running program gives, and can be provisioned as they lie here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from api_helpers import ADMIN
from monitoring_queries import DASHBOARDS, GRAFANA, Labels, Unknown, known_series, labels_of, load, panel_queries, rules

from core.settings import ROOT

QUERIES = list(panel_queries())
SERIES = re.compile(r"^label_values\((.+), (\w+)\)$")


@pytest.fixture(scope="module")
def known(watched: httpx.Client) -> Labels:
    """Every series that there can be, with its labels; the recording rules are checked on the way."""
    return known_series(watched.get("/metrics", headers=ADMIN).text)


@pytest.fixture(params=DASHBOARDS, ids=lambda path: path.stem)
def dashboard(request: pytest.FixtureRequest) -> dict[str, Any]:
    return load(request.param)


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: f"{q.dashboard}: {q.panel}")
def test_a_panel_asks_for_what_is_exposed_and_its_legend_too(query: Any, known: Labels) -> None:
    there = labels_of(query.expr, known)
    assert set(re.findall(r"\{\{(\w+)\}\}", query.legend)) <= there


@pytest.mark.parametrize("rule", rules("alerts.yml"), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_is_exposed_and_its_text_too(rule: dict[str, Any], known: Labels) -> None:
    there = labels_of(rule["expr"], known)
    for text in rule["annotations"].values():
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= there


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ("sum(continual_rows_totals)", "continual_rows_totals"),
        ("route:continual_http_requests:rate1m", "rate1m"),
        ('continual_score{model=~"$project"}', "model"),
        ("sum by (version) (continual_score)", "version"),
        ("histogram_quantile(0.9, sum by (route) (rate(continual_http_request_duration_seconds_bucket[5m])))", "le"),
        ("continual_score > on (project, metric) continual_drift_share", "metric"),
        ('project_version:continual_predictions:rate5m{instance="a"}', "instance"),
    ],
)
def test_what_is_not_there_is_noticed(expr: str, expected: str, known: Labels) -> None:
    with pytest.raises(Unknown, match=expected):
        labels_of(expr, known)


def test_every_series_of_the_program_is_on_a_dashboard_and_in_the_documentation(known: Labels) -> None:
    shown = " ".join(q.expr for q in QUERIES) + " ".join(rule["expr"] for rule in rules("recording.yml"))
    reported = (ROOT / "docs" / "api.md").read_text()
    own = {name for name in known if name.startswith("continual_")}
    assert {name for name in own if name.removesuffix("_count").removesuffix("_sum") not in shown} == set()
    assert {name for name in own if re.sub("_(bucket|count|sum)$", "", name) not in reported} == set()


def test_a_dashboard_can_be_found_and_read(dashboard: dict[str, Any]) -> None:
    assert re.fullmatch(r"continual-[a-z-]+", dashboard["uid"]) and dashboard["schemaVersion"] >= 39
    assert dashboard["title"].startswith("Continual ML / ") and dashboard["description"]
    assert (dashboard["tags"], dashboard["refresh"]) == (["continual-ml"], "30s")
    assert dashboard["time"]["to"] == "now"
    for panel in dashboard["panels"]:
        assert panel["title"].strip() and panel["description"].strip()
        assert panel["type"] in ("timeseries", "stat", "table", "bargauge"), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert [t["refId"] for t in panel["targets"]] == [chr(65 + i) for i in range(len(panel["targets"]))] != []


def test_panels_have_numbers_of_their_own_and_do_not_overlap(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    taken: dict[tuple[int, int], str] = {}
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] >= 0 and at["y"] >= 0 and at["x"] + at["w"] <= 24
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    assert len(taken) == 24 * (1 + max(y for _, y in taken)), "a gap between panels"


def test_every_variable_is_filled_and_used(dashboard: dict[str, Any], known: Labels) -> None:
    asked = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    declared = dashboard["templating"]["list"]
    for variable in declared:
        found = SERIES.match(variable["query"]["query"])
        assert found is not None and variable["definition"] == variable["query"]["query"]
        assert found[2] in labels_of(found[1], known)
    assert set(re.findall(r"\$([a-z]\w*)", asked)) == {variable["name"] for variable in declared}


def test_panels_and_variables_name_the_provisioned_source(dashboard: dict[str, Any]) -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    for asking in [*dashboard["panels"], *dashboard["templating"]["list"]]:
        assert asking["datasource"] == {"type": "prometheus", "uid": source["uid"]}


def test_the_folder_of_the_dashboards_is_provisioned_and_no_two_have_one_address() -> None:
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/continual.yml").read_text())["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
    assert len({load(path)["uid"] for path in DASHBOARDS}) == len({load(path)["title"] for path in DASHBOARDS}) == 5


@pytest.mark.parametrize("rule", rules("alerts.yml"), ids=lambda rule: rule["alert"])
def test_what_to_do_is_reported_for_every_alert(rule: dict[str, Any]) -> None:
    reported = (ROOT / "docs" / "monitoring.md").read_text()
    assert re.search(rf"^\| `{rule['alert']}` \| {rule['labels']['severity']} \|", reported, re.MULTILINE)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_dashboard_is_in_the_documentation(path: Path) -> None:
    assert load(path)["title"].removeprefix("Continual ML / ") in (ROOT / "docs" / "monitoring.md").read_text()
