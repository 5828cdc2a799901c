"""A site replaces a site, whole or not at all, and nothing else."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.site.folder import LOCK, MARKER, replacing


def make(target: Path, text: str) -> None:
    with replacing(target) as root:
        (root / "page.html").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_makes_a_folder_and_replaces_the_one_it_made(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "site"
    with replacing(target) as root:
        (root / "runs").mkdir()
        (root / "runs" / "old.html").write_text("of an earlier build")
    make(target, "second")
    assert names(target) == [MARKER, "page.html"]
    assert (target / "page.html").read_text() == "second"
    assert names(target.parent) == ["site"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    make(tmp_path / "site", "first")
    assert names(tmp_path / "site") == [MARKER, "page.html"]


def test_a_folder_with_other_things_is_refused_and_kept(tmp_path: Path) -> None:
    target = tmp_path / "thesis"
    target.mkdir()
    (target / "chapter.tex").write_text("work of years")
    with pytest.raises(UserError, match="holds files that are no site"):
        make(target, "first")
    assert names(target) == ["chapter.tex"]
    assert names(tmp_path) == ["thesis"]


@pytest.mark.parametrize("name", ["notes.txt", "data/run/notes.txt", ".hidden"])
def test_what_the_user_put_into_a_site_is_named_and_kept(tmp_path: Path, name: str) -> None:
    target = tmp_path / "site"
    make(target, "first")
    own = target / name
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text("mine")
    with pytest.raises(UserError, match=r"was written by no site, .*: move it away, or name another") as refused:
        make(target, "second")
    assert str(own) in str(refused.value)
    assert own.read_text() == "mine"
    assert (target / "page.html").read_text() == "first"
    assert names(tmp_path) == ["site"]
    own.unlink()
    make(target, "second")
    assert (target / "page.html").read_text() == "second"


def test_what_is_put_there_while_it_is_built_is_kept_too(tmp_path: Path) -> None:
    target = tmp_path / "site"
    make(target, "first")

    def slow() -> None:
        with replacing(target) as root:
            (root / "page.html").write_text("second")
            (target / "notes.txt").write_text("mine")

    with pytest.raises(UserError, match=r"notes\.txt was written by no site"):
        slow()
    assert (target / "page.html").read_text() == "first"
    assert names(tmp_path) == ["site"]


def test_a_link_in_place_of_a_sites_folder_is_refused(tmp_path: Path) -> None:
    target, thesis = tmp_path / "site", tmp_path / "thesis"
    make(target, "first")
    thesis.mkdir()
    (target / "runs").symlink_to(thesis)
    with pytest.raises(UserError, match="runs was written by no site"):
        make(target, "second")


def test_a_site_that_does_not_list_its_files_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "site"
    make(target, "first")
    (target / MARKER).write_text("Sweepmark builds this site.\n")
    with pytest.raises(UserError, match="lists none of its files"):
        make(target, "second")
    assert (target / "page.html").read_text() == "first"


@pytest.mark.parametrize("name", ["/", "//", ".", "", "..", "../here", "../here/"])
def test_no_site_replaces_the_root_or_the_folder_that_one_is_in(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UserError, match=r"the root of all folders|the folder that you are in"):
        make(Path(name), "first")
    assert names(tmp_path) == ["here"]


def test_a_target_that_cannot_be_written_is_named_itself(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for target in (tmp_path / "file" / "site", tmp_path / ("long" * 80), Path("/proc/site")):
        with pytest.raises(UserError, match="Cannot write the site") as refused:
            make(target, "first")
        assert str(target) in str(refused.value)
        assert ".building" not in str(refused.value)


def test_files_and_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    make(tmp_path / "real", "first")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("file", "link"):
        with pytest.raises(UserError, match="is no folder"):
            make(tmp_path / name, "second")
    assert (tmp_path / "file").read_text() == "kept"
    assert (tmp_path / "real" / "page.html").read_text() == "first"


def test_a_build_that_fails_leaves_the_old_site_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "site"
    make(target, "first")

    def half() -> None:
        with replacing(target) as root:
            (root / "page.html").write_text("half")
            raise RuntimeError("out of ideas")

    with pytest.raises(RuntimeError, match="out of ideas"):
        half()
    assert (target / "page.html").read_text() == "first"
    assert names(tmp_path) == ["site"]


def test_while_it_is_built_the_old_site_stands(tmp_path: Path) -> None:
    target = tmp_path / "site"
    make(target, "first")
    with replacing(target) as root:
        (root / "page.html").write_text("second")
        assert (target / "page.html").read_text() == "first"
    assert (target / "page.html").read_text() == "second"


def test_what_a_killed_build_left_is_cleared_and_its_site_comes_back(tmp_path: Path) -> None:
    target = tmp_path / "site"
    make(target, "first")
    target.rename(tmp_path / ".site.old")
    rest = tmp_path / ".site.building"
    (rest / "runs").mkdir(parents=True)
    (rest / "runs" / "half.html").write_text("half")
    with replacing(target) as root:
        assert names(root) == [LOCK]
        assert (target / "page.html").read_text() == "first"
        (root / "page.html").write_text("second")
    assert names(tmp_path) == ["site"]
    assert names(target) == [MARKER, "page.html"]


def test_two_builds_at_once_do_not_mix(tmp_path: Path) -> None:
    rest = tmp_path / ".site.building"
    rest.mkdir()
    with (rest / LOCK).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="being built by another process"):
            make(tmp_path / "site", "first")
    assert not (tmp_path / "site").exists()
    make(tmp_path / "site", "first")


def test_a_disk_that_refuses_is_said_in_a_sentence(tmp_path: Path) -> None:
    def full() -> None:
        with replacing(tmp_path / "site"):
            raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"Cannot write the site .* \(No space left on device\)"):
        full()
    assert names(tmp_path) == []
