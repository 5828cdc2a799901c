"""Asynchronous successive halving over random search (Li et al. 2020, arXiv 1810.05934)."""

from bench.strategy import OBJECTIVE, TIME_ATTRIBUTE, Request, Setting, Strategy, TunePlan

SETTINGS = {
    "grace_period": Setting(1, "epochs that every trial gets before it may be stopped"),
    "reduction_factor": Setting(2, "one in so many trials passes a rung"),
    "brackets": Setting(1, "brackets, each with a longer grace period than the last"),
}


def build(request: Request) -> TunePlan:
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.basic_variant import BasicVariantGenerator

    return TunePlan(
        search_alg=BasicVariantGenerator(random_state=request.seed),
        scheduler=ASHAScheduler(
            time_attr=TIME_ATTRIBUTE, metric=OBJECTIVE, mode="min", max_t=request.epochs, **request.settings
        ),
        param_space=request.space.tune(),
    )


STRATEGY = Strategy(
    name="asha",
    summary="random search, the worse half stopped at each rung (ASHA)",
    build=build,
    settings=SETTINGS,
)
