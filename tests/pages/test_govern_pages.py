"""Models, Automation and Admin: empty, with data, for each role, with wrong input."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from fake_webhook import FakeWebhook
from streamlit.testing.v1 import AppTest

from core.services.access import accounts, audit_log, tokens
from core.services.incidents import message_switches
from core.services.monitoring import monitoring
from core.services.projects import inventory, projects
from core.services.projects.projects import Origin
from core.services.serving import guarding
from core.services.serving.guards import Guards
from core.settings import get_settings
from core.storage import registry
from core.storage.workspace import Workspace
from tests.pages.grown import BEGAN, click, closed, open_page, settle, text_of


@pytest.fixture
def empty(settings: object, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    return settle(get_settings().home_path, monkeypatch, grown=False)


def test_the_pages_of_a_project_say_what_to_do_when_there_is_nothing(empty: Workspace) -> None:
    for page in ("models", "automation"):
        assert "No project yet." in text_of(open_page(page))
    projects.create_project(empty, "Void", Origin(source="file"), by="test", now=BEGAN)
    assert "No model yet." in text_of(open_page("models"))
    assert "No cycle yet." in text_of(open_page("automation"))


def test_a_viewer_governs_nothing(grown: Workspace) -> None:
    at = open_page("models", "vera")
    assert not at.exception
    assert all(b.disabled for b in at.button if b.label.startswith(("Promote", "Roll back")))
    at = open_page("automation", "vera")
    assert closed(at, "Check now")
    assert closed(at, "Edit")
    assert closed(at, "Edit the guards")
    assert closed(at, "Pause checks")


@pytest.mark.parametrize("person", ["vera", "otto"])
def test_only_an_admin_reaches_the_admin_page(grown: Workspace, person: str) -> None:
    at = open_page("admin", person)
    assert "for the role admin" in at.error[0].value
    assert not at.dataframe


# --- Models ------------------------------------------------------------------------------------------------------


def test_models_shows_which_version_serves_and_which_served_on_a_day(grown: Workspace) -> None:
    project = projects.get_project(grown, "flies")
    at = open_page("models")
    assert not at.exception
    said = text_of(at)
    assert f"**v{project.champion} serves**" in said
    assert at.dataframe[0].value["State"].tolist()[0] == "▲ Champion"
    at.date_input(key="day").set_value(BEGAN.date())
    at.run()
    assert "On 2 Mar 2026: **v1** from 12:00" in text_of(at)


def test_two_versions_are_compared_on_rows_that_neither_has_learnt_from(grown: Workspace) -> None:
    at = click(open_page("models", a="v1", b="v2"), "Compare")
    assert not at.exception
    said = text_of(at)
    assert "200 rows: the newest 200 labelled rows that neither was trained on" in said
    assert "Compared on 200 labelled rows" in said
    at = click(open_page("models", a="v1", b="v3"), "Compare")
    assert "cannot be compared: no rows to compare on" in text_of(at)
    at = open_page("models", a="v1", b="v1")
    assert closed(at, "Compare")


def test_a_rollback_needs_a_reason_and_is_undone_by_a_promotion(grown: Workspace) -> None:
    project = projects.get_project(grown, "flies")
    serving = project.champion
    at = click(open_page("models", "otto"), "Roll back")
    said = text_of(at)
    assert "serves again within 2 seconds" in said
    at.button(key="rollback").click()
    at.button(key="rollback-yes").click()
    at.run()
    assert "A reason is required" in at.error[0].value
    at.text_input(key="rollback-reason").set_value("wrong on the night shift")
    at.button(key="rollback").click()
    at.button(key="rollback-yes").click()
    at.run()
    assert not at.exception
    back = projects.get_project(grown, "flies").champion
    assert back != serving
    assert "restored by a rollback" in text_of(at)
    at = click(at, f"Promote v{serving}")
    at.text_input(key="promote-reason").set_value("it was right after all")
    at.button(key="promote").click()
    at.button(key="promote-yes").click()
    at.run()
    assert projects.get_project(grown, "flies").champion == serving
    entries, _ = audit_log.audit_entries(grown, limit=2)
    assert [e.who for e in entries] == ["otto", "otto"]
    assert entries[0].after is not None
    assert entries[0].after["reason"] == "it was right after all"


def test_a_pickle_is_refused_and_a_skops_file_becomes_the_challenger(grown: Workspace) -> None:
    at = open_page("models")
    at.expander[0].open = True
    at.session_state["import"] = True
    at.run()
    at.file_uploader(key="model-file").set_value(("model.pkl", b"\x80\x04\x95abc", "application/octet-stream"))
    at.run()
    assert "pickle" in at.error[0].value
    project = projects.get_project(grown, "flies")
    with grown.database.read() as session:
        first = registry.list_versions(session, project.id)[-1].version
    data = Path(registry.artefact_path(grown, project.id, first)).read_bytes()
    at.file_uploader(key="model-file").set_value(("mine.skops", data, "application/octet-stream"))
    at.run()
    for box in at.checkbox:
        box.check()
    at.run()
    click(at, "Import as challenger")
    assert not at.exception
    with grown.database.read() as session:
        newest = registry.list_versions(session, project.id)[0]
    assert (newest.source, newest.aliases) == ("import", ("challenger",))


def test_only_an_admin_imports(grown: Workspace) -> None:
    at = open_page("models", "otto")
    at.session_state["import"] = True
    at.run()
    assert "Only an admin can import models" in text_of(at)
    assert not at.file_uploader


# --- Automation --------------------------------------------------------------------------------------------------


def test_automation_shows_policy_and_cycles_and_opens_the_one_of_the_address(grown: Workspace) -> None:
    found, total = monitoring.cycles(grown, projects.get_project(grown, "flies").id)
    at = open_page("automation")
    assert not at.exception
    assert "No scheduler has run here yet" in text_of(at)
    assert len(at.dataframe[0].value) == total
    assert f"Evidence of cycle {found[0].id}" in text_of(at)
    at = open_page("automation", cycle=str(found[-1].id))
    assert f"Evidence of cycle {found[-1].id}" in text_of(at)
    assert "has no cycle 999" in text_of(open_page("automation", cycle="999"))


def test_a_stored_decision_replays_to_the_same(grown: Workspace) -> None:
    at = click(open_page("automation"), "Replay this decision")
    assert at.success[0].value.startswith("Same:")


def test_checks_are_paused_and_asked_for_by_hand(grown: Workspace) -> None:
    at = click(open_page("automation", "otto"), "Pause checks")
    assert projects.get_project(grown, "flies").paused
    assert "Checks are paused" in text_of(at)
    click(at, "Resume checks")
    assert not projects.get_project(grown, "flies").paused
    at = click(at, "Check now")
    assert not at.exception


def test_guards_are_reported_edited_and_their_hits_drawn(grown: Workspace) -> None:
    project = projects.get_project(grown, "flies")
    at = open_page("automation", "otto")
    said = text_of(at)
    assert "Guards · unseen category: warn · out of range: warn · low confidence: off" in said
    assert "No guard was triggered in the last 30 days." in said
    click(at, "Edit the guards")
    at.selectbox(key="g-out_of_range").set_value("abstain")
    at.number_input(key="g-margin").set_value(0.25)
    at.button(key="guards-edit").click()  # the dialog is open as long as its button was pressed in this run
    at.run()
    at.button(key="guards-edit").click()
    at.button(key="g-save").click()
    at.run()
    assert not at.exception
    assert guarding.guards_of(grown, project) == Guards(out_of_range="abstain", range_margin=0.25)
    assert "by more than 25% of its width" in text_of(open_page("automation"))
    at = open_page("predict")
    at.number_input(key=f"x-{project.id}-warmth").set_value(900.0)
    click(at, "Predict")
    said = text_of(open_page("automation"))
    assert "No guard was triggered" not in said and "that triggered each guard, by day" in said


def test_guards_that_make_no_sense_are_refused_where_they_are_edited(grown: Workspace) -> None:
    at = click(open_page("automation"), "Edit the guards")
    at.selectbox(key="g-unseen_category").set_value("override")
    at.button(key="guards-edit").click()
    at.run()
    at.button(key="guards-edit").click()
    at.button(key="g-save").click()
    at.run()
    assert "The guards are not valid" in at.error[0].value
    assert guarding.guards_of(grown, projects.get_project(grown, "flies")) == Guards()


def test_the_policy_is_edited_and_counts_from_then_on(grown: Workspace) -> None:
    at = click(open_page("automation"), "Edit")
    tag = "balanced-current policy"
    at.number_input(key=f"p-threshold-{tag}").set_value(0.9)
    at.button(key="edit").click()
    at.run()
    assert "below 0.9 over" in text_of(at)
    at.button(key="edit").click()
    at.button(key="p-save").click()
    at.run()
    assert not at.exception
    policy = projects.get_project(grown, "flies").policy
    assert (policy.threshold, policy.families) == (0.9, ("logistic", "neighbours"))
    entries, _ = audit_log.audit_entries(grown, limit=1)
    assert entries[0].what == "policy changed"


# --- Admin -------------------------------------------------------------------------------------------------------


def test_people_are_added_and_wrong_passwords_refused(grown: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "BCRYPT_ROUNDS", 4)
    at = open_page("admin")
    at.text_input(key="add-name").set_value("bea")
    at.text_input(key="add-password").set_value("short")
    click(at, "Add")
    assert "expected at least 12" in at.error[0].value
    at.text_input(key="add-password").set_value("long enough now")
    click(at, "Add")
    assert {u.name for u in accounts.list_users(grown)} == {"ada", "otto", "vera", "bea"}


def test_a_role_is_changed_but_never_that_of_the_only_admin(grown: Workspace) -> None:
    at = click(open_page("admin"), "Change role")
    at.selectbox(key="new-role").set_value("viewer")
    at.button(key="change-role").click()
    at.run()
    at.button(key="change-role").click()
    at.button(key="role-yes").click()
    at.run()
    assert "only admin" in at.error[0].value
    assert closed(at, "Remove")


def test_a_token_is_shown_once_and_revoked(grown: Workspace) -> None:
    at = open_page("admin", tab="Tokens")
    assert "No active tokens" in text_of(at)
    at.text_input(key="token-name").set_value("sensor *gateway*")
    at.number_input(key="token-limit").set_value(600)
    click(at, "Create the token")
    assert at.code[0].value.startswith("cml_")
    assert "1 active token" in text_of(at)
    assert tokens.list_tokens(grown)[0].rate_limit == 600
    at.run()
    assert not at.code
    at.button(key="revoke").click()
    at.run()
    assert "answered 401 within 2 seconds" in text_of(at)
    at.button(key="revoke").click()
    at.button(key="revoke-yes").click()
    at.run()
    assert tokens.list_tokens(grown)[0].revoked_at is not None


@pytest.mark.parametrize("revoke", [True, False])
def test_removing_a_person_offers_to_revoke_the_tokens_that_they_made(grown: Workspace, revoke: bool) -> None:
    at = open_page("admin", tab="Tokens")
    at.text_input(key="token-name").set_value("gateway")
    click(at, "Create the token")
    at = open_page("admin", tab="Tokens")
    assert at.dataframe[0].value["Created by"].tolist() == ["ada"]
    accounts.set_role(grown, "otto", "admin", by="test", now=BEGAN)
    at = open_page("admin", "otto")  # ada is the first person in the list
    at.button(key="remove").click()
    at.run()
    assert "1 token that still works" in text_of(at) and "gateway" in text_of(at)
    at.checkbox(key="remove-tokens").set_value(revoke)
    at.button(key="remove").click()
    at.run()
    at.button(key="remove").click()
    at.button(key="remove-yes").click()
    at.run()
    assert not at.exception
    assert accounts.get_user(grown, "ada") is None
    assert (tokens.list_tokens(grown)[0].revoked_at is not None) is revoke
    at = open_page("admin", "otto", tab="Tokens")
    assert at.dataframe[0].value["Created by"].tolist() == ["ada (removed)"]


def test_settings_are_shown_without_any_secret(grown: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "k3y-of-this-installation-77")
    get_settings.cache_clear()
    table = open_page("admin", tab="Settings").dataframe[0].value.set_index("Setting")
    assert table.loc["API_KEY", "Value"] == "set"
    assert table.loc["DISCORD_WEBHOOK_URL", "Value"] == "not set"
    assert "k3y-of-this" not in table.to_csv()


def test_audit_and_health_are_there(grown: Workspace) -> None:
    at = open_page("admin", tab="Audit")
    assert "user added" in at.dataframe[0].value["What"].tolist()
    at = open_page("admin", tab="Health")
    assert "checks passed" in text_of(at)
    click(at, "Read every stored file too")
    assert any("checksums match" in m.value for m in at.markdown)


# --- what they read ------------------------------------------------------------------------------------------------


def test_the_inventory_counts_batches_and_finds_the_page_of_a_cycle(grown: Workspace) -> None:
    project = projects.get_project(grown, "flies")
    held = inventory.inventory(grown, project.id)
    assert (held.batches, held.undone, held.with_problems, held.backfilled) == (3, 0, 1, 0)
    assert (held.first_at, held.last_at) == (BEGAN, BEGAN + timedelta(hours=2))
    found, _ = monitoring.cycles(grown, project.id)
    assert [inventory.cycle_page(grown, project.id, c.id, 1) for c in found] == [1, 2, 3]
    assert inventory.cycle_page(grown, project.id + 1, found[0].id, 1) is None
    assert inventory.project_names(grown) == {project.id: "Flies"}


def test_the_budget_and_the_next_scheduled_race_are_reported(grown: Workspace) -> None:
    project = projects.get_project(grown, "flies")
    policy = dataclasses.replace(
        project.policy, triggers=(*project.policy.triggers, "schedule", "drift_share+new_labels"), schedule="0 3 * * *", races_per_day=4
    )  # fmt: skip
    projects.set_policy(grown, project, policy, by="ada", now=BEGAN)
    at = open_page("automation")
    assert not at.exception
    assert inventory.races_left(grown, project, BEGAN) is None
    assert inventory.races_left(grown, projects.get_project(grown, "flies"), BEGAN + timedelta(days=30)) == 4
    said = text_of(at)
    assert "**4 of 4 races left** in the current 24 hours; next scheduled race:" in said
    assert "Only when all of these hold" in said and "'0 3 \\* \\* \\*'" in said
    at.button(key="edit").click()
    assert not at.run().exception
    assert at.text_input(key="p-schedule-balanced-current policy").value == "0 3 * * *"


def test_another_policy_is_tried_on_the_stored_history(grown: Workspace) -> None:
    at = click(open_page("automation"), "Run the backtest")
    assert not at.exception
    said = text_of(at)
    assert "Over 2 checks with 400 new rows" in said
    reported = next(d.value for d in at.dataframe if "Policy" in d.value)
    assert reported["Policy"].tolist() == ["balanced", "original", "never"]
    assert reported["Fits"].tolist()[-1] == 0
    assert f"Accuracy {reported['Score'][0]:.3f} with “balanced”" in said
    assert "Over 2 checks" in text_of(open_page("automation", "vera"))
    assert closed(open_page("automation", "vera"), "Run the backtest")


def test_an_edited_policy_is_tried_before_it_is_saved(grown: Workspace) -> None:
    at = click(open_page("automation"), "Edit")
    at.number_input(key="p-labels-balanced-current policy").set_value(5_000)
    at.button(key="edit").click()  # the dialog is open as long as its button was pressed in this run
    at.run()
    at.button(key="edit").click()
    at.button(key="p-try").click()
    at.run()
    assert not at.exception
    assert "On the stored history" in text_of(at) and "1 race instead of 2" in text_of(at)
    assert projects.get_project(grown, "flies").policy.new_labels == 200


# --- messages ----------------------------------------------------------------------------------------------------


def tell_people_of(at: AppTest) -> Any:
    """The switches."""
    return next(p for p in at.button_group if p.label == "Send messages about")


def test_which_messages_a_project_sends_is_set_on_automation_by_operators(grown: Workspace) -> None:
    at = open_page("automation", "otto")
    assert "Messages · 9 of 10 kinds sent" in text_of(at)
    pills = tell_people_of(at)
    pills.set_value([*(name for name in pills.value if name != "drift"), "refused"]).run()
    click(at, "Save the messages")
    assert not at.exception
    project = projects.get_project(grown, "flies")
    switches = message_switches.switches(grown, project)
    assert (switches["drift"], switches["refused"]) == (False, True)
    entry = audit_log.audit_entries(grown, limit=1, offset=0)[0][0]
    assert (entry.who, entry.what) == ("otto", message_switches.SWITCHES_SET)
    at = open_page("automation", "vera")
    assert tell_people_of(at).disabled


def test_the_admin_page_sends_a_test_and_says_how_it_went(grown: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCORD_WEBHOOK_URL", "")
    at = open_page("admin", tab="Health")
    assert closed(at, "Send a test")
    with FakeWebhook() as hook:
        monkeypatch.setenv("DISCORD_WEBHOOK_URL", hook.url)
        get_settings.cache_clear()
        st.cache_resource.clear()
        hook.answers = [(204, None, {}), (404, None, {})]
        at = click(open_page("admin", tab="Health"), "Send a test")
        assert "Discord accepted it" in at.success[-1].value
        at = click(at, "Send a test")
        assert "wrong or was deleted" in at.warning[-1].value
        assert "Messages to Discord · stopped" in text_of(open_page("admin", tab="Health"))
