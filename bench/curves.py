"""Learning curves as they were recorded (or fitted): one folder a set, `curves.json` and `curves.csv`.

`curves.json` says what was trained, on what, with what; `curves.csv` holds one row for each epoch of each trial.
docs/curves.md describes both.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from bench.errors import UserError, unknown
from bench.files import write_together
from bench.resources import resource_dir
from bench.space import SearchSpace

SCHEMA_VERSION = 1
METADATA_NAME = "curves.json"
TABLE_NAME = "curves.csv"
MAX_METADATA_BYTES = 1_000_000
MAX_TABLE_BYTES = 64_000_000
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")

Kind = Literal["recorded", "fitted"]
"""Measured by real training, or computed from a fit to published totals."""

NOT_METADATA = {"curves", "table_sha256"}
"""What a set has from its table."""

Failure = Literal["nan", "oom", "failed"]
FAILURES: dict[str, Failure | None] = {"": None, "nan": "nan", "oom": "oom", "failed": "failed"}

Config = dict[str, float | int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """One epoch of one trial. `eval_loss`, `train_loss`: nats a labelled token (None: not finite). Seconds by phase as
    in `events.Phases`; a checkpoint's are 0 where the workload saves none. `samples_per_s`: of training alone."""

    epoch: int
    eval_loss: float | None
    train_loss: float | None
    train_s: float
    eval_s: float
    checkpoint_s: float
    samples_per_s: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """One trial: a configuration under a seed (the parent seed, as of `sweepmark run --seed`). `startup_s`: before its
    first step, in a process that has trained before. A trial that failed ends early; `failure` says how."""

    config: Config
    seed: int
    startup_s: float
    epochs: tuple[Epoch, ...]
    failure: Failure | None = None


@dataclass(frozen=True, kw_only=True)
class ModelError:
    """How far the model between the recorded points is from a recorded point that it was not shown (leave-one-out, one
    learning rate at a time): medians and 90 % quantiles of absolute errors of the last epoch's loss in nats, the rank
    correlation (Spearman) over configurations, and the median relative error of a trial's seconds."""

    loss_median: float
    loss_q90: float
    loss_rank_correlation: float
    seconds_median_relative: float
    points: int

    __pydantic_config__: ClassVar = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class CurveSet:
    """A set of curves with all that is needed to simulate on it.

    `space`: the search space that it supports; recorded learning rates span its range. `epochs`: of each trial.
    `devices_per_trial`, `threads`, `slots`: devices and CPU threads of a trial, and trials that ran at once.
    `noise_log_loss`: standard deviation of ln(loss) between runs of one configuration, where the set itself shows none
    (None: it has several seeds).
    `limits`: sentences that belong beside every number that rests on it. `error`: of the model between the points
    (None: not computed yet). `table_sha256`: digest of the table's file (None: not read from one).
    """

    name: str
    kind: Kind
    summary: str
    workload: str
    recipe: str
    profile: str
    space: SearchSpace
    epochs: int
    seeds: tuple[int, ...]
    model: str | None = None
    dataset_name: str | None = None
    devices_per_trial: int = 1
    threads: int = 1
    slots: int = 1
    noise_log_loss: float | None = None
    limits: tuple[str, ...] = ()
    error: ModelError | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    curves: tuple[Curve, ...] = ()
    table_sha256: str | None = None

    def metadata(self) -> dict[str, Any]:
        """All but the curves, as plain data."""
        kept = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in NOT_METADATA}
        error = asdict(self.error) if self.error else None
        return {"schema_version": SCHEMA_VERSION} | kept | {"space": self.space.to_dict(), "error": error}


def curves_dir() -> Path:
    return resource_dir("results/curves")


def curve_set_names() -> list[str]:
    return sorted(path.parent.name for path in curves_dir().glob(f"*/{METADATA_NAME}"))


def load_curve_set(name: str) -> CurveSet:
    """The installed set of that name, or the one in the folder of that path. Raises UserError."""
    return read_curve_set(curve_set_folder(name))


def curve_set_folder(name: str) -> Path:
    """Where the set of that name, or of that path, lies. Raises UserError where there is none."""
    folder = Path(name)
    if "/" in name or (folder / METADATA_NAME).is_file():
        return folder
    if name not in curve_set_names():
        raise unknown("curve set", name, curve_set_names())
    return curves_dir() / name


def read_metadata(folder: Path, name: str = METADATA_NAME) -> CurveSet:
    """The set in a folder without its curves. Raises UserError that names the file and what is wrong with it."""
    path = folder / name
    try:
        data = json.loads(_text(path, MAX_METADATA_BYTES))
        if not isinstance(data, dict):
            raise ValueError("it is not an object with keys")
        version = data.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise ValueError(f"it has schema_version {version!r}; this version reads {SCHEMA_VERSION}")
        return _checked(data)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} does not describe a curve set ({error}): record the set again.") from None


def read_curve_set(folder: Path) -> CurveSet:
    """The set in a folder. Raises UserError that names the file, the row and what is wrong with it."""
    found = read_metadata(folder)
    path = folder / TABLE_NAME
    try:
        text = _text(path, MAX_TABLE_BYTES)
        curves = parse_table(text, found.space)
        for curve in curves:
            check_length(curve, found.epochs)
    except ValueError as error:
        raise UserError(f"{path} holds no curves ({error}): record the set again.") from None
    return replace(found, curves=tuple(curves), table_sha256=hashlib.sha256(text.encode()).hexdigest())


