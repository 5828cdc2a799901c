"""Event files, read back by TensorBoard's own readers."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.export import tensorboard
from bench.export.common import Source, cost_numbers
from bench.export.tensorboard import export_tensorboard
from tests.export.runs import evil, measured, mixed, simulated


def accumulated(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder))
    reader.Reload()
    return reader


def hyperparameters(place: Path) -> tuple[Any, dict[str, Any]]:
    """What the plugin for hyperparameters makes of a log folder: its columns, and the session of each trial."""
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams.backend_context import Context
    from tensorboard.plugins.hparams.list_session_groups import Handler

    events = EventMultiplexer().AddRunsFromDirectory(str(place))
    events.Reload()
    context = Context(TBContext(data_provider=MultiplexerDataProvider(events, str(place)), multiplexer=events))
    request = RequestContext()
    metadata = context.hparams_metadata(request, "")
    hparams = context.hparams_from_data_provider(request, "", limit=None)
    experiment = context.experiment_from_metadata(request, "", True, metadata, hparams)
    asked = api_pb2.ListSessionGroupsRequest(
        slice_size=100,
        allowed_statuses=[api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE, api_pb2.STATUS_RUNNING],
        col_params=[api_pb2.ColParams(metric=metric.name) for metric in experiment.metric_infos],
    )
    answer = Handler(request, context, "", asked).run()
    return experiment, {group.name: group for group in answer.session_groups}


def points(reader: Any, tag: str) -> list[tuple[int, float]]:
    return [(p.step, p.value) for p in reader.Scalars(tag)] if tag in reader.Tags()["scalars"] else []


def single(value: float | None) -> float:
    """The number as an event file holds it: in single precision."""
    assert value is not None
    return float(struct.unpack("f", struct.pack("f", value))[0])


def test_curves_come_back_with_their_times(tmp_path: Path) -> None:
    source = measured()
    assert export_tensorboard(source, tmp_path)
    for trial in source.record.trials:
        folder = "final" if trial.purpose == "final" else f"trial-{trial.number:04d}"
        reader = accumulated(tmp_path / source.label / folder)
        assert points(reader, "eval_loss") == [(p.epoch, single(p.eval_loss)) for p in trial.curve]
        assert points(reader, "train_loss") == [(p.epoch, single(p.train_loss)) for p in trial.curve]
        assert points(reader, "busy_device_min") == [(trial.epochs, single(trial.busy_device_min))]
        assert [p.wall_time for p in reader.Scalars("eval_loss")] == [p.at_s for p in trial.curve]


def test_costs_and_incumbents_come_back(tmp_path: Path) -> None:
    source = measured()
    export_tensorboard(source, tmp_path)
    reader = accumulated(tmp_path / source.label)
    told = {tag.removeprefix("cost/"): points(reader, tag) for tag in reader.Tags()["scalars"] if "cost/" in tag}
    assert told == {name: [(0, single(value))] for name, value in cost_numbers(source.record).items()}
    assert points(reader, "incumbent/eval_loss_by_allocated_device_s") == [
        (round(60 * (step.allocated_device_min or 0)), single(step.eval_loss)) for step in source.record.trace
    ]


def test_the_table_of_hyperparameters_has_every_trial(tmp_path: Path) -> None:
    source = measured()
    export_tensorboard(source, tmp_path)
    export_tensorboard(mixed(), tmp_path)
    experiment, groups = hyperparameters(tmp_path)
    rates = [trial.best_config["learning_rate"] for trial in source.record.search_trials if trial.best_config]
    rates += [trial.config["learning_rate"] for trial in mixed().record.search_trials]
    columns = {info.name: info for info in experiment.hparam_infos}
    assert columns["learning_rate"].domain_interval.min_value == min(rates)
    assert columns["learning_rate"].domain_interval.max_value == max(rates)
    assert set(columns["strategy"].domain_discrete) == {"pbt", "asha"}
    assert "eval_loss_full" in {metric.name.tag for metric in experiment.metric_infos}
    assert len(groups) == len(source.record.search_trials) + len(mixed().record.search_trials)
    winner = source.record.winner
    assert winner is not None
    group = groups[f"{source.label}/trial-{winner.number:04d}"]
    assert {k: group.hparams[k].number_value for k in winner.config} == winner.config
    assert {m.name.tag: m.value for m in group.metric_values}["eval_loss_full"] == single(winner.eval_loss)


def test_what_failed_is_failed_and_no_number(tmp_path: Path) -> None:
    source = mixed()
    export_tensorboard(source, tmp_path)
    _, groups = hyperparameters(tmp_path)
    statuses = [groups[f"{source.label}/trial-{n:04d}"].sessions[0].status for n in range(1, 6)]
    success, failure = 1, 2
    assert statuses == [success, success, success, failure, failure]
    states = [groups[f"{source.label}/trial-{n:04d}"].hparams["trial_state"].string_value for n in range(1, 6)]
    assert states == ["completed", "completed", "stopped", "nan", "oom"]
    reader = accumulated(tmp_path / source.label / "trial-0004")
    assert points(reader, "eval_loss") == [(1, 3.5)]
    assert "eval_loss_full" not in reader.Tags()["scalars"]


def texts(folder: Path) -> str:
    reader = accumulated(folder)
    return "".join(e.tensor_proto.string_val[0].decode() for t in reader.Tags()["tensors"] for e in reader.Tensors(t))


def test_texts_cannot_become_markup_or_paths(tmp_path: Path) -> None:
    place = tmp_path / "logs"
    source = evil()
    export_tensorboard(source, place)
    assert [p.name for p in tmp_path.iterdir()] == ["logs"]
    assert [p.name for p in place.iterdir()] == [source.label]
    said = texts(place / source.label) + texts(place / source.label / "trial-0001")
    assert "&lt;script&gt;" in said
    assert "<script>" not in said
    assert "`" not in said


def test_changed_configurations_and_simulation_are_told(tmp_path: Path) -> None:
    for source in (measured(), simulated()):
        export_tensorboard(source, tmp_path)
    assert "configuration changed | after epoch 2" in texts(tmp_path / measured().label / "trial-0001")
    assert "simulated in virtual time" in texts(tmp_path / simulated().label)
    _, groups = hyperparameters(tmp_path)
    assert groups[f"{simulated().label}/trial-0001"].hparams["numbers"].string_value == "simulated"


def test_twice_is_once_and_other_bytes_are_refused(tmp_path: Path) -> None:
    source = mixed()
    assert export_tensorboard(source, tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert not export_tensorboard(source, tmp_path)
    with pytest.raises(UserError, match="not this state of the run"):
        export_tensorboard(Source(record=source.record), tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert json.dumps(sorted(p.name for p in before)).count("sweepmark") == len(before)


@pytest.mark.parametrize("depth", ["new/deep", "."])
def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: str) -> None:
    def full(source: Source, trial: Any, folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensorboard, "_write_trial", full)
    with pytest.raises(UserError, match="No space left on device"):
        export_tensorboard(mixed(), tmp_path / depth)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text("dear")
    with pytest.raises(UserError, match="neither empty nor a log folder"):
        export_tensorboard(mixed(), tmp_path)
    with pytest.raises(UserError, match="is a file"):
        export_tensorboard(mixed(), letter)
    assert list(tmp_path.iterdir()) == [letter]


def test_a_log_folder_of_others_is_kept(tmp_path: Path) -> None:
    """Such as a trainer's output, with its event files some folders below."""
    logs = tmp_path / "output" / "runs" / "today"
    logs.mkdir(parents=True)
    (logs / "events.out.tfevents.1.host").write_bytes(b"")
    (tmp_path / "config.json").write_text("{}")
    assert export_tensorboard(mixed(), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["output", "config.json", mixed().label])
