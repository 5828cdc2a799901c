"""An image's contents are read through a pipe; whatever comes through it, a sentence or the contents come out."""

from __future__ import annotations

import contextlib
import io
import os
import random
import tarfile
import time
from email.parser import HeaderParser
from pathlib import Path

import pytest

from bench.container import contents
from bench.container.contents import Contents, Package, read_contents
from bench.container.licences import debian_licences, python_licences
from bench.errors import UserError
from tests.containers.pretend import SITE, archive, files, metadata, runtime, stanza


def read(folder: Path, output: bytes | str, then: str = "exit 0") -> Contents:
    return read_contents(runtime(folder, output, then), folder / "pretend.sif")


def refused(folder: Path, output: bytes | str, then: str = "exit 0") -> str:
    with pytest.raises(UserError) as found:
        read(folder, output, then)
    said = str(found.value)
    assert "\n" not in said
    assert said.endswith(".")
    assert len(said) < 700 + len(str(folder))
    return said


def test_packages_and_kept_files(tmp_path: Path) -> None:
    held = files()
    found = read(tmp_path, archive(held))
    assert found.python["numpy"] == Package(version="2.4.6", licences=("MIT",))
    assert found.python["sweepmark"].version == "0.1.0"
    assert (found.python_version, found.distribution, found.release) == ("3.11", "debian", "bookworm")
    assert found.debian["base-files"] == Package(version="12.4", licences=("MIT",), architecture="amd64")
    assert found.debian["g++"].version.startswith("1:")
    assert found.kept == {name: held[f"opt/sweepmark/{name}"] for name in contents.KEPT_FILES}
    assert list(found.python) == sorted(found.python)


def test_the_image_is_started_once_and_closed_off(tmp_path: Path) -> None:
    read(tmp_path, archive(files()), then="[ ! -t 0 ] || exit 1")
    called = (tmp_path / "called").read_text().splitlines()
    assert called[:7] == [
        "exec", "--containall", "--no-home", "--cleanenv", str(tmp_path / "pretend.sif"), "sh", "-c",
    ]  # fmt: skip


def test_the_script_takes_what_is_there_and_follows_links(tmp_path: Path) -> None:
    """It runs here, in a folder that stands for the image's root."""
    for name, content in files().items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    doc = tmp_path / "root/usr/share/doc"
    (doc / "base-files/copyright").unlink()
    (doc / "base-files").rmdir()
    (doc / "base-files").symlink_to("g++")
    script = contents.SCRIPT.replace("cd /\n", f"cd {tmp_path}/root\n", 1)
    found = read(tmp_path, f"sh -c '{script.replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}'")
    assert found.debian["base-files"].licences == ("MIT",)
    assert len(found.python) == len(files()) - len(found.debian) - len(contents.KEPT_FILES) - 2


def test_packages_that_are_not_installed_are_none(tmp_path: Path) -> None:
    held = files()
    held["var/lib/dpkg/status"] += stanza("gone", "1", "deinstall ok config-files").encode()
    assert "gone" not in read(tmp_path, archive(held)).debian


def test_nothing_else_in_the_archive_is_looked_at(tmp_path: Path) -> None:
    buffer = io.BytesIO(archive(files()))
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        for name in ("/etc/passwd", "../../escaped", f"{SITE}/../x.dist-info/METADATA", "opt/sweepmark/new"):
            member = tarfile.TarInfo(name)
            member.size = 5
            tar.addfile(member, io.BytesIO(b"evil\n"))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo(contents.STATUS)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    before = sorted(path.name for path in tmp_path.iterdir())
    found = read(tmp_path, buffer.getvalue())
    assert found == read(tmp_path, archive(files()))
    assert sorted({path.name for path in tmp_path.iterdir()} - {"apptainer", "output", "called"}) == before
    assert not (tmp_path.parent / "escaped").exists()


@pytest.mark.parametrize("name", [*(f"opt/sweepmark/{name}" for name in contents.KEPT_FILES), contents.STATUS])
def test_what_every_image_holds_must_be_there(tmp_path: Path, name: str) -> None:
    held = files()
    del held[name]
    assert f"(no /{name})" in refused(tmp_path, archive(held))


def test_one_python(tmp_path: Path) -> None:
    other = {f"{SITE.replace('3.11', '3.12')}/x-1.dist-info/METADATA": metadata("x", "1")}
    assert "packages of 2 versions of Python" in refused(tmp_path, archive(files() | other))
    none = {name: content for name, content in files().items() if "dist-info" not in name}
    assert "packages of 0 versions of Python" in refused(tmp_path, archive(none))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (f"{SITE}/x-1.dist-info/METADATA", metadata("x y", "1"), "'x y' where a name or version should be"),
        (f"{SITE}/x-1.dist-info/METADATA", metadata("x", "1\x1b[31m"), "where a name or version should be"),
        (f"{SITE}/x-1.dist-info/METADATA", metadata("x" * 4000, "1"), "where a name or version should be"),
        (f"{SITE}/numpi-1.dist-info/METADATA", metadata("NumPy", "1"), "Python package numpy twice"),
        (contents.STATUS, (stanza("a", "1") + stanza("a", "2")).encode(), "package a twice"),
        (contents.STATUS, stanza("A/../b", "1").encode(), "where a name or version should be"),
        (contents.STATUS, stanza("a", "").encode(), "'' where a name or version should be"),
        (contents.STATUS, b"Status: install ok installed\n", "'' where a name or version should be"),
        ("etc/os-release", b"ID=\n", "'' where a name or version should be"),
        ("etc/os-release", b"\0" * (contents.FILE_MOST + 1), "etc/os-release of 4194305 bytes"),
    ],
)
def test_strange_contents_are_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    held = files() | {name: content}
    assert said in refused(tmp_path, archive(held))


