"""A real SLURM, started once for all tests of clusters."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.throwaway import Cluster, missing, throwaway_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """SLURM's programs find it through os.environ."""
    if os.environ.get("SWEEPMARK_CLUSTER_TESTS") != "1":
        pytest.skip("a SLURM cluster is started by `make test-cluster` alone: it takes some minutes")
    if reason := missing():
        pytest.skip(reason)
    with throwaway_cluster() as cluster, pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.environment.items():
            patch.setenv(name, value)
        yield cluster
    assert not cluster.root.exists()
    left = [name for name, pid in cluster.pids.items() if Path(f"/proc/{pid}").exists()]
    assert not left, "daemons outlived their cluster"


@pytest.fixture
def idle(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster; whatever the test submits, drains or takes down is undone after it."""
    yield cluster
    cluster.clear()
