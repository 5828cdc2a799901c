"""Image files for tests, written by the layout of the format, with whatever in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from bench.container import sif

ROOT = b"hsqs" + bytes(range(256)) * 40
LABELS = {"sweepmark.profile": "cpu", "sweepmark.cuda": "none", "sweepmark.commit": "a" * 40}
DEFINITION = "Bootstrap: docker\nFrom: debian\n"


def write_sif(
    path: Path, *, root: bytes = ROOT, labels: Mapping[str, str] = LABELS, definition: str = DEFINITION, roots: int = 1
) -> Path:
    metadata = json.dumps({"data": {"attributes": {"labels": dict(labels)}}, "type": "container"}).encode()
    partition = sif.PARTITION.pack(sif.SQUASHFS, sif.PRIMARY)
    parts = [
        (sif.DEFINITION, "", definition.encode(), b""),
        (sif.JSON_OBJECT, sif.METADATA, metadata, b""),
        *[(sif.PARTITION_OBJECT, "", root, partition)] * roots,
    ]
    table = sif.HEADER.size
    offset = table + (len(parts) + 1) * sif.DESCRIPTOR.size
    descriptors, data = b"", b""
    for number, (kind, name, content, extra) in enumerate(parts, 1):
        place = offset + len(data)
        descriptors += sif.DESCRIPTOR.pack(
            kind, True, number, 0, 0, place, len(content), len(content), 0, 0, 0, 0, name.encode(), extra
        )
        data += content
    descriptors += sif.DESCRIPTOR.pack(0, False, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b"", b"")
    header = sif.HEADER.pack(
        b"#!/usr/bin/env run\n", sif.MAGIC, b"01", b"2", b"0" * 16, 0, 0, 1, len(parts) + 1, table,
        len(descriptors), offset, len(data),
    )  # fmt: skip
    path.write_bytes(header + descriptors + data)
    return path
