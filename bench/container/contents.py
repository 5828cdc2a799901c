"""What an image holds: its packages and the files that its building left, read by a program of the image's own.

Nothing is written: files come through a pipe, of a bounded size, and only those with expected names are kept. An image
made to deceive could still lie here; what is counted on is its digest.
"""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import tarfile
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from typing import IO

from bench.container.inside import KEPT
from bench.container.licences import debian_licences, python_licences
from bench.container.lockfile import normalised
from bench.errors import UserError

KEPT_FILES = (
    "pip-freeze.txt", "dpkg-list.txt", "python.lock", "debian.lock", "definition", "definition.sha256", "selftest.py",
)  # fmt: skip
"""What %files and %post leave in the image."""

RELEASE = "etc/os-release"
STATUS = "var/lib/dpkg/status"
METADATA = re.compile(rf"{KEPT}/venv/lib/python(\d+\.\d+)/site-packages/[^/]+\.dist-info/METADATA")
COPYRIGHT = re.compile(r"usr/share/doc/([^/]+)/copyright")
EXPECTED = re.compile(
    "|".join(
        [*(re.escape(f"{KEPT}/{name}") for name in KEPT_FILES), RELEASE, STATUS, METADATA.pattern, COPYRIGHT.pattern]
    )
)

SCRIPT = f"""cd /
for file in {" ".join(f"{KEPT}/{name}" for name in KEPT_FILES)} {RELEASE} {STATUS} \\
    {KEPT}/venv/lib/python*/site-packages/*.dist-info/METADATA usr/share/doc/*/copyright
do [ ! -f "$file" ] || printf '%s\\0' "$file"; done |
exec tar --create --file=- --null --files-from=- --dereference --hard-dereference"""

TOTAL_MOST = 64 << 20
"""Bytes in all; 5 MB are usual."""

FILE_MOST = 4 << 20
FILES_MOST = 20_000
TIME_MOST_S = 600.0

NAME = re.compile(r"[a-z0-9][a-z0-9.+-]{0,127}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:!~+_-]{0,127}")


@dataclass(frozen=True, kw_only=True)
class Package:
    """An installed package. `licences`: as it names them, SPDX where that is clear; empty where it says nothing.
    `architecture`: of a distribution's package, else empty."""

    version: str
    licences: tuple[str, ...] = ()
    architecture: str = ""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """`python`: packages of the virtual environment, by normalised name. `python_version`: as "3.11". `debian`: the
    distribution's packages. `distribution`, `release`: as "debian", "bookworm". `kept`: KEPT_FILES by name."""

    python: dict[str, Package]
    python_version: str
    debian: dict[str, Package]
    distribution: str
    release: str
    kept: dict[str, bytes]

    def text(self, name: str) -> str:
        return self.kept[name].decode("utf-8", errors="replace")


class Refused(Exception):
    """Why an archive or a file in it is not taken."""


def read_contents(runtime: str, image: Path) -> Contents:
    """What `image` holds. `runtime`: the program that starts it, once. Raises UserError where that fails, takes longer
    than TIME_MOST_S, or gives anything else than an image of this project's does."""
    command = [runtime, "exec", "--containall", "--no-home", "--cleanenv", str(image.resolve()), "sh", "-c", SCRIPT]
    try:
        return contents_of(files_of(_output(command, image)))
    except Refused as refused:
        raise UserError(
            f"{image} does not hold what an image of this project does ({refused}): build it with make container."
        ) from None


def _output(command: list[str], image: Path) -> bytes:
    """What the command writes, once it has ended well."""
    late = threading.Event()
    with tempfile.TemporaryFile() as said:
        try:
            # A group of its own, so that whatever was started ends with it.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, start_new_session=True
            )
        except OSError as error:
            raise UserError(f"Cannot start {command[0]} ({error.strerror}): check that it is installed.") from None
        assert process.stdout is not None

        def stop() -> None:
            late.set()
            _kill(process)

        timer = threading.Timer(TIME_MOST_S, stop)
        timer.start()
        try:
            with process.stdout as pipe:
                found = pipe.read(TOTAL_MOST + 1)
                if len(found) > TOTAL_MOST:
                    raise Refused(f"more than {TOTAL_MOST >> 20} MiB of package lists and licences")
            status = process.wait()
        finally:
            timer.cancel()
            _kill(process)
            process.wait()
        if late.is_set():
            raise UserError(f"{image} gave no list of its contents within {TIME_MOST_S:.0f} s: build or copy it again.")
        if status:
            raise UserError(
                f"{Path(command[0]).name} cannot look into {image} ({_last_words(said)}): try its exec command by hand."
            )
        return found


