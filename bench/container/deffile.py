"""A definition file, as both Apptainer and SingularityCE read it: header, sections, and arguments to be filled in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
"""Where an argument's value goes."""

ARGUMENT = re.compile(r"(\w+)=(.*)")


@dataclass(frozen=True, kw_only=True)
class Line:
    """`number`: from 1. `section`: the one that it is in, empty in the header; its own for a heading."""

    number: int
    section: str
    text: str

    @property
    def is_heading(self) -> bool:
        return self.text.lstrip().startswith("%")

    @property
    def says(self) -> str:
        """Without indent; empty for a comment or a heading."""
        text = self.text.strip()
        return "" if text.startswith(("#", "%")) else text


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A definition's lines, in order."""

    path: Path
    lines: tuple[Line, ...]

    @classmethod
    def parse(cls, text: str, path: Path) -> Definition:
        lines: list[Line] = []
        section = ""
        for number, line in enumerate(text.splitlines(), start=1):
            if line.lstrip().startswith("%"):
                section = (line.strip()[1:].split() or [""])[0]
            lines.append(Line(number=number, section=section, text=line.rstrip()))
        return cls(path=path, lines=tuple(lines))

    def section(self, name: str) -> list[Line]:
        """What a section says, line by line; "" is the header."""
        return [line for line in self.lines if line.section == name and line.says]

    @property
    def arguments(self) -> dict[str, tuple[int, str]]:
        """Name to the line that declares it, and its default."""
        found = ((line.number, ARGUMENT.fullmatch(line.says)) for line in self.section("arguments"))
        return {parts[1]: (number, parts[2]) for number, parts in found if parts is not None}

    @property
    def defaults(self) -> dict[str, str]:
        return {name: value for name, (_, value) in self.arguments.items()}

    @property
    def labels(self) -> dict[str, str]:
        """Name to value, as it is written."""
        found = (line.says.partition(" ") for line in self.section("labels"))
        return {name: value.strip() for name, _, value in found}


def filled_with(template: str, resolved: str) -> dict[str, str] | None:
    """The arguments' values that make `template` into `resolved`; None where none do, or a word has two places.

    Takes time linear in both, whatever they hold: they may come from an image.
    """
    template, resolved = template.strip(), resolved.strip()
    values: dict[str, str] = {}
    for line, got in zip(template.splitlines(), resolved.splitlines(), strict=False):
        for word, value in zip(PLACE.sub("\0\\1\0", line).split(), got.split(), strict=False):
            before, place, rest = word.partition("\0")
            name, _, after = rest.partition("\0")
            if place:
                values.setdefault(name, value[len(before) : len(value) - len(after)])
    return values if PLACE.sub(lambda place: values.get(place[1], place[0]), template) == resolved else None
