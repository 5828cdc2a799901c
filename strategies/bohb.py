"""BOHB (Falkner et al. 2018, arXiv 1807.01774): HyperBand's brackets, filled by a density model of good and bad."""

from bench.strategy import OBJECTIVE, TIME_ATTRIBUTE, Request, Setting, Strategy, TunePlan

SETTINGS = {
    "reduction_factor": Setting(3, "one in so many trials of a bracket is promoted"),
    "top_n_percent": Setting(15, "per cent of the results at a budget that count as good"),
    "num_samples": Setting(64, "candidates drawn from the model for one suggestion"),
    "random_fraction": Setting(1 / 3, "share of suggestions drawn at random all the same"),
    "bandwidth_factor": Setting(3.0, "widening of the kernels that candidates are drawn from"),
    "min_bandwidth": Setting(1e-3, "narrowest kernel, as a share of the range"),
}


def build(request: Request) -> TunePlan:
    from ray.tune.schedulers import HyperBandForBOHB

    from bench.searchers import BOHBSearch

    settings = dict(request.settings)
    scheduler = HyperBandForBOHB(
        time_attr=TIME_ATTRIBUTE,
        metric=OBJECTIVE,
        mode="min",
        max_t=request.epochs,
        reduction_factor=settings.pop("reduction_factor"),
        stop_last_trials=True,
    )
    searcher = BOHBSearch(request.space, seed=request.seed, **settings)
    return TunePlan(
        search_alg=searcher,
        scheduler=scheduler,
        param_space={},
        stops_at_epochs=False,
        model_based=searcher.model_based,
    )


STRATEGY = Strategy(
    name="bohb",
    summary="HyperBand's brackets filled by a density model of good and bad (BOHB, hpbandster)",
    build=build,
    settings=SETTINGS,
    pauses=True,
)