def _kill(process: subprocess.Popen[bytes]) -> None:
    # The group may be gone already.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _last_words(said: IO[bytes]) -> str:
    size = said.seek(0, os.SEEK_END)
    said.seek(max(0, size - 2048))
    lines = [line.strip() for line in said.read().decode("utf-8", errors="replace").splitlines() if line.strip()]
    last = re.sub(r"\x1b\[[0-9;]*m", "", lines[-1]) if lines else "it says nothing"
    return "".join(letter for letter in last if letter.isprintable())[:300]


def files_of(archive: bytes) -> dict[str, bytes]:
    """The expected files in a tar archive, by name. Nothing else in it is looked at."""
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            for number, member in enumerate(tar):
                if number >= FILES_MOST:
                    raise Refused(f"more than {FILES_MOST} files")
                if not member.isreg() or not EXPECTED.fullmatch(member.name):
                    continue
                if member.size > FILE_MOST:
                    raise Refused(f"{member.name} of {member.size} bytes")
                if member.name in files:
                    raise Refused(f"{member.name} twice")
                file = tar.extractfile(member)
                files[member.name] = file.read() if file is not None else b""
    except (tarfile.TarError, EOFError, ValueError, OverflowError, LookupError, RecursionError, OSError) as error:
        raise Refused(f"its archive of them cannot be read, {type(error).__name__}") from None
    return files


def contents_of(files: dict[str, bytes]) -> Contents:
    for wanted in (*(f"{KEPT}/{name}" for name in KEPT_FILES), RELEASE, STATUS):
        if wanted not in files:
            raise Refused(f"no /{wanted}")
    release = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', _text(files[RELEASE]), re.MULTILINE))
    pythons = {found[1] for found in map(METADATA.fullmatch, files) if found is not None}
    if len(pythons) != 1:
        raise Refused(f"packages of {len(pythons)} versions of Python")
    return Contents(
        python=_python(files),
        python_version=pythons.pop(),
        debian=_debian(files),
        distribution=_checked(NAME, release.get("ID", "")),
        release=_checked(NAME, release.get("VERSION_CODENAME", "")),
        kept={name: files[f"{KEPT}/{name}"] for name in KEPT_FILES},
    )


def _python(files: dict[str, bytes]) -> dict[str, Package]:
    found: dict[str, Package] = {}
    for path, content in files.items():
        if not METADATA.fullmatch(path):
            continue
        fields = HeaderParser().parsestr(_text(content), headersonly=True)
        name = _checked(NAME, normalised(str(fields["Name"])))
        if name in found:
            raise Refused(f"Python package {name} twice")
        found[name] = Package(version=_checked(VERSION, str(fields["Version"])), licences=python_licences(fields))
    return dict(sorted(found.items()))


def _debian(files: dict[str, bytes]) -> dict[str, Package]:
    found: dict[str, Package] = {}
    for stanza in re.split(r"\n{2,}", _text(files[STATUS]).strip()):
        fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
        if fields.get("Status", "").split()[-1:] != ["installed"]:
            continue
        name = _checked(NAME, fields.get("Package", ""))
        if name in found:
            raise Refused(f"package {name} twice")
        found[name] = Package(
            version=_checked(VERSION, fields.get("Version", "")),
            licences=debian_licences(_text(files.get(f"usr/share/doc/{name}/copyright", b""))),
            architecture=_checked(NAME, fields.get("Architecture", "")),
        )
    return dict(sorted(found.items()))


def _checked(allowed: re.Pattern[str], value: str) -> str:
    if not allowed.fullmatch(value):
        raise Refused(f"{value[:80]!r} where a name or version should be")
    return value


def _text(content: bytes) -> str:
    return content.decode("utf-8", errors="replace")
