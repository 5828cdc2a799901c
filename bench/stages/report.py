"""The exercise's summary table, a column more for each of its rows, and what else was measured: as a report."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.model import Report
from bench.stages.agreement import agreement
from bench.stages.recommend import eval_speed, recommend, train_speed
from bench.stages.result import Row, Stages, Usage
from bench.stages.setup import chosen
from bench.tables import Cell, Column, Missing, Table

_NAME = Column(key="row", header="Stage", align="left")
SOURCE = "Rajbhandari et al. 2020, arXiv 1910.02054"


def report(found: Stages) -> Report:
    """Everything about a measurement. CSV holds the summary."""
    study, rows = found.study, found.rows
    agreed = agreement(rows, study.precision)
    advice = recommend(rows, outside=agreed.outside if agreed is not None else ())
    devices = "device" if study.processes == 1 else "devices"
    where = f"{study.processes} {devices}" + (f" on {study.nodes} nodes" if study.nodes > 1 else "")
    return Report(
        title=f"DeepSpeed's stages: {study.workload} ({study.recipe}) on {where} of profile {study.profile}",
        tables=tuple(t.without_empty() for t in (_summary(rows, study.epochs), _memory(found), _costs(rows))),
        warnings=_warnings(found),
        comparison=tuple(([str(agreed)] if agreed is not None else []) + list(advice.reasons)),
        csv_table="summary",
        head=_head(found),
        facts={"recommended": advice.row, "study": {name: getattr(study, name) for name in study.__dataclass_fields__}},
    )


def _head(found: Stages) -> tuple[str, ...]:
    study, inputs = found.study, found.inputs
    per = "" if study.processes == 1 else " a device"
    epochs = "1 epoch" if study.epochs == 1 else f"{study.epochs} epochs"
    steps = {row.steps_per_epoch for row in found.rows}
    if len(steps) == 1:
        epochs += f" of {steps.pop():,d} steps"
    return (
        f"{inputs.parameters:,} parameters in {study.precision}; {inputs.train} examples to train on, "
        f"{inputs.validation} to evaluate; batch {study.batch_size}{per}, learning rate {study.learning_rate:g}, "
        f"weight decay {study.weight_decay:g}, {epochs}, seed {study.seed}.",
    )


def _warnings(found: Stages) -> tuple[str, ...]:
    said = []
    if found.study.device == "cpu":
        said.append(
            "This is a CPU profile: host memory is the devices' memory, so that offload moves nothing, and no figure "
            "here is a GPU's."
        )
    said += [f"{row.name}: {row.state}: {row.detail}" for row in found.rows if not row.completed]
    missing = [s.name for s in chosen(found.study.only) if found.row(s.name) is None]
    if missing:
        said.append(f"Not measured, since it was ended before: {', '.join(missing)}.")
    return tuple(said)


def _summary(rows: Sequence[Row], epochs: int) -> Table:
    columns = (
        _NAME,
        Column(key="train_loss", header="Train loss, final", spec=".4f"),
        *(Column(key=f"eval_loss_{n}", header=f"Eval loss, epoch {n}", spec=".4f") for n in range(1, epochs + 1)),
        Column(key="train_samples_per_s", header="Train samples/s", spec=",.1f"),
        Column(key="eval_samples_per_s", header="Eval samples/s", spec=",.1f"),
        Column(
            key="steps_per_epoch",
            header="Steps an epoch",
            spec=",d",
            data_only=len({row.steps_per_epoch for row in rows}) == 1,  # the head says it
        ),
    )
    return Table(
        name="summary",
        title="Training and evaluation",
        columns=columns,
        rows=tuple(
            (
                row.name,
                row.epochs[-1].train_loss if row.completed else Missing(row.state),
                *(row.epochs[n].eval_loss if n < len(row.epochs) else Missing(row.state) for n in range(epochs)),
                train_speed(row),
                eval_speed(row),
                row.steps_per_epoch,
            )
            for row in rows
        ),
        notes=(
            "Losses in nats a token; the final training loss is the mean over the last epoch's steps. Speeds are "
            "medians over epochs, without start-up.",
            "plain: the Trainer without DeepSpeed. Parameters are offloaded under stage 3 alone, as DeepSpeed has it.",
        ),
    )


def _memory(found: Stages) -> Table:
    def usage(key: str, header: str) -> tuple[Column, Column]:
        peak, mean = f"{header}, peak", f"{header}, mean"
        return (
            Column(key=f"{key}_peak_mib", header=peak, unit="MiB", spec=",.0f"),
            Column(key=f"{key}_mean_mib", header=mean, unit="MiB", spec=",.0f"),
        )

    columns = (
        _NAME,
        Column(key="state_device_mib", header="State, device", unit="MiB", spec=",.1f"),
        Column(key="state_host_mib", header="State, host", unit="MiB", spec=",.1f"),
        *usage("allocated", "Allocated"),
        *usage("reserved", "Reserved"),
        *usage("used", "Used (NVML)"),
        *usage("host", "Host"),
    )
    gpu = found.study.device == "cuda"
    kept = [i for i, column in enumerate(columns) if gpu or not column.key.startswith(("reserved", "used"))]
    rows = (
        (
            row.name,
            row.state_device_mib,
            row.state_host_mib,
            *_usage(row.memory.allocated),
            *_usage(row.memory.reserved),
            *_usage(row.memory.used),
            *_usage(row.memory.host),
        )
        for row in found.rows
    )
    host = "Host: of all the training's processes together, libraries included. Means are from the first step on."
    devices = "Allocated (in tensors), reserved (by PyTorch) and used (by anybody): of the fullest device. "
    return Table(
        name="memory",
        title="Memory",
        columns=tuple(columns[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in rows),
        notes=(
            "State: what weights, gradients and optimiser state of a process take by ZeRO's arithmetic, 16 bytes a "
            f"parameter before they are shared out ({SOURCE}); activations, buffers and libraries are not in it.",
            devices + host if gpu else host,
        ),
    )


def _costs(rows: Sequence[Row]) -> Table:
    columns = (
        _NAME,
        Column(key="state", header="Outcome", align="left"),
        Column(key="tokens_per_s", header="Tokens/s", spec=",.0f"),
        Column(key="startup_s", header="Start-up", unit="s", spec=",.1f"),
        Column(key="wall_s", header="Whole training", unit="s", spec=",.1f"),
        Column(key="device_min", header="Devices held", unit="device-min", spec=",.2f"),
        Column(key="energy_j", header="Energy", unit="J", spec=",.0f"),
    )
    counted = any(row.energy_j is not None for row in rows)
    energy = "Energy: of the whole devices, by NVML's count." if counted else "Nothing here counts energy."
    return Table(
        name="costs",
        title="Time and energy",
        columns=columns,
        rows=tuple(
            (row.name, row.state, _tokens(row), row.startup_s, row.wall_s, row.device_min, row.energy_j) for row in rows
        ),
        notes=(f"Start-up: from the processes' start to the first step. {energy}",),
    )


def _usage(usage: Usage | None) -> tuple[Cell, Cell]:
    return (None, None) if usage is None else (usage.peak_mib, usage.mean_mib)


def _tokens(row: Row) -> float | None:
    from statistics import median

    return median(epoch.tokens_per_s for epoch in row.epochs) if row.epochs else None
