"""What a compute node does in a submitted check: its own checks, then those between nodes, and a report."""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from bench.cluster.address import interface_of, node_address
from bench.cluster.meeting import poll
from bench.doctor import clock, exchange, filesystem, ports
from bench.doctor.gathering import Gathering, Plan, Present, Report, missing
from bench.doctor.here import Machine, checks, look
from bench.doctor.line import Check, Line, failed, make, passed, warned
from bench.errors import UserError
from bench.profile import load_profile
from bench.workload import load_workload

PLAN_S = 30.0
LEAVE_S = 120.0
"""How long a node stays for others that still talk to it."""


def take_part(folder: Path, environ: Mapping[str, str] = os.environ) -> Report:
    """Everything, and the report written. Raises UserError where the folder tells nothing, or this is no task of an
    array."""
    began_s = time.time()
    gathering = Gathering(folder)
    plan = poll(gathering.plan, deadline_s=PLAN_S)
    if plan is None:
        raise UserError(f"There is no plan in {folder} as seen from this node: name results on a shared file system.")
    task = environ.get("SLURM_ARRAY_TASK_ID", "")
    if not task.isdecimal():
        raise UserError("This is a task of `sweepmark doctor --submit`, and none runs here: use that command.")
    probe, problem = look()
    machine = Machine(
        where="compute",
        profile=load_profile(plan.profile),
        workload=load_workload(plan.workload),
        site=plan.site,
        results=plan.results,
        probe=probe,
        torch_problem=problem,
    )
    here = Present(
        task=int(task),
        node=environ.get("SLURMD_NODENAME") or socket.gethostname().partition(".")[0],
        began_s=began_s,
        backend=exchange.backend_of(machine.profile, machine.probe),
    )
    lines = _all(gathering, plan, machine, here)
    report = Report(
        task=here.task,
        node=here.node,
        began_s=began_s,
        reported_s=time.time(),
        by_files_s=clock.ahead_of_files(folder),
        lines=tuple(replace(line, node=here.node) for line in lines),
    )
    gathering.write_report(report)
    return report


def _all(gathering: Gathering, plan: Plan, machine: Machine, here: Present) -> list[Line]:
    with ExitStack() as stack:
        try:
            listener = stack.enter_context(ports.listening(node_address(machine.site)))
        except (UserError, OSError):  # which the check of this node's own port tells
            listener = None
        here = replace(here, listener=listener)
        if here.task == 1:
            held = stack.enter_context(gathering.lock.open("a"))
            with suppress(OSError):  # which the others tell
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        gathering.come(here)
        lines = make(Check(name="shared folder", lines=lambda: [shared(gathering, plan)]))
        for check in checks(machine):
            lines += make(check)
        if plan.nodes > 1:
            lines += make(Check(name="nodes", lines=lambda: _between(gathering, plan, machine, here)))
            gathering.leave(here.task)
            poll(lambda: gathering.all_left(plan.nodes) or None, deadline_s=LEAVE_S)
        return lines


def shared(gathering: Gathering, plan: Plan) -> Line:
    """A file of the login node, as it is seen here."""
    check = "shared folder"
    remedy = "name results on a file system that login and compute nodes share"
    try:
        found = hashlib.sha256(gathering.shared.read_bytes()).hexdigest()
    except OSError as error:
        return failed(check, f"{gathering.shared} cannot be read ({error.strerror})", remedy)
    if found != plan.sha256:
        return failed(check, f"{gathering.shared} has another content than on the login node", remedy)
    return passed(check, "what the login node wrote is seen here")


def _between(gathering: Gathering, plan: Plan, machine: Machine, here: Present) -> Iterator[Line]:
    def all_here() -> list[Present] | None:
        come = gathering.everybody(plan.nodes)
        return come if len(come) == plan.nodes else None

    come = poll(all_here, deadline_s=plan.meet_s)
    if come is None:
        absent = ", ".join(map(str, missing(plan.nodes, gathering.everybody(plan.nodes))))
        yield failed(
            "nodes",
            f"task {absent} of {plan.nodes} did not come within {plan.meet_s:.0f} s",
            "see with `squeue --me` why it waits, choose fewer --nodes, or try when nodes are free",
        )
        return
    names = [each.node for each in come]
    if len(set(names)) < len(names) and here.task == 1:
        yield warned(
            "nodes", f"tasks ran on {', '.join(names)}", "ask for whole nodes, so that they are different ones"
        )
    peers = {each.node: each.listener for each in come if each.task != here.task and each.listener is not None}
    steps: list[Check] = [
        Check(name="all-reduce: nodes", lines=lambda: _exchange(gathering, plan, machine, here, come))
    ]
    if peers:
        steps.insert(0, Check(name="ports: nodes", lines=lambda: [ports.others(peers)]))
    if here.task != 1:
        steps.insert(0, Check(name="locks: nodes", lines=lambda: [_locks(gathering, names[0])]))
    for step in steps:
        # One that breaks must not keep this node from what the others wait for.
        yield from make(step)


def _locks(gathering: Gathering, holder: str) -> Line:
    """The first node holds a lock all the while."""
    check = "locks: nodes"
    try:
        if not filesystem.take(gathering.lock):
            return passed(check, f"a lock that {holder} holds is seen here")
        found = f"a lock that {holder} holds is not seen here"
    except OSError as error:
        found = f"flock is refused ({error.strerror})"
    return failed(check, found, filesystem.LOCKS)


def _exchange(
    gathering: Gathering, plan: Plan, machine: Machine, here: Present, come: Sequence[Present]
) -> Sequence[Line]:
    check = "all-reduce: nodes"
    backend = "nccl" if all(each.backend == "nccl" for each in come) else "gloo"
    address = node_address(machine.site)
    part = exchange.part(
        gathering.exchange, here.task - 1, plan.nodes, backend, address, machine.site, exchange.DEADLINE_S,
        device="cuda:0" if backend == "nccl" else "cpu",
    )  # fmt: skip
    outcomes = exchange.run([part], exchange.DEADLINE_S)
    over = f" of {plan.nodes} nodes over {part['interface'] or interface_of(address) or 'any interface'}"
    lines = [exchange.told(check, outcomes, plan.nodes, backend, over, first=here.task - 1)]
    if outcomes[0].offsets_s:
        lines.append(clock.skew("clock: nodes", {e.node: s for e, s in zip(come, outcomes[0].offsets_s, strict=True)}))
    return lines
