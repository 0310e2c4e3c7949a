"""monitoring/uptime-kuma/create_monitors.py: the page's settings are the script's, and a second run doubles nothing.

`tests/end_to_end/test_uptime_kuma.py` runs it against the program itself.
"""

from __future__ import annotations

import importlib.util
import re
from typing import Any

import pytest

from core.settings import ROOT, Settings

SCRIPT = ROOT / "monitoring/uptime-kuma/create_monitors.py"
PAGE = (ROOT / "docs/uptime-kuma.md").read_text()
NAMES = {
    "Friendly Name": "name",
    "Monitor Type": "type",
    "URL": "url",
    "Keyword": "keyword",
    "Json Query": "jsonPath",
    "Expected Value": "expectedValue",
    "Heartbeat Interval": "interval",
    "Retries": "maxretries",
    "Heartbeat Retry Interval": "retryInterval",
    "Accepted Status Codes": "accepted_statuscodes",
}
TYPES = {"HTTP(s) - Keyword": "keyword", "HTTP(s) - Json Query": "json-query", "Push": "push"}

spec = importlib.util.spec_from_file_location("create_monitors", SCRIPT)
assert spec is not None and spec.loader is not None
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


def _value(setting: str, expected: str) -> Any:
    """A cell of the page as Kuma stores it."""
    text = expected.strip()
    if text.startswith("`"):
        text = text[1:].partition("`")[0]
    if setting == "Monitor Type":
        return TYPES[text]
    if setting == "Accepted Status Codes":
        return [text]
    return int(text) if setting in {"Heartbeat Interval", "Retries", "Heartbeat Retry Interval"} else text


def _tables(section: str) -> list[list[list[str]]]:
    """The cells of each table, its heading first, without the line under it."""
    found = re.findall(r"(?:^\|.*\|$\n)+", section, re.MULTILINE)
    return [
        [line.strip("|").split("|") for line in table.splitlines() if not line.startswith("| ---")] for table in found
    ]


def page() -> list[dict[str, Any]]:
    """The monitors that the page tells of."""
    made = []
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE):
        if not re.match(r"(Keyword|JSON query|Push) monitor\n", section):
            continue
        settings, *queries = _tables(section)
        common = {NAMES[name.strip()]: _value(name.strip(), reported) for name, reported in settings[1:]}
        if not queries:
            made.append(common)
        for heading, *rows in queries:
            names = [cell.strip() for cell in heading]
            for row in rows:
                own = {NAMES[n]: _value(n, reported) for n, reported in zip(names, row, strict=True) if n in NAMES}
                made.append({**common, **own})
    return made


class FakeKuma:
    """The calls of the library that the script makes, over a list."""

    def __init__(self, *, version: str = "1.23.16", fresh: bool = False, second_factor: bool = False) -> None:
        self.version, self.fresh, self.second_factor = version, fresh, second_factor
        self.monitors: list[dict[str, Any]] = []
        self.edits: list[tuple[int, dict[str, Any]]] = []

    def need_setup(self) -> bool:
        return self.fresh

    def setup(self, username: str, password: str) -> None:
        self.fresh = False

    def login(self, username: str, password: str, token: str) -> dict[str, Any]:
        return {"tokenRequired": True} if self.second_factor and not token else {"token": "t"}

    def get_monitors(self) -> list[dict[str, Any]]:
        return [dict(m) for m in self.monitors]

    def add_monitor(self, **settings: Any) -> dict[str, Any]:
        number = len(self.monitors) + 1
        self.monitors.append({**settings, "id": number, "active": True, "pushToken": "drawn", "notificationIDList": []})
        return {"monitorID": number}

    def edit_monitor(self, id_: int, **settings: Any) -> None:
        self.edits.append((id_, settings))
        next(m for m in self.monitors if m["id"] == id_).update(settings)


def by_name(kuma: FakeKuma, name: str) -> dict[str, Any]:
    (found,) = (m for m in kuma.monitors if m["name"] == name)
    return found


def test_the_page_and_the_script_show_the_same_monitors() -> None:
    assert page() == script.monitors()


def test_the_intervals_follow_the_schedulers_own() -> None:
    assert script.monitors() == script.monitors(check_interval_s=int(Settings.model_fields["check_interval_s"].default))
    slow = {m["name"]: m for m in script.monitors(check_interval_s=300)}
    assert slow[script.PUSH]["interval"] == 600
    assert "> 900 ?" in slow["Continual ML scheduler's age"]["jsonPath"]
    assert script.monitors(check_interval_s=2)[-1]["interval"] == script.SHORTEST_INTERVAL_S


