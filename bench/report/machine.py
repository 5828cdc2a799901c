"""The machine that a run was measured on, as its probe read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from bench.record import Record


def machine(record: Record) -> str:
    """In words: `8 x Tesla V100-SXM2-32GB`, or `2 cores of Intel(R) Xeon(R) Processor`; empty where nothing was probed.

    Costs are measured on one machine: two CPUs of one profile need not be equally fast.
    """
    probe = record.provenance.get("probe")
    if not isinstance(probe, Mapping):
        return ""
    names = Counter(_name(gpu) for gpu in _gpus(probe))
    if names:
        return ", ".join(f"{number} x {name}" for name, number in names.items())
    model, cores = probe.get("cpu_model"), probe.get("cpus")
    return f"{cores} cores of {model}" if model and cores else ""


def _gpus(probe: Mapping[str, Any]) -> list[Any]:
    found = probe.get("gpus")
    return found if isinstance(found, list) else []


def _name(gpu: Any) -> str:
    return str(gpu.get("name")) if isinstance(gpu, Mapping) else "GPU"


def image(record: Record) -> str:
    """The digest of the container's image that a run was made in; empty without one, or where it is not known."""
    given = record.provenance.get("image")
    digest = given.get("digest") if isinstance(given, dict) else None
    return digest if isinstance(digest, str) else ""
