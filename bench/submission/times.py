"""The times of a run: possible, complete, and no more work at once than devices were held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.events import (
    FINAL_TRIAL,
    EpochFinished,
    Event,
    FinalScored,
    GrantClosed,
    GrantOpened,
    Purpose,
    RunResumed,
    TrialCreated,
    TrialEnded,
    TrialPaused,
    TrialReconfigured,
    TrialStarted,
    WorkLost,
)
from bench.submission.findings import Findings, quoted
from bench.submission.run import Run

EARLIEST_S = 1_577_836_800.0
"""2020-01-01 in UTC, before this suite was begun."""
AHEAD_S = 600.0
"""Clocks may differ by so much."""
PURPOSES: tuple[Purpose, ...] = ("search", "final")
ROUNDING = 1e-6
"""Shares of a device do not add up to the last digit."""
MARGIN_S = 0.5
MARGIN_SHARE = 0.01
"""Phases are read off another clock than the events' times, and in another process (committed runs: up to 0.02 s)."""


def check_times(run: Run, findings: Findings, now_s: float) -> None:
    """Findings about clocks, durations and devices. `now_s`: Unix time."""
    _check_clock(run, findings, now_s)
    for line, event in run.lines:
        for name, value in _amounts(event):
            if value < 0:
                findings.add("out-of-range", run.at(line), f"{name} is {value}; it cannot be less than 0.")
    _check_devices(run, findings)
    if run.measured:
        _check_grants(run, findings)
    segments = list(_segments(run, findings))
    for purpose in PURPOSES:
        _check_overlap(run, [s for s in segments if s.purpose == purpose], purpose, findings)
        _check_total(run, purpose, findings)


def _check_clock(run: Run, findings: Findings, now_s: float) -> None:
    """A journal's times never go back, so its first and last bound all of them."""
    first, last = run.lines[0], run.lines[-1]
    if run.measured and first[1].at_s < EARLIEST_S:
        findings.add("impossible-time", run.at(first[0]), f"It begins at {first[1].at_s:.0f} s, before 2020.")
    if run.measured and last[1].at_s > now_s + AHEAD_S:
        findings.add("impossible-time", run.at(last[0]), f"It ends at {last[1].at_s:.0f} s, which is in the future.")
    if not run.measured and first[1].at_s != 0:
        findings.add("impossible-time", run.at(first[0]), f"Virtual time begins at {first[1].at_s:g} s instead of 0.")


def _amounts(event: Event) -> Iterator[tuple[str, float]]:
    """What a sign would make nonsense of; seconds that are charged were refused before, when costs were added up."""
    if isinstance(event, EpochFinished):
        for name in ("samples_per_s", "tokens_per_s", "device_memory_mib", "host_memory_mib"):
            value = getattr(event, name)
            if value is not None:
                yield name, value


def _check_devices(run: Run, findings: Findings) -> None:
    """Devices of each grant and trial, and of all grants together."""
    held: dict[str, int] = {}
    total = 0
    for line, event in run.lines:
        if isinstance(event, GrantOpened):
            held[event.grant] = event.devices
            total += event.devices
            if total > run.study.devices:
                findings.add(
                    "too-many-devices", run.at(line), f"{total} devices are held; the study has {run.study.devices}."
                )
        elif isinstance(event, GrantClosed):
            total -= held.pop(event.grant, 0)
        elif isinstance(event, RunResumed):
            held, total = {}, 0
        elif isinstance(event, (TrialStarted, WorkLost)):
            final = event.trial == FINAL_TRIAL
            given = run.study.devices_per_trial if final else run.study.devices_of_a_trial
            if event.devices != given:
                findings.add(
                    "too-many-devices",
                    run.at(line),
                    f"A trial takes {event.devices:g} devices; the study gives it {given:g}.",
                )


def _check_grants(run: Run, findings: Findings) -> None:
    """A measured search holds all its devices from its first trial to its end, and a retrain those of one trial: what
    was idle in between is paid for. On a cluster jobs hold what they have, and come and go."""
    study = run.study
    if run.record.provenance.get("job") is not None:
        return
    wanted = {"search": study.devices if study.engine == "ray" else study.devices_per_trial,
              "final": study.devices_per_trial}  # fmt: skip
    taken: set[str] = set()
    for line, event in run.lines:
        if isinstance(event, RunResumed):
            taken.clear()
        elif isinstance(event, GrantOpened):
            if event.devices != wanted[event.purpose]:
                findings.add(
                    "other-grants",
                    run.at(line),
                    f"{event.devices} devices were granted for the {event.purpose}; it holds {wanted[event.purpose]}.",
                )
            if event.purpose in taken:
                findings.add(
                    "other-grants",
                    run.at(line),
                    f"Devices were granted twice for the {event.purpose}, without a restart.",
                )
            taken.add(event.purpose)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Segment:
    """Work of a trial that was reported at `end_s`."""

    start_s: float
    end_s: float
    devices: int | float
    purpose: Purpose
    line: int


