"""What pages need of a run to draw it, and to compare it with any other: plain data, one script a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from bench.journal import read_journal
from bench.leaderboard import Board, Found, by_loss
from bench.metrics import study_metrics
from bench.report.keys import KEY_FIELDS, Keyed, said, search_is_over
from bench.report.machine import machine
from bench.report.warnings import SEEDS_FOR_A_CLAIM
from bench.simulate_report import SEEDS_FOR_A_ROW
from bench.site.facts import facts, origin, run_label, settings
from bench.tables import clean


def run_data(found: Found) -> dict[str, Any]:
    """`conditions`: what must be equal for two runs to compare, in words; `settings`: what tells runs of one strategy
    apart beside their seeds; `rows`: of each picture. Raises UserError where the journal or the study cannot be
    read."""
    from bench.pictures import run_rows

    record, journal = found.record, found.journal
    keyed = Keyed.of(record)
    return {
        "name": found.name,
        "label": run_label(keyed.study),
        "strategy": clean(keyed.study.strategy),
        "settings": settings(keyed.study),
        "seed": keyed.study.seed,
        "seeds_for_a_claim": SEEDS_FOR_A_ROW if keyed.study.simulation else SEEDS_FOR_A_CLAIM,
        "facts": [asdict(fact) for fact in facts(record, keyed.study)],
        "conditions": list(_conditions(keyed)),
        "rows": run_rows(record, None if journal is None else read_journal(journal)),
    }


def run_key(name: str) -> str:
    """Under which a run's data is registered: apart from all that is not of a run."""
    return f"run:{name}"


def run_index(found: Sequence[Found], ranked: Sequence[Board]) -> list[dict[str, str]]:
    """All runs, for the list from which a comparison is chosen; `board`: the title of the one that a run is on, else
    why it is on none."""
    titles = {run.name: board.title for board in ranked for row in board.rows for run in row.runs}
    return [
        {
            "name": one.name,
            "label": run_label(one.record.parsed_study()),
            "board": clean(titles.get(one.name) or _on_none(one)),
        }
        for one in found
    ]


def _on_none(one: Found) -> str:
    why = "search not over" if by_loss(one) else f"optimised {' and '.join(study_metrics(one.record.study))}"
    return f"{one.record.study['workload']}, {why}"


def _conditions(keyed: Keyed) -> Iterator[dict[str, str]]:
    """Of the search alone: retrains of different length do not keep searches from being compared. `key` is equal where
    the condition is; `text` is what people read."""
    yield _condition("measured or simulated", origin(keyed.study))
    for name, value in zip(KEY_FIELDS, keyed.key, strict=True):
        if name == "simulation":
            yield _condition(name, "none" if value is None else said(value), repr(value))
        elif name != "final epochs":
            yield _condition(name, said(value))
    yield _condition("machine", machine(keyed.record) or ("none" if keyed.study.simulation else "not probed"))
    yield from (_condition(f"hash of the {name}", str(digest)) for name, digest in sorted(keyed.hashes.items()))
    yield _condition("search", "over" if search_is_over(keyed.record) else "not over")


def _condition(name: str, text: str, key: str | None = None) -> dict[str, str]:
    return {"name": name, "text": clean(text), "key": text if key is None else key}
