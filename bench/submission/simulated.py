"""Simulated runs, simulated again: the same study on the same curves gives the same journal."""

from __future__ import annotations

import json
import multiprocessing
import resource
import signal
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from bench.errors import UserError
from bench.events import Event
from bench.submission.findings import Findings, quoted
from bench.submission.run import Run
from bench.trials import RunState

TIME_LIMIT_S = 60.0
"""For one run, in a process of its own that is ended then: settings of a stranger's may ask for any amount of work."""
ALL_TIME_S = 900.0
"""For all runs of a submission."""
MEMORY_BYTES = 8 * 1024**3
"""Of addresses, for that process."""
MAX_SETTING = 10_000


class Simulator:
    """Simulates in another process, which lives until it is closed or was too slow."""

    def __init__(self) -> None:
        self._process: Any = None
        self._channel: Connection | None = None
        self._left_s = ALL_TIME_S

    def first_difference(self, study: dict[str, Any], journal: bytes) -> tuple[str, int, str]:
        """`("same" | "differs" | "cannot", line, why)` of a study simulated here beside a journal."""
        if self._left_s <= 0:
            return "cannot", 0, f"the {ALL_TIME_S:.0f} s for all simulated runs of a submission are used up"
        began_s = time.monotonic()
        if self._process is None:
            self._start()
        assert self._channel is not None
        try:
            limit_s = min(TIME_LIMIT_S, self._left_s)
            self._channel.send((study, journal))
            if not self._channel.poll(limit_s):
                self.close()
                return "cannot", 0, f"it took longer than {limit_s:.0f} s"
            answer: tuple[str, int, str] = self._channel.recv()
            return answer
        except (EOFError, OSError):
            self.close()
            return "cannot", 0, "the process that simulated it died"
        finally:
            self._left_s -= time.monotonic() - began_s

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        channel, child = context.Pipe()
        process = context.Process(target=_serve, args=(child,), daemon=True)
        process.start()
        child.close()
        self._process, self._channel = process, channel

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            assert self._channel is not None
            self._channel.close()
        self._process = self._channel = None


def check_simulated(run: Run, simulator: Simulator, findings: Findings) -> None:
    """Findings where a simulated run claims a machine, or does not come out the same again."""
    claims = [name for name in ("probe", "hashes", "parameters") if name in run.record.provenance]
    if claims:
        findings.add(
            "simulated-probe", run.at(run.lines[0][0]), f"It is simulated, and its provenance has {claims[0]!r}."
        )
    reason = _cannot(run)
    if reason is None:
        verdict, line, words = simulator.first_difference(run.study.to_dict(), run.journal)
        if verdict == "same":
            return
        if verdict == "differs":
            other = _other_packages(run)
            if other is None:
                findings.add("simulation-differs", run.at(line), f"Simulated again, {words}.")
                return
            words = f"it comes out otherwise at line {line}, and was made with {other}"
        reason = words
    findings.add("not-simulated-again", run.place, f"It was not simulated again: {reason}.")


def _cannot(run: Run) -> str | None:
    """Why it cannot be simulated here; None where it can."""
    from bench.curves import curve_set_names, load_curve_set
    from bench.strategy import strategy_names

    study = run.study
    assert study.simulation is not None
    if study.strategy_file is not None or study.strategy.endswith(".py") or study.strategy not in strategy_names():
        return f"the strategy {quoted(study.strategy)} is not one of the suite's, and none of others' is run"
    if study.simulation.curves not in curve_set_names():
        return f"there are no curves {quoted(study.simulation.curves)} here"
    try:
        sha256 = load_curve_set(study.simulation.curves).table_sha256
    except UserError as error:
        return str(error)
    if sha256 != study.simulation.curves_sha256:
        return f"the curves {study.simulation.curves} here are others than those that it names by their digest"
    sizes = [study.samples, study.epochs, study.final_epochs, study.devices, study.simulation.nodes]
    sizes += [abs(value) for value in study.settings.values() if not isinstance(value, str)]
    if max(sizes) > MAX_SETTING:
        return f"it asks for {max(sizes)} of something, more than the {MAX_SETTING} that are simulated here"
    return None


def _other_packages(run: Run) -> str | None:
    """The first package whose version was another than here; None where all are the same."""
    from importlib.metadata import version

    from bench.simulate import DECIDING

    given = run.record.provenance.get("packages")
    given = given if isinstance(given, dict) else {}
    other = next((name for name in DECIDING if given.get(name) != version(name)), None)
    return None if other is None else f"{other} {quoted(given.get(other), 20)}"


def _serve(channel: Connection) -> None:
    """Answers until the other end goes."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError):
        while True:
            study, journal = channel.recv()
            channel.send(_compare(study, journal))


class _Enough(Exception):
    """What was simulated went another way than the journal."""


def _compare(plain: dict[str, Any], journal: bytes) -> tuple[str, int, str]:
    from bench.curve_model import CurveModel
    from bench.curves import load_curve_set
    from bench.journal import encode
    from bench.profile import load_profile
    from bench.simulate import simulate_run
    from bench.strategy import load_strategy
    from bench.study import Study

    study = Study.from_dict(plain)
    assert study.simulation is not None
    given = journal.split(b"\n")[:-1]
    number = 0
    told = ""

    def look(event: Event, state: RunState) -> None:
        nonlocal number, told
        number += 1
        if number > len(given):
            told = f"it goes on with {event.kind}"
        elif not _same(event.kind, encode(event).encode(), given[number - 1]):
            told = f"this line is a {event.kind} at {event.at_s:g} s with other values"
        if told:
            raise _Enough

    try:
        strategy, model = load_strategy(study.strategy), CurveModel(load_curve_set(study.simulation.curves))
        simulate_run(study, strategy, load_profile(study.profile), model, observers=(look,))
    except _Enough:
        return "differs", number, told
    except UserError as error:
        return "cannot", 0, str(error)
    except Exception as error:  # a stranger's settings may break a library in any way
        return "cannot", 0, f"{type(error).__name__}: {error}"
    if number < len(given):
        return "differs", number + 1, "it ends before this line"
    return "same", 0, ""


def _same(kind: str, made: bytes, given: bytes) -> bool:
    """Whether the lines are equal; of the first, with other packages or another version of the suite allowed."""
    if made == given or kind != "run_started":
        return made == given
    mine, theirs = json.loads(made), json.loads(given)
    for line in (mine, theirs):
        for name in ("packages", "sweepmark"):
            line["provenance"].pop(name, None)
    return bool(mine == theirs)
