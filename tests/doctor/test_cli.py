"""`sweepmark doctor` as a whole: on this machine, and told to do what cannot be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli.doctor import doctor
from bench.cluster.site import Site
from bench.doctor import here
from bench.doctor.line import Check, failed, make, passed
from bench.errors import UserError
from bench.probe import Probe, probe_machine
from tests.doctor.machines import machine

COMMAND = "from bench.cli import cli, main; from bench.cli.doctor import doctor; cli.add_command(doctor); main()"


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SWEEPMARK_"))}


def test_this_machine_as_it_is(tmp_path: Path) -> None:
    words = ["doctor", "--profile", "cpu", "--results", str(tmp_path / "results"), "--json"]
    began_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words], env=clean(), capture_output=True, text=True, timeout=120
    )
    assert time.monotonic() - began_s < 60
    data = json.loads(done.stdout)
    lines = {line["check"]: line for line in data["lines"]}
    assert {"environment", "packages", "torch", "devices", "ports", "quota", "hub cache", "SLURM"} <= lines.keys()
    assert lines["all-reduce"]["status"] == "pass", lines
    for check in ("results", "results: locks", "scratch", "home"):
        assert lines[check]["status"] == "pass", lines[check]
    assert data["counts"]["fail"] == 0, [line for line in data["lines"] if line["status"] == "fail"]
    assert done.returncode == 0
    assert not (tmp_path / "results").exists()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Check]:
    """The checks that the command makes instead of its own."""
    chosen: list[Check] = []
    monkeypatch.setattr(here, "checks", lambda machine: chosen)
    return chosen


def test_a_failure_is_exit_status_1_and_a_check_that_crashes_is_one(told: list[Check], tmp_path: Path) -> None:
    told.append(Check(name="a", lines=lambda: [passed("a", "fine")]))
    words = ["--profile", "cpu", "--results", str(tmp_path), "--all"]
    whole = CliRunner().invoke(doctor, words)
    assert (whole.exit_code, whole.stdout.splitlines()[-1]) == (0, "1 passed, 0 warnings, 0 failed")
    told.append(Check(name="b", lines=lambda: [failed("b", "broken", "mend it")]))
    told.append(Check(name="c", lines=lambda: [failed("c", str(1 // 0), "never")]))
    broken = CliRunner().invoke(doctor, words)
    assert (broken.exit_code, broken.stdout.splitlines()[-1]) == (1, "1 passed, 0 warnings, 2 failed")
    assert "broken → mend it" in broken.stdout
    assert "ZeroDivisionError" in broken.stdout


def test_what_passed_is_counted_and_shown_where_it_is_asked_for(told: list[Check], tmp_path: Path) -> None:
    told.append(Check(name="a", lines=lambda: [passed("a", "fine as it is")]))
    words = ["--profile", "cpu", "--results", str(tmp_path)]
    title, last = CliRunner().invoke(doctor, words).stdout.splitlines()
    assert title.startswith("Pre-flight of this ")
    assert last == "1 passed, 0 warnings, 0 failed"
    told.append(Check(name="b", lines=lambda: [failed("b", "broken", "mend it")]))
    short = CliRunner().invoke(doctor, words).stdout
    assert "broken → mend it" in short
    assert "fine as it is" not in short
    assert "fine as it is" in CliRunner().invoke(doctor, [*words, "--all"]).stdout
    whole = json.loads(CliRunner().invoke(doctor, [*words, "--json"]).stdout)
    assert [line["check"] for line in whole["lines"]] == ["a", "b"]


def test_a_job_that_cannot_be_submitted_hides_nothing_else(
    told: list[Check], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.append(Check(name="a", lines=lambda: [passed("a", "fine")]))
    monkeypatch.setenv("PATH", str(tmp_path))
    found = CliRunner().invoke(doctor, ["--profile", "cpu", "--results", str(tmp_path), "--submit", "--json"])
    assert found.exit_code == 1
    lines = json.loads(found.stdout)["lines"]
    assert [(line["check"], line["status"]) for line in lines] == [("a", "pass"), ("job", "fail")]
    assert "no SLURM here" in lines[1]["found"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--nodes", "2"], "--submit"),
        (["--profile", "v1000"], "There is no hardware profile 'v1000'"),
        (["--workload", "tiny"], "There is no workload 'tiny'"),
        (["--site", "none.toml"], "There is no site file none.toml"),
        (["--rendezvous", "nowhere"], "no plan in nowhere"),
    ],
)
def test_misuse(words: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.doctor.node.PLAN_S", 0.1)
    found = CliRunner().invoke(doctor, words)
    assert isinstance(found.exception, UserError)
    assert said in str(found.exception)


def test_inside_an_image_its_own_lock_and_scratch_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.doctor.software.inside_image", lambda: {"labels": {}})
    names = [check.name for check in here.checks(machine(tmp_path))]
    assert names[0] == "container"
    assert "home" not in names


def test_a_node_without_an_own_address_fails_in_a_job_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(site: object) -> str:
        raise UserError("The host name has no address: name the interface.")

    monkeypatch.setattr(here, "node_address", none)
    (line,) = here.address(machine(tmp_path), {})
    assert (line.status, line.found) == ("warn", "The host name has no address")
    (line,) = make(Check(name="ports", lines=lambda: here.address(machine(tmp_path), {"SLURM_JOB_ID": "7"})))
    assert (line.status, line.remedy) == ("fail", "name the interface")


def test_an_address_that_the_site_sets_makes_the_login_nodes_own_matter_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loopback(site: object) -> str:
        raise UserError("The host name login has the address 127.0.1.1: name the interface.")

    monkeypatch.setattr(here, "node_address", loopback)
    setup = ("export SWEEPMARK_NODE_ADDRESS=$(hostname -I | cut -d' ' -f1)",)
    (line,) = here.address(machine(tmp_path, site=Site(setup=setup)), {})
    assert line.status == "pass"
    (line,) = here.address(machine(tmp_path, site=Site(setup=("module purge",))), {})
    assert line.status == "warn"


def test_a_torch_that_cannot_be_imported_is_a_failure_not_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe(*, deep: bool = False) -> Probe:
        if deep:
            raise OSError("libcudart.so.12: cannot open shared object file\nmore")
        return probe_machine()

    monkeypatch.setattr("bench.doctor.here.probe_machine", probe)
    found, problem = here.look()
    assert problem == "OSError: libcudart.so.12: cannot open shared object file"
    (line,) = here.torch(machine(tmp_path, probe=found, torch_problem=problem), outside=False)
    assert line.status == "fail"
    assert "libcudart" in line.found
