"""An image that was never built: its file, and a runtime that gives out what it would hold."""

from __future__ import annotations

import hashlib
import io
import shlex
import tarfile
from collections.abc import Mapping
from pathlib import Path

from bench.container.deffile import PLACE, Definition
from bench.container.lockfile import pins
from tests.containers.sifs import write_sif

ROOT = Path(__file__).resolve().parents[2]
COMMIT = "c" * 40
SITE = "opt/sweepmark/venv/lib/python3.11/site-packages"


def resolved(name: str = "cpu", **values: str) -> str:
    """The definition as the runtime embeds it in an image."""
    path = ROOT / "containers" / f"{name}.def"
    text = path.read_text(encoding="utf-8")
    arguments = Definition.parse(text, path).defaults | {"commit": COMMIT} | values
    return PLACE.sub(lambda place: arguments[place[1]], text)


def labels(definition: str) -> dict[str, str]:
    return Definition.parse(definition, Path("x.def")).labels | {"org.label-schema.build-arch": "amd64"}


def files(name: str = "cpu", python: str = "3.11") -> dict[str, bytes]:
    """What is in it, by path: packages are those of the locks, and one of the base's own."""
    containers = ROOT / "containers"
    lock, debs = ("cpu", "cpu") if name == "cpu" else ("gpu", "gpu")
    definition = (containers / f"{name}.def").read_bytes()
    python_lock = (containers / f"{lock}.lock").read_bytes()
    debian_lock = (containers / f"{debs}.debs").read_bytes()
    packages = pins(python_lock.decode()) | {"sweepmark": "0.1.0"}
    debian = {"base-files": "12.4"}
    for line in debian_lock.decode().splitlines():
        if not line.startswith("#"):
            package, version, _ = line.rpartition("/")[2].split("_")
            debian[package] = f"1:{version}" if package == "g++" else version
    kept = {
        "python.lock": python_lock,
        "debian.lock": debian_lock,
        "definition": definition,
        "definition.sha256": f"{hashlib.sha256(definition).hexdigest()}\n".encode(),
        "selftest.py": (containers / "selftest.py").read_bytes(),
        "pip-freeze.txt": "".join(f"{n.replace('-', '_').title()}=={v}\n" for n, v in packages.items()).encode(),
        "dpkg-list.txt": "".join(f"{n}\t{v}\tamd64\n" for n, v in debian.items()).encode(),
    }
    site = SITE.replace("3.11", python)
    return {
        "etc/os-release": b'NAME="Debian GNU/Linux"\nVERSION_CODENAME=bookworm\nID=debian\n',
        "var/lib/dpkg/status": "".join(stanza(n, v) for n, v in debian.items()).encode(),
        **{f"opt/sweepmark/{file}": content for file, content in kept.items()},
        **{f"{site}/{n}-{v}.dist-info/METADATA": metadata(n, v) for n, v in packages.items()},
        **{f"usr/share/doc/{n}/copyright": b"Format: 1.0\nLicense: Expat\n" for n in debian},
    }


def stanza(name: str, version: str, state: str = "install ok installed") -> str:
    return (
        f"Package: {name}\nStatus: {state}\nVersion: {version}\nArchitecture: amd64\nDescription: short\n long\n .\n\n"
    )


def metadata(name: str, version: str, more: str = "License-Expression: MIT\n") -> bytes:
    return f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{more}\nName: of the body\n".encode()


def archive(held: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in held.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def runtime(folder: Path, output: bytes | str, then: str = "exit 0") -> str:
    """A program that writes its arguments to `folder`/called, gives out `output` (a script, where it is text), and then
    does `then`."""
    path = folder / "apptainer"
    (folder / "output").write_bytes(output if isinstance(output, bytes) else b"")
    give = f"cat {shlex.quote(str(folder / 'output'))}" if isinstance(output, bytes) else output
    path.write_text(
        f"#!/bin/sh\nprintf '%s\\n' \"$@\" >{shlex.quote(str(folder / 'called'))}\n{give}\n{then}\n", encoding="utf-8"
    )
    path.chmod(0o755)
    return str(path)


def sif(folder: Path, definition: str | None = None, **changed: str) -> Path:
    """Its file. `changed`: labels other than the definition's, with `_` for `-`."""
    text = resolved() if definition is None else definition
    told = labels(text) | {f"sweepmark.{name.replace('_', '-')}": value for name, value in changed.items()}
    return write_sif(folder / "pretend.sif", labels=told, definition=text)
