"""What runs are called side by side: their run type, then their seed, then what else tells them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from bench.hyperparameters import short_name, shown
from bench.report.keys import Keyed
from bench.report.wording import count, data_name, run_type
from bench.space import Choice, Dimension
from bench.study import Study


def labels(keyed: Sequence[Keyed]) -> list[tuple[str, str]]:
    """For each run the label of its group (the runs that differ in their seed alone) and its own.

    A detail that is needed to tell any two runs of one run type apart stands in all labels, so that they read alike.
    """
    studies = [k.study for k in keyed]
    kinds = [run_type(s) for s in studies]
    details = _needed_details(kinds, studies)
    groups = _joined(kinds, details)
    seeds = [f"seed {s.seed}" for s in studies]
    runs = _joined(kinds, [*([seeds] if _tells(kinds, seeds) else []), *details])
    names = [k.record.run_id for k in keyed]
    runs = _joined(runs, [names]) if _tells(runs, names) else runs
    return list(zip(groups, _numbered(runs), strict=True))


def _needed_details(kinds: list[str], studies: list[Study]) -> list[list[str]]:
    needed: list[list[str]] = []
    for detail in _details(kinds, studies):
        if _tells(_joined(kinds, needed), detail):
            needed.append(detail)
    return needed


def _details(kinds: list[str], studies: list[Study]) -> Iterator[list[str]]:
    yield [s.workload for s in studies]
    yield [s.recipe for s in studies]
    yield [f"data {data_name(s)}" for s in studies]
    yield [s.profile for s in studies]
    yield _plans(kinds, studies)
    yield _bounds(studies)
    yield [f"{s.final_epochs} final" for s in studies]
    yield [count(s.devices, "device") for s in studies]
    yield [count(s.devices_per_trial, "device") + " a trial" for s in studies]
    yield _settings(studies)
    yield [f"model {s.model or 'default'}" for s in studies]
    yield [f"DeepSpeed {s.deepspeed or 'default'}" for s in studies]
    yield [f"by {' and '.join(s.metrics)}" for s in studies]
    yield [count(s.trials_per_device, "trial") + " a device" for s in studies]


def _plans(kinds: list[str], studies: list[Study]) -> list[str]:
    """Trials, epochs, or both (`12x5`), whichever differ."""
    trials = [count(s.samples, "trial") for s in studies]
    epochs = [count(s.epochs, "epoch") for s in studies]
    if _tells(kinds, trials) and _tells(kinds, epochs):
        return [f"{s.samples}x{s.epochs}" for s in studies]
    return trials if _tells(kinds, trials) else epochs


def _bounds(studies: list[Study]) -> list[str]:
    """The domains of the hyperparameters that are searched in different ones."""
    domains = [{d.name: _domain(d) for d in s.space.dimensions} for s in studies]
    names = dict.fromkeys(name for domain in domains for name in domain)
    differing = [n for n in names if len({domain.get(n) for domain in domains}) > 1]
    return [", ".join(f"{short_name(n)} {domain[n]}" for n in differing if n in domain) for domain in domains]


def _domain(dimension: Dimension) -> str:
    if isinstance(dimension, Choice):
        return "|".join(shown(value, "g") for value in dimension.values)
    return f"{dimension.lower:g}..{dimension.upper:g}"


def _settings(studies: list[Study]) -> list[str]:
    """The settings in which runs of one strategy differ."""
    values: dict[tuple[str, str], set[str]] = {}
    for study in studies:
        for key, value in study.settings.items():
            values.setdefault((study.strategy, key), set()).add(str(value))
    return [
        ", ".join(f"{key} {value}" for key, value in s.settings.items() if len(values[s.strategy, key]) > 1)
        for s in studies
    ]


def _tells(labels: Sequence[str], detail: Sequence[str]) -> bool:
    """Whether the detail tells any two runs of one label apart."""
    return len(set(zip(labels, detail, strict=True))) > len(set(labels))


def _joined(labels: Sequence[str], details: Sequence[Sequence[str]]) -> list[str]:
    return [", ".join(part for part in parts if part) for parts in zip(labels, *details, strict=True)]


def _numbered(labels: list[str]) -> list[str]:
    """The same run given twice is numbered."""
    counts, seen = Counter(labels), Counter[str]()
    numbered = []
    for label in labels:
        seen[label] += 1
        numbered.append(f"{label} ({seen[label]})" if counts[label] > 1 else label)
    return numbered
