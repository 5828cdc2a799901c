"""A node's address: what is said, then the site's interface, then the host name."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from bench.cluster import address
from bench.cluster.address import interface_of, node_address
from bench.cluster.site import Site
from bench.errors import UserError

KNOWN = {
    "lo": [ip_address("127.0.0.1"), ip_address("::1")],
    "ib0": [ip_address("10.4.0.7")],
    "eth0": [ip_address("192.0.2.7"), ip_address("2001:db8::7")],
}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "interfaces", lambda: KNOWN)
    monkeypatch.setattr(socket, "gethostname", lambda: "node7")
    resolve(monkeypatch, "192.0.2.7")


def resolve(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def found(*_: object, **__: object) -> list[object]:
        if not addresses:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 0)) for one in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", found)


def test_the_variable_comes_first() -> None:
    environ = {"SWEEPMARK_NODE_ADDRESS": "127.0.1.3"}
    assert node_address(Site(interface="ib0"), environ) == "127.0.1.3"


def test_then_the_sites_interface() -> None:
    assert node_address(Site(interface="ib0"), {}) == "10.4.0.7"


def test_then_the_host_name() -> None:
    assert node_address(Site(), {}) == "192.0.2.7"


def test_a_host_name_has_its_outer_address_before_its_loopback_one(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, "127.0.1.1", "2001:db8::7", "192.0.2.7")
    assert node_address(Site(), {}) == "192.0.2.7"


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(UserError, match="SWEEPMARK_NODE_ADDRESS is 'node7', which is no address"):
        node_address(Site(), {"SWEEPMARK_NODE_ADDRESS": "node7"})


def test_an_interface_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(UserError, match=r"no interface 'ib1' .*here lo, ib0, eth0"):
        node_address(Site(interface="ib1"), {})


def test_a_host_name_without_an_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch)
    with pytest.raises(UserError, match="host name node7 has no address: name the site's network"):
        node_address(Site(), {})


def test_a_host_name_that_only_the_node_itself_reaches_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, "127.0.1.1")
    with pytest.raises(UserError, match=r"has the address 127\.0\.1\.1, which no other node reaches.*here ib0, eth0"):
        node_address(Site(), {})


def test_a_machine_without_a_network_has_its_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, "127.0.1.1")
    monkeypatch.setattr(address, "interfaces", lambda: {"lo": KNOWN["lo"]})
    assert node_address(Site(), {}) == "127.0.1.1"


def test_which_interface_has_an_address() -> None:
    assert interface_of("10.4.0.7") == "ib0"
    assert interface_of("2001:db8::7") == "eth0"
    assert interface_of("127.0.1.3") == "lo"
    assert interface_of("198.51.100.1") is None


def test_this_machines_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert "127.0.0.1" in map(str, address.interfaces()["lo"])
    assert node_address(Site(interface="lo"), {}) == "127.0.0.1"
