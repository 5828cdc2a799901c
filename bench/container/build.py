"""Building an image: its wheelhouse is filled, the definition built as it is, and what came out listed beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from bench.container.inside import UNCLEAN, UNKNOWN
from bench.errors import UserError
from bench.provenance import git_state

WHEELHOUSES = {"cpu": "cpu", "v100": "gpu", "a100": "gpu"}
"""Image to the lock, and the wheelhouse, that it is built from."""

EPOCH = "1767225600"
"""The time that an image's files carry at most where there is no commit: the definitions' default."""


def build(runtime: str, name: str, checkout: Path, image: Path, say: Callable[[str], None]) -> None:
    """Build `containers/NAME.def` of the checkout as `image`, which is replaced once the new one is whole. `say` is
    told each step. Raises UserError where a step fails, whose own words stand before it."""
    if not (checkout / "containers" / f"{name}.def").is_file():
        raise UserError(f"There is no definition containers/{name}.def: images are built in a checkout of the project.")
    if image.is_dir() or not image.parent.is_dir():
        raise UserError(f"Cannot build {image}: give a file in a folder that is there.")
    wheelhouse = checkout / "containers" / "wheelhouse" / WHEELHOUSES[name]
    commit, epoch = _commit(checkout)
    environ = os.environ | {"SOURCE_DATE_EPOCH": epoch}
    say(f"Filling {os.path.relpath(wheelhouse)} with what the lock names (the first time: minutes)")
    _step([str(checkout / "containers" / "wheelhouse.sh"), WHEELHOUSES[name], str(wheelhouse)], checkout, environ)
    say(f"Building {image} and testing it (minutes)")
    fresh = image.with_name(f".{image.name}.{os.getpid()}.sif")
    fakeroot = ["--fakeroot"] if os.geteuid() else []
    arguments = ["--build-arg", f"commit={commit}", "--build-arg", f"source_date_epoch={epoch}"]
    try:
        _step([runtime, "build", *fakeroot, *arguments, str(fresh), f"containers/{name}.def"], checkout, environ)
        fresh.replace(image)
    finally:
        fresh.unlink(missing_ok=True)


def _commit(checkout: Path) -> tuple[str, str]:
    """The checkout's commit, marked where there are changes beside it, and that commit's time in seconds since 1970."""
    state = git_state(checkout)
    if state is None:
        return UNKNOWN, EPOCH
    shown = subprocess.run(
        ["git", "-C", str(checkout), "log", "-1", "--format=%ct"], capture_output=True, text=True, check=True
    )
    return state["commit"] + ("" if state["clean"] else UNCLEAN), shown.stdout.strip()


def _step(words: list[str], folder: Path, environ: dict[str, str]) -> None:
    """A command in the open: what it says goes to this process's own output."""
    if shutil.which(words[0]) is None:
        raise UserError(f"{words[0]} is not there, or not executable: check the checkout.")
    try:
        subprocess.run(words, cwd=folder, env=environ, check=True)
    except subprocess.CalledProcessError as error:
        raise UserError(
            f"{Path(words[0]).name} ended with status {error.returncode}: see above, and containers/README.md."
        ) from None
