"""How wrong the simulation is: real runs replayed, and predicted, by the virtual engine.

A replay hands a strategy what a real run told it, in the recorded order, and compares decisions: it tests the driver
alone. A prediction knows the study alone, and takes losses and seconds from recorded curves: it tests all of it.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path
from statistics import median

from bench.curve_model import CurveModel
from bench.curves import CurveSet
from bench.errors import UserError
from bench.events import (
    FINAL_TRIAL,
    EpochFinished,
    Event,
    SearchFinished,
    TrialCreated,
    TrialEnded,
    TrialPaused,
    TrialReconfigured,
    TrialStarted,
    WorkLost,
)
from bench.hyperparameters import Value, shown
from bench.journal import JOURNAL_NAME, read_journal
from bench.profile import load_profile
from bench.record import Record, build_record, journal_sha256, record_of
from bench.report.model import Report
from bench.report.wording import count
from bench.simulate import simulate_run, virtual_study
from bench.simulate_head import SCHEMA_VERSION, Agreement
from bench.strategy import Strategy, load_strategy
from bench.study import Study
from bench.tables import Cell, Column, Missing, Table
from bench.trials import Config, Trial, fold

DECIMALS = 6
RUNS_FOR_A_ROW = 3
"""Real runs of a strategy with which its row is published without a remark."""
NOTHING = "did no more"


def replay(events: Sequence[Event]) -> list[str]:
    """What a replay of a run decided otherwise than the run, in words; empty where all decisions are the same.

    Compared are, trial by trial: the configuration suggested (trials are numbered in the order of suggestion), after
    which epochs it started, was paused, resumed and ended, and how; whom it took over, as of which epoch, with which
    configuration; and the winner. Of each trial only the first difference is told, since the others follow from it.

    What a replay repeats and what it decides is said at `bench.engines.virtual.recorded.replayed`: a trial starts and
    reports when it did, and reports what it did. Not compared is when a suggestion was drawn, which the journal holds
    only to the next look of Ray Tune's controller; a searcher that would have drawn it knowing more or less shows by
    another configuration. Nor is which worker process trained a trial.

    Raises UserError where the run is simulated, was interrupted (its decisions were then made twice, in parts), or has
    not ended its search.
    """
    from bench.engines.virtual.recorded import replayed

    _check_whole(build_record(events))
    again = replayed(events)
    then, now = _told(events), _told(again)
    differences = []
    for trial in sorted({*then, *now}):
        before = "was not suggested"
        for real, new in zip_longest(then.get(trial, []), now.get(trial, []), fillvalue=None):
            if real != new:
                differences.append(
                    f"Trial {trial}{f', which {before},' if before != 'was not suggested' else ''} "
                    f"{real or NOTHING} in the run, and {new or NOTHING} in the replay."
                )
                break
            before = real or before
    winner = fold(again).winner
    real_winner = next((e.winner for e in events if isinstance(e, SearchFinished)), None)
    if (winner.trial if winner else None) != real_winner:
        differences.append(
            f"The winner is {real_winner or 'none'} in the run, and {winner.trial if winner else 'none'} in the replay."
        )
    return differences


def _told(events: Iterable[Event]) -> dict[str, list[str]]:
    """Of each trial of the search, step by step, what became of it; equal sentences are equal decisions."""
    told: dict[str, list[str]] = defaultdict(list)
    ended: set[str] = set()
    for event in events:
        trial = getattr(event, "trial", FINAL_TRIAL)
        said = None if trial == FINAL_TRIAL or trial in ended else _said(event)
        if said is not None:
            told[trial].append(said)
        if isinstance(event, TrialEnded):
            ended.add(trial)
    return told


def _said(event: Event) -> str | None:
    match event:
        case TrialCreated():
            return f"was suggested with {_config(event.config)}"
        case TrialStarted():
            return f"started after epoch {event.epoch}"
        case TrialReconfigured():
            return f"took over trial {event.donor} as of epoch {event.donor_epoch} with {_config(event.config)}"
        case EpochFinished():
            loss = "no finite loss" if event.eval_loss is None else f"loss {event.eval_loss:.6g}"
            return f"reported {loss} after epoch {event.epoch}"
        case TrialPaused():
            return f"was paused after epoch {event.epoch}"
        case TrialEnded():
            return f"ended as {event.state}"
        case WorkLost():
            return "lost its process"
    return None


def _config(config: Mapping[str, Value]) -> str:
    return ", ".join(f"{name} {shown(config[name], '.10g')}" for name in sorted(config))


def _check_whole(record: Record) -> None:
    if record.study.get("engine") == "virtual":
        raise UserError(f"The run {record.run_id} is a simulated one: give runs of real training.")
    if record.status != "finished":
        raise UserError(f"The run {record.run_id} has not finished: give it its end with `sweepmark resume`.")
    if record.resumes:
        raise UserError(
            f"The run {record.run_id} was interrupted and resumed, and cannot be compared: leave it out, or run its "
            "study again with --fresh."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """A simulated run against the real one of the same study.

    `rank_correlation`: Spearman's, over the trials that both have, of their last losses; one that is not finite ranks
    last (None: all are equal in one of the two). `same_configs`, `same_last_epochs`: share of the real run's trials
    that were suggested with the same configuration, and have the same last epoch. `cost_error`, `busy_error`: of
    the search's allocated and busy device-minutes, relative to the real run's. `loss_difference`: of the best loss at
    full fidelity, predicted less real, in nats (None: one of them has none).
    """

    rank_correlation: float | None
    same_configs: float
    same_last_epochs: float
    cost_error: float
    busy_error: float
    loss_difference: float | None


def compare(real: Record, simulated: Record) -> Prediction:
    """Of two records of one study, the second is judged by the first. Raises UserError where the first has no cost."""
    trials = {t.number: t for t in real.search_trials}
    predicted = {t.number: t for t in simulated.search_trials}
    both = [(trial, predicted[number]) for number, trial in trials.items() if number in predicted]
    costs, simulated_costs = real.costs.search, simulated.costs.search
    allocated, simulated_allocated = costs.allocated_device_min, simulated_costs.allocated_device_min
    if not allocated or simulated_allocated is None or not costs.busy_device_min:
        raise UserError(f"The search of the run {real.run_id} has no cost: leave the run out.")
    best, simulated_best = real.winner, simulated.winner
    return Prediction(
        rank_correlation=_rank_correlation([_last_losses(*pair) for pair in both]),
        same_configs=sum(_same(_suggested(a), _suggested(b)) for a, b in both) / len(trials),
        same_last_epochs=sum(a.epochs == b.epochs for a, b in both) / len(trials),
        cost_error=simulated_allocated / allocated - 1,
        busy_error=simulated_costs.busy_device_min / costs.busy_device_min - 1,
        loss_difference=simulated_best.eval_loss - best.eval_loss if best and simulated_best else None,
    )


def _last_losses(*trials: Trial) -> tuple[float, ...]:
    return tuple(math.inf if t.last_loss is None else t.last_loss for t in trials)


def _rank_correlation(pairs: Sequence[tuple[float, ...]]) -> float | None:
    from scipy.stats import rankdata, spearmanr

    columns = [rankdata(column) for column in zip(*pairs, strict=True)]
    if any(len(set(column)) < 2 for column in columns) or not columns:
        return None
    return float(spearmanr(*columns).statistic)


def _suggested(trial: Trial) -> Config:
    """The configuration that it began with."""
    return trial.history[0].previous if trial.history else trial.config


def _same(one: Config, other: Config) -> bool:
    return one.keys() == other.keys() and all(_alike(one[name], other[name]) for name in one)


def _alike(one: Value, other: Value) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return math.isclose(one, other)


def check_fits(record: Record, curve_set: CurveSet) -> None:
    """Raises UserError where a run trained something else than the curves were recorded for."""
    study = record.parsed_study()
    facts: tuple[tuple[str, str | int | None, str | int | None], ...] = (
        ("workload", study.workload, curve_set.workload),
        ("recipe", study.recipe, curve_set.recipe),
        ("profile", study.profile, curve_set.profile),
        ("model", study.model and Path(study.model).name, curve_set.model),
        ("DeepSpeed configuration", study.deepspeed and Path(study.deepspeed).name, None),
        ("devices a trial", study.devices_per_trial, curve_set.devices_per_trial),
        ("data set", study.dataset_name or (study.dataset and Path(study.dataset).name), curve_set.dataset_name),
    )
    for what, has, wanted in facts:
        if has != wanted:
            raise UserError(
                f"The run {record.run_id} has {what} {has or 'none of its own'}, and curve set {curve_set.name} has "
                f"{wanted or 'none of its own'}: compare the run with curves that were recorded for the same."
            )


def predicted_study(study: Study, strategy: Strategy, curve_set: CurveSet) -> Study:
    """The study of a real run as one in virtual time, on as many slots. Raises UserError where the curves end first."""
    profile = load_profile(study.profile)
    trial_cpus = profile.cpus_per_device * study.devices_per_trial
    virtual = virtual_study(
        strategy,
        curve_set,
        profile,
        seed=study.seed,
        samples=study.samples,
        epochs=study.epochs,
        devices=study.devices,
        node_cpus=study.slots * trial_cpus,
        trial_devices=study.devices_per_trial,
        trial_cpus=trial_cpus,
    )
    return replace(virtual, settings=study.settings, space=study.space)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One real run. `differences`: of its replay, see `replay`. `stalled`: why its prediction ended early."""

    run_id: str
    strategy: str
    seed: int
    journal_sha256: str
    approximate: bool
    differences: tuple[str, ...]
    stalled: str | None
    prediction: Prediction


