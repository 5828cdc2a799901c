"""Reading an image file in the Singularity Image Format, without running anything in it.

The layout is that of version 01 of the format: a header of 128 bytes, descriptors of 585 bytes each, and the objects
that they point to. Source: the `sif` module's package documentation of SingularityCE and Apptainer.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from bench.errors import UserError
from bench.progress import OnDone

HEADER = struct.Struct("<32s10s3s3s16sqqqqqqqq")
DESCRIPTOR = struct.Struct("<i?IIIqqqqqqq128s384s")
PARTITION = struct.Struct("<ii")
MAGIC = b"SIF_MAGIC"
DEFINITION, JSON_OBJECT, PARTITION_OBJECT = 0x4001, 0x4006, 0x4004
SQUASHFS, PRIMARY = 1, 2
METADATA = "inspect-metadata.json"
DESCRIPTORS_MOST = 1024
TEXT_MOST = 4 << 20
CHUNK = 4 << 20


@dataclass(frozen=True, kw_only=True)
class Part:
    """An object in the file: its kind, name, and where it lies, in bytes."""

    kind: int
    name: str
    offset: int
    length: int
    extra: bytes


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image file, as it was when it was opened."""

    path: Path
    parts: tuple[Part, ...]

    @classmethod
    def open(cls, path: Path) -> Image:
        """Raises UserError where it is no image, or cut short."""
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                return cls(path=path, parts=tuple(_parts(file, size)))
        except OSError as error:
            raise UserError(f"Cannot read the image {path} ({error.strerror}): check the path.") from None
        except (struct.error, ValueError) as error:
            raise UserError(f"{path} is no image ({error}): copy it again, or build one (make container).") from None

    @cached_property
    def root(self) -> Part:
        """The partition that holds the root file system. Raises UserError without exactly one, a squashfs."""
        found = [p for p in self.parts if p.kind == PARTITION_OBJECT and PARTITION.unpack_from(p.extra)[1] == PRIMARY]
        if len(found) != 1 or PARTITION.unpack_from(found[0].extra)[0] != SQUASHFS:
            raise UserError(f"{self.path} holds no single squashfs root: build it anew with make container.")
        return found[0]

    def digest(self, on_done: OnDone | None = None) -> str:
        """`sha256:` and the checksum of the root's squashfs: the same for two builds from the same inputs, whatever
        the file around it says of when it was made."""
        sha, done = hashlib.sha256(), 0
        with self.path.open("rb") as file:
            file.seek(self.root.offset)
            while done < self.root.length:
                chunk = file.read(min(CHUNK, self.root.length - done))
                if not chunk:
                    raise UserError(f"{self.path} is cut short: build or copy it again.")
                sha.update(chunk)
                done += len(chunk)
                if on_done is not None:
                    on_done(done >> 20, self.root.length >> 20)
        return f"sha256:{sha.hexdigest()}"

    @property
    def definition(self) -> str:
        """The definition file that the image was built from, as it was resolved; empty where there is none."""
        return next((self._text(p) for p in self.parts if p.kind == DEFINITION), "")

    @property
    def labels(self) -> dict[str, str]:
        """The labels beside the root; empty where there are none."""
        part = next((p for p in self.parts if p.kind == JSON_OBJECT and p.name == METADATA), None)
        if part is None:
            return {}
        try:
            found = json.loads(self._text(part))["data"]["attributes"]["labels"]
            return {str(key): str(value) for key, value in found.items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise UserError(f"The labels of {self.path} cannot be read: build it anew with make container.") from None

    def _text(self, part: Part) -> str:
        if part.length > TEXT_MOST:
            raise UserError(f"{self.path}: {part.name} has {part.length} bytes, more than {TEXT_MOST}: it is not ours.")
        with self.path.open("rb") as file:
            file.seek(part.offset)
            return file.read(part.length).decode("utf-8", errors="replace")


def _parts(file: BinaryIO, size: int) -> Iterator[Part]:
    if size < HEADER.size:
        raise ValueError("it is too short")
    head: tuple[Any, ...] = HEADER.unpack(file.read(HEADER.size))
    if head[1].rstrip(b"\0") != MAGIC:
        raise ValueError("it does not begin as one")
    total, offset = head[8], head[9]
    if not 0 < total <= DESCRIPTORS_MOST:
        raise ValueError(f"it claims {total} parts")
    file.seek(offset)
    for _ in range(total):
        kind, used, _id, _group, _link, start, length, *_times, name, extra = DESCRIPTOR.unpack(
            file.read(DESCRIPTOR.size)
        )
        if not used:
            continue
        if start < 0 or length < 0 or start + length > size:
            raise ValueError("it is cut short")
        text = name.partition(b"\0")[0].decode("utf-8", errors="replace")
        yield Part(kind=kind, name=text, offset=start, length=length, extra=extra)
