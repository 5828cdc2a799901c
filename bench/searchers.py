"""Ray Tune's model-based searchers, with a note of which suggestions a model made."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import optuna
from ray.tune.search.bohb import TuneBOHB
from ray.tune.search.optuna import OptunaSearch

from bench.space import SearchSpace
from bench.strategy import OBJECTIVE, objective_names


class BOHBSearch(TuneBOHB):
    """`TuneBOHB` on the project's space. `model_based`: Tune's trial id to whether the model chose.

    hpbandster also draws from numpy's global generator: the engine seeds that for the run.
    """

    def __init__(self, space: SearchSpace, *, seed: int, **bohb_config: Any) -> None:
        warnings.filterwarnings("ignore", module="hpbandster|ConfigSpace|statsmodels|pandas")
        logging.getLogger("hpbandster").setLevel(logging.ERROR)
        self.model_based: dict[str, bool] = {}
        super().__init__(
            space=space.configspace(seed), bohb_config=bohb_config, metric=OBJECTIVE, mode="min", seed=seed
        )
        draw = self.bohber.get_config

        def draw_and_note(budget: float | None) -> tuple[dict[str, Any], dict[str, Any]]:
            config, info = draw(budget)
            self._from_model = bool(info["model_based_pick"])
            return config, info

        self.bohber.get_config = draw_and_note

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        config: dict[str, Any] | None = super().suggest(trial_id)
        if config is None:
            return None
        self.model_based[trial_id] = self._from_model
        return {name: getattr(value, "item", lambda value=value: value)() for name, value in config.items()}


class OptunaTPE(OptunaSearch):
    """`OptunaSearch` with Optuna's TPE sampler on the project's space. A model chooses once `n_startup_trials` trials
    have ended. `model_based`: Tune's trial id to whether it did. `objectives`: of several, good trials are those on the
    first Pareto fronts (MOTPE: Ozaki et al. 2022)."""

    def __init__(
        self, space: SearchSpace, *, seed: int, n_startup_trials: int, multivariate: bool, objectives: int = 1
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self.model_based: dict[str, bool] = {}
        self._n_startup_trials = n_startup_trials
        sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=n_startup_trials, multivariate=multivariate, constant_liar=True
        )
        domains = OptunaSearch.convert_search_space(space.tune())
        if objectives == 1:
            super().__init__(space=domains, metric=OBJECTIVE, mode="min", sampler=sampler)
        else:
            names = objective_names(objectives)
            super().__init__(space=domains, metric=names, mode=["min"] * objectives, sampler=sampler)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        finished = len(self._completed_trials)
        config: dict[str, Any] | None = super().suggest(trial_id)
        if config is not None:
            self.model_based[trial_id] = finished >= self._n_startup_trials
        return config
