"""The given record against the one that the journal gives, byte for byte; where they differ, what does."""

from __future__ import annotations

import json
from typing import Any

from bench.errors import UserError
from bench.record import RECORD_NAME, Record, decode_record, encode_record
from bench.submission.files import MIB
from bench.submission.findings import Findings, quoted
from bench.submission.strict_json import strict_json

TIMES_LARGER = 4
"""A record so many times as large as the one that the journal gives (and a MiB more) is not looked into."""

DELETE = f"delete {RECORD_NAME}, which is enough, since it is made again from the journal"


def check_record(given: bytes, made: Record, where: str, findings: Findings) -> None:
    """Findings where the given record is malformed, has another checksum, or holds another value."""
    again = encode_record(made)
    if given == again:
        return
    if len(given) > TIMES_LARGER * len(again) + MIB:
        findings.add("too-large", where, f"It has {len(given)} bytes; the journal gives a record of {len(again)}.")
        return
    try:
        values = strict_json(given)
    except ValueError as error:
        findings.add("bad-json", where, f"It is no strict JSON: {error}.")
        return
    try:
        decode_record(given, "It")
    except (UserError, ValueError, TypeError, OverflowError) as error:
        findings.add("record-schema", where, f"{error}")
        return
    own = json.loads(again)
    claimed, sha256 = values.pop("journal_sha256", None), own.pop("journal_sha256")
    if claimed != sha256:
        findings.add(
            "hash-mismatch",
            where,
            f"journal_sha256 is {quoted(claimed, 16)}, and the journal has {sha256[:12]}…: give its own record, or "
            f"{DELETE}.",
        )
    difference = first_difference(values, own)
    if difference is not None:
        findings.add("record-differs", where, f"{difference}: {DELETE}.")
    elif claimed == sha256:
        findings.add("record-differs", where, f"The values are those of the journal, written otherwise: {DELETE}.")


def first_difference(given: Any, made: Any, path: str = "") -> str | None:
    """The first field, in the order of the made value, that differs; None where none does. Whole and real numbers, and
    true and 1, are different."""
    if isinstance(given, dict) and isinstance(made, dict):
        for key, value in made.items():
            inner = f"{path}.{key}" if path else str(key)
            if key not in given:
                return f"{inner} is missing"
            found = first_difference(given[key], value, inner)
            if found is not None:
                return found
        extra = next((key for key in given if key not in made), None)
        return None if extra is None else f"{path}{'.' if path else ''}{quoted(extra)} is not in the journal"
    if isinstance(given, list) and isinstance(made, list):
        for number, (mine, other) in enumerate(zip(given, made, strict=False)):
            found = first_difference(mine, other, f"{path}[{number}]")
            if found is not None:
                return found
        return (
            None if len(given) == len(made) else f"{path} has {len(given)} entries, and the journal gives {len(made)}"
        )
    if type(given) is type(made) and given == made:
        return None
    return f"{path} is {quoted(given)}, and the journal gives {quoted(made)}"
