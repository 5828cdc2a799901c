"""The page of terms explains what the pages show."""

from __future__ import annotations

from pathlib import Path

from bench.leaderboard import Found, boards
from bench.leaderboard.across import across_tables
from bench.leaderboard.board_table import board_table
from bench.report import report_run
from bench.site.facts import facts, headline
from bench.site.terms import CHAPTERS, all_terms, column_links
from bench.tables import Table


def tables(found: list[Found]) -> list[Table]:
    ranked = boards(found)
    shown = [board_table(board) for board in ranked] + across_tables(ranked)
    return shown + [table for one in found for table in report_run(one.record, None).tables]


def test_every_column_that_is_shown_has_a_term(found: list[Found]) -> None:
    links = column_links()
    columns = {(t.name, c.key) for t in tables(found) for c in t.columns if c.header and not c.data_only}
    assert len(columns) > 30
    assert [pair for pair in columns if pair[1] not in links] == []


def test_a_fact_names_a_term_that_there_is(found: list[Found]) -> None:
    anchors = {term.anchor for term in all_terms()}
    for one in found:
        study = one.record.parsed_study()
        named = {fact.term for fact in [*facts(one.record, study), *headline(one.record)] if fact.term}
        assert named <= anchors


def test_terms_are_said_once() -> None:
    anchors = [term.anchor for term in all_terms()] + [chapter.anchor for chapter in CHAPTERS]
    assert len(anchors) == len(set(anchors))
    columns = [key for term in all_terms() for key in term.columns]
    assert len(columns) == len(set(columns))
    assert all(term.short.endswith(".") for term in all_terms())


def test_all_terms_are_on_the_page(site: Path) -> None:
    text = (site / "terms.html").read_text(encoding="utf-8")
    assert all(f'<article id="{term.anchor}">' in text for term in all_terms())


def test_what_the_pages_must_explain_is_explained() -> None:
    named = " ".join(f"{term.name} {term.short}" for term in all_terms()).lower()
    for word in (
        "allocated", "busy", "idle", "utilisation", "queue", "search cost", "final retrain", "cost ratio", "incumbent",
        "target", "cost to target", "success rate", "expected running cost", "headline ratio", "interval",
        "provisional", "measured", "simulated", "random search", "performance profile", "leave-one-out", "approximate",
        "seed", "nan", "oom", "timeout", "failed", "stopped", "workload", "recipe", "profile", "journal", "record",
    ):  # fmt: skip
        assert word in named, word
