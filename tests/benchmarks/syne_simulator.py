"""Syne Tune's simulator on a table of curves, run by an interpreter that has it: prints seconds and trials as JSON.

`syne_simulator.py TABLE STRATEGY TRIALS SLOTS MODE`: TABLE is a JSON file with `configs` (a full grid), their `losses`
and `seconds` by epoch. MODE `defaults` leaves the tuner as it comes; `best` takes away all that costs time and changes
no result: saving, printing, storing, and polling more often than epochs end.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def main(table_path: str, strategy: str, trials: int, slots: int, mode: str) -> dict[str, Any]:
    import numpy as np
    import pandas as pd
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend.simulator_backend.simulator_callback import SimulatorCallback
    from syne_tune.blackbox_repository.blackbox_tabular import BlackboxTabular
    from syne_tune.blackbox_repository.simulated_tabular_backend import UserBlackboxBackend
    from syne_tune.config_space import choice, randint
    from syne_tune.optimizer.baselines import ASHA, RandomSearch

    table = json.loads(Path(table_path).read_text())
    losses, seconds = np.array(table["losses"]), np.array(table["seconds"])
    epochs = losses.shape[1]
    configs = pd.DataFrame(table["configs"])
    space = {name: choice(sorted(set(configs[name].tolist()))) for name in configs}
    objectives = np.stack([losses, np.cumsum(seconds, axis=1)], axis=-1)[:, None]
    blackbox = BlackboxTabular(
        hyperparameters=configs,
        configuration_space=space,
        fidelity_space={"epoch": randint(1, epochs)},
        objectives_evaluations=objectives,
        objectives_names=["loss", "elapsed"],
    )
    backend = UserBlackboxBackend(blackbox=blackbox, elapsed_time_attr="elapsed")
    scheduler = (
        RandomSearch(space, metrics=["loss"], random_seed=0)
        if strategy == "random"
        else ASHA(space, metric="loss", time_attr="epoch", max_t=epochs, reduction_factor=2, random_seed=0)
    )
    best = mode == "best"
    tuner = Tuner(
        trial_backend=backend,
        scheduler=scheduler,
        stop_criterion=StoppingCriterion(max_num_trials_finished=trials, max_num_trials_started=trials),
        n_workers=slots,
        sleep_time=0,
        callbacks=[SimulatorCallback()],
        save_tuner=not best,
        results_update_interval=1e9 if best else 10.0,
        print_update_interval=1e9 if best else 30.0,
    )
    if best:
        logging.disable(logging.CRITICAL)
    began = time.perf_counter()
    tuner.run()
    taken_s = time.perf_counter() - began
    return {"seconds": taken_s, "trials": int(tuner.tuning_status.num_trials_started)}


if __name__ == "__main__":
    path, name, count, places, how = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as null:  # noqa: PTH123
        os.environ["SYNETUNE_FOLDER"] = folder
        with contextlib.redirect_stdout(null):
            result = main(path, name, int(count), int(places), how)
    print(json.dumps(result))