def _segments(run: Run, findings: Findings) -> Iterator[_Segment]:
    last_s: dict[str, float] = {}
    devices: dict[str, int | float] = {}
    purposes: dict[str, Purpose] = {FINAL_TRIAL: "final"}
    for line, event in run.lines:
        trial = FINAL_TRIAL if isinstance(event, FinalScored) else getattr(event, "trial", None)
        if trial is None:
            continue
        if isinstance(event, TrialCreated):
            purposes[trial] = event.purpose
        if isinstance(event, TrialStarted):
            devices[trial] = event.devices
        spent_s = event.busy_s if isinstance(event, WorkLost) else 0.0
        if isinstance(event, (EpochFinished, TrialEnded, FinalScored)):
            spent_s = event.phases.total_s
        since_s = event.at_s - last_s.get(trial, event.at_s)
        if spent_s > since_s * (1 + MARGIN_SHARE) + MARGIN_S:
            findings.add(
                "phases-too-long",
                run.at(line),
                f"The trial {quoted(trial)} was busy for {spent_s:.2f} s in the {since_s:.2f} s since its last event.",
            )
        if spent_s > 0:
            yield _Segment(
                start_s=event.at_s - spent_s,
                end_s=event.at_s,
                devices=devices.get(trial, 1),
                purpose=purposes.get(trial, "search"),
                line=line,
            )
        if isinstance(event, (TrialStarted, EpochFinished, TrialEnded, FinalScored, WorkLost, TrialPaused,
                              TrialReconfigured)):  # fmt: skip
            last_s[trial] = event.at_s


def _check_total(run: Run, purpose: Purpose, findings: Findings) -> None:
    """All work together: many segments, each too short to be looked at, may not exceed what was held either."""
    costs = getattr(run.record.costs, purpose)
    held, busy = costs.allocated_device_min or 0.0, costs.busy_device_min
    if busy > held * (1 + MARGIN_SHARE) + MARGIN_S * run.study.devices / 60:
        findings.add(
            "overlap",
            run.place,
            f"The {purpose} was busy for {busy:.2f} device-minutes; devices were held for {held:.2f}.",
        )


def _grants(run: Run, purpose: Purpose) -> Iterator[tuple[float, float, int]]:
    """When so many devices were held. A grant that a kill left open ends with the last sign of life."""
    held: dict[str, GrantOpened] = {}
    before_s = 0.0
    for _, event in run.lines:
        if isinstance(event, GrantOpened) and event.purpose == purpose:
            held[event.grant] = event
        elif isinstance(event, GrantClosed) and event.grant in held:
            grant = held.pop(event.grant)
            yield grant.opened_s, event.closed_s, grant.devices
        elif isinstance(event, RunResumed):
            yield from ((grant.opened_s, before_s, grant.devices) for grant in held.values())
            held = {}
        before_s = event.at_s
    yield from ((grant.opened_s, before_s, grant.devices) for grant in held.values())


def _check_overlap(run: Run, segments: list[_Segment], purpose: Purpose, findings: Findings) -> None:
    """Sweeps over time. Work counts from a margin after its start; what is shorter than that is not looked at."""
    steps: list[tuple[float, int, int | float, int]] = []
    for segment in segments:
        start_s = segment.start_s + MARGIN_S + MARGIN_SHARE * (segment.end_s - segment.start_s)
        if start_s < segment.end_s:
            steps += [(start_s, 2, segment.devices, segment.line), (segment.end_s, 0, -segment.devices, segment.line)]
    for opened_s, closed_s, granted in _grants(run, purpose):
        steps += [(opened_s, 1, granted, 0), (closed_s, 3, -granted, 0)]
    busy: int | float = 0
    held: int | float = 0
    for _, order, devices, line in sorted(steps):
        if order in (0, 2):
            busy += devices
        else:
            held += devices
        if order in (2, 3) and busy > held + ROUNDING:
            findings.add(
                "overlap",
                run.at(line) if line else run.place,
                f"{busy:g} devices worked at once while {held} were held{'' if line else ', when a grant was closed'}.",
            )
