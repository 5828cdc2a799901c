"""The small all-reduce, for real; and with processes that do not come, lie, crash or have another clock."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from bench.cluster.site import Site
from bench.doctor import exchange
from bench.doctor.exchange import Outcome
from bench.profile import load_profile
from tests.doctor.machines import BARE, NODE

SITE = Site(interface="lo")

CHANGED = """
import json, sys, time
from bench.doctor import exchange_worker
part = json.loads(sys.argv[1])
if part["rank"] == 1:
    {change}
exchange_worker.main()
"""


def worker(change: str) -> tuple[str, ...]:
    """The real worker, in which the second process is changed."""
    return (sys.executable, "-c", CHANGED.format(change=change))


def test_a_process_that_never_comes_is_waited_for_no_longer_than_the_deadline(tmp_path: Path) -> None:
    one = exchange.part(tmp_path, 0, 2, "gloo", "127.0.0.1", SITE, 60.0, device="cpu")
    began_s = time.monotonic()
    outcomes = exchange.run([one], 4.0)
    assert time.monotonic() - began_s < 10
    line = exchange.told("workers", outcomes, 2, "gloo", " over lo")
    assert line.status == "fail"
    assert "process 0 did not end within 4 s" in line.found


def test_a_process_that_crashes_is_named_and_the_others_are_ended() -> None:
    began_s = time.monotonic()
    line = exchange.within(
        load_profile("cpu"), BARE, SITE, worker=worker("sys.exit('ImportError: libgomp is missing')")
    )
    assert time.monotonic() - began_s < 20
    assert line.status == "fail"
    assert "process 1 ImportError: libgomp is missing" in line.found


def test_a_wrong_sum_is_found_and_a_clock_ahead_is_measured(tmp_path: Path) -> None:
    change = (
        "real = time.time; time.time = lambda: real() + 30\n"
        "    import torch; floats = torch.Tensor.float; torch.Tensor.float = lambda t: floats(t) + (t == 7)"
    )
    parts = [exchange.part(tmp_path, rank, 2, "gloo", "127.0.0.1", SITE, 60.0, device="cpu") for rank in range(2)]
    outcomes = exchange.run(parts, 60.0, worker(change))
    assert [outcome.problem for outcome in outcomes] == ["", ""]
    assert not outcomes[0].right
    assert outcomes[0].offsets_s == pytest.approx((0.0, 30.0), abs=0.2)
    line = exchange.told("workers", outcomes, 2, "gloo", "")
    assert line.status == "fail"
    assert "sum is wrong" in line.found


def test_what_is_told() -> None:
    half = Outcome(right=True, seconds=0.5)
    assert (
        "over lo: 16 MiB summed rightly in 500 ms, 0.03 GB/s"
        in exchange.told("w", [half] * 2, 2, "gloo", " over lo").found
    )
    one = exchange.told("w", [Outcome(right=True, seconds=0.5, nccl="2.27.3")], 1, "nccl", "")
    assert one.status == "pass"
    assert "NCCL 2.27.3 starts on the one GPU" in one.found
    # The first that failed, rather than one that waited for it.
    both = [Outcome(problem="did not end within 60 s"), Outcome(problem="cannot bind")]
    assert "process 1 cannot bind" in exchange.told("w", both, 2, "gloo", "").found


def test_nccl_is_for_gpus_that_are_there() -> None:
    assert exchange.backend_of(load_profile("v100"), NODE) == "nccl"
    assert exchange.backend_of(load_profile("v100"), BARE) == "gloo"
    assert exchange.backend_of(load_profile("cpu"), NODE) == "gloo"
