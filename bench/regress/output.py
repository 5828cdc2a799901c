"""What the gate says: a table, sentences, JSON, Markdown, JUnit's XML."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from bench.regress.findings import NOT_RUN, QUIET, SKIPPED, Finding, exit_status, percent
from bench.regress.gate import Gate
from bench.tables import Cell, Column, Missing, Table, clean, escape_markdown

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS = (
    Column(key="study", header="study", align="left"),
    Column(key="metric", header="metric", align="left"),
    Column(key="kind", header="runs are", align="left", data_only=True),
    Column(key="base", header="base", spec=".4g"),
    Column(key="new", header="new", spec=".4g"),
    Column(key="of", header="of", align="left"),
    Column(key="change", header="change", spec=""),
    Column(key="p", header="p", spec=".2g", data_only=True),
    Column(key="noise", header="noise floor"),
    Column(key="visible", header="would see"),
    Column(key="runs", header="compared", data_only=True),
    Column(key="verdict", header="verdict", align="left"),
    Column(key="detail", header="detail", align="left", wraps=True, data_only=True),
)
PERCENT = ("change", "noise", "visible")
ENDINGS = {0: "passed", 1: "failed", 2: "cannot tell"}
MOST_SENTENCES = 12
XML_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def shown(findings: Sequence[Finding], everything: bool) -> list[Finding]:
    """What people need to see: all that is not quiet, and every measured comparison, whose power is of interest."""
    return [f for f in findings if everything or f.verdict not in QUIET or f.noise is not None]


def findings_table(gate: Gate, everything: bool = False) -> Table:
    """The findings as a table. `everything`: those that did not move too."""
    kept = shown(gate.findings, everything)
    return Table(
        name="regress",
        title="Compared with the references",
        columns=COLUMNS,
        rows=tuple(tuple(_cell(f, column.key) for column in COLUMNS) for f in kept),
        strong=frozenset(i for i, f in enumerate(kept) if f.failed),
        identity=2,
    )


def _cell(finding: Finding, key: str) -> Cell:
    value: str | float | None = getattr(finding, key)
    if value is None:
        return Missing()
    if not isinstance(value, float) or key not in PERCENT:
        return value
    shift = " shift" if key == "change" and finding.kind == "measured" else ""
    return percent(value, signed=key == "change") + shift


def sentences(gate: Gate) -> list[str]:
    """What failed, what cannot be told, what was not run, remarks, and the whole in a sentence."""
    told: list[str] = []
    for verdict in ("moved", "regression", "cannot tell", "better"):
        own = [f for f in gate.findings if f.verdict == verdict]
        # What is said of several metrics of a study in the same words is said once.
        lines = list(dict.fromkeys(f"{f.study}: {f.detail}" for f in own))
        told += lines[:MOST_SENTENCES]
        if len(lines) > MOST_SENTENCES:
            told.append(f"… and {len(lines) - MOST_SENTENCES} more of this kind: see the table, --json or --junit.")
    missing = [
        f.study if f.detail == NOT_RUN else f"{f.study} ({f.detail.rstrip('.')})"
        for f in gate.findings
        if f.verdict == "not run"
    ]
    if missing:
        told.append(f"Not run, so neither passed nor failed: {', '.join(dict.fromkeys(missing))}.")
    told += gate.remarks
    told += accept(gate, [f for f in gate.findings if f.failed])
    return [*told, summary(gate)]


def accept(gate: Gate, failed: Sequence[Finding]) -> list[str]:
    """How what failed is accepted, in a sentence; none where nothing did, or the base is no reference."""
    if gate.renewal is None or not failed:
        return []
    command = gate.renewal.command(measured=any(f.kind == "measured" for f in failed))
    return [f"What is meant is accepted with `{command}`."]


def summary(gate: Gate) -> str:
    """The whole gate in a sentence or two."""
    counts = Counter(finding.verdict for finding in gate.findings)
    told = ", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items()))
    text = f"Regression gate {ENDINGS[exit_status(gate.findings)]}: {told}."
    if gate.tests:
        text += (
            f" {gate.tests} tests of measured runs share a false-alarm rate of {gate.false_alarm_rate:g} "
            f"({gate.level:.2g} each); rises smaller than what the table says they would see (in 95 % of cases) may "
            "pass."
        )
    return text


def to_terminal(gate: Gate, console: Console, everything: bool) -> None:
    table = findings_table(gate, everything)
    if table.rows:
        table.to_terminal(console)
    for sentence in sentences(gate):
        # A command in it can be copied out of a file or a pipe as one line.
        console.print(clean(sentence), markup=False, highlight=False, soft_wrap=not console.is_terminal)


def to_json(gate: Gate) -> str:
    """All findings, whatever moved."""
    plain = {
        "schema_version": 1,
        "verdict": ENDINGS[exit_status(gate.findings)],
        "false_alarm_rate": gate.false_alarm_rate,
        "tests": gate.tests,
        "findings": [asdict(f) for f in gate.findings],
        "remarks": list(gate.remarks),
    }
    return json.dumps(plain, allow_nan=False, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def to_markdown(gate: Gate, everything: bool = False) -> str:
    """A summary for a page of CI: the verdict, what moved, and why."""
    lines = [f"## Regression gate: {ENDINGS[exit_status(gate.findings)]}", ""]
    lines += [f"- {escape_markdown(sentence)}" for sentence in sentences(gate)]
    table = findings_table(gate, everything)
    return "\n".join(lines) + "\n" + (f"\n{table.to_markdown()}" if table.rows else "")


def to_junit(gate: Gate) -> bytes:
    """JUnit's XML: a suite for each study, a case for each metric. Neither failed nor passed is `skipped`; what cannot
    be told is an `error`, so that it is never green."""
    root = ElementTree.Element("testsuites", name="sweepmark regress")
    totals: Counter[str] = Counter()
    for study in dict.fromkeys(f.study for f in gate.findings):
        own = [f for f in gate.findings if f.study == study]
        suite = ElementTree.SubElement(root, "testsuite", name=_xml(study))
        counts: Counter[str] = Counter(tests=len(own))
        for finding in own:
            case = ElementTree.SubElement(
                suite, "testcase", classname=_xml(f"regress.{study}"), name=_xml(finding.metric)
            )
            element, kind = _outcome(finding)
            if element:
                counts[kind] += 1
                inside = ElementTree.SubElement(case, element, message=_xml(finding.detail))
                inside.text = "".join(map(_xml, accept(gate, [finding]))) if finding.failed else None
            else:
                ElementTree.SubElement(case, "system-out").text = _xml(finding.detail)
        for kind in ("tests", "failures", "errors", "skipped"):
            suite.set(kind, str(counts[kind]))
        totals += counts
    for kind in ("tests", "failures", "errors", "skipped"):
        root.set(kind, str(totals[kind]))
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _outcome(finding: Finding) -> tuple[str, str]:
    if finding.failed:
        return "failure", "failures"
    if finding.verdict == "cannot tell":
        return "error", "errors"
    return ("skipped", "skipped") if finding.verdict in SKIPPED else ("", "")


def _xml(text: str) -> str:
    return XML_FORBIDDEN.sub("", clean(text))
