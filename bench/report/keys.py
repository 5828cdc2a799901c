"""What two runs must share for a cost ratio between them to mean anything, and what makes them one group."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from bench.record import Record
from bench.study import Simulation, Study
from bench.workload import load_workload, workload_names

KEY_FIELDS = (
    "workload", "recipe", "profile", "epochs", "final epochs", "devices per trial", "model", "data set", "DeepSpeed",
    "simulation", "metrics",
)  # fmt: skip
"""The parts of `Study.comparison_key`, in its order."""

_FINAL_EPOCHS = KEY_FIELDS.index("final epochs")


@dataclass(frozen=True)
class Keyed:
    """A record with its study and what it is compared by. `hashes`: of model, tokenizer and data; not of a model whose
    weights are drawn from the run's seed."""

    record: Record
    study: Study
    key: tuple[Any, ...]
    hashes: dict[str, Any]

    @classmethod
    def of(cls, record: Record) -> Keyed:
        study = record.parsed_study()
        found = record.provenance.get("hashes")
        hashes = dict(found) if isinstance(found, dict) else {}
        if study.model is None and _drawn_from_seed(study.workload):
            hashes.pop("model", None)
        return cls(record, study, study.comparison_key(), hashes)

    @property
    def search_key(self) -> tuple[Any, ...]:
        """The key of the search alone: the final retrain is in no search's cost."""
        return self.key[:_FINAL_EPOCHS] + self.key[_FINAL_EPOCHS + 1 :]

    @cached_property
    def conditions(self) -> str:
        """Equal for runs to which the same manual runs compare."""
        return json.dumps(
            [search_is_over(self.record), list(self.search_key), self.hashes], sort_keys=True, default=str
        )

    @cached_property
    def group(self) -> str:
        """Equal for runs that differ in their seed alone."""
        study = self.study
        plan = [study.strategy, dict(study.settings), study.samples, study.devices, self.record.study["space"]]
        plan += [study.trials_per_device] if study.trials_per_device > 1 else []
        return json.dumps([*plan, list(self.key)], sort_keys=True, default=str)


@cache
def _drawn_from_seed(workload: str) -> bool:
    """Whether the workload's model starts from random weights; not known of a workload of somebody else's."""
    return workload in workload_names() and load_workload(workload).model.bloom is not None


def search_is_over(record: Record) -> bool:
    """Whether its search came to its end; one that did not has no cost to compare."""
    return record.status == "finished" or any(t.purpose == "final" for t in record.trials)


def difference(one: Keyed, other: Keyed) -> str:
    """Why the searches of two runs do not compare; empty where they do."""
    pairs = [p for i, p in enumerate(zip(KEY_FIELDS, one.key, other.key, strict=True)) if i != _FINAL_EPOCHS]
    differing = [f"{name} {said(a)} against {said(b)}" for name, a, b in pairs if a != b]
    shared = sorted(one.hashes.keys() & other.hashes.keys())
    differing += [f"another {name} (its hash differs)" for name in shared if one.hashes[name] != other.hashes[name]]
    return ", ".join(differing)


def said(value: Any) -> str:
    """A part of a comparison key in words."""
    if value is None:
        return "default"
    if isinstance(value, Simulation):
        return f"of {value.nodes} x {value.node_devices} devices on the curves {value.curves}"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
