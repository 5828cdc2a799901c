"""A ladder as tables: one of its numbers, one of its losses; and what has to be said below them."""

from __future__ import annotations

from bench.speed.record import Ladder
from bench.speed.rungs import PUBLISHED
from bench.speed.summary import Row, Spread, largest_difference, reference
from bench.tables import Cell, Column, Missing, Table


def minutes(ladder: Ladder) -> str:
    """What its costs are counted in."""
    return "GPU-min" if ladder.device == "cuda" else "device-min"


def speed_table(ladder: Ladder, found: list[Row]) -> Table:
    columns = (
        Column(key="rung", header="rung", align="left"),
        Column(key="train_samples_per_s", header="train samples/s", spec=".1f"),
        Column(key="eval_samples_per_s", header="eval samples/s", spec=".1f"),
        Column(key="tokens_per_s", header="tokens/s", spec=",.0f"),
        Column(key="device_memory_mib", header="device memory", unit="MiB", spec=",.0f"),
        Column(key="host_memory_mib", header="host memory", unit="MiB", spec=",.0f"),
        Column(key="share_declared", header="share of declared peak", spec=".1%"),
        Column(key="share_measured", header="share of measured peak", spec=".1%"),
        Column(key="share_computed", header="computed share", spec=".1%"),
        Column(key="device_min", header=f"{minutes(ladder)} a trial", spec=".3f"),
        Column(key="startup_s", header="start-up", unit="s", spec=".1f"),
        Column(key="speed_up_shown", header="speed-up"),
        *_spread_columns("speed_up"),
        Column(key="over_published_shown", header="over published"),
        *_spread_columns("over_published"),
    )
    return Table(
        name="ladder",
        title=f"From the published recipe to fast: {ladder.workload}, {_count(ladder.epochs, 'epoch')} a trial",
        columns=columns,
        rows=tuple(_cells(row) for row in found),
        notes=notes(ladder, found),
    ).without_empty()


def loss_table(ladder: Ladder, found: list[Row]) -> Table:
    epochs = range(1, ladder.epochs + 1)
    return Table(
        name="losses",
        title="Evaluation losses after each epoch (nats a token)",
        columns=(
            Column(key="rung", header="rung", align="left"),
            *(Column(key=f"epoch_{epoch}", header=f"epoch {epoch}", spec=".6f") for epoch in epochs),
            Column(key="difference", header="largest difference", spec=".1e"),
        ),
        rows=tuple(
            (
                row.rung.name,
                *(row.eval_losses[epoch - 1] if epoch <= len(row.eval_losses) else None for epoch in epochs),
                Missing("another objective") if not row.rung.comparable else row.difference,
            )
            for row in found
        ),
        notes=(agreement(ladder, found),),
    )


def notes(ladder: Ladder, found: list[Row]) -> tuple[str, ...]:
    """What the numbers mean, and what they cannot say."""
    gpu = ladder.device == "cuda"
    said = [
        f"Each rung has the changes of those above it. Medians of {_count(ladder.repeats, 'repeat')}, all rungs in turn"
        + (", with the lowest and the highest in brackets." if ladder.repeats > 1 else ": without any spread."),
        f"Rates and shares are of training steps {_which(ladder)}; tokens are without padding; "
        f"{minutes(ladder)} are of training, evaluation and checkpoints, start-up apart.",
        f"Shares: the FLOPs that the objective needs, over the profile's peak ({ladder.declared_peak_tflops:.3g} TFLOPS"
        f"{'' if gpu else ', which no core reaches'}) and over what a large matrix product reached in the same run "
        f"({max(ladder.measured_peak_tflops):.3g} TFLOPS); computed share: the FLOPs that were computed, over that.",
    ]
    said += _bases(ladder, found)
    if not gpu:
        if len({row.rung.settings.get("checkpoints") for row in found} - {None}) > 1:
            said.append(
                "Where checkpoints are written aside, evaluation looks slower than it is if the two share a core: the "
                "checkpoint is written meanwhile."
            )
        said.append("A device here is a CPU core: nothing of this says what a GPU does.")
    said += [
        f"{row.rung.name}: {trial.state} in repeat {trial.repeat + 1}: {trial.detail}"
        for row in found
        for trial in row.rung.trials
        if not trial.completed
    ]
    return tuple(said)


def agrees(ladder: Ladder, found: list[Row]) -> bool | None:
    """Whether the losses of all comparable rungs are within the tolerance; None where there are no two."""
    largest = largest_difference(found)
    return None if largest is None else largest <= ladder.tolerance


def agreement(ladder: Ladder, found: list[Row]) -> str:
    """The same in words."""
    largest, base = largest_difference(found), reference(row.rung for row in found)
    if largest is None or base is None:
        return "No two rungs of the same objective were measured: there is nothing to compare."
    within = "within" if largest <= ladder.tolerance else "BEYOND"
    said = (
        f"The losses of all rungs from '{base.name}' on differ by {largest:.1e} nats at most, {within} the tolerance "
        f"of {ladder.tolerance:g}."
    )
    if all(row.rung.comparable for row in found):
        return said
    return f"{said} The loss of '{PUBLISHED}' is of another objective: it compares with none of them."


def _which(ladder: Ladder) -> str:
    """What epochs rates are taken of; see `bench.speed.summary.steady`."""
    if ladder.epochs > 1:
        return "without a trial's first epoch"
    return "of a trial's only epoch, with what happens once"


def _bases(ladder: Ladder, found: list[Row]) -> list[str]:
    """What speed-ups are held against."""
    base = reference(row.rung for row in found)
    if base is None:
        return []
    said = f"Speed-up: {minutes(ladder)} a trial of '{base.name}' over the rung's own"
    if any(row.over_published for row in found):
        said += f"; over published: the same of '{PUBLISHED}', which trains another objective"
    return [f"{said}."]


def _cells(row: Row) -> tuple[Cell, ...]:
    name = row.rung.name if row.state == "completed" else f"{row.rung.name} ({row.state})"
    return (
        name,
        row.train_per_s,
        row.eval_per_s,
        row.tokens_per_s,
        row.device_memory_mib,
        row.host_memory_mib,
        row.share_declared,
        row.share_measured,
        row.share_computed,
        row.device_min.value if row.device_min else None,
        row.startup_s,
        *_spread_cells(row.speed_up),
        *_spread_cells(row.over_published),
    )


def _spread_columns(key: str) -> tuple[Column, ...]:
    return tuple(Column(key=f"{key}{suffix}", header=key, data_only=True) for suffix in ("", "_low", "_high"))


def _spread_cells(found: Spread | None) -> tuple[Cell, ...]:
    if found is None:
        return (None, None, None, None)
    alone = found.low == found.high
    shown = f"{found.value:.2f}" + ("" if alone else f" [{found.low:.2f}, {found.high:.2f}]")
    return (shown, found.value, found.low, found.high)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