def test_a_file_that_comes_twice_is_refused(tmp_path: Path) -> None:
    held = files()
    first = archive({"etc/os-release": b"ID=x\n"})[:1024]
    assert "etc/os-release twice" in refused(tmp_path, first + archive(held))


def test_a_runtime_that_fails_is_quoted(tmp_path: Path) -> None:
    words = r"INFO: begun\n\033[31mFATAL:\033[0m   no\tnamespaces\n\n"
    said = refused(tmp_path, b"", then=f"printf '{words}' >&2; exit 255")
    assert said.startswith("apptainer cannot look into ")
    assert "(FATAL:   nonamespaces)" in said
    assert "(it says nothing)" in refused(tmp_path, archive(files()), then="exit 3")
    with pytest.raises(UserError, match=r"Cannot start .*missing"):
        read_contents(str(tmp_path / "missing"), tmp_path / "pretend.sif")


def test_an_endless_output_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "TOTAL_MOST", 4 << 20)
    assert "more than 4 MiB of package lists and licences" in refused(tmp_path, "while :; do cat /dev/zero; done")


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "FILES_MOST", 50)
    assert "more than 50 files" in refused(tmp_path, archive(files()))


def test_a_hanging_image_ends_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "TIME_MOST_S", 1.0)
    pid = tmp_path / "pid"
    began_s = time.monotonic()
    # A child holds the pipe open after its parent ends.
    assert "within 1 s" in refused(tmp_path, f"sh -c 'sleep 300 & echo $! >{pid}; wait'", then="sleep 300")
    assert time.monotonic() - began_s < 20
    deadline_s = time.monotonic() + 10
    while _runs(int(pid.read_text())):
        assert time.monotonic() < deadline_s, "the child still runs"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_damaged_archive_never_ends_in_a_traceback() -> None:
    """No process is started for these: what a runtime gives out is taken apart directly."""
    small = {name: content for name, content in files().items() if not name.startswith("usr/")}
    whole = archive({name: content for i, (name, content) in enumerate(small.items()) if i < 25})
    chance = random.Random(0)
    read_well = 0
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            header = chance.randrange(len(data) // 512) * 512
            data[header + chance.choice((chance.randrange(512), *range(100, 160), 156))] = chance.randrange(256)
        with contextlib.suppress(contents.Refused):
            end = chance.choice((len(data), chance.randrange(len(data))))
            contents.contents_of(contents.files_of(bytes(data[:end])))
            read_well += 1
    assert read_well > 50, "some damage does not matter"


def test_nested_headers_and_sparse_files_are_refused_quickly() -> None:
    name = tarfile.TarInfo("x")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 512
    with pytest.raises(contents.Refused):
        contents.files_of((name.tobuf() + b"y" * 512) * 20_000)
    sparse = tarfile.TarInfo("etc/os-release")
    pax = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 50)}
    sparse.pax_headers, sparse.size = pax, 512
    with pytest.raises(contents.Refused):
        contents.files_of(sparse.tobuf(tarfile.PAX_FORMAT) + b"1\n0\n0\n".ljust(512, b"\0") + b"\0" * 1024)


@pytest.mark.parametrize(
    "filling", [b" ", b"\n", b"a", b"-", b":", b"License: \n", b"License: " + b" " * 4096 + b"x\n"]
)
def test_large_files_take_little_time(filling: bytes) -> None:
    large = filling * ((contents.FILE_MOST - 4096) // len(filling))
    held = files() | {"usr/share/doc/g++/copyright": b"Format: 1\nLicense: " + large}
    held[contents.STATUS] = stanza("g++", "1").encode() + b"Package: a" + large
    held[f"{SITE}/x-1.dist-info/METADATA"] = metadata("x", "1", "License: " + large.decode())
    held["etc/os-release"] += b"X=" + large
    began_s = time.monotonic()
    with contextlib.suppress(contents.Refused):
        contents.contents_of(held)
    assert time.monotonic() - began_s < 10


@pytest.mark.parametrize(
    ("said", "licences"),
    [
        ("License-Expression: Apache-2.0 OR MIT\nLicense: other\n", ("Apache-2.0 OR MIT",)),
        ("License: Apache 2.0\n", ("Apache-2.0",)),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n", ("MIT",)),
        (
            "License: Copyright (c) 2001\n        All rights\nClassifier: License :: OSI Approved :: BSD License\n"
            "Classifier: License :: Public Domain\nClassifier: Topic :: X\n",
            ("BSD License", "Public Domain"),
        ),
        ("Summary: none\n", ()),
        ("License: a\x1bb\n", ()),
    ],
)
def test_licences_of_python_packages(said: str, licences: tuple[str, ...]) -> None:
    assert python_licences(HeaderParser().parsestr(said)) == licences


@pytest.mark.parametrize(
    ("said", "licences"),
    [
        (
            "Format: https://x\n\nFiles: *\nLicense: GPL-2+\n\nFiles: b\nLicense: LGPL-2.1\n text\n\nLicense: Expat\n",
            ("GPL-2.0-or-later", "LGPL-2.1-only", "MIT"),
        ),
        ("Format: 1\nLicense: GPL-1+ or Artistic\nLicense:\n", ("GPL-1+ or Artistic",)),
        ("See /usr/share/common-licenses/GPL-3.\n", ("common-licenses/GPL-3",)),
        ("License: GPL-2\n", ()),
        ("", ()),
    ],
)
def test_licences_of_the_distributions_packages(said: str, licences: tuple[str, ...]) -> None:
    assert debian_licences(said) == licences
