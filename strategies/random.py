"""Random search: configurations drawn independently, each trained to the last epoch."""

from bench.strategy import Request, Strategy, TunePlan


def build(request: Request) -> TunePlan:
    from ray.tune.schedulers import FIFOScheduler
    from ray.tune.search.basic_variant import BasicVariantGenerator

    return TunePlan(
        search_alg=BasicVariantGenerator(random_state=request.seed),
        scheduler=FIFOScheduler(),
        param_space=request.space.tune(),
    )


STRATEGY = Strategy(name="random", summary="random search, every trial to the last epoch", build=build, several=True)
