"""What is said of runs that are under way or over: from journals, jobs, and who holds the lock."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.cluster.condition import Holder, spans
from bench.cluster.slurm import JobState
from bench.cluster.watch import holder, watch
from bench.errors import UserError
from bench.events import Heartbeat, RunFinished, RunInterrupted, TrialEnded
from bench.journal import JOURNAL_NAME, encode
from bench.record import RECORD_NAME
from bench.runlog import LOCK_NAME, RunLog
from bench.study import Study
from tests.builders import Run, journal, started, study
from tests.cluster.watched import NOW_S, holding, job, look, searched, submit, under_way, write, write_trial

RAY = study("asha", devices=2, samples=12)
SERIAL = study("manual", samples=12)
ARRAY = study("random", samples=3, engine="array")


def no_slurm(ids: Sequence[str]) -> list[JobState]:
    raise UserError("There is no SLURM here.")


@pytest.fixture
def ray_run(tmp_path: Path) -> Path:
    submit(tmp_path / "run", RAY, ("11", "head", 0), ("12", "worker", 2), ("13", "final", 0))
    return tmp_path / "run"


@pytest.fixture
def array_run(tmp_path: Path) -> Path:
    submit(tmp_path / "run", ARRAY, ("7", "task", 3), ("8", "final", 0))
    return tmp_path / "run"


def test_a_run_that_has_not_begun_says_why_it_waits(ray_run: Path) -> None:
    pending = [job(name, "PENDING", "Dependency") for name in ("12_1", "12_2", "13")]
    facts = look(ray_run, job("11", "PENDING", "Priority"), *pending)
    assert facts.condition.name == "waiting"
    assert facts.condition.words.startswith("waiting for devices: other jobs come first")
    assert (facts.condition.remedy, facts.record, facts.time_left_s) == ("", None, None)
    assert facts.study == RAY


def test_a_head_without_workers_waits_for_devices(ray_run: Path) -> None:
    write(ray_run, [started(RAY, NOW_S - 9.0)])
    facts = look(
        ray_run, job("11", "RUNNING"), job("12_1", "PENDING", "Resources"), job("12_2", "PENDING", "Resources")
    )
    assert facts.condition.name == "waiting"
    assert "it is next" in facts.condition.words
    facts = look(ray_run, job("11", "RUNNING"), job("12_1", "NODE_FAIL"), job("13", "PENDING", "Dependency"))
    assert facts.condition.name == "waiting"
    facts = look(ray_run, job("11", "RUNNING"), job("12_1", "NODE_FAIL"))
    assert facts.condition.words == "running without devices: no worker job is left"
    assert facts.condition.remedy == "resume"


def test_trials_that_share_a_device_are_expected_to_end_sooner(tmp_path: Path) -> None:
    left_s = []
    for name, sharing in (("alone", 1), ("shared", 2)):
        run = study("asha", devices=1, samples=12, trials_per_device=sharing, final_epochs=0)
        submit(tmp_path / name, run, ("11", "head", 0), ("12", "worker", 1))
        write(tmp_path / name, under_way(run))
        facts = look(tmp_path / name, job("11", "RUNNING"), job("12_1", "RUNNING"))
        assert facts.time_left_s is not None
        left_s.append(facts.time_left_s)
    assert left_s[0] == pytest.approx(2 * left_s[1])


def test_a_running_run_is_charged_until_now_and_says_how_long_it_takes(ray_run: Path) -> None:
    write(ray_run, under_way(RAY))
    jobs = [job("11", "RUNNING"), job("12_1", "RUNNING", left_s=3000.0), job("13", "PENDING", "Dependency")]
    one = look(ray_run, *jobs, job("12_2", "PENDING", "Priority"))
    assert one.condition.words.startswith("running on node1; 1 worker waiting (other jobs come first")
    two = look(ray_run, *jobs, job("12_2", "RUNNING"))
    assert two.condition.words == "running on 2 nodes"
    assert one.time_left_s is not None
    assert two.time_left_s is not None
    final_s = RAY.final_epochs * (one.time_left_s - two.time_left_s) / 20  # an epoch, of 20 that are left
    assert one.time_left_s > 1.7 * two.time_left_s - final_s
    later = look(ray_run, *jobs, now_s=NOW_S + 60.0)
    assert two.record is not None
    assert later.record is not None
    spent = [f.record.costs.search.allocated_device_min for f in (two, later) if f.record]
    assert spent[1] == pytest.approx((spent[0] or 0) + 2.0)  # two devices for a minute
    assert [j.left_s for j in two.jobs if j.name == "12_1"] == [3000.0]
    silent = look(ray_run, *jobs, now_s=NOW_S + 300.0)
    assert silent.condition.words == "running on node1; its journal is silent for 5 min"


def test_a_dead_head_is_told_with_the_workers_that_it_left(ray_run: Path) -> None:
    write(ray_run, under_way(RAY, ended_s=NOW_S - 30.0))
    jobs = [job("11", "NODE_FAIL", "NodeDown"), job("12_1", "RUNNING"), job("12_2", "RUNNING")]
    facts = look(ray_run, *jobs, job("13", "PENDING", "DependencyNeverSatisfied"))
    assert facts.condition.name == "killed"
    assert facts.condition.words == "killed 30 s ago (job 11 (head) lost its node); 3 jobs of it still there"
    assert facts.condition.remedy == "resume"
    assert not facts.condition.going_on
    assert facts.time_left_s is None


def test_an_interrupted_run_says_why(ray_run: Path) -> None:
    events = under_way(RAY)
    write(ray_run, [*events, RunInterrupted(at_s=NOW_S - 1.0, reason="Interrupted by a signal")])
    facts = look(ray_run, job("11", "TIMEOUT"), job("12_1", "CANCELLED"))
    assert facts.condition.words == "interrupted: Interrupted by a signal (job 11 (head) reached its time limit)"
    assert facts.condition.remedy == "resume"
    facts = look(ray_run)  # SLURM has forgotten all
    assert facts.condition.words == "interrupted: Interrupted by a signal"
    assert {j.state for j in facts.jobs} == {"OVER"}
    facts = look(ray_run, job("11", "PENDING", "BeginTime"))  # and was requeued
    assert facts.condition.name == "waiting"
    facts = look(ray_run, job("11", "RUNNING"), job("12_1", "RUNNING"))
    assert facts.condition.words == "starting on node1"


def test_the_retrain_of_another_job(ray_run: Path) -> None:
    write(ray_run, searched(RAY))
    facts = look(ray_run, job("11", "COMPLETED"), job("12_1", "RUNNING"), job("13", "PENDING", "Priority"))
    assert facts.condition.words.startswith("waiting for devices: other jobs come first")
    facts = look(ray_run, job("11", "COMPLETED"), job("13", "RUNNING"))
    assert facts.condition.words == "starting on node13"
    facts = look(ray_run, job("11", "COMPLETED"), job("13", "FAILED", "NonZeroExitCode"))
    assert facts.condition.name == "failed"
    assert facts.condition.words == "the winner is not retrained yet (job 13 (final) failed)"
    assert look(ray_run, job("11", "COMPLETED")).condition.name == "interrupted"


def test_jobs_that_are_being_ended(ray_run: Path) -> None:
    write(ray_run, under_way(RAY))
    facts = look(ray_run, job("11", "COMPLETING", node="node1"), job("12_1", "COMPLETING", node="node2"))
    assert facts.condition.name == "ending"
    assert facts.condition.going_on


def test_jobs_that_ended_before_the_run_began(ray_run: Path) -> None:
    assert look(ray_run, job("11", "CANCELLED")).condition.words == "cancelled before it began"
    failed = look(ray_run, job("11", "FAILED", "NonZeroExitCode"))
    assert failed.condition.words == "job 11 (head) failed before the run began"
    assert failed.condition.remedy == "logs"
    assert look(ray_run).condition.words == "its jobs ended before the run began"


def test_an_array_with_a_failed_task_names_it(array_run: Path) -> None:
    write_trial(array_run, ARRAY, 1)
    write_trial(array_run, ARRAY, 3, done=False)
    done = [job("7_1", "COMPLETED"), job("7_2", "FAILED", "NonZeroExitCode")]
    facts = look(array_run, *done, job("7_3", "RUNNING"), job("8", "PENDING", "Dependency"))
    assert facts.condition.words == "running on node3; task 7_2 failed"
    assert facts.condition.remedy == "resume"
    assert facts.undone == (2, 3)
    facts = look(array_run, *done, job("7_3", "NODE_FAIL"), job("8", "PENDING", "DependencyNeverSatisfied"))
    assert facts.condition.name == "failed"
    words = "2 of 3 trials have no result (2-3): task 7_2 failed; 1 job of it still there"
    assert (facts.condition.words, facts.condition.remedy) == (words, "resume")
    submit(array_run, ARRAY, ("7", "task", 3), ("8", "final", 0), ("9", "task", 2))
    facts = look(array_run, *done, job("7_3", "NODE_FAIL"), job("9_2", "RUNNING"))
    assert facts.condition.words == "running on node2; task 7_3 lost its node", "task 2 was submitted again"


def test_trials_of_an_array_are_one_run(array_run: Path) -> None:
    for number in (1, 2, 3):
        write_trial(array_run, ARRAY, number)
    facts = look(array_run, job("8", "PENDING", "Priority"))
    assert facts.condition.name == "waiting"
    assert facts.record is not None
    assert [trial.trial for trial in facts.record.trials if trial.ended] == ["0001", "0002", "0003"]
    assert facts.record.costs.search.allocated_device_min == pytest.approx(3 * 24 / 60)
    assert facts.record.trace[-1].trial == "0001"
    facts = look(array_run, job("7_1", "COMPLETED"), job("8", "OUT_OF_MEMORY"))
    assert facts.condition.words == "all trials are done, and not gathered yet (job 8 (final) ran out of memory)"
    assert facts.condition.name == "failed"


def test_a_cancelled_array_is_interrupted(array_run: Path) -> None:
    write_trial(array_run, ARRAY, 1)
    facts = look(array_run, job("7_2", "CANCELLED"), job("7_3", "CANCELLED"))
    assert facts.condition.name == "interrupted"
    assert facts.condition.words == "2 of 3 trials have no result (2-3): task 7_2 was cancelled"


def test_where_slurm_cannot_be_asked_the_heartbeat_speaks(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", under_way(SERIAL))
    submit(folder, SERIAL, ("5", "serial", 0))
    (facts,), trouble = watch([folder], now_s=NOW_S, ask=no_slurm)
    assert trouble == "There is no SLURM here."
    assert facts.condition.words == "not known: SLURM cannot be asked; last event 2 s ago"
    assert [j.state for j in facts.jobs] == ["NOT_KNOWN"]
    (folder / LOCK_NAME).write_text("node7 4711\n")
    (facts,), _ = watch([folder], now_s=NOW_S, ask=no_slurm)
    assert facts.condition.words == "running on node7 (process 4711)"
    (facts,), _ = watch([folder], now_s=NOW_S + 20.0, ask=no_slurm)
    assert facts.condition.name == "unknown"
    assert look(folder).condition.name == "killed", "SLURM knows better than a heartbeat of two seconds ago"


def test_finished_runs_are_read_from_their_records_and_slurm_is_not_asked(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", journal([Run(losses=[2.0, 1.5])], SERIAL))
    submit(folder, SERIAL, ("5", "serial", 0))
    (facts,), trouble = watch([folder], ask=no_slurm)
    assert (facts.condition.words, trouble) == ("finished", "")
    (folder / JOURNAL_NAME).write_bytes(b"not read\n" + (folder / JOURNAL_NAME).read_bytes())
    assert look(folder).record == facts.record
    assert look(folder, job("5", "COMPLETING")).condition.words == "finished; 1 job still to leave"
    (folder / RECORD_NAME).unlink()
    assert look(folder).condition.name == "damaged"


def test_damaged_files_are_told_and_not_raised(tmp_path: Path) -> None:
    events = under_way(SERIAL)
    texts = {
        "garbage": "garbage\n",
        "no start": encode(Heartbeat(at_s=1.0)) + "\n",
        "contradiction": "".join(
            encode(e) + "\n" for e in [*events, TrialEnded(at_s=NOW_S, trial="never", state="failed")]
        ),
        "study": encode(started(SERIAL)).replace('"workload"', '"wrkload"') + "\n",
    }
    folders = []
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / JOURNAL_NAME).write_text(text)
        folders.append(tmp_path / name)
    submit(tmp_path / "jobs", SERIAL, ("5", "serial", 0))
    (tmp_path / "jobs" / "slurm" / "jobs.json").write_text("{}")
    submit(tmp_path / "trial", ARRAY, ("7", "task", 3))
    write_trial(tmp_path / "trial", ARRAY, 1)
    next((tmp_path / "trial").glob(".trials/*/events.jsonl")).write_text("garbage\n")
    every, _ = watch([*folders, tmp_path / "jobs", tmp_path / "trial"], now_s=NOW_S, ask=lambda ids: [])
    for facts in every:
        assert facts.condition.name == "damaged", facts
        assert facts.condition.words.startswith("damaged: "), facts


def test_a_line_that_is_being_written_is_not_read_yet(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", under_way(SERIAL))
    whole = look(folder)
    with (folder / JOURNAL_NAME).open("a") as file:
        file.write(encode(RunFinished(at_s=NOW_S))[:20])
    assert look(folder) == whole


def test_the_writer_is_known_while_it_holds_the_run(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    mine = Holder(host=socket.gethostname(), process=os.getpid(), here=True, proven=True)
    assert holder(tmp_path) == mine
    assert str(mine) == f"here (process {os.getpid()})"
    for event in under_way(SERIAL):
        log.emit(event)
    facts = look(tmp_path)
    assert facts.condition.words == f"running here (process {os.getpid()})"
    assert facts.time_left_s is not None
    log.close()
    assert holder(tmp_path) is None
    assert (tmp_path / LOCK_NAME).read_bytes() == b"", "a run's files say nothing of the site"
    assert look(tmp_path).condition.words == "killed 2 s ago"


def test_a_killed_writer_lets_go_and_stays_signed(tmp_path: Path) -> None:
    with holding(tmp_path) as process:
        found = holder(tmp_path)
        assert found is not None
        assert found.process == process.pid
    assert holder(tmp_path) is None
    assert (tmp_path / LOCK_NAME).read_text() == f"{socket.gethostname()} {process.pid}\n"


def test_looking_never_keeps_a_writer_out(tmp_path: Path) -> None:
    """A look takes the lock too, for microseconds; here for a tenth of a second."""
    with (tmp_path / LOCK_NAME).open("w") as look_at:
        fcntl.flock(look_at, fcntl.LOCK_SH)
        timer = threading.Timer(0.1, look_at.close)
        timer.start()
        RunLog(tmp_path).close()
        timer.join()


def test_the_heartbeat_of_another_host_is_believed_for_a_while(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text("elsewhere 12\n")
    there = Holder(host="elsewhere", process=12, here=False, proven=False)
    assert holder(tmp_path, silent_s=14.0) == there
    assert str(there) == "on elsewhere (process 12)"
    assert holder(tmp_path, silent_s=16.0) is None
    assert holder(tmp_path) is None
    (tmp_path / LOCK_NAME).write_text(f"{socket.gethostname()} 12\n")
    assert holder(tmp_path, silent_s=1.0) is None, "this host's locks are seen"


def test_numbers_are_told_in_spans() -> None:
    assert spans([]) == ""
    assert spans([3, 1, 2, 7, 9, 8]) == "1-3, 7-9"
    assert spans(range(1, 40, 2)) == "1, 3, 5, 7, 9, 11, 13, 15, …"


def test_virtual_runs_have_no_clock_to_compare_with(tmp_path: Path) -> None:
    from bench.study import Simulation

    simulation = Simulation(curves="c", curves_sha256="0", node_devices=1, node_cpus=1, trial_cpus=1)
    of: Study = study("asha", engine="virtual", simulation=simulation)
    folder = write(tmp_path / "run", under_way(of, ended_s=100.0))
    assert look(folder).condition.words == "killed some time ago"
