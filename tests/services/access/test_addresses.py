"""Whose request it is, behind proxies and without."""

from __future__ import annotations

import pytest

from core.services.access.addresses import client_of, lies_in, parsed, who

PROXY = ("127.0.0.1", "10.0.0.0/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),  # no proxy of ours said so
        ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),  # a stranger wrote the first
        ("127.0.0.1", ["1.1.1.1", "198.51.100.1, 10.1.2.3"], "198.51.100.1"),
        ("127.0.0.1", ["10.1.2.3"], "10.1.2.3"),
        ("127.0.0.1", ["garbage"], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("127.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("127.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        (None, ["198.51.100.1"], None),
    ],
)
def test_the_caller_is_whom_trusted_proxies_name(peer: str | None, forwarded: list[str], client: str | None) -> None:
    assert client_of(peer, forwarded, PROXY) == client
    assert client_of(peer, forwarded, ()) == (str(parsed(peer)) if peer else None)


def test_addresses_of_both_kinds_are_held_against_networks_of_both() -> None:
    assert lies_in(parsed("::ffff:10.2.3.4"), ("10.0.0.0/8",))
    assert lies_in(parsed("10.2.3.4"), ("::ffff:10.0.0.0/104",))
    assert not lies_in(parsed("2001:db8::1"), PROXY)
    assert not lies_in(None, ("0.0.0.0/0",))


def test_attempts_are_counted_under_an_address_or_a_network_of_ipv6() -> None:
    assert who("2001:db8:1:2:3::4") == "2001:db8:1:2::/64"
    assert who("::ffff:198.51.100.1") == "198.51.100.1"
    assert who(None) == "local"
