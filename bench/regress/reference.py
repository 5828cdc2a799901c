"""Reference files: runs of one study, boiled down to what the gate compares; JSON, strict, byte-stable."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from bench.errors import UserError
from bench.regress.metrics import RunMetrics, TrialLosses
from bench.study import Study

SCHEMA_VERSION = 1
MAX_BYTES = 16_000_000
HISTORY_NAME = "history.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """Runs of one study that differ in their seed alone, or, measured, not even in that.

    `study`: see `Study.to_dict`; its seed is the first run's. `machine`: what device-minutes were measured on (None:
    simulated, or unknown). `packages`: versions that decide about a simulation. `date`: of the making (ISO 8601).
    `commit`: of the checkout (None: none). `reason`: why it was made or renewed.
    """

    schema_version: int
    kind: Literal["virtual", "measured"]
    study: dict[str, Any]
    machine: dict[str, Any] | None
    packages: dict[str, str]
    runs: tuple[RunMetrics, ...]
    date: str
    commit: str | None
    reason: str

    @property
    def profile(self) -> str:
        return str(self.study["profile"])

    @property
    def workload(self) -> str:
        return str(self.study["workload"])

    def key(self) -> str:
        return study_key(self.study)


def study_key(study: dict[str, Any]) -> str:
    """The same for studies that differ in nothing but the seed."""
    return json.dumps({k: v for k, v in study.items() if k != "seed"}, sort_keys=True)


def encode_reference(reference: Reference) -> bytes:
    """JSON with sorted keys, a trial a line: a renewed reference shows in a diff what moved."""
    plain = asdict(reference)
    runs = plain.pop("runs")
    head = json.dumps(plain, allow_nan=False, ensure_ascii=False, indent=1, sort_keys=True)[1:-2]
    return ("{" + head + ',\n "runs": [\n' + ",\n".join(map(_run_text, runs)) + "\n ]\n}\n").encode()


def _run_text(run: dict[str, Any]) -> str:
    trials = run.pop("trials")
    lines = ",\n".join("   " + _compact(trial) for trial in trials)
    return "  " + _compact(run)[:-1] + (f', "trials": [\n{lines}\n  ]}}' if trials else ', "trials": []}')


def _compact(value: Any) -> str:
    return json.dumps(value, allow_nan=False, sort_keys=True)


def load_reference(path: Path) -> Reference:
    """A reference from disk; the file may be anybody's. Raises UserError, in one sentence, where it is missing, too
    large, of another schema, or has a key or a value that does not belong."""
    from pydantic import ValidationError

    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"Cannot read the reference {path} ({error.strerror}): check the path.") from None
    if len(data) > MAX_BYTES:
        raise UserError(f"{path} is larger than the {MAX_BYTES} bytes allowed: it is no reference of this suite.")
    try:
        reference: Reference = _adapter().validate_json(data)
        Study.from_dict(reference.study)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(
            f"{path} is not a reference of schema {SCHEMA_VERSION} ({where}: {first['msg']}): make it again with "
            "`sweepmark regress --update`."
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} holds a malformed study ({error}): make it again with --update.") from None
    if reference.schema_version != SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema {reference.schema_version}; this version reads {SCHEMA_VERSION}: make it again with "
            "`sweepmark regress --update`."
        )
    if not reference.runs:
        raise UserError(f"{path} holds no runs: make it again with `sweepmark regress --update`.")
    if reference.kind == "virtual" and len({run.seed for run in reference.runs}) < len(reference.runs):
        raise UserError(f"{path} holds a seed twice: make it again with `sweepmark regress --update`.")
    return reference


def load_references(folder: Path) -> dict[str, Reference]:
    """The references in a folder by name, in order of names. Raises UserError as `load_reference` does."""
    return {path.stem: load_reference(path) for path in sorted(folder.glob("*.json")) if path.name != HISTORY_NAME}


@cache
def _adapter() -> Any:
    from pydantic import ConfigDict, TypeAdapter, with_config

    for cls in (TrialLosses, RunMetrics, Reference):
        with_config(ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))(cls)
    return TypeAdapter(Reference)
