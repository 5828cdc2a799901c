"""`sweepmark fetch`."""

from __future__ import annotations

import sys

import click

from bench.errors import UserError


@click.command(epilog="Example: sweepmark fetch bloom560m-squad")
@click.argument("workload", required=False)
@click.option("--check", is_flag=True, help="Fetch nothing; verify offline what was fetched.")
def fetch(workload: str | None, check: bool) -> None:
    """Fill the Hugging Face hub's cache with what WORKLOAD needs, for nodes without internet.

    Run it where there is internet, such as on a login node. Each file is held against the hub's checksum; one that does
    not match is fetched again. Without WORKLOAD: all that come from the hub. Exit status 1: --check found something
    missing or changed.
    """
    from bench.cli.runner import program
    from bench.hf.fetched import faults, home, load, repositories
    from bench.progress import counter
    from bench.workload import load_workload, workload_names

    named = [load_workload(workload)] if workload is not None else [load_workload(name) for name in workload_names()]
    chosen = [one for one in named if repositories(one)]
    if not chosen:
        click.echo(f"{named[0].name} makes its model and data itself: there is nothing to fetch.")
        return
    bad: list[str] = []
    for one in chosen:
        if check:
            with counter("MiB verified") as on_done:
                found = faults(one, on_done)
            for fault in found:
                click.echo(f"{one.name}: {fault}", err=True)
            if found:
                bad.append(one.name)
                continue
        else:
            _fetch(one.name)
        manifest = load(one)
        if manifest is None:
            raise UserError(
                f"What was fetched for {one.name} cannot be listed in {home()}: set HF_HOME to another folder."
            )
        size_mib = manifest.size / 2**20
        click.echo(
            f"{one.name}: {len(manifest.files)} files, {size_mib:,.1f} MiB in {home()}, all as their checksums say"
        )
    if bad:
        commands = " and ".join(f"`{program()} fetch {name}`" for name in bad)
        click.echo(f"Fetch what is missing or changed with {commands}, on a node with internet.", err=True)
        sys.exit(1)


def _fetch(name: str) -> None:
    from huggingface_hub.utils.tqdm import disable_progress_bars

    from bench.hf.fetch import fetch as fill
    from bench.progress import counter
    from bench.workload import load_workload

    if not sys.stderr.isatty():
        disable_progress_bars()
    with counter("MiB verified") as on_done:
        fill(load_workload(name), lambda said: click.echo(said, err=True), on_done)
