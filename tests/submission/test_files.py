"""Files that have no place in a submission: found, and neither opened nor followed."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.submission import check_submission, files
from tests.submission.planted import RECORDS, codes_of, copied, found, found_in

STRATEGY = "raise SystemExit('a strategy was run')\n"


def run_of(root: Path) -> Path:
    return next(path for path in root.iterdir() if path.is_dir())


def written(name: str, text: str = "x") -> Callable[[Path], object]:
    return lambda root: (root / name).write_bytes(text.encode("latin-1"))


def in_run(name: str, text: str = "x") -> Callable[[Path], object]:
    return lambda root: written(name, text)(run_of(root))


def as_large_as(name: str, size: int) -> Callable[[Path], None]:
    """A file with a hole: it has that size, and takes no room."""

    def plant(root: Path) -> None:
        with (run_of(root) / name).open("r+b") as file:
            file.truncate(size)

    return plant


def linked(root: Path) -> None:
    """The journal is a link to one outside, which is sound."""
    journal = run_of(root) / "events.jsonl"
    outside = root.parent / "elsewhere.jsonl"
    journal.rename(outside)
    journal.symlink_to(outside)


def linked_by_dots(root: Path) -> None:
    journal = run_of(root) / "events.jsonl"
    journal.rename(root.parent / "elsewhere.jsonl")
    journal.symlink_to("../../elsewhere.jsonl")


def linked_folder(root: Path) -> None:
    run = run_of(root)
    outside = run.rename(root.parent / "elsewhere")
    run.symlink_to(outside, target_is_directory=True)


def endless(root: Path) -> None:
    (run_of(root) / "record.json").unlink()
    os.mkfifo(run_of(root) / "record.json")


def device(root: Path) -> None:
    (root / "README.md").symlink_to("/dev/zero")


def nothing(root: Path) -> None:
    for path in run_of(root).iterdir():
        path.unlink()
    run_of(root).rmdir()


def pickled(root: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {root.parent}/opened",)

    (run_of(root) / "optuna.pkl").write_bytes(pickle.dumps(Trap()))


DEFECTS: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "nothing at all": (nothing, {"no-runs"}),
    "a run without a journal": (lambda root: (run_of(root) / "events.jsonl").unlink(), {"journal-missing"}),
    "a journal that links elsewhere": (linked, {"not-a-file", "journal-missing"}),
    "a journal that links upwards": (linked_by_dots, {"not-a-file", "journal-missing"}),
    "a folder that links elsewhere": (linked_folder, {"not-a-file", "no-runs"}),
    "a pipe for a record": (endless, {"not-a-file"}),
    "an endless device for a README": (device, {"not-a-file"}),
    "an escape sequence for a name": (written("a\x1b[2J"), {"unsafe-name"}),
    "a path of another system for a name": (written("..\\..\\autoexec"), {"unsafe-name"}),
    "an option for a name": (written("-rf"), {"unsafe-name"}),
    "a hidden file": (in_run(".bashrc"), {"unsafe-name"}),
    "a line break for a name": (written("a\nerror  x"), {"unsafe-name"}),
    "notes": (written("notes.txt"), {"unexpected-file"}),
    "a folder of something else": (lambda root: (root / "more").mkdir(), {"unexpected-file"}),
    "checkpoints": (lambda root: (run_of(root) / "checkpoints").mkdir(), {"unexpected-file"}),
    "a pickle": (pickled, {"code-or-pickle"}),
    "weights": (in_run("model.pt"), {"code-or-pickle"}),
    "a page": (written("index.html"), {"code-or-pickle"}),
    "code of no run": (written("setup.py"), {"code-or-pickle"}),
    "code of no run beside its journal": (in_run("conftest.py", STRATEGY), {"code-or-pickle"}),
    "a README in another encoding": (written("README.md", "caf\xe9"), {"unreadable"}),
    "a journal of 65 MiB": (as_large_as("events.jsonl", 65 * files.MIB), {"too-large", "journal-missing"}),
    "a lock with something in it": (in_run("lock"), {"too-large"}),
    "a statement that is no TOML": (written("submission.toml", "submitter ="), {"bad-statement"}),
    "a statement nested too deeply": (written("submission.toml", "a = " + "[" * 9000), {"bad-statement"}),
    "a statement with another key": (
        written("submission.toml", 'schema_version = 1\nsubmitter = "A"\nhardware = "B"\nrank = 1\n'),
        {"bad-statement"},
    ),
    "a statement with a container of no digest": (
        written("submission.toml", 'schema_version = 1\nsubmitter = "A"\nhardware = "B"\ncontainer = "latest"\n'),
        {"bad-statement"},
    ),
    "a statement with a key misspelt": (
        written("submission.toml", 'schema_version = 1\nsubmiter = "A"\nhardware = "B"\n'),
        {"bad-statement"},
    ),
    "a statement of nobody": (
        written("submission.toml", 'schema_version = 1\nsubmitter = " "\nhardware = "B"\n'),
        {"bad-statement"},
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_file_that_does_not_belong_is_found(defect: str, tmp_path: Path) -> None:
    root = copied(tmp_path, "random").parent
    plant, codes = DEFECTS[defect]
    plant(root)
    assert set(found(root)) == codes
    assert not (tmp_path / "opened").exists()


def test_all_that_may_be_there_is_accepted(tmp_path: Path) -> None:
    root = copied(tmp_path, "random").parent
    (root / "README.md").write_text("Runs of ours.\n")
    (root / "submission.toml").write_text(
        f'schema_version = 1\nsubmitter = "A <a@b.c>"\nhardware = "two cores"\ncontainer = "sha256:{"0" * 64}"\n'
    )
    (run_of(root) / "lock").touch()
    assert not found(root)
    assert set(found(root, "warning")) == {"provisional"}


def test_a_run_alone_is_a_submission(tmp_path: Path) -> None:
    run = copied(tmp_path, "random")
    assert not found(run)
    assert set(found(run.rename(run.with_name("renamed")))) == {"folder-name"}


STATEMENTS = {
    'schema_version = 1\nsubmiter = "A"\nhardware = "B"\n': (
        "There is no key 'submiter'; did you mean 'submitter'? The key 'submitter' is missing. See docs/submit.md."
    ),
    "": "The key 'schema_version' is missing. The key 'submitter' is missing. The key 'hardware' is missing. See",
    'schema_version = 2\nsubmitter = 7\nhardware = ["B"]\n': (
        "'schema_version' is 2; this version reads 1. 'submitter' is 7; it must be text in quotes. "
        "'hardware' is ['B']; it must be text in quotes. See"
    ),
    'schema_version = true\nsubmitter = "A"\nhardware = "B"\n': "'schema_version' is True; this version reads 1.",
    "\n".join(f"key{number} = 1" for number in range(90)): "89 more like this.",
    'schema_version = 1\nsubmitter = ""\nhardware = "B"\n': "'submitter' must be text of 1 to 200 characters. See",
}


@pytest.mark.parametrize("text", STATEMENTS)
def test_a_statement_is_corrected_in_our_words(text: str, tmp_path: Path) -> None:
    root = copied(tmp_path, "random").parent
    written("submission.toml", text)(root)
    (told,) = (f.sentence for f in check_submission(root).findings if f.code == "bad-statement")
    assert STATEMENTS[text] in told
    assert "pydantic" not in told.lower()
    assert "no-statement" not in found(root, "warning")


def test_who_answers_for_the_runs_must_be_said(tmp_path: Path) -> None:
    run = copied(tmp_path, "random")
    assert found(run.parent, "warning")["no-statement"] == 1
    assert found(run, "warning")["no-statement"] == 1
    assert not found(run.parent)


FILED_AWAY = {
    "results": "holds all results: name",
    "results/runs": "where runs are written: name",
    "mine": "where runs are written: name",
}


@pytest.mark.parametrize("name", FILED_AWAY)
def test_folders_that_the_suite_keeps_runs_in_are_no_submissions(name: str, tmp_path: Path) -> None:
    run = copied(tmp_path, "random")
    folder = tmp_path / name
    runs = folder / "runs" if name == "results" else folder
    runs.mkdir(parents=True)
    run = run.rename(runs / run.name)
    (runs / ".cache").mkdir()
    if name == "results":
        ada = folder / "submissions" / "ada"
        ada.mkdir(parents=True)
    with pytest.raises(UserError) as told:
        check_submission(folder)
    assert f"{folder} is no submission, but {FILED_AWAY[name]} {ada if name == 'results' else run}" in str(told.value)
    assert not found(run)


def test_a_submission_may_be_called_results(tmp_path: Path) -> None:
    root = copied(tmp_path, "random").parent
    assert not found(root.rename(root.with_name("results")))


@pytest.mark.parametrize("limit", ["MAX_ENTRIES", "MAX_RUNS", "MAX_TOTAL_BYTES"])
def test_no_more_is_looked_at_than_the_limits(limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, limit, 3)
    root = RECORDS if limit != "MAX_TOTAL_BYTES" else copied(tmp_path, "random").parent
    assert ("too-large" if limit == "MAX_TOTAL_BYTES" else "too-many") in found(root)


def test_a_file_that_grows_is_not_read_to_its_end(tmp_path: Path) -> None:
    findings = found_in(lambda notes: files.read(Path("/dev/zero"), "x", notes))
    assert codes_of(findings) == {"not-a-file"}
    path = tmp_path / "submission.toml"
    path.write_bytes(b"x" * (16 * 1024 + 1))
    assert codes_of(found_in(lambda notes: files.read(path, "x", notes))) == {"too-large"}


@pytest.mark.parametrize(("call", "codes"), [("open", {"unreadable"}), ("scandir", {"unreadable", "no-runs"})])
def test_what_may_not_be_read_is_said(
    call: str, codes: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copied(tmp_path, "random")

    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, refuse)
        assert set(found(run.parent)) == codes


def test_text_of_a_submission_cannot_steer_a_terminal(tmp_path: Path) -> None:
    root = copied(tmp_path, "random").parent
    (root / "\x1b]0;owned\x07\u202e\u200bx").touch()
    written("submission.toml", '"\\u001b[31m" = 1')(root)
    for finding in check_submission(root).findings:
        assert str(finding).isprintable()
        assert len(str(finding)) < 700
