"""`sweepmark export`: finds runs as reports do, says what to do next, and stays at home."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli.export import export
from bench.errors import UserError
from tests.cli.test_cli import call
from tests.export.runs import RECORDS

ASHA = next(RECORDS.glob("asha-*"))
TOOLS = {"tensorboard": "logs", "mlflow": "mlruns", "optuna": "o.db"}

OFFLINE = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        print("network:", event, arguments, file=sys.stderr)
        raise OSError("no network")

sys.addaudithook(refuse)
from bench.cli.export import export
for tool, place in zip(sys.argv[2::2], sys.argv[3::2]):
    export.main([sys.argv[1], "--to", tool, place], standalone_mode=False)
"""


def test_nothing_goes_over_the_network(tmp_path: Path) -> None:
    arguments = [text for tool, place in TOOLS.items() for text in (tool, str(tmp_path / place))]
    quiet = {k: v for k, v in os.environ.items() if k not in ("CI", "PYTEST_CURRENT_TEST") and "MLFLOW" not in k}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, ASHA, *arguments], capture_output=True, text=True, env=quiet, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "network:" not in done.stderr
    assert done.stdout.count("12 trials of asha-tiny-squad-qa-cpu-s0-fc50ef9d are in ") == 3
    assert f"Open with: tensorboard --logdir {tmp_path}/logs" in done.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(TOOLS.values())


@pytest.mark.parametrize("name", [ASHA, ASHA / "record.json"])
def test_a_run_is_a_folder_or_a_record_and_stays_as_it_is(tmp_path: Path, name: Path) -> None:
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in ASHA.iterdir()}
    done = CliRunner().invoke(export, [str(name), "--to", "tensorboard", str(tmp_path)], catch_exceptions=False)
    assert "12 trials of asha-" in done.output
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in ASHA.iterdir()} == before
    again = CliRunner().invoke(export, [str(ASHA), "--to", "tensorboard", str(tmp_path)], catch_exceptions=False)
    assert again.output.endswith("already: nothing was written.\n")


def test_a_record_with_a_journal_of_another_run_is_exported_alone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(ASHA, run)
    shutil.copy(next(RECORDS.glob("pbt-*")) / "events.jsonl", run)
    arguments = [str(run / "record.json"), "--to", "tensorboard", str(tmp_path / "logs")]
    done = CliRunner().invoke(export, arguments, catch_exceptions=False)
    assert "12 trials of asha-" in done.output


def test_mistakes_are_one_sentence_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Something else at the place, no such run, no such tool."""
    (tmp_path / "letter.txt").write_text("dear")
    letter, new = tmp_path / "letter.txt", tmp_path / "new"
    mistakes: list[tuple[tuple[str | Path, ...], str]] = [
        ((ASHA, "--to", "tensorboard", tmp_path), "neither empty nor a log folder"),
        ((ASHA, "--to", "mlflow", tmp_path), "neither empty nor a file store"),
        ((ASHA, "--to", "optuna", letter), "no storage of Optuna"),
        ((ASHA, "--to", "tensorboard", letter / "logs"), "Cannot write in"),
        ((ASHA, "--to", "excel", new), "'excel' is not one of"),
        (("nope", "--to", "optuna", new, "--results", tmp_path), "There are no runs in"),
    ]
    for arguments, said in mistakes:
        assert call("export", *arguments, monkeypatch=monkeypatch) == 2
        error = capsys.readouterr().err
        assert said in error
        assert "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(("tool", "package"), [("tensorboard", "tensorboardX"), ("mlflow", "mlflow")])
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"needs the package {package}: `pip install sweepmark\[export\]`\.$"):
        CliRunner().invoke(export, [str(ASHA), "--to", tool, str(tmp_path / "x")], catch_exceptions=False)
    assert list(tmp_path.iterdir()) == []
