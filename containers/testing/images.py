"""Builds and runs the project's images for tests: Apptainer in a root of its own, and stand-ins for the bases.

A stand-in is a plain Debian or Ubuntu, made from the distribution's packages and served under the real base's name, so
that the definitions are built as they are.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from containers.testing.registry import pack, served

REPOSITORY = Path(__file__).resolve().parents[2]
CONTAINERS = REPOSITORY / "containers"
EPOCH = "1767225600"
"""The time that reproducible parts carry, where no commit's time is asked for: the definitions' default."""

# The most a step may take, on two busy cores.
STEP_S = 1500

QUICK = "-comp zstd -Xcompression-level 3"

DISTRIBUTIONS = {
    "bookworm": ("debian", "main"),
    # Without updates: older than any base in use.
    "noble": ("ubuntu", "main"),
}


class StepFailed(Exception):
    """A command ended with another status than 0: its last words."""


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Everything that building images takes, in `folder`, kept from use to use; several GB in all."""

    folder: Path
    _digests: dict[str, str] = field(default_factory=dict)

    def inside(self, *command: str | Path, environment: Mapping[str, str] | None = None) -> str:
        """The output of a command beside Apptainer, run in the repository, which it cannot change."""
        settings = {"APPTAINER_TMPDIR": str(self.folder / "tmp"), "APPTAINER_CACHEDIR": str(self.folder / "cache")}
        words = ["env", *(f"{key}={value}" for key, value in (settings | dict(environment or {})).items())]
        return self._outside(
            CONTAINERS / "testing/apptainer.sh",
            self.folder / "root",
            *words,
            *command,
            environment={"WRITABLE": str(self.folder), "READABLE": str(REPOSITORY), "FOLDER": str(REPOSITORY)},
        )

    def stand_in(self, release: str) -> str:
        """The digest of a base image made from the distribution's packages, `release` being bookworm or noble."""
        if release not in self._digests:
            archive = self.folder / f"{release}.tar"
            if not archive.is_file():
                distribution, component = DISTRIBUTIONS[release]
                mirror = self._outside("bash", "-c", '. "$0" && mirror "$1"', CONTAINERS / "mirrors.sh", distribution)
                part = archive.with_suffix(".part.tar")
                keyring = f"/usr/share/keyrings/{distribution}-archive-keyring.gpg"
                keep = ('--aptopt=Acquire::Check-Valid-Until "false"', '--aptopt=Acquire::Check-Date "false"')
                self.inside(
                    *("mmdebstrap", "--quiet", "--variant=minbase", *keep, release, part),
                    f"deb [signed-by={keyring}] {mirror.strip()} {release} {component}",
                    environment={"SOURCE_DATE_EPOCH": EPOCH},
                )
                part.rename(archive)
            self._digests[release] = pack(archive, self.folder / "blobs")
        return self._digests[release]

    def wheelhouse(self, name: str) -> Path:
        """The wheelhouse of the lock `name`, cpu or gpu, filled."""
        folder = self.folder / "wheelhouse" / name
        self._outside(CONTAINERS / "wheelhouse.sh", name, folder, environment={"PYTHON": sys.executable})
        return folder

    def build(self, definition: str, image: Path, arguments: Mapping[str, str]) -> str:
        """Builds `containers/DEFINITION.def` as it is, and gives back what building said."""
        words = [f"--build-arg={key}={value}" for key, value in arguments.items()]
        with served(self.folder / "blobs") as port:
            registries = self.folder / "root/etc/containers/registries.conf"
            registries.parent.mkdir(parents=True, exist_ok=True)
            registries.write_text(
                '[[registry]]\nlocation = "docker.io"\n'
                f'[[registry.mirror]]\nlocation = "127.0.0.1:{port}"\ninsecure = true\n'
            )
            (self.folder / "tmp").mkdir(exist_ok=True)
            # gzip, the default compression, would take most of the time.
            command = ["apptainer", "build", "--fakeroot", "--force", "--mksquashfs-args", QUICK, *words]
            return self.inside(
                *(*command, str(image), f"containers/{definition}.def"),
                environment={"SOURCE_DATE_EPOCH": arguments.get("source_date_epoch", EPOCH)},
            )

    def execute(self, image: Path, *command: str, binds: Sequence[str] = ()) -> str:
        """The output of a command in the image, shut off from this machine but for the folders of `binds`."""
        closed = ["apptainer", "exec", "--userns", "--containall", "--no-home", "--cleanenv"]
        return self.inside(*closed, *(word for bind in binds for word in ("--bind", bind)), image, *command)

    def runtime(self, folder: Path, *writable: Path) -> Path:
        """A program `apptainer` in `folder`, to stand on a PATH; its runs may write into `writable`."""
        program = folder / "apptainer"
        own = {"APPTAINER_USERNS": "1", "APPTAINER_CACHEDIR": self.folder / "cache"}
        outer = {"WRITABLE": ":".join(map(str, writable)), "READABLE": f"{REPOSITORY}:{self.folder}"}
        words = [
            *("exec", "env", *(f"{key}={value}" for key, value in outer.items()), 'FOLDER="$PWD"'),
            *(CONTAINERS / "testing/apptainer.sh", self.folder / "root"),
            *("env", *(f"{key}={value}" for key, value in own.items()), "apptainer", '"$@"'),
        ]
        program.write_text("#!/bin/sh\n" + " ".join(map(str, words)) + "\n", encoding="utf-8")
        program.chmod(0o755)
        return program

    @staticmethod
    def _outside(*command: str | Path, environment: Mapping[str, str] | None = None) -> str:
        done = subprocess.run(
            ["nice", "-n", "10", *map(str, command)],
            env=os.environ | dict(environment or {}),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=STEP_S,
            check=False,
        )
        if done.returncode:
            said = f"{done.stdout[-4000:]}{done.stderr[-4000:]}"
            raise StepFailed(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{said}")
        return done.stdout
