"""A simulated cluster: nodes with slots, workers that hold one each, requests served first in, first out."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bench.engines.virtual.agenda import Action, Agenda


@dataclass(slots=True, eq=False)
class Worker:
    """A process that trains one trial at a time. `slot`: where it runs (None: waiting for a place, or gone). `fresh`:
    it has trained nothing yet, so its first trial pays for its start. `lost`: called when its node goes. `job`: the
    trial that it works for. `tasks`: handles of what it is about to report. `session`: see `work.Work`."""

    lost: Callable[[Worker], None]
    slot: int | None = None
    started: bool = False
    fresh: bool = True
    job: Any = None
    tasks: set[int] = field(default_factory=set)
    session: Any = None
    on_start: Action | None = field(default=None, repr=False)


class Cluster:
    """`slots_per_node`: trials that a node holds at once. Slot `k` is on node `k // slots_per_node`."""

    def __init__(self, agenda: Agenda, *, nodes: int, slots_per_node: int) -> None:
        self._agenda = agenda
        self._per_node = slots_per_node
        self._free = list(range(nodes * slots_per_node))
        self._waiting: deque[Worker] = deque()
        self._workers: dict[int, Worker] = {}
        self._gone: set[int] = set()

    @property
    def waiting(self) -> int:
        """Requests that no slot has been found for."""
        return len(self._waiting)

    def request(self, on_start: Action, lost: Callable[[Worker], None]) -> Worker:
        """Ask for a worker; `on_start` is called at the instant at which it has a slot."""
        worker = Worker(lost=lost, on_start=on_start)
        self._waiting.append(worker)
        return worker

    def release(self, worker: Worker) -> None:
        """End a worker, or take back the request for one."""
        self.clear_tasks(worker)
        if worker.slot is None:
            if worker in self._waiting:
                self._waiting.remove(worker)
            return
        slot, worker.slot = worker.slot, None
        del self._workers[slot]
        if slot // self._per_node not in self._gone:
            heapq.heappush(self._free, slot)

    def place(self) -> None:
        """Give free slots to those who wait."""
        while self._waiting and self._free:
            worker = self._waiting.popleft()
            worker.slot = heapq.heappop(self._free)
            self._workers[worker.slot] = worker
            self.do(worker, 0.0, partial(self._start, worker))

    def do(self, worker: Worker, delay_s: float, action: Action) -> None:
        """Have a worker do something that takes so long, then call `action`, unless it is ended before."""

        def done() -> None:
            worker.tasks.discard(handle)
            action()

        handle = self._agenda.after(delay_s, done)
        worker.tasks.add(handle)

    def clear_tasks(self, worker: Worker) -> None:
        """Nothing that a worker is doing will be reported."""
        for handle in worker.tasks:
            self._agenda.cancel(handle)
        worker.tasks.clear()

    def is_gone(self, node: int) -> bool:
        return node in self._gone

    def lose_node(self, node: int) -> None:
        """A node goes: its slots with it, and every worker there is told."""
        self._gone.add(node)
        self._free = [slot for slot in self._free if slot // self._per_node != node]
        heapq.heapify(self._free)
        for slot, worker in sorted(self._workers.items()):
            if slot // self._per_node == node:
                worker.lost(worker)

    def return_node(self, node: int) -> None:
        """The node is back, empty."""
        self._gone.discard(node)
        for slot in range(node * self._per_node, (node + 1) * self._per_node):
            heapq.heappush(self._free, slot)

    @staticmethod
    def _start(worker: Worker) -> None:
        worker.started = True
        assert worker.on_start is not None
        worker.on_start()
