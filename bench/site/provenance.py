"""Where a run's numbers come from, as tables: the machine, the code, the data, the curves of a simulated one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bench.record import Record
from bench.report.machine import machine
from bench.study import Study
from bench.tables import MISSING, Column, Table

_COLUMNS = (
    Column(key="fact", header="fact", align="left"),
    Column(key="value", header="value", align="left", wraps=True),
)
_MACHINE = {
    "os": "system", "kernel": "kernel", "python": "Python", "torch": "PyTorch", "torch_cuda": "CUDA of PyTorch",
    "driver": "GPU driver", "cuda_driver": "CUDA of the driver", "memory_mib": "memory (MiB)",
}  # fmt: skip
"""What the probe read, in words."""


def provenance_tables(record: Record, study: Study) -> list[Table]:
    """Environment and origin; the packages are in `package_table`. What a record does not say is left out."""
    rows = list(_origin(record, study))
    tables = [_table("provenance", "Environment and provenance", rows)]
    if study.simulation is not None:
        tables.append(_table("simulation", "The simulated cluster", list(_flat(record.study["simulation"]))))
    return tables


def tree(clean: Any) -> str:
    """What is known of the working tree, in words."""
    return "clean" if clean is True else "changed beside the commit" if clean is False else "not known"


def package_table(record: Record) -> Table:
    """The versions of the packages that ran, and of those of the image around them."""
    packages = _mapping(record.provenance.get("packages"))
    around = _mapping(_mapping(record.provenance.get("image")).get("debian"))
    rows = [(name, str(version)) for name, version in sorted(packages.items())]
    rows += [(f"{name} (of the image's system)", str(version)) for name, version in sorted(around.items())]
    return _table("packages", "Packages", rows)


def _table(name: str, title: str, rows: list[tuple[str, str]]) -> Table:
    return Table(name=name, title=title, columns=_COLUMNS, rows=tuple(rows))


def _origin(record: Record, study: Study) -> Iterator[tuple[str, str]]:
    given = record.provenance
    yield "run", record.run_id
    yield "sweepmark", str(given.get("sweepmark", MISSING))
    git = _mapping(given.get("git"))
    if git:
        yield "commit", str(git.get("commit") or MISSING)
        yield "working tree", tree(git.get("clean"))
    command = given.get("command")
    if isinstance(command, list):
        yield "command", " ".join(map(str, command))
    image = _mapping(given.get("image"))
    if image:
        yield "container image", str(image.get("digest") or MISSING)
        yield "definition (SHA-256)", str(image.get("definition_sha256") or MISSING)
        for name, value in sorted(_mapping(image.get("labels")).items()):
            yield f"image: {name.removeprefix('sweepmark.')}", str(value)
    yield from _probed(record)
    lock = _mapping(given.get("lock"))
    if lock:
        yield "lock of packages (SHA-256)", str(lock.get("sha256"))
        yield "packages other than locked", _said(lock.get("differences")) or "none"
    for name, digest in sorted(_mapping(given.get("hashes")).items()):
        yield f"{name} (SHA-256)", str(digest)
    yield from ((f"examples: {name}", str(number)) for name, number in _mapping(given.get("splits")).items())
    if given.get("parameters") is not None:
        yield "parameters of the model", f"{given['parameters']:,}" if _whole(given["parameters"]) else MISSING
    yield from ((f"seed: {name}", str(seed)) for name, seed in record.seeds.items())
    yield from ((f"curves: {name}", value) for name, value in _flat(_mapping(given.get("simulated"))))
    for number, resumed in enumerate(record.resumed_provenance, 1):
        at = _mapping(resumed.get("git")).get("commit")
        yield f"resumed ({number})", f"at commit {at}" if at else "commit not recorded"
    yield "engine", study.engine


def _probed(record: Record) -> Iterator[tuple[str, str]]:
    probe = _mapping(record.provenance.get("probe"))
    if not probe:
        return
    yield "machine", machine(record) or "not probed"
    if probe.get("no_gpu_reason"):
        yield "GPU", f"none: {probe['no_gpu_reason']}"
    yield from ((word, str(probe[key])) for key, word in _MACHINE.items() if probe.get(key) is not None)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Keys in words; mappings inside are followed one level."""
    for key, value in values.items():
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping) and not prefix:
            yield from _flat(value, f"{name}, ")
        elif value is not None and value != [] and value != ():
            yield name, _said(value)


def _said(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return "; ".join(value)
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
