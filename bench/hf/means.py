"""What each means of the recipe `fast` gives alone, and all together: `python -m bench.hf.means tiny-squad`.

Prints rows for `qa`, `qa` with each means (and what it needs), `fast`, and `fast` without each. The rounds take turns;
of all epochs but the first of a trial, which warms up, the least counts: CPU seconds of the process, which other work
on the machine disturbs least, and the phases' seconds of wall time. Rows of `docs/fast.md` come from here.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from bench.hf import prepare, train_trial
from bench.space import Config
from bench.training import EpochResult, TrainingTask
from bench.workload import Computation, load_recipe, load_workload


def variants() -> dict[str, Computation]:
    """By name, `qa` first."""
    plain, fast = load_recipe("qa").computation, load_recipe("fast").computation
    used = [f.name for f in fields(fast) if getattr(fast, f.name) != getattr(plain, f.name)]
    alone = {f"qa + {name}": _with(plain, name, getattr(fast, name)) for name in used}
    without = {f"fast - {name}": _with(fast, name, getattr(plain, name)) for name in used}
    return {"qa": plain, **alone, "fast": fast, **without}


def _with(computation: Computation, name: str, value: str) -> Computation:
    """With one field changed, and those that the change needs."""
    needs = {"tokens": ["attention"], "last_block": ["head", "attention"]}
    changes: dict[str, Any] = {name: value}
    if value == getattr(Computation(), name):
        changes |= {other: getattr(Computation(), other) for other in needs if name in needs[other]}
    else:
        fast = load_recipe("fast").computation
        changes |= {other: getattr(fast, other) for other in needs.get(name, [])}
    return replace(computation, **changes)


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """An epoch: CPU seconds of the process, and what the trial reported."""

    cpu_s: float
    result: EpochResult


def measure(task: TrainingTask, computation: Computation, config: Config) -> list[Epoch]:
    """A trial's epochs but the first."""
    task = replace(task, recipe=replace(task.recipe, computation=computation))
    marks: list[tuple[float, EpochResult]] = []
    with tempfile.TemporaryDirectory() as folder:
        train_trial(task, config, folder=Path(folder), on_epoch=lambda r: marks.append((time.process_time(), r)))
    ends = [cpu_s for cpu_s, _ in marks]
    return [
        Epoch(cpu_s=end - start, result=result)
        for start, end, (_, result) in zip(ends, ends[1:], marks[1:], strict=False)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload")
    parser.add_argument("--bs", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="Of the rows, 'qa' and these.")
    options = parser.parse_args()
    workload = load_workload(options.workload)
    task = TrainingTask(
        workload=workload,
        recipe=load_recipe("qa"),
        precision="fp32",
        device="cpu",
        threads=1,
        init_seed=1,
        data_seed=2,
        epochs=options.epochs,
        cache=Path(tempfile.gettempdir()) / "sweepmark-means",
    )
    prepare(task)
    config: Config = {"learning_rate": 1e-3, "batch_size": options.bs, "weight_decay": 0.0}
    found: dict[str, list[Epoch]] = {}
    for _ in range(options.rounds):
        for name, computation in variants().items():
            if not options.only or name in ("qa", *options.only):
                found.setdefault(name, []).extend(measure(task, computation, config))
    print("computation           cpu_s  of qa's  train_s  eval_s  checkpoint_s  last eval_loss")
    qa_s = _least(found["qa"], lambda epoch: epoch.cpu_s)
    for name, epochs in found.items():
        cpu_s = _least(epochs, lambda epoch: epoch.cpu_s)
        train_s = _least(epochs, lambda epoch: epoch.result.phases.train_s)
        eval_s = _least(epochs, lambda epoch: epoch.result.phases.eval_s)
        checkpoint_s = _least(epochs, lambda epoch: epoch.result.phases.checkpoint_s)
        print(
            f"{name:18s}  {cpu_s:7.3f}  {cpu_s / qa_s:7.1%}  {train_s:7.3f}  {eval_s:6.3f}  {checkpoint_s:12.4f}  "
            f"{epochs[-1].result.eval_loss:.7f}"
        )


def _least(epochs: Sequence[Epoch], what: Callable[[Epoch], float]) -> float:
    return min(what(epoch) for epoch in epochs)


if __name__ == "__main__":
    main()