def compare_run(folder: Path, model: CurveModel) -> Comparison:
    """The real run in `folder`, replayed and predicted. Raises UserError where that cannot be."""
    path = folder / JOURNAL_NAME
    events = read_journal(path)
    record = build_record(events, journal_sha256(path))
    _check_whole(record)
    check_fits(record, model.curve_set)
    study = record.parsed_study()
    strategy = load_strategy(study.strategy_file or study.strategy)
    differences = replay(events)
    virtual = predicted_study(study, strategy, model.curve_set)
    state = simulate_run(virtual, strategy, load_profile(study.profile), model)
    return Comparison(
        run_id=record.run_id,
        strategy=study.strategy,
        seed=study.seed,
        journal_sha256=record.journal_sha256 or "",
        approximate=strategy.copies,
        differences=tuple(differences),
        stalled=state.interrupted,
        prediction=compare(record, record_of(state)),
    )


def agreements(comparisons: Iterable[Comparison]) -> dict[str, Agreement]:
    """By strategy, medians over its runs."""
    by_strategy: dict[str, list[Comparison]] = defaultdict(list)
    for one in comparisons:
        by_strategy[one.strategy].append(one)
    return {name: _agreement(runs) for name, runs in sorted(by_strategy.items())}


def _agreement(runs: Sequence[Comparison]) -> Agreement:
    found = [run.prediction for run in runs]
    ranks = [p.rank_correlation for p in found if p.rank_correlation is not None]
    losses = [abs(p.loss_difference) for p in found if p.loss_difference is not None]
    return Agreement(
        runs=len(runs),
        replayed=sum(not run.differences for run in runs),
        rank_correlation=_median(ranks) if ranks else None,
        same_configs=_median([p.same_configs for p in found]),
        same_last_epochs=_median([p.same_last_epochs for p in found]),
        cost_error_median=_median([abs(p.cost_error) for p in found]),
        busy_error_median=_median([abs(p.busy_error) for p in found]),
        loss_error_median=_median(losses) if losses else None,
        approximate=runs[0].approximate,
    )


