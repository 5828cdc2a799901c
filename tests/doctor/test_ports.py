"""Ports that are open, closed, silent or somebody else's."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from bench.doctor import ports


def test_this_machine_hears_itself() -> None:
    line = ports.own("127.0.0.1")
    assert line.status == "pass"
    assert "lo" in line.found


def test_many_ask_one_listener() -> None:
    with ports.listening("127.0.0.1") as listener:
        assert [ports.trouble(listener) for _ in range(20)] == [""] * 20


def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    line = ports.own("192.0.2.1")
    assert line.status == "fail"
    assert "cannot listen" in line.found


def test_a_blocked_port_fails_and_names_the_node() -> None:
    with ports.listening("127.0.0.1") as listener:
        pass
    with ports.listening("127.0.0.1") as open_one:
        line = ports.others({"node2": listener, "node3": open_one})
    assert line.status == "fail"
    assert "node2 at 127.0.0.1: Connection refused" in line.found
    assert "node3" not in line.found


def test_a_silent_port_fails_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = ports.Listener(address="127.0.0.1", port=server.getsockname()[1], word="x")
        assert "no answer" in ports.trouble(silent)


def test_another_program_on_the_port_is_found_out() -> None:
    with ports.listening("127.0.0.1") as listener:
        assert "something else" in ports.trouble(replace(listener, word="expected"))
        assert ports.others({"node1": listener}).status == "pass"
