"""A run's page: what it is, what it cost, its trials, its pictures, and where its numbers come from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.leaderboard.collect import Found
from bench.report import report_run
from bench.report.warnings import run_warnings
from bench.simulate_scores import MANUAL
from bench.site.facts import facts, headline, origin, run_label
from bench.site.pages import markup, render, run_pictures
from bench.site.provenance import package_table, provenance_tables
from bench.site.terms import column_links

NO_RATIO = (
    "Cost ratios are “-” here: a ratio needs the manual baseline's run beside this one, and this page holds one run. "
    "They are on the leaderboard, where there is a manual baseline for this run."
)


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file beside the pages. `sha256`: of its bytes."""

    name: str
    size_bytes: int
    sha256: str


def run_page(found: Found, downloads: list[Download]) -> str:
    """The page, with addresses as seen from the folder of run pages. Raises UserError where the study cannot be
    read."""
    record = found.record
    study = record.parsed_study()
    report = report_run(record, None)
    links = dict(column_links("../terms.html"))
    packages = package_table(record)
    tables = [table for table in report.tables if table.rows]
    if study.strategy != MANUAL:
        tables = [replace(t, notes=(*t.notes, NO_RATIO)) if t.name == "costs" else t for t in tables]
    return render(
        "run.html",
        root="../",
        here="run",
        title=run_label(study),
        found=found,
        study=study,
        origin=origin(study),
        label=run_label(study),
        headline=headline(record),
        facts=facts(record, study),
        conditions=report.head,
        warnings=run_warnings(record),
        notes=[note.message for note in record.notes if note.level == "info"],
        tables=[markup(table, links=links) for table in tables],
        provenance=[markup(table) for table in provenance_tables(record, study)],
        packages=markup(packages) if packages.rows else "",
        package_count=len(packages.rows),
        pictures=[p for p in run_pictures() if p.name != "pareto" or len(study.metrics) == 2],
        downloads=downloads,
    )