def _median(values: Sequence[float]) -> float:
    return round(median(values), DECIMALS)


def ordered(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """By strategy and seed, each journal once."""
    once = {one.journal_sha256: one for one in comparisons}
    return sorted(once.values(), key=lambda c: (c.strategy, c.seed, c.run_id, c.journal_sha256))


def encode(comparisons: Sequence[Comparison], curve_set: CurveSet) -> str:
    """What `bench.simulate_head.load_validation` reads, with every run; the same runs give the same bytes."""
    data = {
        "schema_version": SCHEMA_VERSION,
        "curves": curve_set.name,
        "table_sha256": curve_set.table_sha256,
        "strategies": {name: asdict(found) for name, found in agreements(comparisons).items()},
        "runs": [_plain(one) for one in comparisons],
    }
    return json.dumps(data, allow_nan=False, ensure_ascii=False, indent=1) + "\n"


def _plain(one: Comparison) -> dict[str, object]:
    rounded = {k: None if v is None else round(v, DECIMALS) for k, v in asdict(one.prediction).items()}
    return {k: v for k, v in asdict(one).items() if k not in ("prediction", "approximate")} | rounded


def write(text: str, path: Path) -> None:
    """Raises UserError where the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"Cannot write {path} ({error.strerror}): free some space or give another --out.") from None


def validation_report(comparisons: Sequence[Comparison], curve_set: CurveSet) -> Report:
    """A row a strategy, and a row a run."""
    found = agreements(comparisons)
    return Report(
        title=f"Simulation on the curves {curve_set.name} against {count(len(comparisons), 'real run')}",
        tables=(_strategies(found), _runs(comparisons)),
        warnings=tuple(_warnings(comparisons, found)),
        comparison=(),
        csv_table="strategies",
        head=(f"Curves {curve_set.name}, {curve_set.kind}: {curve_set.summary.rstrip('.')}.",),
    )


def _strategies(found: Mapping[str, Agreement]) -> Table:
    columns = (
        Column(key="strategy", header="strategy", align="left"),
        Column(key="runs", header="runs"),
        Column(key="replayed", header="same decisions"),
        *_columns("cost_error_median", "busy_error_median", "loss_error_median", signed=""),
        Column(key="approximate", header="approximate"),
    )
    return Table(
        name="strategies",
        title="By strategy, medians of absolute errors",
        columns=columns,
        rows=tuple((name, *(getattr(of, c.key) for c in columns[1:])) for name, of in found.items()),
        notes=(
            "Same decisions: runs of which a replay, told what the run was told, decided the same throughout. The "
            "rest: a prediction from the study alone. Rank correlation: Spearman's, of the trials' last losses. "
            "Same configuration, same last epoch: share of trials. Cost, busy: error of the search's allocated and "
            "busy device-minutes. Best loss: at full fidelity, in nats.",
            "Approximate: trials go on with another's weights, which recorded curves cannot replay.",
        ),
    )


def _runs(comparisons: Sequence[Comparison]) -> Table:
    columns = (
        Column(key="strategy", header="strategy", align="left"),
        Column(key="seed", header="seed"),
        Column(key="run_id", header="run", align="left", data_only=True),
        Column(key="differences", header="replay", align="left"),
        *_columns("cost_error", "busy_error", "loss_difference", signed="+"),
    )
    return Table(
        name="runs",
        title="Run by run, predicted less real",
        columns=columns,
        rows=tuple(_row(one, columns) for one in comparisons),
        identity=2,
    )


def _row(one: Comparison, columns: Sequence[Column]) -> tuple[Cell, ...]:
    replayed = count(len(one.differences), "difference") if one.differences else "the same"
    rest: list[Cell] = [getattr(one.prediction, c.key) for c in columns[4:]]
    return (one.strategy, one.seed, one.run_id, replayed, *(Missing() if cell is None else cell for cell in rest))


def _columns(cost: str, busy: str, loss: str, *, signed: str) -> tuple[Column, ...]:
    return (
        Column(key="rank_correlation", header="rank correlation", spec=".2f"),
        Column(key="same_configs", header="same configuration", spec=".0%"),
        Column(key="same_last_epochs", header="same last epoch", spec=".0%"),
        Column(key=cost, header="cost", spec=f"{signed}.1%"),
        Column(key=busy, header="busy", spec=f"{signed}.1%"),
        Column(key=loss, header="best loss", unit="nats", spec=f"{signed}.3f"),
    )


def _warnings(comparisons: Sequence[Comparison], found: Mapping[str, Agreement]) -> list[str]:
    few = [name for name, of in found.items() if of.runs < RUNS_FOR_A_ROW]
    said = [f"Fewer than {RUNS_FOR_A_ROW} real runs, so provisional: {', '.join(few)}."] if few else []
    for one in comparisons:
        who = f"{one.strategy}, seed {one.seed}"
        if one.differences:
            more = f" And {count(len(one.differences) - 1, 'more difference')}." if len(one.differences) > 1 else ""
            said.append(f"The replay of {who} decided otherwise. {one.differences[0]}{more}")
        if one.stalled is not None:
            said.append(f"The prediction of {who} ended early: {one.stalled}.")
    return said
