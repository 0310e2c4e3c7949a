"""Codes by RFC 6238, each used once; recovery codes; and what goes on without them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from core import cli
from core.errors import BadInput, CodeNeeded, NotAllowed, NotAuthenticated, NotFound, ProofNeeded
from core.services.access import accounts, audit_log, second_factor, throttle, verifying
from core.services.access.actors import Actor, require
from core.settings import get_settings
from core.storage.workspace import Workspace, open_workspace

GOOD = "tall-trees-in-wind"
RFC_SECRET = base64.b32encode(b"12345678901234567890").decode()


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "BCRYPT_ROUNDS", 4)
    accounts.decoy_hash.cache_clear()


def _code(secret: str, now: datetime) -> str:
    return second_factor.code_of(secret, int(now.timestamp()) // 30)


def _actor(user: accounts.UserInfo) -> Actor:
    return Actor(user.name, user.uid, user.epoch)


@pytest.fixture
def ada(ws: Workspace, now: datetime) -> tuple[str, list[str]]:
    """Secret and recovery codes of ada, who has set her second factor up a minute ago."""
    accounts.create_user(ws, "ada", GOOD, "admin", by="test", now=now)
    before = now - timedelta(minutes=1)
    user = verifying.verify_password(ws, "ada", GOOD, "192.0.2.7", before)
    secret, _ = second_factor.propose("ada")
    return secret, second_factor.enable(ws, secret, _code(secret, before), by=_actor(user), now=before)


def _sign_in(ws: Workspace, now: datetime, code: str = "", client: str = "192.0.2.7") -> accounts.UserInfo:
    return verifying.verify_password(ws, "ada", GOOD, client, now, code=code)


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "94287082"),
        (1_111_111_109, "07081804"),
        (1_111_111_111, "14050471"),
        (1_234_567_890, "89005924"),
        (2_000_000_000, "69279037"),
        (20_000_000_000, "65353130"),
    ],
)
def test_codes_are_those_of_the_rfc(seconds: int, code: str) -> None:
    assert second_factor.code_of(RFC_SECRET, seconds // 30, digits=8) == code
    assert _code(RFC_SECRET, datetime.fromtimestamp(seconds, UTC)) == code[-6:]


def test_the_password_alone_signs_in_no_more_and_says_what_is_needed(
    ws: Workspace, now: datetime, ada: tuple[str, list[str]]
) -> None:
    with pytest.raises(CodeNeeded, match="authenticator app"):
        _sign_in(ws, now)
    with pytest.raises(NotAuthenticated, match="name or the password") as wrong:
        verifying.verify_password(ws, "ada", "not this one at all", "192.0.2.7", now, code=_code(ada[0], now))
    assert not isinstance(wrong.value, CodeNeeded)
    user = _sign_in(ws, now, _code(ada[0], now))
    assert user.second_factor


def test_a_code_counts_once_and_none_before_it_does(ws: Workspace, now: datetime, ada: tuple[str, list[str]]) -> None:
    code = _code(ada[0], now)
    assert _sign_in(ws, now, f" {code[:3]} {code[3:]} ").name == "ada"
    for used in (code, _code(ada[0], now - timedelta(seconds=30))):
        with pytest.raises(NotAuthenticated, match="already used"):
            _sign_in(ws, now, used)
    assert _sign_in(ws, now, _code(ada[0], now + timedelta(seconds=30))).name == "ada"


@pytest.mark.parametrize(("steps", "good"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_telephones_clock_may_be_one_step_off(
    ws: Workspace, now: datetime, ada: tuple[str, list[str]], steps: int, good: bool
) -> None:
    later = now + timedelta(hours=1)
    code = _code(ada[0], later + timedelta(seconds=30 * steps))
    if good:
        assert _sign_in(ws, later, code).name == "ada"
    else:
        with pytest.raises(NotAuthenticated, match="code is wrong"):
            _sign_in(ws, later, code)


def test_each_recovery_code_signs_in_once(ws: Workspace, now: datetime, ada: tuple[str, list[str]]) -> None:
    codes = ada[1]
    assert len(set(codes)) == 8
    for code in codes:
        assert _sign_in(ws, now, code.upper()).name == "ada"
        with pytest.raises(NotAuthenticated, match="code is wrong"):
            _sign_in(ws, now, code)


def test_guesses_of_the_code_are_throttled_and_the_password_alone_washes_none_away(
    ws: Workspace, now: datetime, ada: tuple[str, list[str]]
) -> None:
    for _ in range(20):
        with pytest.raises(CodeNeeded):
            _sign_in(ws, now)  # the right password, however often, locks nobody out
    said = []
    for _ in range(8):
        for code in ("000000", ""):
            try:
                _sign_in(ws, now, code, client="203.0.113.7")
            except NotAuthenticated as error:
                said.append(str(error))
    assert sum("code is wrong" in text for text in said) <= throttle.FREE_FAILURES["pair"]
    assert "Too many failed" in said[-1]


def test_setting_up_takes_the_password_and_a_right_code(ws: Workspace, now: datetime) -> None:
    accounts.create_user(ws, "ada", GOOD, "viewer", by="test", now=now)
    user = accounts.get_user(ws, "ada")
    assert user is not None
    secret, address = second_factor.propose("ada")
    assert address.startswith("otpauth://totp/Continual%20ML%3Aada?secret=") and secret in address
    with pytest.raises(ProofNeeded):
        second_factor.enable(ws, secret, _code(secret, now), by=_actor(user), now=now)
    _sign_in(ws, now)
    for bad_secret, code in ((secret, "000000"), (secret, ""), ("no base32", "123456"), ("é", "123456")):
        with pytest.raises(BadInput, match="expected"):
            second_factor.enable(ws, bad_secret, code, by=_actor(user), now=now)
    assert _sign_in(ws, now).second_factor is False


def test_it_is_taken_off_by_the_person_an_admin_or_the_command_line_and_by_nobody_else(
    ws: Workspace, now: datetime, ada: tuple[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    accounts.create_user(ws, "vera", GOOD, "viewer", by="test", now=now)
    vera = verifying.verify_password(ws, "vera", GOOD, "192.0.2.8", now)
    with pytest.raises(NotAllowed):
        second_factor.disable(ws, "ada", by=_actor(vera), now=now)
    assert cli.main(["users", "list", "--json"]) == 0
    assert {u["name"]: u["second_factor"] for u in json.loads(capsys.readouterr().out)["users"]} == {
        "ada": True,
        "vera": False,
    }
    assert cli.main(["users", "second-factor", "ada", "--off"]) == 0
    assert "password alone" in capsys.readouterr().out
    assert _sign_in(ws, now).second_factor is False
    assert second_factor.disable(ws, "ada", by="test", now=now) is False
    with pytest.raises(NotFound):
        second_factor.disable(ws, "nobody", by="test", now=now)


def test_no_secret_or_code_is_in_the_audit_and_recovery_codes_are_stored_as_hashes(
    ws: Workspace, now: datetime, ada: tuple[str, list[str]]
) -> None:
    reported = str(audit_log.audit_entries(ws))
    assert "second factor set up" in reported and ada[0] not in reported and ada[1][0] not in reported
    for file in ws.settings.home_path.rglob("*"):
        assert file.is_dir() or ada[1][0].encode() not in file.read_bytes()


def test_where_admins_need_one_they_act_as_admins_only_with_it(
    ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTINUAL_REQUIRE_SECOND_FACTOR", "admins")
    get_settings.cache_clear()
    strict = open_workspace(get_settings())
    accounts.create_user(strict, "ada", GOOD, "admin", by="test", now=now)
    actor = _actor(_sign_in(strict, now))
    require(strict, actor, "operator")
    with pytest.raises(NotAllowed, match="need a second factor"):
        accounts.set_role(strict, "ada", "admin", by=actor, now=now)
    secret, _ = second_factor.propose("ada")
    second_factor.enable(strict, secret, _code(secret, now), by=actor, now=now)
    accounts.set_role(strict, "ada", "admin", by=actor, now=now)
    require(strict, actor, "admin")
