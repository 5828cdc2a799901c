"""One process of the small all-reduce: started by `bench.doctor.exchange`, told its part in JSON, answers in JSON."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

STORE_NAME = "store.json"
POLL_S = 0.02
PINGS = 8
PATTERN = 1000
"""Numbers in the tensor stay below this, so that sums are whole numbers that 32-bit floats hold exactly."""


def main() -> None:
    print(json.dumps(exchange(json.loads(sys.argv[1]))), flush=True)


def exchange(part: dict[str, Any]) -> dict[str, Any]:
    """`right`: the sum is what it must be. `seconds`: of one round. `offsets_s`: of rank 0, how far each rank's clock
    is ahead of its own."""
    import torch
    import torch.distributed as dist

    rank, world, device = part["rank"], part["world"], torch.device(part["device"])
    timeout = timedelta(seconds=part["deadline_s"])
    store = _store(part, timeout)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world, timeout=timeout)
    try:
        offsets_s = _offsets(rank, world)
        group = None
        if part["backend"] != "gloo":
            torch.cuda.set_device(device)
            group = dist.new_group(backend=part["backend"], timeout=timeout)
        pattern = torch.arange(part["mib"] * 2**18, device=device).remainder(PATTERN).float()
        seconds = []
        right = True
        for _ in range(part["rounds"] + 1):  # the first connects
            sent = pattern * (rank + 1)
            dist.barrier()
            began_s = time.perf_counter()
            dist.all_reduce(sent, group=group)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - began_s)
            right = right and bool(torch.equal(sent, pattern * (world * (world + 1) // 2)))
        dist.barrier()
    finally:
        dist.destroy_process_group()
    nccl = ".".join(map(str, torch.cuda.nccl.version())) if part["backend"] == "nccl" else None
    return {"right": right, "seconds": min(seconds[1:]), "offsets_s": offsets_s, "nccl": nccl}


def _store(part: dict[str, Any], timeout: timedelta) -> Any:
    """Rank 0 binds a port that the system chooses, on its own address alone, and tells the others where."""
    from torch.distributed import TCPStore

    path = Path(part["folder"]) / STORE_NAME
    if part["rank"] == 0:
        family = socket.AF_INET6 if ":" in part["address"] else socket.AF_INET
        server = socket.create_server((part["address"], 0), family=family)
        port = server.getsockname()[1]
        store = TCPStore(
            part["address"], port, None, True, timeout, wait_for_workers=False, master_listen_fd=server.detach()
        )
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_text(json.dumps([part["address"], port]), encoding="utf-8")
        fresh.replace(path)
        return store
    deadline = time.monotonic() + part["deadline_s"]
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError("the first process did not say where it listens")
        time.sleep(POLL_S)
    address, port = json.loads(path.read_text(encoding="utf-8"))
    return TCPStore(address, port, None, False, timeout)


def _offsets(rank: int, world: int) -> list[float]:
    """By the quickest of a few answers: half of the way there and back is the error at most."""
    import torch
    import torch.distributed as dist

    message = torch.zeros(1, dtype=torch.float64)
    found = [0.0]
    for other in range(1, world):
        best = (float("inf"), 0.0)
        for _ in range(PINGS):
            if rank == 0:
                asked_s = time.time()
                dist.send(message, other)
                dist.recv(message, other)
                heard_s = time.time()
                best = min(best, (heard_s - asked_s, float(message) - (asked_s + heard_s) / 2))
            elif rank == other:
                dist.recv(message, 0)
                message[0] = time.time()
                dist.send(message, 0)
        found.append(best[1])
    return found if rank == 0 else []


if __name__ == "__main__":
    main()