def is_complete(curve: Curve, epochs: int) -> bool:
    """Whether a trial has ended: by itself, or as failed."""
    return curve.failure is not None or len(curve.epochs) == epochs


def check_length(curve: Curve, epochs: int) -> None:
    """Raises ValueError where a trial has more or fewer epochs than a set of so many allows."""
    if len(curve.epochs) > epochs or not is_complete(curve, epochs):
        raise ValueError(f"{curve.config} under seed {curve.seed} has {len(curve.epochs)} of {epochs} epochs")


def write_metadata(folder: Path, curve_set: CurveSet, name: str = METADATA_NAME) -> None:
    _write(folder / name, json.dumps(curve_set.metadata(), indent=1, ensure_ascii=False) + "\n")


def write_table(folder: Path, curve_set: CurveSet) -> None:
    """The curves in a fixed order: by configuration, then by seed."""
    names = curve_set.space.names
    ordered = sorted(curve_set.curves, key=lambda c: (*(c.config[n] for n in names), c.seed))
    _write(folder / TABLE_NAME, header(names) + "".join(encode_curve(c, names) for c in ordered))


def header(names: Sequence[str]) -> str:
    """The first line of the table."""
    return ",".join([*names, "seed", "startup_s", "failure", *(f.name for f in fields(Epoch))]) + "\n"


def encode_curve(curve: Curve, names: Sequence[str]) -> str:
    """A curve's rows, one an epoch; one with no epoch at all for a trial that failed before its first."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = [*(curve.config[n] for n in names), curve.seed, round(curve.startup_s, 4), curve.failure or ""]
    for e in curve.epochs:
        writer.writerow([*head, *("" if v is None else v for v in (getattr(e, f.name) for f in fields(Epoch)))])
    if not curve.epochs:
        writer.writerow([*head, 0, *[""] * (len(fields(Epoch)) - 1)])
    return out.getvalue()


def parse_table(text: str, space: SearchSpace) -> list[Curve]:
    """The curves of a table, in its order. Raises ValueError that names the line at fault."""
    lines = text.splitlines()
    if not lines or lines[0] + "\n" != header(space.names):
        raise ValueError(f"its first line must be {header(space.names).strip()}")
    curves: dict[tuple[Any, ...], Curve] = {}
    for number, row in enumerate(csv.DictReader(lines), 2):
        try:
            _add_row(curves, row, space)
        except (ValueError, TypeError) as error:
            raise ValueError(f"line {number}: {error}") from None
    return list(curves.values())


def _add_row(curves: dict[tuple[Any, ...], Curve], row: dict[str, str], space: SearchSpace) -> None:
    if None in row or None in row.values():
        raise ValueError("it has too many or too few fields")
    config = {name: _number(row[name]) for name in space.names}
    seed = int(row["seed"])
    key = (*config.values(), seed)
    if row["failure"] not in FAILURES:
        raise ValueError(f"failure is {row['failure']!r}; it must be empty, nan, oom or failed")
    curve = curves.get(key) or Curve(
        config=config, seed=seed, startup_s=_seconds(row["startup_s"]), epochs=(), failure=FAILURES[row["failure"]]
    )
    if (curve.startup_s, curve.failure) != (_seconds(row["startup_s"]), FAILURES[row["failure"]]):
        raise ValueError("its startup_s or failure differs from the trial's other rows")
    epoch = int(row["epoch"])
    if epoch != (len(curve.epochs) + 1 if row["train_s"] else 0) or (key in curves and not curve.epochs):
        raise ValueError(f"epoch {epoch} does not follow the {len(curve.epochs)} before it")
    if not epoch and curve.failure is None:
        raise ValueError("a trial without an epoch must say how it failed")
    if epoch:
        point = Epoch(
            epoch=epoch,
            eval_loss=_loss(row["eval_loss"]),
            train_loss=_loss(row["train_loss"]),
            train_s=_seconds(row["train_s"]),
            eval_s=_seconds(row["eval_s"]),
            checkpoint_s=_seconds(row["checkpoint_s"]),
            samples_per_s=_loss(row["samples_per_s"]),
        )
        curve = replace(curve, epochs=(*curve.epochs, point))
    curves[key] = curve


def _number(text: str) -> float | int:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return int(value) if re.fullmatch(r"-?\d+", text) else value


def _loss(text: str) -> float | None:
    return float(_number(text)) if text else None


def _seconds(text: str) -> float:
    value = float(_number(text))
    if value < 0:
        raise ValueError(f"{text} s; seconds are 0 or more")
    return value


def _checked(data: dict[str, Any]) -> CurveSet:
    from pydantic import TypeAdapter, ValidationError

    known = {f.name for f in fields(CurveSet)} - NOT_METADATA
    if set(data) != known:
        raise ValueError(f"its keys differ from the expected by {sorted(set(data) ^ known)}")
    try:
        found = TypeAdapter(CurveSet).validate_python(data | {"space": SearchSpace.from_dict(data["space"])})
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if not NAME.fullmatch(found.name):
        raise ValueError(f"its name is {found.name!r}; use small letters, digits and dashes")
    return found


def _text(path: Path, limit: int) -> str:
    try:
        if path.stat().st_size > limit:
            raise UserError(f"{path} has more than {limit} bytes: give a curve set.")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"Cannot read {path} ({error.strerror}): give the name or folder of a curve set.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text in UTF-8: give the name or folder of a curve set.") from None


def _write(path: Path, text: str) -> None:
    remedy = "free some space or give another --out"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot write {path} ({error.strerror}): {remedy}.") from None
    write_together({path: text.encode()}, remedy)
