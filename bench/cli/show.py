"""`sweepmark strategies`, `workloads`, `profiles` and `probe`: what there is, as tables or JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bench.tables import Table

PROSE = ("what it does", "what it is", "meaning", "value")
NAME = click.argument("name", required=False)
JSON = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.command(epilog="Example: sweepmark strategies bohb")
@NAME
@JSON
def strategies(name: str | None, as_json: bool) -> None:
    """List the strategies, or show NAME's settings with their defaults."""
    from bench.strategy import load_strategy, strategy_names

    chosen = [load_strategy(n) for n in ([name] if name else strategy_names())]
    rows: list[dict[str, Any]] = [
        {
            "name": s.name,
            "summary": s.summary,
            "engine": "serial" if s.serial else "ray",
            "pauses": s.pauses,
            "copies": s.copies,
            "several_metrics": s.several,
            "settings": {key: asdict(setting) for key, setting in s.settings.items()},
        }
        for s in chosen
    ]
    if name is None:
        listing = [
            (
                s.name,
                "serial" if s.serial else "ray",
                "pauses" if s.pauses else "copies" if s.copies else "",
                "two" if s.several else "one",
                s.summary,
            )
            for s in chosen
        ]
        headers = ("strategy", "engine", "trials may be", "metrics", "what it does")
        _show(rows, _table("Strategies", headers, listing), as_json)
        return
    settings = [(key, s["default"], s["meaning"]) for key, s in rows[0]["settings"].items()]
    title = f"{rows[0]['name']}: {rows[0]['summary']}"
    notes = ["Change one with --set NAME=VALUE."] if settings else ["It has no settings."]
    _show(rows[0], _table(title, ("setting", "default", "meaning"), settings, notes), as_json)


@click.command(epilog="Example: sweepmark workloads tiny-squad")
@NAME
@JSON
def workloads(name: str | None, as_json: bool) -> None:
    """List the workloads and recipes, or show what NAME fixes."""
    from bench.workload import load_recipe, load_workload, recipe_names, workload_names

    if name is not None:
        facts = asdict(load_workload(name))
        _show(facts, _facts(f"Workload {name}", facts), as_json)
        return
    everything = {
        "workloads": [asdict(load_workload(n)) for n in workload_names()],
        "recipes": [asdict(load_recipe(n)) for n in recipe_names()],
    }
    rows = [(kind.rstrip("s"), each["name"], each["summary"]) for kind, group in everything.items() for each in group]
    _show(everything, _table("Workloads and recipes", ("kind", "name", "what it is"), rows), as_json)


@click.command(epilog="Example: sweepmark spaces lora")
@click.argument("name", required=False)
@click.option("--workload", metavar="NAME", default="tiny-squad", show_default=True, help="Whose space it is put upon.")
@JSON
def spaces(name: str | None, workload: str, as_json: bool) -> None:
    """List the search spaces that `run --space` takes, or show what NAME (or a .toml file) makes of a workload's."""
    from bench.hyperparameters import find, shown
    from bench.space import Choice, LogUniform
    from bench.spacefile import applied, load_space, space_names
    from bench.workload import load_workload

    if name is None:
        known = [load_space(n) for n in space_names()]
        rows = [(s.name, ", ".join(s.space), s.summary) for s in known]
        notes = ["They are put upon the workload's own space, which `sweepmark workloads NAME` shows."]
        listing = _table("Search spaces", ("space", "hyperparameters", "what it is"), rows, notes)
        _show([asdict(s) for s in known], listing, as_json)
        return
    made = applied(name, load_workload(workload).search_space)
    found: list[tuple[str, str, str, str]] = []
    for d in made.dimensions:
        if isinstance(d, Choice):
            values = ", ".join(shown(v, "g") for v in d.values)
        else:
            values = f"{d.lower:g} to {d.upper:g}" + (", logarithmically" if isinstance(d, LogUniform) else "")
        found.append((d.name, values, ", ".join(shown(v, "g") for v in d.grid), find(d.name).meaning))
    headers = ("hyperparameter", "values", "grid", "meaning")
    title = f"Search space {load_space(name).name} on {workload}"
    _show(made.to_dict(), _table(title, headers, found), as_json)


@click.command(epilog="Example: sweepmark profiles v100")
@NAME
@JSON
def profiles(name: str | None, as_json: bool) -> None:
    """List the hardware profiles, or show NAME's facts."""
    from bench.profile import load_profile, load_profiles

    if name is not None:
        facts = asdict(load_profile(name))
        _show(facts, _facts(f"Profile {name}", facts), as_json)
        return
    known = load_profiles()
    rows = [
        (p.name, p.unit, p.precision, f"{p.node.devices} + {p.node.cpus} CPUs", p.devices_per_trial, p.summary)
        for p in known
    ]
    headers = ("profile", "costs in", "precision", "node", "a trial", "what it is")
    _show([asdict(p) for p in known], _table("Hardware profiles", headers, rows), as_json)


@click.command(epilog="Example: sweepmark probe --json")
@click.option("--deep", is_flag=True, help="Also load torch and say what it was built for (seconds).")
@JSON
def probe(deep: bool, as_json: bool) -> None:
    """Read this machine, and say which hardware profile it is."""
    from bench.probe import probe_machine
    from bench.profile import load_profiles

    found = probe_machine(deep=deep)
    profile, reason = found.identify(load_profiles())
    facts = found.to_dict() | {"profile": profile.name if profile else None, "reason": reason}
    _show(facts, _facts("This machine", facts), as_json)


def _facts(title: str, facts: dict[str, Any]) -> Table:
    rows: list[tuple[str, str]] = []

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else key, inner)
        elif isinstance(value, (list, tuple)) and any(isinstance(v, dict) for v in value):
            for number, inner in enumerate(value):
                walk(f"{prefix}[{number}]", inner)
        elif value is not None:
            rows.append((prefix, ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)))

    walk("", facts)
    return _table(title, ("fact", "value"), rows)


def _table(title: str, headers: tuple[str, ...], rows: list[Any], notes: list[str] | None = None) -> Table:
    from bench.tables import Column, Table

    columns = tuple(Column(key=h.replace(" ", "_"), header=h, align="left", wraps=h in PROSE) for h in headers)
    return Table(name="listing", title=title, columns=columns, rows=tuple(map(tuple, rows)), notes=tuple(notes or ()))


def _show(data: Any, table: Table, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(data, indent=2))
        return
    from rich.console import Console

    table.to_terminal(Console(file=sys.stdout))
