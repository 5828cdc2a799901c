"""Tree-structured Parzen estimator by Optuna, every trial to the last epoch (Bergstra et al. 2011)."""

from bench.strategy import Request, Setting, Strategy, TunePlan

SETTINGS = {
    "n_startup_trials": Setting(5, "trials drawn at random before the model is asked"),
    "multivariate": Setting(False, "model the hyperparameters jointly"),
}


def build(request: Request) -> TunePlan:
    from ray.tune.schedulers import FIFOScheduler

    from bench.searchers import OptunaTPE

    searcher = OptunaTPE(request.space, seed=request.seed, objectives=request.objectives, **request.settings)
    return TunePlan(search_alg=searcher, scheduler=FIFOScheduler(), param_space={}, model_based=searcher.model_based)


STRATEGY = Strategy(
    name="tpe",
    summary="Optuna's TPE, every trial to the last epoch",
    build=build,
    settings=SETTINGS,
    several=True,
)
