"""`sweepmark status`, `logs` and `cancel`: runs here, and jobs of a SLURM whose programs are played by scripts."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.cli.output import find_run, run_names
from bench.cluster.stop import writer
from bench.errors import UserError
from bench.events import GrantClosed, GrantOpened, Note, RunFinished, RunInterrupted, TrialEnded, WorkLost
from bench.journal import JOURNAL_NAME, encode
from bench.runlog import LOCK_NAME, RunLog
from tests.builders import Run, journal, study
from tests.cli.test_cli import call
from tests.cluster.watched import folder_of, holding, moved, submit, under_way, write, write_trial
from tests.e2e.driver import epochs_done, start, wait_for

RAY = study("asha", devices=2, samples=12)
SERIAL = study("manual", samples=12)
ARRAY = study("random", samples=3, engine="array")

SQUEUE = """#!/bin/sh
for word; do case $word in --jobs=*) ids=${word#--jobs=};; esac; done
for id in $(echo "$ids" | tr , ' '); do grep "^$id|" "$JOBS"; done
exit 0
"""
SCANCEL = """#!/bin/sh
for id; do sed -i "/^$id|/s/|PENDING|\\\\||RUNNING|/|CANCELLED|/" "$JOBS"; echo "$id" >> "$JOBS.cancelled"; done
"""

Call = Callable[..., int]


class Slurm:
    """SLURM's programs on the PATH; the jobs that they know lie in a file."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._jobs = folder / "jobs"
        self._jobs.touch()
        for name, text in {"squeue": SQUEUE, "scancel": SCANCEL}.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        monkeypatch.setenv("JOBS", str(self._jobs))

    def knows(self, *jobs: tuple[str, str, str]) -> None:
        """Name, state and reason of each."""
        lines = []
        for name, state, reason in jobs:
            id_, _, task = name.partition("_")
            node = f"node{task or id_}" if state == "RUNNING" else ""
            lines.append(f"{id_}|{task or 'N/A'}|{state}|{node}|N/A|1:00:00|{reason}\n")
        new = self._jobs.with_name("jobs.new")
        new.write_text("".join(lines))
        new.replace(self._jobs)

    @property
    def cancelled(self) -> list[str]:
        path = self._jobs.with_name("jobs.cancelled")
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def slurm(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    return Slurm(tmp_path_factory.mktemp("slurm"), monkeypatch)


@pytest.fixture
def sweepmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """A command on the results in `tmp_path`, in a wide terminal."""
    monkeypatch.setenv("COLUMNS", "160")
    return lambda *words: call(*words, "--results", tmp_path, monkeypatch=monkeypatch)


def ended_s() -> float:
    return time.time() - 2.0


def test_all_runs_stand_in_a_table_unfinished_ones_first(
    tmp_path: Path, slurm: Slurm, sweepmark: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(12):
        of = study("manual", seed=seed)
        folder = write(folder_of(tmp_path, of), moved(journal([Run(losses=[2.0, 1.5])], of), ended_s()))
        os.utime(folder / JOURNAL_NAME, (seed, seed))
    killed = write(folder_of(tmp_path, SERIAL).with_name("killed"), under_way(SERIAL, ended_s=ended_s()))
    submit(folder_of(tmp_path, RAY), RAY, ("11", "head", 0), ("12", "worker", 2))
    slurm.knows(("11", "PENDING", "Priority"), ("12_1", "PENDING", "Dependency"), ("12_2", "PENDING", "Dependency"))
    bad = folder_of(tmp_path, RAY).with_name("broken")
    bad.mkdir()
    (bad / JOURNAL_NAME).write_text("\x1b[31mgarbage\n")
    assert sweepmark("status") == 0
    out = capsys.readouterr().out
    rows = [line.split()[0] for line in out.partition("─\n")[2].splitlines() if not line.startswith(" ")]
    assert rows[0] == RAY.run_id(), "what goes on by itself comes first"
    assert set(rows[1:3]) == {"killed", "broken"}
    assert rows[3:] == [study("manual", seed=seed).run_id() for seed in range(11, 1, -1)]
    assert "waiting for devices: other jobs come first" in out
    assert "damaged" in out
    assert "2 more finished runs: --all shows them" in out
    assert f"Next: sweepmark resume {killed.name} --results {tmp_path}" in out.replace("pytest ", "sweepmark ")
    assert sweepmark("status", "--all", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["runs"]) == 15
    states = {run["run"]: run["state"] for run in found["runs"]}
    assert (states["killed"], states["broken"], states[RAY.run_id()]) == ("killed", "damaged", "waiting")
    assert found["runs"][-1]["allocated_device_min"] == pytest.approx((24 + 22) / 60)


def test_nothing_at_all_is_said(
    tmp_path: Path, sweepmark: Call, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sweepmark("status") == 0
    assert "None yet" in capsys.readouterr().out
    assert sweepmark("status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["runs"] == []
    assert call("status", "--results", tmp_path / "typo", monkeypatch=monkeypatch) == 2
    assert f"There is no folder {tmp_path / 'typo'}: " in capsys.readouterr().err
    assert sweepmark("status", "nothing") == 2
    assert "There are no runs" in capsys.readouterr().err


def test_a_run_in_detail(tmp_path: Path, slurm: Slurm, sweepmark: Call, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(folder_of(tmp_path, RAY), under_way(RAY, ended_s=ended_s()))
    submit(folder, RAY, ("11", "head", 0), ("12", "worker", 4), ("13", "final", 0))
    workers = [("12_1", "RUNNING", ""), *((f"12_{task}", "PENDING", "Priority") for task in (2, 3, 4))]
    slurm.knows(("11", "RUNNING", ""), *workers, ("13", "PENDING", "Dependency"))
    assert sweepmark("status", "asha") == 0
    out = capsys.readouterr().out
    assert f"{RAY.run_id()}: running on node1; 3 workers waiting (other jobs come first" in out
    assert re.search(r"2/12 trials, 4 epochs, best 1\.4000 \(trial t1\), 1\.\d\d GPU-min, about \d+:\d\d left", out)
    assert re.search(r"worker +12 +2-4 +pending +other jobs come first", out), "tasks alike share a row"
    assert re.search(r"worker +12 +1 +running +node1 +1:00:00", out)
    assert re.search(r"t1 +2e-05 +1 +0 +completed +2 +1\.4000 ← best", out)
    assert re.search(r"t2 +3e-05 +1 +0 +running +0 +–", out)
    assert re.search(r"search +1\.\d\d +0\.77 +0\.00", out)
    assert sweepmark("status", "asha", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["costs"]["search"]["busy_device_min"] == pytest.approx(46 / 60)
    assert [trial["state"] for trial in found["trial_states"]] == ["completed", "completed", "running"]
    assert found["next"] is None
    assert len(found["jobs"]) == 6


def test_what_a_run_has_that_most_do_not_is_told(
    tmp_path: Path, slurm: Slurm, sweepmark: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    of = study("asha", trials_per_device=2, deepspeed="mine/zero2.json", space_name="lora")
    write(folder_of(tmp_path, of), under_way(of, ended_s=ended_s()))
    assert sweepmark("status", "asha") == 0
    headline = capsys.readouterr().out.splitlines()[1]
    assert headline.endswith(", space lora, 2 trials a device, DeepSpeed zero2.json")
    assert sweepmark("status", "asha", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [found[key] for key in ("space_name", "trials_per_device", "deepspeed")] == ["lora", 2, "zero2.json"]


def test_watching_needs_a_terminal(tmp_path: Path, sweepmark: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweepmark("status", "--watch") == 2
    assert "--watch needs a terminal" in capsys.readouterr().err
    assert sweepmark("status", "--watch", "--json") == 2


def test_watching_ends_with_the_run(
    tmp_path: Path, sweepmark: Call, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")  # on a dumb one nothing is drawn twice
    log = RunLog(folder_of(tmp_path, SERIAL))
    for event in under_way(SERIAL, ended_s=ended_s()):
        log.emit(event)

    def end(seconds: float) -> None:
        log.emit(RunFinished(at_s=time.time()))
        log.close()

    # The run ends while the view waits: one that did not refresh would never end.
    monkeypatch.setattr(sys.modules["bench.cli.status"], "time", SimpleNamespace(sleep=end))
    assert sweepmark("status", "manual", "--watch") == 0
    out = capsys.readouterr().out
    assert "running here" in out
    assert ": finished" in out


def test_a_run_tells_its_story_without_a_terminal_obeying_it(
    tmp_path: Path, slurm: Slurm, sweepmark: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    events = under_way(RAY, ended_s=ended_s())
    at_s = events[-1].at_s
    events += [
        GrantOpened(at_s=at_s, grant="worker-2-12-0", devices=1, purpose="search"),
        GrantClosed(at_s=at_s, grant="worker-2-12-0"),
        WorkLost(at_s=at_s, trial="t2", busy_s=1.0, devices=1, reason="its node \x1b[2Jwent"),
        TrialEnded(at_s=at_s, trial="t2", state="oom", detail="out of memory"),
        Note(at_s=at_s, level="warning", message="slow\x07 disk"),
        RunInterrupted(at_s=at_s, reason="Interrupted by a signal"),
    ]
    folder = write(folder_of(tmp_path, RAY), events)
    submit(folder, RAY, ("11", "head", 0), ("12", "worker", 2))
    printed = folder / "slurm" / "logs"
    (printed / "head-11.out").write_bytes(b"old\n10%\r55%\r99%\n\x1b]0;title\x07\xff done\n")
    (printed / "worker-12_2.out").write_text("".join(f"line {n}\n" for n in range(100)))
    os.utime(printed / "head-11.out", (1, 1))
    slurm.knows(("11", "TIMEOUT", "TimeLimit"), ("12_2", "CANCELLED", ""))
    assert sweepmark("logs", "asha", "--lines", "2") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    day = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  "
    for line in (
        "the run begins: asha, seed 0: up to 12 trials of 2 epochs",
        "2 devices held for the search",
        "worker 12_2 joins: 1 device held for the search",
        "worker 12_2 has left",
        "trial t0 starts: lr 1e-05, bs 1, wd 0",
        "trial t1 completed",
        r"trial t2 lost its epoch in progress: its node \[2Jwent",
        "trial t2 oom: out of memory",
        "warning: slow disk",
        "the run is interrupted: Interrupted by a signal",
    ):
        assert re.search(f"^{day}{line}$", out, re.MULTILINE), line
    head, worker = out.index("== ! reached its time limit: head 11"), out.index("== worker 12_2")
    assert head < worker, "the newest last"
    assert "old" not in out
    assert out[head:worker].splitlines()[1:3] == ["99%", "]0;title\ufffd done"]
    assert out[worker:].splitlines()[1:3] == ["line 98", "line 99"]
    assert "Next: " in out
    assert sweepmark("logs", "asha", "--job", "12", "--lines", "1") == 0
    out = capsys.readouterr().out
    assert "line 99" in out
    assert "99%" not in out
    assert "the run begins" not in out
    assert sweepmark("logs", "asha", "--job", "99") == 2
    assert "(those that have: 11, 12_2)" in capsys.readouterr().err


def test_failed_tasks_are_marked_after_slurm_has_forgotten_them(
    tmp_path: Path, slurm: Slurm, sweepmark: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    of = study("random", samples=10, engine="array")
    folder = folder_of(tmp_path, of)
    submit(folder, of, ("7", "task", 10), ("8", "final", 0))
    for number in range(1, 11):
        if number != 2:
            write_trial(folder, of, number)
        path = folder / "slurm" / "logs" / f"task-7_{number}.out"
        path.write_text(f"output of {number}\n")
        os.utime(path, (number, number))
    assert sweepmark("logs", "random") == 0
    out = capsys.readouterr().out
    assert "== ! no result: task 7_2" in out
    assert [n for n in range(1, 11) if f"output of {n}\n" in out] == [2, 5, 6, 7, 8, 9, 10]
    assert "3 more jobs have printed something: --job 7_4 shows one" in out
    assert sweepmark("status", "random") == 0
    out = capsys.readouterr().out
    assert "1 of 10 trials have no result (2)" in out
    assert "Tasks without a result: 2." in out
    assert f"resume {folder.name} --results {tmp_path}" in out


def test_following_goes_on_until_the_run_ends(
    tmp_path: Path, slurm: Slurm, sweepmark: Call, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.cluster.telling.POLL_S", 0.02)
    monkeypatch.setattr("bench.cluster.telling.ASK_EVERY_S", 0.05)
    events = under_way(SERIAL, ended_s=ended_s())
    folder = write(folder_of(tmp_path, SERIAL), events[:-1])
    submit(folder, SERIAL, ("5", "serial", 0))
    printed = folder / "slurm" / "logs" / "serial-5.out"
    printed.write_text("first\n")
    slurm.knows(("5", "RUNNING", ""))

    def go_on() -> None:
        time.sleep(0.3)  # lets the first part be told before more comes; either order passes
        with printed.open("a") as file:
            file.write("second\nthi")
        with (folder / JOURNAL_NAME).open("a") as journal_file:
            journal_file.write(encode(events[-1]) + "\n")
            journal_file.write(encode(RunInterrupted(at_s=events[-1].at_s, reason="Interrupted by a signal")) + "\n")
        slurm.knows(("5", "CANCELLED", ""))

    thread = threading.Thread(target=go_on)
    thread.start()
    assert sweepmark("logs", "manual", "--follow") == 0
    thread.join()
    out = capsys.readouterr().out
    for line in (
        "first",
        "second",
        "[serial 5] thi\n",
        "trial t2 starts",
        "the run is interrupted",
        "trial t1 completed",
    ):
        assert out.count(line) == 1, line
    assert "(job 5 (serial) was cancelled)" in out


def test_jobs_are_cancelled_and_awaited(
    tmp_path: Path, slurm: Slurm, sweepmark: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(folder_of(tmp_path, RAY), under_way(RAY, ended_s=ended_s()))
    submit(folder, RAY, ("9", "head", 0), ("11", "head", 0), ("12", "worker", 2), ("13", "final", 0))
    jobs = [("11", "RUNNING", ""), ("12_1", "RUNNING", ""), ("12_2", "PENDING", "Priority")]
    slurm.knows(("9", "FAILED", ""), *jobs, ("13", "PENDING", "Dependency"))
    assert sweepmark("cancel", "asha") == 2
    assert "give --yes" in capsys.readouterr().err
    assert slurm.cancelled == []
    assert sweepmark("cancel", "asha", "--yes") == 0
    assert slurm.cancelled == ["11", "12", "13"]
    out = capsys.readouterr().out
    assert "(job 11 (head) was cancelled)" in out
    assert "2/12 trials, 4 epochs" in out
    assert f"resume {folder.name}" in out
    assert sweepmark("cancel", "asha", "--yes") == 0
    assert "Nothing of" in capsys.readouterr().out
    assert slurm.cancelled == ["11", "12", "13"]


def test_jobs_that_do_not_go_are_named(
    tmp_path: Path, slurm: Slurm, sweepmark: Call, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.cluster.stop.JOBS_GONE_S", 0.1)
    monkeypatch.setattr("bench.cluster.stop.ASK_EVERY_S", 0.02)
    submit(folder_of(tmp_path, SERIAL), SERIAL, ("5", "serial", 0))
    slurm.knows(("5", "COMPLETING", ""))
    assert sweepmark("cancel", "manual", "--yes") == 2
    assert "5 (completing) were told to end and are still there" in capsys.readouterr().err


def test_a_submitted_run_that_has_not_begun_is_found_and_cancelled(
    tmp_path: Path, slurm: Slurm, sweepmark: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path, SERIAL)
    submit(folder, SERIAL, ("5", "serial", 0))
    slurm.knows(("5", "PENDING", "Resources"))
    assert run_names(tmp_path) == []
    assert run_names(tmp_path, without_journal=True) == [folder.name]
    assert find_run("man", tmp_path, without_journal=True) == folder
    assert find_run(str(folder), tmp_path, without_journal=True) == folder
    with pytest.raises(UserError, match="has no journal yet: `sweepmark status man`"):
        find_run("man", tmp_path)
    assert sweepmark("cancel", "man", "--yes") == 0
    out = capsys.readouterr().out
    assert "cancelled before it began" in out
    assert "resume" in out


def test_cancelling_without_slurm_says_so(
    tmp_path: Path, sweepmark: Call, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    submit(folder_of(tmp_path, SERIAL), SERIAL, ("5", "serial", 0))
    assert sweepmark("cancel", "manual", "--yes") == 2
    assert "There is no SLURM here" in capsys.readouterr().err
    assert sweepmark("status") == 0
    out = capsys.readouterr().out
    assert "not known: SLURM cannot be asked" in out
    assert "There is no SLURM here" in out


def test_a_run_on_another_host_is_not_cancelled_from_here(
    tmp_path: Path, sweepmark: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(folder_of(tmp_path, SERIAL), under_way(SERIAL, ended_s=ended_s()))
    (folder / LOCK_NAME).write_text("elsewhere 1\n")
    assert sweepmark("cancel", "manual", "--yes") == 2
    assert "is being written on elsewhere (process 1)" in capsys.readouterr().err


def test_the_writer_is_found_whatever_number_it_signed_with(tmp_path: Path) -> None:
    """As from inside a container, where numbers are others; no process but the one with the lock open is ever taken."""
    with holding(tmp_path) as process:
        assert writer(tmp_path / LOCK_NAME, process.pid) == process.pid
        assert writer(tmp_path / LOCK_NAME, 1) == process.pid
        assert writer(tmp_path / LOCK_NAME, None) == process.pid
    assert writer(tmp_path / LOCK_NAME, process.pid) is None
    assert writer(tmp_path / "nothing", 1) is None


def test_a_run_here_from_its_start_to_a_kill_and_a_cancellation(
    tmp_path: Path, sweepmark: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--epochs", "15", "--final-epochs", "0", "--bs-choices", "8", "--wd-choices", "0.0"]
    run = start("run", "--strategy", "manual", *words, "--results", tmp_path)

    def status() -> dict[str, Any]:
        assert sweepmark("status", "manual", "--json") == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    def wait_until(condition: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + 60.0
        while not condition():
            assert time.monotonic() < deadline_s
            time.sleep(0.05)

    try:
        wait_until(lambda: bool(run_names(tmp_path, without_journal=True)))
        assert status()["words"].startswith(("starting here", "running here"))
        wait_for(tmp_path, epochs_done(1))
        found = status()
        assert found["words"] == f"running here (process {run.pid})"
        assert found["written_by"]["process"] == run.pid
        assert found["time_left_s"] > 0
        assert found["next"] is None
        run.kill()
        run.wait()
        found = status()
        assert found["state"] == "killed"
        assert found["epochs"] >= 1
        assert found["next"].endswith(f"resume {found['run']} --results {tmp_path}")
        assert [trial["state"] for trial in found["trial_states"]] == ["lost"]
        run = start("resume", found["run"], "--results", tmp_path)
        wait_for(tmp_path, epochs_done(found["epochs"] + 1))
        assert sweepmark("cancel", "manual", "--yes") == 0
        assert run.wait(10) == 143
        out = capsys.readouterr().out
        assert "interrupted: Interrupted by a signal" in out
        assert f"resume {found['run']}" in out
        assert sweepmark("logs", "manual") == 0
        story = capsys.readouterr().out
        assert "going on with an earlier run" in story
        assert "lost its epoch in progress: the run was killed" in story
        assert sweepmark("cancel", "manual") == 0
        assert "Nothing of" in capsys.readouterr().out
    finally:
        if run.poll() is None:
            run.kill()
        run.communicate()


@pytest.mark.alone
def test_commands_are_quick(tmp_path: Path) -> None:
    """Two hundred runs are listed at once."""
    for seed in range(200):
        of = study("manual", seed=seed)
        folder = folder_of(tmp_path, of)
        if seed < 4:
            events = journal([Run(losses=[2.0 - i / 100, 1.5 - i / 100]) for i in range(12)], of)
            write(folder, moved(events, ended_s()) if seed % 2 else under_way(of, ended_s=ended_s()))
        else:
            folder.mkdir(parents=True)
            source = folder_of(tmp_path, study("manual", seed=seed % 4))
            for path in source.iterdir():
                (folder / path.name).write_bytes(path.read_bytes())
    from bench.cli.status import Watched

    began_s = time.perf_counter()
    found, _ = Watched(tmp_path, None, show_all=True).facts()
    took_s = time.perf_counter() - began_s
    assert len(found) == 200
    assert took_s < 1.5, took_s
