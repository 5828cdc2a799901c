"""The command line: quick to answer, and a user's mistake is one sentence with exit status 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.cli import cli, main

GOLDEN = Path(__file__).with_name("help.txt")


def call(*args: str | Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["sweepmark", *map(str, args)])
    try:
        main()
    except SystemExit as exit_:
        return int(exit_.code or 0)
    return 0


def test_help_is_as_recorded() -> None:
    text = []
    for name in ("", *cli.commands):
        command = [name] if name else []
        done = subprocess.run(
            [sys.executable, "-m", "bench", *command, "--help"],
            check=True, capture_output=True, text=True, env=os.environ | {"COLUMNS": "100"},
        )  # fmt: skip
        text.append(f"$ sweepmark {' '.join([*command, '--help'])}\n{done.stdout}")
    assert "\n".join(text) == GOLDEN.read_text(), "write the new text to tests/cli/help.txt if it is meant"


@pytest.mark.alone
def test_help_loads_neither_torch_nor_ray_and_answers_at_once() -> None:
    """Less than 0.3 s, or less than six bare interpreters where the machine is slow."""

    def seconds(*args: str) -> float:
        times = []
        for _ in range(5):
            began = time.perf_counter()
            subprocess.run([sys.executable, *args], check=True, capture_output=True)
            times.append(time.perf_counter() - began)
        return min(times)

    assert seconds("-m", "bench", "--help") < max(0.3, 6 * seconds("-c", "pass"))
    code = "import sys, bench.cli, bench.report, bench.profile; assert not {'torch', 'ray', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("rnu", "did you mean 'run'"),
        ("run --strategy bhob", "did you mean 'bohb'"),
        ("run --strategy no/such/file.py", "no strategy file no/such/file.py"),
        ("run --strategy bohb --profile v10", "did you mean 'v100'"),
        ("run --strategy bohb --workload tiny-sqad", "did you mean 'tiny-squad'"),
        ("run --strategy bohb --recipe qaa", "did you mean 'qa'"),
        ("run --stratgy bohb", "--strategy"),
        ("run --strategy bohb --profile v100", "use --profile cpu here"),
        ("run --strategy bohb --engine serial", "runs on the ray engine"),
        ("run --strategy bohb --profile v100", "simulate with --engine virtual"),
        ("run --strategy bohb --nodes 2", "--nodes is for virtual time alone"),
        ("run --strategy bohb --engine virtual --profile h100", "No curves were recorded for profile h100"),
        ("run --strategy bohb --engine virtual --curves tiny-squat", "did you mean 'tiny-squad'"),
        ("run --strategy bohb --engine virtual --epochs 16", "up to 15"),
        ("run --strategy bohb --engine virtual --lr-lower 1e-5", "1e-05"),
        ("run --strategy bohb --engine virtual --bs-choices 32", "32"),
        ("run --strategy bohb --engine virtual --dataset x.json", "--dataset cannot be had in virtual time"),
        ("run --strategy bohb --engine virtual --lose-node 3@10", "names node 3 of 1"),
        ("run --strategy bohb --engine virtual --lose-node soon", "NODE@SECONDS"),
        ("run --strategy bohb --engine virtual --trial-cpus 3", "does not fit on a node"),
        ("run --strategy bohb --engine virtual --nodes 3 --devices 4", "give a multiple"),
        ("run --strategy bohb --engine virtual --speed 0", "speed is 0.0"),
        ("run --strategy bohb --engine virtual --failure-rate 1", "failure_rate is 1.0"),
        ("simulate --strategy bhob", "did you mean 'bohb'"),
        ("simulate --strategy asha,", "leaves a name out"),
        ("plan --strategy asha --budget nan", "not a finite number"),
        ("advise --target inf", "not a finite number"),
        ("simulate --strategy bohb --set eta=3", "no setting 'eta'"),
        ("simulate --csv --json", "Only one of"),
        ("plan --strategy bohb --profile v10", "did you mean 'v100'"),
        ("curves no-such-set", "curve set"),
        ("record-curves Tiny", "small letters"),
        ("validate-simulation tiny-squad no-such-run", "no runs in"),
        ("run --strategy bohb --set eta=3", "no setting 'eta'"),
        ("run --strategy bohb --set eta", "--set NAME=VALUE"),
        ("run --strategy bohb --lr-lower 1 --lr-upper 0.1", "smaller lower"),
        ("run --strategy bohb --bs-choices eight", "not a list of numbers"),
        ("run --strategy bohb --wd-choices -1", "0 or more"),
        ("run --strategy bohb --epochs 0", "--epochs"),
        ("run --strategy bohb --epochs 99", "decays the learning rate"),
        ("run --strategy bohb --devices 64", "--devices 64 cannot be had"),
        ("run --strategy bohb --model /no/such/model", "--model /no/such/model does not exist"),
        ("run --strategy bohb --dataset /no/such/file.json", "--dataset /no/such/file.json does not exist"),
        ("resume", "RUN"),
        ("resume bohb-x", "no runs in"),
        ("report no-such-run", "no runs in"),
        ("report --json --csv", "Only one of"),
        ("strategies rando", "did you mean 'random'"),
        ("profiles h20", "did you mean"),
        ("workloads bloom", "no workload 'bloom'"),
    ],
)
def test_a_mistake_is_one_sentence(
    command: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert call(*command.split(), monkeypatch=monkeypatch) == 2
    stderr = capsys.readouterr().err
    assert words in stderr
    assert "Traceback" not in stderr
    assert len(stderr.strip().splitlines()) <= 4
    assert list(tmp_path.iterdir()) == [], "nothing is left half-written"


@pytest.mark.parametrize(
    ("source", "args", "words"),
    [
        (None, "asha --epochs 2 --set grace_period=50", "grace_period must be <= max_t"),
        ("def build(request): raise RuntimeError('no idea')", "", "RuntimeError: no idea, at own.py:2"),
        ("def build(request): return 3", "", "planned a int"),
    ],
)
def test_a_strategy_without_a_plan_is_told_before_anything_runs(
    source: str | None,
    args: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "own.py"
    path.write_text(f"from bench.strategy import Strategy\n{source}\nSTRATEGY = Strategy('own', 'mine', build)\n")
    strategy = args.split() if source is None else [str(path)]
    assert call("run", "--results", tmp_path / "results", "--strategy", *strategy, monkeypatch=monkeypatch) == 2
    stderr = capsys.readouterr().err
    assert words in stderr
    assert "Traceback" not in stderr
    assert not list(tmp_path.glob("results/runs/*/events.jsonl"))


@pytest.mark.parametrize("command", ["strategies", "strategies pbt", "workloads", "workloads tiny-squad", "profiles"])
def test_listings_are_tables_for_people_and_json_for_machines(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*command.split(), "--json", monkeypatch=monkeypatch) == 0
    assert json.loads(capsys.readouterr().out)
    assert call(*command.split(), monkeypatch=monkeypatch) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown, "no colours where there is no terminal"
    assert len(shown.splitlines()) > 3


def test_the_probe_names_the_profile(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("probe", "--json", monkeypatch=monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"profile", "cpus", "memory_mib", "reason"} <= set(found)


def test_the_published_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("report", "--published", "--csv", monkeypatch=monkeypatch) == 0
    shown = capsys.readouterr().out
    assert all(number in shown for number in ("109.6", "424.3", "180.9"))


def test_runs_that_are_in_git_are_found_by_name_and_left_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = next((Path(__file__).parents[2] / "results/validation/tiny-squad").glob("asha-tiny-squad-qa-cpu-s0-*"))
    folder = tmp_path / "validation" / "set" / source.name
    folder.mkdir(parents=True)
    (folder / "events.jsonl").write_bytes((source / "events.jsonl").read_bytes())
    assert call("report", "asha-tiny", "--results", tmp_path, monkeypatch=monkeypatch) == 0
    assert f"Run {source.name}" in capsys.readouterr().out
    assert [path.name for path in folder.iterdir()] == ["events.jsonl"]
    # To go on with a run is for those of this checkout alone.
    assert call("resume", "asha-tiny", "--results", tmp_path, monkeypatch=monkeypatch) == 2
    assert "There are no runs" in capsys.readouterr().err
