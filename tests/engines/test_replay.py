"""The gate hands recorded results out in their order, to whom they belong, and does not wait for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from bench.engines import replay
from bench.engines.replay import Recorded, ReplayGate, recorded_results
from bench.events import EpochFinished, TrialEnded
from tests.builders import Run, epoch, journal

A, B = {"learning_rate": 1e-3}, {"learning_rate": 2e-3}


def _recorded(trial: str, config: Mapping[str, float], loss: float) -> Recorded:
    measured = epoch(trial, 1, loss, at_s=1.0)
    assert isinstance(measured, EpochFinished)
    return Recorded(trial, config, measured)


RESULTS = [_recorded("1", A, 3.0), _recorded("2", B, 2.0), _recorded("1", A, 1.0)]


def test_results_come_in_order_one_at_a_time() -> None:
    async def play() -> list[str]:
        gate = ReplayGate(RESULTS)
        order: list[str] = []

        async def trial(name: str, config: dict[str, float]) -> None:
            while (result := await gate.next(name, config)) is not None:
                assert result.epoch is not None
                order.append(f"{name}:{result.epoch.eval_loss}")
                await gate.processed()

        await asyncio.gather(trial("2", B), trial("1", A))
        return order

    assert asyncio.run(play()) == ["1:3.0", "2:2.0", "1:1.0"]


def test_the_next_result_waits_until_the_last_decision_is_carried_out() -> None:
    async def play() -> None:
        gate = ReplayGate(RESULTS)
        await gate.next("1", A)
        second = asyncio.create_task(gate.next("2", B))
        await asyncio.sleep(0)
        assert not second.done()
        assert await gate.processed() == 2
        assert (await second) == RESULTS[1]

    asyncio.run(play())


def test_another_configuration_is_trained_anew() -> None:
    async def play() -> None:
        gate = ReplayGate(RESULTS)
        assert await gate.next("1", B) is None
        assert await gate.next("2", B) == RESULTS[1]

    asyncio.run(play())


def test_a_trial_that_does_not_come_is_passed_over_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "STUCK_S", 0.01)

    async def play() -> None:
        gate = ReplayGate(RESULTS)
        assert await gate.next("2", B) == RESULTS[1]
        assert await gate.awaited() == 1, "that of trial 2 is being carried out"
        assert await gate.processed() == 0, "nobody waits for those of trial 1"
        assert await gate.next("2", B) is None, "it trains on"
        assert await gate.awaited() == 0
        assert await gate.next("1", A) == RESULTS[0], "it got its devices later"
        assert await gate.processed() == 1
        assert await gate.next("1", A) == RESULTS[2]
        assert await gate.processed() == 0
        assert await gate.next("1", A) is None

    asyncio.run(play())


def test_the_record_of_a_journal_holds_failures_but_not_the_final_retrain() -> None:
    events = journal([Run(losses=[3.0, 2.0])])
    results = recorded_results(events)
    assert [r.epoch.eval_loss for r in results if r.epoch] == [3.0, 2.0]
    end = next(e for e in events if isinstance(e, TrialEnded))
    failed = recorded_results([*events, replace(end, state="nan", detail="no")])[-1]
    assert (failed.failed, failed.epoch, failed.config) == (("nan", "no"), None, results[-1].config)


def test_that_a_trial_diverged_is_one_result_not_two() -> None:
    events = journal([Run(losses=[3.0, None], state="nan"), Run(losses=[2.0, 1.0], state="failed")])
    results = recorded_results(events)
    assert [(r.trial, r.epoch is None, r.failed and r.failed[0]) for r in results] == [
        ("t0", False, None),
        ("t0", False, "nan"),
        ("t1", False, None),
        ("t1", False, None),
        ("t1", True, "failed"),
    ]
