"""The command that runs sweepmark inside an image: closed off but for results, cache and the data that it names."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.container.inside import IMAGE_FILE
from bench.errors import UserError
from bench.profile import Profile
from bench.resources import PACKAGE

RUNTIMES = ("apptainer", "singularity")
IMAGES = PACKAGE.parent / "containers" / "images"
INSIDE = IMAGE_FILE.parent
RESULTS = INSIDE / "results"
CACHE = INSIDE / "cache"
HUGGINGFACE = INSIDE / "huggingface"
PASSED = (
    "COLUMNS", "FORCE_COLOR", "NO_COLOR", "TERM", "CUDA_VISIBLE_DEVICES", "HF_ENDPOINT", "HF_HUB_OFFLINE",
    "HF_DATASETS_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
"""Variables of the host that reach the inside; all others stay out."""


@dataclass(frozen=True, kw_only=True)
class Bind:
    """A path of the host, and where it is seen inside."""

    host: Path
    inside: Path
    writable: bool = False

    def __str__(self) -> str:
        for path in (self.host, self.inside):
            if set(":,") & set(str(path)):
                raise UserError(f"{path} cannot be bound into an image, for its ':' or ',': rename it.")
        return f"{self.host}:{self.inside}:{'rw' if self.writable else 'ro'}"


def find_runtime(path: str | None = None) -> str:
    """Apptainer's program, or SingularityCE's. Raises UserError where neither is on the PATH."""
    for name in RUNTIMES:
        if found := shutil.which(name, path=path):
            return found
    raise UserError(
        "There is no Apptainer (nor SingularityCE) on the PATH: install it from your distribution, or load the site's "
        "module; containers/README.md tells how."
    )


def image_of(profile: Profile, images: Path = IMAGES) -> Path:
    """The image that runs of this profile use. Raises UserError where it is not built."""
    path = images / f"{profile.image}.sif"
    if not path.is_file():
        raise UserError(f"There is no image {path}: build it with make container PROFILE={profile.name}, or name one.")
    return path


def command(
    runtime: str,
    image: Path,
    words: Sequence[str],
    *,
    binds: Sequence[Bind],
    scratch: Path,
    gpus: bool,
    environ: Mapping[str, str] = os.environ,
    more: Sequence[str] = (),
) -> list[str]:
    """What runs `sweepmark WORDS` in the image. `scratch`: an empty folder, its /tmp and home. `gpus`: with the host's
    driver and devices. `more`: further options of the runtime."""
    inner = {
        "HF_HOME": str(HUGGINGFACE if any(bind.inside == HUGGINGFACE for bind in binds) else CACHE / "huggingface"),
        "XDG_CACHE_HOME": str(CACHE),
        "TORCH_EXTENSIONS_DIR": f"{CACHE}/torch_extensions",
        **{name: environ[name] for name in PASSED if name in environ},
    }
    own = Bind(host=image.resolve(), inside=IMAGE_FILE)
    return [
        runtime, "run", "--containall", "--no-home", "--cleanenv", *(["--nv"] if gpus else []),
        "--workdir", str(scratch), "--pwd", "/tmp",
        *(word for bind in (own, *binds) for word in ("--bind", str(bind))),
        *(word for name, value in inner.items() for word in ("--env", f"{name}={value}")),
        *more, str(image), *words,
    ]  # fmt: skip


def run_inside(arguments: Sequence[str]) -> int:
    """The exit status of such a command. Ctrl-C and SIGTERM end the inside in order, which then ends this."""
    process = subprocess.Popen(arguments)

    def pass_on(signum: int, frame: object) -> None:
        process.send_signal(signum)

    # A terminal sends Ctrl-C to both; SIGTERM comes to this process alone.
    before = [signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(signal.SIGTERM, pass_on)]
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])
