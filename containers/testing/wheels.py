"""Whether a lock can be installed on the machine it is for, without fetching it whole.

    python -m containers.testing.wheels gpu sm_70 sm_80

Resolves containers/gpu.lock as an image does (pip itself chooses the files, for the image's Python), asks for every
file's size, and reads from afar which GPUs the kernels inside torch's wheel are for.
"""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

CONTAINERS = Path(__file__).resolve().parents[1]
PYTHON = {"cpu": "3.11", "gpu": "3.12"}
PLATFORMS = ["linux_x86_64", "manylinux1_x86_64", "manylinux2010_x86_64", "manylinux2014_x86_64"]
PLATFORMS += [f"manylinux_2_{minor}_x86_64" for minor in range(5, 37)]
TIMEOUT_S = 60
KERNELS = ("torch/lib/libtorch_cuda_linalg.so", "torch/lib/libtorch_cuda.so")
"""Libraries of torch with kernels: the first takes 70 MB to read, the second 650 MB."""


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A file that pip would install. `size`: in bytes, as its server says."""

    name: str
    version: str
    url: str
    size: int


def resolve(lock: str) -> list[Wheel]:
    """What pip takes for each line of a lock, every one of them there to be downloaded.

    Raises subprocess.CalledProcessError where pip finds no file with a locked hash, and OSError where one is not there.
    """
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
        command = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input"]
        command += ["--dry-run", "--ignore-installed", "--no-deps", "--require-hashes", "--report", str(report)]
        command += ["--requirement", str(CONTAINERS / f"{lock}.lock"), "--target", scratch]
        command += ["--python-version", PYTHON[lock], "--implementation", "cp", *platforms]
        subprocess.run(command, check=True, timeout=900, capture_output=True, text=True)
        chosen = json.loads(report.read_text())["install"]
    with ThreadPoolExecutor(8) as pool:
        sizes = pool.map(size_of, (item["download_info"]["url"] for item in chosen))
        return [
            Wheel(
                name=i["metadata"]["name"], version=i["metadata"]["version"], url=i["download_info"]["url"], size=size
            )
            for i, size in zip(chosen, sizes, strict=True)
        ]


def size_of(url: str) -> int:
    """In bytes; OSError where the file is not there."""
    with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=TIMEOUT_S) as answer:
        return int(answer.headers["Content-Length"])


class Distant(io.RawIOBase):
    """A file behind a URL, of which only what is read is fetched."""

    def __init__(self, url: str) -> None:
        self._url, self._size, self._position = url, size_of(url), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence] + offset
        return self._position

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        last = min(self._position + len(buffer), self._size) - 1
        if last < self._position:
            return 0
        wanted = urllib.request.Request(self._url, headers={"Range": f"bytes={self._position}-{last}"})
        with urllib.request.urlopen(wanted, timeout=TIMEOUT_S) as answer:
            if answer.status != 206:
                raise OSError(f"The server sends {self._url} only whole.")
            content = answer.read()
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


def architectures(url: str, member: str) -> Counter[str]:
    """How many kernel images a library inside a wheel holds, by architecture (sm_70; compute_90 is PTX)."""
    distant = io.BufferedReader(Distant(url), 8 << 20)  # type: ignore[type-var]
    with zipfile.ZipFile(distant) as wheel, wheel.open(member) as library:
        return Counter(_images(library))


MAGIC = b"\x50\xed\x55\xba"


def _images(library: IO[bytes]) -> Iterator[str]:
    """The images of all fat binaries of an ELF file, read as a stream.

    A fat binary: a header of 16 bytes (magic, version 1, the header's size, that of all images), then images, each with
    a header (kind 1 PTX or 2 machine code, version, the header's size as 32 bits, the image's as 64; at byte 28 the
    architecture) and what follows it, compressed or not.
    """
    held = b""
    while chunk := library.read(4 << 20):
        held += chunk
        while (start := held.find(MAGIC)) >= 0:
            held = held[start:]
            held += library.read(max(0, 16 - len(held)))
            if len(held) < 16:
                return
            _, version, header, size = struct.unpack_from("<IHHQ", held)
            if (version, header) != (1, 16) or size > 1 << 30:
                held = held[4:]
                continue
            held += library.read(max(0, 16 + size - len(held)))
            place = 16
            while place + 32 <= min(16 + size, len(held)):
                kind, _, header, length = struct.unpack_from("<HHIQ", held, place)
                (number,) = struct.unpack_from("<I", held, place + 28)
                yield f"{'compute' if kind == 1 else 'sm'}_{number}"
                place += header + length
            held = held[16 + size :]
        held = held[-3:]


def main(lock: str, wanted: Sequence[str]) -> None:
    wheels = resolve(lock)
    print(f"{lock}.lock: {len(wheels)} files, {sum(w.size for w in wheels) / 1e9:.1f} GB, all there to be downloaded")
    torch = next(wheel for wheel in wheels if wheel.name == "torch")
    print(f"torch {torch.version}: {urllib.parse.unquote(torch.url.rsplit('/', 1)[1])}")
    for member in KERNELS[: 2 if "--all" in sys.argv else 1]:
        found = architectures(torch.url, member)
        print(f"  {member}: " + ", ".join(f"{count} x {name}" for name, count in sorted(found.items())))
        missing = [arch for arch in wanted if arch not in found]
        if missing:
            sys.exit(f"torch's wheel holds no kernels for {', '.join(missing)}.")


if __name__ == "__main__":
    main(sys.argv[1], [word for word in sys.argv[2:] if word != "--all"])
