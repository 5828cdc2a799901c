"""HyperBand over random search (Li et al. 2018, arXiv 1603.06560): brackets of paused and promoted trials."""

from bench.strategy import OBJECTIVE, TIME_ATTRIBUTE, Request, Setting, Strategy, TunePlan

SETTINGS = {"reduction_factor": Setting(3, "one in so many trials of a bracket is promoted")}


def build(request: Request) -> TunePlan:
    from ray.tune.search.basic_variant import BasicVariantGenerator

    from bench.schedulers import HyperBand

    return TunePlan(
        search_alg=BasicVariantGenerator(random_state=request.seed),
        scheduler=HyperBand(
            time_attr=TIME_ATTRIBUTE,
            metric=OBJECTIVE,
            mode="min",
            max_t=request.epochs,
            stop_last_trials=True,
            **request.settings,
        ),
        param_space=request.space.tune(),
        stops_at_epochs=False,
    )


STRATEGY = Strategy(
    name="hyperband",
    summary="random search in brackets; the best third of each is promoted (HyperBand)",
    build=build,
    settings=SETTINGS,
    pauses=True,
)
