"""What a run cost, from its events alone: the definitions of the methodology, one small function each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.events import (
    FINAL_TRIAL,
    EpochFinished,
    Event,
    FinalScored,
    GrantClosed,
    GrantOpened,
    Phases,
    Purpose,
    RunResumed,
    RunStarted,
    TrialCreated,
    TrialEnded,
    TrialStarted,
    TrialSummarised,
    WorkLost,
)

PhaseName = Literal["startup", "train", "eval", "checkpoint", "restore", "lost", "unsplit"]
"""What busy time went to. `lost`: spent and not used. `unsplit`: of a trial of which only the total is known."""

PHASES: tuple[PhaseName, ...] = ("startup", "train", "eval", "checkpoint", "restore", "lost", "unsplit")


def device_minutes(device_s: float) -> float:
    """Device-minutes from device-seconds, the sum of `devices x seconds`."""
    return device_s / 60


def idle_device_min(allocated: float | None, busy: float) -> float | None:
    """`allocated - busy`; None where what was allocated is unknown."""
    return None if allocated is None else allocated - busy


def utilisation(allocated: float | None, busy: float) -> float | None:
    """`busy / allocated`; None where what was allocated is unknown or nothing was."""
    return busy / allocated if allocated else None


def cost_ratio(cost: float | None, reference: float | None) -> float | None:
    """`cost / reference`; None where either is unknown or the reference is zero."""
    return cost / reference if cost is not None and reference else None


def study_count(study: Mapping[str, Any], key: str) -> int:
    """A whole number of 1 or more from a study as plain data. Raises ValueError where it is none."""
    value = study.get(key)
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"the study's {key} is {value!r}; it must be a whole number of 1 or more")
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    """The cost of one purpose, search or final retrain, in device-minutes.

    `devices`: most held at once (0: unknown). `allocated_device_min`: None where work was done but no grant is known (a
    transcribed table). `wall_s`: seconds in which any device was held (None: unknown). `complete`: every grant was
    closed; where not, the open ones are charged up to the last event, and more may follow.
    """

    devices: int
    allocated_device_min: float | None
    busy_device_min: float
    by_phase_device_min: dict[PhaseName, float]
    wall_s: float | None
    complete: bool

    @property
    def idle_device_min(self) -> float | None:
        return idle_device_min(self.allocated_device_min, self.busy_device_min)

    @property
    def utilisation(self) -> float | None:
        return utilisation(self.allocated_device_min, self.busy_device_min)


@dataclass(frozen=True, kw_only=True, slots=True)
class Charge:
    """A trial segment as it was booked: `seconds` of wall time by phase on `devices` devices, or on a share of one."""

    trial: str
    devices: int | float
    seconds: Mapping[PhaseName, float]


@dataclass(slots=True)
class _Grant:
    devices: int
    opened_s: float
    purpose: Purpose


@dataclass(slots=True)
class _Account:
    """The running totals of one purpose, in device-seconds and seconds."""

    granted: bool = False
    devices_held: int = 0
    devices_most: int = 0
    held_since_s: float = 0.0
    held_until_s: float = 0.0
    closed_device_s: float = 0.0
    closed_wall_s: float = 0.0
    busy_device_s: dict[PhaseName, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))


class LedgerFold:
    """Books events one by one, in order; costs can be asked for after any of them."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._started_s: float | None = None
        self._devices_per_trial = 1
        self._grants: dict[str, _Grant] = {}
        self.closed_grants: dict[str, float] = {}
        """When each grant's devices were given back, the last time."""
        self._accounts: dict[Purpose, _Account] = {"search": _Account(), "final": _Account()}
        self._purposes: dict[str, Purpose] = {FINAL_TRIAL: "final"}
        self._devices: dict[str, int | float] = {}

    def apply(self, event: Event) -> Charge | None:
        """Book one event. Returns the trial segment that it charges, if any.

        Raises ValueError where the event contradicts those before it (a grant closed that is not open, work of a trial
        that never started, time that goes back).
        """
        if event.at_s < self._now_s and self._started_s is not None:
            raise ValueError(f"the clock goes back from {self._now_s} to {event.at_s}")
        if isinstance(event, RunResumed):
            self._close_left_open()  # before the clock moves on: the last sign of life ends a killed run's grants
        self._now_s = event.at_s
        charge = self._charge_of(event)
        if charge is not None:
            busy = self._accounts[self.purpose_of(charge.trial)].busy_device_s
            for phase, seconds in charge.seconds.items():
                busy[phase] += charge.devices * seconds
            return charge
        match event:
            case RunStarted():
                self._started_s = event.at_s
                self._devices_per_trial = study_count(event.study, "devices_per_trial")
            case GrantOpened():
                self._open(event)
            case GrantClosed():
                self._close(event.grant, event.closed_s)
            case TrialCreated():
                self._purposes[event.trial] = "final" if event.trial == FINAL_TRIAL else event.purpose
            case TrialStarted():
                self._devices[event.trial] = event.devices
            case _:
                pass
        return None

    def purpose_of(self, trial: str) -> Purpose:
        """Whether a trial belongs to the search or is the final retrain. Raises ValueError where it is unknown."""
        try:
            return self._purposes[trial]
        except KeyError:
            raise ValueError(f"the trial {trial!r} was never created") from None

    def costs(self, purpose: Purpose, now_s: float | None = None) -> Costs:
        """What has been spent up to the last event, or up to `now_s` of a run that is under way.

        Busy time is booked when a segment is reported, so segments in progress count as idle until then.
        """
        now = self._now_s if now_s is None else max(now_s, self._now_s)
        account = self._accounts[purpose]
        by_phase = {phase: device_minutes(spent_s) for phase, spent_s in account.busy_device_s.items()}
        busy = device_minutes(sum(account.busy_device_s.values()))
        return Costs(
            devices=account.devices_most,
            allocated_device_min=self._allocated_device_min(purpose, now) if account.granted or not busy else None,
            busy_device_min=busy,
            by_phase_device_min=by_phase,
            wall_s=self._wall_s(account, now) if account.granted else None,
            complete=account.devices_held == 0,
        )

    def spent(self) -> tuple[float | None, float]:
        """Allocated and busy device-minutes of the search up to the last event."""
        account = self._accounts["search"]
        busy = device_minutes(sum(account.busy_device_s.values()))
        allocated = self._allocated_device_min("search", self._now_s) if account.granted or not busy else None
        return allocated, busy

    @property
    def elapsed_s(self) -> float:
        """Seconds from the first event to the last, interruptions included."""
        return 0.0 if self._started_s is None else self._now_s - self._started_s

    def _allocated_device_min(self, purpose: Purpose, now_s: float) -> float:
        held = sum(g.devices * (now_s - g.opened_s) for g in self._grants.values() if g.purpose == purpose)
        return device_minutes(self._accounts[purpose].closed_device_s + held)

    def _wall_s(self, account: _Account, now_s: float) -> float:
        return account.closed_wall_s + (now_s - account.held_since_s if account.devices_held else 0.0)

    def _open(self, event: GrantOpened) -> None:
        if event.grant in self._grants:
            raise ValueError(f"the grant {event.grant!r} is opened twice")
        if event.devices < 1:
            raise ValueError(f"the grant {event.grant!r} holds {event.devices} devices; it must hold 1 or more")
        if event.opened_s > event.at_s:
            raise ValueError(f"the grant {event.grant!r} opens in the future")
        account = self._accounts[event.purpose]
        if not account.devices_held:
            account.held_since_s = max(event.opened_s, account.held_until_s)
        account.granted = True
        account.devices_held += event.devices
        account.devices_most = max(account.devices_most, account.devices_held)
        self._grants[event.grant] = _Grant(event.devices, event.opened_s, event.purpose)

    def _close(self, name: str, closed_s: float) -> None:
        grant = self._grants.pop(name, None)
        if grant is None:
            raise ValueError(f"the grant {name!r} is closed but not open")
        if not grant.opened_s <= closed_s <= self._now_s:
            raise ValueError(f"the grant {name!r} is closed before it was opened, or in the future")
        account = self._accounts[grant.purpose]
        account.closed_device_s += grant.devices * (closed_s - grant.opened_s)
        account.devices_held -= grant.devices
        account.held_until_s = max(account.held_until_s, closed_s)
        self.closed_grants[name] = closed_s
        if not account.devices_held:
            account.closed_wall_s += account.held_until_s - account.held_since_s

    def _close_left_open(self) -> None:
        for name in list(self._grants):
            self._close(name, self._now_s)

    def _charge_of(self, event: Event) -> Charge | None:
        match event:
            case EpochFinished():
                return self._segment(event.trial, event.phases)
            case TrialEnded():
                return self._segment(event.trial, event.phases)
            case FinalScored():
                return self._segment(FINAL_TRIAL, event.phases)
            case WorkLost():
                return Charge(trial=event.trial, devices=event.devices, seconds={"lost": _spent(event.busy_s)})
            case TrialSummarised():
                return Charge(trial=event.trial, devices=event.devices, seconds={"unsplit": _spent(event.runtime_s)})
            case _:
                return None

    def _segment(self, trial: str, phases: Phases) -> Charge:
        devices = self._devices.get(trial, self._devices_per_trial)
        if phases.total_s and trial not in self._devices and trial != FINAL_TRIAL:
            raise ValueError(f"the trial {trial!r} reports work but never started")
        return Charge(trial=trial, devices=devices, seconds=_by_phase(phases))


def _by_phase(phases: Phases) -> dict[PhaseName, float]:
    """The phases that took any time."""
    seconds: dict[PhaseName, float] = {
        "startup": phases.startup_s,
        "train": phases.train_s,
        "eval": phases.eval_s,
        "checkpoint": phases.checkpoint_s,
        "restore": phases.restore_s,
    }
    return {phase: _spent(s) for phase, s in seconds.items() if s}


def _spent(seconds: float) -> float:
    if not seconds >= 0:
        raise ValueError(f"a segment lasts {seconds} s; it must last 0 or more")
    return seconds
