"""A run's page: what it is, what it cost, its trials, its pictures, and where its numbers come from."""

from __future__ import annotations

from dataclasses import dataclass

from bench.leaderboard.collect import Found
from bench.report import report_run
from bench.report.warnings import run_warnings
from bench.site.facts import facts, headline, origin, run_label
from bench.site.pages import markup, render, run_pictures
from bench.site.provenance import package_table, provenance_tables
from bench.site.terms import column_links


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
        tables=[markup(table, links=links) for table in report.tables if table.rows],
        provenance=[markup(table) for table in provenance_tables(record, study)],
        packages=markup(packages) if packages.rows else "",
        package_count=len(packages.rows),
        pictures=run_pictures(),
        downloads=downloads,
    )
