"""Population-based training (Jaderberg et al. 2017, arXiv 1711.09846), synchronous: after every interval the worst
quarter takes over weights and optimiser of the best and goes on with perturbed hyperparameters. The population is
`samples`; where it is larger than the slots, it is time-sliced, and what that costs is charged.

What the weights and the optimiser's state were made with (the optimiser, LoRA's rank and alpha) comes with them: a copy
has its donor's value of it, and so it has of precision and ZeRO stage. All else is perturbed."""

from bench.hyperparameters import midway
from bench.space import Choice
from bench.strategy import OBJECTIVE, TIME_ATTRIBUTE, Request, Setting, Strategy, TunePlan

SETTINGS = {
    "perturbation_interval": Setting(1, "epochs between exploits"),
    "quantile_fraction": Setting(0.25, "share of the population that copies, and that is copied"),
    "resample_probability": Setting(0.25, "chance that a hyperparameter is drawn anew instead of perturbed"),
}


def build(request: Request) -> TunePlan:
    from ray.tune.search.basic_variant import BasicVariantGenerator

    from bench.schedulers import Population

    space = request.space

    def within_bounds(config: dict[str, float]) -> dict[str, float]:
        for d in space.dimensions:
            if not isinstance(d, Choice):
                config[d.name] = min(max(config[d.name], d.lower), d.upper)
        return config

    domains = space.tune()
    perturbed = [d for d in space.dimensions if midway(d.name)]
    return TunePlan(
        search_alg=BasicVariantGenerator(random_state=request.seed),
        scheduler=Population(
            time_attr=TIME_ATTRIBUTE,
            metric=OBJECTIVE,
            mode="min",
            hyperparam_mutations={
                d.name: list(d.values) if isinstance(d, Choice) else domains[d.name] for d in perturbed
            },
            custom_explore_fn=within_bounds,
            log_config=False,
            synch=True,
            **request.settings,
        ),
        param_space=domains,
    )


STRATEGY = Strategy(
    name="pbt",
    summary="a population that copies its best members and perturbs their hyperparameters (PBT, synchronous)",
    build=build,
    settings=SETTINGS,
    copies=True,
)
