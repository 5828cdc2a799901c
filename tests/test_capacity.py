"""The capacity inequalities, with the workshop guide's own numbers."""

from __future__ import annotations

from typing import Any

import pytest

from bench.capacity import Capacity, Demand
from bench.profile import Node

NODE = Node(devices=8, cpus=20, system_cpus=2)
GUIDE = Demand(workers=2, worker_cpus=2, worker_devices=1)


def capacity(demand: Demand = GUIDE, *, nodes: int = 1, trials: int = 4, node: Node = NODE) -> Capacity:
    return Capacity(node=node, nodes=nodes, demand=demand, trials=trials)


def test_the_guides_example_fits_exactly() -> None:
    found = capacity()
    assert found.cpu_check(4) == "2 + 4 * 2 * 2 = 18 <= 20"
    assert found.device_check(4) == "4 * 2 * 1 = 8 <= 8"
    assert (found.node_trials_by_cpus, found.node_trials_by_devices, found.node_trials) == (4, 4, 4)
    assert (found.running, found.pending, found.workers) == (4, 0, 8)
    assert found.explain().endswith("all 4 run at once.")


def test_a_fifth_trial_of_the_guides_stays_pending() -> None:
    found = capacity(trials=5)
    assert not found.cpus_hold(5)
    assert not found.devices_hold(5)
    assert found.cpu_check(5) == "2 + 5 * 2 * 2 = 22 > 20"
    assert found.pending == 1
    assert found.nodes_for_all == 2


@pytest.mark.parametrize(
    ("demand", "nodes", "trials", "slots", "sentence"),
    [
        (
            Demand(worker_cpus=4), 1, 12, 4,
            "A trial wants 4 CPUs and 1 device; a node has 8 devices and 20 CPUs of which 2 are the system's: 4 run at "
            "once, 8 wait; CPUs are what is short: ask for 2 a trial.",
        ),
        (Demand(worker_cpus=2), 1, 12, 8, "8 run at once, 4 wait; devices are what is short: hold 2 nodes"),
        (Demand(worker_cpus=2), 2, 12, 16, "all 12 run at once on 2 nodes."),
        (Demand(worker_cpus=30), 1, 2, 0, "none can ever start, all 2 wait; CPUs are what is short: ask for 9 a trial"),
        (Demand(worker_cpus=1, worker_devices=9), 1, 2, 0, "devices are what is short: ask for fewer a trial"),
        (Demand(workers=8, worker_cpus=5), 1, 2, 0, "CPUs are what is short: ask for 2 a worker"),
    ],
)  # fmt: skip
def test_what_waits_and_why(demand: Demand, nodes: int, trials: int, slots: int, sentence: str) -> None:
    found = capacity(demand, nodes=nodes, trials=trials)
    assert found.slots == slots
    assert sentence in found.explain()


def test_a_remedy_is_one() -> None:
    """What the sentence advises makes the trials fit."""
    short = capacity(Demand(worker_cpus=4), trials=8)
    assert "ask for 2 a trial" in short.explain()
    assert capacity(Demand(worker_cpus=2), trials=8).pending == 0


def test_nodes_with_too_few_cpus_for_one_a_worker() -> None:
    poor = Node(devices=8, cpus=6, system_cpus=2)
    assert (
        "hold nodes with more of them, or 2 of these" in capacity(Demand(worker_cpus=1), trials=8, node=poor).explain()
    )


def test_the_table_names_the_guides_symbols() -> None:
    table = capacity().table()
    symbols = dict(zip(table.column("symbol"), table.column("value"), strict=True))
    assert [symbols[s] for s in ("W", "Cw", "Gw", "Csys", "Cnode", "Gnode", "Tnode")] == [*"221", "2", "20", "8", "4"]


@pytest.mark.parametrize("changes", [{"workers": 0}, {"worker_cpus": 0}, {"worker_devices": 0}])
def test_a_trial_wants_something(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        Demand(**({"worker_cpus": 1} | changes))
