"""A ladder's folder: a page in Markdown with its table, pictures, and how it was measured."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from bench.speed.document import document_link
from bench.speed.pictures import bars_svg, curves_svg
from bench.speed.record import Ladder, write_ladder
from bench.speed.summary import Row, rows
from bench.speed.tables import loss_table, speed_table
from bench.tables import escape_markdown

BARS, CURVES, PAGE = "ladder.svg", "losses.svg", "README.md"


def write_page(folder: Path, ladder: Ladder) -> list[Path]:
    """The ladder with its page and pictures; the same ladder gives the same bytes. Raises UserError where they cannot
    be written."""
    found = rows(ladder)
    files = {PAGE: page(ladder, found, folder)}
    if any(row.device_min for row in found):
        files |= {BARS: bars_svg(ladder, found), CURVES: curves_svg(ladder, found)}
    write_ladder(folder, files, ladder)
    return [folder / name for name in files]


def page(ladder: Ladder, found: list[Row], folder: Path) -> str:
    """In Markdown, as it is to lie in that folder."""
    shape, settings = ladder.shape, ", ".join(f"{name} {value:g}" for name, value in ladder.config.items())
    lengths = found[0].rung.train_tokens / ladder.examples["train"] if found else 0.0
    facts = (
        ("Workload", f"{ladder.workload}; data: {ladder.data}"),
        ("Model", f"{ladder.parameters:,} parameters ({shape.layers} layers, {shape.hidden} wide, "
                  f"{shape.heads} heads, {shape.vocab:,} words); {ladder.weights}"),
        ("Examples", f"{ladder.examples['train']} train ({lengths:.0f} tokens on average), "
                     f"{ladder.examples['validation']} validation"),
        ("Configuration", f"{settings}; {ladder.epochs} epochs a trial; {ladder.repeats} repeats"),
        ("Machine", f"{_machine(ladder)}; {ladder.precision}, {ladder.threads} CPU threads a trial"),
        ("Measured", f"{datetime.fromtimestamp(ladder.measured_at_s, UTC):%Y-%m-%d} at {_commit(ladder)}"),
    )  # fmt: skip
    lines = [
        f"# Ladder: {escape_markdown(ladder.name)}",
        "",
        "From the published recipe to `fast`, step by step: each rung is a real trial in a process of its own, on one",
        f"device. {document_link(folder)} says how it is measured and what the shares mean.",
        "",
        *(f"- **{name}**: {escape_markdown(text)}" for name, text in facts),
        "",
        speed_table(ladder, found).to_markdown(),
        f"![What a trial costs on each rung, and its share of the measured peak]({BARS})",
        "",
        loss_table(ladder, found).to_markdown(),
        f"![Evaluation losses of all comparable rungs, laid over each other]({CURVES})",
        "",
        "## The rungs",
        "",
        *(
            f"{n}. **{escape_markdown(row.rung.name)}**: {escape_markdown(row.rung.change)}"
            for n, row in enumerate(found)
        ),
        "",
        "All numbers are made from [ladder.json](ladder.json) by `sweepmark ladder --show` and this folder's path.",
    ]
    return "\n".join(lines) + "\n"


def _machine(ladder: Ladder) -> str:
    probe = ladder.provenance.get("probe") or {}
    gpus = probe.get("gpus") or []
    named = ", ".join(str(gpu.get("name")) for gpu in gpus) if ladder.device == "cuda" else ""
    return f"profile {ladder.profile}, " + (named or f"{probe.get('cpus', '?')} CPU cores")


def _commit(ladder: Ladder) -> str:
    git = ladder.provenance.get("git")
    if not git:
        return "an unknown commit"
    return f"commit {str(git['commit'])[:12]}" + ("" if git.get("clean") else " with changes")
