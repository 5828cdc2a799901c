"""Whatever ends an export half-way, the place is then as it was, or the next export makes it whole."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.export.common import Source
from bench.export.mlflow import ENVIRONMENT, export_mlflow
from bench.export.optuna import export_optuna
from bench.export.place import LOCK_NAME, alone_in
from bench.export.tensorboard import export_tensorboard
from bench.lock import hold
from bench.progress import OnDone
from tests.export.runs import measured, mixed

Export = Callable[[Source, Path, OnDone | None], bool]
EXPORTS: dict[str, tuple[Export, str]] = {
    "tensorboard": (export_tensorboard, "logs"),
    "mlflow": (export_mlflow, "mlruns"),
    "optuna": (export_optuna, "o.db"),
}
OLD, NEW = mixed(), measured("random")


def shown(tool: str, place: Path) -> set[str]:
    """What the tool shows of a place: runs, and trials where they are runs of their own, by their names."""
    if tool == "tensorboard":
        return {str(p.parent.relative_to(place)) for p in place.rglob("*.tfevents.*")}
    if tool == "optuna":
        import optuna

        address = f"sqlite:///{place}"
        studies = {name: optuna.load_study(study_name=name, storage=address) for name in names_in(place)}
        return {f"{name}, trial {trial.number}" for name, study in studies.items() for trial in study.trials}
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=place.as_uri())
    return {r.info.run_name for r in client.search_runs([e.experiment_id for e in client.search_experiments()])}


def names_in(place: Path) -> list[str]:
    import optuna

    return optuna.get_all_study_names(f"sqlite:///{place}")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


@pytest.fixture(autouse=True)
def _allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("tool", EXPORTS)
@pytest.mark.parametrize("existed", [False, True])
def test_an_interrupted_export_leaves_nothing(tmp_path: Path, tool: str, existed: bool) -> None:
    export, name = EXPORTS[tool]
    place = tmp_path / name
    if existed:
        export(OLD, place, None)
    before, seen = contents(tmp_path), shown(tool, place) if existed else set()

    def interrupt(done: int, of: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(NEW, place, interrupt)
    after = contents(tmp_path)
    assert after.keys() == before.keys()
    if tool != "optuna":  # the pages of a base differ where something was deleted
        assert after == before
    assert (shown(tool, place) if existed else set()) == seen


@pytest.mark.parametrize("tool", EXPORTS)
@pytest.mark.parametrize("existed", [False, True])
def test_what_a_killed_export_left_is_taken_away(tmp_path: Path, tool: str, existed: bool) -> None:
    export, name = EXPORTS[tool]
    place, whole = tmp_path / "there" / name, tmp_path / "whole" / name
    for folder in (place, whole):
        if existed:
            export(OLD, folder, None)
    export(NEW, whole, None)
    child = os.fork()
    if child == 0:
        export(NEW, place, lambda done, of: os.kill(os.getpid(), signal.SIGKILL) if done == 3 else None)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    if tool == "optuna":
        assert place.exists() == existed
    assert export(NEW, place, None)
    assert shown(tool, place) == shown(tool, whole)
    assert sorted(p.name for p in place.parent.iterdir()) == [name]
    assert not [p for p in tmp_path.rglob("*") if p.name == LOCK_NAME or p.name.endswith(".writing")]
    assert not export(NEW, place, None)


@pytest.mark.parametrize("tool", EXPORTS)
def test_two_exports_take_turns(tmp_path: Path, tool: str) -> None:
    export, name = EXPORTS[tool]
    place = tmp_path / name
    folder = place.parent if tool == "optuna" else place
    with alone_in(folder), pytest.raises(UserError, match="Another export is writing in"):
        export(NEW, place, None)
    assert export(NEW, place, None)


def test_folders_made_go_again_where_they_are_empty(tmp_path: Path) -> None:
    with alone_in(tmp_path / "a" / "b"):
        (tmp_path / "a" / "kept").touch()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["kept"]


def test_a_lock_left_by_a_killed_export_is_no_hindrance(tmp_path: Path) -> None:
    hold(tmp_path / LOCK_NAME, instead="", busy="").close()
    with alone_in(tmp_path):
        assert (tmp_path / LOCK_NAME).exists()
    assert list(tmp_path.iterdir()) == []
