"""Where a run says it comes from: machine and profile, inputs, seeds, software."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from bench.events import RunResumed
from bench.probe import Probe
from bench.provenance import differences, locked_versions
from bench.resources import resource_dir
from bench.run import SEED_NAMES
from bench.seeds import child_seed
from bench.submission.findings import Findings, quoted
from bench.submission.run import Run
from bench.submission.statement import DIGEST, Statement
from bench.submission.strategies import STRATEGY_HASH

INPUTS = ("hashes", "splits", "parameters")
"""What a run must have been given, and a resumed one the same."""
MACHINE = ("probe", "packages", "git")
SHA256 = re.compile(r"[0-9a-f]{64}")
COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def check_provenance(run: Run, statement: Statement | None, findings: Findings) -> None:
    """Findings about a measured run's origin, at its start and at each resumption."""
    first_line, _ = run.lines[0]
    first = run.record.provenance
    if "simulated" in first:
        findings.add("simulated-probe", run.at(first_line), "Its study is measured, and its provenance is simulated.")
    _check_machine(run, first, run.at(first_line), findings)
    _check_inputs(run, first, run.at(first_line), findings)
    _check_seeds(run, first, run.at(first_line), findings)
    _check_software(first, run.at(first_line), statement, findings)
    for line, event in run.lines:
        if isinstance(event, RunResumed):
            _check_machine(run, event.provenance, run.at(line), findings)
            _check_software(event.provenance, run.at(line), statement, findings)
            for name in (*INPUTS, STRATEGY_HASH):
                if event.provenance.get(name) != first.get(name):
                    findings.add("inputs-differ", run.at(line), f"The {name} are not those that the run began with.")
            if any(event.provenance.get(name) != first.get(name) for name in MACHINE):
                findings.add("machine-changed", run.at(line), "It went on on another machine or with other software.")


@cache
def _probe_adapter() -> Any:
    from pydantic import ConfigDict, TypeAdapter, with_config

    return TypeAdapter(with_config(ConfigDict(extra="forbid", strict=True))(Probe))


def parse_probe(data: object) -> Probe:
    """A probe from plain data. Raises ValueError where it is none."""
    probe: Probe = _probe_adapter().validate_json(json.dumps(data))
    return probe


def _check_machine(run: Run, provenance: Mapping[str, Any], where: str, findings: Findings) -> None:
    try:
        probe = parse_probe(provenance.get("probe"))
    except ValueError:
        findings.add("bad-provenance", where, "What the probe read is missing or malformed: run it with this suite.")
        return
    profile, study = run.profile, run.study
    if profile.gpu is not None and probe.mismatches(profile):
        findings.add(
            "profile-mismatch", where, f"The run claims profile {profile.name}, and has {probe.describe_gpus()}."
        )
        return
    software = probe.software_mismatch(profile)
    if software is not None:
        findings.add("profile-mismatch", where, f"The run claims profile {profile.name}, but {software}.")
    available = probe.available_devices(profile)
    if study.devices > available:
        findings.add(
            "too-many-devices", where, f"The study has {study.devices} devices, and the machine {available} of them."
        )


def _check_inputs(run: Run, provenance: Mapping[str, Any], where: str, findings: Findings) -> None:
    hashes, splits, parameters = (provenance.get(name) for name in INPUTS)
    if not isinstance(hashes, dict) or not all(
        isinstance(hashes.get(name), str) and SHA256.fullmatch(hashes[name]) for name in ("model", "tokenizer", "data")
    ):
        findings.add("bad-provenance", where, "The hashes of model, tokenizer and data are missing or malformed.")
        hashes = {}
    if not isinstance(splits, dict) or not all(_count(splits.get(name)) for name in ("train", "validation", "test")):
        findings.add("bad-provenance", where, "The sizes of the splits are missing or malformed.")
        splits = {}
    if not _count(parameters):
        findings.add("bad-provenance", where, f"The model's parameters are {quoted(parameters)}: give how many it has.")
        parameters = None
    data, known = run.workload.data, run.known
    for name, size in splits.items():
        most = getattr(data, name, None)
        if most is None or size > most or (known is not None and size != most):
            findings.add(
                "inputs-differ", where, f"The split {quoted(name)} has {size} examples; the workload's {most}."
            )
    if known is None:
        return
    for what, given, right in (
        ("parameters", parameters, known.parameters),
        ("sha256 of the data", hashes.get("data"), known.data_sha256),
    ):
        if given is not None and right is not None and given != right:
            findings.add(
                "inputs-differ", where, f"The {what}: {quoted(given, 16)}; the workload's own: {quoted(right, 16)}."
            )


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _check_seeds(run: Run, provenance: Mapping[str, Any], where: str, findings: Findings) -> None:
    right = {name: child_seed(run.study.seed, name) for name in SEED_NAMES}
    if provenance.get("seeds") != right:
        findings.add("seeds-differ", where, f"The seeds are not those that seed {run.study.seed} gives: run it again.")


def _check_software(provenance: Mapping[str, Any], where: str, statement: Statement | None, findings: Findings) -> None:
    git, lock, packages = (provenance.get(name) for name in ("git", "lock", "packages"))
    if not isinstance(git, dict) or not COMMIT.fullmatch(str(git.get("commit"))):
        findings.add("no-commit", where, "It does not say from which commit it ran: run it in a checkout.")
    elif git.get("clean") is not True:
        findings.add("dirty-tree", where, f"The tree had changes beside commit {str(git['commit'])[:12]}: commit them.")
    told = _lock_differences(lock, packages)
    if told:
        findings.add("packages-differ", where, f"{told}: run `make setup` with the lock.")
    image = provenance.get("image")
    digest = image.get("digest") if isinstance(image, dict) else None if statement is None else statement.container
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        findings.add("no-container", where, "No container's digest is given: the software rests on the lock alone.")


def _lock_differences(lock: object, packages: object) -> str | None:
    if not isinstance(lock, dict) or not isinstance(lock.get("differences"), list) or not isinstance(packages, dict):
        return "It does not say which packages it ran with, or against which lock"
    told = lock["differences"]
    if not told and lock.get("sha256") == _own_lock()[0]:
        pins = _own_lock()[1]
        given = {name: value if isinstance(value, str) else None for name, value in packages.items()}
        told = differences(pins, {name: given.get(name) for name in pins})
    return f"Packages differ from the lock: {quoted(told[0], 80)} and {len(told) - 1} more" if told else None


@cache
def _own_lock() -> tuple[str | None, dict[str, str]]:
    import hashlib

    path = resource_dir("hardware_profiles").parent / "requirements.lock"
    if not path.is_file():
        return None, {}
    return hashlib.sha256(path.read_bytes()).hexdigest(), locked_versions(path)
