"""What was found, one line each: text of the submission is made harmless and short before it gets here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from bench.submission.codes import CODES, Level
from bench.tables import clean

SHOWN_OF_ONE_CODE = 10
"""Findings of one code that are told of one run; of more, only how many there are."""
SHOWN_CHARACTERS = 400


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`code`: a key of `CODES`. `where`: a file, a file and line, or a run's folder, relative to the submission."""

    level: Level
    code: str
    where: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.level:7}  {self.code:20}  {self.where}: {self.sentence}"

    def to_dict(self) -> dict[str, str]:
        return {"level": self.level, "code": self.code, "where": self.where, "sentence": self.sentence}


@dataclass
class Findings:
    """Collects findings. `accepted`: codes that are warnings, though they are errors elsewhere."""

    accepted: frozenset[str] = frozenset()
    _found: list[Finding] = field(default_factory=list)
    _counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, code: str, where: str, sentence: str) -> None:
        """Note a finding; both texts may hold anything."""
        group = (where.partition("/")[0], code)
        self._counts[group] += 1
        if self._counts[group] <= SHOWN_OF_ONE_CODE:
            self._found.append(self._finding(code, where, sentence))

    def _finding(self, code: str, where: str, sentence: str) -> Finding:
        level: Level = "warning" if code in self.accepted else CODES[code].level
        return Finding(level=level, code=code, where=short(where, 200), sentence=short(sentence, SHOWN_CHARACTERS))

    def __iter__(self) -> Iterator[Finding]:
        """All that are told, in the order in which they were found."""
        yield from self._found
        for (place, code), count in self._counts.items():
            if count > SHOWN_OF_ONE_CODE:
                yield self._finding(code, place, f"{count - SHOWN_OF_ONE_CODE} more like this.")

    def count(self, level: Level) -> int:
        """All of that level, told or not."""
        told = {code: "warning" if code in self.accepted else CODES[code].level for _, code in self._counts}
        return sum(count for (_, code), count in self._counts.items() if told[code] == level)


def told(findings: Iterable[Finding]) -> list[str]:
    """The lines that people read: warnings first, one that many runs share as one line that counts them; then each
    error, nearest to the verdict."""
    equal: dict[tuple[str, str], list[Finding]] = {}
    errors: list[str] = []
    for finding in findings:
        if finding.level == "error":
            errors.append(str(finding))
        else:
            equal.setdefault((finding.code, finding.sentence), []).append(finding)
    return [*map(_one_line, equal.values()), *errors]


def _one_line(same: list[Finding]) -> str:
    if len(same) == 1:
        return str(same[0])
    places = len({finding.where.partition("/")[0] for finding in same})
    times = f"{places} runs" if places == len(same) else f"{len(same)} times in {places} run{'s' * (places > 1)}"
    return str(replace(same[0], where=f"{times}, first {same[0].where}"))


def short(text: str, most: int) -> str:
    """Text on one line, without control characters, cut to `most` characters."""
    shown = clean(text[: 4 * most])
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def quoted(value: Any, most: int = 60) -> str:
    """A value of the submission as a sentence shows it: in quotes, escaped, short."""
    return short(repr(value[: 4 * most] if isinstance(value, (str, bytes)) else value), most)
