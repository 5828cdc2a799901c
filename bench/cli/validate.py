"""`sweepmark validate`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.errors import UserError

if TYPE_CHECKING:
    from bench.submission import Verdict

EXIT_ERRORS = 1


@click.command(epilog="Example: sweepmark validate path/to/submission")
@click.argument("folder", metavar="DIR", type=click.Path())
@click.option("--accept-best", is_flag=True, help="A loss better than any known is a warning instead of an error.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def validate(folder: str, accept_best: bool, as_json: bool) -> None:
    """Check runs that somebody else made, before they are believed.

    DIR holds a folder for each run, with its events.jsonl and record.json. All numbers are computed again, simulated
    runs are simulated again, and what cannot be true is told, one line each: its level, a code that docs/submit.md
    explains, where, and what. Nothing in DIR is executed. The exit status is 0 without errors, else 1.
    """
    from bench.progress import counter
    from bench.submission import check_submission
    from bench.submission.findings import told

    if not folder:
        raise UserError("The path is empty: name the folder that holds a folder for each run.")
    with counter("runs checked") as on_done:
        verdict = check_submission(Path(folder), accept_best=accept_best, on_done=on_done)
    if as_json:
        click.echo(json.dumps(_plain(verdict), indent=1))
    else:
        for line in told(verdict.findings):
            click.echo(line)
        click.echo(_summary(verdict))
    if verdict.errors:
        sys.exit(EXIT_ERRORS)


def _plain(verdict: Verdict) -> dict[str, object]:
    return {
        "schema_version": 1,
        "runs": verdict.runs,
        "errors": verdict.errors,
        "warnings": verdict.warnings,
        "findings": [finding.to_dict() for finding in verdict.findings],
    }


def _summary(verdict: Verdict) -> str:
    from bench.report.wording import count

    parts = (count(verdict.runs, "run"), count(verdict.errors, "error"), count(verdict.warnings, "warning"))
    return f"{', '.join(parts)}: {'not accepted' if verdict.errors else 'accepted'}."
