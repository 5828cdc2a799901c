"""One finding of one check, and what becomes of a check that breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from bench.errors import UserError

Status = Literal["pass", "warn", "fail"]
UNEXPECTED = "this check itself is at fault: report it with the line above"


@dataclass(frozen=True, kw_only=True)
class Line:
    """`check`: what was looked at. `found`: what is there, in a few words. `remedy`: what can be done where it did not
    pass. `node`: where (empty: here)."""

    check: str
    status: Status
    found: str
    remedy: str = ""
    node: str = ""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if (self.status == "pass") == bool(self.remedy):
            raise ValueError(f"{self.check}: a line has a remedy where it does not pass, and there alone")


def passed(check: str, found: str) -> Line:
    return Line(check=check, status="pass", found=found)


def warned(check: str, found: str, remedy: str) -> Line:
    return Line(check=check, status="warn", found=found, remedy=remedy)


def failed(check: str, found: str, remedy: str) -> Line:
    return Line(check=check, status="fail", found=found, remedy=remedy)


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check that has not been made yet."""

    name: str
    lines: Callable[[], Iterable[Line]]


def make(check: Check) -> list[Line]:
    """The check's lines. One that breaks is a failure with its reason, after what it had found; and so is one that says
    nothing."""
    lines: list[Line] = []
    try:
        for line in check.lines():
            lines.append(line)  # noqa: PERF402
    except UserError as error:
        sentence, _, remedy = str(error).rstrip(".").rpartition(": ")
        lines.append(failed(check.name, sentence or remedy, remedy))
    except Exception as error:  # whatever it is: a pre-flight that stops halfway hides what comes after
        lines.append(failed(check.name, f"{type(error).__name__}: {error}", UNEXPECTED))
    return lines or [failed(check.name, "it found nothing to say", UNEXPECTED)]
