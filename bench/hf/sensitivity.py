"""How the loss of a workload depends on its hyperparameters: `python -m bench.hf.sensitivity tiny-squad`.

Prints one row for each configuration: the evaluation loss after the last epoch, mean and range over the seeds, and the
seconds of a trial. Rows of `docs/tiny-squad.md` come from here.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path

from bench.hf import prepare, train_trial
from bench.hyperparameters import Value
from bench.training import EpochResult, TrainingTask, TrialFailed
from bench.workload import load_recipe, load_workload


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload")
    parser.add_argument("--recipe", default="qa")
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--lr", type=float, nargs="+", default=[2e-4, 4e-4, 1e-3, 2e-3, 4e-3, 8e-3])
    parser.add_argument("--bs", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--wd", type=float, nargs="+", default=[0.0, 1.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int)
    options = parser.parse_args()
    workload = load_workload(options.workload)
    print("learning_rate  batch_size  weight_decay  eval_loss  lowest  highest  trial_s", flush=True)
    for rate, size, decay in itertools.product(options.lr, options.bs, options.wd):
        losses, wall_s = [], []
        for seed in range(options.seeds):
            task = TrainingTask(
                workload=workload,
                recipe=load_recipe(options.recipe),
                precision="fp32",
                device="cpu",
                threads=1,
                init_seed=seed,
                data_seed=seed + 1000,
                epochs=options.epochs or workload.epochs,
                cache=Path(tempfile.gettempdir()) / "sweepmark-sensitivity",
                dataset=options.dataset,
            )
            prepare(task)
            started_s = time.perf_counter()
            losses.append(_last_loss(task, {"learning_rate": rate, "batch_size": size, "weight_decay": decay}))
            wall_s.append(time.perf_counter() - started_s)
        mean = sum(losses) / len(losses)
        print(
            f"{rate:13g}  {size:10d}  {decay:12g}  {mean:9.3f}  {min(losses):6.3f}  {max(losses):7.3f}  "
            f"{min(wall_s):7.1f}",
            flush=True,
        )


def _last_loss(task: TrainingTask, config: dict[str, Value]) -> float:
    """The loss after the last epoch; NaN where the trial failed."""
    results: list[EpochResult] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            train_trial(task, config, folder=Path(folder), on_epoch=results.append)
        except TrialFailed:
            return float("nan")
    return results[-1].eval_loss


if __name__ == "__main__":
    main()
