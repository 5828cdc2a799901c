"""Where the processes of a trial meet, and what each must know to come.

Rank 0, or the launcher that started it, serves a store on a port that the server itself was bound to; the others are
told where. Importing this module loads no torch.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

TOLD = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""The variables by which torch's libraries know that they are not alone."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """One process's place among `size` that train a trial, and where they meet. `local_rank`: its device's number."""

    rank: int
    size: int
    host: str
    port: int
    local_rank: int = 0

    @classmethod
    def from_environment(cls) -> Place:
        """The place that torchrun gave this process."""
        rank, size, local_rank, _, host, port = (os.environ[name] for name in TOLD)
        return cls(rank=int(rank), size=int(size), host=host, port=int(port), local_rank=int(local_rank))


class Meeting:
    """Serves the store where `size` ranks meet, on a free port of this machine's address `host`, until it is closed.

    The server takes over a socket that is bound already: no port is looked for, let go and used again, and nothing
    listens on other addresses.
    """

    def __init__(self, size: int, host: str = "127.0.0.1") -> None:
        from torch.distributed import TCPStore

        bound = socket.create_server((host, 0))
        self._host, self._size, self._port = host, size, bound.getsockname()[1]
        self._server: Any = TCPStore(
            host, self._port, is_master=True, wait_for_workers=False, master_listen_fd=bound.detach()
        )

    def place(self, rank: int) -> Place:
        """The place of one rank, to be told to its process. Its device is the first that it sees."""
        return Place(rank=rank, size=self._size, host=self._host, port=self._port)

    def close(self) -> None:
        self._server = None


def interface(host: str, port: int) -> str | None:
    """The network interface by which this machine reaches `host`; None where it cannot be told."""
    import psutil

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, port))  # a datagram socket: nothing is sent
        except OSError:
            return None
        address = probe.getsockname()[0]
    named = {entry.address: name for name, entries in psutil.net_if_addrs().items() for entry in entries}
    loopback = named.get("127.0.0.1") if address.startswith("127.") else None
    return named.get(address, loopback)
