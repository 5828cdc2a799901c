"""Telling what happens in a run: what is there, then what comes, each line once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bench.cluster.story import MAX_TAIL_BYTES, Output, outputs, shown, story, tail
from bench.cluster.watch import Facts, run_events, watch
from bench.errors import UserError
from bench.tables import clean

SHOWN_OUTPUTS = 6
"""Of the jobs that did not fail, so many are shown unless one is named."""

POLL_S = 1.0
ASK_EVERY_S = 5.0
"""SLURM's controller serves everybody."""

Say = Callable[[str], None]


class Teller:
    """`job`: only what this job, array or task printed (None: the story and all outputs). `unit`: of the costs. Raises
    UserError where nothing was printed by such a job."""

    def __init__(self, run: Facts, unit: str, say: Say, *, job: str | None = None) -> None:
        self.run = run
        self._unit = unit
        self._say = say
        self._job = job
        self._said: Counter[str] = Counter()
        self._read: dict[Path, int] = {}
        if job is not None and not self._outputs():
            printed = ", ".join(output.job for output in _outputs(run)[-8:]) or "none"
            raise UserError(f"No job {job} of {run.name} has printed anything (those that have: {printed}).")

    def tell(self, lines: int) -> None:
        """The story so far, then the last `lines` of the outputs, the newest last."""
        if self._job is None:
            self._say_story()
        found = sorted(self._outputs(), key=lambda output: _changed_s(output.path))
        usual = [output for output in found if not output.verdict]
        hidden = [] if self._job is not None else usual[:-SHOWN_OUTPUTS]
        if hidden:
            self._say(f"\n{len(hidden)} more jobs have printed something: --job {hidden[-1].job} shows one.")
        for output in found:
            self._read[output.path] = output.path.stat().st_size
            if output not in hidden:
                self._say(f"\n== {clean(output.title)}")
                for line in tail(output.path, lines):
                    self._say(line)

    def follow(self) -> None:
        """Go on with what is new until the run ends."""
        asked_s = time.monotonic()
        while True:
            going_on = self.run.condition.going_on
            if self._job is None:
                self._say_story()
            self._say_new(last=not going_on)
            if not going_on:
                return
            time.sleep(POLL_S)
            if self.run.submitted is None or time.monotonic() - asked_s >= ASK_EVERY_S:
                found, _ = watch([self.run.folder], all_jobs=True)
                self.run = found[0]
                asked_s = time.monotonic()

    def _outputs(self) -> list[Output]:
        found = _outputs(self.run)
        return [o for o in found if self._job is None or self._job in (o.job, o.job.partition("_")[0])]

    def _say_story(self) -> None:
        """Lines that were not said yet. In an array, which many write, new ones may be older than those before."""
        try:
            lines = story(run_events(self.run.folder), self._unit)
        except (UserError, ValueError, KeyError, TypeError) as error:
            lines = [clean(f"The journal is damaged: {error}")]
        counted: Counter[str] = Counter()
        for line in lines:
            counted[line] += 1
            if counted[line] > self._said[line]:
                self._say(line)
        self._said |= counted

    def _say_new(self, *, last: bool) -> None:
        """Lines that jobs have printed since, each with its job's name: whole ones and, at last, what is left."""
        for output in self._outputs():
            begun = self._read.setdefault(output.path, 0)
            try:
                with output.path.open("rb") as file:
                    file.seek(begun)
                    data = file.read(MAX_TAIL_BYTES)
            except OSError:
                continue
            whole = data if last or len(data) == MAX_TAIL_BYTES else data[: data.rfind(b"\n") + 1]
            self._read[output.path] = begun + len(whole)
            for line in whole.removesuffix(b"\n").split(b"\n") if whole else ():
                self._say(f"[{output.kind} {output.job}] {shown(line)}")


def _outputs(run: Facts) -> list[Output]:
    return outputs(run.folder, run.submitted, run.jobs, run.undone)


def _changed_s(path: Path) -> float:
    return path.stat().st_mtime
