"""The record of a run: everything a report needs, made again from the journal at any time, byte for byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from bench.errors import UserError, did_you_mean
from bench.events import Event, FinalScored, Note, Phases
from bench.files import write_together
from bench.journal import JOURNAL_NAME, read_journal
from bench.ledger import Costs
from bench.space import SearchSpace
from bench.study import Study
from bench.trials import Config, ConfigChange, EpochPoint, Incumbent, RunState, RunStatus, Trial, fold

SCHEMA_VERSION = 1
RECORD_NAME = "record.json"
MAX_RECORD_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Winner:
    """The trial with the lowest loss at full fidelity, or best by the study's first metric: `eval_loss` is its loss in
    either case. `edges`: hyperparameters on an edge of the search space."""

    trial: str
    number: int
    config: Config
    eval_loss: float
    edges: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunCosts:
    """Search and final retrain apart. `elapsed_s`: first event to last, interruptions included."""

    search: Costs
    final: Costs
    elapsed_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One run. `started_s`, `ended_s`: of its first and last event (epoch seconds, or from zero in virtual time).

    `study`: see `Study.to_dict`. `provenance`: as the run gave it when it started; `resumed_provenance`: at each
    resumption. `seeds`: those of search, initialisation and data order. `trace`: the incumbents, each cheaper loss with
    what it had cost. `final`: the retrained winner on the test split. `journal_sha256`: of the journal's bytes (None:
    the events were not read from a file).
    """

    schema_version: int
    run_id: str
    status: RunStatus
    started_s: float
    ended_s: float
    study: dict[str, Any]
    provenance: dict[str, Any]
    resumed_provenance: tuple[dict[str, Any], ...]
    seeds: dict[str, Any]
    trials: tuple[Trial, ...]
    costs: RunCosts
    trace: tuple[Incumbent, ...]
    winner: Winner | None
    final: FinalScored | None
    notes: tuple[Note, ...]
    journal_sha256: str | None

    @property
    def resumes(self) -> int:
        """How often it went on after an interruption; that a job of its own retrains the winner is none."""
        planned = any(provenance.get("job") == "final" for provenance in self.resumed_provenance)
        return len(self.resumed_provenance) - planned

    @property
    def search_trials(self) -> tuple[Trial, ...]:
        return tuple(t for t in self.trials if t.purpose == "search")

    def trial(self, name: str) -> Trial:
        """The trial of that id. Raises KeyError where there is none."""
        for trial in self.trials:
            if trial.trial == name:
                return trial
        raise KeyError(name)

    def parsed_study(self) -> Study:
        """The study as an object. Raises UserError where this version cannot read it."""
        try:
            return Study.from_dict(self.study)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(
                f"The study of the run {self.run_id} is malformed ({error}): make its record again with this version."
            ) from None


def build_record(events: Iterable[Event], journal_sha256: str | None = None) -> Record:
    """The record of these events; the same events give the same record. Raises UserError where they contradict each
    other, naming the event."""
    try:
        state = fold(events)
    except ValueError as error:
        raise UserError(f"The journal is inconsistent: {error}: restore it from a copy.") from None
    return record_of(state, journal_sha256)


def record_of(state: RunState, journal_sha256: str | None = None) -> Record:
    """The record of a folded run. Raises UserError where it is empty or its study cannot be read."""
    started = state.started
    if started is None:
        raise UserError("The journal holds no events: give the folder of a run that started.")
    return Record(
        schema_version=SCHEMA_VERSION,
        run_id=started.run_id,
        status=state.status,
        started_s=started.at_s,
        ended_s=state.ended_s,
        study=started.study,
        provenance=started.provenance,
        resumed_provenance=tuple(r.provenance for r in state.resumed),
        seeds=dict(started.provenance.get("seeds") or {}),
        trials=state.trials,
        costs=RunCosts(
            search=state.ledger.costs("search"),
            final=state.ledger.costs("final"),
            elapsed_s=state.ledger.elapsed_s,
        ),
        trace=tuple(state.trace),
        winner=_winner(state),
        final=state.final,
        notes=tuple(state.notes),
        journal_sha256=journal_sha256,
    )


def _winner(state: RunState) -> Winner | None:
    trial, started = state.winner, state.started
    if trial is None or trial.best_loss is None or trial.best_config is None or started is None:
        return None
    try:
        edges = SearchSpace.from_dict(started.study.get("space", {})).edges(trial.best_config)
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"The run {started.run_id} has a malformed search space ({error}): restore its journal from a copy."
        ) from None
    return Winner(
        trial=trial.trial,
        number=trial.number,
        config=trial.best_config,
        eval_loss=trial.best_loss,
        edges=tuple(edges),
    )


