"""`sweepmark image`: images built, verified and listed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.errors import UserError

if TYPE_CHECKING:
    from bench.container.verify import Check
    from bench.report.model import Report

EXIT_FINDINGS = 1
BILL = ".cdx.json"


@click.group(epilog="Example: sweepmark image build --profile v100")
def image() -> None:
    """Build the images that runs may be done in, and check what one holds: containers/README.md."""


@image.command("build", epilog="Example: sweepmark image build --profile v100")
@click.option("--profile", "profile_name", metavar="NAME", help="Hardware profile. Default: this machine's own.")
@click.option("--to", type=click.Path(path_type=Path), metavar="FILE", help="Default: containers/images/NAME.sif.")
def build_image(profile_name: str | None, to: Path | None) -> None:
    """Build the image of a profile, check it, and list its packages beside it.

    Its definition is built as it is, in a checkout. Needs Apptainer or SingularityCE, a network, some minutes, and 5 GB
    of disk for the CPU's image, some 25 for a GPU's.
    """
    from bench.container.build import build
    from bench.container.launch import IMAGES, find_runtime
    from bench.probe import chosen_profile, probe_machine
    from bench.resources import PACKAGE

    runtime = find_runtime()
    name = chosen_profile(profile_name, probe_machine()).image
    if to is None:
        IMAGES.mkdir(exist_ok=True)
    path = to or IMAGES / f"{name}.sif"
    build(runtime, name, PACKAGE.parent, path, lambda what: click.echo(what, err=True))
    _verify(runtime, path)


@image.command("verify", epilog="Example: sweepmark image verify containers/images/cpu.sif")
@click.argument("file", metavar="IMAGE", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def verify_image(file: Path, as_json: bool) -> None:
    """Compare IMAGE with its lock, its labels and this checkout, and list its packages beside it (CycloneDX).

    The exit status is 1 where something differs.
    """
    from bench.container.launch import find_runtime

    _verify(find_runtime(), file, as_json=as_json)


@image.command("lint", epilog="Example: sweepmark image lint")
def lint_definitions() -> None:
    """Check the definition files in containers/, and that every pin agrees with its lock.

    The exit status is 1 where something is found.
    """
    from bench.container.definition import lint
    from bench.resources import PACKAGE

    root = PACKAGE.parent
    if not (root / "containers").is_dir():
        raise UserError("There is no folder containers here: definitions are checked in a checkout of the project.")
    findings = lint(root / "containers", root / "requirements.lock")
    for finding in findings:
        click.echo(finding)
    click.echo(f"Findings: {len(findings)}." if findings else "The definitions and their locks agree.")
    if findings:
        sys.exit(EXIT_FINDINGS)


def _verify(runtime: str, path: Path, *, as_json: bool = False) -> None:
    from bench.cli.output import show_report
    from bench.container.bom import bill_of_materials
    from bench.container.contents import read_contents
    from bench.container.sif import Image
    from bench.container.verify import verify
    from bench.progress import counter
    from bench.resources import PACKAGE

    opened = Image.open(path)
    contents = read_contents(runtime, path)
    with counter("MiB of the image read") as on_done:
        digest = opened.digest(on_done)
    checks = verify(opened, contents, PACKAGE.parent)
    bill = path.with_name(path.name + BILL)
    try:
        bill.write_text(bill_of_materials(opened, contents), encoding="utf-8")
    except OSError as error:
        raise UserError(f"Cannot write {bill} ({error.strerror}): move the image to a folder of your own.") from None
    show_report(_report(path.name, digest, checks), as_json=as_json)
    click.echo(f"{len(contents.python) + len(contents.debian)} packages with their licences: {bill}", err=True)
    failed = sum(not check.passed for check in checks)
    if failed:
        click.echo(f"{failed} of {len(checks)} checks fail: build it anew, or use its own checkout.", err=True)
        sys.exit(EXIT_FINDINGS)


def _report(name: str, digest: str, checks: Sequence[Check]) -> Report:
    from bench.report.model import Report
    from bench.tables import Column, Table

    table = Table(
        name="checks",
        title="Checks",
        columns=(
            Column(key="check", header="check", align="left"),
            Column(key="verdict", header="verdict", align="left"),
            Column(key="said", header="what was found", align="left", wraps=True),
        ),
        rows=tuple((check.name, "passes" if check.passed else "FAILS", check.said) for check in checks),
        identity=1,
    )
    return Report(
        title=f"Image {name}",
        tables=(table,),
        warnings=(),
        comparison=(),
        csv_table="checks",
        head=(f"Digest: {digest}",),
        facts={"digest": digest},
    )
