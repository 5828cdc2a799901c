"""`submission.toml`: the little that no journal says of a submission."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal

from bench.submission.findings import Findings, short

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
LONGEST = 200


@dataclass(frozen=True, kw_only=True)
class Statement:
    """`submitter`: who answers for the runs. `hardware`: what they ran on, in words. `container`: the image's digest
    (None: they ran in none)."""

    schema_version: Literal[1]
    submitter: str
    hardware: str
    container: str | None = None

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for name in ("submitter", "hardware"):
            if not 0 < len(getattr(self, name).strip()) <= LONGEST:
                raise ValueError(f"'{name}' must be text of 1 to {LONGEST} characters")
        if self.container is not None and not DIGEST.fullmatch(self.container):
            raise ValueError("'container' must be a digest, 'sha256:' and 64 hexadecimal digits")


def parse_statement(text: str, where: str, findings: Findings) -> Statement | None:
    """The statement; None, and a finding, where it does not follow the schema."""
    from pydantic import ValidationError

    try:
        statement: Statement = _adapter().validate_python(tomllib.loads(text))
        return statement
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        findings.add("bad-statement", where, f"{short(key, 60)}: {first['msg']}: see docs/submit.md.")
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        findings.add("bad-statement", where, f"It is not TOML ({error}): correct that place.")
    return None


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Statement)
