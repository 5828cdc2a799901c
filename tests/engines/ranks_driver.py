"""A search of trials of two processes, over two nodes with a core each that are one machine: what happened, as JSON.

`python -m tests.engines.ranks_driver FOLDER`, which holds `task.pickle`. In the second trial's second epoch its other
process is killed.
"""

from __future__ import annotations

import itertools
import json
import os
import pickle
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import ray
from ray import tune
from ray.cluster_utils import Cluster

from bench.engines.ray_adjust import kept_workers
from bench.engines.ray_local import ENVIRONMENT, OBJECT_STORE_BYTES
from bench.engines.ray_ranks import resources
from bench.engines.ray_worker import RESULT, WORKER, run_trial
from bench.objectives import Objectives

ADDRESSES = ("127.0.1.1", "127.0.1.2")
RATES = [1e-3, 2e-3, 3e-3]
ACTOR = "_Rank"


class Watch(tune.Callback):  # type: ignore[misc]
    """Notes results and deaths, and which processes serve as other ranks; kills one of them once."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.served: list[int] = []
        self.killed_s = 0.0
        self.noticed_s: list[float] = []

    def __getstate__(self) -> dict[str, object]:
        return {}

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        epoch = result.pop(RESULT)
        loss = [epoch.train_loss, epoch.eval_loss]
        self.results.append([str(trial), epoch.epoch, loss, epoch.phases.startup_s, result[WORKER]])
        self.served += [pid for pid in serving() if pid not in self.served]

    def on_checkpoint(self, iteration: int, trials: Any, trial: Any, checkpoint: Any, **info: Any) -> None:
        """Of an epoch that was reported: from now on a restart goes on from there."""
        if not self.killed_s and (str(trial), self.results[-1][1]) == ("0002", 2):
            self.killed_s = time.monotonic()
            os.kill(self.served[-1], signal.SIGKILL)

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.noticed_s.append(time.monotonic() - self.killed_s)


def serving() -> list[int]:
    """The processes that are a trial's other ranks; Ray writes the actor's name over their command line."""
    return [p.pid for p in psutil.process_iter(["cmdline"]) if ACTOR in " ".join(p.info["cmdline"] or ())]


def main(folder: Path) -> None:
    os.environ.update(ENVIRONMENT)
    task = pickle.loads((folder / "task.pickle").read_bytes())  # noqa: S301
    numbers = itertools.count(1)
    watch = Watch()
    nodes: list[dict[str, Any]] = [
        {"num_cpus": 1, "node_ip_address": address, "object_store_memory": OBJECT_STORE_BYTES} for address in ADDRESSES
    ]
    cluster = Cluster(initialize_head=True, head_node_args={**nodes[0], "include_dashboard": False})
    cluster.add_node(**nodes[1])
    ray.init(address=cluster.address, log_to_driver=False)
    found = sorted(node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"])
    trainable = partial(
        run_trial, task=task, objectives=Objectives(), checkpoints=folder / "checkpoints", copies=False, gate=None
    )
    space = {"learning_rate": tune.grid_search(RATES), "batch_size": 8, "weight_decay": 0.3}
    with kept_workers():
        tune.Tuner(
            tune.with_resources(trainable, resources(task, single_node=False)),
            param_space=space,
            tune_config=tune.TuneConfig(
                reuse_actors=True,
                trial_name_creator=lambda trial: f"{next(numbers):04d}",
                trial_dirname_creator=str,
            ),
            run_config=tune.RunConfig(
                name="search",
                storage_path=str(folder / "tune"),
                callbacks=[watch],
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=2),
            ),
        ).fit()
    ray.shutdown()
    cluster.shutdown()
    told = {"nodes": found, "results": watch.results, "served": watch.served, "noticed_s": watch.noticed_s}
    (folder / "told.json").write_text(json.dumps({**told, "left": serving()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
