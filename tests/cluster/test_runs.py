"""The kinds of runs on a real SLURM, undisturbed: each ends by itself, with the same results in whatever jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from bench.events import EpochFinished, GrantOpened
from bench.record import Record
from tests.cluster.runs import Campaign, ClusterRun, placed
from tests.cluster.throwaway import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

GRID = ("--epochs=2", "--final-epochs=2", "--bs-choices=8", "--wd-choices=0.0")
SAMPLES = ("--epochs=2", "--final-epochs=2", "--samples=3")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run that came to its end: what was asked for, and what there is."""

    jobs: list[str]
    record: Record
    losses: dict[tuple[str, int], float | None]
    grants: list[GrantOpened]
    workers: set[str]
    at_once: int


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
        workers={event.worker.partition(" pid")[0] for event in events if isinstance(event, EpochFinished)},
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


STORIES = (serial, array, limited, search)


@pytest.fixture(scope="module")
def stories(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Ended]]:
    def tell(story: Callable[[ClusterRun], Ended]) -> Ended:
        with placed(cluster, story.__name__) as run:
            return story(run)

    campaign = Campaign(
        [{story.__name__: partial(tell, story) for story in pair} for pair in (STORIES[:2], STORIES[2:])]
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
