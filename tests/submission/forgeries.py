"""Changes to the events of a run, each of which somebody could gain by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.submission.planted import Events, of_kind

EPOCH = "epoch_finished"


def study(**changes: Any) -> Callable[[Events], None]:
    return lambda events: events[0]["study"].update(changes)


def provenance(**changes: Any) -> Callable[[Events], None]:
    return lambda events: events[0]["provenance"].update(changes)


def first(kind: str, **changes: Any) -> Callable[[Events], None]:
    return lambda events: of_kind(events, kind)[0].update(changes)


def last(kind: str, trial: str | None = None, **changes: Any) -> Callable[[Events], None]:
    fields = {} if trial is None else {"trial": trial}
    return lambda events: of_kind(events, kind, **fields)[-1].update(changes)


def without(kind: str, **fields: Any) -> Callable[[Events], None]:
    def change(events: Events) -> None:
        dropped = of_kind(events, kind, **fields)
        assert dropped
        events[:] = [event for event in events if event not in dropped]

    return change


def probe(**changes: Any) -> Callable[[Events], None]:
    return lambda events: events[0]["provenance"]["probe"].update(changes)


def shifted(seconds: float) -> Callable[[Events], None]:
    def change(events: Events) -> None:
        for event in events:
            event["at_s"] += seconds

    return change


def squeezed(events: Events) -> None:
    """All trials are charged as before, in a tenth of the time."""
    start_s = events[0]["at_s"]
    for event in events:
        event["at_s"] = start_s + (event["at_s"] - start_s) / 10


def faster(events: Events) -> None:
    """Epochs trained in a ten-thousandth of the time, with rates to match."""
    for event in of_kind(events, EPOCH):
        event["phases"]["train_s"] /= 1e4
        event["samples_per_s"] *= 1e4
        event["tokens_per_s"] *= 1e4


def rates(**factors: float) -> Callable[[Events], None]:
    def change(events: Events) -> None:
        for name, factor in factors.items():
            of_kind(events, EPOCH)[3][name] *= factor

    return change


def renumbered(events: Events) -> None:
    """The fifth trial was not wanted."""
    events[:] = [event for event in events if event.get("trial") != "0005"]


def one_grant(events: Events) -> None:
    of_kind(events, "grant_opened", purpose="search")[0]["devices"] = 1


def grant_closed_early(events: Events) -> None:
    closed = of_kind(events, "grant_closed", grant="search-1")[0]
    events.remove(closed)
    middle = len(events) // 2
    events.insert(middle, closed | {"at_s": events[middle]["at_s"]})


def out_of_space(events: Events) -> None:
    for event in events:
        if event.get("trial") == "0002":
            event.get("config", {})["learning_rate"] = 0.5


def another_config(events: Events) -> None:
    of_kind(events, EPOCH, trial="0003")[0]["config"]["weight_decay"] = 0.0
    of_kind(events, EPOCH, trial="0003")[0]["config"]["batch_size"] = 12


def other_grid(events: Events) -> None:
    """The grid's second configuration is the first again."""
    config = of_kind(events, "trial_created")[0]["config"]
    for event in events:
        if event.get("trial") == "0002" and "config" in event:
            event["config"] = config


def winner(events: Events) -> None:
    of_kind(events, "search_finished")[0]["winner"] = "0001"


def goes_back(events: Events) -> None:
    events[20]["at_s"] = events[19]["at_s"] - 1


def in_two_grants(events: Events) -> None:
    """Devices are given back for the moments in which nothing ran."""
    grant = of_kind(events, "grant_opened", purpose="search")[0]
    events.insert(events.index(grant) + 1, {"kind": "grant_closed", "at_s": grant["at_s"], "grant": grant["grant"]})
    events.insert(events.index(grant) + 2, dict(grant))


def busy_in_bits(events: Events) -> None:
    """Each segment is too short to be held against the clock; all together are not."""
    index = events.index(of_kind(events, EPOCH)[-1])
    lost = {
        "kind": "work_lost",
        "at_s": events[index]["at_s"],
        "trial": "0001",
        "busy_s": 0.4,
        "devices": 1,
        "reason": "",
    }
    events[index + 1 : index + 1] = [dict(lost) for _ in range(3000)]


def shorter_grid(events: Events) -> None:
    """The manual grid stops after its first half."""
    late = {event["trial"] for event in of_kind(events, "trial_created")[6:] if event["trial"] != "final"}
    events[:] = [event for event in events if event.get("trial") not in late]
    events[0]["study"]["samples"] = 6
    losses = {e["eval_loss"]: e for e in of_kind(events, EPOCH, epoch=5) if e["trial"] != "final"}
    best = losses[min(losses)]
    of_kind(events, "search_finished")[0]["winner"] = best["trial"]
    for event in events:
        if event.get("trial") == "final" and "config" in event:
            event["config"] = best["config"]


def huge_grid(events: Events) -> None:
    names = ("max_grad_norm", "gradient_accumulation", "lora_rank", "lora_alpha")
    events[0]["study"]["space"] |= {name: {"choice": list(range(1, 1001))} for name in names}


def unheard_of(events: Events) -> None:
    events[0]["study"]["space"] |= {"luck": {"choice": [1, 2]}}


def word_for_a_number(events: Events) -> None:
    events[0]["study"]["space"] |= {"batch_size": {"choice": ["many"]}}


def word_in_a_trial(events: Events) -> None:
    """A trial whose learning rate is a word, from beginning to end."""
    for event in events:
        if event.get("trial") == "0001" and "config" in event:
            event["config"] = event["config"] | {"learning_rate": "<b>fast</b>"}


def on_an_h200(events: Events) -> None:
    study(profile="h200")(events)
    gpu = {"name": "NVIDIA H200", "memory_mib": 143771, "compute_capability": [9, 0], "mig": False}
    probe(cpus=16, gpus=[gpu])(events)


def epoch_twice(events: Events) -> None:
    of_kind(events, EPOCH, trial="0002")[2]["epoch"] = 2


def skipped_epoch(events: Events) -> None:
    events.remove(of_kind(events, EPOCH, trial="0002")[1])


def beyond(events: Events) -> None:
    event = of_kind(events, EPOCH, trial="0002")[-1]
    events.insert(events.index(event) + 1, event | {"epoch": 6, "phases": {"train_s": 0.0}, "samples_per_s": 1e-9})


def after_end(events: Events) -> None:
    end = of_kind(events, "trial_ended", trial="0002")[0]
    events.insert(events.index(end) + 1, dict(end))


def scored_twice(events: Events) -> None:
    event = of_kind(events, "final_scored")[0]
    events.insert(events.index(event) + 1, event | {"phases": {}})


def other_final(events: Events) -> None:
    for event in events:
        if event.get("trial") == "final" and "config" in event:
            event["config"] = event["config"] | {"learning_rate": 0.001}


def copied_winner(events: Events) -> None:
    """A population's member takes over one that has not got so far."""
    of_kind(events, "trial_reconfigured")[0]["donor_epoch"] = 4