def test_the_options_of_the_page_are_those_of_the_script() -> None:
    options = vars(script._arguments([]))
    reported = dict(re.findall(r"^\| `--([a-z-]+)` \| `?([^`|]+)`? \|", PAGE, re.MULTILINE))
    assert {name.replace("-", "_"): value.strip() for name, value in reported.items()} == {
        name: "–" if value is False else str(value) for name, value in options.items()
    }


def test_a_second_run_changes_nothing_and_gives_the_same_token() -> None:
    kuma = FakeKuma()
    said: list[str] = []
    token = script.ensure(kuma, script.monitors(), said.append)
    assert len(token) == 32
    assert by_name(kuma, script.PUSH)["pushToken"] == token
    assert [line.partition(":")[0] for line in said] == ["created"] * 7
    kuma.edits.clear()
    said.clear()
    assert script.ensure(kuma, script.monitors(), said.append) == token
    assert [line.partition(":")[0] for line in said] == ["unchanged"] * 7
    assert (len(kuma.monitors), kuma.edits) == (7, [])


def test_only_what_the_page_shows_is_set_right() -> None:
    kuma = FakeKuma()
    script.ensure(kuma, script.monitors(), lambda _line: None)
    kuma.add_monitor(name="Of somebody else", type="http", interval=20)
    changed = by_name(kuma, "Continual ML")
    changed.update(interval=20, active=False, notificationIDList=[3])
    kuma.edits.clear()
    said: list[str] = []
    script.ensure(kuma, script.monitors(), said.append)
    assert kuma.edits == [(changed["id"], {"interval": 60})]
    assert said[0] == "updated: Continual ML (paused): interval was 20"
    assert by_name(kuma, "Of somebody else")["interval"] == 20


@pytest.mark.parametrize(
    ("there", "sentence"),
    [
        ([{"name": "Continual ML model", "type": "http"}], "has another type"),
        ([{"name": script.PUSH, "type": "push"}] * 2, "2 monitors have the name"),
    ],
)
def test_what_a_person_has_to_settle_ends_it_before_anything_is_made(
    there: list[dict[str, Any]], sentence: str
) -> None:
    kuma = FakeKuma()
    for settings in there:
        kuma.add_monitor(**settings)
    with pytest.raises(script.Refused, match=sentence):
        script.ensure(kuma, script.monitors(), lambda _line: None)
    assert (len(kuma.monitors), kuma.edits) == (len(there), [])


def test_the_first_account_is_made_only_when_asked_for() -> None:
    kuma = FakeKuma(fresh=True)
    with pytest.raises(script.Refused, match="--create-admin"):
        script.sign_in(kuma, "admin", "secret", create_admin=False)
    script.sign_in(kuma, "admin", "secret", create_admin=True)
    assert not kuma.fresh


def test_a_second_factor_is_asked_for() -> None:
    kuma = FakeKuma(second_factor=True)
    with pytest.raises(script.Refused, match=script.CODE):
        script.sign_in(kuma, "admin", "secret", create_admin=False)
    script.sign_in(kuma, "admin", "secret", create_admin=False, code="123456")


@pytest.mark.parametrize("version", ["1.22.1", "2.0.0-beta.2", "2.0.2", "2.0.0-dev"])
def test_versions_whose_settings_differ_are_refused(version: str) -> None:
    with pytest.raises(script.Refused, match=re.escape(version)):
        script.sign_in(FakeKuma(version=version), "admin", "secret", create_admin=False)


def test_the_password_comes_from_the_environment_or_a_file(tmp_path: Any) -> None:
    file = tmp_path / "password"
    file.write_text("of the file\n")
    assert script._password({script.PASSWORD: "plain"}) == "plain"
    assert script._password({script.PASSWORD: "plain", f"{script.PASSWORD}_FILE": str(file)}) == "of the file"
    for environment in ({}, {f"{script.PASSWORD}_FILE": str(tmp_path / "none")}):
        with pytest.raises(script.Refused, match=script.PASSWORD):
            script._password(environment)


def test_the_script_says_the_version_that_compose_starts() -> None:
    assert "louislam/uptime-kuma:1.23." in (ROOT / "docker-compose.yml").read_text()
