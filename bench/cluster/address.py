"""The address under which a node's processes are found by those of other nodes."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator, Mapping

from bench.cluster.site import Site
from bench.errors import UserError

VARIABLE = "SWEEPMARK_NODE_ADDRESS"
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def node_address(site: Site, environ: Mapping[str, str] = os.environ) -> str:
    """This node's: what SWEEPMARK_NODE_ADDRESS says, else that of the site's `interface`, else that of the host name.

    Raises UserError where none of them gives one that other nodes could reach.
    """
    if said := environ.get(VARIABLE):
        return _said(said)
    known = interfaces()
    if site.interface is not None:
        return _of_interface(site.interface, known)
    return _of_host_name(known)


def interface_of(address: str) -> str | None:
    """The network interface that has the address; None where none has."""
    wanted = ipaddress.ip_address(address)
    if wanted.is_loopback:
        return next((name for name, found in interfaces().items() if any(a.is_loopback for a in found)), None)
    return next((name for name, found in interfaces().items() if wanted in found), None)


def interfaces() -> dict[str, list[Address]]:
    """Name to addresses, IPv4 first; those that are down, or lead nowhere else, left out."""
    import psutil

    up = psutil.net_if_stats()
    found: dict[str, list[Address]] = {}
    for name, addresses in psutil.net_if_addrs().items():
        usable = sorted(_usable(addresses), key=lambda address: address.version)
        if usable and name in up and up[name].isup:
            found[name] = usable
    return found


def _usable(addresses: list[object]) -> Iterator[Address]:
    for entry in addresses:
        if getattr(entry, "family", None) in (socket.AF_INET, socket.AF_INET6):
            address = ipaddress.ip_address(str(getattr(entry, "address", "")).partition("%")[0])
            if not address.is_link_local:
                yield address


def _said(said: str) -> str:
    try:
        return str(ipaddress.ip_address(said.strip()))
    except ValueError:
        raise UserError(f"{VARIABLE} is {said!r}, which is no address: set it to one such as 10.1.2.3.") from None


def _of_interface(name: str, known: Mapping[str, list[Address]]) -> str:
    if name not in known:
        raise UserError(
            f"This node has no interface '{name}' that is up and has an address: set the site file's 'interface' to "
            f"one that all nodes have (here {', '.join(known) or 'none'})."
        )
    return str(known[name][0])


def _of_host_name(known: Mapping[str, list[Address]]) -> str:
    host = socket.gethostname()
    others = [name for name, found in known.items() if not found[0].is_loopback]
    remedy = (
        f"name the site's network in its file as 'interface' (here {', '.join(others) or 'none'}), or set {VARIABLE}."
    )
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        raise UserError(f"The host name {host} has no address: {remedy}") from None
    found = sorted((ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in entries), key=_preference)
    if found[0].is_loopback and others:
        raise UserError(f"The host name {host} has the address {found[0]}, which no other node reaches: {remedy}")
    return str(found[0])


def _preference(address: Address) -> tuple[bool, int]:
    return address.is_loopback, address.version
