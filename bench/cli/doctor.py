"""`sweepmark doctor`."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bench.cli.run import RESULTS
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.doctor.here import Machine
    from bench.doctor.line import Line, Status

COLOURS: dict[Status, str] = {"pass": "green", "warn": "yellow", "fail": "red"}


@click.command(epilog="Example: sweepmark doctor --profile v100 --submit --nodes 2")
@click.option("--profile", metavar="NAME", help="Hardware profile. Default: this machine's own.")
@click.option("--workload", default="tiny-squad", show_default=True, metavar="NAME", help="See `sweepmark workloads`.")
@click.option("--site", type=click.Path(path_type=Path), help="Site file. Default: what SWEEPMARK_SITE names.")
@click.option("--results", default=RESULTS, show_default=True, type=click.Path(path_type=Path), help="Where runs go.")
@click.option("--here", type=click.Choice(("login", "compute")), help="What this node is. Default: as it looks.")
@click.option("--submit", is_flag=True, help="Also on compute nodes, through a job.")
@click.option("--nodes", type=click.IntRange(min=1), help="So many, and between them. Default: 1.")
@click.option("--wait", "wait_min", default=30.0, show_default=True, help="Minutes that SLURM has to start the job.")
@click.option("--all", "show_all", is_flag=True, help="What passed too, not warnings and failures alone.")
@click.option("--json", "as_json", is_flag=True, help="All, as JSON.")
@click.option("--rendezvous", hidden=True, type=click.Path(path_type=Path))
def doctor(
    profile: str | None,
    workload: str,
    site: Path | None,
    results: Path,
    here: Literal["login", "compute"] | None,
    submit: bool,
    nodes: int | None,
    wait_min: float,
    show_all: bool,
    as_json: bool,
    rendezvous: Path | None,
) -> None:
    """Find out what would stop a run, before a device is held for it.

    Checks this node and, with --submit, compute nodes: what is installed, devices, file systems, the hub's cache,
    ports, clocks, workers that talk to each other, and SLURM itself. Exit status 1: something failed.
    """
    before = signal.signal(signal.SIGTERM, _end)  # so that a submitted job is cancelled
    try:
        if rendezvous is not None:
            from bench.doctor.node import take_part
            from bench.doctor.summary import last_line

            click.echo(last_line(take_part(rendezvous).lines))
            return
        if nodes is not None and not submit:
            raise UserError("--nodes is how many nodes --submit checks: add --submit, or drop --nodes.")
        machine = _machine(profile, workload, site, results, here, nodes=nodes or 1, submit=submit)
        lines = _here(machine)
        if submit:
            lines += _submitted(machine, wait_min)
    finally:
        signal.signal(signal.SIGTERM, before)
    _show(machine, lines, submit=submit, show_all=show_all, as_json=as_json)


def _show(machine: Machine, lines: list[Line], *, submit: bool, show_all: bool, as_json: bool) -> None:
    """Lines that ask for something, or all of them, and how many there are; exits with the status."""
    from bench.doctor.summary import last_line, table, to_dict, worst

    status = worst(lines)
    if as_json:
        click.echo(json.dumps(to_dict(lines), indent=2))
    else:
        from rich.console import Console

        more = f" and {machine.nodes} compute {'node' if machine.nodes == 1 else 'nodes'}" if submit else ""
        title = (
            f"Pre-flight of this {machine.where} node{more}: profile {machine.profile.name}, {machine.workload.name}"
        )
        if shown := [line for line in lines if show_all or line.status != "pass"]:
            table(shown, title).to_terminal(Console(file=sys.stdout))
        else:
            click.echo(title)
        click.secho(last_line(lines), fg=COLOURS[status], bold=True)
    sys.exit(status == "fail")


def _machine(
    profile: str | None,
    workload: str,
    site: Path | None,
    results: Path,
    here: Literal["login", "compute"] | None,
    *,
    nodes: int,
    submit: bool,
) -> Machine:
    from bench.cluster.site import Site, load_site
    from bench.doctor.here import Machine, look, where
    from bench.probe import chosen_profile
    from bench.workload import load_workload

    loaded = load_site(site)
    chosen = load_workload(workload)
    probe, problem = look()
    kind = chosen_profile(profile, probe)
    return Machine(
        where=here or where(kind, probe),
        profile=kind,
        workload=chosen,
        site=loaded,
        results=results,
        probe=probe,
        torch_problem=problem,
        slurm_wanted=submit or here == "login" or loaded != Site(),
        nodes=nodes,
    )


def _here(machine: Machine) -> list[Line]:
    from bench.doctor.here import checks
    from bench.doctor.line import make
    from bench.progress import counter

    lines: list[Line] = []
    chosen = checks(machine)
    with counter("checks made") as on_done:
        for number, check in enumerate(chosen):
            on_done(number, len(chosen))
            lines += make(check)
        on_done(len(chosen), len(chosen))
    return lines


def _submitted(machine: Machine, wait_min: float) -> list[Line]:
    from bench.doctor.line import Check, make
    from bench.doctor.submitted import on_nodes

    def say(said: str) -> None:
        click.echo(said, err=True)

    return make(Check(name="job", lines=lambda: on_nodes(machine, machine.nodes, wait_s=60 * wait_min, say=say)))


def _end(signum: int, frame: object) -> None:
    sys.exit(128 + signum)
