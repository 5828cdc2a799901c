"""Options that commands share: of what is trained, and of a simulated cluster; and the studies that these ask for."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bench.errors import UserError

if TYPE_CHECKING:
    from bench.curve_model import CurveModel
    from bench.curves import CurveSet
    from bench.profile import Profile
    from bench.strategy import Strategy
    from bench.study import NodeLoss, Study

Command = TypeVar("Command", bound=Callable[..., Any])


def numbers(kind: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """Parses an option that is a list of numbers."""

    def parse(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
        if value is None:
            return None
        try:
            return tuple(kind(part) for part in value.replace(",", " ").split())
        except ValueError:
            raise click.BadParameter(f"'{value}' is not a list of numbers, such as \"{param.metavar}\"") from None

    return parse


def finite(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Refuses an option that is infinite or no number."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number")
    return value


SPACE = (
    click.option("--space", metavar="NAME", help="What is tuned beside: see `sweepmark spaces`, or a .toml file."),
    click.option("--lr-lower", type=float, callback=finite, help="Lower bound of the learning rate."),
    click.option("--lr-upper", type=float, callback=finite, help="Upper bound of the learning rate."),
    click.option("--bs-choices", metavar="8 16", callback=numbers(int), help="Batch sizes to choose from."),
    click.option("--wd-choices", metavar="0.0 0.1", callback=numbers(float), help="Weight decays to choose from."),
)
"""Overrides of the search space."""

CLUSTER = (
    click.option("--curves", metavar="NAME", help="Recorded curves, see `sweepmark curves`. Default: the profile's."),
    click.option("--nodes", type=click.IntRange(min=1), help="Simulated nodes. Default: 1."),
    click.option("--node-cpus", type=click.IntRange(min=1), help="CPU cores of a node. Default: the profile's."),
    click.option("--trial-devices", type=click.IntRange(min=1), help="Devices a trial. Default: the curves' own."),
    click.option("--trial-cpus", type=click.IntRange(min=1), help="CPU cores a trial. Default: the profile's."),
    click.option("--speed", type=float, help="Epochs so many times as fast as recorded. Default: 1."),
    click.option("--failure-rate", type=float, help="Chance that an epoch ends with its process dead. Default: 0."),
    click.option("--lose-node", "losses", multiple=True, metavar="NODE@S[+S]", help="A node goes (and is back)."),
    click.option("--time-budget", type=float, metavar="MIN", help="Minutes after which the search ends."),
    click.option("--queue-wait", type=float, metavar="S", help="Seconds before devices are granted; not charged."),
)  # fmt: skip

NAMES = ("curves", "nodes", "node_cpus", "trial_devices", "trial_cpus", "speed", "failure_rate", "losses",
         "time_budget", "queue_wait")  # fmt: skip
LOSS = re.compile(r"(\d+)@(\d+(?:\.\d+)?)(?:\+(\d+(?:\.\d+)?))?")


STUDY = (
    click.option("--profile", metavar="NAME", help="Hardware profile. Default: the curves', else cpu."),
    click.option("--workload", metavar="NAME", help="Default: the curves'."),
    click.option("--samples", default=12, show_default=True, type=click.IntRange(min=1), help="Trials at most."),
    click.option("--epochs", type=click.IntRange(min=1), help="Epochs of a trial. Default: the workload's."),
    click.option("--devices", type=click.IntRange(min=1), help="Devices of all nodes. Default: the profile's."),
    *SPACE,
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A strategy's setting; repeatable."),
)

TRAINING = (
    click.option("--workload", metavar="NAME", help="See `sweepmark workloads`. Default: tiny-squad."),
    click.option("--recipe", metavar="NAME", help="How it is trained: qa, fast or workshop. Default: qa."),
    click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Parent of all seeds."),
    click.option(
        "--seeds", default=1, show_default=True, type=click.IntRange(min=1), help="Runs, from --seed upwards."
    ),
    click.option("--samples", default=12, show_default=True, type=click.IntRange(min=1), help="Trials at most."),
    click.option("--epochs", type=click.IntRange(min=1), help="Epochs of a trial. Default: the workload's."),
    click.option("--final-epochs", type=click.IntRange(min=0), help="Epochs of the winner's retrain; 0 for none."),
    click.option("--metric", metavar="NAME[,NAME]", help="What is optimised, see docs/metrics.md. Default: eval_loss."),
    *SPACE,
    click.option("--trials-per-device", default=1, type=click.IntRange(min=1), help="Trials that share one, up to 16."),
    click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of the strategy; repeatable."
    ),
    click.option("--model", type=click.Path(path_type=Path), help="Folder of a causal LM, instead of the workload's."),
    click.option("--dataset", type=click.Path(path_type=Path), help="File in SQuAD's JSON, instead of the workload's."),
    click.option("--dataset-name", metavar="TEXT", help="What reports call that data set."),
    click.option("--deepspeed", type=click.Path(path_type=Path), help="zero1, zero2, zero3 ... or a file."),
)
"""What is trained, in real time."""


def training_options(command: Command) -> Command:
    """Give a command what says which study is trained for real."""
    return _with(TRAINING, command)


def cluster_options(command: Command) -> Command:
    """Give a command the options of the simulated cluster; hand what it gets for them to `study`."""
    return _with(CLUSTER, command)


def simulation_options(command: Command) -> Command:
    """Give a command all options of simulated studies; hand what it gets for them to `studies`."""
    return _with((*STUDY, *CLUSTER), command)


def _with(options: tuple[Callable[[Command], Command], ...], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def given(options: dict[str, Any]) -> list[str]:
    """Which of these options were given, as they are typed."""
    names = {"losses": "lose-node"}
    return [f"--{names.get(n, n).replace('_', '-')}" for n in NAMES if options.get(n) not in (None, ())]


def load_curves(curves: str | None, *, profile: str | None = None, workload: str | None = None) -> CurveSet:
    """The curve set asked for, or that of the profile and workload. Raises UserError."""
    from bench.curves import load_curve_set
    from bench.simulate import find_curve_set

    return load_curve_set(find_curve_set(curves, profile=profile, workload=workload))


def study(
    strategy: Strategy,
    curve_set: CurveSet,
    profile: Profile,
    *,
    nodes: int | None = None,
    speed: float | None = None,
    failure_rate: float | None = None,
    losses: tuple[str, ...] = (),
    time_budget: float | None = None,
    queue_wait: float | None = None,
    **options: Any,
) -> Study:
    """The study that the options ask for; `options`: those of `bench.simulate.virtual_study`. Raises UserError."""
    from bench.simulate import virtual_study

    options.pop("curves", None)
    return virtual_study(
        strategy,
        curve_set,
        profile,
        nodes=nodes or 1,
        speed=1.0 if speed is None else speed,
        failure_rate=failure_rate or 0.0,
        node_losses=tuple(map(_loss, losses)),
        time_budget_s=None if time_budget is None else time_budget * 60,
        queue_wait_s=queue_wait,
        **options,
    )


def studies(
    names: Sequence[str],
    seeds: Iterable[int],
    *,
    curves: str | None = None,
    profile: str | None = None,
    workload: str | None = None,
    settings: tuple[str, ...] = (),
    space: str | None = None,
    lr_lower: float | None = None,
    lr_upper: float | None = None,
    bs_choices: tuple[int, ...] | None = None,
    wd_choices: tuple[float, ...] | None = None,
    **options: Any,
) -> list[Study]:
    """The studies of several strategies under several seeds. A setting goes to the strategies that have it.

    Raises UserError, also where none of them has a setting.
    """
    from dataclasses import replace

    from bench.curve_model import CurveModel
    from bench.profile import load_profile
    from bench.strategy import load_strategy

    curve_set = load_curves(curves, profile=profile, workload=workload)
    hardware = load_profile(profile or curve_set.profile)
    strategies = [load_strategy(name) for name in names]
    pairs = dict(map(pair, settings))
    for name in pairs:
        if not any(name in s.settings for s in strategies):
            strategies[-1].resolve(pairs)
    overrides = {
        "file": space, "lr_lower": lr_lower, "lr_upper": lr_upper, "bs_choices": bs_choices, "wd_choices": wd_choices
    }  # fmt: skip
    first = [
        study(
            strategy, curve_set, hardware, overrides=overrides,
            settings={name: value for name, value in pairs.items() if name in strategy.settings}, **options,
        )
        for strategy in strategies
    ]  # fmt: skip
    check_support(first[0], CurveModel(curve_set))
    return [replace(one, seed=seed) for one in first for seed in seeds]


def check_support(one: Study, model: CurveModel) -> None:
    """Raises UserError where the study's space reaches beyond what was recorded."""
    from itertools import product

    from bench.space import Choice

    axes = [d.values if isinstance(d, Choice) else (d.lower, d.upper) for d in one.space.dimensions]
    for corner in product(*axes):
        outside = model.outside(dict(zip(one.space.names, corner, strict=True)))
        if outside is not None:
            raise UserError(outside)


def pair(text: str) -> tuple[str, str]:
    """A setting as it is typed. Raises UserError."""
    name, found, value = text.partition("=")
    if not found:
        raise UserError(f"--set {text} has no value: write --set NAME=VALUE.")
    return name.strip(), value.strip()


def _loss(text: str) -> NodeLoss:
    from bench.study import NodeLoss

    match = LOSS.fullmatch(text)
    if match is None:
        raise UserError(
            f"--lose-node {text} is not understood: write NODE@SECONDS, and +SECONDS where the node is back after so "
            "long, such as 0@600+300."
        )
    node, at_s, away_s = match.groups()
    return NodeLoss(node=int(node), at_s=float(at_s), away_s=float(away_s) if away_s else None)
