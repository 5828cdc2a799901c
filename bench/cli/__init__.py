"""The command line. Each command imports what it needs when it runs, so that `--help` answers at once."""

from __future__ import annotations

import sys

import click

from bench import __version__
from bench.cli.advise import advise
from bench.cli.curves import curves, record_curves
from bench.cli.doctor import doctor
from bench.cli.export import export
from bench.cli.fetch import fetch
from bench.cli.image import image
from bench.cli.job import job
from bench.cli.ladder import ladder
from bench.cli.leaderboard import leaderboard
from bench.cli.plan import plan
from bench.cli.regress import regress
from bench.cli.report import report
from bench.cli.run import resume, run
from bench.cli.show import probe, profiles, spaces, strategies, workloads
from bench.cli.simulate import simulate
from bench.cli.stages import stages
from bench.cli.startup import startup
from bench.cli.status import cancel, logs, status
from bench.cli.submit import submit
from bench.cli.validate import validate
from bench.cli.validation import validate_curves
from bench.errors import UserError, did_you_mean


class _Group(click.Group):
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is None and not ctx.resilient_parsing:
            raise UserError(f"There is no command '{cmd_name}'{did_you_mean(cmd_name, self.list_commands(ctx))}")
        return command

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order in which one needs them, not by name


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example: sweepmark run --strategy bohb",
)
@click.version_option(__version__, prog_name="sweepmark", message="%(prog)s %(version)s")
def cli() -> None:
    """What a hyperparameter search costs, measured: strategies run on real fine-tuning, and compared by the
    device-minutes that they need against a manual grid."""


COMMANDS = (
    run, resume, submit, status, logs, cancel, report, leaderboard, plan, simulate, advise, validate, regress, export,
    stages, ladder, startup, curves, record_curves, validate_curves, strategies, workloads, spaces, profiles, probe,
    doctor, fetch, image, job,
)  # fmt: skip
for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    """Entry point: a user's mistake is one sentence and exit status 2; Ctrl-C is 130."""
    try:
        cli.main(standalone_mode=False, prog_name="sweepmark")
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except UserError as error:
        click.echo(f"sweepmark: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone; nothing is left to say
        sys.exit(0)
