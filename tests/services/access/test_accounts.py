"""People, sign-ins, tokens."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from sqlalchemy.event import listen

from core.errors import BadInput, ConfigurationError, Conflict, NotAllowed, NotAuthenticated, NotFound
from core.services.access import accounts, audit_log, sessions, throttle, tokens, verifying
from core.services.access.tokens import TokenRights
from core.services.projects.projects import Origin
from core.settings import get_settings
from core.storage.workspace import Workspace, open_workspace

GOOD = "tall-trees-in-wind"
LONGEST = "tall trees in wind; wet gravel; a copper lid; three blind mice and a cat"


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "BCRYPT_ROUNDS", 4)
    accounts.decoy_hash.cache_clear()


def _sign_in(ws: Workspace, name: str, password: str, now: datetime, client: str = "10.0.0.7") -> accounts.UserInfo:
    return verifying.verify_password(ws, name, password, client, now)


# --- people -----------------------------------------------------------------------------------------------------


def test_the_first_user_is_made_once_with_a_password_that_is_stored_as_a_hash(ws: Workspace, now: datetime) -> None:
    made = accounts.ensure_first_user(ws, now)
    assert made is not None and made.generated and made.password is not None
    assert accounts.ensure_first_user(ws, now) is None
    user = _sign_in(ws, "admin", made.password, now)
    assert (user.name, user.role) == ("admin", "admin")
    for file in ws.settings.home_path.rglob("*"):
        assert file.is_dir() or made.password.encode() not in file.read_bytes()


def test_a_common_first_password_stops_the_start_and_is_not_repeated(
    ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMLIT_PASSWORD", "administrator1")
    get_settings.cache_clear()
    with pytest.raises(ConfigurationError, match="STREAMLIT_PASSWORD is a common") as reported:
        accounts.ensure_first_user(open_workspace(), now)
    assert "administrator1" not in str(reported.value)
    assert accounts.list_users(ws) == []


@pytest.mark.parametrize("password", ["short12", "Administrator-1"])
def test_a_weak_password_cannot_be_set_later_either(ws: Workspace, now: datetime, password: str) -> None:
    accounts.create_user(ws, "ada", GOOD, "viewer", by="test", now=now)
    with pytest.raises(BadInput):
        accounts.set_password(ws, "ada", password, by="test", now=now)
    assert _sign_in(ws, "ada", GOOD, now).epoch == 1


def test_a_given_first_password_is_not_given_back(
    ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMLIT_PASSWORD", "quite-a-long-one-9")
    get_settings.cache_clear()
    made = accounts.ensure_first_user(open_workspace(), now)
    assert made == accounts.FirstUser(name="admin", password=None, generated=False)
    assert _sign_in(ws, "admin", "quite-a-long-one-9", now).role == "admin"


@pytest.mark.parametrize("password", ["short12", "x" * 73, "é" * 37, "with\0nul-inside"])
def test_passwords_that_bcrypt_cannot_hold_are_refused(ws: Workspace, now: datetime, password: str) -> None:
    with pytest.raises(BadInput, match="expected"):
        accounts.create_user(ws, "ada", password, "viewer", by="test", now=now)
    assert accounts.list_users(ws) == []


def test_a_password_of_72_bytes_is_taken_and_a_longer_one_with_the_same_beginning_is_not(
    ws: Workspace, now: datetime
) -> None:
    accounts.create_user(ws, "ada", LONGEST, "viewer", by="test", now=now)
    assert _sign_in(ws, "ada", LONGEST, now).name == "ada"
    with pytest.raises(NotAuthenticated):
        _sign_in(ws, "ada", LONGEST + "p", now)


@pytest.mark.parametrize("name", ["", "  ", "a b", "<b>", "x" * 65, "-x", "né"])
def test_names_that_cannot_be_typed_or_shown_safely_are_refused(ws: Workspace, now: datetime, name: str) -> None:
    with pytest.raises(BadInput, match="User name"):
        accounts.create_user(ws, name, GOOD, "viewer", by="test", now=now)


def test_names_fold_case_and_are_unique(ws: Workspace, now: datetime) -> None:
    accounts.create_user(ws, "Ada", GOOD, "viewer", by="test", now=now)
    assert _sign_in(ws, "ADA", GOOD, now).name == "ada"
    with pytest.raises(Conflict):
        accounts.create_user(ws, "ada", GOOD, "viewer", by="test", now=now)
    with pytest.raises(BadInput, match="viewer, operator, admin"):
        accounts.create_user(ws, "bob", GOOD, "root", by="test", now=now)


def test_the_last_admin_stays(ws: Workspace, now: datetime) -> None:
    accounts.create_user(ws, "ada", GOOD, "admin", by="test", now=now)
    with pytest.raises(Conflict, match="only admin"):
        accounts.remove_user(ws, "ada", by="test", now=now)
    with pytest.raises(Conflict, match="only admin"):
        accounts.set_role(ws, "ada", "viewer", by="test", now=now)
    accounts.create_user(ws, "bob", GOOD, "operator", by="test", now=now)
    accounts.set_role(ws, "bob", "admin", by="test", now=now)
    accounts.remove_user(ws, "ada", by="test", now=now)
    assert [u.name for u in accounts.list_users(ws)] == ["bob"]
    assert accounts.get_user(ws, "ada") is None
    with pytest.raises(NotFound):
        accounts.remove_user(ws, "ada", by="test", now=now)


def test_a_new_password_and_signing_out_raise_the_epoch(ws: Workspace, now: datetime) -> None:
    accounts.create_user(ws, "ada", GOOD, "viewer", by="test", now=now)
    accounts.set_password(ws, "ada", "quite-another-one", by="test", now=now)
    sessions.sign_out_everywhere(ws, "ada")
    assert _sign_in(ws, "ada", "quite-another-one", now).epoch == 3
    with pytest.raises(NotAuthenticated):
        _sign_in(ws, "ada", GOOD, now)


def test_a_visit_begins_after_a_pause(ws: Workspace, now: datetime) -> None:
    accounts.create_user(ws, "ada", GOOD, "viewer", by="test", now=now)
    for minutes in (0, 0.5, 20, 100):
        sessions.note_visit(ws, "ada", now + timedelta(minutes=minutes))
    user = accounts.get_user(ws, "ada")
    assert user is not None
    assert user.previous_visit_at == now + timedelta(minutes=20)
    assert user.last_seen_at == now + timedelta(minutes=100)


# --- the throttle -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ada", "nobody"])
def test_five_failures_lock_the_name_for_an_address_for_ever_longer(ws: Workspace, now: datetime, name: str) -> None:
    accounts.create_user(ws, "ada", GOOD, "viewer", by="test", now=now)
    for _ in range(5):
        with pytest.raises(NotAuthenticated, match="wrong"):
            _sign_in(ws, name, "wrong-password", now, client="203.0.113.7")
    waits = []
    at = now
    for _ in range(6):
        with pytest.raises(NotAuthenticated, match="Too many") as locked:
            _sign_in(ws, name, GOOD, at, client="203.0.113.7")
        waits.append(int(str(locked.value).split(" in ")[1].split()[0]) - 1)
        at += timedelta(seconds=waits[-1] + 1)
        with pytest.raises(NotAuthenticated, match="wrong"):
            _sign_in(ws, name, "wrong-password", at, client="203.0.113.7")
    assert waits == [60, 120, 240, 480, 900, 900]


def test_nobody_locks_a_person_out_from_elsewhere(ws: Workspace, now: datetime) -> None:
    accounts.create_user(ws, "ada", GOOD, "viewer", by="test", now=now)
    assert _sign_in(ws, "ada", GOOD, now, client="198.51.100.1").name == "ada"
    for i in range(100):
        with pytest.raises(NotAuthenticated, match="wrong"):
            _sign_in(ws, "ada", "wrong-password", now, client=f"203.0.{i}.1")
    with pytest.raises(NotAuthenticated, match="Try again in 61 s"):
        _sign_in(ws, "ada", GOOD, now, client="192.0.2.9")  # an address that nobody knows
    assert _sign_in(ws, "ada", GOOD, now, client="198.51.100.1").name == "ada"


def test_a_whole_ipv6_network_counts_as_one_address(ws: Workspace, now: datetime) -> None:
    for i in range(5):
        with pytest.raises(NotAuthenticated, match="wrong"):
            _sign_in(ws, "ada", "wrong-password", now, client=f"2001:db8:1:2::{i + 1}")
    with pytest.raises(NotAuthenticated, match="Too many"):
        _sign_in(ws, "ada", "wrong-password", now, client="2001:db8:1:2:ffff::1")


def test_a_lock_ends_and_success_clears_it(ws: Workspace, now: datetime) -> None:
    accounts.create_user(ws, "ada", GOOD, "viewer", by="test", now=now)
    for _ in range(5):
        with pytest.raises(NotAuthenticated):
            _sign_in(ws, "ada", "wrong-password", now)
    later = now + timedelta(seconds=61)
    assert _sign_in(ws, "ada", GOOD, later).name == "ada"
    with pytest.raises(NotAuthenticated, match="wrong"):
        _sign_in(ws, "ada", "wrong-password", later)
    assert _sign_in(ws, "ada", GOOD, later).name == "ada"


def test_one_client_is_locked_over_many_names_and_one_good_account_does_not_wash_it(
    ws: Workspace, now: datetime
) -> None:
    accounts.create_user(ws, "ada", GOOD, "viewer", by="test", now=now)
    for i in range(19):
        with pytest.raises(NotAuthenticated, match="wrong"):
            _sign_in(ws, f"guess{i}", "wrong-password", now, client="mallory")
    assert _sign_in(ws, "ada", GOOD, now, client="mallory").name == "ada"
    with pytest.raises(NotAuthenticated, match="wrong"):
        _sign_in(ws, "guess20", "wrong-password", now, client="mallory")
    with pytest.raises(NotAuthenticated, match="Too many"):
        _sign_in(ws, "ada", GOOD, now, client="mallory")
    assert _sign_in(ws, "ada", GOOD, now, client="other").name == "ada"


def test_many_guesses_at_once_do_not_slip_through(ws: Workspace, now: datetime) -> None:
    accounts.create_user(ws, "ada", GOOD, "viewer", by="test", now=now)

    def guess(i: int) -> str:
        try:
            _sign_in(ws, "ada", f"wrong-password-{i}", now, client="c")
        except NotAuthenticated as error:
            return str(error)
        return "in"

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(guess, range(16)))
    assert sum("wrong" in text for text in said) == 5
    assert sum("Too many" in text for text in said) == 11


def test_failures_are_forgotten_after_a_while(ws: Workspace, now: datetime) -> None:
    for _ in range(4):
        with pytest.raises(NotAuthenticated):
            _sign_in(ws, "ada", "wrong-password", now)
    later = now + throttle.FORGET_AFTER + timedelta(minutes=1)
    for _ in range(4):
        with pytest.raises(NotAuthenticated, match="wrong"):
            _sign_in(ws, "ada", "wrong-password", later)


def test_unknown_names_take_as_long_as_known_ones(
    ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "BCRYPT_ROUNDS", 9)
    accounts.decoy_hash.cache_clear()
    accounts.create_user(ws, "ada", GOOD, "viewer", by="test", now=now)

    def seconds(name: str) -> float:
        taken = []
        for i in range(4):
            began = time.process_time()
            with pytest.raises(NotAuthenticated, match="wrong"):
                _sign_in(ws, name, "wrong-password", now, client=f"{name}{i}")
            taken.append(time.process_time() - began)
        return min(taken)

    accounts.decoy_hash()
    known, unknown = seconds("ada"), seconds("nobody")
    assert 0.4 < unknown / known < 2.5


# --- tokens -----------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def test_a_token_is_shown_once_and_its_scopes_are_kept_apart(ws: Workspace, now: datetime) -> None:
    info, token = tokens.create_token(
        ws,
        "gateway",
        TokenRights(scopes=["predict", "read"]),
        by="test",
        now=now,
    )
    assert token.startswith("cml_") and len(token) > 40 and token.startswith(info.prefix)
    held = tokens.Tokens(ws, None)
    assert held.check(token, "predict", None, now).name == "gateway"
    with pytest.raises(NotAllowed, match="requires ingest"):
        held.check(token, "ingest", None, now)
    for file in ws.settings.home_path.rglob("*"):
        assert file.is_dir() or token.encode() not in file.read_bytes()


def test_admin_includes_the_other_scopes_and_the_others_nothing(ws: Workspace, now: datetime) -> None:
    held = tokens.Tokens(ws, None)
    for scope in tokens.SCOPES:
        _, token = tokens.create_token(ws, scope, TokenRights(scopes=[scope]), by="test", now=now)
        allowed = set()
        for wanted in tokens.SCOPES:
            try:
                held.check(token, wanted, None, now)
                allowed.add(wanted)
            except NotAllowed:
                pass
        assert allowed == (set(tokens.SCOPES) if scope == "admin" else {scope})


def test_the_api_key_is_an_admin_token_and_nothing_like_it_is(ws: Workspace, now: datetime) -> None:
    held = tokens.Tokens(ws, "k3y-of-this-installation")
    assert held.check("k3y-of-this-installation", "admin", 4, now).name == "API_KEY"
    assert not held.due("k3y-of-this-installation", now)
    for wrong in ("", "k3y-of-this-installatioN", "k3y-of-this-installation ", "\udc80"):
        with pytest.raises(NotAuthenticated):
            held.check(wrong, "predict", None, now)


def test_an_expired_or_revoked_token_ends(ws: Workspace, now: datetime) -> None:
    clock = Clock()
    held = tokens.Tokens(ws, None, clock=clock)
    _, token = tokens.create_token(
        ws, "short", TokenRights(scopes=["read"], expires_at=now + timedelta(minutes=1)), by="test", now=now
    )
    assert held.check(token, "read", None, now).name == "short"
    with pytest.raises(NotAuthenticated, match="expired"):
        held.check(token, "read", None, now + timedelta(minutes=1))
    info, token = tokens.create_token(ws, "long", TokenRights(scopes=["read"]), by="test", now=now)
    clock.at += 0.2
    assert held.check(token, "read", None, now).id == info.id
    assert info.id is not None
    tokens.revoke_token(ws, info.id, by="test", now=now)
    clock.at += 1.1
    with pytest.raises(NotAuthenticated, match="revoked"):
        held.check(token, "read", None, now)
    with pytest.raises(NotFound):
        tokens.revoke_token(ws, 999, by="test", now=now)


def test_a_known_token_needs_the_database_once_a_second_and_its_use_is_written_once_a_minute(
    ws: Workspace, now: datetime
) -> None:
    clock = Clock()
    held = tokens.Tokens(ws, None, clock=clock)
    info, token = tokens.create_token(ws, "gateway", TokenRights(scopes=["read"]), by="test", now=now)
    assert held.due(token, now)
    held.check(token, "read", None, now)
    assert not held.due(token, now)
    clock.at += 1.1
    assert held.due(token, now)
    held.check(token, "read", None, now + timedelta(seconds=50))
    assert tokens.list_tokens(ws)[0].last_used_at == now
    held.check(token, "read", None, now + timedelta(seconds=61))
    assert tokens.list_tokens(ws)[0].last_used_at == now + timedelta(seconds=61)
    assert tokens.list_tokens(ws)[0].id == info.id


def test_unknown_tokens_read_one_row_at_most_and_hold_nobody_up(
    ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = tokens.Tokens(ws, None, clock=Clock())
    _, known = tokens.create_token(ws, "gateway", TokenRights(scopes=["read"]), by="test", now=now)
    held.check(known, "read", None, now)
    statements: list[str] = []
    listen(ws.database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    monkeypatch.setattr(held, "_read", lambda: pytest.fail("all tokens were read"))
    for guess in ("guess", "", "k" * 5000):
        with pytest.raises(NotAuthenticated, match="unknown"):
            held.check(guess, None, None, now)
    assert statements == []
    with pytest.raises(NotAuthenticated, match="unknown"):
        held.check("cml_guess", None, None, now)
    assert [s for s in statements if "api_tokens" in s and "sha256 = ?" not in s] == []
    _, fresh = tokens.create_token(ws, "made elsewhere", TokenRights(scopes=["read"]), by="test", now=now)
    assert held.check(fresh, "read", None, now).name == "made elsewhere"


def test_a_token_of_one_project_is_refused_for_another(ws: Workspace, now: datetime) -> None:
    from core.services.projects import projects

    own = projects.create_project(ws, "Own", Origin(source="api"), by="test", now=now)
    other = projects.create_project(ws, "Other", Origin(source="api"), by="test", now=now)
    _, token = tokens.create_token(ws, "bound", TokenRights(scopes=["predict"], project_id=own.id), by="test", now=now)
    held = tokens.Tokens(ws, None)
    assert held.check(token, "predict", own.id, now).project_id == own.id
    with pytest.raises(NotAllowed, match="another project"):
        held.check(token, "predict", other.id, now)


@pytest.mark.parametrize(
    ("name", "scopes", "minutes"), [("x", [], 5), ("x", ["write"], 5), ("", ["read"], 5), ("x", ["read"], -1)]
)
def test_tokens_that_make_no_sense_are_refused(
    ws: Workspace, now: datetime, name: str, scopes: list[str], minutes: int
) -> None:
    with pytest.raises(BadInput, match="expected"):
        tokens.create_token(
            ws, name, TokenRights(scopes=scopes, expires_at=now + timedelta(minutes=minutes)), by="test", now=now
        )
    assert tokens.list_tokens(ws) == []


def test_changes_are_in_the_audit_without_any_secret(ws: Workspace, now: datetime) -> None:
    accounts.create_user(ws, "ada", GOOD, "admin", by="root", now=now)
    info, token = tokens.create_token(ws, "gateway", TokenRights(scopes=["read"]), by="ada", now=now)
    assert info.id is not None
    tokens.revoke_token(ws, info.id, by="ada", now=now)
    tokens.revoke_token(ws, info.id, by="ada", now=now)
    audit_log.audit(ws, "ada", "model downloaded", None, None, {"version": 3}, now)
    entries, total = audit_log.audit_entries(ws, limit=3)
    assert [e.what for e in entries] == ["model downloaded", "token revoked", "token made"]
    assert total == 4
    assert GOOD not in str(audit_log.audit_entries(ws)) and token not in str(audit_log.audit_entries(ws))
