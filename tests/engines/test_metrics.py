"""Searches by other metrics than the loss, in virtual time and as a worker tells Ray Tune of them."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest

from bench.engines.replay import recorded_results
from bench.errors import UserError
from bench.events import EpochFinished, SearchFinished
from bench.objectives import Objectives
from bench.profile import load_profile
from bench.run import training_task
from bench.simulate import virtual_study as from_curves
from bench.strategy import load_strategy
from bench.trials import fold
from tests.builders import study
from tests.engines.simulated import CURVES, simulated, virtual_study


@pytest.mark.parametrize("strategy", ["manual", "random", "tpe", "asha", "bohb", "hyperband", "pbt"])
def test_a_search_by_speed_is_won_by_the_fastest(strategy: str) -> None:
    of = virtual_study(strategy, metrics=("samples_per_s",), samples=8, epochs=3)
    events, state = simulated(of)
    assert state.winner is not None
    rates = [
        e.samples_per_s or 0.0 for e in events if isinstance(e, EpochFinished) and e.eval_loss and e.epoch == of.epochs
    ]
    assert state.winner.values == {"samples_per_s": max(rates)}
    assert state.winner.config["batch_size"] == 16, "on these curves, whatever the loss"
    assert [e.winner for e in events if isinstance(e, SearchFinished)] == [state.winner.trial]
    assert fold(events).winner == state.winner


def test_asha_keeps_what_its_metric_likes() -> None:
    of = virtual_study("asha", metrics=("samples_per_s",), samples=16, epochs=3, slots=2)
    _, state = simulated(of)
    sizes = {
        how: [float(t.config["batch_size"]) for t in state.trials if t.state == how] for how in ("stopped", "completed")
    }
    assert fmean(sizes["stopped"]) < fmean(sizes["completed"]), "the faster are let through"


def test_tpe_follows_two_metrics_by_a_model_of_both() -> None:
    both = ("eval_loss", "trial_device_min")
    _, state = simulated(virtual_study("tpe", metrics=both, samples=12, epochs=2))
    _, again = simulated(virtual_study("tpe", metrics=both, samples=12, epochs=2))
    _, loss = simulated(virtual_study("tpe", samples=12, epochs=2))
    configs = [t.config for t in state.trials]
    assert configs == [t.config for t in again.trials]
    assert configs[:5] == [t.config for t in loss.trials][:5], "drawn at random"
    assert configs != [t.config for t in loss.trials]
    chosen = [t.model_based for t in state.trials]
    assert not any(chosen[:5])
    assert all(chosen[-5:])
    values = [t.values for t in state.trials if t.values]
    assert state.winner is not None
    assert state.winner.values["eval_loss"] == min(v["eval_loss"] for v in values)


def test_a_resumed_search_is_told_the_same_again() -> None:
    events, _ = simulated(virtual_study("random", metrics=("trial_device_min",), samples=2, epochs=3))
    aim, spent = Objectives(metrics=("trial_device_min",)), dict.fromkeys(("0001", "0002"), 0.0)
    seen: dict[str, list[float]] = {"0001": [], "0002": []}
    for result in recorded_results(events):
        if result.epoch is not None:
            spent[result.trial] += result.epoch.phases.total_s
            seen[result.trial].append(aim.of(result.epoch, spent[result.trial])["objective"])
    state = fold(events)
    assert all(len(values) == 3 and values == sorted(values) for values in seen.values())
    assert [t.values["trial_device_min"] for t in state.trials] == pytest.approx([v[-1] for v in seen.values()])


def test_what_curves_do_not_hold_is_refused() -> None:
    from bench.profile import load_profile

    with pytest.raises(UserError, match="--metric memory_mib is not in the curves made-for-tests"):
        from_curves(load_strategy("random"), CURVES, load_profile("cpu"), metrics=("memory_mib",))


def test_a_faster_device_has_more_samples_a_second() -> None:
    once, twice = (simulated(virtual_study("random", samples=1, epochs=1, speed=s))[0] for s in (1.0, 2.0))
    (slow,), (fast,) = ([e.samples_per_s for e in told if isinstance(e, EpochFinished)] for told in (once, twice))
    assert slow is not None
    assert fast == 2 * slow


def test_a_trial_whose_memory_counts_has_a_process_of_its_own(tmp_path: Path) -> None:
    def own(profile: str, *metrics: str) -> bool:
        return training_task(study("random", metrics=metrics), load_profile(profile), tmp_path).needs_own_process

    assert own("cpu", "eval_loss", "memory_mib")
    assert not own("cpu", "samples_per_s")
    assert not own("a100", "memory_mib"), "a GPU's memory is the trial's own"
