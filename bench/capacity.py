"""How many trials a cluster runs at once: the workshop's capacity inequalities, in its symbols.

A node runs `Tnode` trials at once only if both hold:

    Csys + Tnode * W * Cw <= Cnode      (CPUs)
    Tnode * W * Gw <= Gnode             (devices)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.profile import Node
from bench.tables import Cell, Column, Table


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What one trial asks for: `workers` processes (W) with `worker_cpus` CPUs (Cw) and `worker_devices` devices (Gw)
    each, all on one node."""

    workers: int = 1
    worker_cpus: int
    worker_devices: int = 1

    def __post_init__(self) -> None:
        for name in ("workers", "worker_cpus", "worker_devices"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; a trial wants 1 or more")

    @property
    def cpus(self) -> int:
        """W * Cw."""
        return self.workers * self.worker_cpus

    @property
    def devices(self) -> int:
        """W * Gw."""
        return self.workers * self.worker_devices


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What `trials` trials find on `nodes` nodes. `node`: its devices (Gnode), its CPUs (Cnode) and those that the
    system keeps (Csys)."""

    node: Node
    nodes: int
    demand: Demand
    trials: int

    def __post_init__(self) -> None:
        for name in ("nodes", "trials"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")

    @property
    def free_cpus(self) -> int:
        """Cnode - Csys, of one node."""
        return max(0, self.node.cpus - self.node.system_cpus)

    @property
    def node_trials_by_cpus(self) -> int:
        """The largest Tnode for which the inequality of the CPUs holds."""
        return self.free_cpus // self.demand.cpus

    @property
    def node_trials_by_devices(self) -> int:
        """The largest Tnode for which the inequality of the devices holds."""
        return self.node.devices // self.demand.devices

    @property
    def node_trials(self) -> int:
        """Tnode: trials that one node runs at once."""
        return min(self.node_trials_by_cpus, self.node_trials_by_devices)

    @property
    def slots(self) -> int:
        """Trials that all nodes could run at once."""
        return self.nodes * self.node_trials

    @property
    def running(self) -> int:
        """Trials that start at once."""
        return min(self.trials, self.slots)

    @property
    def pending(self) -> int:
        """Trials that wait for one of those to end."""
        return self.trials - self.running

    @property
    def workers(self) -> int:
        """Worker processes of all trials that run at once."""
        return self.running * self.demand.workers

    @property
    def nodes_for_all(self) -> int | None:
        """Nodes on which all trials would run at once; None where a trial fits on no node."""
        return math.ceil(self.trials / self.node_trials) if self.node_trials else None

    def cpus_hold(self, node_trials: int) -> bool:
        """Csys + Tnode * W * Cw <= Cnode."""
        return self.node.system_cpus + node_trials * self.demand.cpus <= self.node.cpus

    def devices_hold(self, node_trials: int) -> bool:
        """Tnode * W * Gw <= Gnode."""
        return node_trials * self.demand.devices <= self.node.devices

    def cpu_check(self, node_trials: int) -> str:
        """The inequality of the CPUs in numbers."""
        need = self.node.system_cpus + node_trials * self.demand.cpus
        product = f"{node_trials} * {self.demand.workers} * {self.demand.worker_cpus}"
        return f"{self.node.system_cpus} + {product} = {need} {_sign(self.cpus_hold(node_trials))} {self.node.cpus}"

    def device_check(self, node_trials: int) -> str:
        """The inequality of the devices in numbers."""
        need = node_trials * self.demand.devices
        product = f"{node_trials} * {self.demand.workers} * {self.demand.worker_devices}"
        return f"{product} = {need} {_sign(self.devices_hold(node_trials))} {self.node.devices}"

    def explain(self) -> str:
        """What runs, what waits, why, and what would help, in one sentence."""
        wants = (
            f"A trial wants {_count(self.demand.cpus, 'CPU')} and {_count(self.demand.devices, 'device')}; a node has "
            f"{_count(self.node.devices, 'device')} and {_count(self.node.cpus, 'CPU')} of which "
            f"{self.node.system_cpus} are the system's"
        )
        where = "" if self.nodes == 1 else f" on {self.nodes} nodes"
        if not self.node_trials:
            return f"{wants}: none can ever start, all {self.trials} wait; {self._remedy()}."
        if not self.pending:
            return f"{wants}: all {self.trials} run at once{where}."
        return f"{wants}: {self.running} run at once{where}, {self.pending} wait; {self._remedy()}."

    def _remedy(self) -> str:
        """What is short, and what to change."""
        wanted = min(self.node_trials_by_devices, math.ceil(self.trials / self.nodes))
        if self.node_trials_by_cpus < wanted:
            fewer = self.free_cpus // (wanted * self.demand.workers)
            if fewer:
                each = "trial" if self.demand.workers == 1 else "worker"
                return f"CPUs are what is short: ask for {fewer} a {each}"
            return f"CPUs are what is short: hold nodes with more of them{self._or_more_nodes()}"
        if not self.node_trials_by_devices:
            return "devices are what is short: ask for fewer a trial"
        return f"devices are what is short: hold {self.nodes_for_all} nodes, or let them take turns"

    def _or_more_nodes(self) -> str:
        return "" if self.nodes_for_all is None else f", or {self.nodes_for_all} of these"

    def table(self) -> Table:
        """The symbols, what they stand for and their values; the two inequalities; what follows."""
        full = max(1, self.node_trials)
        rows: list[tuple[Cell, ...]] = [
            ("CPUs of a node", "Cnode", str(self.node.cpus)),
            ("of which the system keeps", "Csys", str(self.node.system_cpus)),
            ("devices of a node", "Gnode", str(self.node.devices)),
            ("workers of a trial", "W", str(self.demand.workers)),
            ("CPUs of a worker", "Cw", str(self.demand.worker_cpus)),
            ("devices of a worker", "Gw", str(self.demand.worker_devices)),
            ("trials that fit on a node by CPUs", "", str(self.node_trials_by_cpus)),
            ("trials that fit on a node by devices", "", str(self.node_trials_by_devices)),
            ("trials at once on a node", "Tnode", str(self.node_trials)),
            ("Csys + Tnode * W * Cw <= Cnode", "", self.cpu_check(full)),
            ("Tnode * W * Gw <= Gnode", "", self.device_check(full)),
            (f"trials at once on {_count(self.nodes, 'node')}", "", str(self.slots)),
            ("workers needed for those that start", "", str(self.workers)),
            (f"pending, of {_count(self.trials, 'trial')}", "", str(self.pending)),
        ]
        return Table(
            name="capacity",
            title="What fits on the cluster",
            columns=(
                Column(key="quantity", header="quantity", align="left"),
                Column(key="symbol", header="symbol", align="left"),
                Column(key="value", header="value"),
            ),
            rows=tuple(rows),
            notes=(self.explain(),),
        )


def _sign(holds: bool) -> str:
    return "<=" if holds else ">"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