def make_record(folder: Path) -> Record:
    """The record of the run in `folder`, made from its journal; nothing is written. Raises UserError where the journal
    is missing, malformed or inconsistent."""
    path = folder / JOURNAL_NAME
    return build_record(read_journal(path), journal_sha256(path))


def record_run(folder: Path) -> Record:
    """Build the record of the run in `folder` from its journal and write it beside it. Raises UserError as
    `make_record` does, or where the record cannot be written."""
    record = make_record(folder)
    write_record(record, folder / RECORD_NAME)
    return record


def journal_sha256(path: Path) -> str:
    """SHA-256 of a journal's complete lines; equal to `sha256sum` of the file unless a kill cut its last line short."""
    data = path.read_bytes()
    return hashlib.sha256(data[: data.rfind(b"\n") + 1]).hexdigest()


def encode_record(record: Record) -> bytes:
    """The record as JSON for people and machines. Raises ValueError on NaN or infinity."""
    plain = _adapter().dump_python(record, mode="json")
    for each in (*plain["trials"], *plain["trace"]):
        if not each["values"]:  # of the loss alone
            del each["values"]
    return (json.dumps(plain, allow_nan=False, ensure_ascii=False, indent=1) + "\n").encode()


def write_record(record: Record, path: Path) -> None:
    """Write the record so that a reader sees the old file or the new one, never a part. Raises UserError where the
    disk is full or the folder cannot be written."""
    remedy = "free some space or correct the permissions; the record can be made again from the journal"
    write_together({path: encode_record(record)}, remedy)


def load_record(path: Path) -> Record:
    """A record from disk, by its file or the folder of its run; the file may be anybody's.

    Raises UserError, in one sentence, where it is missing, too large, not JSON, of another schema, or has a key or a
    value that does not belong.
    """
    if path.is_dir():
        path = path / RECORD_NAME
    try:
        with path.open("rb") as file:
            data = file.read(MAX_RECORD_BYTES + 1)
    except OSError as error:
        raise UserError(f"Cannot read the record {path} ({error.strerror}): give a run's folder or record.") from None
    if len(data) > MAX_RECORD_BYTES:
        raise UserError(f"{path} is larger than the {MAX_RECORD_BYTES} bytes allowed: it is no record of this suite.")
    return decode_record(data, str(path))


def decode_record(data: bytes, name: str) -> Record:
    """The record in `data`; `name` stands in the messages. Raises UserError as `load_record` does."""
    from pydantic import ValidationError

    try:
        if b"NaN" in data or b"Infinity" in data:
            json.loads(data, parse_constant=_refuse_constant)
        record: Record = _adapter().validate_json(data)
    except ValidationError as error:
        raise UserError(f"{name} is not a record of schema {SCHEMA_VERSION}: {_first(error)}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is not JSON ({error}): make the record again from its journal.") from None
    if record.schema_version != SCHEMA_VERSION:
        raise UserError(
            f"{name} has schema {record.schema_version}; this version reads {SCHEMA_VERSION}: make the record again "
            "from its journal."
        )
    record.parsed_study()
    return record


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} has no place in JSON")


def _first(error: Any) -> str:
    detail = error.errors(include_url=False, include_input=False)[0]
    *parents, last = [str(part) for part in detail["loc"]] or [""]
    where = ".".join([*parents, last]) or "the file"
    if detail["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = {name for cls in _CLASSES for name in cls.__dataclass_fields__}
        return f"unknown key '{where}'{did_you_mean(last, known)}"
    return f"{where}: {detail['msg']}: make the record again from its journal."


_CLASSES: tuple[Any, ...] = (
    Phases, Note, FinalScored, EpochPoint, ConfigChange, Trial, Incumbent, Costs, Winner, RunCosts, Record,
)  # fmt: skip


@cache
def _adapter() -> Any:
    from pydantic import ConfigDict, TypeAdapter, with_config

    for cls in _CLASSES:
        with_config(ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))(cls)
    return TypeAdapter(Record)


def record_schema(mode: Literal["validation", "serialization"] = "validation") -> dict[str, Any]:
    """The JSON schema of a record."""
    schema: dict[str, Any] = _adapter().json_schema(mode=mode)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Sweepmark record"} | schema
