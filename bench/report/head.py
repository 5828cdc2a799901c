"""What a report is of: conditions that are said once, above all tables."""

from __future__ import annotations

from collections.abc import Sequence

from bench.metrics import DEFAULT, METRICS
from bench.report.entries import Entry
from bench.report.wording import data_name, kind_of_device, listed
from bench.study import Study

FEW = 6
"""So many different values of a condition are listed; of more, the number."""


def head(entries: Sequence[Entry]) -> tuple[str, ...]:
    """What simulated runs rest on; one line of conditions, and one on what a device is where it is no GPU."""
    studies = [e.study for e in entries]
    said = {
        "workload": [s.workload for s in studies],
        "recipe": [s.recipe for s in studies],
        **_where_any("space", [s.space_name for s in studies], "the workload's own"),
        **_where_any("DeepSpeed", [s.deepspeed_name for s in studies], "none"),
        "data": [data_name(s) for s in studies],
        "profile": [s.profile for s in studies],
        "seed": [str(n) for n in sorted(s.seed for s in studies)],
        "trials x epochs": [f"{s.samples}x{s.epochs}" for s in studies],
        "final epochs": [str(n) for n in sorted(s.final_epochs for s in studies)],
    }
    conditions = "; ".join(f"{name}: {_values(values)}" for name, values in said.items()) + "."
    cpu = sorted({s.profile for s in studies if kind_of_device(s.profile) == "cpu"})
    lines = (*_simulated(entries), conditions, *_optimised(studies), *_shared(studies))
    if not cpu:
        return lines
    return (
        *lines,
        f"On the profile {listed(cpu)} a device is one CPU core: device-minutes are core-minutes, no GPU-minutes.",
    )


def _where_any(name: str, values: Sequence[str | None], otherwise: str) -> dict[str, list[str]]:
    """A condition that is said where any study has it."""
    return {name: [value or otherwise for value in values]} if any(values) else {}


def _optimised(studies: Sequence[Study]) -> list[str]:
    """What is optimised, where that is not the loss alone."""
    lines = []
    for names in dict.fromkeys(s.metrics for s in studies if s.metrics != DEFAULT):
        best = METRICS[names[0]].better
        if len(names) == 1:
            lines.append(f"Optimised: {names[0]}; the winner has the {best} at full fidelity.")
        else:
            lines.append(
                f"Optimised: {' and '.join(names)} at once; of the Pareto front the trial with the {best} is the "
                "winner, and is retrained."
            )
    return lines


def _shared(studies: Sequence[Study]) -> list[str]:
    """How many trials share a device, and what that means for their costs."""
    found = sorted({s.trials_per_device for s in studies} - {1})
    shares = {2: "half", 3: "a third", 4: "a quarter"}
    return [f"{n} trials share a device: their seconds count {shares.get(n, f'1/{n}')}." for n in found]


def _simulated(entries: Sequence[Entry]) -> list[str]:
    """From which curves virtual runs come, with their limits, and how such runs compared to real ones."""
    from bench.simulate_head import Origin, cluster, load_validation, rests_on, trusted

    lines: list[str] = []
    virtual = [e for e in entries if e.study.simulation is not None]
    for curves in dict.fromkeys(e.study.simulation.curves for e in virtual if e.study.simulation):
        of_set = [e for e in virtual if e.study.simulation and e.study.simulation.curves == curves]
        try:
            origin = Origin.read(of_set[0].record.provenance.get("simulated"))
        except ValueError:
            lines.append(f"Simulated, from the curves {curves}; the record does not say how wrong they may be.")
            continue
        strategies = list(dict.fromkeys(e.study.strategy for e in of_set))
        copying = [e.study.strategy for e in of_set if any(t.history for t in e.record.trials)]
        lines += rests_on(origin, {e.study.profile for e in of_set})
        lines += cluster(e.study for e in of_set)
        profiles = {e.study.profile for e in of_set}
        lines += trusted(origin, strategies, profiles, list(dict.fromkeys(copying)), load_validation(curves))
    return lines


def _values(values: list[str]) -> str:
    different = list(dict.fromkeys(values))
    return listed(different) if len(different) <= FEW else f"{len(different)} different"
