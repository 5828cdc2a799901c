"""`submission.toml`: the little that no journal says of a submission."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from typing import Any

from bench.errors import did_you_mean
from bench.submission.findings import Findings, quoted

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
LONGEST = 200
SCHEMA_VERSION = 1
SHOWN = 4
"""So many mistakes are told at once."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """`submitter`: who answers for the runs. `hardware`: what they ran on, in words. `container`: the image's digest
    (None: they ran in none)."""

    schema_version: int
    submitter: str
    hardware: str
    container: str | None = None

    def __post_init__(self) -> None:
        for name in ("submitter", "hardware"):
            if not 0 < len(getattr(self, name).strip()) <= LONGEST:
                raise ValueError(f"'{name}' must be text of 1 to {LONGEST} characters")
        if self.container is not None and not DIGEST.fullmatch(self.container):
            raise ValueError("'container' must be a digest, 'sha256:' and 64 hexadecimal digits")


def parse_statement(text: str, where: str, findings: Findings) -> Statement | None:
    """The statement; None, and a finding, where it does not follow the schema."""
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        findings.add("bad-statement", where, f"It is not TOML ({error}): correct that place.")
        return None
    wrong = list(_mistakes(values))
    if not wrong:
        try:
            return Statement(**values)
        except ValueError as error:
            wrong = [f"{error}."]
    more = [f"{len(wrong) - SHOWN} more like this."] if len(wrong) > SHOWN else []
    findings.add("bad-statement", where, " ".join([*wrong[:SHOWN], *more, "See docs/submit.md."]))
    return None


def _mistakes(values: dict[str, Any]) -> Iterator[str]:
    """A sentence for each unknown or missing key, and for each value of another type."""
    names = [field.name for field in fields(Statement)]
    for key in values:
        if key not in names:
            yield f"There is no key {quoted(key)}{did_you_mean(key[:LONGEST], names)}"
    for field in fields(Statement):
        if field.name not in values:
            if field.default is MISSING:
                yield f"The key '{field.name}' is missing."
        elif field.name == "schema_version":
            if type(values[field.name]) is not int or values[field.name] != SCHEMA_VERSION:
                yield f"'{field.name}' is {quoted(values[field.name])}; this version reads {SCHEMA_VERSION}."
        elif not isinstance(values[field.name], str):
            yield f"'{field.name}' is {quoted(values[field.name])}; it must be text in quotes."
