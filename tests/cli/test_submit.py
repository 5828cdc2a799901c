"""`sweepmark submit` without SLURM: what it would submit, and what it refuses."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from bench.cluster.site import SITE_VARIABLE, Site, limit_minutes, load_site
from tests.cli.test_cli import call

SITE = """\
schema_version = 1
account = "p1"
partition = "gpu"
time = "02:00:00"
modules = ["gcc/12"]
setup = ["export A='b c'"]
offline = true
sbatch = ["--comment=two words"]

[profiles.v100]
constraint = "volta"
gres = "tesla"
"""


@pytest.fixture(autouse=True)
def no_site(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SITE_VARIABLE, raising=False)


def dry_run(
    *words: str | Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> dict[str, str]:
    """The text of each script by its name."""
    results = tmp_path / "results"
    assert call("submit", *words, "--dry-run", "--results", results, monkeypatch=monkeypatch) == 0
    assert not results.exists(), "a dry run leaves nothing"
    parts = re.split(r"^# (/\S+\.sh)$", capsys.readouterr().out, flags=re.MULTILINE)
    return {Path(name).name: text for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def options(script: str) -> dict[str, str]:
    found = [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH")]
    return dict(option.strip("'").removeprefix("--").partition("=")[::2] for option in found)


def test_resources_come_from_the_profile_and_the_rest_from_the_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site.toml"
    site.write_text(SITE)
    scripts = dry_run("asha", "--profile", "v100", "--nodes", "2", "--site", site,
                      monkeypatch=monkeypatch, capsys=capsys, tmp_path=tmp_path)  # fmt: skip
    assert list(scripts) == ["head.sh", "workers.sh", "final.sh"]
    head, workers, final = (options(text) for text in scripts.values())
    assert "gpus-per-node" not in head
    assert workers["gpus-per-node"] == "tesla:8"
    assert workers["constraint"] == final["constraint"] == "volta"
    assert workers["cpus-per-task"] == "18", "8 devices of 2 CPUs and 2 of the engine"
    assert final["gpus-per-node"] == "tesla:1"
    for name in (head, workers, final):
        assert (name["account"], name["partition"], name["time"]) == ("p1", "gpu", "02:00:00")
        assert name["comment"] == "two words"
        assert name["signal"] == "B:TERM@120"
    for kind, text in zip(("head", "worker", "final"), scripts.values(), strict=True):
        assert "module load gcc/12 || exit 1" in text
        assert "export A='b c'" in text
        assert "export HF_HUB_OFFLINE=1" in text
        assert re.search(rf"sweepmark job {kind} /", text)
        assert text.index("trap") < text.index("module load"), "clean-up comes before anything is started"
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_the_command_line_comes_before_the_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site.toml"
    site.write_text(SITE)
    monkeypatch.setenv(SITE_VARIABLE, str(site))
    scripts = dry_run("manual", "--profile", "v100", "--account", "p2", "--partition", "other", "--time", "90",
                      monkeypatch=monkeypatch, capsys=capsys, tmp_path=tmp_path)  # fmt: skip
    assert list(scripts) == ["serial.sh"]
    asked = options(scripts["serial.sh"])
    assert (asked["account"], asked["partition"], asked["time"]) == ("p2", "other", "90")


def test_a_grid_and_random_search_can_be_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for strategy in ("manual", "random"):
        scripts = dry_run(strategy, "--profile", "cpu", "--array", "4",
                          monkeypatch=monkeypatch, capsys=capsys, tmp_path=tmp_path)  # fmt: skip
        assert list(scripts) == ["tasks.sh", "final.sh"]
        assert "gpus-per-node" not in options(scripts["tasks.sh"])


def test_trials_of_several_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scripts = dry_run("manual", "--profile", "v100", "--trial-devices", "2",
                      monkeypatch=monkeypatch, capsys=capsys, tmp_path=tmp_path)  # fmt: skip
    asked = options(scripts["serial.sh"])
    assert (asked["gpus-per-node"], asked["cpus-per-task"]) == ("2", "6"), "the workshop's manual job"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("asha", "--profile", "cpu", "--array"), "Strategy asha decides by results"),
        (("manual", "--profile", "cpu", "--nodes", "2"), "--nodes is for a search under Ray"),
        (("asha", "--profile", "cpu", "--time", "soon"), "the time limit 'soon' is none of SLURM's"),
        (("random", "--profile", "cpu", "--array", "0"), "--array is '0'"),
        (("random", "--profile", "cpu", "--array", "--trials-per-device", "2"), "has its devices to itself"),
        (("manual", "--profile", "cpu", "--trials-per-device", "2"), "trains one trial after the other"),
        (("asha", "--profile", "v10"), "did you mean 'v100'"),
        (("asha", "--profile", "v100", "--devices", "9"), "--devices 9 cannot be had on each node"),
        (("asha", "--profile", "v100", "--trial-devices", "16"), "A trial cannot have 16 devices on 1 nodes of 8"),
        (("manual", "--profile", "v100", "--trial-devices", "16"), "A trial cannot have 16 devices on 1 nodes of 8"),
        (("asha", "--profile", "v100", "--nodes", "2", "--trial-devices", "16"), "The winner is retrained on one node"),
        (("asha", "--profile", "cpu", "--site", "nowhere.toml"), "There is no site file nowhere.toml"),
        (("asha", "--profile", "cpu"), "sbatch"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no SLURM here
    assert call("submit", *words, "--results", tmp_path / "results", monkeypatch=monkeypatch) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert "Traceback" not in error
    assert not (tmp_path / "results").exists(), "nothing half-written"


@pytest.mark.parametrize(("text", "minutes"), [("90", 90), ("10:30", 11), ("04:00:00", 240), ("1-00:00:00", 1440)])
def test_time_limits_are_slurms_words(text: str, minutes: int) -> None:
    assert limit_minutes(text) == minutes


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('acount = "x"', "unknown key 'acount'; did you mean 'account'"),
        ('time = "later"', "time limit 'later'"),
        ('sbatch = ["--a\\nrm -rf /"]', "one line"),
        ('[profiles.v100]\nconstrain = "x"', "constrain"),
        ('environment = "/a"\ncontainer = "/b"', "either 'environment' or 'container'"),
    ],
)
def test_a_wrong_site_file_is_one_sentence(line: str, said: str, tmp_path: Path) -> None:
    from bench.errors import UserError

    path = tmp_path / "site.toml"
    path.write_text(f"schema_version = 1\n{line}\n")
    with pytest.raises(UserError) as caught:
        load_site(path)
    assert said in str(caught.value)
    assert "Value error" not in str(caught.value)


def test_a_site_file_that_contradicts_itself_is_told_so_in_the_sites_words(tmp_path: Path) -> None:
    from bench.errors import UserError

    path = tmp_path / "site.toml"
    path.write_text('schema_version = 1\nenvironment = "/a"\ncontainer = "/b"\n')
    with pytest.raises(UserError) as caught:
        load_site(path)
    assert str(caught.value) == f"{path}: give either 'environment' or 'container'."
    path.write_text('schema_version = 1\nwarn_s = "soon"\n')
    with pytest.raises(UserError) as caught:
        load_site(path)
    assert str(caught.value).startswith(f"{path}: warn_s: ")
    assert str(caught.value).endswith(": correct that key.")


def test_the_example_in_the_docs_is_a_site() -> None:
    assert isinstance(load_site(Path("docs/site.example.toml")), Site)


def test_jobs_of_a_submit_that_is_refused_midway_are_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = {
        "sbatch": 'case "$*" in *head.sh*) echo 71;; *) echo "sbatch: error: no such feature" >&2; exit 1;; esac',
        "squeue": "exit 0",
        "scancel": f'echo "$*" >>{tmp_path}/cancelled',
        "scontrol": "exit 0",
    }
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    results = tmp_path / "results"
    assert call("submit", "asha", "--profile", "v100", "--results", results, monkeypatch=monkeypatch) == 2
    assert "no such feature" in capsys.readouterr().err
    assert (tmp_path / "cancelled").read_text().split()[-1] == "71", "a head without workers waits for nothing"
    assert not list(results.glob("runs/[!.]*"))


def test_a_dry_run_says_what_would_be_searched_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("submit", "asha", "--profile", "v100", "--trials-per-device", "2", "--space", "lora", "--dry-run")
    assert call(*words, "--results", tmp_path / "results", monkeypatch=monkeypatch) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "# asha, seed 0: up to 12 trials of 5 epochs, space lora, 2 trials a device"
