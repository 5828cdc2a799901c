"""Mistakes that a user can make, told in one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake of the user's, told in one sentence that ends with the remedy.

    The command line prints the sentence and exits with status 2; a traceback means a defect of ours.
    """


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """`"; did you mean 'x' or 'y'?"`, or the list of choices where nothing is near."""
    known = sorted(choices)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return "; did you mean " + " or ".join(f"'{n}'" for n in near) + "?"
    return "; known: " + ", ".join(known) + "." if known else "; it has none."


def unknown(kind: str, name: str, choices: Iterable[str]) -> UserError:
    """The error for a name that nothing answers to, with the nearest known ones."""
    return UserError(f"There is no {kind} '{name}'{did_you_mean(name, choices)}")
