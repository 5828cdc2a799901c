"""Asynchronous successive halving fed by Optuna's TPE: what the workshop ran under the name of ASHA."""

from bench.strategy import OBJECTIVE, TIME_ATTRIBUTE, Request, Setting, Strategy, TunePlan

SETTINGS = {
    "grace_period": Setting(1, "epochs that every trial gets before it may be stopped"),
    "reduction_factor": Setting(2, "one in so many trials passes a rung"),
    "n_startup_trials": Setting(5, "trials drawn at random before the model is asked"),
    "multivariate": Setting(False, "model the hyperparameters jointly"),
}


def build(request: Request) -> TunePlan:
    from ray.tune.schedulers import ASHAScheduler

    from bench.searchers import OptunaTPE

    settings = dict(request.settings)
    scheduler = ASHAScheduler(
        time_attr=TIME_ATTRIBUTE,
        metric=OBJECTIVE,
        mode="min",
        max_t=request.epochs,
        grace_period=settings.pop("grace_period"),
        reduction_factor=settings.pop("reduction_factor"),
    )
    searcher = OptunaTPE(request.space, seed=request.seed, **settings)
    return TunePlan(search_alg=searcher, scheduler=scheduler, param_space={}, model_based=searcher.model_based)


STRATEGY = Strategy(
    name="asha-tpe",
    summary="Optuna's TPE, the worse half stopped at each rung (ASHA)",
    build=build,
    settings=SETTINGS,
)
