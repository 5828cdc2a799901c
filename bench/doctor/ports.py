"""Whether nodes can listen on their own address, and reach each other there."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from bench.cluster.address import interface_of
from bench.doctor.line import Line, failed, passed

TIMEOUT_S = 5.0
REMEDY = "open the nodes' ports to each other, or name another network as the site file's 'interface'"


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Where a node answers, with a word that nobody else would say."""

    address: str
    port: int
    word: str


@contextmanager
def listening(address: str) -> Iterator[Listener]:
    """Answers on a port of the system's choice, until the end. Raises OSError where it cannot be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as server:
        listener = Listener(address=address, port=server.getsockname()[1], word=secrets.token_hex(8))
        thread = threading.Thread(target=_answer, args=(server, listener.word), daemon=True)
        thread.start()
        try:
            yield listener
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=TIMEOUT_S)


def _answer(server: socket.socket, word: str) -> None:
    while True:
        try:
            peer, _ = server.accept()
            with peer:
                peer.sendall(word.encode())
        except OSError:  # the listener was closed, or a peer left early
            if server.fileno() < 0 or not _open(server):
                return


def _open(server: socket.socket) -> bool:
    try:
        return bool(server.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


def trouble(listener: Listener) -> str:
    """Why the listener cannot be heard from here; empty where it can."""
    try:
        with socket.create_connection((listener.address, listener.port), timeout=TIMEOUT_S) as peer:
            peer.settimeout(TIMEOUT_S)
            heard = b""
            while chunk := peer.recv(64):
                heard += chunk
    except TimeoutError:
        return f"no answer within {TIMEOUT_S:.0f} s"
    except OSError as error:
        return _reason(error)
    return "" if heard.decode(errors="replace") == listener.word else "something else answers there"


def own(address: str) -> Line:
    """This node listens on its address and hears itself there."""
    check = "ports"
    try:
        with listening(address) as listener:
            problem = trouble(listener)
    except OSError as error:
        return failed(
            check, f"cannot listen on {address} ({_reason(error)})", "check the address, and SWEEPMARK_NODE_ADDRESS"
        )
    if problem:
        return failed(check, f"{address} does not reach itself ({problem})", REMEDY)
    return passed(
        check, f"listens and answers on {address} ({interface_of(address) or 'no interface of that address'})"
    )


def others(peers: Mapping[str, Listener]) -> Line:
    """All other nodes' listeners, by node."""
    check = "ports: nodes"
    problems = {node: problem for node, peer in peers.items() if (problem := trouble(peer))}
    if problems:
        said = "; ".join(f"{node} at {peers[node].address}: {problem}" for node, problem in problems.items())
        return failed(check, said, REMEDY)
    return passed(check, f"{', '.join(peers)} answered")


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
