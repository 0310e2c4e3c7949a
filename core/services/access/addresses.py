"""The client's address: the peer of the connection, or the client that a trusted proxy reports."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
FORWARDED = ("x-forwarded-for", "forwarded", "x-real-ip")


def parsed(text: str | None) -> Address | None:
    """An address without port, zone or brackets; `::ffff:127.0.0.1` is 127.0.0.1. None for anything else."""
    bare = (text or "").strip().strip('"')
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def lies_in(address: Address | None, networks: Iterable[str]) -> bool:
    """Whether an address belongs to one of these networks or addresses."""
    if address is None:
        return False
    for text in networks:
        network = ipaddress.ip_network(text, strict=False)
        if isinstance(network, ipaddress.IPv6Network) and (mapped := network.network_address.ipv4_mapped) is not None:
            network = ipaddress.ip_network((mapped, max(network.prefixlen - 96, 0)), strict=False)
        if address.version == network.version and address in network:
            return True
    return False


def client_of(peer: str | None, forwarded_for: Sequence[str], trusted: Sequence[str]) -> str | None:
    """The caller's address: the peer's or, behind trusted proxies, the last untrusted address in X-Forwarded-For.

    Args:
        forwarded_for: values of the header X-Forwarded-For, in order; whatever a client wrote into it is to the left
            of what trusted proxies added.
        trusted: CONTINUAL_TRUSTED_PROXIES.
    """
    address = parsed(peer)
    if not lies_in(address, trusted):
        return str(address) if address is not None else peer
    for part in reversed(",".join(forwarded_for).split(",")):
        parsed_part = parsed(part)
        if parsed_part is None:
            break  # nothing to the left of it can be trusted
        address = parsed_part
        if not lies_in(parsed_part, trusted):
            break
    return str(address)


def who(client: str | None) -> str:
    """The key under which a caller's attempts are counted: the address or, for IPv6, its /64 network."""
    address = parsed(client)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address) if address is not None else client or "local"
