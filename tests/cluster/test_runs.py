"""The kinds of runs on a real SLURM, undisturbed: each ends by itself, with the same results in whatever jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from bench.events import FINAL_TRIAL, EpochFinished, GrantOpened, TrialStarted
from bench.record import Record
from tests.cluster.runs import Campaign, ClusterRun, placed
from tests.cluster.throwaway import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

GRID = ("--epochs=2", "--final-epochs=2", "--bs-choices=8", "--wd-choices=0.0")
SAMPLES = ("--epochs=2", "--final-epochs=2", "--samples=3")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run that came to its end: what was asked for, and what there is. `starts`, `epochs`: of the search's trials."""

    jobs: list[str]
    record: Record
    losses: dict[tuple[str, int], float | None]
    grants: list[GrantOpened]
    starts: list[TrialStarted]
    epochs: list[EpochFinished]
    at_once: int

    @property
    def workers(self) -> set[str]:
        return {epoch.worker.partition(" pid")[0] for epoch in self.epochs}


def ended(run: ClusterRun, jobs: list[str], at_once: int = 0) -> Ended:
    record = run.finished()
    assert run.trained_twice() == []
    assert run.resume() == [], "nothing is left"
    events = run.events()
    return Ended(
        jobs=jobs,
        record=record,
        losses=run.losses(),
        grants=[event for event in events if isinstance(event, GrantOpened)],
        starts=[event for event in events if isinstance(event, TrialStarted) and event.trial != FINAL_TRIAL],
        epochs=[event for event in events if isinstance(event, EpochFinished) and event.trial != FINAL_TRIAL],
        at_once=at_once,
    )


def serial(run: ClusterRun) -> Ended:
    return ended(run, run.submit("manual", *GRID))


def array(run: ClusterRun) -> Ended:
    return ended(run, run.submit("manual", *GRID, "--array"))


def limited(run: ClusterRun) -> Ended:
    jobs = run.submit("random", *SAMPLES, "--array=2")
    most = 0
    while any(state.active for state in run.states("task")):
        most = max(most, sum(state.state == "RUNNING" for state in run.states("task")))
    return ended(run, jobs, most)


def search(run: ClusterRun) -> Ended:
    return ended(run, run.submit("random", *SAMPLES, "--nodes=2", "--devices=1"))


def shared(run: ClusterRun) -> Ended:
    return ended(run, run.submit("random", *SAMPLES, "--nodes=1", "--devices=1", "--trials-per-device=2"))


STORIES = (serial, array, shared, limited, search)


@pytest.fixture(scope="module")
def stories(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Ended]]:
    def tell(story: Callable[[ClusterRun], Ended]) -> Ended:
        with placed(cluster, story.__name__) as run:
            return story(run)

    campaign = Campaign(
        [{story.__name__: partial(tell, story) for story in pair} for pair in (STORIES[:3], STORIES[3:])]
    )
    try:
        yield campaign.result
    finally:
        campaign.close()
    cluster.clear()
    assert not cluster.orphans()


def test_a_grid_in_one_job_and_in_one_a_trial_is_the_same(stories: Callable[[str], Ended]) -> None:
    one, apart = stories("serial"), stories("array")
    assert (len(one.jobs), len(apart.jobs)) == (1, 2)
    assert one.losses == apart.losses
    assert one.record.final is not None
    assert apart.record.final is not None
    assert one.record.final.test_loss == apart.record.final.test_loss
    assert [grant.purpose for grant in one.grants] == ["search", "final"]
    assert [grant.purpose for grant in apart.grants] == ["search"] * 3 + ["final"]
    assert {grant.devices for grant in (*one.grants, *apart.grants)} == {1}


def test_samples_in_an_array_and_under_ray_are_the_same(stories: Callable[[str], Ended]) -> None:
    apart, together = stories("limited"), stories("search")
    assert (len(apart.jobs), len(together.jobs)) == (2, 3)
    assert apart.at_once == 2, "no more than the limit"
    assert apart.losses == together.losses
    assert together.workers >= {"worker 1", "worker 2"}
    assert sorted(grant.grant.rpartition("-")[0].partition("-")[0] for grant in together.grants) == [
        "final", "worker", "worker",
    ]  # fmt: skip
    assert together.record.status == "finished"


def test_trials_that_share_a_device_of_a_node_are_charged_their_parts_of_it(stories: Callable[[str], Ended]) -> None:
    shared, alone = stories("shared"), stories("search")
    assert shared.losses == alone.losses
    assert {start.devices for start in shared.starts} == {0.5}
    assert {start.devices for start in alone.starts} == {1}
    second = sorted(start.at_s for start in shared.starts)[1]
    assert second < min(epoch.at_s for epoch in shared.epochs), "two of them at once"
    costs = shared.record.costs.search
    assert costs.busy_device_min == pytest.approx(sum(epoch.phases.total_s for epoch in shared.epochs) / 2 / 60)
    assert costs.allocated_device_min is not None
    assert costs.busy_device_min < costs.allocated_device_min
