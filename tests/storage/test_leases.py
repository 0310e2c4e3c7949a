"""One lease a project: free, run out, of a dead process or of a wrong clock it is taken; held it is not."""

from __future__ import annotations

import socket
from datetime import datetime, timedelta

import pytest

from core.storage import leases
from core.storage.tables import Lease
from core.storage.workspace import Workspace

PROJECT = 7
GONE = f"{socket.gethostname()}:{2**22}:1:1"  # beyond the largest process id


def stored(ws: Workspace, owner: str, expires_at: datetime) -> None:
    with ws.database.write() as session:
        session.merge(Lease(name=f"project:{PROJECT}", owner=owner, expires_at=expires_at))


def claimed(ws: Workspace, owner: str, clock: datetime) -> bool:
    with ws.database.write() as session:
        return leases.claim(session, PROJECT, owner, clock)


def test_a_lease_is_taken_once_renewed_and_given_back(ws: Workspace, now: datetime) -> None:
    first, second = leases.new_owner(), leases.new_owner()
    assert first != second
    assert claimed(ws, first, now)
    assert not claimed(ws, second, now)
    with ws.database.write() as session:
        leases.renew(session, PROJECT, first, now + leases.LASTS)
        assert leases.is_held(session, PROJECT, now + 1.5 * leases.LASTS)
        assert leases.owner_until_commit(session, PROJECT) == first
        leases.give_back(session, PROJECT, second)  # not its own: nothing happens
        assert leases.is_held(session, PROJECT, now)
        leases.give_back(session, PROJECT, first)
        assert not leases.is_held(session, PROJECT, now)
    assert claimed(ws, second, now)


@pytest.mark.parametrize(
    ("owner", "ends", "held"),
    [
        ("elsewhere:1:1:1", timedelta(seconds=30), True),
        ("elsewhere:1:1:1", timedelta(0), False),
        ("elsewhere:1:1:1", timedelta(hours=1), False),  # written by a clock that was wrong
        (GONE, timedelta(seconds=30), False),
    ],
)
def test_the_rule_is_the_same_for_all_who_ask(
    ws: Workspace, now: datetime, owner: str, ends: timedelta, held: bool
) -> None:
    stored(ws, owner, now + ends)
    with ws.database.read() as session:
        assert leases.is_held(session, PROJECT, now) is held
        assert leases.run_out(session, now) == ([] if held else [f"project:{PROJECT}"])
    assert claimed(ws, leases.new_owner(), now) is not held


def test_who_lost_the_lease_neither_renews_it_nor_gives_it_back(ws: Workspace, now: datetime) -> None:
    lost, owner = leases.new_owner(), leases.new_owner()
    assert claimed(ws, lost, now)
    assert claimed(ws, owner, now + 2 * leases.LASTS)
    with ws.database.write() as session:
        leases.renew(session, PROJECT, lost, now + 9 * leases.LASTS)
        leases.give_back(session, PROJECT, lost)
        assert leases.owner_until_commit(session, PROJECT) == owner
        assert not leases.is_held(session, PROJECT, now + 8 * leases.LASTS)
