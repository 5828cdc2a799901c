"""Event files for TensorBoard: a log folder a trial, and one for the run."""

from __future__ import annotations

import html
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.export.common import (
    Source,
    changes_text,
    cost_numbers,
    exported_config,
    nature,
    one_line,
    outcome,
    run_facts,
    study_facts,
)
from bench.export.place import LOCK_NAME, alone_in, cannot_write, needs, other_there
from bench.progress import OnDone
from bench.trials import Trial

TOOL = "TensorBoard"
FULL_LOSS = "eval_loss_full"
"""The lowest loss at full fidelity: what trials may be ranked by in the table of hyperparameters."""


def export_tensorboard(source: Source, place: Path, on_done: OnDone | None = None) -> bool:
    """Write the run into a folder of its name under `place`, the log folder. Returns False where the same bytes are
    there already. Raises UserError; then nothing was written."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError as error:
        raise needs(TOOL, error) from None
    _check(place)
    target, staged = place / source.label, place / f".{source.label}.writing"
    try:
        with alone_in(place):
            try:
                shutil.rmtree(staged, ignore_errors=True)  # what a killed export left
                _write_all(source, staged, on_done)
                if target.exists():
                    if _contents(target) == _contents(staged):
                        return False
                    raise other_there(source.label, place, "remove that folder")
                staged.rename(target)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
    except (OSError, ValueError) as error:
        raise cannot_write(TOOL, place, error) from None
    return True


def _check(place: Path) -> None:
    """Raises UserError where the place is not a log folder, nor could become one."""
    if place.exists() and not place.is_dir():
        raise UserError(f"{place} is a file: for TensorBoard give a folder, such as logs.")
    if not place.is_dir() or all(path.name == LOCK_NAME or _is_staged(path) for path in place.iterdir()):
        return
    levels = ("", "*/", "*/*/", "*/*/*/")
    if not any(next(place.glob(f"{level}*.tfevents.*"), None) for level in levels):
        raise UserError(
            f"{place} is neither empty nor a log folder of TensorBoard (no event file is in it, nor three folders "
            "below it): give another folder, such as logs."
        )


def _is_staged(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".writing")


def _write_all(source: Source, folder: Path, on_done: OnDone | None) -> None:
    _write_run(source, folder)
    trials = source.record.trials
    for done, trial in enumerate(trials, 1):
        _write_trial(source, trial, folder / _folder(trial))
        if on_done is not None:
            on_done(done, len(trials))


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _folder(trial: Trial) -> str:
    return "final" if trial.purpose == "final" else f"trial-{trial.number:04d}"


class _EventFile:
    """One event file. Names and bytes depend on the run alone: no host, no time of writing."""

    def __init__(self, folder: Path, started_s: float) -> None:
        from tensorboardX.proto import event_pb2
        from tensorboardX.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._event = event_pb2.Event
        name = f"events.out.tfevents.{max(0, int(started_s)):010d}.sweepmark"
        self._writer = RecordWriter(str(folder.absolute() / name))
        self._write(wall_time=started_s, file_version="brain.Event:2")

    def _write(self, **event: Any) -> None:
        self._writer.write(self._event(**event).SerializeToString(deterministic=True))

    def add(self, summary: Any, at_s: float, step: int = 0) -> None:
        self._write(wall_time=at_s, step=step, summary=summary)

    def scalar(self, tag: str, value: float | None, at_s: float, step: int = 0) -> None:
        """A number; None, which stands for one that is not finite, is no point."""
        from tensorboardX.summary import scalar

        if value is not None:
            self.add(scalar(tag, value), at_s, step)

    def text(self, tag: str, table: Mapping[str, str], at_s: float) -> None:
        """A table; what stands in it cannot become markup."""
        from tensorboardX.summary import text

        def cell(value: str) -> str:
            return html.escape(one_line(value)).replace("|", "&#124;").replace("`", "&#96;").replace("*", "&#42;")

        lines = ["| | |", "|---|---|", *(f"| {cell(key)} | {cell(value)} |" for key, value in table.items())]
        self.add(text(tag, "\n".join(lines)), at_s)

    def close(self) -> None:
        self._writer.flush()
        self._writer.close()


def _write_run(source: Source, folder: Path) -> None:
    record = source.record
    file = _EventFile(folder, record.started_s)
    file.text("run", study_facts(source) | run_facts(source), record.started_s)
    for name, value in cost_numbers(record).items():
        file.scalar(f"cost/{name}", value, record.ended_s)
    for step in record.trace:
        if step.allocated_device_min is not None:
            file.scalar(
                "incumbent/eval_loss_by_allocated_device_s",
                step.eval_loss,
                step.at_s,
                round(60 * step.allocated_device_min),
            )
        file.scalar("incumbent/eval_loss_by_busy_device_s", step.eval_loss, step.at_s, round(60 * step.busy_device_min))
    file.close()


def _write_trial(source: Source, trial: Trial, folder: Path) -> None:
    start_s, end_s = source.times[trial.trial]
    file = _EventFile(folder, start_s)
    if trial.purpose == "search":
        _start_session(file, source, trial, start_s)
    for point in trial.curve:
        file.scalar("eval_loss", point.eval_loss, point.at_s, point.epoch)
        file.scalar("train_loss", point.train_loss, point.at_s, point.epoch)
    file.scalar(FULL_LOSS, trial.best_loss, end_s, trial.epochs)
    file.scalar("busy_device_min", trial.busy_device_min, end_s, trial.epochs)
    told = {"trial": trial.trial, "state": trial.state, "detail": trial.detail, "numbers": nature(source)}
    if trial.history:
        told["configuration changed"] = changes_text(trial)
    file.text("trial", {key: value for key, value in told.items() if value}, end_s)
    if trial.purpose == "search":
        _end_session(file, source, trial, end_s)
    file.close()


def _start_session(file: _EventFile, source: Source, trial: Trial, at_s: float) -> None:
    """Tell the plugin for hyperparameters. There is no message for the experiment as a whole: the plugin then makes
    its columns from all sessions, so that several runs in one log folder share a table."""
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionStartInfo

    info = SessionStartInfo(start_time_secs=at_s, group_name=f"{source.label}/{_folder(trial)}")
    for name, value in exported_config(trial).items():
        if isinstance(value, str):
            info.hparams[one_line(name)].string_value = one_line(value)
        else:
            info.hparams[one_line(name)].number_value = value
    info.hparams["strategy"].string_value = one_line(source.record.study.get("strategy", ""))
    info.hparams["trial_state"].string_value = trial.state
    info.hparams["numbers"].string_value = "simulated" if source.simulated else "measured"
    file.add(_session("_hparams_/session_start_info", HParamsPluginData(version=0, session_start_info=info)), at_s)


def _end_session(file: _EventFile, source: Source, trial: Trial, at_s: float) -> None:
    from tensorboardX.proto.api_pb2 import Status
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionEndInfo

    name = {"failed": "FAILURE", "ended": "SUCCESS", "cut": "FAILURE", "open": "RUNNING"}[outcome(source.record, trial)]
    info = SessionEndInfo(end_time_secs=at_s, status=Status.Value(f"STATUS_{name}"))
    file.add(_session("_hparams_/session_end_info", HParamsPluginData(version=0, session_end_info=info)), at_s)


def _session(tag: str, data: Any) -> Any:
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata

    plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=data.SerializeToString(deterministic=True))
    return Summary(value=[Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))])
