"""A command line for the outside turned into one for the inside: what it names is bound, and called by its new name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.container.launch import CACHE, HUGGINGFACE, INSIDE, RESULTS, Bind
from bench.errors import UserError
from bench.zero import deepspeed_names

INPUTS = ("--model", "--dataset", "--deepspeed", "--strategy", "--space")
"""Options that may name a file or a folder to read. A strategy is a path where it ends in .py, a search space where it
ends in .toml, and a DeepSpeed configuration where the suite has none of that name."""
ENDINGS = {"--strategy": ".py", "--space": ".toml"}

OWN = "--container"


def bound(
    words: Sequence[str], results: Path, *, named: str | None, huggingface: Path | None = None
) -> tuple[list[str], list[Bind]]:
    """The words of `sweepmark run` as the inside understands them, and what must be bound for it. `named`: the value
    that `--container` had, None without one. `huggingface`: a cache of the hub's, bound where it is there.

    Raises UserError where an input is missing. Creates the results' folder, and a cache in it.
    """
    cache = results / "runs" / ".cache" / "container"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"Cannot write into {results} ({error.strerror}): name another folder with --results."
        ) from None
    binds = [
        Bind(host=results.resolve(), inside=RESULTS, writable=True),
        Bind(host=cache.resolve(), inside=CACHE, writable=True),
    ]
    if huggingface is not None and huggingface.is_dir():
        binds.append(Bind(host=huggingface.resolve(), inside=HUGGINGFACE, writable=True))
    kept: list[str] = []
    rest = iter(_split(words))
    for word in rest:
        if word == OWN:
            if named is not None:
                next(rest)
        elif word == "--results":
            next(rest)
        elif word in INPUTS:
            value = next(rest)
            if _is_path(word, value):
                bind = _input(word, Path(value))
                binds.append(bind)
                value = str(bind.inside)
            kept += [word, value]
        else:
            kept.append(word)
    return [*kept, "--results", str(RESULTS)], binds


def _split(words: Sequence[str]) -> list[str]:
    """`--option=value` as two words, for the options that are looked at."""
    found: list[str] = []
    for word in words:
        option, equals, value = word.partition("=")
        looked_at = option in (*INPUTS, OWN, "--results")
        found += [option, value] if equals and looked_at else [word]
    return found


def _is_path(option: str, value: str) -> bool:
    if option in ENDINGS:
        return value.endswith(ENDINGS[option])
    return option != "--deepspeed" or value not in deepspeed_names()


def _input(option: str, path: Path) -> Bind:
    if not path.exists():
        raise UserError(f"There is no {path} for {option}: check the path.")
    return Bind(host=path.resolve(), inside=INSIDE / option.removeprefix("--") / path.resolve().name)
